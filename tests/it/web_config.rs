//! `--web.config.file` in the built program: TLS, client certificates, passwords, headers, the rate limit,
//! and changes of the files. Comes in: certificates made for each test, real sockets. Never: a skipped
//! handshake, a request loop without an end.

use crate::support::{Answer, Child, HANG, PageServer, figures, get, program, run, try_get, until};
use crate::tls::{Authority, Client, Pair, der};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::SanType;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use tempfile::TempDir;

/// A folder with `web.yml` and what it names: `tls.crt`, `tls.key`, `ca.crt`.
pub(crate) struct Folder {
    folder: TempDir,
    /// Who signed everything.
    pub(crate) authority: Authority,
    pub(crate) served: Pair,
}

/// The keys that turn TLS on.
pub(crate) const TLS: &str = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n";

impl Folder {
    pub(crate) fn new(text: &str) -> Folder {
        let authority = Authority::new("ours");
        let served = authority.server();
        let folder = Folder { folder: tempfile::tempdir().unwrap(), authority, served };
        folder.write("tls.crt", &folder.served.certificate);
        folder.write("tls.key", &folder.served.key);
        folder.write("ca.crt", &folder.authority.certificate);
        folder.write("web.yml", text);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// By a rename, so that no half of it is read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let half = self.path("half");
        fs::write(&half, text).unwrap();
        fs::rename(half, self.path(name)).unwrap();
    }

    /// One that trusts the server, and shows nothing.
    fn client(&self) -> Client {
        Client::new(&self.authority, None)
    }

    pub(crate) fn start(&self) -> Service {
        let node = PageServer::start("awscni_assigned_ip_addresses 7\n");
        let child = Child::program([
            "--web.listen-address=127.0.0.1:0".to_owned(),
            "--scrape.interval=300ms".to_owned(),
            format!("--discover.targets={}", node.address),
            format!("--web.config.file={}", self.path("web.yml").display()),
        ]);
        Service { address: child.listening(), child }
    }
}

pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

/// A hash of this password, at the usual cost.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 10).unwrap()
}

fn login(name: &str, password: &str) -> (&'static str, String) {
    let pair = BASE64_STANDARD.encode(format!("{name}:{password}"));
    ("Authorization", format!("Basic {pair}"))
}

fn get_as(address: SocketAddr, path: &str, login: &(&str, String)) -> Answer {
    get(address, path, &[(login.0, &login.1)])
}

const SUCCESSFUL: &str = "vpccni_exporter_web_config_last_reload_successful";
const SUCCESS_TIME: &str = "vpccni_exporter_web_config_last_reload_success_timestamp_seconds";

fn handshakes_failed(page: &str) -> f64 {
    figures(page)["vpccni_exporter_http_connections_closed_total{reason=\"handshake\"}"]
}

#[test]
fn a_wrong_file_stops_the_start_with_2_and_names_flag_file_key_and_what_is_allowed() {
    let folder = Folder::new("tls_server_config: {min_version: TLS10}\n");
    let file = folder.path("web.yml").display().to_string();
    let flags = ["--discover.targets=127.0.0.1:1", "--web.listen-address=127.0.0.1:0"];
    let ended = |text: &str| {
        folder.write("web.yml", text);
        let mut by_flag = program();
        by_flag.args(flags).arg(format!("--web.config.file={file}"));
        let mut by_variable = program();
        by_variable.args(flags).env("VPCCNI_WEB_CONFIG_FILE", &file);
        let of = |command| {
            let ended = run(command, b"");
            assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
            assert!(ended.stderr.contains("--web.config.file"), "{}", ended.stderr);
            assert!(ended.stderr.contains(&file), "{}", ended.stderr);
            ended.stderr
        };
        let named = of(by_variable);
        assert!(named.contains("(variable VPCCNI_WEB_CONFIG_FILE)"), "{named}");
        of(by_flag)
    };
    let told = ended(&format!("{TLS}  min_version: TLS10\n"));
    assert!(told.contains("tls_server_config.min_version=\"TLS10\": TLS12 and TLS13"), "{told}");
    let told = ended("basic_auth_user: {}\n");
    assert!(told.contains("basic_auth_user"), "{told}");
    folder.write("tls.key", &folder.authority.server().key);
    let told = ended(TLS);
    assert!(told.contains("key_file=\"tls.key\": it is not the key of the certificate"), "{told}");
    let mut missing = program();
    missing.args(flags).arg("--web.config.file=/none/web.yml");
    let told = run(missing, b"");
    assert_eq!(told.status.code(), Some(2), "{}", told.stderr);
    assert!(told.stderr.contains("cannot be read"), "{}", told.stderr);
}

