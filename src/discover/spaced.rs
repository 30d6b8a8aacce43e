//! A client whose watches begin with pauses between them. Comes in: requests. Goes out: the same, a watch
//! not before its time; besides, when the watch under way was answered. Never: a request lost or changed.
//!
//! The library begins a watch that has ended at once again, and knows no pause for that: an API server
//! or a load balancer that accepts and closes each watch would be asked as fast as it answers.

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::Request;
use kube::Client;
use kube::client::Body;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The first pause, doubled with each further one up to [`LONGEST_PAUSE`]. Jitter adds up to as much
/// again, so that many clients do not come back at the same time.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// See [`FIRST_PAUSE`]. A server that comes back is noticed within twice this time.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A watch that was answered and has lived so long is a good one. Those that are closed in order live
/// for minutes.
pub(super) const STANDS: Duration = Duration::from_secs(5);

/// Pauses that grow.
pub(super) fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter()
}

/// When the watch under way was answered; `None` while it is not.
pub(super) type Began = watch::Receiver<Option<Instant>>;

/// The client for the watches of one resource.
pub(super) fn spaced(client: Client) -> (Client, Began) {
    let (tx, began) = watch::channel(None);
    let spacing = Arc::new((Mutex::new(Spacing::new()), tx));
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, spacing) = (client.clone(), Arc::clone(&spacing));
        async move {
            let (spacing, began) = &*spacing;
            let query = request.uri().query().unwrap_or_default();
            if !query.split('&').any(|pair| pair.starts_with("watch=")) {
                return client.send(request).await;
            }
            began.send_replace(None);
            let lock = || spacing.lock().unwrap_or_else(PoisonError::into_inner);
            let due = lock().due(Instant::now());
            if let Some(due) = due {
                sleep_until(due).await;
            }
            let response = client.send(request).await?;
            if response.status().is_success() {
                let now = Instant::now();
                lock().began = Some(now);
                began.send_replace(Some(now));
            }
            Ok::<_, kube::Error>(response)
        }
    });
    (Client::new(service, namespace), began)
}

struct Spacing {
    /// The last watch that was answered.
    began: Option<Instant>,
    pauses: ExponentialBackoff,
}

impl Spacing {
    fn new() -> Spacing {
        Spacing { began: None, pauses: pauses().build() }
    }

    /// When a watch that is asked for now may begin, if not at once. From the beginning of the one
    /// before, so that what was waited for another reason counts.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let began = self.began?;
        if now.duration_since(began) < STANDS {
            return Some(began + self.pauses.next().unwrap_or(LONGEST_PAUSE));
        }
        self.pauses = pauses().build();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_each_watch_that_ends_at_once_and_begin_anew_after_one_that_stood() {
        let (mut spacing, mut now) = (Spacing::new(), Instant::now());
        assert_eq!(spacing.due(now), None);
        for _ in 0..2 {
            for at_least in [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
                spacing.began = Some(now);
                let due = spacing.due(now).unwrap();
                let pause = due.duration_since(now).as_secs_f64();
                assert!((at_least..=2.0 * at_least).contains(&pause), "{pause} s for {at_least}");
                now = due;
            }
            spacing.began = Some(now);
            now += STANDS;
            assert_eq!(spacing.due(now), None);
        }
    }
}
