//! Files as they are read, refused, and taken over when they change.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::fs;
use tempfile::TempDir;

/// A hash of `x`.
const HASH: &str = "$2y$04$abcdefghijklmnopqrstuuIcPDbIHOgmYXnbL9FCkVvpmZHKVpHGC";

/// A folder with a certificate and its key, another key, and an authority.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        let authority = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        folder.write("ca.crt", params.self_signed(&authority).unwrap().pem());
        let issuer = Issuer::new(params, authority);
        for name in ["tls", "other"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            folder.write(&format!("{name}.crt"), params.signed_by(&key, &issuer).unwrap().pem());
            folder.write(&format!("{name}.key"), key.serialize_pem());
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// By a rename, as editors do it.
    fn write(&self, name: &str, text: impl AsRef<str>) {
        let half = self.path("half");
        fs::write(&half, text.as_ref()).unwrap();
        fs::rename(half, self.path(name)).unwrap();
    }

    fn web(&self, text: &str) -> Result<Web, WebConfigError> {
        self.write("web.yml", text);
        Web::open(Some(&self.path("web.yml")))
    }

    fn read(&self, text: &str) -> Result<Arc<Loaded>, String> {
        self.web(text).map(|web| web.current()).map_err(|error| error.to_string())
    }

    /// What the tls section of these lines, indented, comes to.
    fn tls(&self, lines: &[&str]) -> Result<Arc<ServerConfig>, String> {
        let lines = [&["cert_file: tls.crt", "key_file: tls.key"], lines].concat();
        let text = format!("tls_server_config:\n  {}\n", lines.join("\n  "));
        self.read(&text).map(|loaded| loaded.tls.clone().unwrap())
    }
}

#[test]
fn every_key_of_the_format_is_read() {
    let folder = Folder::new();
    let text = format!(
        "tls_server_config:
  cert_file: tls.crt
  key_file: {}
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus, 10.0.0.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP384, X25519]
http_server_config:
  http2: true
  headers:
    Content-Security-Policy: default-src 'self'
    Strict-Transport-Security: max-age=31536000
    X-Content-Type-Options: nosniff
    X-Frame-Options: deny
    X-XSS-Protection: \"1\"
basic_auth_users:
  alice: {HASH}
rate_limit:
  interval: 100ms
  burst: 20
",
        folder.path("tls.key").display()
    );
    let read = folder.read(&text).unwrap();
    let tls = read.tls.as_ref().unwrap();
    assert!(!tls.ignore_client_order);
    assert_eq!(tls.alpn_protocols, [b"http/1.1"]);
    let provider = tls.crypto_provider();
    let groups: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(groups, [rustls::NamedGroup::secp384r1, rustls::NamedGroup::X25519]);
    let suites: Vec<_> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
    use rustls::CipherSuite as Suite;
    // Those of TLS 1.3 are not chosen.
    assert_eq!(
        suites,
        [
            Suite::TLS13_AES_256_GCM_SHA384,
            Suite::TLS13_AES_128_GCM_SHA256,
            Suite::TLS13_CHACHA20_POLY1305_SHA256,
            Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ]
    );
    let headers: Vec<(&str, &[u8])> =
        read.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(
        headers,
        [
            ("content-security-policy", &b"default-src 'self'"[..]),
            ("strict-transport-security", b"max-age=31536000"),
            ("x-content-type-options", b"nosniff"),
            ("x-frame-options", b"deny"),
            ("x-xss-protection", b"1"),
        ]
    );
    assert!(read.users.is_some() && read.rate.is_some());
    assert_eq!(read.words(), "TLS, basic authentication, headers, a rate limit");
}

#[test]
fn certificate_key_and_authority_may_stand_in_the_file_itself() {
    let folder = Folder::new();
    let block = |name: &str| folder.text(name).replace('\n', "\n    ");
    let text = format!(
        "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n  client_ca: |\n    {}\n  \
         client_auth_type: VerifyClientCertIfGiven\n",
        block("tls.crt"),
        block("tls.key"),
        block("ca.crt")
    );
    assert!(folder.read(&text).unwrap().tls.is_some());
}

#[test]
fn what_says_nothing_turns_nothing_on() {
    let folder = Folder::new();
    for text in [
        "{}",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
        "tls_server_config: {}\nbasic_auth_users: {}\nhttp_server_config: {headers: {X-XSS-Protection: }}\n",
        "rate_limit: {interval: 0, burst: 0}\n",
    ] {
        let read = folder.read(text).unwrap();
        assert_eq!(read.words(), "it turns nothing on", "{text}");
    }
    let web = Web::open(None).unwrap();
    assert!(!web.is_configured() && web.current().tls.is_none());
}

