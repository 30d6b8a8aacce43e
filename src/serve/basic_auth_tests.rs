//! Who is known, what it costs, and what happens when many ask.

use super::*;
use std::sync::mpsc;

/// A hash of the least cost.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn users(pairs: &[(&str, String)]) -> Users {
    let hashes = pairs.iter().map(|(name, hash)| ((*name).to_owned(), hash.clone()));
    Users::new(hashes.collect()).unwrap()
}

fn header(name: &str, password: &str) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(format!("{name}:{password}"));
    HeaderValue::from_str(&format!("Basic {encoded}")).unwrap()
}

struct Door {
    users: Users,
    checks: Checks,
    observe: Arc<Observe>,
}

impl Door {
    fn of(pairs: &[(&str, String)]) -> Door {
        Door { users: users(pairs), checks: Checks::new().unwrap(), observe: Observe::new() }
    }

    async fn login(&self, header: Option<&HeaderValue>) -> Login {
        self.users.login(header, &self.checks, &self.observe).await
    }

    async fn tries(&self, name: &str, password: &str) -> Login {
        self.login(Some(&header(name, password))).await
    }

    /// Hashes computed and refused: right, wrong, refused.
    fn counted(&self) -> [f64; 3] {
        let families = self.observe.registry.gather();
        let name = "vpccni_exporter_web_password_checks_total";
        let family = families.iter().find(|family| family.name() == name).unwrap();
        PasswordCheck::ALL.map(|outcome| {
            let of = |m: &&prometheus::proto::Metric| m.get_label()[0].value() == outcome.as_str();
            family.get_metric().iter().find(of).unwrap().get_counter().get_value()
        })
    }
}

#[tokio::test]
async fn a_user_is_known_by_the_whole_password_in_all_three_spellings_of_a_hash() {
    let of_b = hash("secret:with colon");
    let [of_a, of_y] = ["$2a$", "$2y$"].map(|kind| of_b.replacen("$2b$", kind, 1));
    let door = Door::of(&[("a", of_a), ("b", of_b), ("y", of_y)]);
    for name in ["a", "b", "y"] {
        assert_eq!(door.tries(name, "secret:with colo").await, Login::Unknown, "{name}");
        assert_eq!(door.tries(name, "secret:with colon").await, Login::Known, "{name}");
        assert_eq!(door.tries(name, "").await, Login::Unknown, "{name}");
    }
    assert_eq!(door.counted(), [3.0, 6.0, 0.0]);
}

#[tokio::test]
async fn a_name_that_does_not_exist_costs_a_hash_of_the_highest_cost_and_is_never_known() {
    let door = Door::of(&[("a", hash("x")), ("b", bcrypt::hash("y", 5).unwrap())]);
    assert_eq!(door.users.nobody.get(..7), Some("$2b$05$"));
    // It is a hash, and so costs one: what cannot be read is refused at once.
    assert_eq!(bcrypt::verify("x", &door.users.nobody).ok(), Some(false));
    assert_eq!(door.tries("c", "x").await, Login::Unknown);
    let not_utf8 = BASE64_STANDARD.encode(b"\xff:x");
    let not_utf8 = HeaderValue::from_str(&format!("Basic {not_utf8}")).unwrap();
    assert_eq!(door.login(Some(&not_utf8)).await, Login::Unknown);
    assert_eq!(door.counted(), [0.0, 2.0, 0.0]);
}

#[tokio::test]
async fn without_name_and_password_nothing_is_computed() {
    let door = Door::of(&[("a", hash("x"))]);
    assert_eq!(door.login(None).await, Login::Unknown);
    let of_no_colon = BASE64_STANDARD.encode("a");
    for text in ["", "Basic", "Basic ", "Basic !", "Bearer YTp4", &format!("Basic {of_no_colon}")] {
        let header = HeaderValue::from_str(text).unwrap();
        assert_eq!(door.login(Some(&header)).await, Login::Unknown, "{text}");
    }
    assert_eq!(door.counted(), [0.0; 3]);
    let lower = HeaderValue::from_str(&format!("bAsIc {}", BASE64_STANDARD.encode("a:x"))).unwrap();
    assert_eq!(door.login(Some(&lower)).await, Login::Known);
}

