//! What a view says to a person.

use super::super::tests::{blocked, failed, idle, labelled, node};
use super::*;

fn told(nodes: &[NodeView]) -> Vec<(Level, usize, String, Option<String>)> {
    let picture = Picture::of(nodes);
    let of = |f: &Finding<'_>| (f.level, f.nodes, f.what.clone(), f.common.clone());
    picture.findings.iter().map(of).collect()
}

#[test]
fn the_worst_and_the_largest_findings_come_first() {
    let mut stale = failed("s", Outcome::Timeout);
    (stale.state, stale.page) = (NodeState::Stale, node("", [1.0, 2.0, 3.0]).page);
    let nodes = [
        node("a", [9.0, 9.0, 10.0]),
        blocked("b", Growth::Subnet),
        blocked("c", Growth::Subnet),
        blocked("d", Growth::MaxPods),
        failed("e", Outcome::Refused),
        idle("f", Idle::Missing),
        idle("g", Idle::Pod("waits".into())),
        node("h", [f64::INFINITY, 9.0, 10.0]),
        stale,
    ];
    let told: Vec<(Level, usize, String)> =
        told(&nodes).into_iter().map(|(level, n, what, _)| (level, n, what)).collect();
    let expected = [
        (Level::Critical, 2, "no more addresses (subnet)"),
        (Level::Critical, 1, "no aws-node pod (missing)"),
        (Level::Critical, 1, "aws-node does not run; no values"),
        (Level::Critical, 1, "cannot be scraped (refused); no values"),
        (Level::Warning, 1, "no room for more pods (max_pods)"),
        (Level::Warning, 1, "cannot be scraped (timeout); older values stand"),
        (Level::Warning, 1, "NaN or infinity instead of addresses"),
        (Level::Notice, 1, "90% or more of the usable addresses in use"),
    ];
    assert_eq!(told, expected.map(|(level, n, what)| (level, n, what.to_owned())));
}

#[test]
fn a_node_that_nobody_asked_does_not_answer() {
    let unasked = NodeView { last_outcome: None, ..failed("u", Outcome::Ok) };
    let back = failed("b", Outcome::Ok);
    let told = told(&[unasked, back, node("a", [1.0, 5.0, 10.0])]);
    let what = "not scraped yet, or not since aws-node came back".to_owned();
    assert_eq!(told, [(Level::Warning, 2, what, None)]);
}

#[test]
fn what_they_have_in_common_is_told_where_the_fleet_has_not() {
    let at = |node: NodeView, zone: &str, group: &str| {
        labelled(node, &[("zone", zone), ("nodegroup", group)])
    };
    let calm =
        |i: usize| at(node(&format!("n{i}"), [1.0, 5.0, 10.0]), ["a", "b", "c"][i % 3], "web");
    let mut nodes: Vec<NodeView> = (0..30).map(calm).collect();
    let common = |nodes: &[NodeView]| told(nodes).into_iter().map(|(.., common)| common).next();
    nodes.push(at(blocked("x", Growth::Subnet), "b", "web"));
    assert_eq!(common(&nodes), Some(None), "of one node");
    nodes.push(at(blocked("y", Growth::Subnet), "b", "web"));
    assert_eq!(common(&nodes), Some(None), "of two");
    nodes.push(at(blocked("yy", Growth::Subnet), "b", "web"));
    assert_eq!(common(&nodes), Some(Some("all in zone b".to_owned())), "most are web");
    nodes.push(at(blocked("z", Growth::Subnet), "c", "web"));
    assert_eq!(common(&nodes), Some(Some("3 in zone b".to_owned())));
    nodes.push(at(blocked("zz", Growth::Subnet), "c", "web"));
    nodes.push(at(blocked("zzz", Growth::Subnet), "c", "web"));
    assert_eq!(common(&nodes), Some(None), "half of them say nothing");
}

#[test]
fn nodes_are_in_the_bar_of_their_share_and_full_ones_in_their_own() {
    let shares = [0.0, 0.99, 1.0, 4.5, 9.0, 9.99, 10.0, 12.0, f64::NAN];
    let nodes: Vec<NodeView> = shares.iter().map(|n| node("n", [*n, 10.0, 10.0])).collect();
    assert_eq!(Picture::of(&nodes).bars, [2, 1, 0, 0, 1, 0, 0, 0, 0, 2, 2]);
}

#[test]
fn sums_take_what_stands_and_is_a_number() {
    let mut six = node("six", [3.0, 1e15, 1e15]);
    six.ipv6 = true;
    let nodes = [
        node("a", [10.0, 20.0, 30.0]),
        node("b", [f64::NAN, 5.0, 6.0]),
        failed("c", Outcome::Timeout),
        six,
    ];
    let picture = Picture::of(&nodes);
    let expected = Addresses {
        nodes: 2,
        counted: 1,
        assigned: 10.0,
        warm: 10.0,
        growth: 11.0,
        usable: 36.0,
        share: Some(10.0 / 30.0),
    };
    assert_eq!(picture.addresses[0], expected);
    assert_eq!((picture.addresses[1].nodes, picture.states), (1, [3, 0, 1, 0]));
    assert_eq!(picture.versions, [("unknown", 3)]);
}

#[test]
fn each_finding_is_shown_by_a_filter_that_finds_its_nodes() {
    let nodes = [
        blocked("b", Growth::Throttled),
        failed("e", Outcome::Refused),
        idle("f", Idle::Missing),
        idle("g", Idle::Pod("waits".into())),
    ];
    for finding in Picture::of(&nodes).findings {
        let Some(show) = finding.show else { continue };
        let (rows, _) = show.choose(&nodes);
        let found: Vec<&str> = rows.iter().map(|node| &*node.target.node).collect();
        assert_eq!(found, finding.named, "{}", finding.what);
    }
}