#[test]
fn a_wrong_file_says_what_is_wrong_with_it() {
    let folder = Folder::new();
    for (text, words) in [
        ("", "it is empty; one that turns nothing on is written as {}"),
        ("# basic_auth_users:\n", "it is empty"),
        ("- a\n", "not a web configuration"),
        ("basic_auth_users: {a: b\n", "not a web configuration"),
        ("tls_config: {}\n", "tls_config"),
        ("tls_server_config:\n  min_versoin: TLS12\n", "min_versoin"),
        ("basic_auth_users: {}\nbasic_auth_users: {}\n", "basic_auth_users"),
        ("rate_limit: {interval: 1s, burst: 1, per_client: true}\n", "per_client"),
    ] {
        let error = folder.read(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
    let missing = Web::open(Some(&folder.path("none.yml"))).unwrap_err().to_string();
    assert!(missing.contains("cannot be read: No such file"), "{missing}");
    let of_folder = Web::open(Some(folder.0.path())).unwrap_err().to_string();
    assert!(of_folder.contains("not a regular file"), "{of_folder}");
}

#[test]
fn a_wrong_value_is_refused_with_its_key_and_what_is_allowed() {
    let folder = Folder::new();
    folder.write("large", "x".repeat((1 << 20) + 1));
    let good = ["cert_file: tls.crt", "key_file: tls.key"];
    for (lines, error) in [
        (&["min_version: TLS11"][..], "min_version=\"TLS11\": TLS12 and TLS13 are allowed: this"),
        (&["max_version: TLS10"], "max_version=\"TLS10\": TLS12 and TLS13 are allowed: this"),
        (&["max_version: SSL3"], "max_version=\"SSL3\": TLS12 and TLS13 are allowed"),
        (
            &["min_version: TLS13", "max_version: TLS12"],
            "min_version=\"TLS13\": at most max_version (TLS12)",
        ),
        (
            &["cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]"],
            "cipher_suites=\"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA\": allowed are \
             TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, \
             TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
             TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
             TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256; \
             this program has no suites with CBC",
        ),
        (&["cipher_suites: [best]"], "cipher_suites=\"best\": allowed are"),
        (
            &["cipher_suites: [TLS_AES_128_GCM_SHA256]", "max_version: TLS12"],
            "cipher_suites=\"TLS_AES_128_GCM_SHA256\": at least one suite of TLS 1.2",
        ),
        (
            &["curve_preferences: [CurveP521]"],
            "curve_preferences=\"CurveP521\": CurveP256, CurveP384 and X25519 are allowed: this",
        ),
        (&["curve_preferences: [P256]"], "curve_preferences=\"P256\": CurveP256,"),
        (
            &["prefer_server_cipher_suites: maybe"],
            "prefer_server_cipher_suites=\"maybe\": true and false",
        ),
        (
            &["client_auth_type: Always"],
            "client_auth_type=\"Always\": allowed are NoClientCert, RequestClientCert, \
             RequireAnyClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert",
        ),
        (
            &["client_auth_type: RequireAndVerifyClientCert"],
            "client_auth_type=\"RequireAndVerifyClientCert\": client_ca or client_ca_file",
        ),
        (
            &["client_auth_type: VerifyClientCertIfGiven"],
            "client_auth_type=\"VerifyClientCertIfGiven\": client_ca or client_ca_file",
        ),
        (&["client_ca_file: ca.crt"], "client_auth_type=\"NoClientCert\": with client_ca"),
        (&["client_ca_file: none.crt"], "client_ca_file=\"none.crt\": cannot be read: No such"),
        (
            &["client_ca_file: tls.key"],
            "client_ca_file=\"tls.key\": certificates in PEM are allowed: there is none",
        ),
        (
            &["client_ca_file: large"],
            "client_ca_file=\"large\": cannot be read: it has more than 1 MiB",
        ),
        (
            &["client_ca_file: ca.crt", "client_ca: x"],
            "client_ca_file=\"ca.crt\": beside client_ca",
        ),
        (&["client_ca: x"], "client_ca=\"<secret>\": certificates in PEM"),
        (
            &["client_allowed_sans: [a, b]"],
            "client_allowed_sans=\"a, b\": client_auth_type RequireAndVerifyClientCert is needed \
             with it, not NoClientCert",
        ),
        (
            &[
                "client_allowed_sans: [a]",
                "client_auth_type: VerifyClientCertIfGiven",
                "client_ca_file: ca.crt",
            ],
            "client_allowed_sans=\"a\": client_auth_type RequireAndVerifyClientCert",
        ),
        (
            &["client_allowed_sans: [a]", "client_auth_type: RequireAnyClientCert"],
            "client_allowed_sans=\"a\": client_auth_type RequireAndVerifyClientCert",
        ),
    ] {
        let told = folder.tls(lines).unwrap_err();
        assert!(told.starts_with(&format!("tls_server_config.{error}")), "{lines:?}: {told}");
    }
    let (cert, key) = (good[0], good[1]);
    for (lines, error) in [
        (&[cert][..], "key_file=\"\": TLS needs key or key_file"),
        (&[key], "cert_file=\"\": TLS needs cert or cert_file"),
        (&["min_version: TLS12"], "cert_file=\"\": TLS needs cert or cert_file"),
        (&["cert_file: ''", key], "cert_file=\"\": TLS needs cert or cert_file"),
        (&["cert_file: tls.key", key], "cert_file=\"tls.key\": certificates in PEM"),
        (&[cert, "key_file: tls.crt"], "key_file=\"tls.crt\": a private key in PEM"),
        (&[cert, "key_file: other.key"], "key_file=\"other.key\": it is not the key of the cert"),
        (&[cert, "key: hush"], "key=\"<secret>\": a private key in PEM"),
    ] {
        let told = folder.read(&format!("tls_server_config:\n  {}\n", lines.join("\n  ")));
        let told = told.unwrap_err();
        assert!(told.starts_with(&format!("tls_server_config.{error}")), "{lines:?}: {told}");
        assert!(!told.contains("hush"), "{told}");
    }
    for (text, error) in [
        ("http_server_config: {http2: 3}", "http_server_config.http2=\"3\": true and false"),
        (
            "http_server_config: {headers: {X-Powered-By: us}}",
            "http_server_config.headers.X-Powered-By=\"us\": the headers Content-Security-Policy, \
             Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection \
             are allowed",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: never}}",
            "http_server_config.headers.X-Frame-Options=\"never\": deny or sameorigin is allowed",
        ),
        (
            "http_server_config: {headers: {X-Content-Type-Options: sniff}}",
            "http_server_config.headers.X-Content-Type-Options=\"sniff\": nosniff is allowed",
        ),
        (
            "http_server_config: {headers: {X-XSS-Protection: \"a\\nb\"}}",
            "http_server_config.headers.X-XSS-Protection=\"a\\nb\": one line",
        ),
        ("basic_auth_users: {alice: hush}", "basic_auth_users.alice=\"<secret>\": a bcrypt hash"),
        ("basic_auth_users: {alice: }", "basic_auth_users.alice=\"\": a bcrypt hash"),
        ("rate_limit: {interval: often}", "rate_limit.interval=\"often\": a duration such as 30s"),
        ("rate_limit: {interval: -1s}", "rate_limit.interval=\"-1s\": a duration such as 30s"),
        ("rate_limit: {interval: 1s}", "rate_limit.burst=\"\": a whole number from 1"),
        ("rate_limit: {interval: 1s, burst: 0}", "rate_limit.burst=\"0\": a whole number from 1"),
    ] {
        let told = folder.read(text).unwrap_err();
        assert!(told.starts_with(error), "{text}: {told}");
        assert!(!told.contains("hush"), "{told}");
    }
}