#[test]
fn within_tls_all_is_as_without_and_plain_http_is_closed_cleanly() {
    let folder = Folder::new(TLS);
    let service = folder.start();
    let client = folder.client();
    let page = until("cluster over TLS", || {
        let got = client.get(service.address, "/metrics", &[("Accept-Encoding", "gzip")]).unwrap();
        Some(got.answer.text()).filter(|page| page.contains("vpccni_cluster_"))
    });
    assert_eq!(handshakes_failed(&page), 0.0);
    let got = client.get(service.address, "/readyz", &[]).unwrap();
    assert_eq!((got.version, got.answer.status), (ProtocolVersion::TLSv1_3, 200));
    assert!(got.answer.text().starts_with("ready: targets: 1"), "without users nothing is hidden");
    assert_eq!(got.alpn.as_deref(), Some(&b"http/1.1"[..]), "HTTP/2 was offered, too");

    // The end of the stream, after what is no HTTP, and not a reset.
    let mut plain = TcpStream::connect(service.address).unwrap();
    plain.set_read_timeout(Some(HANG)).unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    plain.read_to_end(&mut said).unwrap();
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    let stranger = Client::new(&Authority::new("not ours"), None);
    let refused = stranger.refusal(service.address);
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    // One that only looks whether the port is open is no failed handshake.
    drop(TcpStream::connect(service.address).unwrap());
    let gone = "vpccni_exporter_http_connections_closed_total{reason=\"client_gone\"}";
    let page = until("two failed and one gone", || {
        let page = client.get(service.address, "/metrics?scope=self", &[]).unwrap().answer.text();
        (handshakes_failed(&page) == 2.0 && figures(&page)[gone] >= 1.0).then_some(page)
    });
    assert_eq!(figures(&page)[SUCCESSFUL], 1.0);
    assert!(figures(&page)[SUCCESS_TIME] > 1_700_000_000.0);
    service.child.line("line of a failed handshake", |line| {
        line.contains("TLS handshake failed").then_some(())
    });
    service.child.signal("TERM");
    assert_eq!(service.child.ended().status.code(), Some(0));
}

fn suites(names: &[CipherSuite]) -> Vec<SupportedCipherSuite> {
    let of = |name: &CipherSuite| {
        let all = aws_lc_rs::ALL_CIPHER_SUITES;
        *all.iter().find(|suite| suite.suite() == *name).unwrap()
    };
    names.iter().map(of).collect()
}

