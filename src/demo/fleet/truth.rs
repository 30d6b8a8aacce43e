//! What one knows who saw every page that each node served completely. Comes in: served pages, with
//! their figures from the simulation's own state, and which nodes are listed. Goes out: every cluster
//! figure now, and its increase since a moment. Never: the service's code, a page's bytes.
//!
//! *When it cannot keep up*: the log of increases holds `LOG` entries; older ones go, and a question
//! about the time before them is refused, not answered wrongly.

use super::figures::{Figures, Rule, TABLE};
use super::world::Page;
use serde_json::{Map, Number, Value};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) mod http;

/// Entries of the log: some 25 minutes of 10,000 nodes at 30 s, at less than 200 MB.
const LOG: usize = 500_000;
/// Seconds for which a node that left is remembered: longer than any absence in the story.
const GONE: f64 = 2.0 * 3600.0;
/// Bounds of the utilization histogram.
const SHARES: [(f64, &str); 8] = [
    (0.1, "0.1"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (0.75, "0.75"),
    (0.8, "0.8"),
    (0.9, "0.9"),
    (0.95, "0.95"),
    (1.0, "1"),
];

/// A question about a time that the log does not reach back to.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("increases are known since {begins} only: ask with since={begins} or later")]
pub struct Forgotten {
    /// Unix seconds.
    pub begins: f64,
}

/// The observer. Cheap to share.
#[derive(Debug, Default)]
pub(super) struct Truth(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Complete serves so far.
    sequence: u64,
    log: VecDeque<Entry>,
    /// Unix seconds of the youngest entry that was dropped.
    forgotten: Option<f64>,
    last: BTreeMap<Arc<str>, Last>,
    /// Nodes in the targets file.
    listed: HashSet<Arc<str>>,
}

/// A node's last complete serve.
#[derive(Debug)]
struct Last {
    unix: f64,
    process: u64,
    version: u64,
    figures: Arc<Figures>,
    /// The last finite value of each counter, where the page itself served none; NaN where there has
    /// been none in this process.
    held: Option<Box<[f64]>>,
}

impl Last {
    fn base(&self, id: usize) -> f64 {
        self.held.as_ref().map_or(self.figures.values[id], |held| held[id])
    }
}

/// What one complete serve brought.
#[derive(Debug)]
struct Entry {
    unix: f64,
    /// When the process began, by a right clock.
    start: f64,
    /// Unix seconds of the serve before it, of the same process.
    previous: Option<f64>,
    /// Figure and increase; never 0.
    gains: Box<[(u16, f64)]>,
}

/// Adds up without losing small addends beside large ones (Neumaier).
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let total = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - total) + value
        } else {
            (value - total) + self.sum
        };
        self.sum = total;
    }

    fn value(self) -> f64 {
        self.sum + self.lost
    }
}

/// What [`Truth::tell`] answers, without the story's part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) sequence: u64,
    /// By sample key.
    pub(super) gauges: BTreeMap<String, f64>,
    /// By sample key; only what increased.
    pub(super) increase: BTreeMap<String, f64>,
    /// Listed nodes; of them with values that stand, with older values, never served.
    pub(super) nodes: [usize; 4],
}

impl Truth {
    fn book(&self) -> MutexGuard<'_, Book> {
        // What a panic could leave behind is a log entry too few: the tests would show it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page's last byte has been written.
    pub(super) fn served(&self, page: &Arc<Page>, unix: f64) {
        self.book().served(page, unix);
    }

    /// These nodes, and no others, are in the targets file from now on.
    pub(super) fn listed(&self, nodes: HashSet<Arc<str>>) {
        let book = &mut *self.book();
        book.listed = nodes;
        let newest = book.last.values().map(|last| last.unix).fold(0.0, f64::max);
        let listed = &book.listed;
        book.last.retain(|node, last| listed.contains(node) || newest - last.unix < GONE);
    }

    /// Complete serves so far, and whether every listed node is among them.
    pub(super) fn progress(&self) -> (u64, bool) {
        let book = self.book();
        (book.sequence, book.listed.iter().all(|node| book.last.contains_key(node)))
    }

    /// Everything: gauges at `now`, and increases since `since`.
    ///
    /// # Errors
    /// When `since` is before the log's reach.
    pub(super) fn tell(
        &self,
        since: f64,
        stale_after: Option<f64>,
        now: f64,
    ) -> Result<Told, Forgotten> {
        let book = self.book();
        if let Some(begins) = book.forgotten.filter(|f| *f >= since) {
            return Err(Forgotten { begins });
        }
        let stands = |last: &&Last| stale_after.is_none_or(|limit| now - last.unix <= limit);
        let known: Vec<&Last> = book.listed.iter().filter_map(|n| book.last.get(n)).collect();
        let standing: Vec<&Last> = known.iter().copied().filter(stands).collect();
        let pages: Vec<&Figures> = standing.iter().map(|last| &*last.figures).collect();
        Ok(Told {
            sequence: book.sequence,
            gauges: gauges(&pages),
            increase: book.increase(since),
            nodes: [
                book.listed.len(),
                standing.len(),
                known.len() - standing.len(),
                book.listed.len() - known.len(),
            ],
        })
    }
}

