//! The store against whole pages: truth rules 2, 5, 7, 8 and 9 by name, and the shape path against
//! a full parse.

use super::*;
use crate::aggregate::figures;
use crate::model::{Source, Target};
use proptest::prelude::*;
use std::collections::BTreeMap;

const INTERVAL: f64 = 30.0;
/// Unix seconds at which the exporter of these tests began.
const BEGAN: f64 = 1_700_000_000.0;

pub(super) fn at(uptime: f64) -> Moment {
    Moment { unix: BEGAN + uptime, uptime }
}

pub(super) fn target(name: &str, host: &str) -> Target {
    Target::new(name, host, 61678, "/metrics", Source::Static)
}

pub(super) fn targets(names: &[&str]) -> Targets {
    let mut list: Vec<Target> = names.iter().map(|name| target(name, name)).collect();
    list.sort_by(|a, b| a.node.cmp(&b.node));
    Targets { list, synced: true, ..Targets::default() }
}

pub(super) fn store(names: &[&str]) -> Store {
    let store = Store::new(&Settings::default(), INTERVAL, Observe::new());
    store.retarget(&targets(names), at(0.0));
    store
}

pub(super) fn scrape(
    store: &Store,
    node: &str,
    uptime: f64,
    body: &str,
) -> Result<Stored, Refused> {
    let answer = Answer { body: body.as_bytes(), date: None, at: at(uptime), seconds: 0.01 };
    store.scraped(&node.into(), answer)
}

fn fails(store: &Store, node: &str, uptime: f64) {
    store.failed(&node.into(), Outcome::Timeout, "no answer", at(uptime), 10.0);
}

/// Every cluster sample that is not zero, by `name{labels}`.
fn figure_map(store: &Store, uptime: f64) -> BTreeMap<String, f64> {
    let mut map = BTreeMap::new();
    for figure in figures(&store.view(at(uptime))) {
        for sample in figure.samples {
            let labels: Vec<String> =
                sample.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let name = figure.name.trim_start_matches("vpccni_cluster_");
            let key = format!("{name}{}{{{}}}", sample.suffix, labels.join(","));
            if sample.value.as_f64() != 0.0 {
                map.insert(key, sample.value.as_f64());
            }
        }
    }
    map
}

pub(super) fn get(store: &Store, uptime: f64, key: &str) -> f64 {
    figure_map(store, uptime).get(key).copied().unwrap_or(0.0)
}

fn old_start() -> String {
    format!("process_start_time_seconds {}\n", BEGAN - 86_400.0)
}

#[test]
fn rule_2_a_node_that_leaves_and_comes_back_is_counted_on_not_anew() {
    let store = store(&["a", "b"]);
    let page = |n: u32| format!("awscni_add_ip_req_count {n}\n{}", old_start());
    scrape(&store, "a", 30.0, &page(1000)).unwrap();
    store.retarget(&targets(&["b"]), at(40.0));
    store.retarget(&targets(&["a", "b"]), at(2000.0));
    scrape(&store, "a", 2030.0, &page(1004)).unwrap();
    assert_eq!(get(&store, 2030.0, "cni_add_requests_total{}"), 4.0);
}

#[test]
fn rule_2_after_an_hour_a_node_is_forgotten() {
    let store = store(&["a"]);
    let page = |n: u32| format!("awscni_add_ip_req_count {n}\n{}", old_start());
    scrape(&store, "a", 30.0, &page(1000)).unwrap();
    store.retarget(&targets(&[]), at(40.0));
    store.retarget(&targets(&["a"]), at(3700.0));
    scrape(&store, "a", 3730.0, &page(1004)).unwrap();
    assert_eq!(get(&store, 3730.0, "cni_add_requests_total{}"), 0.0);
}

/// A page of a process that began `start` seconds after the exporter.
pub(super) fn counted(n: u32, start: f64) -> String {
    format!("awscni_add_ip_req_count {n}\nprocess_start_time_seconds {}\n", BEGAN + start)
}

fn at_places(pairs: &[(&str, &str)]) -> Targets {
    let mut list: Vec<Target> = pairs.iter().map(|(name, host)| target(name, host)).collect();
    list.sort_by(|a, b| a.node.cmp(&b.node));
    Targets { list, synced: true, ..Targets::default() }
}

