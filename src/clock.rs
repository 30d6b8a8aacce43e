//! The clocks of the process, read at the edges alone. Comes in: nothing. Goes out: moments. Never:
//! used below the edges, which are given moments as values.

use crate::model::Moment;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Counts from its making.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock whose uptime begins now.
    pub fn start() -> Clock {
        Clock { began: Instant::now() }
    }

    /// This moment on both clocks.
    pub fn now(&self) -> Moment {
        Moment { unix: unix_now(), uptime: self.uptime() }
    }

    /// Seconds since the clock was made.
    pub fn uptime(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// The instant at an uptime; now, for an uptime that no instant has.
    pub fn instant(&self, uptime: f64) -> Instant {
        Duration::try_from_secs_f64(uptime)
            .ok()
            .and_then(|since| self.began.checked_add(since))
            .unwrap_or_else(Instant::now)
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