#[tokio::test]
async fn over_the_queue_nobody_is_checked_but_who_was_right_before_is_known() {
    let door = Door::of(&[("a", hash("x"))]);
    assert_eq!(door.tries("a", "x").await, Login::Known);
    let (end, ended) = mpsc::channel::<()>();
    let checks = Arc::new(door.checks);
    let hanging = Arc::clone(&checks);
    let hangs = tokio::spawn(async move {
        // Until the sender is gone.
        hanging.run(move || ended.recv().is_ok()).await
    });
    let mut waiting = Vec::new();
    while checks.places.available_permits() > 0 {
        // The one that hangs may not have begun yet.
        let checks = Arc::clone(&checks);
        waiting.push(tokio::spawn(async move { checks.run(|| true).await }));
        tokio::task::yield_now().await;
    }
    let door = Door { checks: Checks::new().unwrap(), ..door };
    // A configuration that is read anew, as when a certificate is.
    let again = users(&[("a", door.users.hashes["a"].clone())]);
    assert_eq!(again.login(Some(&header("a", "x")), &checks, &door.observe).await, Login::Known);
    let changed = users(&[("a", hash("x"))]);
    let login = changed.login(Some(&header("a", "x")), &checks, &door.observe).await;
    assert_eq!(login, Login::Busy, "another hash is another password");
    let login = |name: &'static str, password: &'static str| {
        let header = header(name, password);
        let (users, checks, observe) = (&door.users, &checks, &door.observe);
        async move { users.login(Some(&header), checks, observe).await }
    };
    assert_eq!(login("a", "x").await, Login::Known);
    assert_eq!(login("a", "y").await, Login::Busy);
    assert_eq!(login("b", "x").await, Login::Busy);
    assert_eq!(door.counted(), [1.0, 0.0, 3.0]);
    drop(end);
    assert_eq!(hangs.await.unwrap(), Some(false));
    assert_eq!(waiting.len(), CHECKS + WAITING - 1);
    for waited in waiting {
        assert_eq!(waited.await.unwrap(), Some(true));
    }
    assert_eq!(login("a", "y").await, Login::Unknown);
}

#[tokio::test]
async fn what_is_remembered_is_neither_the_password_nor_without_end() {
    let door = Door::of(&[("a", hash(&"x".repeat(72)))]);
    for more in 0..=REMEMBERED {
        // bcrypt reads 72 bytes.
        assert_eq!(door.tries("a", &"x".repeat(72 + more)).await, Login::Known);
        let kept = door.checks.right.lock().unwrap().len();
        assert_eq!(kept, more % REMEMBERED + 1);
    }
    let (one, other) = (Checks::new().unwrap(), Checks::new().unwrap());
    let tag = |checks: &Checks| checks.tag(b"a", "h", b"x");
    assert_ne!(tag(&one), tag(&other), "each process has its key");
    assert_ne!(one.tag(b"a", "hx", b""), one.tag(b"a", "h", b"x"));
    assert_ne!(one.tag(b"ah", "", b"x"), one.tag(b"a", "h", b"x"));
}

#[test]
fn a_hash_that_no_check_could_use_is_refused() {
    let good = hash("x");
    assert_eq!(Users::check("a", &good), Ok(()));
    let cost = |cost: &str| good.replacen("04", cost, 1);
    for bad in
        ["", "x", "plain password", &cost("03"), &cost("19"), &cost("4"), good.get(1..).unwrap()]
    {
        let allowed = Users::check("a", bad).unwrap_err();
        assert!(allowed.contains("$2a$, $2b$ or $2y$, a cost from 4 to 18"), "{bad}: {allowed}");
    }
    for bad in [good.get(..59).unwrap(), &format!("{good}x"), &good.replacen("$2b$", "$2x$", 1)] {
        assert!(Users::check("a", bad).is_err(), "{bad}");
    }
    assert_eq!(Users::check("a", &cost("18")), Ok(()));
    for name in ["", "a:b"] {
        assert!(Users::check(name, &good).unwrap_err().contains("no colon"), "{name}");
    }
}
