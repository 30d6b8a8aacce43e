//! A limit on requests. Comes in: the wish to be answered now. Goes out: yes or no. Never: a queue.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A token bucket: `burst` requests at once, then one each `interval`; shared by all clients, as in the
/// exporter-toolkit.
#[derive(Debug)]
pub(crate) struct RateLimit {
    interval: Duration,
    /// How far [`RateLimit::due`] may run ahead of the clock.
    ahead: Duration,
    /// When the bucket is full again.
    due: Mutex<Option<Instant>>,
}

impl RateLimit {
    pub(crate) fn new(interval: Duration, burst: NonZeroU32) -> RateLimit {
        let ahead = interval.saturating_mul(burst.get() - 1);
        RateLimit { interval, ahead, due: Mutex::new(None) }
    }

    /// Whether a request is answered now.
    pub(crate) fn allows(&self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&self, now: Instant) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let from = due.map_or(now, |due| due.max(now));
        if from.saturating_duration_since(now) > self.ahead {
            return false;
        }
        // Later than any clock shows: the one request that there may ever be was this one.
        *due = from.checked_add(self.interval).or(Some(from));
        true
    }

    /// Seconds until one more is answered, at least 1.
    pub(crate) fn retry_after(&self) -> u64 {
        self.interval.as_secs().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_then_one_request_each_interval() {
        let limit = RateLimit::new(Duration::from_secs(2), NonZeroU32::new(3).unwrap());
        let begin = Instant::now();
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        let answered = |seconds: f64| limit.allows_at(at(seconds));
        assert_eq!([0.0, 0.0, 0.0, 0.0].map(answered), [true, true, true, false]);
        assert_eq!([1.9, 2.0, 2.1, 4.0].map(answered), [false, true, false, true]);
        // Full again, and no fuller.
        assert_eq!([100.0, 100.0, 100.0, 100.0].map(answered), [true, true, true, false]);
    }

    #[test]
    fn an_interval_of_any_length_is_no_panic() {
        let limit = RateLimit::new(Duration::MAX, NonZeroU32::MAX);
        assert!(limit.allows() && limit.allows());
    }
}
