//! What a node's counters gained between two good scrapes (truth rules 1–4, 6). Comes in: the
//! baseline that the last good scrape left, and a new page. Goes out: gains and the new baseline.
//! Never: a view, a clock, a negative gain.

use crate::total::Total;
use crate::view::{CounterRow, Page};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

/// How much younger than the gap since the last good scrape a process must be to count as new:
/// start times wobble by clock ticks and by whole seconds of `btime` (truth rule 3).
const START_WOBBLE_SECONDS: f64 = 2.0;

/// What is kept of a process between good scrapes, under its node's name.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// process_start_time_seconds as its pages last served a usable one.
    pub start: Option<f64>,
    /// Uptime of this exporter, in seconds, at the last good scrape.
    pub last_good: f64,
    /// The uid of the pod that served the last good page, where one was known.
    pub pod: Option<std::sync::Arc<str>>,
    /// The last good page.
    pub page: std::sync::Arc<Page>,
    /// Baselines by row of `page`, where they are not the page's own values (truth rule 6).
    pub held: Option<Box<[f64]>>,
}

/// What a new page says about its process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// process_start_time_seconds, if the page serves a finite, positive one.
    pub start: Option<f64>,
    /// When the page was served, in the clock of its node: the answer's `Date`, else our clock.
    pub served_at: f64,
    /// Uptime of this exporter, in seconds.
    pub uptime: f64,
    /// What is remembered was remembered under another name or at another address.
    pub elsewhere: bool,
    /// Another pod has the node since after the last good page.
    pub replaced: bool,
    /// Seconds for which a process of this node would have been noticed and not forgotten: at most
    /// the uptime, 0 for one that is known to have been seen before.
    pub watched: f64,
}

impl Sighting {
    fn age(&self) -> Option<f64> {
        self.start.map(|start| self.served_at - start)
    }
}

/// Whose counters a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// Seen for the first time, and older than our memory: a baseline, no gain (rule 4). Also an old
    /// process that took over a name or an address from another one.
    Unknown,
    /// Began while we watched: every series counts from zero (rules 3 and 4).
    New,
    /// The one of the last good scrape, and its start time vouches for it.
    Same,
    /// Taken for the one of the last good scrape unless any series fell (rule 3).
    Unvouched,
}

/// Decides whose counters a page holds.
pub fn process_of(run: Option<&Run>, now: &Sighting) -> Process {
    let Some(run) = run else {
        return match now.age() {
            Some(age) if age < now.watched => Process::New,
            _ => Process::Unknown,
        };
    };
    match (run.start, now.start) {
        (Some(before), Some(start)) => {
            let gap = now.uptime - run.last_good;
            let young = now.served_at - start < gap + START_WOBBLE_SECONDS;
            if before.to_bits() == start.to_bits() {
                Process::Same
            } else if young && now.watched > 0.0 {
                Process::New
            } else if now.elsewhere && (start - before).abs() > START_WOBBLE_SECONDS {
                Process::Unknown
            } else {
                Process::Same
            }
        }
        // Nothing says that it is the process of the other name or address.
        _ if now.elsewhere && !now.replaced => Process::Unknown,
        _ if now.replaced => Process::New,
        _ => Process::Unvouched,
    }
}

/// One gain: the new value less the baseline, kept apart so that the sum loses no digit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// Position in the new page's `Roles::counters`.
    pub counter: usize,
    /// The value on the page.
    pub to: f64,
    /// What had been counted before; never above `to`.
    pub from: f64,
}

/// What a page brought.
#[derive(Debug, Default, PartialEq)]
pub struct Gains {
    /// Rows that gained something; rows that stood still are left out.
    pub gains: Vec<Gain>,
    /// The new page's baselines, where they differ from its values.
    pub held: Option<Box<[f64]>>,
    /// Values that are no counts: negative, or none that [`Total`] takes (rule 6).
    pub unusable: usize,
    /// Whether the whole page was counted from zero after an earlier one.
    pub restarted: bool,
    /// Series or groups that fell on their own.
    pub resets: usize,
}

/// Compares a new page with what the last good scrape left.
pub fn gains(run: Option<&Run>, process: Process, page: &Page) -> Gains {
    let counters = &page.layout.roles.counters;
    let before = baselines(run, page);
    let mut out = Gains::default();
    let fell = |row: &CounterRow, base: f64| {
        let value = page.values[usize::from(row.row)];
        usable(value) && value < base
    };
    let any_fell = || counters.iter().zip(&before).any(|(c, b)| b.is_some_and(|b| fell(c, b)));
    let process = match process {
        Process::Unvouched if any_fell() => Process::New,
        Process::Unvouched => Process::Same,
        other => other,
    };
    out.restarted = process == Process::New && run.is_some();

    let mut fallen_groups: HashSet<u16, RandomState> = HashSet::default();
    if process == Process::Same {
        for (row, base) in counters.iter().zip(&before) {
            if base.is_some_and(|b| fell(row, b)) {
                fallen_groups.insert(row.group);
            }
        }
        out.resets = fallen_groups.len();
    }

    for (index, (row, base)) in counters.iter().zip(before).enumerate() {
        let value = page.values[usize::from(row.row)];
        let base = match process {
            Process::Unknown => None,
            Process::New => Some(0.0),
            // A series that is new in a known process counts from zero (rule 4).
            _ if fallen_groups.contains(&row.group) => Some(0.0),
            _ => Some(base.unwrap_or(0.0)),
        };
        if usable(value) {
            match base {
                // NaN marks a baseline that nobody knows: the process was first seen with NaN here.
                Some(from) if from.is_nan() => {}
                Some(from) if value > from => {
                    out.gains.push(Gain { counter: index, to: value, from })
                }
                _ => {}
            }
        } else {
            out.unusable += 1;
            let held = out.held.get_or_insert_with(|| page.values.clone());
            held[usize::from(row.row)] = base.unwrap_or(f64::NAN);
        }
    }
    out
}

/// Whether a value is a count. Anything else enters no sum and leaves the baseline alone.
fn usable(value: f64) -> bool {
    Total::takes(value) && value >= 0.0
}

/// The baseline of each counter of the new page; `None` where its series was not on the page before.
fn baselines(run: Option<&Run>, page: &Page) -> Vec<Option<f64>> {
    let Some(run) = run else { return vec![None; page.layout.roles.counters.len()] };
    let values = run.held.as_deref().unwrap_or(&run.page.values);
    if std::sync::Arc::ptr_eq(&run.page.layout, &page.layout) {
        return page
            .layout
            .roles
            .counters
            .iter()
            .map(|c| Some(values[usize::from(c.row)]))
            .collect();
    }
    let before: HashMap<u32, f64, RandomState> = run
        .page
        .layout
        .roles
        .counters
        .iter()
        .map(|c| (run.page.layout.rows[usize::from(c.row)], values[usize::from(c.row)]))
        .collect();
    let series = |c: &CounterRow| page.layout.rows[usize::from(c.row)];
    page.layout.roles.counters.iter().map(|c| before.get(&series(c)).copied()).collect()
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;
