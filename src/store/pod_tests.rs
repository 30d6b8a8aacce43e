//! The store and what Kubernetes tells of a node: nodes that cannot be scraped (truth rule 5), pods that
//! replace each other (truth rules 2 and 3).

use super::tests::{at, counted, get, scrape, store, target, targets};
use super::*;
use crate::model::{Idle, Pod, Source, Target};

fn idle(name: &str, why: Idle) -> Target {
    Target::idle(name.into(), Source::Kubernetes, why)
}

fn of_pod(name: &str, host: &str, uid: &str, created: f64) -> Target {
    let created = at(created).unix as i64;
    Target { pod: Some(Pod { uid: uid.into(), created }), ..target(name, host) }
}

fn retarget(store: &Store, list: Vec<Target>, uptime: f64) {
    store.retarget(&Targets { list, synced: true, ..Targets::default() }, at(uptime));
}

fn pending() -> Idle {
    Idle::Pod("the pod p is Pending".into())
}

#[test]
fn rule_5_a_rollout_of_the_daemonset_does_not_dip_the_sums() {
    let store = store(&["a"]);
    let page = |adds: u32, start: f64| format!("awscni_eni_allocated 3\n{}", counted(adds, start));
    scrape(&store, "a", 30.0, &page(10, -50.0)).unwrap();
    for (uptime, why) in [(40.0, Idle::Missing), (45.0, pending())] {
        retarget(&store, vec![idle("a", why)], uptime);
        assert_eq!(get(&store, uptime, "enis_attached{}"), 3.0);
        assert_eq!(get(&store, uptime, "nodes{state=stale}"), 1.0);
    }
    let view = store.view(at(45.0));
    assert_eq!(&*view.nodes[0].reason, "the pod p is Pending");
    // The new pod's ipamd counts from zero, at the node's address as before.
    store.retarget(&targets(&["a"]), at(50.0));
    scrape(&store, "a", 60.0, &page(4, 48.0)).unwrap();
    assert_eq!(get(&store, 60.0, "cni_add_requests_total{}"), 4.0);
    assert_eq!(get(&store, 60.0, "nodes{state=up}"), 1.0);
}

#[test]
fn rule_5_without_values_a_node_without_a_pod_is_missing_and_one_with_a_dead_pod_has_failed() {
    let store = store(&["a", "b"]);
    for node in ["a", "b"] {
        scrape(&store, node, 30.0, "awscni_eni_allocated 3\n").unwrap();
    }
    retarget(
        &store,
        vec![idle("a", Idle::Missing), idle("b", pending()), idle("c", Idle::Missing)],
        40.0,
    );
    assert_eq!(get(&store, 120.0, "nodes{state=stale}"), 2.0);
    assert_eq!(get(&store, 120.0, "nodes{state=missing}"), 1.0);
    assert_eq!(get(&store, 121.0, "nodes{state=missing}"), 2.0);
    assert_eq!(get(&store, 121.0, "nodes{state=failed}"), 1.0);
    assert_eq!(get(&store, 121.0, "enis_attached{}"), 0.0);
}

#[test]
fn rule_2_a_node_that_is_idle_for_long_and_comes_back_elsewhere_counts_nothing_twice() {
    let store = store(&["a"]);
    scrape(&store, "a", 30.0, &counted(10, -50.0)).unwrap();
    retarget(&store, vec![idle("a", pending())], 40.0);
    retarget(&store, vec![idle("a", Idle::Missing), idle("b", Idle::Missing)], 50.0);
    // The same process at another address, as its start time says.
    retarget(&store, vec![target("a", "h9"), idle("b", Idle::Missing)], 200.0);
    scrape(&store, "a", 210.0, &counted(12, -50.0)).unwrap();
    assert_eq!(get(&store, 210.0, "cni_add_requests_total{}"), 2.0);
    // Away as a whole, then known without an address before it has one again.
    retarget(&store, vec![], 220.0);
    retarget(&store, vec![idle("a", pending()), idle("b", pending())], 230.0);
    retarget(&store, vec![], 240.0);
    retarget(&store, vec![target("a", "h9")], 250.0);
    scrape(&store, "a", 260.0, &counted(15, -50.0)).unwrap();
    assert_eq!(get(&store, 260.0, "cni_add_requests_total{}"), 5.0);
}

#[test]
fn rule_3_without_a_start_time_another_pod_counts_from_zero() {
    let store = store(&[]);
    let page = |adds: u32| format!("awscni_add_ip_req_count {adds}\n");
    retarget(&store, vec![of_pod("a", "h", "u1", -50.0)], 0.0);
    scrape(&store, "a", 30.0, &page(10)).unwrap();
    // More than before, but by another pod, made after the page before was served.
    for host in ["h", "h2"] {
        let (made, at, adds) = if host == "h" { (40.0, 60.0, 11) } else { (70.0, 90.0, 12) };
        retarget(&store, vec![of_pod("a", host, host, made)], at - 10.0);
        scrape(&store, "a", at, &page(adds)).unwrap();
    }
    assert_eq!(get(&store, 90.0, "cni_add_requests_total{}"), 23.0);
}

#[test]
fn rule_3_a_page_that_may_have_been_the_new_pods_already_is_not_counted_twice() {
    let store = store(&[]);
    let page = |adds: u32| format!("awscni_add_ip_req_count {adds}\n");
    retarget(&store, vec![of_pod("a", "h", "u1", -50.0)], 0.0);
    scrape(&store, "a", 30.0, &page(10)).unwrap();
    // The new pod has the address before discovery hears of it: its counter fell, and it is counted.
    scrape(&store, "a", 60.0, &page(4)).unwrap();
    retarget(&store, vec![of_pod("a", "h", "u2", 40.0)], 70.0);
    scrape(&store, "a", 90.0, &page(5)).unwrap();
    assert_eq!(get(&store, 90.0, "cni_add_requests_total{}"), 5.0);
}

#[test]
fn a_node_that_cannot_be_scraped_is_no_success_of_its_last_scrape() {
    let store = store(&["a"]);
    scrape(&store, "a", 30.0, "awscni_eni_allocated 3\n").unwrap();
    retarget(&store, vec![idle("a", pending())], 40.0);
    let mut text = Vec::new();
    let (narrow, detail) = Default::default();
    let format = crate::render::negotiate::Format::Text004;
    crate::render::nodes(&store.view(at(41.0)), &narrow, &detail, format, &mut text);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("vpccni_node_scrape_success{node=\"a\"} 0\n"), "{text}");
    assert!(text.contains("awscni_eni_allocated{node=\"a\"} 3\n"), "{text}");
}
