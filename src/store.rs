//! The newest good page of every node (interface sketch).
use crate::model::{Moment, NodeName, Outcome, Targets};

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
/// Shared by the scraper (writes) and the publisher (reads). One lock, never held across an await.
#[derive(Debug)]
pub struct Store {}
impl Store {
    /// Takes over the list of targets: new ones begin without a page, vanished ones leave.
    pub fn retarget(&self, _targets: &Targets, _now: Moment) {}
    /// A complete answer: parsed, its deltas counted, kept. Unknown nodes are ignored (they left meanwhile).
    pub fn scraped(&self, _node: &NodeName, _answer: Answer<'_>) -> Result<Stored, Refused> {
        Ok(Stored { samples: 0 })
    }
    /// A scrape that brought no page. Touches no value and no baseline.
    pub fn failed(
        &self,
        _node: &NodeName,
        _outcome: Outcome,
        _reason: &str,
        _now: Moment,
        _seconds: f64,
    ) {
    }
}

/// Everything that one publishing needs, as of one moment; it never changes once made.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// When it was taken.
    pub taken: Moment,
    /// Grows with every view.
    pub generation: u64,
    /// Sorted by node name.
    pub nodes: Vec<NodeView>,
}

/// One node in a view.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Who, where, with which labels.
    pub target: std::sync::Arc<crate::model::Target>,
    /// Up, stale, failed, missing.
    pub state: crate::model::NodeState,
    /// How the last scrape ended; `None` before the first.
    pub last_outcome: Option<Outcome>,
    /// The last failure in words, for people; empty while the last scrape is good.
    pub reason: std::sync::Arc<str>,
    /// Unix seconds of the last scrape's end; `None` before the first.
    pub last_scrape: Option<f64>,
    /// Unix seconds of the last good scrape's end.
    pub last_success: Option<f64>,
    /// Seconds that the last scrape took.
    pub last_seconds: f64,
    /// Samples on the last good page.
    pub samples: usize,
    /// Truth rule 7.
    pub ipv6: bool,
    /// From awscni_build_info, if served.
    pub cni_version: Option<std::sync::Arc<str>>,
    /// awscni_assigned_ip_addresses, while values stand (state up or stale).
    pub assigned: Option<f64>,
    /// awscni_total_ip_addresses, while values stand.
    pub total: Option<f64>,
    /// awscni_ip_max, while values stand.
    pub max: Option<f64>,
}

impl Store {
    /// The view as of `now`.
    pub fn view(&self, _now: Moment) -> View {
        View::default()
    }
}
