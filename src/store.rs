//! The newest good page of every node, the cluster's counters, and the state of each node. Comes in:
//! targets, answers, failures. Goes out: views. Never: I/O, a clock, a guess: what a failed scrape
//! left unknown stays unknown.
//!
//! *Flow*: the scraper writes, the publisher reads; one lock, held by the one while it reads a page (some
//! microseconds; a sweep takes milliseconds) and by the other for milliseconds, never across an await.
//! *When it cannot keep up*: interned lines are capped and swept; a page that would not fit is
//! refused as `limit`.
//! *Stopping*: nothing to do; all of it is memory.

use crate::aggregate::delta::{self, Process, Run, Sighting};
use crate::catalog::{FAMILIES, SLOTS};
use crate::model::{DaemonSet, Moment, NodeName, Outcome, Targets};
use crate::observe::Observe;
use crate::observe::store::PageStored;
use crate::total::Total;
use crate::view::{Layout, NodeView, Page, View};
use clap::Args;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use intern::{Interner, Reading, Shape};
use left::{Left, Place};
use node::Node;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) mod canon;
mod intern;
mod layout;
mod left;
mod lines;
mod node;
mod reader;

pub use reader::{PageReader, PageSummary};

/// Interned lines may grow by this share, and by [`SWEEP_AT_LEAST`], before unused ones are swept:
/// a sweep costs about a nanosecond a line of every node.
const SWEEP_GROWTH: f64 = 1.1;

/// See [`SWEEP_GROWTH`]: below this a sweep is not worth it.
const SWEEP_AT_LEAST: usize = 20_000;

/// What one page may cost, and how long its values stand.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Scrape")]
#[group(id = "store")]
pub struct Settings {
    /// Intervals for which a node's last good values stand while its scrapes fail
    #[arg(long = "scrape.stale-after", env = "VPCCNI_SCRAPE_STALE_AFTER", default_value_t = 3,
          value_name = "INTERVALS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub stale_after: u32,
    /// Samples that a node's page may have; 65000 at most
    #[arg(long = "scrape.max-samples", env = "VPCCNI_SCRAPE_MAX_SAMPLES", default_value_t = 50_000,
          value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(1..=65_000))]
    pub max_samples: u32,
    /// Bytes that a label value may have, after free text has been reduced
    #[arg(long = "scrape.max-label-length", env = "VPCCNI_SCRAPE_MAX_LABEL_LENGTH",
          default_value_t = 1024, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_label_length: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { stale_after: 3, max_samples: 50_000, max_label_length: 1024 }
    }
}

impl Settings {
    fn limits(&self) -> Limits {
        Limits {
            max_samples: self.max_samples as usize,
            max_label_length: self.max_label_length as usize,
        }
    }
}

/// The limits that reading a page observes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_samples: usize,
    pub(crate) max_label_length: usize,
}

/// Why a page is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Parse(String),
    Limit(String),
}

/// What a node answered, whole.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The page, identity-encoded.
    pub body: &'a [u8],
    /// The answer's `Date` in seconds since 1970, if it had a readable one.
    pub date: Option<f64>,
    /// When the answer was complete.
    pub at: Moment,
    /// Seconds from the start of the connection to the last byte.
    pub seconds: f64,
}

/// A page that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Samples on the page.
    pub samples: usize,
}

/// A page that was refused; the store has already noted it as the node's last outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// `Parse` or `Limit`.
    pub outcome: Outcome,
    /// In words, for log and status page.
    pub reason: String,
}

/// Shared by the scraper (writes) and the publisher (reads).
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    stale_seconds: f64,
    interval_seconds: f64,
    observe: Arc<Observe>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    interner: Interner,
    nodes: HashMap<NodeName, Node, RandomState>,
    left: Left,
    /// Gains of all nodes since this process began, by slot.
    gained: Vec<Total>,
    /// What they were when the cluster's counters last began at zero.
    served_from: Vec<Total>,
    lost_bounds: Vec<u32>,
    daemonsets: Arc<[DaemonSet]>,
    /// The lines of the page stored last: what a node's first page probably looks like.
    template: Arc<Shape>,
    swept_at: usize,
    generation: u64,
}

