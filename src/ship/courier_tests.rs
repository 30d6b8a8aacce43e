//! One outlet through changes of leaders: what leaves its queue, what is noted, what is sent.

use super::*;
use crate::mirror::{Group, Note, Noted, Point, Unit, Value};
use crate::ship::aws::Aws;
use crate::ship::settings::To;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

/// A courier to an agent, the Lease that it sees, and what it notes.
struct Rig {
    courier: Courier,
    lease: watch::Sender<Noted>,
    note: watch::Receiver<Note>,
    promise: Arc<Promise>,
    listener: TcpListener,
}

fn interval(start: i64) -> Arc<Interval> {
    let point = Point { name: "a".into(), unit: Unit::Count, value: Value::Number(1.0) };
    Arc::new(Interval { start, groups: vec![Group { points: vec![point], ..Group::default() }] })
}

impl Rig {
    async fn new(starts: &[i64]) -> Rig {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = To::Agent(Some((address.ip().to_string(), address.port())));
        let words = ["x", "--mirror.to=emf+tcp:", "--cluster.name=blue"];
        let settings = crate::config::read_words(&words.map(Into::into)).unwrap().mirror;
        let plan = settings.plan(Duration::from_secs(30), false, None, None).unwrap();
        let (write, note) = watch::channel(Note::default());
        let (lease, noted) = watch::channel(Noted::default());
        let (_name, cluster) = watch::channel(Ok(Arc::from("blue")));
        let (promise, shelf) = (Arc::new(Promise::none()), Arc::new(Shelf::new(1 << 20)));
        starts.iter().for_each(|start| shelf.put(interval(*start)));
        let courier = Courier {
            sink: Sink::Agent,
            outlet: Outlet::new(&to, &plan, &Arc::new(Aws::new())),
            shelf,
            promise: Arc::clone(&promise),
            notebook: Arc::new(Notebook::new(write, Some(noted))),
            cluster,
            clock: Clock::start(),
            observe: Observe::new(),
            term: None,
            floor: Progress::NOTHING,
            begun: None,
            pause: FIRST_PAUSE,
            standing: Standing::default(),
            last_success: None,
        };
        Rig { courier, lease, note, promise, listener }
    }

    fn waiting(&self) -> usize {
        self.courier.shelf.lock().size().0
    }

    fn holds(&self, holder: Holder, read: &str) {
        self.lease.send_modify(|noted| (noted.holder, noted.read) = (holder, read.to_owned()));
    }

    /// The Lease has whatever is noted, at once.
    fn writes(&self) -> tokio::task::JoinHandle<()> {
        let (lease, mut note) = (self.lease.clone(), self.note.clone());
        tokio::spawn(async move {
            while note.changed().await.is_ok() {
                let text = note.borrow_and_update().text.clone();
                lease.send_modify(|noted| {
                    (noted.written, noted.is_sure, noted.holder) = (text, true, Holder::Us);
                });
            }
        })
    }
}

#[tokio::test]
async fn what_leaves_the_queue_of_a_follower_is_what_somebody_else_sends() {
    for (holder, read, left, state) in [
        (Holder::Nobody, "", 3, State::Refused),
        (Holder::Us, "", 3, State::Refused),
        (Holder::Nobody, "agent:60/120", 2, State::Refused),
        (Holder::Another, "agent:60/120", 2, State::Following),
        (Holder::Another, "put:60/120", 0, State::Following),
        (Holder::OtherShards, "", 0, State::Following),
        (Holder::OtherShards, "agent:60/60", 0, State::Following),
    ] {
        let mut rig = Rig::new(&[60, 120, 180]).await;
        rig.holds(holder, read);
        assert!(!rig.courier.turn().await);
        let at = format!("{holder:?} {read}");
        assert_eq!((rig.waiting(), rig.courier.standing.state), (left, state), "{at}");
    }
}

#[tokio::test]
async fn a_take_over_sends_what_its_predecessor_did_not_begin_even_what_is_cut_later() {
    let mut rig = Rig::new(&[60, 120, 180]).await;
    let writing = rig.writes();
    rig.holds(Holder::Another, "agent:60/240");
    rig.courier.turn().await;
    rig.promise.begin(f64::INFINITY);
    assert!(!rig.courier.turn().await);
    assert_eq!(rig.waiting(), 0);
    for start in [240, 300] {
        rig.courier.shelf.put(interval(start));
    }
    assert!(!rig.courier.turn().await);
    let (stream, _) = rig.listener.accept().await.unwrap();
    let line = BufReader::new(stream).lines().next_line().await.unwrap().unwrap();
    assert!(line.contains("300000"), "{line}");
    assert_eq!(rig.note.borrow().text, "agent:300/300");
    let outlet = &rig.courier.observe.mirror().outlets[&Sink::Agent];
    assert_eq!((outlet.tally.sent, outlet.tally.unconfirmed), (1, 3), "120, 180 and 240");
    writing.abort();
}

#[tokio::test]
async fn what_was_not_sent_is_noted_as_not_begun() {
    let mut rig = Rig::new(&[60, 120]).await;
    let writing = rig.writes();
    rig.promise.begin(f64::INFINITY);
    // Nobody listens there any more.
    let address = rig.listener.local_addr().unwrap();
    drop(std::mem::replace(&mut rig.listener, TcpListener::bind("127.0.0.1:0").await.unwrap()));
    assert!(rig.courier.turn().await, "{address} answers");
    assert_eq!(rig.waiting(), 2);
    assert_eq!(rig.note.borrow().text, "agent:59/59");
    writing.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_that_could_not_be_noted_but_by_one_that_is_alone() {
    let mut rig = Rig::new(&[60]).await;
    rig.promise.begin(1e9);
    assert!(rig.courier.turn().await);
    let reason = rig.courier.standing.reason.clone().map(|(reason, _)| reason);
    assert_eq!((rig.waiting(), reason), (1, Some(Trouble::Lease)));
    assert_eq!(rig.note.borrow().text, "agent:59/59");
    // Dropped while it waits for the note.
    let waiting = tokio::time::timeout(Duration::from_secs(1), rig.courier.turn()).await;
    assert!(waiting.is_err());
    assert_eq!(rig.note.borrow().text, "agent:59/60");
    rig.courier.take_back();
    assert_eq!(rig.note.borrow().text, "agent:59/59");
    assert!(rig.promise.prolong(2e9, rig.courier.clock.uptime()));
    assert!(!rig.courier.turn().await);
    assert_eq!(rig.waiting(), 0);
}

#[tokio::test]
async fn every_success_is_told_with_its_time() {
    let mut rig = Rig::new(&[60]).await;
    let writing = rig.writes();
    rig.promise.begin(f64::INFINITY);
    let mut last = 0.0;
    for start in [120, 180, 240] {
        assert!(!rig.courier.turn().await);
        let told = rig.courier.observe.mirror().outlets[&Sink::Agent].last_success.unwrap();
        assert!(told > last, "{told} after {last}");
        last = told;
        rig.courier.shelf.put(interval(start));
        sleep(Duration::from_millis(5)).await;
    }
    writing.abort();
}
