//! The plan over simulated time: everyone once an interval, hanging nodes in their corner.

use super::*;
use crate::model::Source;
use proptest::prelude::*;

const INTERVAL: f64 = 30.0;

fn targets(names: impl IntoIterator<Item = usize>) -> Targets {
    let target = |i: usize| {
        Target::new(
            format!("node-{i:05}"),
            format!("10.0.{}.{}", i / 256, i % 256),
            61678,
            "/metrics",
            Source::File,
        )
    };
    Targets { list: names.into_iter().map(target).collect(), synced: true, ..Targets::default() }
}

fn start_all(plan: &mut Plan, now: f64) -> Vec<Start> {
    std::iter::from_fn(|| plan.start(now)).collect()
}

/// Everything due gets a good answer.
fn settle_all(plan: &mut Plan, now: f64) {
    while let Some(start) = plan.start(now) {
        plan.ended(&start, Outcome::Ok, now);
    }
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
    plan.ended(&first[0], Outcome::Ok, 1.0);
    plan.ended(&first[1], Outcome::Timeout, 1.0);
    let third = plan.start(0.2).unwrap();
    assert_eq!(plan.closed(0.2), None);
    plan.ended(&third, Outcome::Refused, 1.0);
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
    plan.ended(starts.iter().find(|s| &*s.target.node == "node-00000").unwrap(), Outcome::Ok, 1.0);
    plan.retarget(&targets([0]), 1.0);
    assert!(plan.closed(1.0).is_some());
    let gone = starts.iter().find(|s| &*s.target.node == "node-00001").unwrap();
    assert!(!plan.knows(gone));
    assert_eq!(plan.ended(gone, Outcome::Ok, 1.0), None);
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
    assert_eq!(plan.ended(&before, Outcome::Ok, 1.0), None);
    assert_eq!(plan.ended(&after, Outcome::Ok, 1.0), Some(None));
}

#[test]
fn a_slot_that_comes_while_the_scrape_before_is_not_over_is_an_overrun() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets(0..1), 0.0);
    let start = plan.start(0.0).unwrap();
    let overrun = plan.advance(2.0 * INTERVAL);
    assert!(!overrun.is_empty());
    assert!(plan.start(2.0 * INTERVAL).is_none(), "one request at a time to one node");
    plan.ended(&start, Outcome::Timeout, 1.0);
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
            plan.ended(&start, if even { Outcome::Timeout } else { Outcome::Ok }, 1.0);
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
                plan.ended(&start, Outcome::Ok, 1.0);
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
                plan.ended(start, Outcome::Ok, 1.0);
            }
        }
        closed.extend(std::iter::from_fn(|| plan.closed(now)));
    }
    let numbers: Vec<u64> = closed.iter().map(|c| c.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert!(closed.iter().all(|c| c.ok == 50), "{closed:?}");
}

#[test]
fn a_target_that_comes_back_while_it_is_scraped_takes_that_scrape_up_again() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets(0..2), 0.0);
    let starts = start_all(&mut plan, 0.0);
    let start = starts.iter().find(|s| &*s.target.node == "node-00001").unwrap();
    plan.retarget(&targets([0]), 1.0);
    assert!(!plan.knows(start));
    plan.retarget(&targets(0..2), 2.0);
    assert!(plan.start(2.0).is_none(), "its node has a request under way");
    assert!(plan.knows(start));
    assert_eq!(plan.ended(start, Outcome::Ok, 3.0), Some(None));
    assert_eq!((plan.in_flight(), plan.targets()), (1, 2));
}

#[test]
fn a_target_that_comes_back_after_its_scrape_was_over_begins_anew() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets([0]), 0.0);
    let before = plan.start(0.0).unwrap();
    plan.retarget(&targets([]), 1.0);
    assert_eq!(plan.ended(&before, Outcome::Ok, 1.5), None);
    plan.retarget(&targets([0]), 2.0);
    let after = plan.start(2.0).unwrap();
    assert_ne!(before.id, after.id);
}