#[test]
fn rule_2_a_young_process_that_was_forgotten_is_not_counted_again() {
    // By the hour, and by the cap on what is remembered.
    for (others, back) in [(0, 3_700.0), (1_100, 100.0)] {
        let store = store(&["a"]);
        scrape(&store, "a", 30.0, &counted(700, 5.0)).unwrap();
        let names: Vec<String> = (0..others).map(|i| format!("n{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        store.retarget(&targets(&names), at(40.0));
        for name in &names {
            scrape(&store, name, 41.0, &counted(0, 6.0)).unwrap();
        }
        store.retarget(&targets(&[]), at(50.0));
        store.retarget(&targets(&["a"]), at(back));
        scrape(&store, "a", back, &counted(705, 5.0)).unwrap();
        assert_eq!(get(&store, back, "cni_add_requests_total{}"), 700.0, "{others} others");
        scrape(&store, "a", back + 30.0, &counted(707, 5.0)).unwrap();
        assert_eq!(get(&store, back + 30.0, "cni_add_requests_total{}"), 702.0);
    }
}

#[test]
fn rule_2_a_node_that_is_renamed_is_counted_on() {
    let store = store(&[]);
    store.retarget(&at_places(&[("10.0.0.1", "h1")]), at(0.0));
    scrape(&store, "10.0.0.1", 30.0, &counted(700, 5.0)).unwrap();
    store.retarget(&at_places(&[("ip-10-0-0-1", "h1")]), at(40.0));
    assert_eq!(get(&store, 41.0, "nodes{state=up}"), 1.0, "what it served stands");
    scrape(&store, "ip-10-0-0-1", 60.0, &counted(704, 5.0)).unwrap();
    assert_eq!(get(&store, 60.0, "cni_add_requests_total{}"), 704.0);
}

#[test]
fn rule_2_names_that_are_exchanged_between_addresses_burst_nothing() {
    let store = store(&[]);
    let old = |n| counted(n, -86_400.0);
    let older = |n| counted(n, -186_400.0);
    store.retarget(&at_places(&[("a", "h1"), ("b", "h2")]), at(0.0));
    scrape(&store, "a", 30.0, &old(1_000)).unwrap();
    scrape(&store, "b", 30.0, &older(50_000)).unwrap();
    store.retarget(&at_places(&[("a", "h2"), ("b", "h1")]), at(40.0));
    scrape(&store, "a", 60.0, &older(50_001)).unwrap();
    scrape(&store, "b", 60.0, &old(1_002)).unwrap();
    assert_eq!(get(&store, 60.0, "cni_add_requests_total{}"), 3.0);
}

#[test]
fn rule_2_another_old_process_under_a_name_is_a_baseline() {
    let store = store(&[]);
    store.retarget(&at_places(&[("a", "h1")]), at(0.0));
    scrape(&store, "a", 30.0, &counted(1_000, -86_400.0)).unwrap();
    store.retarget(&at_places(&[("a", "h2")]), at(40.0));
    scrape(&store, "a", 60.0, &counted(50_000, -186_400.0)).unwrap();
    scrape(&store, "a", 90.0, &counted(50_002, -186_400.0)).unwrap();
    assert_eq!(get(&store, 90.0, "cni_add_requests_total{}"), 2.0);
    // The first one comes back under another name: it was known, and is no new process.
    store.retarget(&at_places(&[("a", "h2"), ("x", "h1")]), at(100.0));
    scrape(&store, "x", 120.0, &counted(1_003, -86_400.0)).unwrap();
    assert_eq!(get(&store, 120.0, "cni_add_requests_total{}"), 2.0);
}

#[test]
fn rule_2_a_young_process_displaced_by_another_is_not_counted_again() {
    let store = store(&[]);
    store.retarget(&at_places(&[("a", "h1")]), at(0.0));
    scrape(&store, "a", 30.0, &counted(100, 5.0)).unwrap();
    store.retarget(&at_places(&[("a", "h2")]), at(40.0));
    scrape(&store, "a", 60.0, &counted(7, 45.0)).unwrap();
    store.retarget(&at_places(&[("a", "h2"), ("x", "h1")]), at(100.0));
    scrape(&store, "x", 120.0, &counted(103, 5.0)).unwrap();
    assert_eq!(get(&store, 120.0, "cni_add_requests_total{}"), 107.0);
}

#[test]
fn rule_3_a_page_without_a_start_time_does_not_undo_what_is_known() {
    let store = store(&["a"]);
    scrape(&store, "a", 30.0, &counted(10, -50.0)).unwrap();
    scrape(&store, "a", 60.0, "awscni_add_ip_req_count 10\n").unwrap();
    scrape(&store, "a", 90.0, &counted(12, 70.0)).unwrap();
    assert_eq!(get(&store, 90.0, "cni_add_requests_total{}"), 12.0);
}

#[test]
fn rule_4_a_page_of_nothing_is_no_good_scrape() {
    let store = store(&["a"]);
    scrape(&store, "a", 30.0, &counted(50_000, -86_400.0)).unwrap();
    for page in ["", "go_goroutines 5\n", &old_start()] {
        let refused = scrape(&store, "a", 60.0, page).unwrap_err();
        assert_eq!(refused.outcome, Outcome::Parse);
        let why = if page.is_empty() { "empty" } else { "awscni_" };
        assert!(refused.reason.contains(why), "{}", refused.reason);
    }
    assert_eq!(get(&store, 60.0, "nodes{state=stale}"), 1.0);
    scrape(&store, "a", 90.0, &counted(50_001, -86_400.0)).unwrap();
    assert_eq!(get(&store, 90.0, "cni_add_requests_total{}"), 1.0);
}

#[test]
fn rule_6_values_that_no_node_can_have_enter_no_sum_and_are_counted() {
    let store = store(&["a", "b"]);
    let page =
        |n: &str| format!("awscni_add_ip_req_count {n}\nawscni_eni_max {n}\n{}", old_start());
    let mut uptime = 0.0;
    for n in ["0", "1.7e308", "0", "1.7e308", "5"] {
        uptime += 30.0;
        for node in ["a", "b"] {
            scrape(&store, node, uptime, &page(n)).unwrap();
        }
        assert!(figure_map(&store, uptime).values().all(|v| v.is_finite()));
    }
    assert_eq!(get(&store, uptime, "cni_add_requests_total{}"), 10.0);
    let told = store.observe.registry.gather();
    let dropped =
        told.iter().find(|f| f.name() == "vpccni_exporter_dropped_samples_total").unwrap();
    let rule = |m: &&prometheus::proto::Metric| m.get_label()[0].value() == "non_finite";
    let count = dropped.get_metric().iter().find(rule).unwrap().get_counter().get_value();
    assert_eq!(count, 8.0, "two rows of two nodes, twice");
}

#[test]
fn rule_2_the_memory_of_nodes_that_left_is_capped() {
    let store = store(&[]);
    for i in 0..1_200u32 {
        let name = format!("n{i}");
        store.retarget(&targets(&[&name]), at(f64::from(i)));
        scrape(&store, &name, f64::from(i) + 0.5, "awscni_add_ip_req_count 1\n").unwrap();
    }
    assert_eq!(store.lock().left.len(), left::REMEMBERED_AT_LEAST);
}

#[test]
fn rule_5_the_last_good_value_stands_for_three_intervals_and_is_never_a_zero() {
    let store = store(&["a", "b"]);
    scrape(&store, "a", 30.0, "awscni_eni_allocated 3\n").unwrap();
    scrape(&store, "b", 30.0, "awscni_eni_allocated 2\n").unwrap();
    for uptime in [60.0, 90.0, 120.0] {
        scrape(&store, "a", uptime, "awscni_eni_allocated 3\n").unwrap();
        fails(&store, "b", uptime);
        assert_eq!(get(&store, uptime, "enis_attached{}"), 5.0);
        assert_eq!(get(&store, uptime, "nodes{state=stale}"), 1.0);
    }
    assert_eq!(get(&store, 121.0, "enis_attached{}"), 3.0);
    assert_eq!(get(&store, 121.0, "nodes{state=failed}"), 1.0);
}

#[test]
fn rule_5_states_are_disjoint_and_sum_to_all_known_nodes() {
    let store = store(&["up", "stale", "failed", "new"]);
    scrape(&store, "up", 30.0, "awscni_eni_max 3\n").unwrap();
    scrape(&store, "stale", 20.0, "awscni_eni_max 3\n").unwrap();
    fails(&store, "stale", 30.0);
    fails(&store, "failed", 30.0);
    let map = figure_map(&store, 31.0);
    let states: Vec<_> = map.iter().filter(|(k, _)| k.starts_with("nodes{")).collect();
    assert_eq!(
        states.iter().map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>(),
        ["nodes{state=failed} 2", "nodes{state=stale} 1", "nodes{state=up} 1"]
    );
    assert_eq!(map["nodes_expected{}"], 4.0);
}

#[test]
fn rule_5_a_good_nodes_values_outlive_the_wait_for_its_next_scrape() {
    let settings = Settings { stale_after: 1, ..Settings::default() };
    let store = Store::new(&settings, INTERVAL, Observe::new());
    store.retarget(&targets(&["a"]), at(0.0));
    scrape(&store, "a", 30.0, "awscni_eni_allocated 3\n").unwrap();
    assert_eq!(get(&store, 60.5, "enis_attached{}"), 3.0);
}

#[test]
fn rule_6_what_is_not_finite_enters_no_sum_and_passes_through_on_the_node() {
    let store = store(&["a", "b"]);
    scrape(&store, "a", 30.0, "awscni_eni_allocated NaN\n").unwrap();
    scrape(&store, "b", 30.0, "awscni_eni_allocated 2\n").unwrap();
    assert_eq!(get(&store, 30.0, "enis_attached{}"), 2.0);
    let view = store.view(at(30.0));
    assert!(view.nodes[0].page.as_ref().unwrap().values[0].is_nan());
}

#[test]
fn rule_7_address_families_are_never_mixed() {
    let store = store(&["six", "four"]);
    let six = "awscni_assigned_ip_addresses 5\nawscni_total_ip_addresses 2.81474976710656e+14\nawscni_eni_allocated 1\n";
    let four =
        "awscni_assigned_ip_addresses 7\nawscni_total_ip_addresses 20\nawscni_eni_allocated 2\n";
    scrape(&store, "six", 30.0, six).unwrap();
    scrape(&store, "four", 30.0, four).unwrap();
    let map = figure_map(&store, 30.0);
    assert_eq!(map["ip_addresses_assigned{ip_family=ipv4}"], 7.0);
    assert_eq!(map["ip_addresses_assigned{ip_family=ipv6}"], 5.0);
    assert_eq!(map["ip_addresses_attached{ip_family=ipv6}"], 281_474_976_710_656.0);
    assert_eq!(map["enis_attached{}"], 3.0);
}

#[test]
fn rule_7_an_ipv6_pod_address_makes_an_ipv6_node() {
    let store = store(&[]);
    let list = vec![target("six", "2001:db8::1")];
    store.retarget(&Targets { list, synced: true, ..Targets::default() }, at(0.0));
    scrape(&store, "six", 30.0, "awscni_assigned_ip_addresses 5\n").unwrap();
    assert_eq!(get(&store, 30.0, "ip_addresses_assigned{ip_family=ipv6}"), 5.0);
}

#[test]
fn rule_4_the_date_decides_by_the_second_and_our_clock_within_it() {
    let page =
        |start: f64| format!("awscni_add_ip_req_count 7\nprocess_start_time_seconds {start}\n");
    let counted = |start: f64, date: f64| {
        let store = store(&["a"]);
        let page = page(BEGAN + start);
        let date = Some(BEGAN + date);
        let answer = Answer { body: page.as_bytes(), date, at: at(10.7), seconds: 0.01 };
        store.scraped(&"a".into(), answer).unwrap();
        get(&store, 10.7, "cni_add_requests_total{}")
    };
    // Clocks agree: half a second before and after our own beginning.
    assert_eq!((counted(-0.5, 10.0), counted(0.5, 10.0)), (0.0, 7.0));
    // The node's clock is an hour ahead, and its start time with it.
    assert_eq!((counted(3598.0, 3610.0), counted(3605.0, 3610.0)), (0.0, 7.0));
}

fn histogram(bounds: &[&str], observations: u32) -> String {
    let name = "awscni_ipamd_node_initialization_duration_seconds";
    let mut page = String::new();
    for bound in bounds.iter().chain(&["+Inf"]) {
        page.push_str(&format!(
            "{name}_bucket{{success=\"true\",le=\"{bound}\"}} {observations}\n"
        ));
    }
    page.push_str(&format!("{name}_sum{{success=\"true\"}} {observations}\n"));
    page.push_str(&format!("{name}_count{{success=\"true\"}} {observations}\n"));
    page + &old_start()
}

#[test]
fn rule_8_histograms_merge_by_equal_bounds_whatever_their_spelling() {
    let store = store(&["a", "b"]);
    for (node, bound) in [("a", "5"), ("b", "5.0")] {
        scrape(&store, node, 30.0, &histogram(&[bound], 0)).unwrap();
        scrape(&store, node, 60.0, &histogram(&[bound], 2)).unwrap();
    }
    let key = "ipamd_node_initialization_duration_seconds_bucket{success=true,le=5}";
    assert_eq!(get(&store, 60.0, key), 4.0);
}

#[test]
fn rule_8_a_bound_that_a_contributing_histogram_lacks_is_not_shown() {
    let store = store(&["a"]);
    scrape(&store, "a", 30.0, &histogram(&["0.5", "5"], 0)).unwrap();
    let bounds = |store: &Store| {
        let figures = figures(&store.view(at(60.0)));
        let name = "vpccni_cluster_ipamd_node_initialization_duration_seconds";
        let figure = figures.into_iter().find(|f| f.name == name).unwrap();
        let of_true =
            |s: &crate::aggregate::Sample| s.labels[0].1 == "true" && s.suffix == "_bucket";
        figure
            .samples
            .iter()
            .filter(|s| of_true(s))
            .map(|s| s.labels[1].1.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(bounds(&store).len(), 12, "nothing has contributed yet");
    scrape(&store, "a", 60.0, &histogram(&["0.5", "5"], 1)).unwrap();
    assert_eq!(bounds(&store), ["0.5", "5", "+Inf"]);
}

#[test]
fn rule_8_latency_is_sum_and_count_in_seconds_and_quantiles_are_left_out() {
    let store = store(&["a"]);
    let page = |sum: u32, count: u32| {
        let labels = "api=\"DescribeInstances\",error=\"false\",status=\"200\"";
        format!(
            "# TYPE awscni_aws_api_latency_ms summary\n\
             awscni_aws_api_latency_ms{{{labels},quantile=\"0.99\"}} NaN\n\
             awscni_aws_api_latency_ms_sum{{{labels}}} {sum}\n\
             awscni_aws_api_latency_ms_count{{{labels}}} {count}\n{}",
            old_start()
        )
    };
    scrape(&store, "a", 30.0, &page(1000, 10)).unwrap();
    scrape(&store, "a", 60.0, &page(1500, 12)).unwrap();
    let map = figure_map(&store, 60.0);
    let labels = "{api=DescribeInstances,error=false}";
    assert_eq!(map[&format!("aws_api_latency_seconds_sum{labels}")], 0.5);
    assert_eq!(map[&format!("aws_api_latency_seconds_count{labels}")], 2.0);
}

#[test]
fn rule_9_host_cidr_rows_are_one_row_and_prefixes_stay() {
    let store = store(&["a"]);
    let page = "awscni_assigned_ip_per_cidr{cidr=\"10.0.0.1/32\"} 1\n\
                awscni_assigned_ip_per_cidr{cidr=\"10.0.0.16/28\"} 9\n\
                awscni_assigned_ip_per_cidr{cidr=\"10.0.0.2/32\"} 1\n";
    scrape(&store, "a", 30.0, page).unwrap();
    let view = store.view(at(30.0));
    let page = view.nodes[0].page.as_ref().unwrap();
    let rows: Vec<_> = page
        .layout
        .rows
        .iter()
        .zip(&page.values)
        .map(|(id, value)| format!("{} {value}", view.series_at(*id).unwrap().labels))
        .collect();
    assert_eq!(rows, ["cidr=\"/32\" 2", "cidr=\"10.0.0.16/28\" 9"]);
}

#[test]
fn rule_9_free_text_errors_are_reduced_to_their_code_before_the_limit() {
    let store = store(&["a"]);
    let text = |id: u32, code: &str| {
        format!(
            "awscni_aws_utils_error_count{{error=\"operation error EC2: CreateNetworkInterface, https response error StatusCode: 400, RequestID: {id}, api error {code}: {}\",fn=\"AllocENI\"}} 1\n",
            "x".repeat(2000)
        )
    };
    let page = format!(
        "{}{}{}",
        text(1, "InsufficientFreeAddressesInSubnet"),
        text(2, "InsufficientFreeAddressesInSubnet"),
        text(3, "not a code")
    );
    scrape(&store, "a", 30.0, &page).unwrap();
    let view = store.view(at(30.0));
    let page = view.nodes[0].page.as_ref().unwrap();
    let labels = |row: usize| view.series_at(page.layout.rows[row]).unwrap().labels.to_string();
    assert_eq!(labels(0), "error=\"InsufficientFreeAddressesInSubnet\",fn=\"AllocENI\"");
    assert_eq!(page.values[0], 2.0);
    assert_eq!(page.values.len(), 2);
}

#[test]
fn rule_9_a_catalogued_type_wins_and_other_families_turn_untyped_when_nodes_disagree() {
    let store = store(&["a", "b"]);
    let page = |kind: &str| {
        format!(
            "# TYPE awscni_add_ip_req_count gauge\nawscni_add_ip_req_count 1\n# TYPE awscni_new {kind}\nawscni_new 1\n"
        )
    };
    scrape(&store, "a", 30.0, &page("counter")).unwrap();
    assert_eq!(store.view(at(30.0)).others[0].kind, crate::model::Kind::Counter);
    scrape(&store, "b", 30.0, &page("gauge")).unwrap();
    assert_eq!(store.view(at(30.0)).others[0].kind, crate::model::Kind::Untyped);
    scrape(&store, "a", 60.0, &page("counter").replace(" 1\n", " 4\n")).unwrap();
    assert_eq!(get(&store, 60.0, "cni_add_requests_total{}"), 3.0);
}

#[test]
fn a_series_that_stands_twice_on_a_page_is_refused() {
    let store = store(&["a"]);
    let page = "awscni_x{a=\"1\",b=\"2\"} 1\nawscni_x{b=\"2\",a=\"1\"} 1\n";
    let refused = scrape(&store, "a", 30.0, page).unwrap_err();
    assert_eq!(refused.outcome, Outcome::Parse);
    assert!(refused.reason.contains("twice"), "{}", refused.reason);
}

#[test]
fn rows_that_fold_are_added_up_and_one_of_them_twice_is_refused() {
    let store = store(&["a"]);
    let row = |labels: &str| format!("awscni_aws_utils_error_count{{{labels}}} 1\n");
    // First as a row of its own, then as what others fold to.
    scrape(&store, "a", 30.0, &(row("error=\"other\",fn=\"f\"") + &old_start())).unwrap();
    let page = row("error=\"some text\",fn=\"f\"") + &row("error=\"more text\",fn=\"f\"");
    scrape(&store, "a", 60.0, &(page.clone() + &old_start())).unwrap();
    assert_eq!(get(&store, 60.0, "aws_utils_errors_total{fn=other}"), 1.0);
    let twice = page + &row("fn=\"f\",error=\"some text\"");
    let refused = scrape(&store, "a", 90.0, &twice).unwrap_err();
    assert!(refused.reason.starts_with("3:1: the series"), "{}", refused.reason);
}

#[test]
fn a_bound_in_two_spellings_is_one_series_twice() {
    let store = store(&["a"]);
    let name = "awscni_ipamd_startup_duration_seconds_bucket";
    let page = format!("{name}{{le=\"5\"}} 3\n{name}{{le=\"5.0\"}} 3\n");
    let refused = scrape(&store, "a", 30.0, &page).unwrap_err();
    assert!(refused.reason.starts_with("2:1: the series"), "{}", refused.reason);
}

#[test]
fn a_renamed_label_never_meets_another_of_its_name() {
    let store = store(&["a"]);
    scrape(&store, "a", 30.0, "awscni_x{exported_node=\"q\",node=\"p\"} 1\n").unwrap();
    let view = store.view(at(30.0));
    let series = view.series_at(view.nodes[0].page.as_ref().unwrap().layout.rows[0]).unwrap();
    assert_eq!(&*series.labels, "exported_exported_node=\"p\",exported_node=\"q\"");
}

#[test]
fn a_page_of_many_histograms_costs_no_more_than_its_rows() {
    // Quadratic work takes minutes here.
    let name = "awscni_ipamd_startup_duration_seconds";
    let page = |value: u32| -> String {
        let rows = (0..15_000).map(|i| {
            format!(
                "{name}_bucket{{a=\"{i}\",le=\"1\"}} {value}\n{name}_count{{a=\"{i}\"}} {value}\n"
            )
        });
        rows.collect()
    };
    let store = store(&["a"]);
    let began = std::time::Instant::now();
    for (round, value) in (1..).zip([5, 9, 3]) {
        let page = page(value) + &format!("awscni_eni_max{{round=\"{round}\"}} 1\n");
        scrape(&store, "a", 30.0 * f64::from(round), &page).unwrap();
    }
    assert!(began.elapsed().as_secs() < 60);
}

#[test]
fn labels_that_belong_to_us_or_to_the_scraper_are_renamed() {
    let store = store(&["a"]);
    scrape(&store, "a", 30.0, "awscni_x{node=\"fake\",pod=\"p\"} 1\n").unwrap();
    let view = store.view(at(30.0));
    let series = view.series_at(view.nodes[0].page.as_ref().unwrap().layout.rows[0]).unwrap();
    assert_eq!(&*series.labels, "exported_node=\"fake\",exported_pod=\"p\"");
}

#[test]
fn limits_refuse_the_page_and_name_their_flag() {
    let settings = Settings { max_samples: 2, max_label_length: 10, ..Settings::default() };
    let store = Store::new(&settings, INTERVAL, Observe::new());
    store.retarget(&targets(&["a"]), at(0.0));
    let refusal = |page: &str| {
        let Refused { outcome, reason } = scrape(&store, "a", 1.0, page).unwrap_err();
        assert_eq!(outcome, Outcome::Limit);
        reason
    };
    assert_eq!(
        refusal("awscni_a 1\n\nb 1\nc 1\n"),
        "4:1: the page has more than 2 samples (--scrape.max-samples)"
    );
    assert_eq!(
        refusal("b 1\na{b=\"12345678901\"} 1\n"),
        "2:1: label b of a has 11 bytes, 10 are allowed (--scrape.max-label-length)"
    );
    let long = refusal("a{b12345678901=\"\"} 1\n");
    assert!(long.starts_with("1:1: a label's name has 12 bytes"), "{long}");
    let long = refusal("awscni_name 1\n");
    assert!(long.starts_with("1:1: the metric's name has 11 bytes"), "{long}");
    scrape(&store, "a", 3.0, "awscni_a{b=\"1234567890\"} 1\nb 1\n").unwrap();
}

#[test]
fn a_bad_line_is_named_by_its_place_on_the_whole_page() {
    let store = store(&["a"]);
    scrape(&store, "a", 1.0, "awscni_a 1\nawscni_b 2\nawscni_c 3\n").unwrap();
    let refused = scrape(&store, "a", 2.0, "awscni_a 1\nawscni_b 2\nawscni_c x\n").unwrap_err();
    assert!(refused.reason.contains('3'), "{}", refused.reason);
}

#[test]
fn what_no_node_uses_is_swept() {
    let store = store(&["a"]);
    for round in 0..30u32 {
        let page: String =
            (0..1000).map(|i| format!("awscni_x{{row=\"{round}-{i}\"}} 1\n")).collect();
        scrape(&store, "a", f64::from(round), &page).unwrap();
    }
    let inner = store.lock();
    assert!(inner.interner.lines.len() <= 21_000, "{}", inner.interner.lines.len());
    assert!(inner.interner.series_count() <= 21_000);
}

/// One page of a made-up node: rows come, go and swap places, values and types change.
fn page_strategy() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        (0u32..1000).prop_map(|v| v.to_string()),
        Just("NaN".to_owned()),
        Just("-0".to_owned()),
        Just("1.6e+09".to_owned()),
        (0.0f64..1.0).prop_map(|v| v.to_string()),
    ];
    let line = (0usize..16, 0usize..6, value).prop_map(|(family, row, value)| {
        let names = [
            "awscni_assigned_ip_per_cidr{cidr=\"10.0.0.ROW/32\"}",
            "awscni_assigned_ip_per_cidr{cidr=\"10.0.0.ROW/28\"}",
            "awscni_ec2api_req_count{fn=\"fROW\"}",
            "awscni_aws_utils_error_count{error=\"text ROW\",fn=\"f\"}",
            "awscni_newROW",
            "go_goroutines{row=\"ROW\"}",
            "# TYPE awscni_newROW counter\nawscni_newROW",
            "# TYPE awscni_newROW gauge\nawscni_newROW",
            "# HELP awscni_eni_max words ROW\nawscni_eni_max{row=\"ROW\"}",
            "process_start_time_seconds",
            "# TYPE awscni_hist histogram\nawscni_hist_bucket{le=\"ROW\"}",
            "awscni_hist_bucket{le=\"ROW.0\"}",
            "awscni_hist_count",
            "awscni_ipamd_startup_duration_seconds_bucket{success=\"true\",le=\"ROW\"}",
            "awscni_assigned_ip_addresses",
            "awscni_eni_allocated",
        ];
        format!("{} {value}\n", names[family].replace("ROW", &row.to_string()))
    });
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

proptest! {
    /// The same pages through one reader that knows the shapes before, and each through a new one
    /// that must parse in full: same rows, same bits, same refusals.
    #[test]
    fn prop_the_shape_path_equals_the_full_parse_bit_for_bit(pages in prop::collection::vec(page_strategy(), 1..8)) {
        let settings = Settings::default();
        let mut warm = PageReader::new(&settings);
        for page in &pages {
            let mut cold = PageReader::new(&settings);
            let full = cold.read(page.as_bytes()).map(|s| PageSummary { misses: 0, ..s });
            let fast = warm.read(page.as_bytes()).map(|s| PageSummary { misses: 0, ..s });
            prop_assert_eq!(&full, &fast);
            if full.is_ok() {
                prop_assert_eq!(cold.rows(), warm.rows());
            }
        }
    }
}

#[test]
fn a_node_that_cannot_grow_says_why_on_the_page_and_in_the_cluster_until_it_can() {
    let page = |assigned: u32, refused: u32, errors: u32| {
        format!(
            "awscni_assigned_ip_addresses {assigned}\nawscni_total_ip_addresses 10\nawscni_ip_max 30\n\
             awscni_no_available_ip_addresses {refused}\n\
             awscni_aws_api_error_count{{api=\"AssignPrivateIpAddresses\",\
             error=\"InsufficientFreeAddressesInSubnet\"}} {errors}\n"
        )
    };
    let store = store(&["n1", "n2"]);
    let told = |uptime: f64| {
        let view = store.view(at(uptime));
        let mut text = Vec::new();
        crate::render::nodes(
            &view,
            &crate::render::Narrow::default(),
            &crate::render::detail::Detail::default(),
            crate::render::negotiate::Format::Text004,
            &mut text,
        );
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|l| l.starts_with("vpccni_node_growth_blocked{"));
        let cluster = figure_map(&store, uptime);
        let blocked = cluster.iter().filter(|(key, _)| key.starts_with("nodes_growth_blocked"));
        (
            lines.map(str::to_owned).collect::<Vec<_>>(),
            blocked.map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>(),
        )
    };
    // Years of errors before we looked are no reason now.
    for (uptime, assigned, refused, errors) in
        [(1.0, 10, 900, 900), (31.0, 10, 900, 900), (61.0, 10, 900, 900)]
    {
        scrape(&store, "n1", uptime, &page(assigned, refused, errors)).unwrap();
        scrape(&store, "n2", uptime, &page(9, refused, errors)).unwrap();
    }
    let unknown = "vpccni_node_growth_blocked{node=\"n1\",reason=\"unknown\"} 1";
    assert_eq!(
        told(61.0),
        (vec![unknown.to_owned()], vec!["nodes_growth_blocked{reason=unknown} 1".to_owned()])
    );
    scrape(&store, "n1", 91.0, &page(10, 901, 901)).unwrap();
    let subnet = "vpccni_node_growth_blocked{node=\"n1\",reason=\"subnet\"} 1";
    assert_eq!(
        told(91.0),
        (vec![subnet.to_owned()], vec!["nodes_growth_blocked{reason=subnet} 1".to_owned()])
    );
    scrape(&store, "n1", 691.0 + 1.0, &page(9, 901, 901)).unwrap();
    assert_eq!(told(692.0), (vec![], vec![]));
}

#[test]
fn our_own_page_is_no_node_s() {
    let store = store(&["n1"]);
    scrape(&store, "n1", 1.0, "awscni_ip_max 3\n").unwrap();
    let mut page = Vec::new();
    let (all, detail) =
        (crate::render::Narrow::default(), crate::render::detail::Detail::default());
    let format = crate::render::negotiate::Format::Text004;
    crate::render::nodes(&store.view(at(1.0)), &all, &detail, format, &mut page);
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("awscni_ip_max{node="), "{page}");
    let refused = scrape(&store, "n1", 31.0, &page).unwrap_err();
    assert_eq!(refused.outcome, Outcome::Parse);
    assert!(refused.reason.contains("a page of vpc-cni-exporter"), "{}", refused.reason);
}
