//! The newest good page of every node, the cluster's counters, and the state of each node. Comes in:
//! targets, answers, failures. Goes out: views. Never: I/O, a clock, a guess: what a failed scrape
//! left unknown stays unknown.
//!
//! *Flow*: the scraper writes, the publisher reads; one lock, held for microseconds by the one and
//! for milliseconds by the other, never across an await.
//! *When it cannot keep up*: interned lines are capped and swept; a page that would not fit is
//! refused as `limit`.
//! *Stopping*: nothing to do; all of it is memory.

use crate::aggregate::delta::{self, Process, Run, Sighting};
use crate::catalog::{FAMILIES, SLOTS};
use crate::model::{Moment, NodeName, NodeState, Outcome, Target, Targets};
use crate::observe::Observe;
use crate::observe::store::PageStored;
use crate::total::Total;
use crate::view::{Layout, NodeView, Page, View};
use clap::Args;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use intern::{Interner, Shape};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) mod canon;
mod intern;
mod layout;
mod lines;
mod reader;

pub use reader::{PageReader, PageSummary};

/// How long a node's counters are remembered after it left (truth rule 2).
const REMEMBERED_SECONDS: f64 = 3_600.0;

/// How many nodes that left are remembered at least; beyond it as many as there are nodes now, so
/// that replacing a whole fleet is within it and endless new names are not.
const REMEMBERED_AT_LEAST: usize = 1_000;

/// Interned lines may grow by this share, and by [`SWEEP_AT_LEAST`], before unused ones are swept:
/// a sweep costs about a nanosecond a line of every node.
const SWEEP_GROWTH: f64 = 1.25;

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
    left: HashMap<NodeName, Left, RandomState>,
    counters: Vec<Total>,
    lost_bounds: Vec<u32>,
    /// The lines of the page stored last: what a node's first page probably looks like.
    template: Arc<Shape>,
    swept_at: usize,
    generation: u64,
}

#[derive(Debug)]
struct Node {
    target: Arc<Target>,
    run: Option<Run>,
    shape: Option<Arc<Shape>>,
    samples: usize,
    ipv6: bool,
    last_outcome: Option<Outcome>,
    reason: Arc<str>,
    last_scrape: Option<f64>,
    last_seconds: f64,
    /// Of the last good scrape since the node joined: on both clocks.
    last_good: Option<Moment>,
}

#[derive(Debug)]
struct Left {
    run: Run,
    /// Uptime when it left.
    at: f64,
}

impl Store {
    /// An empty store. `interval` is the scrape interval in seconds, the unit of
    /// `--scrape.stale-after`.
    pub fn new(settings: &Settings, interval: f64, observe: Arc<Observe>) -> Store {
        let inner = Inner {
            counters: vec![Total::default(); SLOTS.counters()],
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
    /// counters are remembered for an hour under their name.
    pub fn retarget(&self, targets: &Targets, now: Moment) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut nodes =
            HashMap::with_capacity_and_hasher(targets.list.len(), RandomState::default());
        for target in &targets.list {
            let node = match inner.nodes.remove(&target.node) {
                Some(mut node) => {
                    if *node.target != *target {
                        node.target = Arc::new(target.clone());
                        node.ipv6 = node.is_ipv6();
                    }
                    node
                }
                None => Node::new(target, inner.left.remove(&target.node), now),
            };
            nodes.insert(Arc::clone(&target.node), node);
        }
        for (name, node) in std::mem::replace(&mut inner.nodes, nodes) {
            if let Some(run) = node.run {
                inner.left.insert(name, Left { run, at: now.uptime });
            }
        }
        inner.forget(now);
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
        let reading = match inner.interner.read(answer.body, Some(expected), &self.limits) {
            Ok(reading) => reading,
            Err(refusal) => {
                let (outcome, reason) = match refusal {
                    Refusal::Parse(reason) => (Outcome::Parse, reason),
                    Refusal::Limit(reason) => (Outcome::Limit, reason),
                };
                entry.failed(outcome, &reason, answer.at, answer.seconds);
                inner.generation += 1;
                return Err(Refused { outcome, reason });
            }
        };
        let shape = match reading.reshaped {
            Some(shape) => Arc::new(shape),
            None => before.unwrap_or(template),
        };
        let page = Page { layout: Arc::clone(&shape.layout), values: reading.values };
        let sighting = Sighting {
            start: reading.start.filter(|s| s.is_finite() && *s > 0.0),
            served_at: served_at(&answer),
            uptime: answer.at.uptime,
        };
        let process = delta::process_of(entry.run.as_ref(), &sighting);
        let gains = delta::gains(entry.run.as_ref(), process, &page);
        count(&mut inner.counters, &mut inner.lost_bounds, &page, &gains);
        self.observe.page_stored(&PageStored {
            lines: reading.samples,
            misses: reading.misses,
            folded: reading.kept.saturating_sub(page.values.len()),
            unusable: gains.unusable,
            restarted: gains.restarted,
            first_seen: process == Process::Unknown,
            resets: gains.resets,
        });
        entry.stored(page, shape, &sighting, gains.held, reading.samples, &answer);
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
        let mut nodes: Vec<NodeView> =
            inner.nodes.values().map(|node| self.node_view(node, now)).collect();
        let view = View {
            taken: now,
            generation: inner.generation,
            nodes: Vec::new(),
            series: Arc::clone(inner.interner.series()),
            others: Arc::clone(inner.interner.others()),
            counters: inner.counters.clone(),
            lost_bounds: inner.lost_bounds.clone(),
        };
        self.observe.interned(inner.interner.lines.len(), inner.interner.series_count());
        drop(inner);
        nodes.sort_unstable_by(|a, b| a.target.node.cmp(&b.target.node));
        View { nodes, ..view }
    }

    fn node_view(&self, node: &Node, now: Moment) -> NodeView {
        let state = self.state(node, now);
        let stands = matches!(state, NodeState::Up | NodeState::Stale);
        NodeView {
            target: Arc::clone(&node.target),
            state,
            last_outcome: node.last_outcome,
            reason: Arc::clone(&node.reason),
            last_scrape: node.last_scrape,
            last_success: node.last_good.map(|m| m.unix),
            last_seconds: node.last_seconds,
            samples: node.samples,
            ipv6: node.ipv6,
            page: node.run.as_ref().filter(|_| stands).map(|run| Arc::clone(&run.page)),
        }
    }

    /// Truth rule 5. A node whose last scrape was good gets one interval more: its next scrape is
    /// only due when that has passed.
    fn state(&self, node: &Node, now: Moment) -> NodeState {
        let Some(good) = node.last_good else { return NodeState::Failed };
        let age = now.uptime - good.uptime;
        if node.last_outcome == Some(Outcome::Ok) {
            if age <= self.stale_seconds + self.interval_seconds {
                return NodeState::Up;
            }
        } else if age <= self.stale_seconds {
            return NodeState::Stale;
        }
        NodeState::Failed
    }
}

/// When a page was served, by its node's clock. `Date` has whole seconds: within the one that it
/// names, our own clock is the best guess.
fn served_at(answer: &Answer<'_>) -> f64 {
    answer.date.map_or(answer.at.unix, |date| answer.at.unix.clamp(date, date + 1.0))
}

/// Adds a page's gains to the cluster's counters (truth rules 1 and 8).
fn count(counters: &mut [Total], lost: &mut [u32], page: &Page, gains: &delta::Gains) {
    for gain in &gains.gains {
        let row = &page.layout.roles.counters[gain.counter];
        let total = &mut counters[usize::from(row.slot)];
        total.add(gain.to);
        total.subtract(gain.from);
        for histogram in &page.layout.roles.histograms {
            if histogram.count_row == row.row {
                lost[usize::from(histogram.family)] |= histogram.missing;
            }
        }
    }
}

impl Inner {
    fn forget(&mut self, now: Moment) {
        self.left.retain(|_, left| now.uptime - left.at <= REMEMBERED_SECONDS);
        let cap = self.nodes.len().max(REMEMBERED_AT_LEAST);
        if self.left.len() > cap {
            let mut times: Vec<f64> = self.left.values().map(|left| left.at).collect();
            times.sort_unstable_by(f64::total_cmp);
            let oldest_kept = times[times.len() - cap];
            self.left.retain(|_, left| left.at >= oldest_kept);
        }
    }

