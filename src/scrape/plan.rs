//! Who is scraped when (DESIGN §4, rounds). Comes in: targets, the time, ended scrapes. Goes out: who
//! is to be scraped now, slots that were missed, rounds that closed. Never: a clock, a socket.
//!
//! A target's first scrape is due at once; from then on its slot comes once an interval, at the
//! stable hash of its name. A target whose last scrape timed out takes one of the few places kept
//! for such, so that hanging nodes never delay good ones.

use crate::model::{NodeName, Outcome, Target, Targets, stable_hash};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Of all places, the share that targets whose last scrape timed out may take: a hundred of them at
/// 10 s each then fill a quarter of 128 places and the good ones do not notice.
const HANGING_SHARE: usize = 4;

/// A target's number; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(u64);

/// One scrape to start.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) id: Id,
    pub(super) target: Arc<Target>,
    /// It takes one of the places for targets whose last scrape timed out.
    pub(super) hangs: bool,
    /// Seconds that it waited behind its slot.
    pub(super) delay: f64,
}

/// A round whose every due target has an outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Closed {
    /// 0 for the first round: every target known at the sync, once.
    pub(super) number: u64,
    /// Uptime at which it began.
    pub(super) began: f64,
    pub(super) ok: usize,
    pub(super) failed: usize,
    pub(super) timed_out: usize,
    /// Uptime of the last outcome that a node gave itself: neither a timeout nor an overrun. Hanging
    /// nodes do not move it.
    pub(super) answered: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Waits for its slot.
    Idle,
    /// Waits for a place.
    Queued,
    /// Is being scraped.
    InFlight,
}

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    slot: f64,
    standing: Standing,
    /// The interval that the scrape under way, or waited for, belongs to.
    round: u64,
    /// When that scrape fell due.
    due_at: f64,
    /// How its last scrape ended.
    last: Option<Outcome>,
    /// The first round waits for it.
    first: bool,
}

/// An interval that is not over, or whose scrapes are not.
#[derive(Debug)]
struct Round {
    outstanding: usize,
    counts: Closed,
}

/// The plan.
#[derive(Debug)]
pub(super) struct Plan {
    interval: f64,
    places: usize,
    hanging_places: usize,
    entries: HashMap<Id, Entry>,
    by_name: HashMap<NodeName, Id>,
    /// Targets that left while they were being scraped, until that is over: one that comes back
    /// meanwhile takes its scrape up again, so that a node never has two.
    leaving: HashMap<NodeName, (Id, Entry)>,
    next_id: u64,
    /// Targets by slot.
    slots: Vec<(f64, Id)>,
    /// The first slot of the present interval that has not come.
    cursor: usize,
    /// Uptime up to which slots have come.
    upto: f64,
    good: VecDeque<Id>,
    hanging: VecDeque<Id>,
    in_flight: usize,
    hanging_in_flight: usize,
    /// Targets whose last scrape timed out.
    hung: usize,
    /// The first round, until it is reported.
    first: Option<Round>,
    /// Intervals, oldest first; the last one is the present one.
    rounds: VecDeque<Round>,
}

impl Plan {
    /// `interval` in seconds; `places` is how many scrapes may be under way.
    pub(super) fn new(interval: f64, places: usize) -> Plan {
        Plan {
            interval,
            places: places.max(1),
            hanging_places: (places / HANGING_SHARE).max(1),
            entries: HashMap::new(),
            by_name: HashMap::new(),
            leaving: HashMap::new(),
            next_id: 0,
            slots: Vec::new(),
            cursor: 0,
            upto: 0.0,
            good: VecDeque::new(),
            hanging: VecDeque::new(),
            in_flight: 0,
            hanging_in_flight: 0,
            hung: 0,
            first: None,
            rounds: VecDeque::new(),
        }
    }

    /// Takes over the list of targets. Rounds begin with the first list that is synced. A target
    /// that moved begins anew; what is under way for one that left or moved no longer counts.
    pub(super) fn retarget(&mut self, targets: &Targets, now: f64) {
        let begins = self.rounds.is_empty();
        if begins && !targets.synced {
            return;
        }
        if begins {
            self.upto = now;
            self.first = Some(Round::new(0, now));
            self.rounds.push_back(Round::new(0, now));
        }
        let mut kept: HashMap<NodeName, Id> = HashMap::with_capacity(targets.list.len());
        for target in targets.list.iter().filter(|target| target.idle.is_none()) {
            if kept.contains_key(&target.node) {
                continue;
            }
            let known = self.by_name.get(&target.node).copied();
            let stays = known.filter(|id| {
                self.entries.get(id).is_some_and(|entry| same_place(&entry.target, target))
            });
            let id = stays.unwrap_or_else(|| self.join(target, now, begins));
            kept.insert(Arc::clone(&target.node), id);
        }
        let before = std::mem::replace(&mut self.by_name, kept);
        for (name, id) in before {
            if self.by_name.get(&name) != Some(&id) {
                self.leave(id);
            }
        }
        let entries = &self.entries;
        self.good.retain(|id| entries.contains_key(id));
        self.hanging.retain(|id| entries.contains_key(id));
        self.slots = self.entries.iter().map(|(id, entry)| (entry.slot, *id)).collect();
        self.slots.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let into = self.rounds.back().map_or(0.0, |round| self.upto - round.counts.began);
        self.cursor = self.slots.partition_point(|(slot, _)| *slot <= into);
    }

