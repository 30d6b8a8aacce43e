//! Truth rules 1–4 and 6 by name, on pages made by hand.

use super::*;
use crate::view::{Layout, Roles};
use proptest::prelude::*;
use std::sync::Arc;

/// A page of counters; `(series, group)` each. Rows, series and slots count up together.
fn layout(series: &[(u32, u16)]) -> Arc<Layout> {
    let counters = (0u16..)
        .zip(series)
        .map(|(row, (id, group))| CounterRow {
            row,
            slot: u16::try_from(*id).unwrap(),
            group: *group,
        })
        .collect();
    Arc::new(Layout {
        rows: series.iter().map(|(id, _)| *id).collect(),
        roles: Arc::new(Roles { counters, ..Roles::default() }),
    })
}

fn page(layout: &Arc<Layout>, values: &[f64]) -> Page {
    Page { layout: Arc::clone(layout), values: values.into() }
}

/// One good scrape of `page` at `uptime`, by a process that began at `start` (unix seconds; this
/// exporter began at 1000). Returns what was gained per series.
fn scrape(run: &mut Option<Run>, start: Option<f64>, uptime: f64, page: Page) -> Vec<(u32, f64)> {
    let sighting = Sighting {
        start,
        served_at: 1000.0 + uptime,
        uptime,
        elsewhere: false,
        replaced: false,
        watched: uptime,
    };
    let process = process_of(run.as_ref(), &sighting);
    let found = gains(run.as_ref(), process, &page);
    let gained = found
        .gains
        .iter()
        .map(|g| {
            (
                page.layout.rows[usize::from(page.layout.roles.counters[g.counter].row)],
                g.to - g.from,
            )
        })
        .collect();
    *run =
        Some(Run { start, last_good: uptime, pod: None, page: Arc::new(page), held: found.held });
    gained
}

const OLD: Option<f64> = Some(10.0);

#[test]
fn rule_1_the_increases_of_failed_scrapes_arrive_with_the_next_good_one() {
    let one = layout(&[(1, 0)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&one, &[100.0]));
    assert_eq!(scrape(&mut run, OLD, 150.0, page(&one, &[107.0])), [(1, 7.0)]);
}

#[test]
fn rule_3_a_younger_process_counts_every_series_from_zero() {
    let two = layout(&[(1, 0), (2, 1)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&two, &[100.0, 5.0]));
    // Began at uptime 50, scraped at 60; its first series is already above the old value.
    let gained = scrape(&mut run, Some(1050.0), 60.0, page(&two, &[200.0, 5.0]));
    assert_eq!(gained, [(1, 200.0), (2, 5.0)]);
}

#[test]
fn rule_3_a_start_time_that_wobbles_in_a_living_process_is_no_restart() {
    let one = layout(&[(1, 0)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&one, &[100.0]));
    assert_eq!(scrape(&mut run, Some(13.5), 60.0, page(&one, &[101.0])), [(1, 1.0)]);
}

#[test]
fn rule_3_the_nodes_own_date_decides_when_its_clock_is_stepped() {
    let one = layout(&[(1, 0)]);
    let run = Run {
        start: OLD,
        last_good: 30.0,
        pod: None,
        page: Arc::new(page(&one, &[1.0])),
        held: None,
    };
    // The node's clock was set one hour ahead: start time and Date moved together.
    let now = Sighting {
        start: Some(3610.0),
        served_at: 4660.0,
        uptime: 60.0,
        elsewhere: false,
        replaced: false,
        watched: 60.0,
    };
    assert_eq!(process_of(Some(&run), &now), Process::Same);
}

#[test]
fn rule_3_without_a_start_time_any_fall_is_a_restart_of_all() {
    let two = layout(&[(1, 0), (2, 1)]);
    let mut run = None;
    scrape(&mut run, None, 30.0, page(&two, &[100.0, 5.0]));
    assert_eq!(scrape(&mut run, None, 60.0, page(&two, &[101.0, 6.0])), [(1, 1.0), (2, 1.0)]);
    assert_eq!(scrape(&mut run, None, 90.0, page(&two, &[3.0, 9.0])), [(1, 3.0), (2, 9.0)]);
}

#[test]
fn rule_3_with_a_start_time_a_fall_resets_that_series_alone() {
    let two = layout(&[(1, 0), (2, 1)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&two, &[100.0, 5.0]));
    assert_eq!(scrape(&mut run, OLD, 60.0, page(&two, &[4.0, 6.0])), [(1, 4.0), (2, 1.0)]);
}

#[test]
fn rule_3_a_histogram_is_reset_as_one() {
    let histogram = layout(&[(1, 0), (2, 0), (3, 1)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&histogram, &[9.0, 1.0, 50.0]));
    let gained = scrape(&mut run, OLD, 60.0, page(&histogram, &[2.0, 2.0, 51.0]));
    assert_eq!(gained, [(1, 2.0), (2, 2.0), (3, 1.0)]);
}

#[test]
fn rule_2_what_took_over_a_name_or_an_address_is_only_the_same_process_by_its_start_time() {
    let one = layout(&[(1, 0)]);
    let process = |before, start, watched| {
        let page = Arc::new(page(&one, &[1.0]));
        let run = Run { start: before, last_good: 30.0, pod: None, page, held: None };
        let (served_at, uptime) = (1060.0, 60.0);
        let elsewhere = true;
        process_of(
            Some(&run),
            &Sighting { start, served_at, uptime, elsewhere, replaced: false, watched },
        )
    };
    assert_eq!(process(OLD, OLD, 60.0), Process::Same);
    assert_eq!(process(OLD, Some(11.5), 60.0), Process::Same, "it wobbles");
    assert_eq!(process(OLD, Some(500.0), 60.0), Process::Unknown);
    assert_eq!(process(OLD, Some(1040.0), 60.0), Process::New);
    assert_eq!(process(OLD, Some(1040.0), 0.0), Process::Unknown, "it was counted before");
    assert_eq!(process(None, OLD, 60.0), Process::Unknown);
    assert_eq!(process(OLD, None, 60.0), Process::Unknown);
}