#[test]
fn what_the_exporter_toolkit_wrote_of_old_is_read() {
    let folder = Folder::new();
    assert!(folder.tls(&["client_auth_type: RequireClientCert"]).is_ok());
    assert!(folder.tls(&["prefer_server_cipher_suites: yes"]).unwrap().ignore_client_order);
    assert!(folder.tls(&[]).unwrap().ignore_client_order, "as documented");
    // Its names are told to clients, though nothing is held against them.
    assert!(folder.tls(&["client_auth_type: RequestClientCert", "client_ca_file: ca.crt"]).is_ok());
}

/// Looks until there is news, as long as a change may take.
fn look(web: &Web, seen: &mut Seen) -> Option<News> {
    let file = web.file.clone().unwrap();
    (0..3).find_map(|_| web.look(&file, seen))
}

fn rate(web: &Web) -> Option<u64> {
    web.current().rate.as_ref().map(RateLimit::retry_after)
}

#[test]
fn a_change_is_taken_over_once_it_stands_still_and_a_wrong_one_is_told_once() {
    let folder = Folder::new();
    let of = |seconds: u32| format!("rate_limit: {{interval: {seconds}s, burst: 1}}\n");
    let web = folder.web(&of(10)).unwrap();
    let file = folder.path("web.yml");
    let mut seen = Seen::default();
    assert_eq!(look(&web, &mut seen), None);
    folder.write("web.yml", of(20));
    assert_eq!(web.look(&file, &mut seen), None, "it may still be written");
    folder.write("web.yml", of(30));
    assert_eq!((web.look(&file, &mut seen), rate(&web)), (None, Some(10)));
    let taken = || Some(News::Taken("a rate limit".to_owned()));
    assert_eq!((web.look(&file, &mut seen), rate(&web)), (taken(), Some(30)));

    folder.write("web.yml", "rate_limit: {interval: 1s}\n");
    let Some(News::Refused(reason)) = look(&web, &mut seen) else { panic!("it is wrong") };
    assert!(reason.starts_with("rate_limit.burst=\"\""), "{reason}");
    assert_eq!((look(&web, &mut seen), rate(&web)), (None, Some(30)));
    // The same mistake once more is another change.
    folder.write("web.yml", "rate_limit: {interval: 1s}\n\n");
    assert_eq!(look(&web, &mut seen), Some(News::Refused(reason)));
    fs::remove_file(&file).unwrap();
    let Some(News::Refused(reason)) = look(&web, &mut seen) else { panic!("it is gone") };
    assert!(reason.contains("No such file"), "{reason}");
    folder.write("web.yml", of(40));
    assert_eq!((look(&web, &mut seen), rate(&web)), (taken(), Some(40)));
    assert_eq!(look(&web, &mut seen), None);
}