    /// Lets the time pass: slots up to `now` become due. Answers with the targets whose slot came
    /// while the scrape before was not over.
    pub(super) fn advance(&mut self, now: f64) -> Vec<Arc<Target>> {
        let mut overrun = Vec::new();
        self.upto = now;
        while let Some(present) = self.rounds.back().map(|round| round.counts) {
            while let Some(&(slot, id)) = self.slots.get(self.cursor) {
                if present.began + slot > now {
                    return overrun;
                }
                self.cursor += 1;
                overrun.extend(self.due(id, present.number, present.began + slot));
            }
            let next = present.began + self.interval;
            if next > now {
                break;
            }
            self.rounds.push_back(Round::new(present.number + 1, next));
            self.cursor = 0;
        }
        overrun
    }

    /// The next scrape to start, if a place is free.
    pub(super) fn start(&mut self, now: f64) -> Option<Start> {
        if self.in_flight >= self.places {
            return None;
        }
        // Good ones first. But one place of four or more is never theirs while a hanging one waits:
        // else none would be seen to recover where places are short.
        let spared = self.hanging_in_flight == 0 && self.places >= HANGING_SHARE;
        let free = self.hanging_in_flight < self.hanging_places;
        let hangs = free && !self.hanging.is_empty() && (spared || self.good.is_empty());
        let queue = if hangs { &mut self.hanging } else { &mut self.good };
        let id = queue.pop_front()?;
        let entry = self.entries.get_mut(&id)?;
        entry.standing = Standing::InFlight;
        self.in_flight += 1;
        self.hanging_in_flight += usize::from(hangs);
        let delay = (now - entry.due_at).max(0.0);
        Some(Start { id, target: Arc::clone(&entry.target), hangs, delay })
    }