    fn sweep_if_grown(&mut self) {
        let lines = self.interner.lines.len();
        if (lines as f64) < self.swept_at as f64 * SWEEP_GROWTH + SWEEP_AT_LEAST as f64 {
            return;
        }
        let shapes =
            self.nodes.values().filter_map(|node| node.shape.as_deref()).chain([&*self.template]);
        let runs = self.nodes.values().filter_map(|node| node.run.as_ref());
        let layouts: Vec<&Layout> = runs
            .chain(self.left.values().map(|left| &left.run))
            .map(|run| &*run.page.layout)
            .collect();
        self.interner.sweep(shapes, layouts.into_iter());
        self.swept_at = self.interner.lines.len();
    }
}

impl Node {
    fn new(target: &Target, left: Option<Left>, now: Moment) -> Node {
        let run = left.filter(|l| now.uptime - l.at <= REMEMBERED_SECONDS).map(|l| l.run);
        Node {
            ipv6: target.is_ipv6(),
            target: Arc::new(target.clone()),
            run,
            shape: None,
            samples: 0,
            last_outcome: None,
            reason: Arc::from("not scraped yet"),
            last_scrape: None,
            last_seconds: 0.0,
            last_good: None,
        }
    }

    fn failed(&mut self, outcome: Outcome, reason: &str, now: Moment, seconds: f64) {
        self.last_outcome = Some(outcome);
        if *self.reason != *reason {
            self.reason = Arc::from(reason);
        }
        self.last_scrape = Some(now.unix);
        self.last_seconds = seconds;
    }

    fn stored(
        &mut self,
        page: Page,
        shape: Arc<Shape>,
        sighting: &Sighting,
        held: Option<Box<[f64]>>,
        samples: usize,
        answer: &Answer<'_>,
    ) {
        self.run = Some(Run {
            start: sighting.start,
            last_good: answer.at.uptime,
            page: Arc::new(page),
            held,
        });
        self.shape = Some(shape);
        self.samples = samples;
        self.ipv6 = self.is_ipv6();
        self.last_outcome = Some(Outcome::Ok);
        if !self.reason.is_empty() {
            self.reason = Arc::from("");
        }
        self.last_scrape = Some(answer.at.unix);
        self.last_seconds = answer.seconds;
        self.last_good = Some(answer.at);
    }

    /// Truth rule 7.
    fn is_ipv6(&self) -> bool {
        /// No IPv4 node comes near: the largest instances take some thousands of addresses.
        const IPV6_TOTAL: f64 = 1_099_511_627_776.0;
        let total = self.run.as_ref().and_then(|run| run.page.total());
        self.target.is_ipv6() || total.is_some_and(|t| t.is_finite() && t >= IPV6_TOTAL)
    }
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
