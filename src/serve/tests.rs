//! The server over real sockets, with clients written by hand.

use super::*;
use crate::model::{Moment, NodeState, Outcome, Source, Target};
use crate::promise::Promise;
use crate::render::detail;
use crate::render::gzip::{compress, join, plain};
use crate::view::{NodeView, View};
use axum::body::Bytes;
use flate2::bufread::GzDecoder;
use serde_json::{Value, json};
use std::io::Read;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes so long unless it hangs.
const HANG: Duration = Duration::from_secs(30);

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(200);

struct Site {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

/// A server on a free port, with the changes that the test is about.
fn site(change: impl FnOnce(&mut Settings)) -> Site {
    site_of(change, false)
}

fn on(address: &str) -> Settings {
    Settings { listen_address: address.parse().unwrap(), ..Settings::default() }
}

fn site_of(change: impl FnOnce(&mut Settings), hide_data: bool) -> Site {
    site_with(change, hide_data, Arc::new(Promise::forever()))
}

fn site_with(change: impl FnOnce(&mut Settings), hide_data: bool, promise: Arc<Promise>) -> Site {
    let mut settings = on("127.0.0.1:0");
    change(&mut settings);
    let interval = Duration::from_secs(30);
    let detail = Arc::new(Detail::new(detail::Settings::default()));
    let clock = Clock::start();
    let shared =
        Shared::new(&settings, Observe::new(), interval, hide_data, clock, detail, promise);
    let bound = bind(&settings).unwrap();
    let (address, stop) = (bound.address(), CancellationToken::new());
    let served = tokio::spawn(bound.serve(Arc::clone(&shared), stop.clone()));
    Site { address, shared, stop, served }
}

const CLUSTER: &str = "vpccni_cluster_enis_attached 3\n";
const NODE: [&str; 2] =
    ["awscni_eni_allocated{node=\"a\"} 1\n", "awscni_eni_allocated{node=\"b\"} 2\n"];

fn published() -> Published {
    let taken = Moment { unix: 1_800_000_000.0, uptime: 1.0 };
    Published {
        view: Arc::new(View { taken, generation: 4, ..View::default() }),
        cluster: compress(CLUSTER.into()),
        node: join(&NODE.map(|part| compress(part.into()))),
        cluster_open_metrics: compress("open 1\n".into()),
        seconds: 0.125,
        term: 0,
    }
}

/// A node scope that no socket buffer swallows.
fn huge() -> Published {
    let line = Bytes::from(vec![b'#'; 32 * 1024 * 1024]);
    Published { node: plain(line), ..Published::default() }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn of(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| {
            line.split(':').next().is_some_and(|key| key.eq_ignore_ascii_case(name))
        })?;
        Some(line.split_once(": ").unwrap().1)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Site {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and takes what comes until the other side closes.
    async fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // The server may refuse before it has read everything.
        drop(stream.write_all(bytes).await);
        rest(&mut stream).await
    }

    async fn request(&self, method: &str, target: &str, headers: &str) -> Answer {
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n");
        let answer = Answer::of(&self.send(request.as_bytes()).await);
        if method != "HEAD" {
            let length = answer.body.len().to_string();
            assert_eq!(answer.header("content-length"), Some(&*length), "{target}");
        }
        answer
    }

    async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "").await
    }

    fn counted(&self, name: &str, label: &str) -> f64 {
        let families = self.shared.observe.registry.gather();
        let metrics = families.iter().find(|f| f.name() == name).unwrap().get_metric();
        let has = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|l| l.value() == label);
        metrics.iter().filter(has).map(|m| m.get_counter().get_value()).sum()
    }

    async fn closed(&self, reason: &str) {
        self.until(|| self.counted("vpccni_exporter_http_connections_closed_total", reason) > 0.0)
            .await;
    }

    async fn until(&self, done: impl Fn() -> bool) {
        let waiting = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(HANG, waiting).await.expect("it comes about");
    }

    /// A client that asks for a huge body and reads none of it, once the answer is under way.
    async fn stuck(&self) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stream
    }
}

/// All bytes until the other side closes, also if it does so by a reset.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    drop(tokio::time::timeout(HANG, stream.read_to_end(&mut bytes)).await.expect("an end"));
    bytes
}