#[test]
fn rule_4_an_old_process_at_first_sight_is_a_baseline_and_no_burst() {
    let one = layout(&[(1, 0)]);
    let mut run = None;
    assert_eq!(scrape(&mut run, OLD, 30.0, page(&one, &[1e6])), []);
    assert_eq!(scrape(&mut run, OLD, 60.0, page(&one, &[1e6 + 1.0])), [(1, 1.0)]);
}

#[test]
fn rule_4_a_process_younger_than_us_at_first_sight_counts_from_zero() {
    let one = layout(&[(1, 0)]);
    assert_eq!(scrape(&mut None, Some(1020.0), 30.0, page(&one, &[7.0])), [(1, 7.0)]);
}

#[test]
fn rule_4_a_first_sight_without_a_start_time_is_a_baseline() {
    let one = layout(&[(1, 0)]);
    assert_eq!(scrape(&mut None, None, 30.0, page(&one, &[7.0])), []);
}

#[test]
fn rule_4_a_series_that_appears_in_a_known_process_counts_from_zero() {
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&layout(&[(1, 0)]), &[100.0]));
    let gained = scrape(&mut run, OLD, 60.0, page(&layout(&[(2, 0), (1, 1)]), &[3.0, 100.0]));
    assert_eq!(gained, [(2, 3.0)]);
}

#[test]
fn rule_4_a_series_absent_from_a_good_scrape_loses_its_baseline() {
    let both = layout(&[(1, 0), (2, 1)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&both, &[100.0, 8.0]));
    scrape(&mut run, OLD, 60.0, page(&layout(&[(1, 0)]), &[100.0]));
    assert_eq!(scrape(&mut run, OLD, 90.0, page(&both, &[100.0, 8.0])), [(2, 8.0)]);
}

#[test]
fn rule_6_nan_keeps_the_baseline() {
    let one = layout(&[(1, 0)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&one, &[100.0]));
    assert_eq!(scrape(&mut run, OLD, 60.0, page(&one, &[f64::NAN])), []);
    assert_eq!(scrape(&mut run, OLD, 90.0, page(&one, &[f64::INFINITY])), []);
    assert_eq!(scrape(&mut run, OLD, 120.0, page(&one, &[103.0])), [(1, 3.0)]);
}

#[test]
fn rule_6_nan_at_first_sight_leaves_no_baseline_to_burst_from() {
    let one = layout(&[(1, 0)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&one, &[f64::NAN]));
    assert_eq!(scrape(&mut run, OLD, 60.0, page(&one, &[5000.0])), []);
    assert_eq!(scrape(&mut run, OLD, 90.0, page(&one, &[5001.0])), [(1, 1.0)]);
}

#[test]
fn rule_6_nan_right_after_a_restart_counts_from_zero_later() {
    let one = layout(&[(1, 0)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&one, &[100.0]));
    assert_eq!(scrape(&mut run, Some(1050.0), 60.0, page(&one, &[f64::NAN])), []);
    assert_eq!(scrape(&mut run, Some(1050.0), 90.0, page(&one, &[4.0])), [(1, 4.0)]);
}

#[test]
fn a_negative_count_is_no_count() {
    let one = layout(&[(1, 0)]);
    let mut run = None;
    scrape(&mut run, OLD, 30.0, page(&one, &[100.0]));
    assert_eq!(scrape(&mut run, OLD, 60.0, page(&one, &[-5.0])), []);
    assert_eq!(scrape(&mut run, OLD, 90.0, page(&one, &[101.0])), [(1, 1.0)]);
}

#[test]
fn ecosystem_0_1_nodes_at_20_50_30_that_stand_still_gain_nothing() {
    let one = layout(&[(1, 0)]);
    let mut runs = [None, None, None];
    for poll in 1..=5 {
        for (run, value) in runs.iter_mut().zip([20.0, 50.0, 30.0]) {
            let gained = scrape(run, OLD, 30.0 * f64::from(poll), page(&one, &[value]));
            assert_eq!(gained, []);
        }
    }
}

proptest! {
    /// One process that restarts now and then and is scraped only sometimes: what is gained is what
    /// a naive counter of all increments knows, less what died unseen.
    #[test]
    fn prop_gains_equal_the_naive_model_under_restarts_and_missed_scrapes(
        steps in prop::collection::vec((0u32..50, prop::bool::weighted(0.1), prop::bool::weighted(0.7)), 1..60),
    ) {
        let one = layout(&[(1, 0)]);
        let (mut run, mut start, mut value) = (None, 10.0, 1e5);
        scrape(&mut run, Some(start), 5.0, page(&one, &[value]));
        let (mut gained, mut known, mut seen) = (0.0, 0.0, value);
        for (step, (grows, restarts, reached)) in (1u32..).zip(steps) {
            let uptime = 5.0 + f64::from(step) * 30.0;
            if restarts {
                (start, value, seen) = (1000.0 + uptime - 20.0, 0.0, 0.0);
            }
            value += f64::from(grows);
            if reached {
                let gains = scrape(&mut run, Some(start), uptime, page(&one, &[value]));
                prop_assert!(gains.iter().all(|(_, gain)| *gain > 0.0));
                gained += gains.iter().map(|(_, gain)| gain).sum::<f64>();
                known += value - seen;
                seen = value;
            }
        }
        prop_assert_eq!(gained, known);
    }
}
