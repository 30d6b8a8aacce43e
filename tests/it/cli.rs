//! The built program: exit codes, what it says where, how it starts and stops.

use crate::support::{Child, PageServer, get, program, run, until, until_ok};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

fn with(args: &[&str]) -> Command {
    let mut command = program();
    command.args(args);
    command
}

#[test]
fn check_says_what_a_page_is_and_ends_with_0() {
    let page = b"# TYPE awscni_ip_max counter\nawscni_ip_max 3\n";
    let ended = run(with(&["check"]), page);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("awscni_ip_max: counter, read as gauge"), "{}", ended.stdout);
}

#[test]
fn check_says_that_a_scrape_refuses_a_page_and_ends_with_1() {
    let ended = run(with(&["check"]), b"up 1\n");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stdout.contains("as a node's page it is refused"), "{}", ended.stdout);
}

#[test]
fn check_refuses_with_line_column_and_reason_and_ends_with_1() {
    let ended =
        run(with(&["check", "-", "--format", "openmetrics"]), b"# TYPE a gauge\na x\n# EOF\n");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("2:3: "), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_wrong_value_ends_with_2_and_names_the_key_wherever_it_came_from() {
    let mut by_variable = with(&["--discover.targets", "10.0.0.1"]);
    by_variable.env("VPCCNI_SCRAPE_INTERVAL", "fast");
    for (command, words) in [
        (with(&["--scrape.interval", "30"]), ["--scrape.interval", "'30'", "1m30s"]),
        (by_variable, ["--scrape.interval", "'fast'", "1m30s"]),
        (with(&[]), ["--discover.targets", "--discover.file", "demo"]),
    ] {
        let ended = run(command, b"");
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{word} in {}", ended.stderr);
        }
    }
}

#[test]
fn a_pod_without_a_token_hears_of_the_flags_that_do_without_and_runs_with_them() {
    if std::path::Path::new("/var/run/secrets/kubernetes.io").exists() {
        eprintln!("not tested: this is a pod with a token");
        return;
    }
    let server = PageServer::start("awscni_ip_max 3\n");
    let in_pod = |flags: &[&str]| {
        let target = server.address.to_string();
        let mut command = with(&["--discover.targets", &target]);
        command.args(["--web.listen-address", "127.0.0.1:0", "--scrape.interval", "300ms"]);
        command.args(flags).env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        command.env("KUBERNETES_SERVICE_PORT", "443");
        command
    };
    let (no_discovery, no_election) = ("--discover.kubernetes=off", "--lead.election=off");
    for flags in [&[][..], &[no_discovery], &[no_election]] {
        let ended = run(in_pod(flags), b"");
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        for flag in [no_discovery, no_election] {
            assert!(ended.stderr.contains(flag), "{}", ended.stderr);
        }
    }
    let service = Child::start(in_pod(&[no_discovery, no_election]));
    until_ok(service.listening(), "/readyz");
}

#[test]
fn the_catalogue_is_printed_as_the_readme_has_it() {
    let ended = run(with(&["catalog"]), b"");
    assert_eq!(ended.status.code(), Some(0));
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&ended.stdout), "README's reference is old");
}

#[test]
fn an_address_that_is_taken_stops_the_start_and_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended =
        run(with(&["--discover.targets", "127.0.0.1:1", "--web.listen-address", &address]), b"");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("--web.listen-address"), "{}", ended.stderr);
}

fn service(target: &str, flags: &[&str]) -> Child {
    let mut command = with(&[
        "--discover.targets",
        target,
        "--web.listen-address",
        "127.0.0.1:0",
        "--scrape.interval",
        "300ms",
    ]);
    command.args(flags);
    Child::start(command)
}

#[test]
fn sigterm_ends_the_service_in_order_with_0() {
    let pages = PageServer::start("awscni_eni_max 3\n");
    let child = service(&pages.address.to_string(), &[]);
    until_ok(child.listening(), "/readyz");
    child.signal("TERM");
    let ended = child.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopping"), "{}", ended.stderr);
}

#[test]
fn before_the_first_round_has_closed_there_is_no_cluster_and_no_node_series() {
    // Accepts into its backlog and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    // The round cannot close before the scrape has timed out.
    let mut command = with(&["--discover.targets", &address, "--scrape.interval", "8s"]);
    command.args(["--scrape.timeout", "8s", "--web.listen-address", "127.0.0.1:0"]);
    let child = Child::start(command);
    let web = child.listening();
    let page = get(web, "/metrics", &[]).text();
    for absent in ["vpccni_cluster_", "vpccni_node_", "awscni_"] {
        assert!(!page.contains(&format!("\n{absent}")), "absent, never partial");
    }
    assert!(page.contains("vpccni_exporter_build_info"));
    assert_eq!(get(web, "/readyz", &[]).status, 503);
    let page = until("first round", || {
        Some(get(web, "/metrics", &[]).text()).filter(|page| page.contains("vpccni_cluster_"))
    });
    assert!(page.contains("vpccni_cluster_nodes{state=\"failed\"} 1"));
    assert!(get(web, "/readyz", &[]).text().contains("ready"));
}

#[test]
fn use_prometheus_false_hides_the_data_and_never_the_probes() {
    let pages = PageServer::start("awscni_eni_max 3\n");
    let mut command = with(&["--discover.targets", &pages.address.to_string()]);
    command.args(["--web.listen-address", "127.0.0.1:0", "--scrape.interval", "300ms"]);
    command.env("USE_PROMETHEUS", "false");
    let child = Child::start(command);
    let web = child.listening();
    until_ok(web, "/readyz");
    let page = get(web, "/metrics", &[]).text();
    assert!(!page.contains("vpccni_cluster_") && page.contains("vpccni_exporter_"));
}

#[test]
fn the_log_alone_says_how_the_cluster_stands() {
    let pages = PageServer::start("awscni_assigned_ip_addresses 7\nawscni_ip_max 10\n");
    let child = service(&pages.address.to_string(), &["--log.format", "json"]);
    let line = child.line("line with the figures", |line| {
        line.contains("ip_addresses.assigned").then(|| line.to_owned())
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["nodes.up"], &line["level"]), (&1.into(), &"INFO".into()));
    assert_eq!(line["ip_addresses.assigned"], 7);
    assert_eq!(
        line["message"],
        "1 nodes up, 0 stale, 0 failed, 0 missing; 7 of 10 IPv4 pod addresses in use"
    );
}

#[test]
fn a_first_signal_waits_for_an_answer_under_way_and_a_second_one_ends_at_once() {
    // A page that no socket buffer swallows.
    let wide = "x".repeat(600);
    let row = |i: u32| format!("awscni_x{{row=\"{i}-{wide}\"}} 1\n");
    let page: String = (0..40_000).map(row).collect();
    let pages = PageServer::start(&page);
    let child = Child::start(with(&[
        "--discover.targets",
        &pages.address.to_string(),
        "--web.listen-address",
        "127.0.0.1:0",
        "--web.shutdown-timeout",
        "10m",
        "--scrape.max-body",
        "64MiB",
        "--node.detail",
        "full",
    ]));
    let web = child.listening();
    until_ok(web, "/readyz");
    let mut stuck = TcpStream::connect(web).unwrap();
    stuck.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // The answer has begun, and the rest is not read.
    stuck.read_exact(&mut [0; 15]).unwrap();
    child.signal("TERM");
    child.line("line that it stops", |line| line.contains("stopping").then_some(()));
    // The answer has ten minutes: only the second signal can end it now.
    child.signal("TERM");
    let ended = child.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("a second signal"), "{}", ended.stderr);
    drop(stuck);
}