#[test]
fn versions_and_ciphers_are_those_of_the_file() {
    use CipherSuite as Suite;
    const SMALL: Suite = Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    const LARGE: Suite = Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    const OTHER: Suite = Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    let folder = Folder::new(&format!(
        "{TLS}  max_version: TLS12\n  cipher_suites: [{}, {}]\n  curve_preferences: [CurveP384]\n",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    ));
    let service = folder.start();
    let client = |wanted: &[Suite], version| {
        let provider =
            CryptoProvider { cipher_suites: suites(wanted), ..aws_lc_rs::default_provider() };
        Client::with(&folder.authority, None, provider, &[version])
    };
    let got = |client: &Client| client.get(service.address, "/livez", &[]).unwrap();
    let agreed = |wanted: &[Suite]| got(&client(wanted, &TLS12)).suite;
    assert_eq!(got(&folder.client()).version, ProtocolVersion::TLSv1_2);
    assert_eq!(agreed(&[LARGE, SMALL]), SMALL, "the server's order");
    assert_eq!(agreed(&[OTHER, LARGE]), LARGE);
    let refused = client(&[OTHER], &TLS12).refusal(service.address);
    assert!(refused.contains("HandshakeFailure"), "{refused}");
    let new = client(&[Suite::TLS13_AES_128_GCM_SHA256], &TLS13).refusal(service.address);
    assert!(new.contains("ProtocolVersion"), "{new}");
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let curve = Client::with(&folder.authority, None, provider, &[&TLS12]);
    let refused = curve.refusal(service.address);
    assert!(refused.contains("HandshakeFailure"), "{refused}");

    // Each connection is served as the file says when it begins.
    folder.write(
        "web.yml",
        &format!("{TLS}  min_version: TLS12\n  prefer_server_cipher_suites: false\n"),
    );
    until("the client's order", || (agreed(&[OTHER, LARGE]) == OTHER).then_some(()));
    folder.write("web.yml", &format!("{TLS}  min_version: TLS13\n"));
    let old = client(&[SMALL], &TLS12);
    until("TLS 1.3 alone", || old.get(service.address, "/livez", &[]).err());
    assert_eq!(got(&folder.client()).version, ProtocolVersion::TLSv1_3);
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

#[test]
fn a_client_certificate_must_be_of_the_authority_in_time_and_of_an_allowed_name() {
    let folder = Folder::new(&format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
         client_allowed_sans: [prometheus, 10.0.0.1, \"fd00::1\", ops@example.com, \"spiffe://a/b\"]\n"
    ));
    let service = folder.start();
    let ours = &folder.authority;
    let with = |pair: &Pair| Client::new(ours, Some(pair));
    for name in [
        dns("prometheus"),
        SanType::IpAddress("10.0.0.1".parse().unwrap()),
        SanType::IpAddress("fd00::1".parse().unwrap()),
        SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
        SanType::URI("spiffe://a/b".try_into().unwrap()),
    ] {
        let client = with(&ours.client(&[dns("another"), name.clone()]));
        let got = client.get(service.address, "/livez", &[]);
        assert_eq!(got.map(|got| got.answer.status).ok(), Some(200), "{name:?}");
    }
    let refused = folder.client().refusal(service.address);
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let not_ours = Authority::new("not ours").client(&[dns("prometheus")]);
    let refused = with(&not_ours).refusal(service.address);
    assert!(refused.contains("UnknownCA"), "{refused}");
    let refused = with(&ours.expired_client()).refusal(service.address);
    assert!(refused.contains("CertificateExpired"), "{refused}");
    // A pattern is no name, and a part of one neither.
    for names in [&[][..], &[dns("*")], &[dns("prometheus.example.com")], &[dns("Prometheus")]] {
        let refused = with(&ours.client(names)).refusal(service.address);
        assert!(refused.contains("received fatal alert"), "{names:?}: {refused}");
    }
    let for_servers = with(&folder.served).refusal(service.address);
    assert!(for_servers.contains("received fatal alert"), "{for_servers}");
    let page = with(&ours.client(&[dns("prometheus")])).get(service.address, "/metrics", &[]);
    assert_eq!(handshakes_failed(&page.unwrap().answer.text()), 8.0);
}

#[test]
fn each_policy_asks_what_its_name_says() {
    let folder = Folder::new(&format!("{TLS}  client_auth_type: RequestClientCert\n"));
    let (ours, theirs) = (&folder.authority, Authority::new("not ours"));
    let shown = [None, Some(ours.client(&[])), Some(theirs.client(&[]))];
    let of = |policy: &str, more: &str| {
        folder.write("web.yml", &format!("{TLS}  client_auth_type: {policy}\n{more}"));
        let service = folder.start();
        shown.clone().map(|pair| {
            let client = Client::new(ours, pair.as_ref());
            // Of TLS 1.2, too, where the signature is another.
            let old = Client::with(ours, pair.as_ref(), aws_lc_rs::default_provider(), &[&TLS12]);
            let answered = client.get(service.address, "/livez", &[]).is_ok();
            assert_eq!(old.get(service.address, "/livez", &[]).is_ok(), answered, "{policy}");
            answered
        })
    };
    let ca = "  client_ca_file: ca.crt\n";
    assert_eq!(of("NoClientCert", ""), [true, true, true]);
    assert_eq!(of("RequestClientCert", ca), [true, true, true]);
    assert_eq!(of("RequireAnyClientCert", ""), [false, true, true]);
    assert_eq!(of("VerifyClientCertIfGiven", ca), [true, true, false]);
    assert_eq!(of("RequireAndVerifyClientCert", ca), [false, true, false]);
}

#[test]
fn users_alone_read_anything_but_the_probes_yes_or_no() {
    let folder = Folder::new(&format!("basic_auth_users:\n  alice: {}\n", hash("secret")));
    let service = folder.start();
    let web = service.address;
    let alice = login("alice", "secret");
    until("a first round", || {
        get_as(web, "/readyz", &alice).text().starts_with("yes").then_some(())
    });
    for path in ["/metrics", "/", "/api/v1/status", "/api/v1/nodes", "/none", "/readyz/", "//livez"]
    {
        let refused = get(web, path, &[]);
        assert_eq!(refused.status, 401, "{path}");
        let asked = refused.header("www-authenticate").unwrap();
        assert!(asked.starts_with("Basic realm=\"vpc-cni-exporter\""), "{asked}");
        assert_eq!(refused.header("cache-control"), Some("no-store"));
    }
    for wrong in [login("alice", "Secret"), login("alice", ""), login("bob", "secret")] {
        assert_eq!(get_as(web, "/metrics", &wrong).status, 401, "{wrong:?}");
    }
    for probe in ["/livez", "/healthz", "/-/healthy", "/readyz", "/-/ready"] {
        let answer = get(web, probe, &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "yes\n"), "{probe}");
    }
    assert_eq!(get_as(web, "/api/v1/status", &alice).status, 200);
    let page = figures(&get_as(web, "/metrics", &alice).text());
    let of = |name: &str| page.get(name).copied();
    let requests = "vpccni_exporter_http_requests_total{code=\"401\",path=\"/metrics\"}";
    assert_eq!(of(requests), Some(4.0));
    let checks = "vpccni_exporter_web_password_checks_total{outcome=\"wrong\"}";
    assert_eq!(of(checks), Some(3.0));
    let log = service.child.so_far();
    assert!(!log.contains("secret") && !log.contains("alice"), "{log}");
}