impl Book {
    fn served(&mut self, page: &Arc<Page>, unix: f64) {
        let last = self.last.get(&page.node);
        let order = (page.process, page.version);
        // Two connections at once: what was made earlier may be through later, and says nothing new.
        if last.is_some_and(|last| (last.process, last.version) > order) {
            return;
        }
        self.sequence += 1;
        let last = last.filter(|last| last.process == page.process);
        let mut gains = Vec::new();
        let mut held: Option<Box<[f64]>> = None;
        for (id, figure) in TABLE.list.iter().enumerate() {
            if figure.rule == Rule::Gauge {
                continue;
            }
            let value = page.figures.values[id];
            let base = last.map_or(0.0, |last| last.base(id));
            if value.is_finite() {
                let gain = value - base;
                if gain > 0.0 {
                    gains.push((u16::try_from(id).unwrap_or(u16::MAX), gain));
                }
            } else {
                // A young process counts from zero; of an old one nobody knows where it stood.
                let unknown = last.is_none() && page.start < unix - YOUNG;
                let held = held.get_or_insert_with(|| page.figures.values.clone());
                held[id] = if unknown { f64::NAN } else { base };
            }
        }
        if !gains.is_empty() {
            let previous = last.map(|last| last.unix);
            self.log.push_back(Entry { unix, start: page.start, previous, gains: gains.into() });
        }
        if self.log.len() > LOG
            && let Some(entry) = self.log.pop_front()
        {
            self.forgotten = Some(entry.unix);
        }
        let (process, version) = order;
        let figures = page.figures.clone();
        self.last.insert(page.node.clone(), Last { unix, process, version, figures, held });
    }

    fn increase(&self, since: f64) -> BTreeMap<String, f64> {
        let mut sums = vec![Sum::default(); TABLE.list.len()];
        let seen = |entry: &&Entry| entry.previous.unwrap_or(entry.start) >= since;
        for (id, gain) in self.log.iter().filter(seen).flat_map(|entry| entry.gains.iter()) {
            sums[usize::from(*id)].add(*gain);
        }
        TABLE
            .list
            .iter()
            .zip(sums)
            .map(|(figure, sum)| (figure.key.clone(), sum.value() / figure.divisor))
            .filter(|(_, value)| *value > 0.0)
            .collect()
    }
}

/// A process that is served for the first time and older than this was there before anybody looked.
const YOUNG: f64 = 3600.0;

fn gauges(pages: &[&Figures]) -> BTreeMap<String, f64> {
    let mut out = BTreeMap::new();
    for (id, figure) in TABLE.list.iter().enumerate().filter(|(_, f)| f.rule == Rule::Gauge) {
        let mut sum = Sum::default();
        let values = pages.iter().map(|figures| figures.values[id]);
        values.filter(|value| value.is_finite()).for_each(|value| sum.add(value));
        out.insert(figure.key.clone(), sum.value() / figure.divisor);
    }
    for figures in pages {
        let version = figures.version.unwrap_or("unknown");
        *out.entry(format!("vpccni_cluster_nodes_by_cni_version{{version={version:?}}}"))
            .or_default() += 1.0;
    }
    let addresses: Vec<(f64, f64)> = pages.iter().filter_map(|f| f.addresses).collect();
    let (mut assigned, mut usable) = (Sum::default(), Sum::default());
    for (of_node, at_most) in &addresses {
        assigned.add(*of_node);
        usable.add(*at_most);
    }
    if usable.value() > 0.0 {
        let ratio = assigned.value() / usable.value();
        out.insert("vpccni_cluster_ip_utilization_ratio".to_owned(), ratio);
    }
    let shares: Vec<f64> = addresses.iter().map(|(assigned, usable)| assigned / usable).collect();
    let name = "vpccni_cluster_node_ip_utilization";
    for (bound, le) in SHARES.into_iter().chain([(f64::INFINITY, "+Inf")]) {
        let count = shares.iter().filter(|share| **share <= bound).count();
        out.insert(format!("{name}_bucket{{le={le:?}}}"), count as f64);
    }
    let mut sum = Sum::default();
    shares.iter().for_each(|share| sum.add(*share));
    out.insert(format!("{name}_sum"), sum.value());
    out.insert(format!("{name}_count"), shares.len() as f64);
    out
}

/// A JSON number, whole where the value is.
fn number(value: f64) -> Value {
    /// Beyond this, a float does not hold every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.abs() < EXACT && value.fract().abs() < f64::MIN_POSITIVE {
        return Value::Number(Number::from(value as i64));
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// As a JSON object.
fn object(values: BTreeMap<String, f64>) -> Value {
    Value::Object(values.into_iter().map(|(k, v)| (k, number(v))).collect::<Map<_, _>>())
}

#[cfg(test)]
#[path = "truth_tests.rs"]
mod tests;
