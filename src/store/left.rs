//! The counters of nodes that left, remembered for an hour (truth rule 2). Comes in: runs with the
//! name and the place that they had. Goes out: the run of a node that came back, under its name or at
//! its address. Never: a process that was known taken for a new one: what is dropped leaves a mark.

use crate::aggregate::delta::Run;
use crate::model::{NodeName, Target};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

/// How long a node's counters are remembered after it left.
const REMEMBERED_SECONDS: f64 = 3_600.0;

/// How many nodes that left are remembered at least; beyond it as many as there are nodes now, so
/// that replacing a whole fleet is within it and endless new names are not.
pub(super) const REMEMBERED_AT_LEAST: usize = 1_000;

/// Marks of processes that are remembered no more: 16 MB, a year of a cluster that replaces a
/// thousand nodes a day. At the cap they are dropped, and what began before is known no more.
const MARKS: usize = 1 << 20;

/// Where a process listens: one at a time.
pub(super) type Place = (Arc<str>, u16);

/// The place of a target.
pub(super) fn place(target: &Target) -> Place {
    (Arc::clone(&target.host), target.port)
}

#[derive(Debug, Default)]
pub(super) struct Left {
    runs: HashMap<Place, Remembered, RandomState>,
    /// The newest place of each name in `runs`.
    places: HashMap<NodeName, Place, RandomState>,
    /// Hashes of place and start time, and of name and start time.
    marks: HashSet<u64, RandomState>,
    hasher: RandomState,
    /// Uptime since which no mark was dropped.
    complete_since: f64,
}

#[derive(Debug)]
struct Remembered {
    name: NodeName,
    run: Run,
    /// Uptime when it left.
    at: f64,
}

impl Left {
    /// Remembers the counters of a node that leaves.
    pub(super) fn keep(&mut self, target: &Target, run: Run, uptime: f64) {
        let place = place(target);
        let name = Arc::clone(&target.node);
        self.places.insert(Arc::clone(&name), place.clone());
        self.runs.insert(place, Remembered { name, run, at: uptime });
    }

    /// The counters of a node that joins, known by its address or else by its name.
    pub(super) fn take(&mut self, target: &Target, uptime: f64) -> Option<Run> {
        let mut place = place(target);
        if !self.runs.contains_key(&place) {
            place = self.places.get(&target.node)?.clone();
        }
        let remembered = self.runs.remove(&place)?;
        if self.places.get(&remembered.name) == Some(&place) {
            self.places.remove(&remembered.name);
        }
        if uptime - remembered.at > REMEMBERED_SECONDS {
            self.mark(&place, &remembered.name, &remembered.run);
            return None;
        }
        Some(remembered.run)
    }

    /// Seconds for which any process of this target would have been noticed and not forgotten.
    pub(super) fn watched(&self, target: &Target, start: Option<f64>, uptime: f64) -> f64 {
        let known = start.is_some_and(|start| {
            let marks = [
                self.hasher.hash_one((place(target), start.to_bits())),
                self.hasher.hash_one((&target.node, start.to_bits())),
            ];
            marks.iter().any(|mark| self.marks.contains(mark))
        });
        if known { 0.0 } else { uptime - self.complete_since }
    }

    /// Drops what is too old, and the oldest of what is too much for so many nodes.
    pub(super) fn forget(&mut self, nodes: usize, uptime: f64) {
        let cap = nodes.max(REMEMBERED_AT_LEAST);
        let mut oldest = uptime - REMEMBERED_SECONDS;
        if self.runs.len() > cap {
            let mut times: Vec<f64> = self.runs.values().map(|left| left.at).collect();
            times.sort_unstable_by(f64::total_cmp);
            oldest = oldest.max(times[times.len() - cap]);
        }
        let dropped: Vec<_> = self.runs.extract_if(|_, left| left.at < oldest).collect();
        for (place, left) in dropped {
            if self.places.get(&left.name) == Some(&place) {
                self.places.remove(&left.name);
            }
            self.mark(&place, &left.name, &left.run);
        }
        if self.marks.len() > MARKS {
            self.marks = HashSet::default();
            self.complete_since = uptime;
        }
    }

    /// Notes that this process was known, though its counters are no longer kept here.
    pub(super) fn mark(&mut self, place: &Place, name: &NodeName, run: &Run) {
        // Without a start time a process at first sight is a baseline anyway (truth rule 4).
        let Some(start) = run.start else { return };
        self.marks.insert(self.hasher.hash_one((place, start.to_bits())));
        self.marks.insert(self.hasher.hash_one((name, start.to_bits())));
    }

    /// How many nodes that left are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// All that is remembered.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(|left| &left.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, host: &str) -> Target {
        Target::new(name, host, 61678, "/metrics", crate::model::Source::File)
    }

    fn run(start: f64) -> Run {
        Run { start: Some(start), ..Run::default() }
    }

    #[test]
    fn a_run_is_found_by_its_address_first_and_then_by_its_name_and_only_once() {
        let mut left = Left::default();
        left.keep(&target("a", "h1"), run(1.0), 0.0);
        left.keep(&target("b", "h2"), run(2.0), 0.0);
        let start = |run: Option<Run>| run.and_then(|run| run.start);
        assert_eq!(start(left.take(&target("a", "h2"), 1.0)), Some(2.0));
        assert_eq!(start(left.take(&target("a", "h3"), 1.0)), Some(1.0));
        assert_eq!(start(left.take(&target("a", "h1"), 1.0)), None);
        assert!(left.places.is_empty());
    }

    #[test]
    fn one_name_at_two_places_in_turn_is_remembered_at_both() {
        let mut left = Left::default();
        left.keep(&target("a", "h1"), run(1.0), 0.0);
        left.keep(&target("a", "h2"), run(2.0), 1.0);
        assert_eq!(left.take(&target("x", "h1"), 2.0).unwrap().start, Some(1.0));
        assert_eq!(left.take(&target("a", "h9"), 2.0).unwrap().start, Some(2.0));
    }

    #[test]
    fn what_was_forgotten_is_known_to_have_been_known() {
        let mut left = Left::default();
        left.keep(&target("a", "h1"), run(1.0), 0.0);
        left.forget(10, 3_601.0);
        assert!(left.take(&target("a", "h1"), 3_602.0).is_none());
        assert_eq!(left.watched(&target("a", "h1"), Some(1.0), 3_602.0), 0.0);
        assert_eq!(left.watched(&target("a", "h7"), Some(1.0), 3_602.0), 0.0);
        assert_eq!(left.watched(&target("a", "h1"), Some(9.0), 3_602.0), 3_602.0);
        // Taken late, before anybody forgot it.
        left.keep(&target("b", "h2"), run(2.0), 0.0);
        assert!(left.take(&target("b", "h2"), 3_700.0).is_none());
        assert_eq!(left.watched(&target("b", "h2"), Some(2.0), 3_700.0), 0.0);
    }

    #[test]
    fn with_its_marks_full_it_vouches_only_for_what_came_later() {
        let mut left = Left::default();
        left.marks.extend(0..=MARKS as u64);
        left.forget(10, 50.0);
        assert_eq!(left.watched(&target("a", "h1"), Some(1.0), 60.0), 10.0);
    }
}