/// Whether a page is the scope `self`, from its first byte.
fn is_own(page: &str) -> bool {
    page.starts_with("# HELP ")
        && page.contains("# TYPE vpccni_exporter_http_connections gauge\n")
        && !page.contains("awscni_")
        && !page.contains("vpccni_cluster_")
}

fn gunzip(bytes: &[u8]) -> String {
    let mut decoder = GzDecoder::new(bytes);
    let mut text = String::new();
    decoder.read_to_string(&mut text).unwrap();
    assert_eq!(decoder.into_inner(), b"", "one member and nothing after it");
    text
}

#[tokio::test]
async fn before_the_first_round_only_our_own_families_are_served() {
    let site = site(|_| {});
    let page = site.get("/metrics").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(page.header("vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.text().contains("# TYPE vpccni_exporter_http_connections gauge\n"));
    assert!(!page.text().contains("vpccni_cluster_"));
    let data = site.get("/metrics?scope=cluster&scope=node").await;
    assert_eq!((data.status, data.text()), (200, ""));
}

#[tokio::test]
async fn scopes_are_joined_in_order_from_the_prepared_parts() {
    let site = site(|_| {});
    site.shared.publish(published());
    assert_eq!(site.get("/metrics?scope=cluster").await.text(), CLUSTER);
    assert_eq!(site.get("/metrics?scope=node").await.text(), NODE.concat());
    let both = site.get("/metrics?scope=node&scope=cluster").await;
    assert_eq!(both.text(), [CLUSTER, &NODE.concat()].concat());
    let all = site.get("/metrics").await;
    let own = all.text().strip_prefix(both.text()).expect("cluster, then node, then self");
    assert!(is_own(own));
    let own = site.get("/metrics?scope=self").await;
    assert!(is_own(own.text()));
}

#[tokio::test]
async fn gzip_is_one_member_of_the_same_text() {
    let site = site(|_| {});
    site.shared.publish(published());
    let gzip = |target: &'static str| site.request("GET", target, "Accept-Encoding: gzip\r\n");
    let page = gzip("/metrics?scope=cluster&scope=node").await;
    assert_eq!(page.header("content-encoding"), Some("gzip"));
    assert_eq!(gunzip(&page.body), [CLUSTER, &NODE.concat()].concat());
    let all = gunzip(&gzip("/metrics").await.body);
    assert!(all.starts_with(CLUSTER) && all.contains("# TYPE vpccni_exporter_body_bytes gauge"));
    assert_eq!(gunzip(&gzip("/metrics?scope=node&name[]=nothing").await.body), "");
    let refused = site.request("GET", "/metrics", "Accept-Encoding: gzip;q=0\r\n").await;
    assert_eq!(refused.header("content-encoding"), None);
}

/// A view of nodes that never answered.
fn view_of(names: &[&str]) -> Arc<View> {
    let node = |&name: &&str| NodeView {
        growth: None,
        target: Arc::new(Target::new(name, "10.0.0.1", 61678, "/metrics", Source::Static)),
        state: NodeState::Failed,
        last_outcome: Some(Outcome::Refused),
        reason: "connection refused".into(),
        last_scrape: Some(1.0),
        last_success: None,
        last_seconds: 0.5,
        recent: Default::default(),
        samples: 0,
        ipv6: false,
        page: None,
    };
    Arc::new(View { nodes: names.iter().map(node).collect(), ..View::default() })
}

#[tokio::test]
async fn narrowed_requests_are_rendered_from_the_view() {
    let site = site(|_| {});
    let names = ["a", "b", "c", "d", "e", "f"];
    site.shared.publish(Published { view: view_of(&names), ..published() });
    let success = |page: &Answer| -> Vec<String> {
        let lines = page.text().lines().filter(|l| l.starts_with("vpccni_node_scrape_success{"));
        lines.map(str::to_owned).collect()
    };
    let one = site.get("/metrics?node=b").await;
    assert_eq!(success(&one), ["vpccni_node_scrape_success{node=\"b\"} 0"]);
    assert!(!one.text().contains("vpccni_cluster_") && !one.text().contains("vpccni_exporter_"));
    let named = site.get("/metrics?name[]=vpccni_node_scrape_success&node=c").await;
    assert_eq!(named.text().lines().filter(|line| !line.starts_with('#')).count(), 1);
    let mut shards = Vec::new();
    for shard in ["0/2", "1/2"] {
        let part = success(&site.get(&format!("/metrics?shard={shard}")).await);
        assert!(!part.is_empty() && part.len() < names.len(), "{part:?}");
        shards.extend(part);
    }
    shards.sort();
    assert_eq!(shards.len(), names.len());
    assert!(shards[5].contains("node=\"f\""));
    let states = site.get("/metrics?name[]=vpccni_cluster_nodes").await;
    assert!(states.text().contains("vpccni_cluster_nodes{state=\"failed\"} 6\n"));
    assert!(!states.text().contains("vpccni_node_") && !states.text().contains("exporter"));
    let own = site.get("/metrics?name[]=vpccni_exporter_view_generation&scope=self").await;
    let samples: Vec<&str> = own.text().lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(samples, ["vpccni_exporter_view_generation 0"]);
    let unknown = site.get("/metrics?name[]=nothing").await;
    assert_eq!((unknown.status, unknown.text()), (200, ""));
    let nodes = site.get("/api/v1/nodes?node=d").await.json();
    assert_eq!(nodes["nodes"][0]["reason"], json!("connection refused"));
    assert_eq!(site.get("/api/v1/status").await.json()["nodes"]["failed"], json!(6));
}

#[tokio::test]
async fn a_new_view_replaces_the_old_one() {
    let site = site(|_| {});
    site.shared.publish(published());
    site.shared.publish(Published { cluster: compress("new 1\n".into()), ..published() });
    assert_eq!(site.get("/metrics?scope=cluster").await.text(), "new 1\n");
}

#[tokio::test]
async fn hidden_data_leaves_probes_own_families_and_status() {
    let site = site_of(|_| {}, true);
    site.shared.readiness.synced(2);
    site.shared.publish(published());
    assert_eq!(site.get("/metrics?scope=cluster&scope=node").await.text(), "");
    assert_eq!(site.get("/metrics?node=a").await.text(), "");
    assert!(is_own(site.get("/metrics").await.text()));
    assert_eq!(site.get("/readyz").await.status, 200);
    assert_eq!(site.get("/api/v1/status").await.json()["data_hidden"], json!(true));
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let site = site(|_| {});
    site.shared.publish(published());
    for target in
        ["/metrics?scope=cluster&scope=node", "/healthz", "/nowhere", "/metrics?scope=x", "/"]
    {
        let (head, get) = (site.request("HEAD", target, "").await, site.get(target).await);
        let strip = |a: &Answer| -> Vec<String> {
            let lines = a.head.lines().filter(|line| !line.starts_with("date:"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(strip(&head), strip(&get));
        assert_eq!(head.body, b"");
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let site = site(|_| {});
    site.shared.publish(published());
    let mut requests = String::new();
    for _ in 0..50 {
        requests.push_str("HEAD /metrics?scope=cluster HTTP/1.1\r\nHost: x\r\n\r\n");
        requests.push_str("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    requests.push_str("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answers = String::from_utf8(site.send(requests.as_bytes()).await).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 101);
    assert_eq!(answers.matches("healthy\n").count(), 51);
    assert!(!answers.contains(CLUSTER));
}

#[tokio::test]
async fn wrong_parameters_are_answered_with_what_is_allowed() {
    let site = site(|_| {});
    let bad = site.get("/metrics?scope=nodes").await;
    assert_eq!(bad.status, 400);
    assert_eq!(bad.text(), "bad scope=\"nodes\"; allowed: cluster, node or self\n");
    assert_eq!(site.get("/metrics?shard=2/2").await.status, 400);
    assert_eq!(site.get("/metrics?name=x").await.status, 400);
    let bad = site.get("/api/v1/nodes?per_page=5000").await;
    assert_eq!(bad.status, 400);
    let told = json!({
        "key": "per_page", "value": "5000", "allowed": "a whole number from 1 to 1000"
    });
    assert_eq!(bad.json(), told);
    assert_eq!(site.get("/api/v1/status?x=1").await.json()["key"], json!("x"));
}

#[tokio::test]
async fn unknown_paths_wrong_methods_and_bodies_have_answers_of_their_own() {
    let site = site(|settings| settings.telemetry_path = "/cni".parse().unwrap());
    assert_eq!(site.get("/cni?scope=cluster").await.status, 200);
    let lost = site.get("/metrics").await;
    assert_eq!(lost.status, 404);
    assert_eq!(
        lost.text(),
        "not found; there are: /cni / /node/{name} /static/{file} /api/v1/status /api/v1/nodes /healthz /livez /readyz \
         /-/healthy /-/ready\n"
    );
    let wrong = site.request("POST", "/cni", "").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET,HEAD")));
    let body = site.send(b"GET /cni HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(Answer::of(&body).status, 413);
    let requests = "vpccni_exporter_http_requests_total";
    assert_eq!(site.counted(requests, "404"), 1.0);
    assert_eq!(site.counted(requests, "405"), 1.0);
    assert_eq!(site.counted(requests, "413"), 1.0);
    assert_eq!(site.counted(requests, "/metrics"), 3.0);
    assert_eq!(site.counted(requests, "other"), 1.0);
}

#[tokio::test]
async fn probes_follow_the_state() {
    let site = site(|_| {});
    for live in ["/healthz", "/livez", "/-/healthy"] {
        assert_eq!(site.get(live).await.text(), "healthy\n");
    }
    let unready = site.get("/-/ready").await;
    assert_eq!(unready.status, 503);
    assert_eq!(unready.text(), "not ready: discovery has not read all of its sources yet\n");
    site.shared.readiness.synced(2);
    site.shared.readiness.rounds_closed(1, 0.5, 0.5);
    assert_eq!(site.get("/readyz").await.status, 503);
    site.shared.publish(published());
    let ready = site.get("/readyz").await;
    assert_eq!((ready.status, ready.text()), (200, "ready: targets: 2, rounds closed: 1\n"));
    // As if the publishing had been 91 s ago.
    site.shared.readiness.published(site.shared.uptime() - 91.0);
    let stale = site.get("/readyz").await;
    assert_eq!(stale.status, 503);
    assert!(stale.text().starts_with("not ready: the view was made 91 s ago"), "{}", stale.text());
    assert_eq!(site.get("/livez").await.status, 200);
}

/// The mirror, while there is none.
fn off() -> Value {
    json!({
        "cluster": null, "cluster_from": null, "billed_metrics": 0,
        "estimated_monthly_cost_dollars": null, "estimate": null, "outlets": []
    })
}

#[tokio::test]
async fn the_status_has_its_fields_before_and_after_the_first_view() {
    let site = site(|_| {});
    let mut status = site.get("/api/v1/status").await.json();
    assert!(status["uptime_seconds"].take().as_f64().is_some_and(|uptime| uptime > 0.0));
    let before = json!({
        "version": env!("CARGO_PKG_VERSION"), "uptime_seconds": null, "ready": false,
        "ready_reason": "discovery has not read all of its sources yet", "targets": null,
        "rounds_closed": 0, "last_round_seconds": null, "nodes": null, "view": null,
        "data_hidden": false, "serves_data": false, "may_serve": true, "mirror": off(),
        "connections": 1
    });
    assert_eq!(status, before);
    site.shared.readiness.synced(2);
    site.shared.readiness.rounds_closed(1, 0.5, 0.5);
    let published = published();
    let gzip = published.cluster.deflate.len() + published.node.deflate.len();
    site.shared.publish(published);
    let mut status = site.get("/api/v1/status").await.json();
    status["uptime_seconds"].take();
    assert!(status["view"]["age_seconds"].take().as_f64().is_some_and(|age| age >= 0.0));
    let after = json!({
        "version": env!("CARGO_PKG_VERSION"), "uptime_seconds": null, "ready": true,
        "ready_reason": "targets: 2, rounds closed: 1", "targets": 2, "rounds_closed": 1,
        "last_round_seconds": 0.5,
        "nodes": {"up": 0, "stale": 0, "failed": 0, "missing": 0},
        "view": {
            "generation": 4, "taken": 1_800_000_000.0, "age_seconds": null,
            "publish_seconds": 0.125, "cluster_bytes": CLUSTER.len(),
            "node_bytes": NODE.concat().len(), "gzip_bytes": gzip
        },
        "data_hidden": false, "serves_data": true, "may_serve": true, "mirror": off(),
        "connections": 1
    });
    assert_eq!(status, after);
    let nodes = site.get("/api/v1/nodes").await.json();
    let none = json!({"page": 1, "per_page": 100, "total": 0, "complete": true, "nodes": []});
    assert_eq!(nodes, none);
}

#[tokio::test]
async fn the_pages_take_nothing_from_elsewhere_and_tell_the_state() {
    let site = site(|_| {});
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
        connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (path, status, words) in [
        ("/", 200, "Not ready: discovery has not read all"),
        ("/node/a%2Fb", 404, "No node is known yet"),
    ] {
        let page = site.get(path).await;
        assert_eq!(page.status, status);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.header("content-security-policy"), Some(policy));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert!(page.text().contains(words), "{}", page.text());
        // Behind a proxy the root is another.
        assert!(!page.text().contains("=\"/"), "{}", page.text());
    }
    site.shared.publish(Published { view: view_of(&["a/b"]), ..Published::default() });
    let page = site.get("/node/a%2Fb").await;
    assert!(page.status == 200 && page.text().contains("<h1>a/b</h1>"), "{}", page.text());
    assert!(site.get("/").await.text().contains("href=\"node/a%2Fb\""));
    assert_eq!(site.get("/node/a/b").await.status, 404);
    let zipped = site.request("GET", "/", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut plain = String::new();
    GzDecoder::new(&zipped.body[..]).read_to_string(&mut plain).unwrap();
    assert!(plain.starts_with("<!DOCTYPE html>"), "{plain}");
}

#[tokio::test]
async fn files_of_the_pages_have_their_types_and_bad_queries_are_named() {
    let site = site(|_| {});
    for (file, kind) in [
        ("status.css", "text/css; charset=utf-8"),
        ("status.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let answer = site.get(&format!("/static/{file}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
        assert!(!answer.body.is_empty());
    }
    assert_eq!(site.get("/static/other").await.status, 404);
    let bad = site.get("/?sort=size").await;
    assert_eq!(bad.status, 400);
    assert!(bad.text().starts_with("bad sort=\"size\"; allowed: worst, or"), "{}", bad.text());
}

#[tokio::test]
async fn silent_and_slow_clients_are_cut_and_cost_others_nothing() {
    let site = site(|settings| {
        settings.limits.head = SHORT;
        settings.limits.write = SHORT;
    });
    site.shared.publish(huge());
    let mut silent = site.connect().await;
    let mut slow = site.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").await.unwrap();
    let stuck = site.stuck().await;
    assert_eq!(site.get("/healthz").await.status, 200);
    assert_eq!(rest(&mut silent).await, b"");
    assert_eq!(rest(&mut slow).await, b"");
    site.closed("head_timeout").await;
    site.closed("write_timeout").await;
    assert_eq!(site.get("/healthz").await.status, 200);
    drop(stuck);
}

#[tokio::test]
async fn a_client_that_dribbles_its_reading_is_cut_at_the_answer_limit() {
    let site = site(|settings| settings.limits.answer = SHORT);
    site.shared.publish(huge());
    let mut stuck = site.stuck().await;
    let dribble = async {
        while stuck.read_u8().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = site.closed("write_timeout") => {}
        () = dribble => panic!("all of a huge body, byte by byte"),
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_idle_limit() {
    let site = site(|settings| settings.limits.idle = SHORT);
    let mut stream = site.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = Answer::of(&rest(&mut stream).await);
    assert_eq!((answer.status, answer.text()), (200, "healthy\n"));
    site.closed("idle").await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted() {
    let site = site(|_| {});
    site.shared.publish(huge());
    drop(site.stuck().await);
    site.closed("client_gone").await;
}

#[tokio::test]
async fn oversized_and_malformed_requests_end_their_own_connection_alone() {
    let site = site(|_| {});
    let line = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000));
    let header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let body = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n{}",
        "b".repeat(500_000)
    );
    for hostile in [
        &*line,
        &header,
        &many,
        &body,
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = site.send(hostile.as_bytes()).await;
        let start = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        assert!(start.is_empty() || start.starts_with("HTTP/1.1 4"), "{start}");
        assert_eq!(site.get("/healthz").await.status, 200);
    }
    let small = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(17 * 1024));
    assert_eq!(Answer::of(&site.send(small.as_bytes()).await).status, 431);
    site.closed("bad_request").await;
}

#[tokio::test]
async fn at_the_cap_of_busy_connections_a_new_one_gets_503_until_one_is_free() {
    let site = site(|settings| {
        settings.max_connections = NonZeroUsize::new(2).unwrap();
        settings.limits.evict = Duration::ZERO;
    });
    site.shared.publish(huge());
    let (one, two) = (site.stuck().await, site.stuck().await);
    let mut third = site.connect().await;
    let refused = Answer::of(&rest(&mut third).await);
    assert_eq!((refused.status, refused.text()), (503, "too many connections\n"));
    assert_eq!(refused.header("content-length"), Some("21"));
    let name = "vpccni_exporter_http_connections_refused_total";
    assert_eq!(site.counted(name, "max_connections"), 1.0);
    drop(one);
    site.closed("client_gone").await;
    assert_eq!(site.get("/healthz").await.status, 200);
    drop(two);
}

#[tokio::test]
async fn at_the_cap_an_idle_connection_makes_room() {
    let site = site(|settings| {
        settings.max_connections = NonZeroUsize::new(2).unwrap();
        settings.limits.evict = Duration::ZERO;
    });
    site.shared.publish(huge());
    let stuck = site.stuck().await;
    let mut idle = site.connect().await;
    site.until(|| site.shared.observe.connections() == 2).await;
    assert_eq!(site.get("/readyz").await.status, 503);
    assert_eq!(rest(&mut idle).await, b"");
    site.closed("evicted").await;
    drop(stuck);
}

#[tokio::test]
async fn a_stop_ends_idle_connections_at_once_and_cuts_a_hanging_one_after_the_timeout() {
    let site = site(|settings| settings.shutdown_timeout = SHORT);
    site.shared.publish(huge());
    let mut idle = site.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut kept = [0; 15];
    idle.read_exact(&mut kept).await.unwrap();
    let mut fresh = site.connect().await;
    let stuck = site.stuck().await;
    site.stop.cancel();
    rest(&mut idle).await;
    assert_eq!(rest(&mut fresh).await, b"");
    tokio::time::timeout(HANG, site.served).await.expect("it stops").unwrap();
    assert!(TcpStream::connect(site.address).await.is_err());
    let families = site.shared.observe.registry.gather();
    let name = "vpccni_exporter_http_connections_closed_total";
    let closed = families.iter().find(|family| family.name() == name).unwrap();
    let stopped = closed.get_metric().iter().find(|m| m.get_label()[0].value() == "stopped");
    assert_eq!(stopped.unwrap().get_counter().get_value(), 1.0);
    drop(stuck);
}

#[tokio::test]
async fn a_stop_lets_an_answer_that_is_under_way_finish() {
    let site = site(|settings| settings.shutdown_timeout = HANG);
    site.shared.publish(huge());
    let mut reading = site.stuck().await;
    site.stop.cancel();
    let all = rest(&mut reading).await;
    assert!(all.len() > 32 * 1024 * 1024, "{}", all.len());
    tokio::time::timeout(HANG, site.served).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_the_flag() {
    let site = site(|_| {});
    let error = bind(&on(&site.address.to_string())).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}; see --web.listen-address", site.address)
    );
    let BindError::Listen { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn without_a_host_every_address_is_listened_on() {
    let address = bind(&on(":0")).unwrap().address();
    assert!(address.ip().is_unspecified() && address.port() != 0);
}

#[tokio::test]
async fn who_takes_openmetrics_alone_gets_it_and_who_takes_both_gets_text_where_nodes_are_shown() {
    let site = site(|_| {});
    site.shared.publish(Published { view: view_of(&["a"]), ..published() });
    let open = "Accept: application/openmetrics-text\r\n";
    let both = "Accept: application/openmetrics-text;version=1.0.0, text/plain;q=0.1\r\n";
    let kind = |page: &Answer| page.header("content-type").unwrap().contains("openmetrics");
    for (path, of_both) in [
        ("/metrics", false),
        ("/metrics?scope=node", false),
        ("/metrics?scope=cluster", true),
        ("/metrics?scope=self", true),
        ("/metrics?scope=cluster&scope=self", true),
        ("/metrics?name[]=vpccni_node_scrape_success", true),
        ("/metrics?name[]=awscni_add_ip_req_count", false),
    ] {
        let alone = site.request("GET", path, open).await;
        assert!(kind(&alone), "{path}");
        assert_eq!(alone.text().matches("# EOF\n").count(), 1, "{path}");
        assert!(alone.text().ends_with("# EOF\n"), "{path}");
        let page = site.request("GET", path, both).await;
        assert_eq!(kind(&page), of_both, "{path}");
        assert_eq!(page.text().contains("# EOF"), of_both, "{path}");
        let zipped = site.request("GET", path, &format!("{open}Accept-Encoding: gzip\r\n")).await;
        if !path.contains("self") && path != "/metrics" {
            assert_eq!(gunzip(&zipped.body), alone.text(), "{path}");
        }
    }
    let cluster = site.request("GET", "/metrics?scope=cluster", open).await;
    assert_eq!(cluster.text(), "open 1\n# EOF\n");
    let head = site.request("HEAD", "/metrics?scope=cluster", open).await;
    assert_eq!(head.header("content-length"), cluster.header("content-length"));
    assert_eq!(head.header("vary"), Some("Accept, Accept-Encoding"));
}

#[tokio::test]
async fn a_standby_serves_itself_alone_and_is_ready() {
    let promise = Arc::new(Promise::none());
    let site = site_with(|_| {}, false, Arc::clone(&promise));
    site.shared.readiness.synced(2);
    site.shared.readiness.rounds_closed(1, 0.5, 0.5);
    site.shared.publish(published());
    site.shared.readiness.lead_note(Some("stands by: a_1 serves the data".to_owned()));
    let ready = site.get("/readyz").await;
    let words = "ready: targets: 2, rounds closed: 1; stands by: a_1 serves the data\n";
    assert_eq!((ready.status, ready.text()), (200, words));
    assert_eq!(site.get("/metrics?scope=cluster&scope=node").await.text(), "");
    assert_eq!(site.get("/metrics?node=a").await.text(), "");
    assert!(site.get("/metrics").await.text().contains("vpccni_exporter_leader 0\n"));
    let told = |status: &Value| (status["serves_data"].clone(), status["may_serve"].clone());
    let status = site.get("/api/v1/status").await.json();
    assert_eq!(told(&status), (json!(false), json!(false)));
    // What was counted before the term is not served in it.
    promise.begin(f64::INFINITY);
    assert_eq!(site.get("/metrics?scope=cluster").await.text(), "");
    // Nobody may take the Lease while its view is being made.
    let status = site.get("/api/v1/status").await.json();
    assert_eq!(told(&status), (json!(false), json!(true)));
    site.shared.publish(Published { term: 1, ..published() });
    assert_eq!(site.get("/metrics?scope=cluster").await.text(), CLUSTER);
    assert!(site.get("/metrics").await.text().contains("vpccni_exporter_leader 1\n"));
    promise.extend(site.shared.uptime());
    assert_eq!(site.get("/metrics?scope=cluster").await.text(), "");
}

#[tokio::test]
async fn an_answer_that_the_promise_ends_under_is_not_finished() {
    let promise = Arc::new(Promise::none());
    let site = site_with(|_| {}, false, Arc::clone(&promise));
    promise.begin(f64::INFINITY);
    site.shared.publish(Published { term: 1, ..huge() });
    let mut reading = site.stuck().await;
    let mut kept = site.stuck().await;
    promise.end();
    let all = rest(&mut reading).await;
    assert!(all.len() < 32 * 1024 * 1024, "{}", all.len());
    site.closed("lapsed").await;
    // Not even another term finishes what another process may have served in between.
    promise.begin(f64::INFINITY);
    assert!(rest(&mut kept).await.len() < 32 * 1024 * 1024);
    assert_eq!(site.get("/metrics?scope=self").await.status, 200);
}

/// A server's certificate, a file that serves it, and a client that trusts it.
struct OfTls {
    folder: tempfile::TempDir,
    client: tokio_rustls::TlsConnector,
}

impl OfTls {
    fn new() -> OfTls {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("tls.crt", &made.cert.pem());
        write("tls.key", &made.signing_key.serialize_pem());
        write("web.yml", "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        OfTls { folder, client: Arc::new(config).into() }
    }

    fn set(&self, settings: &mut Settings) {
        settings.config_file = Some(self.folder.path().join("web.yml"));
    }

    async fn connect(&self, site: &Site) -> tokio_rustls::client::TlsStream<TcpStream> {
        let name = "localhost".try_into().unwrap();
        self.client.connect(name, site.connect().await).await.unwrap()
    }
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_head_and_makes_room_at_the_cap() {
    let tls = OfTls::new();
    let site = site(|settings| {
        tls.set(settings);
        settings.limits.head = SHORT;
    });
    let mut silent = site.connect().await;
    assert_eq!(rest(&mut silent).await, b"");
    site.closed("head_timeout").await;
    // Within TLS the head is still due.
    let mut shaken = tls.connect(&site).await;
    let mut bytes = Vec::new();
    drop(tokio::time::timeout(HANG, shaken.read_to_end(&mut bytes)).await.expect("an end"));
    let name = "vpccni_exporter_http_connections_closed_total";
    site.until(|| site.counted(name, "head_timeout") == 2.0).await;

    let site = self::site(|settings| {
        tls.set(settings);
        settings.max_connections = NonZeroUsize::MIN;
        settings.limits.evict = Duration::ZERO;
    });
    let mut silent = site.connect().await;
    site.until(|| site.shared.observe.connections() == 1).await;
    let mut next = tls.connect(&site).await;
    assert_eq!(rest(&mut silent).await, b"");
    site.closed("evicted").await;
    next.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    next.read_to_end(&mut answer).await.expect("an end that is told");
    assert_eq!(Answer::of(&answer).status, 200);
}

#[tokio::test]
async fn at_the_cap_a_client_of_tls_is_told_nothing_in_the_clear() {
    let tls = OfTls::new();
    let site = site(|settings| {
        tls.set(settings);
        settings.max_connections = NonZeroUsize::MIN;
    });
    site.shared.publish(huge());
    let mut stuck = tls.connect(&site).await;
    stuck.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stuck.read_exact(&mut [0; 12]).await.unwrap();
    assert_eq!(rest(&mut site.connect().await).await, b"");
    let name = "vpccni_exporter_http_connections_refused_total";
    assert_eq!(site.counted(name, "max_connections"), 1.0);
}

#[tokio::test]
async fn within_tls_too_an_answer_that_the_promise_ends_under_is_not_finished() {
    let tls = OfTls::new();
    let promise = Arc::new(Promise::none());
    let site = site_with(|settings| tls.set(settings), false, Arc::clone(&promise));
    promise.begin(f64::INFINITY);
    site.shared.publish(Published { term: 1, ..huge() });
    let mut reading = tls.connect(&site).await;
    reading.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    reading.read_exact(&mut [0; 12]).await.unwrap();
    promise.end();
    let mut all = Vec::new();
    drop(tokio::time::timeout(HANG, reading.read_to_end(&mut all)).await.expect("an end"));
    assert!(all.len() < 32 * 1024 * 1024, "{}", all.len());
    site.closed("lapsed").await;
}

#[tokio::test]
async fn a_stop_ends_a_handshake_that_is_under_way() {
    let tls = OfTls::new();
    let site = site(|settings| {
        tls.set(settings);
        settings.shutdown_timeout = HANG;
    });
    let mut silent = site.connect().await;
    site.until(|| site.shared.observe.connections() == 1).await;
    site.stop.cancel();
    assert_eq!(rest(&mut silent).await, b"");
    tokio::time::timeout(HANG / 2, site.served).await.expect("it stops").unwrap();
}
