//! Where intervals go: one enum, one way to send. Comes in: intervals, oldest first, and the cluster's
//! name. Goes out: what became of them. Never: a retry of its own, a point sent twice.

use crate::mirror::{Interval, Tally, Trouble};
use std::sync::Arc;

/// What became of a try to send some intervals.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// So many of them, from the first on, are done with: sent, unconfirmed or dropped for good.
    pub(super) settled: usize,
    /// What became of the points of those.
    pub(super) tally: Tally,
    /// Why the rest was not sent; it is tried again later.
    pub(super) trouble: Option<(Trouble, String)>,
}

/// A batch to send, oldest first.
pub(super) type Batch<'a> = &'a [Arc<Interval>];
