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