#[test]
fn a_refused_change_that_is_taken_back_is_told() {
    let folder = Folder::new();
    let web = folder.web("rate_limit: {interval: 1s, burst: 1}\n").unwrap();
    let (file, aside) = (folder.path("web.yml"), folder.path("aside"));
    let mut seen = Seen::default();
    // A link keeps the file what it is when another takes its name.
    fs::rename(&file, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &file).unwrap();
    assert!(matches!(look(&web, &mut seen), Some(News::Taken(_))));
    fs::remove_file(&file).unwrap();
    assert!(matches!(look(&web, &mut seen), Some(News::Refused(_))));
    std::os::unix::fs::symlink(&aside, &file).unwrap();
    assert_eq!(look(&web, &mut seen), Some(News::Restored));
    assert_eq!(look(&web, &mut seen), None);
}

#[test]
fn certificate_and_key_are_taken_over_together_and_tls_is_not_turned_off() {
    let folder = Folder::new();
    let with_tls = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n";
    let web = folder.web(with_tls).unwrap();
    let served = || Arc::as_ptr(web.current().tls.as_ref().unwrap());
    let first = served();
    let mut seen = Seen::default();
    folder.write("tls.crt", folder.text("other.crt"));
    let Some(News::Refused(reason)) = look(&web, &mut seen) else { panic!("no key") };
    assert!(reason.contains("it is not the key of the certificate"), "{reason}");
    assert_eq!(served(), first);
    folder.write("tls.key", folder.text("other.key"));
    assert_eq!(look(&web, &mut seen), Some(News::Taken("TLS".to_owned())));
    assert_ne!(served(), first);
    folder.write("web.yml", "{}\n");
    let Some(News::Refused(reason)) = look(&web, &mut seen) else { panic!("TLS is off") };
    let told = "tls_server_config=\"not set\": turning TLS on or off needs a restart";
    assert_eq!(reason, told);
    assert!(web.current().tls.is_some());
    let plain = folder.web("{}\n").unwrap();
    folder.write("web.yml", with_tls);
    assert!(matches!(look(&plain, &mut Seen::default()), Some(News::Refused(_))));
}

#[test]
fn the_swap_of_a_mounted_secret_is_one_change() {
    let folder = Folder::new();
    let mounted = |version: &str, name: &str| {
        let of_version = folder.path(version);
        fs::create_dir(&of_version).unwrap();
        for kind in ["crt", "key"] {
            let from = folder.path(&format!("{name}.{kind}"));
            fs::copy(from, of_version.join(format!("served.{kind}"))).unwrap();
        }
        let text = "tls_server_config: {cert_file: served.crt, key_file: served.key}\n";
        fs::write(of_version.join("mounted.yml"), text).unwrap();
        std::os::unix::fs::symlink(version, folder.path("..data.new")).unwrap();
        fs::rename(folder.path("..data.new"), folder.path("..data")).unwrap();
    };
    mounted("..1", "tls");
    for name in ["served.crt", "served.key", "mounted.yml"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), folder.path(name)).unwrap();
    }
    let web = Web::open(Some(&folder.path("mounted.yml"))).unwrap();
    let mut seen = Seen::default();
    assert_eq!(look(&web, &mut seen), None);
    let first = web.current().tls.clone().unwrap();
    mounted("..2", "other");
    assert_eq!(look(&web, &mut seen), Some(News::Taken("TLS".to_owned())));
    assert!(!Arc::ptr_eq(&first, web.current().tls.as_ref().unwrap()));
}

#[test]
fn a_limit_of_the_file_is_the_one_that_holds() {
    let folder = Folder::new();
    let read = folder.read("rate_limit: {interval: 1h, burst: 2}\n").unwrap();
    let rate = read.rate.as_ref().unwrap();
    assert_eq!([(); 3].map(|()| rate.allows()), [true, true, false]);
}