#[test]
fn guessing_passwords_costs_neither_probes_nor_known_users_their_answers() {
    /// Far more than may wait.
    const GUESSES: usize = 60;
    let folder = Folder::new(&format!("basic_auth_users:\n  alice: {}\n", hash("secret")));
    let service = folder.start();
    let web = service.address;
    let alice = login("alice", "secret");
    assert_eq!(get_as(web, "/metrics", &alice).status, 200);
    let guessing: Vec<_> = (0..GUESSES)
        .map(|n| thread::spawn(move || get_as(web, "/metrics", &login("alice", &n.to_string()))))
        .collect();
    // While they come and wait.
    let mut meanwhile = 0;
    while meanwhile == 0 || guessing.iter().any(|guess| !guess.is_finished()) {
        assert_eq!(get(web, "/livez", &[]).status, 200);
        assert_eq!(get_as(web, "/metrics?scope=cluster", &alice).status, 200);
        meanwhile += 1;
    }
    let mut refused = 0;
    for guess in guessing {
        let answer = guess.join().unwrap();
        match answer.status {
            401 => {}
            503 => {
                assert_eq!(answer.header("retry-after"), Some("1"));
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    let page = figures(&get_as(web, "/metrics", &alice).text());
    let of = |outcome: &str| {
        page[&format!("vpccni_exporter_web_password_checks_total{{outcome=\"{outcome}\"}}")]
    };
    assert!(refused > 0, "all {GUESSES} waited");
    assert_eq!((of("refused"), of("right")), (refused as f64, 1.0), "known by one check");
    assert_eq!(of("wrong"), (GUESSES - refused) as f64);
}

#[test]
fn headers_are_of_every_answer_and_the_rate_limit_of_all_but_probes() {
    let folder = Folder::new(
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    \
         Strict-Transport-Security: max-age=60\nrate_limit: {interval: 1h, burst: 2}\n",
    );
    let service = folder.start();
    let mut answers = Vec::new();
    for path in ["/metrics", "/none", "/metrics", "/livez", "/livez"] {
        let answer = get(service.address, path, &[]);
        assert_eq!(answer.header("x-frame-options"), Some("deny"), "{path}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=60"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        answers.push(answer);
    }
    let codes: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(codes, [200, 404, 429, 200, 200]);
    assert_eq!(answers[2].header("retry-after"), Some("3600"));
    assert_eq!(answers[3].text(), "healthy\n", "without users nothing is hidden");
}

#[test]
fn a_good_change_is_served_and_a_wrong_one_leaves_the_old_and_is_told_once() {
    let users = |name: &str| format!("basic_auth_users:\n  {name}: {}\n", hash("secret"));
    let folder = Folder::new(&users("alice"));
    let service = folder.start();
    let web = service.address;
    let (alice, bob) = (login("alice", "secret"), login("bob", "secret"));
    assert_eq!(get_as(web, "/metrics", &alice).status, 200);
    assert_eq!(get_as(web, "/metrics", &bob).status, 401);
    let before = figures(&get_as(web, "/metrics", &alice).text())[SUCCESS_TIME];
    folder.write("web.yml", &users("bob"));
    until("bob", || (get_as(web, "/metrics", &bob).status == 200).then_some(()));
    assert_eq!(get_as(web, "/metrics", &alice).status, 401, "remembered, but no longer a user");
    let page = || figures(&get_as(web, "/metrics?scope=self", &bob).text());
    assert!(page()[SUCCESS_TIME] > before);

    folder.write("web.yml", "basic_auth_users: {bob: secret}\n");
    let after = until("refused change", || Some(page()).filter(|page| page[SUCCESSFUL] == 0.0));
    assert!(after[SUCCESS_TIME] > before);
    let told = |line: &str| line.contains("a change of --web.config.file is refused");
    service.child.line("line of it", |line| {
        (told(line) && line.contains("basic_auth_users.bob=") && line.contains("a bcrypt hash"))
            .then_some(())
    });
    assert_eq!(get_as(web, "/metrics", &alice).status, 401);
    folder.write("web.yml", &users("alice"));
    until("alice", || (get_as(web, "/metrics", &alice).status == 200).then_some(()));
    let page = figures(&get_as(web, "/metrics?scope=self", &alice).text());
    assert_eq!(page[SUCCESSFUL], 1.0);
    let log = service.child.so_far();
    assert_eq!(log.lines().filter(|line| told(line)).count(), 1, "{log}");
    assert!(!log.contains("secret\""), "{log}");
}

#[test]
fn the_swap_of_a_mounted_secret_is_served() {
    let folder = Folder::new(TLS);
    let mount = |version: &str, pair: &Pair| {
        let of_version = folder.path(version);
        fs::create_dir(&of_version).unwrap();
        fs::write(of_version.join("tls.crt"), &pair.certificate).unwrap();
        fs::write(of_version.join("tls.key"), &pair.key).unwrap();
        fs::write(of_version.join("web.yml"), TLS).unwrap();
        // As the kubelet does it: all names at once.
        symlink(version, folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    mount("..1", &folder.served);
    for name in ["tls.crt", "tls.key", "web.yml"] {
        fs::remove_file(folder.path(name)).unwrap();
        symlink(format!("..data/{name}"), folder.path(name)).unwrap();
    }
    let service = folder.start();
    let served = || folder.client().get(service.address, "/livez", &[]).unwrap().certificate;
    assert_eq!(served(), der(&folder.served.certificate));
    let next = folder.authority.server();
    mount("..2", &next);
    fs::remove_dir_all(folder.path("..1")).unwrap();
    until("the next certificate", || (served() == der(&next.certificate)).then_some(()));
    // A certificate without its key is not taken.
    fs::write(folder.path("..2/tls.crt"), &folder.served.certificate).unwrap();
    service.child.line("line that it is refused", |line| {
        line.contains("it is not the key of the certificate").then_some(())
    });
    assert_eq!(served(), der(&next.certificate));
    assert!(try_get(service.address, "/livez", &[]).is_err(), "plain");
}
