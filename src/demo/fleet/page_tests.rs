//! Pages as client_golang prints them.

use super::super::node::{Age, Behaviour};
use super::super::release::{CURRENT, RELEASES};
use super::*;
use crate::parse::{Line, Reader};
use std::collections::HashSet;

fn node(serial: u64) -> Node {
    let mut node = Node::new(42, serial, Age::Old, 0, 1.8e9);
    (0..500).for_each(|minute| node.live(minute));
    node
}

fn text(node: &Node) -> String {
    String::from_utf8(render(node)).unwrap()
}

#[test]
fn every_page_is_read_without_error_and_no_row_comes_twice() {
    for serial in 0..60 {
        let page = render(&node(serial));
        let mut reader = Reader::new(&page);
        let mut families = HashSet::new();
        while let Some(line) = reader.next_line().unwrap() {
            if let Line::Type { name, .. } = line {
                assert!(families.insert(name.to_owned()), "{name} twice");
            }
        }
        let text = String::from_utf8(page).unwrap();
        let mut rows = HashSet::new();
        for row in text.lines().filter(|l| !l.starts_with('#')) {
            let key = row.rsplit_once(' ').unwrap().0;
            assert!(rows.insert(key), "{key} twice");
        }
    }
}

#[test]
fn families_are_sorted_by_name() {
    for release in RELEASES {
        let mut node = node(3);
        node.upgrade(release, 1.8e9);
        (500..900).for_each(|minute| node.live(minute));
        let text = text(&node);
        let names: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("# TYPE "))
            .filter_map(|l| l.split(' ').next())
            .collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}

#[test]
fn a_vector_without_children_leaves_no_trace() {
    let mut node = node(1);
    node.restart(1.8e9);
    let text = text(&node);
    assert!(!text.contains("awscni_del_ip_req_count"));
    assert!(text.contains("awscni_add_ip_req_count 0\n"));
}

#[test]
fn types_waver_with_the_release() {
    let types: Vec<bool> = RELEASES
        .iter()
        .map(|release| {
            let mut node = node(1);
            node.upgrade(release, 1.8e9);
            text(&node).contains("# TYPE awscni_add_ip_req_count gauge\n")
        })
        .collect();
    assert_eq!(types, [false, true, true, false, true, false, false, false]);
}

#[test]
fn the_oldest_release_has_quantiles_of_nan_and_no_status() {
    let mut node = node(2);
    node.upgrade(&RELEASES[0], 1.8e9);
    let text = text(&node);
    let row = r#"awscni_aws_api_latency_ms{api="DescribeNetworkInterfaces",error="false",quantile="0.99"} NaN"#;
    assert!(text.contains(row), "{text}");
    assert!(!text.contains("status="));
    assert!(!text.contains("awscni_build_info"));
}

#[test]
fn a_page_of_the_current_release_is_of_the_usual_size() {
    let sizes: Vec<usize> = (0..100)
        .map(node)
        .filter(|n| n.release == &RELEASES[CURRENT])
        .map(|n| render(&n).len())
        .collect();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((12_000..40_000).contains(&mean), "{mean}");
}

#[test]
fn a_node_that_serves_nan_shows_it_in_a_gauge_and_a_counter() {
    let mut node = node(4);
    node.behave(Behaviour::Nan);
    let text = text(&node);
    assert!(text.contains("awscni_assigned_ip_addresses NaN\n"), "{text}");
    assert!(text.contains("awscni_add_ip_req_count +Inf\n"));
}

#[test]
fn a_stepped_clock_moves_the_start_time_with_it() {
    let mut node = node(5);
    node.process.start = 1_700_000_000.25;
    node.clock_offset = -120.0;
    assert!(text(&node).contains("process_start_time_seconds 1.69999988025e+09\n"));
}

#[test]
fn one_state_has_one_page() {
    assert_eq!(render(&node(6)), render(&node(6)));
    assert_ne!(render(&node(6)), render(&node(7)));
}
