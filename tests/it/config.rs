//! The built program's configuration: whose value counts, and what it says of a wrong one.

use crate::support::{Child, get, program, run, until};
use std::process::Command;

fn with(args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = program();
    command.args(args).envs(variables.iter().copied());
    command
}

#[test]
fn a_wrong_variable_is_named_with_its_flag_value_and_what_is_allowed() {
    for (variable, flag, value, allowed) in [
        ("VPCCNI_SCRAPE_INTERVAL", "--scrape.interval", "fast", "1m30s"),
        ("VPCCNI_SCRAPE_MAX_BODY", "--scrape.max-body", "4 MiB", "512KiB"),
        ("VPCCNI_NODE_DETAIL", "--node.detail", "some", "core, full, none"),
        ("VPCCNI_DISCOVER_TARGETS", "--discover.targets", "a:0", "[IPV6]:PORT"),
        ("VPCCNI_WEB_LISTEN_ADDRESS", "--web.listen-address", "61681", ":PORT"),
    ] {
        let ended = run(with(&[], &[(variable, value)]), b"");
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        for word in [variable, flag, value, allowed] {
            assert!(ended.stderr.contains(word), "no {word} in: {}", ended.stderr);
        }
        assert!(ended.stderr.matches("error:").count() <= 1, "{}", ended.stderr);
    }
}

#[test]
fn a_variable_that_a_flag_overrules_is_neither_read_nor_named() {
    let overruled = [("VPCCNI_SCRAPE_INTERVAL", "fast")];
    let ended = run(with(&["--scrape.interval=30"], &overruled), b"");
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("'30'") && !ended.stderr.contains("fast"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("VPCCNI_SCRAPE_INTERVAL"), "{}", ended.stderr);
}

#[test]
fn the_helpers_variables_are_refused_with_key_value_and_what_is_allowed() {
    for (variable, value, allowed) in [
        ("METRIC_UPDATE_INTERVAL", "0.5", "whole seconds"),
        ("USE_PROMETHEUS", "on", "yes, true, no or false"),
        ("AWS_VPC_K8S_CNI_LOGLEVEL", "loud", "debug, info, warn"),
    ] {
        let ended = run(with(&["--discover.targets", "a"], &[(variable, value)]), b"");
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        for word in [variable, &format!("{value:?}"), allowed] {
            assert!(ended.stderr.contains(word), "no {word} in: {}", ended.stderr);
        }
    }
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let empty =
        [("VPCCNI_SCRAPE_INTERVAL", ""), ("VPCCNI_NODE_DETAIL", ""), ("USE_PROMETHEUS", "")];
    // What stops it comes after these have been read.
    let ended = run(with(&["--discover.targets", "a:0"], &empty), b"");
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("--discover.targets=\"a:0\""), "{}", ended.stderr);
}

#[test]
fn a_wrong_variable_of_the_service_stops_no_subcommand() {
    for wrong in [("METRIC_UPDATE_INTERVAL", "x"), ("VPCCNI_NODE_DETAIL", "bogus")] {
        let ended = run(with(&["catalog"], &[wrong]), b"");
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    }
}

#[test]
fn the_demo_is_the_demo_whatever_the_environment_says() {
    let wrong = [
        ("VPCCNI_DISCOVER_TARGETS", "127.0.0.1:1"),
        ("VPCCNI_SCRAPE_TIMEOUT", "90s"),
        ("USE_PROMETHEUS", "false"),
    ];
    let args = ["demo", "--nodes", "3", "--web.listen-address", "127.0.0.1:0"];
    let child = Child::start(with(&args, &wrong));
    let web = child.line("where to look", |line| {
        let at = line.find("http://")? + "http://".len();
        line[at..].split('/').next()?.parse().ok()
    });
    until("figures of the demo's nodes alone", || {
        let page = get(web, "/metrics?scope=cluster", &[]).text();
        page.contains("\nvpccni_cluster_nodes_expected 3\n").then_some(())
    });
    child.signal("TERM");
}

#[test]
fn help_is_grouped_by_stage_in_flow_order() {
    let ended = run(with(&["--help"], &[]), b"");
    assert_eq!(ended.status.code(), Some(0));
    let mut last = 0;
    for heading in ["Discover:", "Scrape:", "Publish:", "Node:", "Web:", "Log:"] {
        let lines: Vec<usize> =
            ended.stdout.match_indices(&format!("\n{heading}\n")).map(|(at, _)| at).collect();
        assert_eq!(lines.len(), 1, "{heading} in {}", ended.stdout);
        assert!(lines[0] > last, "{heading} is out of order");
        last = lines[0];
    }
}

#[test]
fn a_mirror_that_cannot_work_stops_nothing() {
    let args = ["--discover.targets", "127.0.0.1:1", "--web.listen-address", "127.0.0.1:0"];
    // Nothing listens there, and nobody knows the cluster's name.
    let nowhere = "http://127.0.0.1:1";
    let variables = [
        ("USE_CLOUDWATCH", "true"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", nowhere),
        ("AWS_ENDPOINT_URL", nowhere),
    ];
    let child = Child::start(with(&args, &variables));
    child.listening();
    child.line("why it sends nothing", |line| line.contains("--cluster.name").then_some(()));
    child.signal("TERM");
    assert_eq!(child.ended().status.code(), Some(0));
}
