//! The plan over simulated time: everyone once an interval, hanging nodes in their corner.

use super::*;
use crate::model::Source;
use proptest::prelude::*;

const INTERVAL: f64 = 30.0;

fn targets(names: impl IntoIterator<Item = usize>) -> Targets {
    let target = |i: usize| Target {
        node: format!("node-{i:05}").into(),
        host: format!("10.0.{}.{}", i / 256, i % 256).into(),
        port: 61678,
        path: "/metrics".into(),
        labels: Arc::default(),
        source: Source::File,
    };
    Targets { list: names.into_iter().map(target).collect(), losers: 0, synced: true }
}

fn start_all(plan: &mut Plan, now: f64) -> Vec<Start> {
    std::iter::from_fn(|| plan.start(now)).collect()
}

fn names(starts: &[Start]) -> Vec<&str> {
    let mut names: Vec<&str> = starts.iter().map(|s| &*s.target.node).collect();
    names.sort_unstable();
    names
}

#[test]
fn nothing_begins_before_discovery_has_synced() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&Targets { synced: false, ..targets(0..3) }, 0.0);
    assert!(plan.start(0.0).is_none());
    assert_eq!(plan.closed(0.0), None);
    plan.retarget(&targets(0..3), 1.0);
    assert_eq!(start_all(&mut plan, 1.0).len(), 3);
}

#[test]
fn the_first_round_closes_when_every_target_of_the_sync_has_an_outcome() {
    let mut plan = Plan::new(INTERVAL, 2);
    plan.retarget(&targets(0..3), 0.0);
    let first = start_all(&mut plan, 0.0);
    assert_eq!(first.len(), 2, "no more than there are places");
    plan.retarget(&targets(0..4), 0.1);
    plan.ended(&first[0], Outcome::Ok);
    plan.ended(&first[1], Outcome::Timeout);
    let third = plan.start(0.2).unwrap();
    assert_eq!(plan.closed(0.2), None);
    plan.ended(&third, Outcome::Refused);
    let closed = plan.closed(0.3).unwrap();
    assert_eq!((closed.number, closed.ok, closed.failed, closed.timed_out), (0, 1, 2, 1));
}

#[test]
fn no_targets_close_the_first_round_at_once() {
    let mut plan = Plan::new(INTERVAL, 2);
    plan.retarget(&targets([]), 0.0);
    assert_eq!(plan.closed(0.0).map(|c| c.number), Some(0));
}

#[test]
fn a_target_that_leaves_is_no_longer_waited_for_and_its_result_is_nobodys() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets(0..2), 0.0);
    let starts = start_all(&mut plan, 0.0);
    plan.ended(starts.iter().find(|s| &*s.target.node == "node-00000").unwrap(), Outcome::Ok);
    plan.retarget(&targets([0]), 1.0);
    assert!(plan.closed(1.0).is_some());
    let gone = starts.iter().find(|s| &*s.target.node == "node-00001").unwrap();
    assert!(!plan.knows(gone));
    assert_eq!(plan.ended(gone, Outcome::Ok), None);
    assert_eq!(plan.in_flight(), 0);
}

#[test]
fn a_target_that_moves_is_scraped_at_once_at_its_new_place() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets(0..1), 0.0);
    let before = plan.start(0.0).unwrap();
    let mut moved = targets(0..1);
    moved.list[0].host = "10.9.9.9".into();
    plan.retarget(&moved, 1.0);
    let after = plan.start(1.0).unwrap();
    assert_eq!(&*after.target.host, "10.9.9.9");
    assert_eq!(plan.ended(&before, Outcome::Ok), None);
    assert_eq!(plan.ended(&after, Outcome::Ok), Some(None));
}

#[test]
fn a_slot_that_comes_while_the_scrape_before_is_not_over_is_an_overrun() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets(0..1), 0.0);
    let start = plan.start(0.0).unwrap();
    let overrun = plan.advance(2.0 * INTERVAL);
    assert!(!overrun.is_empty());
    assert!(plan.start(2.0 * INTERVAL).is_none(), "one request at a time to one node");
    plan.ended(&start, Outcome::Timeout);
}

#[test]
fn targets_whose_last_scrape_timed_out_take_a_quarter_of_the_places_at_most() {
    let mut plan = Plan::new(INTERVAL, 8);
    plan.retarget(&targets(0..100), 0.0);
    // First time: nobody knows yet who hangs. The even ones do.
    loop {
        let starts = start_all(&mut plan, 0.0);
        if starts.is_empty() {
            break;
        }
        for start in starts {
            let even = start.target.node.ends_with(['0', '2', '4', '6', '8']);
            plan.ended(&start, if even { Outcome::Timeout } else { Outcome::Ok });
        }
    }
    let mut hanging = Vec::new();
    for tick in 0..1_200 {
        let now = f64::from(tick) / 10.0;
        plan.advance(now);
        for start in start_all(&mut plan, now) {
            if start.hangs {
                hanging.push(start);
            } else {
                assert!(start.delay < 0.2, "a good one waited {} s", start.delay);
                plan.ended(&start, Outcome::Ok);
            }
        }
        assert!(hanging.len() <= 2);
    }
    assert_eq!(hanging.len(), 2, "they fill their places and never end");
}

#[test]
fn rounds_after_the_first_close_when_their_interval_is_over() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets(0..50), 0.0);
    let mut closed = Vec::new();
    for tick in 0..1_300 {
        let now = f64::from(tick) / 10.0;
        plan.advance(now);
        loop {
            let starts = start_all(&mut plan, now);
            if starts.is_empty() {
                break;
            }
            for start in &starts {
                plan.ended(start, Outcome::Ok);
            }
        }
        closed.extend(std::iter::from_fn(|| plan.closed(now)));
    }
    let numbers: Vec<u64> = closed.iter().map(|c| c.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert!(closed.iter().all(|c| c.ok == 50), "{closed:?}");
}

proptest! {
    /// Ticks of any length, joins and leaves: nobody is under way twice, and whoever stays is
    /// scraped about once an interval.
    #[test]
    fn prop_everyone_who_stays_is_scraped_once_an_interval(
        ticks in prop::collection::vec(0.05f64..0.4, 200..400),
        joins in prop::collection::vec((0usize..400, 50usize..60), 0..6),
    ) {
        let mut plan = Plan::new(10.0, 1000);
        let mut known: Vec<usize> = (0..50).collect();
        plan.retarget(&targets(known.clone()), 0.0);
        let mut scraped: HashMap<NodeName, Vec<f64>> = HashMap::new();
        let mut now = 0.0;
        for (number, tick) in ticks.into_iter().enumerate() {
            now += tick;
            for (_, who) in joins.iter().filter(|(when, _)| *when == number) {
                match known.iter().position(|k| k == who) {
                    Some(at) => drop(known.remove(at)),
                    None => known.push(*who),
                }
                known.sort_unstable();
                plan.retarget(&targets(known.clone()), now);
            }
            prop_assert!(plan.advance(now).is_empty());
            let starts = start_all(&mut plan, now);
            let mut unique = names(&starts);
            unique.dedup();
            prop_assert_eq!(unique.len(), starts.len());
            for start in starts {
                scraped.entry(start.target.node.clone()).or_default().push(now);
                plan.ended(&start, Outcome::Ok);
            }
        }
        for i in 0..50 {
            let times = &scraped[&*format!("node-{i:05}")];
            for pair in times.windows(2).skip(1) {
                let gap = pair[1] - pair[0];
                prop_assert!((9.0..11.0).contains(&gap), "{gap}");
            }
            prop_assert!(now - times[times.len() - 1] < 15.5);
        }
    }
}
