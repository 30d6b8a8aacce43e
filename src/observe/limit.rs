//! Keeps repeated warnings from flooding the log. Comes in: the wish to say something. Goes out: yes,
//! with how often it was left unsaid before; or no. Never: a line lost without being counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a burst through, then a steady trickle: a token bucket for one cause.
#[derive(Debug)]
pub struct Limiter {
    burst: u32,
    refill: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: u32,
    filled: Instant,
    unsaid: u64,
}

impl Limiter {
    /// `burst` lines at once, then one each `refill`.
    pub fn new(burst: u32, refill: Duration) -> Limiter {
        let state = State { tokens: burst, filled: Instant::now(), unsaid: 0 };
        Limiter { burst, refill, state: Mutex::new(state) }
    }

    /// Whether to say it now; then with the number of times it was not said since the last time.
    pub fn allow(&self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    fn allow_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(state.filled);
        let fresh = u32::try_from(since.as_nanos() / self.refill.as_nanos().max(1));
        let fresh = fresh.unwrap_or(u32::MAX);
        if fresh > 0 {
            state.tokens = state.tokens.saturating_add(fresh).min(self.burst);
            state.filled = now;
        }
        if state.tokens == 0 {
            state.unsaid += 1;
            return None;
        }
        state.tokens -= 1;
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_each_refill_and_what_was_unsaid_is_counted() {
        let limiter = Limiter::new(2, Duration::from_secs(10));
        let begin = Instant::now();
        assert_eq!(limiter.allow_at(begin), Some(0));
        assert_eq!(limiter.allow_at(begin), Some(0));
        assert_eq!(limiter.allow_at(begin), None);
        assert_eq!(limiter.allow_at(begin + Duration::from_secs(9)), None);
        assert_eq!(limiter.allow_at(begin + Duration::from_secs(11)), Some(2));
    }
}
