//! Until when this process may serve data. Comes in: what the election promised. Goes out: yes or no at an
//! uptime. Never: a wall clock, which may be wrong; a promise that outlives a pause of the process.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by the election, which extends it, and the server, which asks.
#[derive(Debug)]
pub struct Promise {
    /// Bits of the uptime, in seconds, at which it ends.
    until: AtomicU64,
    /// Which time of leading it belongs to; another process may have served between two.
    term: AtomicU64,
}

impl Promise {
    /// For a process that nobody competes with: there is one term, 0, and it never ends.
    pub fn forever() -> Promise {
        Promise { until: AtomicU64::new(f64::INFINITY.to_bits()), term: AtomicU64::new(0) }
    }

    /// None yet.
    pub fn none() -> Promise {
        Promise { until: AtomicU64::new(f64::NEG_INFINITY.to_bits()), term: AtomicU64::new(0) }
    }

    /// The present or last term; 0 before the first, and without an election.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// Whether it holds at an uptime in seconds, for a term.
    pub fn holds(&self, term: u64, uptime: f64) -> bool {
        // In this order: an end that belongs to a newer term is seen together with that term.
        let until = f64::from_bits(self.until.load(Ordering::Acquire));
        uptime < until && self.term() == term
    }

    /// Begins a new term; it holds until this uptime.
    pub fn begin(&self, until: f64) {
        // In this order: nothing of the term before may be served under the new end.
        self.end();
        self.term.fetch_add(1, Ordering::AcqRel);
        self.extend(until);
    }

    /// The same term goes on until this uptime.
    pub fn extend(&self, until: f64) {
        self.until.store(until.to_bits(), Ordering::Release);
    }

    /// From now on it does not hold.
    pub fn end(&self) {
        self.extend(f64::NEG_INFINITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_its_term_until_its_end() {
        let promise = Promise::none();
        assert!(!promise.holds(promise.term(), 0.0));
        promise.begin(10.0);
        assert!(promise.holds(1, 9.9) && !promise.holds(1, 10.0) && !promise.holds(0, 1.0));
        promise.extend(20.0);
        assert!(promise.holds(1, 19.0));
        promise.end();
        assert!(!promise.holds(1, 1.0));
        promise.begin(30.0);
        assert!(promise.holds(2, 25.0) && !promise.holds(1, 25.0));
        assert!(Promise::forever().holds(0, 1e12));
    }
}