#[test]
fn a_scrape_under_way_makes_later_slots_overruns_of_their_own_rounds() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets([0]), 0.0);
    settle_all(&mut plan, 0.0);
    plan.advance(INTERVAL);
    settle_all(&mut plan, INTERVAL);
    assert_eq!(plan.closed(INTERVAL).map(|c| c.ok), Some(1));
    // Slots come in rounds 1 and 2; the scrape of round 1 lasts until round 3.
    assert_eq!(plan.advance(2.0 * INTERVAL).len(), 0);
    let start = plan.start(2.0 * INTERVAL).unwrap();
    assert_eq!(plan.advance(3.0 * INTERVAL).len(), 1);
    assert_eq!(plan.closed(3.0 * INTERVAL), None, "round 1 waits for its scrape");
    plan.ended(&start, Outcome::Timeout, 3.1 * INTERVAL);
    let closed: Vec<_> = std::iter::from_fn(|| plan.closed(3.1 * INTERVAL)).collect();
    let seen: Vec<_> = closed.iter().map(|c| (c.number, c.ok, c.failed, c.timed_out)).collect();
    assert_eq!(seen, [(1, 0, 1, 1), (2, 0, 1, 0)]);
}

#[test]
fn who_finds_no_place_in_a_whole_interval_overran_and_keeps_its_turn() {
    let mut plan = Plan::new(INTERVAL, 1);
    plan.retarget(&targets(0..3), 0.0);
    settle_all(&mut plan, 0.0);
    plan.advance(INTERVAL);
    settle_all(&mut plan, INTERVAL);
    assert_eq!(plan.closed(INTERVAL).map(|c| c.number), Some(0));
    assert_eq!(plan.advance(2.0 * INTERVAL).len(), 0);
    let holds = plan.start(2.0 * INTERVAL).unwrap();
    // All three overrun in round 2: one is under way, two waited since round 1.
    let overrun = plan.advance(3.0 * INTERVAL);
    assert_eq!(overrun.len(), 3);
    plan.ended(&holds, Outcome::Ok, 3.0 * INTERVAL);
    let one = plan.closed(3.0 * INTERVAL).unwrap();
    assert_eq!((one.number, one.ok, one.failed), (1, 1, 2));
    assert_eq!(plan.closed(3.0 * INTERVAL), None, "two of round 2 still wait");
    for _ in 0..2 {
        let start = plan.start(3.0 * INTERVAL).unwrap();
        assert_ne!(start.id, holds.id);
        plan.ended(&start, Outcome::Ok, 3.0 * INTERVAL);
    }
    let two = plan.closed(3.0 * INTERVAL).unwrap();
    assert_eq!((two.number, two.ok, two.failed), (2, 2, 1));
}

#[test]
fn the_first_round_is_told_of_first_and_never_closed_by_an_overrun() {
    let mut plan = Plan::new(1.0, 1);
    plan.retarget(&targets(0..3), 0.0);
    let hangs = plan.start(0.0).unwrap();
    assert!(!plan.advance(5.0).is_empty());
    assert_eq!(plan.closed(5.0), None);
    plan.ended(&hangs, Outcome::Timeout, 5.0);
    for _ in 0..2 {
        assert_eq!(plan.closed(5.0), None);
        let start = plan.start(5.0).unwrap();
        plan.ended(&start, Outcome::Ok, 5.0);
    }
    let first = plan.closed(5.0).unwrap();
    assert_eq!((first.number, first.ok, first.timed_out), (0, 2, 1));
    assert_eq!(plan.closed(5.0).map(|c| c.number), Some(1));
}

#[test]
fn a_round_knows_when_the_last_node_that_does_not_hang_was_done() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets(0..3), 2.0);
    let starts = start_all(&mut plan, 2.0);
    plan.ended(&starts[0], Outcome::Ok, 2.5);
    plan.ended(&starts[1], Outcome::Refused, 3.0);
    assert_eq!(plan.hanging(), 0);
    plan.ended(&starts[2], Outcome::Timeout, 12.0);
    let first = plan.closed(12.0).unwrap();
    assert_eq!((first.began.to_bits(), first.answered.to_bits()), (2f64.to_bits(), 3f64.to_bits()));
    assert_eq!(plan.hanging(), 1);
    plan.retarget(&targets([]), 13.0);
    assert_eq!(plan.hanging(), 0);
}

