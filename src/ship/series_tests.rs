//! Points of small clusters, by name.

use super::super::cut::{Cut, Cutter};
use super::*;
use crate::model::{Moment, Source, Target, Targets};
use crate::observe::Observe;
use crate::store::{Answer, Settings, Store};

/// A minute begins here.
const BEGAN: f64 = 1_700_000_040.0;

fn at(uptime: f64) -> Moment {
    Moment { unix: BEGAN + uptime, uptime }
}

fn store(hosts: &[&str]) -> Store {
    let store = Store::new(&Settings::default(), 30.0, Observe::new());
    let target = |host: &&str| Target::new(*host, *host, 61678, "/metrics", Source::Static);
    let list = hosts.iter().map(target).collect();
    store.retarget(&Targets { list, synced: true, ..Targets::default() }, at(0.0));
    store
}

fn scrape(store: &Store, node: &str, uptime: f64, lines: &[(&str, f64)]) {
    let start = BEGAN - 86_400.0;
    let mut body = format!("process_start_time_seconds {start}\n");
    lines.iter().for_each(|(name, value)| body.push_str(&format!("{name} {value}\n")));
    let answer = Answer { body: body.as_bytes(), date: None, at: at(uptime), seconds: 0.01 };
    store.scraped(&node.into(), answer).unwrap();
}

fn cut(cutter: &mut Cutter, store: &Store, uptime: f64) -> Cut {
    cutter.cut(store.view(at(uptime))).unwrap()
}

/// Values of plain points, by name and dimensions.
fn numbers(groups: &[Group]) -> BTreeMap<String, f64> {
    let mut numbers = BTreeMap::new();
    for group in groups {
        for point in &group.points {
            let dimensions: String =
                group.dimensions.iter().map(|(n, v)| format!(" {n}={v}")).collect();
            if let Value::Number(value) = point.value {
                let before = numbers.insert(format!("{}{dimensions}", point.name), value);
                assert_eq!(before, None, "twice: {}{dimensions}", point.name);
            }
        }
    }
    numbers
}

fn two_nodes() -> (Store, Cutter) {
    let store = store(&["10.0.0.1", "10.0.0.2"]);
    for (node, used) in [("10.0.0.1", 3.0), ("10.0.0.2", 8.0)] {
        scrape(
            &store,
            node,
            1.0,
            &[
                ("awscni_assigned_ip_addresses", used),
                ("awscni_ip_max", 10.0),
                ("awscni_add_ip_req_count", 100.0 * used),
                ("awscni_assigned_ip_per_cidr{cidr=\"10.0.1.0/28\"}", used),
                ("awscni_aws_api_latency_ms_sum{api=\"a\",error=\"false\",status=\"200\"}", 5.0),
                ("awscni_aws_api_latency_ms_count{api=\"a\",error=\"false\",status=\"200\"}", 1.0),
            ],
        );
    }
    let mut cutter = Cutter::new(60);
    cut(&mut cutter, &store, 60.0);
    scrape(
        &store,
        "10.0.0.1",
        61.0,
        &[
            ("awscni_assigned_ip_addresses", 4.0),
            ("awscni_ip_max", 10.0),
            ("awscni_add_ip_req_count", 307.0),
            ("awscni_ec2api_error_count{fn=\"CreateTags\"}", 2.0),
            ("awscni_assigned_ip_per_cidr{cidr=\"10.0.1.0/28\"}", 4.0),
            ("awscni_aws_api_latency_ms_sum{api=\"a\",error=\"false\",status=\"200\"}", 35.0),
            ("awscni_aws_api_latency_ms_count{api=\"a\",error=\"false\",status=\"200\"}", 3.0),
        ],
    );
    (store, cutter)
}

#[test]
fn the_helpers_twenty_are_sums_and_increases_and_latency_is_a_mean() {
    let (store, mut cutter) = two_nodes();
    let cut = cut(&mut cutter, &store, 120.0);
    assert_eq!(cut.start as f64, BEGAN + 60.0);
    let sent = numbers(&helper(&cut.view));
    assert_eq!(sent.len(), 20, "{sent:?}");
    assert_eq!(sent["assignIPAddresses"], 12.0);
    assert_eq!(sent["maxIPAddresses"], 20.0);
    assert_eq!(sent["totalAssignedIPv4sPerCidr"], 12.0);
    assert_eq!(sent["addReqCount"], 7.0);
    assert_eq!(sent["ec2ApiErrCount"], 2.0);
    assert_eq!(sent["awsAPILatency"], 15.0);
    assert_eq!(sent["forceRemoveENI"], 0.0);
}

#[test]
fn without_calls_there_is_no_latency_and_without_nodes_nothing_is_covered() {
    let (store, mut cutter) = two_nodes();
    cut(&mut cutter, &store, 120.0);
    scrape(&store, "10.0.0.1", 121.0, &[("awscni_ip_max", 10.0)]);
    let quiet = cut(&mut cutter, &store, 180.0);
    assert!(quiet.covered);
    assert!(!cut(&mut cutter, &store, 240.0).covered, "no node answered in that minute");
    let sent = numbers(&helper(&quiet.view));
    assert!(!sent.contains_key("awsAPILatency"));
    assert_eq!(sent["addReqCount"], 0.0);
}

