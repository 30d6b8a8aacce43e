//! The fleet as a whole, over real sockets.

use super::*;
use crate::discover;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ADDS: &str = "vpccni_cluster_cni_add_requests_total";

/// No waiting in a test lasts longer than a hang.
const HANG: Duration = Duration::from_secs(20);

/// A fleet that stands still, on free ports.
async fn still(nodes: u32) -> Fleet {
    let settings = Settings {
        nodes,
        seed: 11,
        address_base: Ipv4Addr::LOCALHOST,
        port: 0,
        calm: true,
        speed: 0.0,
        ..Settings::default()
    };
    Fleet::start(settings).await.unwrap()
}

/// Everything that a node sends until it closes.
async fn raw(address: &str, request: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(HANG, stream.read_to_end(&mut answer)).await??;
    Ok(answer)
}

async fn scrape(address: &str) -> io::Result<Vec<u8>> {
    raw(address, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await
}

fn dechunked(answer: &[u8]) -> Option<Vec<u8>> {
    let mut rest = &answer[memchr::memmem::find(answer, b"\r\n\r\n")? + 4..];
    let mut body = Vec::new();
    loop {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = rest.get(end + 4 + size..)?;
    }
}

fn sample(page: &[u8], name: &str) -> Option<f64> {
    let text = std::str::from_utf8(page).ok()?;
    let row = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '))?;
    row.parse().ok()
}

fn first(fleet: &Fleet) -> (String, String) {
    let target = fleet.targets()[0].clone();
    (target.node.to_string(), target.address())
}

async fn sequence(fleet: &Fleet, at_least: u64) -> Figures {
    let reached = async {
        loop {
            let told = fleet.truth(0.0, None).unwrap();
            if told.sequence >= at_least {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, reached).await.unwrap()
}

#[tokio::test]
async fn a_scraped_page_is_what_the_truth_knows() {
    let fleet = still(3).await;
    let mut assigned = 0.0;
    for target in fleet.targets().iter() {
        let page = dechunked(&scrape(&target.address()).await.unwrap()).unwrap();
        assigned += sample(&page, "awscni_assigned_ip_addresses").unwrap();
    }
    let told = sequence(&fleet, 3).await;
    let by_family = ["ipv4", "ipv6"].map(|family| {
        told.gauges[&format!("vpccni_cluster_ip_addresses_assigned{{ip_family=\"{family}\"}}")]
    });
    assert_eq!(by_family.iter().sum::<f64>(), assigned);
    fleet.stop().await;
}

#[tokio::test]
async fn an_answer_has_a_date_and_uneven_chunks_and_honours_close() {
    let fleet = still(1).await;
    let answer = scrape(&first(&fleet).1).await.unwrap();
    let head = String::from_utf8_lossy(&answer[..400]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
    assert!(head.contains("\r\nDate: ") && head.contains(" GMT\r\n"), "{head}");
    assert!(head.contains("\r\n\r\n83c\r\n"), "{head}");
    assert!(answer.ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn a_connection_is_kept_when_nobody_asks_for_its_end() {
    let fleet = still(1).await;
    let ask = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let twice = format!("{ask}GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answers = raw(&first(&fleet).1, &twice).await.unwrap();
    assert_eq!(memchr::memmem::find_iter(&answers, b"HTTP/1.1 200 OK").count(), 2);
    // One that idles is closed by the node, after five seconds.
    assert!(raw(&first(&fleet).1, ask).await.unwrap().ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn gzip_is_given_where_it_is_asked_for_with_its_length() {
    let fleet = still(1).await;
    let ask = "GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let (_, address) = first(&fleet);
    let answer = raw(&address, ask).await.unwrap();
    let at = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap() + 4;
    let head = std::str::from_utf8(&answer[..at]).unwrap();
    assert!(head.contains("Content-Encoding: gzip\r\n"));
    assert!(head.contains(&format!("Content-Length: {}\r\n", answer.len() - at)));
    let mut plain = Vec::new();
    io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&answer[at..]), &mut plain).unwrap();
    assert_eq!(Some(plain), dechunked(&scrape(&address).await.unwrap()));
}

#[tokio::test]
async fn other_paths_are_not_found_and_are_no_serves() {
    let fleet = still(1).await;
    let ask = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answer = raw(&first(&fleet).1, ask).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 404 Not Found\r\n"));
    let ask = "HEAD /metrics HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert!(raw(&first(&fleet).1, ask).await.unwrap().ends_with(b"chunked\r\n\r\n"));
    assert_eq!(fleet.truth(0.0, None).unwrap().sequence, 0);
}

#[tokio::test]
async fn misbehaviour_shows_on_the_wire_and_never_in_the_truth() {
    let fleet = still(1).await;
    let (node, address) = first(&fleet);
    for (behaviour, begins) in [
        (Behaviour::Http503, "HTTP/1.1 503 Service Unavailable\r\n"),
        (Behaviour::Garbage, "HTTP/1.1 200 OK\r\n"),
        (Behaviour::Truncate, "HTTP/1.1 200 OK\r\n"),
    ] {
        assert!(fleet.misbehave(&node, behaviour).await);
        let answer = scrape(&address).await.unwrap();
        assert!(answer.starts_with(begins.as_bytes()), "{behaviour:?}");
        let page = dechunked(&answer);
        assert_eq!(page.is_none(), behaviour != Behaviour::Garbage, "{behaviour:?}");
        assert_eq!(page.and_then(|page| sample(&page, "awscni_total_ip_addresses")), None);
    }
    assert_eq!(fleet.truth(0.0, None).unwrap().sequence, 0);
    assert!(fleet.misbehave(&node, Behaviour::Ok).await);
    assert!(dechunked(&scrape(&address).await.unwrap()).is_some());
    sequence(&fleet, 1).await;
}

#[tokio::test]
async fn a_node_that_refuses_is_back_on_its_address_afterwards() {
    let fleet = still(2).await;
    let (node, address) = first(&fleet);
    fleet.misbehave(&node, Behaviour::Refuse).await;
    let refused = async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, refused).await.unwrap();
    fleet.misbehave(&node, Behaviour::Ok).await;
    let back = async {
        while scrape(&address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, back).await.unwrap();
}

#[tokio::test]
async fn a_restart_and_a_join_are_seen_by_the_truth_as_by_nobody_else() {
    let fleet = still(1).await;
    let (node, address) = first(&fleet);
    let began = Clock::start().now().unix - 1.0;
    scrape(&address).await.unwrap();
    let told = sequence(&fleet, 1).await;
    assert_eq!(fleet.truth(began, None).unwrap().increase, BTreeMap::new(), "a baseline");
    assert_ne!(told.increase, BTreeMap::new());
    assert!(fleet.restart(&node));
    let page = dechunked(&scrape(&address).await.unwrap()).unwrap();
    assert_eq!(sample(&page, "awscni_add_ip_req_count"), Some(0.0));
    sequence(&fleet, 2).await;
    let increase = fleet.truth(began, None).unwrap().increase;
    assert_eq!(increase.get(ADDS), None, "the young process has added none yet");
    let key = r#"vpccni_cluster_aws_api_latency_seconds_count{api="DescribeNetworkInterfaces",error="false"}"#;
    assert_eq!(increase[key], 2.0);

    let joined = fleet.join(Age::Old).await.unwrap().unwrap();
    let target = fleet.targets().iter().find(|t| t.node == joined).unwrap().clone();
    let scraped = async {
        while scrape(&target.address()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, scraped).await.unwrap();
    sequence(&fleet, 3).await;
    assert_eq!(fleet.truth(began, None).unwrap().increase, increase, "an old one is a baseline");
    assert!(fleet.leave(&joined).await.unwrap());
    assert_eq!(fleet.targets().len(), 1);
}

#[tokio::test]
async fn the_targets_file_is_a_file_sd_file_that_follows() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nodes.json");
    let settings = Settings {
        nodes: 4,
        address_base: Ipv4Addr::LOCALHOST,
        port: 0,
        speed: 0.0,
        write_targets: Some(file.clone()),
        ..Settings::default()
    };
    let fleet = Fleet::start(settings).await.unwrap();
    let read = || {
        let content = std::fs::read(&file).unwrap();
        let defaults =
            discover::Defaults { port: 1, path: "/metrics".to_owned(), host_network_pods: 2 };
        let mut targets = discover::file::parse("nodes.json", &content, &defaults).unwrap().targets;
        targets.sort_by(|a, b| a.node.cmp(&b.node));
        targets
    };
    assert_eq!(read(), *fleet.targets());
    assert_eq!(read()[0].labels.get("region"), Some("us-west-2"));
    let (node, _) = first(&fleet);
    fleet.leave(&node).await.unwrap();
    assert_eq!(read().len(), 3);
    fleet.join(Age::Young).await.unwrap();
    assert_eq!(read(), *fleet.targets());
    assert!(!dir.path().join("nodes.json.new").exists());
}

#[tokio::test]
async fn the_story_is_told_to_those_who_listen() {
    let fleet = still(30).await;
    drop(fleet);
    let settings = Settings {
        nodes: 30,
        address_base: Ipv4Addr::LOCALHOST,
        port: 0,
        speed: 0.0,
        ..Settings::default()
    };
    let fleet = Fleet::start(settings).await.unwrap();
    let mut events = fleet.events();
    fleet.step(6.0 * 3600.0).await.unwrap();
    let event = events.recv().await.unwrap();
    assert!(event.to_string().starts_with("day 1 "), "{event}");
}

#[tokio::test]
async fn the_truth_is_served_and_takes_orders() {
    let settings = Settings {
        nodes: 2,
        address_base: Ipv4Addr::LOCALHOST,
        port: 0,
        calm: true,
        speed: 0.0,
        truth: Some((Ipv4Addr::LOCALHOST, 0).into()),
        ..Settings::default()
    };
    let fleet = Fleet::start(settings).await.unwrap();
    let truth = fleet.truth_address().unwrap().to_string();
    let ask = async |what: String| {
        let request =
            format!("{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let answer = raw(&truth, &request).await.unwrap();
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str::<serde_json::Value>(body).unwrap())
    };
    let (node, address) = first(&fleet);
    scrape(&address).await.unwrap();
    sequence(&fleet, 1).await;
    let (status, told) = ask("GET /truth?since=0&stale_after=1000".to_owned()).await;
    assert_eq!((status, &told["sequence"], &told["paused"]), (200, &1.into(), &false.into()));
    assert_eq!(told["nodes"]["by_last_serve"]["never"], 1);
    assert!(told["increase"][ADDS].as_u64().unwrap() > 0);
    assert_eq!(ask("POST /pause".to_owned()).await.1["paused"], true);
    let strained = |how: &str| format!("POST /strain?node={node}&{how}");
    assert_eq!(ask(strained("ec2=denied&crowded=true")).await.1["crowded"], true);
    assert_eq!(ask(strained("ec2=broken")).await.0, 400);
    assert_eq!(ask("POST /strain?node=nobody&ec2=fine".to_owned()).await.0, 404);
    assert_eq!(ask("POST /step?seconds=3600".to_owned()).await.1["story_seconds"], 3600);
    let page = String::from_utf8(scrape(&address).await.unwrap()).unwrap();
    assert!(page.contains("UnauthorizedOperation"), "{page}");
    assert_eq!(ask(format!("POST /misbehave?node={node}&how=nan")).await.0, 200);
    assert_eq!(ask(format!("POST /misbehave?node={node}&how=badly")).await.0, 400);
    assert_eq!(ask("POST /restart?node=nobody".to_owned()).await.0, 404);
    let (_, nodes) = ask("GET /nodes".to_owned()).await;
    let found = nodes.as_array().unwrap().iter().find(|n| n["name"] == node.as_str()).unwrap();
    assert_eq!((&found["misbehaviour"], &found["address"]), (&"nan".into(), &address.into()));
    assert_eq!(ask(format!("POST /leave?node={node}")).await.0, 200);
    assert_eq!(ask("POST /join?old=true".to_owned()).await.0, 200);
    fleet.stop().await;
}

#[test]
fn places_follow_the_base_address_or_the_port() {
    let settings = Settings::default();
    let address = |settings: &Settings, place, alone| {
        place_address(settings, place, alone).map(|a| a.to_string())
    };
    assert_eq!(address(&settings, 255, false).as_deref(), Some("127.1.1.0:61678"));
    assert_eq!(address(&settings, 3, true).as_deref(), Some("127.0.0.1:0"));
    let local = Settings { address_base: Ipv4Addr::LOCALHOST, ..settings };
    assert_eq!(address(&local, 3, true).as_deref(), Some("127.0.0.1:61681"));
    assert_eq!(address(&local, 9999, true), None);
}