impl Store {
    /// An empty store. `interval` is the scrape interval in seconds, the unit of
    /// `--scrape.stale-after`.
    pub fn new(settings: &Settings, interval: f64, observe: Arc<Observe>) -> Store {
        let inner = Inner {
            gained: vec![Total::default(); SLOTS.counters()],
            served_from: vec![Total::default(); SLOTS.counters()],
            lost_bounds: vec![0; FAMILIES.len()],
            ..Inner::default()
        };
        Store {
            limits: settings.limits(),
            stale_seconds: f64::from(settings.stale_after) * interval,
            interval_seconds: interval,
            observe,
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock ends the process (a stage's task that ends, ends it): what another
        // thread still reads in the meantime is whole, because every update below is.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the list of targets: new ones begin without a page, vanished ones leave, and their
    /// counters are remembered for an hour. A process is known by its address, else by its node's
    /// name: a node that is renamed or moved keeps what it counted.
    pub fn retarget(&self, targets: &Targets, now: Moment) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut nodes =
            HashMap::with_capacity_and_hasher(targets.list.len(), RandomState::default());
        let mut joined = Vec::new();
        for target in &targets.list {
            // Of a node that cannot be scraped now, what was known stays where it was.
            let stays = |node: &Node| {
                target.idle.is_some() || left::place(&node.target) == left::place(target)
            };
            match inner.nodes.entry(Arc::clone(&target.node)) {
                Entry::Occupied(known) if stays(known.get()) => {
                    let mut node = known.remove();
                    node.retarget(target);
                    nodes.insert(Arc::clone(&target.node), node);
                }
                _ => joined.push(target),
            }
        }
        let mut gone: HashMap<Place, Node, RandomState> =
            inner.nodes.drain().map(|(_, node)| (left::place(&node.target), node)).collect();
        let names: HashMap<NodeName, Place, RandomState> = gone
            .iter()
            .map(|(place, node)| (Arc::clone(&node.target.node), place.clone()))
            .collect();
        // Addresses first: where names were exchanged, each finds its own process.
        let (mut found, rest): (Vec<_>, Vec<_>) = joined
            .into_iter()
            .map(|target| (target, gone.remove(&left::place(target))))
            .partition(|(_, node)| node.is_some());
        for (target, _) in rest {
            let moved = names.get(&target.node).and_then(|place| gone.remove_entry(place));
            if let Some((place, Node { target, run: Some(run), .. })) = &moved {
                // Should another process have the name now, the one before must not count anew.
                inner.left.mark(place, &target.node, run);
            }
            found.push((target, moved.map(|(_, node)| node)));
        }
        for (target, node) in found {
            let node = match node {
                Some(mut node) => {
                    node.retarget(target);
                    node
                }
                None => Node::new(target, inner.left.take(target, now.uptime)),
            };
            nodes.insert(Arc::clone(&target.node), node);
        }
        for node in gone.into_values() {
            if let Some(run) = node.run {
                inner.left.keep(&node.target, run, now.uptime);
            }
        }
        inner.nodes = nodes;
        inner.daemonsets = Arc::clone(&targets.daemonsets);
        inner.left.forget(inner.nodes.len(), now.uptime);
        inner.generation += 1;
    }

    /// From now on the cluster's counters count from zero; what is known of the nodes stays. For a
    /// process that begins to serve them: what it counted before nobody saw.
    pub fn count_anew(&self) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.served_from.clone_from(&inner.gained);
        inner.lost_bounds.fill(0);
        inner.generation += 1;
    }

    /// A complete answer: read, its gains counted, kept. An answer of a node that left meanwhile is
    /// let go.
    pub fn scraped(&self, node: &NodeName, answer: Answer<'_>) -> Result<Stored, Refused> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let Some(entry) = inner.nodes.get_mut(node) else { return Ok(Stored { samples: 0 }) };
        let template = Arc::clone(&inner.template);
        let before = entry.shape.clone();
        let expected = before.as_deref().unwrap_or(&template);
        let reading = inner.interner.read(answer.body, Some(expected), &self.limits);
        let reading = match reading.and_then(Reading::of_ipamd) {
            Ok(reading) => reading,
            Err(refusal) => {
                let (outcome, reason) = match refusal {
                    Refusal::Parse(reason) => (Outcome::Parse, reason),
                    Refusal::Limit(reason) => (Outcome::Limit, reason),
                };
                entry.failed(outcome, &reason, answer.at, answer.seconds);
                inner.generation += 1;
                inner.sweep_if_grown();
                return Err(Refused { outcome, reason });
            }
        };
        let shape = match reading.reshaped {
            Some(shape) => Arc::new(shape),
            None => before.unwrap_or(template),
        };
        let page = Page { layout: Arc::clone(&shape.layout), values: reading.values };
        let start = reading.start.filter(|s| s.is_finite() && *s > 0.0);
        let uptime = answer.at.uptime;
        let sighting = Sighting {
            start,
            served_at: served_at(&answer),
            uptime,
            elsewhere: entry.elsewhere,
            replaced: entry.replaced(answer.at),
            watched: inner.left.watched(&entry.target, start, uptime),
        };
        let process = delta::process_of(entry.run.as_ref(), &sighting);
        let gains = delta::gains(entry.run.as_ref(), process, &page);
        count(&mut inner.gained, &mut inner.lost_bounds, &page, &gains);
        for gain in &gains.gains {
            let row = &page.layout.roles.counters[gain.counter];
            let labels = || {
                let index = page.layout.rows[usize::from(row.row)] as usize;
                let series = inner.interner.series().get(index).and_then(|s| s.as_deref());
                series.map_or("", |series| &series.labels)
            };
            entry.growth.rose(row.slot, labels, uptime);
        }
        entry.growth.saw(&page, uptime);
        self.observe.page_stored(&PageStored {
            lines: reading.samples,
            misses: reading.misses,
            folded: reading.kept.saturating_sub(page.values.len()),
            unusable: gains.unusable + unusable_gauges(&page),
            restarted: gains.restarted,
            first_seen: process == Process::Unknown,
            resets: gains.resets,
        });
        // A page without a start time does not undo what is known of its process.
        let same = !gains.restarted && matches!(process, Process::Same | Process::Unvouched);
        let known = entry.run.take().filter(|_| same).and_then(|run| run.start);
        let run = Run {
            start: start.or(known),
            last_good: uptime,
            pod: entry.target.pod.as_ref().map(|pod| Arc::clone(&pod.uid)),
            page: Arc::new(page),
            held: gains.held,
        };
        entry.stored(run, shape, reading.samples, answer.at, answer.seconds);
        inner.template = entry.shape.clone().unwrap_or_default();
        inner.generation += 1;
        inner.sweep_if_grown();
        Ok(Stored { samples: reading.samples })
    }

    /// A scrape that brought no page. Touches no value and no baseline.
    pub fn failed(
        &self,
        node: &NodeName,
        outcome: Outcome,
        reason: &str,
        now: Moment,
        seconds: f64,
    ) {
        let mut inner = self.lock();
        if let Some(entry) = inner.nodes.get_mut(node) {
            entry.failed(outcome, reason, now, seconds);
            inner.generation += 1;
        }
    }

    /// Grows with everything that happens: two equal readings with no node going stale between them
    /// mean equal views.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The view as of `now`.
    pub fn view(&self, now: Moment) -> View {
        let inner = self.lock();
        let mut nodes: Vec<NodeView> = inner
            .nodes
            .values()
            .map(|node| node.view(now, self.stale_seconds, self.interval_seconds))
            .collect();
        let view = View {
            taken: now,
            generation: inner.generation,
            is_shard: false,
            nodes: Vec::new(),
            series: Arc::clone(inner.interner.series()),
            others: Arc::clone(inner.interner.others()),
            counters: inner
                .gained
                .iter()
                .zip(&inner.served_from)
                .map(|(now, then)| now.less(then))
                .collect(),
            gained: inner.gained.clone(),
            daemonsets: Arc::clone(&inner.daemonsets),
            lost_bounds: inner.lost_bounds.clone(),
        };
        self.observe.interned(
            inner.interner.lines.len(),
            inner.interner.series_count(),
            inner.interner.others_cut(),
        );
        drop(inner);
        nodes.sort_unstable_by(|a, b| a.target.node.cmp(&b.target.node));
        View { nodes, ..view }
    }
}

/// When a page was served, by its node's clock. `Date` has whole seconds: within the one that it
/// names, our own clock is the best guess.
fn served_at(answer: &Answer<'_>) -> f64 {
    answer.date.map_or(answer.at.unix, |date| answer.at.unix.clamp(date, date + 1.0))
}

/// Rows of gauges that enter no sum (truth rule 6).
fn unusable_gauges(page: &Page) -> usize {
    let value = |row: &u16| page.values[usize::from(*row)];
    page.layout.roles.gauges.iter().filter(|(row, _)| !Total::takes(value(row))).count()
}

/// Adds a page's gains to the cluster's counters (truth rules 1 and 8).
fn count(counters: &mut [Total], lost: &mut [u32], page: &Page, gains: &delta::Gains) {
    for gain in &gains.gains {
        let row = &page.layout.roles.counters[gain.counter];
        let total = &mut counters[usize::from(row.slot)];
        total.add(gain.to);
        total.subtract(gain.from);
        let histograms = &page.layout.roles.histograms;
        if let Ok(at) = histograms.binary_search_by_key(&row.row, |h| h.count_row) {
            lost[usize::from(histograms[at].family)] |= histograms[at].missing;
        }
    }
}

impl Inner {
    fn sweep_if_grown(&mut self) {
        let lines = self.interner.lines.len();
        if (lines as f64) < self.swept_at as f64 * SWEEP_GROWTH + SWEEP_AT_LEAST as f64 {
            return;
        }
        let shapes =
            self.nodes.values().filter_map(|node| node.shape.as_deref()).chain([&*self.template]);
        let runs = self.nodes.values().filter_map(|node| node.run.as_ref());
        let layouts: Vec<&Layout> =
            runs.chain(self.left.runs()).map(|run| &*run.page.layout).collect();
        self.interner.sweep(shapes, layouts.into_iter());
        self.swept_at = self.interner.lines.len();
    }
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "store/pod_tests.rs"]
mod pod_tests;
