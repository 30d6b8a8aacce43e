//! Queries, orders, filters and pages.

use super::super::tests::{blocked, failed, idle, labelled, node};
use super::*;
use crate::model::Idle;
use proptest::prelude::*;

fn read(query: &str) -> Result<Ask, BadParam> {
    Ask::read(&format!("/?{query}").parse().unwrap())
}

fn chosen(query: &str, nodes: &[NodeView]) -> Vec<String> {
    let (rows, _) = read(query).unwrap().choose(nodes);
    rows.iter().map(|node| node.target.node.to_string()).collect()
}

#[test]
fn a_parameter_that_is_none_is_named_with_what_is_allowed() {
    for (query, key, value) in [
        ("sort=size", "sort", "size"),
        ("order=up", "order", "up"),
        ("page=0", "page", "0"),
        ("page=-1", "page", "-1"),
        ("rows=501", "rows", "501"),
        ("state=UP", "state", "UP"),
        ("reason=ok", "reason", "ok"),
        ("colour=red", "colour", "red"),
        ("state=up&state=failed", "state", "failed"),
    ] {
        let bad = read(query).unwrap_err();
        assert_eq!((bad.key.as_str(), bad.value.as_str()), (key, value));
    }
    assert_eq!(
        read("sort=&order=&page=&rows=&state=&reason=&node=&zone=").unwrap(),
        Ask::default()
    );
}

#[test]
fn the_worst_come_first_and_equals_by_name() {
    let mut stale = node("stale", [1.0, 5.0, 10.0]);
    (stale.state, stale.last_outcome) = (NodeState::Stale, Some(Outcome::Timeout));
    let nodes = [
        node("calm", [1.0, 5.0, 10.0]),
        node("busy", [9.0, 9.0, 10.0]),
        node("busy too", [9.0, 9.0, 10.0]),
        blocked("ceiling", Growth::Ceiling),
        blocked("subnet", Growth::Subnet),
        failed("dead", Outcome::Refused),
        idle("missing", Idle::Missing),
        stale,
    ];
    let expected = ["subnet", "dead", "missing", "ceiling", "stale", "busy", "busy too", "calm"];
    assert_eq!(chosen("", &nodes), expected);
}

#[test]
fn every_column_sorts_both_ways_and_what_is_not_known_comes_last() {
    let zone =
        |name: &str, assigned, zone| labelled(node(name, [assigned, 5.0, 10.0]), &[("zone", zone)]);
    let nodes = [
        zone("b", 2.0, "y"),
        zone("a", 1.0, "z"),
        zone("c", 3.0, "x"),
        failed("d", Outcome::Timeout),
        node("e", [f64::NAN, 5.0, 10.0]),
    ];
    for (query, expected) in [
        ("sort=node", "abcde"),
        ("sort=node&order=desc", "edcba"),
        ("sort=assigned", "abcde"),
        ("sort=assigned&order=desc", "cbade"),
        ("sort=use&order=desc", "cbade"),
        ("sort=warm", "cbade"),
        ("sort=zone", "cbade"),
        ("sort=zone&order=desc", "abcde"),
        ("sort=state", "dabce"),
        ("sort=seen", "abced"),
    ] {
        assert_eq!(chosen(query, &nodes).concat(), expected, "{query}");
    }
}

#[test]
fn filters_intersect_and_know_part_of_a_name_in_any_case() {
    let place = |node, zone, group| labelled(node, &[("zone", zone), ("nodegroup", group)]);
    let nodes = [
        place(blocked("ip-10-1", Growth::Subnet), "a", "web"),
        place(blocked("ip-10-2", Growth::Denied), "a", "batch"),
        place(failed("IP-10-3", Outcome::Timeout), "b", "web"),
        idle("ip-11-4", Idle::Missing),
    ];
    for (query, expected) in [
        ("node=ip-10&sort=node", &["IP-10-3", "ip-10-1", "ip-10-2"][..]),
        ("zone=a&nodegroup=web", &["ip-10-1"]),
        ("zone=a&reason=denied", &["ip-10-2"]),
        ("reason=timeout", &["IP-10-3"]),
        ("state=missing", &["ip-11-4"]),
        ("state=missing&zone=a", &[]),
        ("type=m5.large", &[]),
    ] {
        assert_eq!(chosen(query, &nodes), expected, "{query}");
    }
}

#[test]
fn names_are_links_where_a_browser_keeps_them() {
    assert_eq!(page_of("ip-10-0-0-1.x").as_deref(), Some("node/ip-10-0-0-1.x"));
    assert_eq!(page_of("a/b?c#d%\"").as_deref(), Some("node/a%2Fb%3Fc%23d%25%22"));
    for none in [".", "..", &"n".repeat(254)] {
        assert_eq!(page_of(none), None);
    }
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let reasons: Vec<Reason> = Reason::all().collect();
    (
        (0..Sort::ALL.len(), any::<bool>(), 1u32..9, 1u32..=ROWS_MAX),
        (".*", ".*", ".*", ".*"),
        proptest::option::of(0..NodeState::ALL.len()),
        proptest::option::of(0..reasons.len()),
    )
        .prop_map(move |((sort, descending, page, rows), (node, a, b, c), state, reason)| {
            Ask {
                sort: Sort::ALL[sort],
                descending,
                page,
                rows,
                node,
                labels: [a, b, c],
                state: state.map(|at| NodeState::ALL[at]),
                reason: reason.map(|at| reasons[at]),
            }
        })
}

proptest! {
    #[test]
    fn a_link_is_read_as_what_it_was_made_from(ask in any_ask()) {
        let uri: Uri = format!("/{}", ask.query()).parse().unwrap();
        prop_assert_eq!(Ask::read(&uri).unwrap(), ask);
    }

    #[test]
    fn pages_are_the_sorted_list_in_pieces(
        assigned in proptest::collection::vec(0u8..9, 0..60), rows in 1u32..20, sort in 0..Sort::ALL.len(),
        descending: bool,
    ) {
        let of = |(i, n): (usize, &u8)| node(&format!("n{i:02}"), [f64::from(*n), 9.0, 10.0]);
        let nodes: Vec<NodeView> = assigned.iter().enumerate().map(of).collect();
        let all = Ask { rows: 500, sort: Sort::ALL[sort], descending, ..Ask::default() };
        let names = |ask: &Ask| -> Vec<String> {
            ask.choose(&nodes).0.iter().map(|n| n.target.node.to_string()).collect()
        };
        let pages = (1..=60).flat_map(|page| names(&Ask { page, rows, ..all.clone() }));
        prop_assert_eq!(pages.collect::<Vec<_>>(), names(&all));
    }
}
