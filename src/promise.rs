//! Until when this process may serve data. Comes in: what the election promised. Goes out: yes or no at an
//! uptime. Never: a wall clock, which may be wrong; a promise that outlives a pause of the process; one that
//! goes on by itself after somebody was told that it had ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared by the election, which extends it, and the server, which asks.
#[derive(Debug)]
pub struct Promise {
    /// Bits of the uptime, in seconds, at which it ends.
    until: AtomicU64,
    /// Which time of leading it belongs to; another process may have served between two.
    term: AtomicU64,
    /// Whether its end was put off though nobody confirmed it.
    alone: AtomicBool,
}

impl Promise {
    /// For a process that nobody competes with: there is one term, 0, and it never ends.
    pub fn forever() -> Promise {
        Promise::until(f64::INFINITY)
    }

    /// None yet.
    pub fn none() -> Promise {
        Promise::until(f64::NEG_INFINITY)
    }

    fn until(uptime: f64) -> Promise {
        let (until, term) = (AtomicU64::new(uptime.to_bits()), AtomicU64::new(0));
        Promise { until, term, alone: AtomicBool::new(false) }
    }

    /// The present or last term; 0 before the first, and without an election.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// Whether it holds at an uptime in seconds, for a term.
    pub fn holds(&self, term: u64, uptime: f64) -> bool {
        // In this order: an end that belongs to a newer term is seen together with that term.
        let until = self.until.load(Ordering::Acquire);
        if uptime >= f64::from_bits(until) {
            // Whoever is told of the end may take over: only a renewal of the Lease undoes it. Where it is
            // extended or ended at this moment, that stands.
            let ended = f64::NEG_INFINITY.to_bits();
            let _seen =
                self.until.compare_exchange(until, ended, Ordering::AcqRel, Ordering::Relaxed);
            return false;
        }
        self.term() == term
    }

    /// Begins a new term; it holds until this uptime.
    pub fn begin(&self, until: f64) {
        // In this order: nothing of the term before may be served under the new end.
        self.end();
        self.term.fetch_add(1, Ordering::AcqRel);
        self.extend(until);
    }

    /// The same term goes on until this uptime, though nobody confirmed it: only if it holds at `uptime` and
    /// nobody was told that it does not. Answers whether it does go on.
    pub fn prolong(&self, until: f64, uptime: f64) -> bool {
        let before = self.until.load(Ordering::Acquire);
        let holds = uptime < f64::from_bits(before);
        let until = until.max(f64::from_bits(before)).to_bits();
        let swap =
            || self.until.compare_exchange(before, until, Ordering::AcqRel, Ordering::Relaxed);
        let goes_on = holds && swap().is_ok();
        self.alone.fetch_or(goes_on, Ordering::AcqRel);
        goes_on
    }

    /// Whether it goes on because no other process is known, though the API server does not answer.
    pub fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }

    /// The same term goes on until this uptime: the Lease was ours all the time.
    pub fn extend(&self, until: f64) {
        self.alone.store(false, Ordering::Release);
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

    #[test]
    fn an_end_that_somebody_saw_is_undone_by_a_renewal_alone() {
        let promise = Promise::none();
        assert!(!promise.prolong(10.0, 0.0), "there is none");
        promise.begin(10.0);
        assert!(!promise.is_alone());
        assert!(promise.prolong(20.0, 9.0) && promise.holds(1, 19.0) && promise.is_alone());
        assert!(promise.prolong(15.0, 19.0) && promise.holds(1, 19.5), "never shortened");
        assert!(!promise.prolong(30.0, 20.0), "it had ended");
        // The one who prolongs it read the clock before the other one did.
        assert!(!promise.holds(1, 20.5));
        assert!(!promise.prolong(30.0, 19.9), "somebody was told");
        assert!(!promise.holds(1, 19.0));
        promise.extend(40.0);
        assert!(promise.holds(1, 30.0) && !promise.is_alone());
    }
}
