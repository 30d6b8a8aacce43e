//! A batch of intervals on its way out. Comes in: a try to send it. Goes out: what became of it. Never: a
//! request.

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

impl Delivery {
    /// Nothing was sent, for this reason.
    pub(super) fn blocked(trouble: (Trouble, String)) -> Delivery {
        Delivery { trouble: Some(trouble), ..Delivery::default() }
    }
}

/// A batch to send, oldest first.
pub(super) type Batch<'a> = &'a [Arc<Interval>];