    /// A scrape ended. Answers with how the target's last one did; `None` when the target left or
    /// moved meanwhile: then the result is nobody's.
    pub(super) fn ended(
        &mut self,
        start: &Start,
        outcome: Outcome,
        now: f64,
    ) -> Option<Option<Outcome>> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.hanging_in_flight = self.hanging_in_flight.saturating_sub(start.hangs.into());
        let Some(entry) = self.entries.get_mut(&start.id) else {
            let name = &start.target.node;
            if self.leaving.get(name).is_some_and(|(id, _)| *id == start.id) {
                self.leaving.remove(name);
            }
            return None;
        };
        entry.standing = Standing::Idle;
        let before = entry.last.replace(outcome);
        let (round, first) = (entry.round, std::mem::take(&mut entry.first));
        self.hung -= usize::from(before == Some(Outcome::Timeout));
        self.hung += usize::from(outcome == Outcome::Timeout);
        self.settle(round, first, Some(outcome), now);
        Some(before)
    }

    /// The next round that is over and whose every due target has an outcome.
    pub(super) fn closed(&mut self, now: f64) -> Option<Closed> {
        if let Some(first) = &self.first {
            // It is the first to be told of, however long it takes: it stands for whole figures.
            let over = first.outstanding == 0;
            return if over { self.first.take().map(|first| first.counts) } else { None };
        }
        loop {
            let oldest = self.rounds.front()?;
            let over = oldest.counts.began + self.interval <= now && self.rounds.len() > 1;
            if !over || oldest.outstanding > 0 {
                return None;
            }
            let counts = self.rounds.pop_front().map(|round| round.counts)?;
            // The first interval holds the first round and the rest of a round: only the former is
            // reported.
            if counts.number > 0 {
                return Some(counts);
            }
        }
    }

    /// Whether the target of a scrape under way is still where it was.
    pub(super) fn knows(&self, start: &Start) -> bool {
        self.entries.contains_key(&start.id)
    }

    /// How many scrapes are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many targets timed out at their last scrape.
    pub(super) fn hanging(&self) -> usize {
        self.hung
    }

    /// How many targets there are.
    pub(super) fn targets(&self) -> usize {
        self.entries.len()
    }

    fn join(&mut self, target: &Target, now: f64, first: bool) -> Id {
        let round = self.rounds.back().map_or(0, |round| round.counts.number);
        let returns = self.leaving.get(&target.node).map(|(_, e)| same_place(&e.target, target));
        if returns == Some(true)
            && let Some((id, mut entry)) = self.leaving.remove(&target.node)
        {
            (entry.round, entry.due_at) = (round, now);
            self.entries.insert(id, entry);
            self.expect(round, false);
            return id;
        }
        let id = Id(self.next_id);
        self.next_id += 1;
        let slot = stable_hash(&target.node) as f64 / u64::MAX as f64 * self.interval;
        self.entries.insert(
            id,
            Entry {
                target: Arc::new(target.clone()),
                slot: slot.min(self.interval * LAST_SLOT),
                standing: Standing::Queued,
                round,
                due_at: now,
                last: None,
                first,
            },
        );
        self.good.push_back(id);
        self.expect(round, first);
        id
    }

    fn leave(&mut self, id: Id) {
        let Some(mut entry) = self.entries.remove(&id) else { return };
        self.hung -= usize::from(entry.last == Some(Outcome::Timeout));
        let first = std::mem::take(&mut entry.first);
        if entry.standing != Standing::Idle {
            self.settle(entry.round, first, None, 0.0);
        }
        if entry.standing == Standing::InFlight {
            entry.last = None;
            self.leaving.insert(Arc::clone(&entry.target.node), (id, entry));
        }
    }

    /// A slot has come. Some when the scrape before is not over: that is this slot's outcome, or, for
    /// one that found no place in its whole interval, the outcome of the slot before.
    fn due(&mut self, id: Id, round: u64, at: f64) -> Option<Arc<Target>> {
        let entry = self.entries.get_mut(&id)?;
        // Its first scrape fell due a moment ago: the slot after this one is soon enough.
        if at - entry.due_at < self.interval / 2.0 {
            return None;
        }
        let standing = entry.standing;
        let before = std::mem::replace(&mut entry.round, round);
        let target = Arc::clone(&entry.target);
        match standing {
            Standing::Idle => {
                (entry.standing, entry.due_at) = (Standing::Queued, at);
                let hangs = entry.last == Some(Outcome::Timeout);
                let queue = if hangs { &mut self.hanging } else { &mut self.good };
                queue.push_back(id);
                self.expect(round, false);
                None
            }
            Standing::Queued => {
                // It keeps its place in the queue, and the first round goes on waiting for it.
                entry.due_at = at;
                self.expect(round, false);
                self.settle(before, false, Some(Outcome::Overrun), at);
                Some(target)
            }
            Standing::InFlight => {
                entry.round = before;
                self.expect(round, false);
                self.settle(round, false, Some(Outcome::Overrun), at);
                Some(target)
            }
        }
    }

    fn expect(&mut self, round: u64, first: bool) {
        if let Some(round) = self.rounds.iter_mut().find(|r| r.counts.number == round) {
            round.outstanding += 1;
        }
        if let Some(begun) = self.first.as_mut().filter(|_| first) {
            begun.outstanding += 1;
        }
    }

    /// Something due is due no longer: it has an outcome as of `now`, or its target left.
    fn settle(&mut self, round: u64, first: bool, outcome: Option<Outcome>, now: f64) {
        let of_interval = self.rounds.iter_mut().find(|r| r.counts.number == round);
        let of_first = self.first.as_mut().filter(|_| first);
        for round in of_interval.into_iter().chain(of_first) {
            round.outstanding = round.outstanding.saturating_sub(1);
            let Some(outcome) = outcome else { continue };
            let counts = &mut round.counts;
            counts.ok += usize::from(outcome == Outcome::Ok);
            counts.failed += usize::from(outcome != Outcome::Ok);
            counts.timed_out += usize::from(outcome == Outcome::Timeout);
            if !matches!(outcome, Outcome::Timeout | Outcome::Overrun) {
                counts.answered = now;
            }
        }
    }
}

/// Slots end a little before the interval does, so that each falls into its own interval.
const LAST_SLOT: f64 = 0.999;

impl Round {
    fn new(number: u64, began: f64) -> Round {
        let counts = Closed { number, began, answered: began, ..Closed::default() };
        Round { outstanding: 0, counts }
    }
}

fn same_place(a: &Target, b: &Target) -> bool {
    (&a.host, a.port, &a.path) == (&b.host, b.port, &b.path)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
