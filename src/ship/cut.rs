//! Views are cut into intervals of the wall clock. Comes in: what the nodes gained since this process
//! began, at the end of each interval. Goes out: which interval ended, and what was gained in it. Never: an
//! interval twice, a gain twice or not at all, a clock.

use crate::total::Total;
use crate::view::View;

/// Where the last interval ended.
#[derive(Debug)]
pub(super) struct Cutter {
    /// Seconds of an interval.
    length: i64,
    /// The start of the last one; earlier ones do not come back, whatever the wall clock does.
    last: i64,
    /// What had been gained by its end.
    gained: Vec<Total>,
}

/// An interval that ended.
#[derive(Debug)]
pub(super) struct Cut {
    /// Seconds since 1970 at which it began: the timestamp of what happened in it.
    pub(super) start: i64,
    /// The view at its end; where it is covered its counters are what was gained since the interval before.
    pub(super) view: View,
    /// Whether any node answered in it. Without an answer nothing is known of it.
    pub(super) covered: bool,
}

impl Cutter {
    /// `length` in whole seconds.
    pub(super) fn new(length: i64) -> Cutter {
        Cutter { length: length.max(1), last: i64::MIN, gained: Vec::new() }
    }

    /// What was gained until this view is not ours to tell.
    pub(super) fn begin(&mut self, view: View) {
        self.gained = view.gained;
    }

    /// Seconds from `unix` until the interval under way ends; more than 0.
    pub(super) fn remaining(&self, unix: f64) -> f64 {
        let length = self.length as f64;
        length - unix.rem_euclid(length)
    }

    /// For how many seconds after `unix` no interval will end because an earlier one bore a later time; not
    /// more than 0 as long as the wall clock goes on.
    pub(super) fn ahead(&self, unix: f64) -> f64 {
        self.last.saturating_add(self.length) as f64 - unix
    }

    /// Ends the interval before the one that `view` was taken in. `None` where that one has been ended
    /// already: the clock went back, or it is too early; what was gained then goes with the next one.
    pub(super) fn cut(&mut self, view: View) -> Option<Cut> {
        let start = self.ended(view.taken.unix)?;
        let answered = |at: Option<f64>| at.is_some_and(|at| at >= start as f64);
        let covered = view.nodes.iter().any(|n| n.page.is_some() && answered(n.last_success));
        Some(self.end(start, view, covered))
    }

    /// The start of the interval before the one under way, if it has not been ended yet.
    fn ended(&self, unix: f64) -> Option<i64> {
        let end = (unix / self.length as f64).floor() as i64 * self.length;
        let start = end - self.length;
        (start > self.last).then_some(start)
    }

    /// What is not covered leaves its gains to the next one that is.
    fn end(&mut self, start: i64, view: View, covered: bool) -> Cut {
        self.last = start;
        if !covered {
            return Cut { start, view, covered };
        }
        let before = std::mem::replace(&mut self.gained, view.gained.clone());
        let since = |(slot, now): (usize, &Total)| match before.get(slot) {
            Some(then) => now.less(then),
            // The first interval begins with the process.
            None => *now,
        };
        let counters = view.gained.iter().enumerate().map(since).collect();
        Cut { start, view: View { counters, ..view }, covered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Moment;
    use proptest::prelude::*;

    fn view(unix: f64, gained: f64) -> View {
        let gained = vec![[gained].into_iter().collect()];
        View { taken: Moment { unix, uptime: 0.0 }, gained, ..View::default() }
    }

    fn cut(cutter: &mut Cutter, unix: f64, gained: f64) -> Option<(i64, f64)> {
        let start = cutter.ended(unix)?;
        let cut = cutter.end(start, view(unix, gained), true);
        Some((cut.start, cut.view.counters[0].value()))
    }

    #[test]
    fn what_happens_in_an_interval_carries_the_time_at_which_it_began() {
        let mut cutter = Cutter::new(60);
        assert_eq!(cutter.remaining(119.5), 0.5);
        assert_eq!(cutter.remaining(120.0), 60.0);
        assert_eq!(cut(&mut cutter, 120.01, 5.0), Some((60, 5.0)));
        assert_eq!(cut(&mut cutter, 180.0, 7.0), Some((120, 2.0)));
    }

    #[test]
    fn a_clock_that_goes_back_repeats_no_interval_and_loses_no_gain() {
        let mut cutter = Cutter::new(60);
        assert_eq!(cut(&mut cutter, 600.0, 1.0), Some((540, 1.0)));
        assert_eq!(cut(&mut cutter, 300.0, 2.0), None);
        assert_eq!(cut(&mut cutter, 601.0, 3.0), None);
        assert_eq!(cut(&mut cutter, 660.0, 4.0), Some((600, 3.0)));
    }

    #[test]
    fn what_was_gained_before_an_interval_without_an_answer_comes_with_the_next() {
        let mut cutter = Cutter::new(60);
        assert_eq!(cut(&mut cutter, 60.0, 1.0), Some((0, 1.0)));
        assert!(!cutter.cut(view(120.0, 3.0)).unwrap().covered);
        assert_eq!(cut(&mut cutter, 180.0, 4.0), Some((120, 3.0)));
    }

    #[test]
    fn what_was_gained_before_the_beginning_is_told_by_nobody() {
        let mut cutter = Cutter::new(60);
        cutter.begin(view(70.0, 5.0));
        assert_eq!(cut(&mut cutter, 120.0, 7.0), Some((60, 2.0)));
    }

    #[test]
    fn a_clock_that_was_ahead_is_known() {
        let mut cutter = Cutter::new(60);
        cut(&mut cutter, 7200.0, 1.0);
        assert_eq!(cutter.ahead(3600.0), 3600.0);
        assert!(cutter.ahead(7200.0) <= 0.0);
    }

    #[test]
    fn intervals_that_were_slept_through_come_with_the_last_one() {
        let mut cutter = Cutter::new(60);
        assert_eq!(cut(&mut cutter, 60.0, 1.0), Some((0, 1.0)));
        assert_eq!(cut(&mut cutter, 600.0, 9.0), Some((540, 8.0)));
    }

    proptest! {
        #[test]
        fn prop_the_gains_of_all_intervals_are_what_was_gained(
            steps in prop::collection::vec((-90i32..200, 0u32..1000), 1..60),
        ) {
            let mut cutter = Cutter::new(60);
            let (mut unix, mut gained, mut told, mut last) = (10_000.0, 0.0, 0.0, None);
            for (seconds, more) in steps {
                unix += f64::from(seconds);
                gained += f64::from(more);
                if let Some((start, gain)) = cut(&mut cutter, unix, gained) {
                    prop_assert!(last.is_none_or(|last| start > last) && start % 60 == 0);
                    prop_assert!(gain >= 0.0);
                    told += gain;
                    last = Some(start);
                    prop_assert_eq!(told, gained);
                }
            }
        }
    }
}