#[test]
fn hanging_targets_are_tried_even_while_good_ones_use_every_place() {
    let mut plan = Plan::new(INTERVAL, 4);
    plan.retarget(&targets(0..40), 0.0);
    while let Some(start) = plan.start(0.0) {
        let hangs = &*start.target.node == "node-00007";
        plan.ended(&start, if hangs { Outcome::Timeout } else { Outcome::Ok }, 0.0);
    }
    plan.advance(2.0 * INTERVAL);
    let starts = start_all(&mut plan, 2.0 * INTERVAL);
    assert_eq!(starts.iter().filter(|s| s.hangs).count(), 1);
    assert_eq!(starts.len(), 4);
}

#[test]
fn a_name_that_stands_twice_in_the_list_is_one_target() {
    let mut plan = Plan::new(INTERVAL, 10);
    plan.retarget(&targets([1, 1, 2]), 0.0);
    assert_eq!(start_all(&mut plan, 0.0).len(), 2);
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
                plan.ended(&start, Outcome::Ok, 1.0);
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

    /// Nodes that answer, hang or refuse, in any mix, on few places: no place is used twice, hanging
    /// ones keep to their quarter, no node has two scrapes, and everything due gets its outcome.
    #[test]
    fn prop_places_are_kept_and_every_round_closes(
        kinds in prop::collection::vec(0u8..4, 1..60),
        places in 4usize..12,
        leaves in prop::collection::vec((0usize..600, 0usize..60), 0..8),
    ) {
        const TIMEOUT: f64 = 4.0;
        let mut plan = Plan::new(10.0, places);
        let mut known: Vec<usize> = (0..kinds.len()).collect();
        plan.retarget(&targets(known.clone()), 0.0);
        let mut flying: Vec<(f64, Outcome, Start)> = Vec::new();
        let mut closed = Vec::new();
        for step in 0..1_200 {
            let now = f64::from(step) / 10.0;
            let (over, still) = flying.into_iter().partition(|(until, ..)| *until <= now);
            flying = still;
            let over: Vec<(f64, Outcome, Start)> = over;
            for (_, outcome, start) in &over {
                plan.ended(start, *outcome, now);
            }
            for (_, who) in leaves.iter().filter(|(at, _)| *at == usize::try_from(step).unwrap()) {
                match known.iter().position(|k| k == who) {
                    Some(at) => drop(known.remove(at)),
                    None if *who < kinds.len() => known.push(*who),
                    None => {}
                }
                known.sort_unstable();
                plan.retarget(&targets(known.clone()), now);
            }
            plan.advance(now);
            while let Some(start) = plan.start(now) {
                let number: usize = start.target.node.trim_start_matches("node-").parse().unwrap();
                let (lasts, outcome) = match kinds[number] {
                    0 => (TIMEOUT, Outcome::Timeout),
                    1 => (0.0, Outcome::Refused),
                    _ => (0.2, Outcome::Ok),
                };
                flying.push((now + lasts, outcome, start));
            }
            prop_assert!(flying.len() <= places);
            prop_assert_eq!(flying.len(), plan.in_flight());
            prop_assert!(flying.iter().filter(|(.., s)| s.hangs).count() <= places / 4);
            let mut under_way: Vec<&str> = flying.iter().map(|(.., s)| &*s.target.node).collect();
            under_way.sort_unstable();
            let all = under_way.len();
            under_way.dedup();
            prop_assert_eq!(under_way.len(), all, "two scrapes of one node");
            closed.extend(std::iter::from_fn(|| plan.closed(now)).map(|c| c.number));
        }
        // 120 s hold twelve intervals; overruns settle what waits, so the last few may be open.
        prop_assert!(closed.len() >= 8, "{closed:?}");
        let in_order: Vec<u64> = (0..).take(closed.len()).collect();
        prop_assert_eq!(closed, in_order);
    }
}