#[test]
fn our_own_names_keep_address_families_and_states_apart_and_add_up_the_rest() {
    let (store, mut cutter) = two_nodes();
    let cut = cut(&mut cutter, &store, 120.0);
    let sent = numbers(&own(&cut.view, &Wanted::default()));
    assert_eq!(sent["vpccni_cluster_ip_addresses_assigned ip_family=ipv4"], 12.0);
    assert!(!sent.keys().any(|key| key.contains("ipv6")), "no node has IPv6: {sent:?}");
    assert_eq!(sent["vpccni_cluster_nodes state=up"], 2.0);
    assert_eq!(sent["vpccni_cluster_nodes state=failed"], 0.0);
    assert_eq!(sent["vpccni_cluster_ec2_api_errors_total"], 2.0);
    assert_eq!(sent["vpccni_cluster_aws_api_latency_seconds_sum"], 0.03);
    assert_eq!(sent["vpccni_cluster_aws_api_latency_seconds_count"], 2.0);
    assert!(!sent.keys().any(|key| key.contains("_by_")), "without their label they say nothing");
    assert!(sent.len() <= 40, "{}: the default is within the cap", sent.len());
}

#[test]
fn a_wanted_label_is_a_dimension_where_there_is_something_to_tell() {
    let (store, mut cutter) = two_nodes();
    let cut = cut(&mut cutter, &store, 120.0);
    let wanted = Wanted { labels: vec!["fn".to_owned()], nodes: Vec::new() };
    let sent = numbers(&own(&cut.view, &wanted));
    assert_eq!(sent["vpccni_cluster_ec2_api_errors_total fn=CreateTags"], 2.0);
    let of_errors = sent.keys().filter(|key| key.starts_with("vpccni_cluster_ec2_api_errors"));
    assert_eq!(of_errors.count(), 1);
}

#[test]
fn distributions_hold_each_nodes_value() {
    let (store, mut cutter) = two_nodes();
    let cut = cut(&mut cutter, &store, 120.0);
    let all = [helper(&cut.view), own(&cut.view, &Wanted::default())].concat();
    let of = |name: &str| {
        let mut points = all.iter().flat_map(|group| &group.points);
        match &points.find(|point| point.name == name).unwrap().value {
            Value::Distribution(found) => (found.values.to_vec(), found.counts.to_vec()),
            Value::Number(_) => panic!("{name} is a number"),
        }
    };
    assert_eq!(of("assignIPAddressesPerNode"), (vec![4.0, 8.0], vec![1, 1]));
    assert_eq!(of("ipUtilizationPerNode"), (vec![40.0, 80.0], vec![1, 1]));
    assert_eq!(of("vpccni_cluster_node_ip_utilization"), (vec![0.4, 0.8], vec![1, 1]));
}

#[test]
fn points_of_nodes_are_those_that_are_listed() {
    let (store, mut cutter) = two_nodes();
    let cut = cut(&mut cutter, &store, 120.0);
    let nodes = vec!["awscni_assigned_ip_addresses".to_owned(), names::NODE_SUCCESS.to_owned()];
    let sent = numbers(&own(&cut.view, &Wanted { labels: Vec::new(), nodes }));
    assert_eq!(sent["awscni_assigned_ip_addresses NodeName=10.0.0.2"], 8.0);
    assert_eq!(sent["vpccni_node_scrape_success NodeName=10.0.0.1"], 1.0);
    assert_eq!(sent.keys().filter(|key| key.contains("NodeName")).count(), 4);
}

#[test]
fn an_ipv6_clusters_addresses_stand_under_the_helpers_names_and_a_mixed_ones_are_not_added_up() {
    let lines = [("awscni_assigned_ip_addresses", 5.0), ("awscni_ip_max", 9.0)];
    let of = |hosts: &[&str]| {
        let store = store(hosts);
        hosts.iter().for_each(|host| scrape(&store, host, 1.0, &lines));
        let cut = cut(&mut Cutter::new(60), &store, 60.0);
        numbers(&helper(&cut.view))["assignIPAddresses"]
    };
    assert_eq!(of(&["fd00::1", "fd00::2"]), 10.0);
    assert_eq!(of(&["fd00::1", "10.0.0.1"]), 5.0);
}

#[test]
fn a_day_of_the_largest_cluster_waits_in_the_queue_that_is_the_default() {
    const QUEUE: usize = 32 * 1024 * 1024;
    const MINUTES: usize = 24 * 60;
    let hosts: Vec<String> =
        (0..400).map(|node| format!("10.0.{}.{}", node / 250, node % 250)).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let store = store(&hosts);
    for (at, node) in hosts.iter().enumerate() {
        // No two nodes alike, as among very many.
        let (used, total, max) = (at as f64, 500.0 + at as f64, 1001.0);
        let names = ["awscni_assigned_ip_addresses", "awscni_total_ip_addresses", "awscni_ip_max"];
        scrape(&store, node, 1.0, &[(names[0], used), (names[1], total), (names[2], max)]);
    }
    let cut = cut(&mut Cutter::new(60), &store, 60.0);
    for (groups, most) in [
        (helper(&cut.view), limits::PUT_VALUES),
        (own(&cut.view, &Wanted::default()), limits::EMF_VALUES),
    ] {
        let spread = groups.iter().flat_map(|g| &g.points).filter_map(|p| match &p.value {
            Value::Distribution(spread) => Some(spread),
            Value::Number(_) => None,
        });
        let mut spreads = 0;
        for spread in spread {
            assert_eq!(spread.counts.iter().sum::<u32>(), 400);
            assert!(spread.values.len() <= most && spread.values.len() > most / 4);
            spreads += 1;
        }
        assert!(spreads > 0);
        let bytes = super::super::queue::weight(&crate::mirror::Interval { start: 0, groups });
        println!("{bytes} bytes a minute");
        assert!(bytes * MINUTES <= QUEUE, "{bytes} bytes a minute");
    }
}
