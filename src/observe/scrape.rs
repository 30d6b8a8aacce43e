//! Events of the stage scrape: what happened to a scrape or a round comes in, one log line at most
//! and one count go out. A failing node is told of when it begins to fail, rate-limited; after that
//! the status page and its series say so. Never: an address or a reason as a label value.

use super::limit::Limiter;
use super::{Observe, counters, gauge, registered};
use crate::model::{Outcome, Target};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};
use std::time::Duration;
use tracing::{debug, info, warn};

/// Scrapes on a healthy network take milliseconds, the default deadline is 10 s.
const SCRAPE_BOUNDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// The scraper's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// By outcome, in the order of [`Outcome::ALL`].
    scrapes: [IntCounter; Outcome::ALL.len()],
    seconds: Histogram,
    delay: Histogram,
    body_bytes: IntCounter,
    wire_bytes: IntCounter,
    samples: IntCounter,
    under_way: IntGauge,
    targets: IntGauge,
    hanging: IntGauge,
    rounds: IntCounter,
    round_seconds: prometheus::Gauge,
    round_answered_seconds: prometheus::Gauge,
    failures: Limiter,
    recoveries: Limiter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let scrapes = counters(
            registry,
            "vpccni_exporter_scrapes_total",
            "Scrapes of nodes by outcome.",
            "outcome",
        );
        let scrapes = Outcome::ALL.map(|o| scrapes.with_label_values(&[o.as_str()]));
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(SCRAPE_BOUNDS.to_vec());
            registered(registry, Histogram::with_opts(options))
        };
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help));
        Metrics {
            scrapes,
            seconds: histogram(
                "vpccni_exporter_scrape_duration_seconds",
                "Time that scrapes of nodes took, from connecting to the last byte.",
            ),
            delay: histogram(
                "vpccni_exporter_scrape_delay_seconds",
                "How long scrapes waited behind their slot for a place (--scrape.concurrency), those of nodes that timed out before left out.",
            ),
            body_bytes: counter(
                "vpccni_exporter_scrape_body_bytes_total",
                "Bytes of nodes' pages, decoded.",
            ),
            wire_bytes: counter(
                "vpccni_exporter_scrape_wire_bytes_total",
                "Bytes of nodes' pages as they were sent.",
            ),
            samples: counter("vpccni_exporter_scrape_samples_total", "Samples on nodes' pages."),
            under_way: gauge(
                registry,
                "vpccni_exporter_scrapes_in_flight",
                "Scrapes of nodes that are under way.",
            ),
            targets: gauge(registry, "vpccni_exporter_targets", "Nodes that are scraped."),
            hanging: gauge(
                registry,
                "vpccni_exporter_targets_hanging",
                "Nodes whose last scrape timed out; they share a quarter of --scrape.concurrency.",
            ),
            rounds: counter(
                "vpccni_exporter_rounds_total",
                "Rounds in which every due node got an outcome.",
            ),
            round_seconds: registered(
                registry,
                prometheus::Gauge::new(
                    "vpccni_exporter_round_duration_seconds",
                    "Time from the beginning of the last round to its last outcome.",
                ),
            ),
            round_answered_seconds: registered(
                registry,
                prometheus::Gauge::new(
                    "vpccni_exporter_round_answered_duration_seconds",
                    "Time from the beginning of the last round to its last outcome other than timeout and overrun: hanging nodes must not move it.",
                ),
            ),
            // A broken security group fails every node at once: ten examples tell as much.
            failures: Limiter::new(10, Duration::from_secs(10)),
            recoveries: Limiter::new(10, Duration::from_secs(10)),
        }
    }

    fn count(&self, outcome: Outcome) {
        let at = Outcome::ALL.iter().position(|o| *o == outcome);
        if let Some(counter) = at.and_then(|at| self.scrapes.get(at)) {
            counter.inc();
        }
    }
}

impl Observe {
    /// A scrape got a place, so many seconds behind its slot. Hanging nodes wait for their few places
    /// by design, and are not counted: what is measured is that the others do not.
    pub(crate) fn scrape_started(&self, delay: f64, hangs: bool) {
        if !hangs {
            self.scrape.delay.observe(delay);
        }
    }

    /// How many scrapes are under way, how many targets there are, and how many of these timed out
    /// at their last scrape.
    pub(crate) fn scrapes_under_way(&self, under_way: usize, targets: usize, hanging: usize) {
        let count = |things: usize| i64::try_from(things).unwrap_or(i64::MAX);
        self.scrape.under_way.set(count(under_way));
        self.scrape.targets.set(count(targets));
        self.scrape.hanging.set(count(hanging));
    }

    /// A page was read and stored.
    pub(crate) fn page_read(&self, body: usize, wire: usize, samples: usize) {
        self.scrape.body_bytes.inc_by(body as u64);
        self.scrape.wire_bytes.inc_by(wire as u64);
        self.scrape.samples.inc_by(samples as u64);
    }

    /// A scrape ended; `before` is how the target's last one did.
    pub(crate) fn scrape_ended(
        &self,
        target: &Target,
        before: Option<Outcome>,
        outcome: Outcome,
        reason: &str,
        seconds: f64,
    ) {
        let metrics = &self.scrape;
        metrics.count(outcome);
        metrics.seconds.observe(seconds);
        let node = &*target.node;
        if outcome == Outcome::Ok {
            match before {
                // The usual case says nothing.
                Some(Outcome::Ok) => {}
                None => debug!(node, address = target.address(), "{node} answers"),
                Some(before) => {
                    if let Some(unsaid) = metrics.recoveries.allow() {
                        info!(node, unsaid, "{node} answers again, after {before}");
                    }
                }
            }
            return;
        }
        let address = target.address();
        let word = outcome.as_str();
        if before == Some(outcome) {
            debug!(node, address, outcome = word, "{node} still fails: {reason}");
        } else if let Some(unsaid) = metrics.failures.allow() {
            warn!(
                node,
                address,
                outcome = word,
                unsaid,
                "{node} at {address} could not be scraped: {outcome}: {reason}"
            );
        }
    }

    /// A slot came while the scrape before was not over.
    pub(crate) fn scrape_overrun(&self, target: &Target) {
        self.scrape.count(Outcome::Overrun);
        if let Some(unsaid) = self.scrape.failures.allow() {
            let node = &*target.node;
            warn!(
                node,
                unsaid,
                "{node}: its slot came while the scrape before was not over; see --scrape.concurrency and --scrape.timeout"
            );
        }
    }

    /// Every target that was due in a round has an outcome: after so many seconds, and after so many
    /// those that did not time out.
    pub(crate) fn round_closed(
        &self,
        number: u64,
        seconds: f64,
        answered: f64,
        ok: usize,
        failed: usize,
    ) {
        self.scrape.rounds.inc();
        self.scrape.round_seconds.set(seconds);
        self.scrape.round_answered_seconds.set(answered);
        if number == 0 {
            info!(
                seconds,
                ok, failed, "first round: {ok} nodes answered, {failed} did not, in {seconds:.2} s"
            );
        } else {
            debug!(
                number,
                seconds, ok, failed, "round {number}: {ok} good scrapes, {failed} failed"
            );
        }
    }

    /// Most of the first round timed out: packets vanish, and that has one usual cause.
    pub(crate) fn most_timed_out(&self, timed_out: usize, all: usize) {
        warn!(
            timed_out,
            all,
            "{timed_out} of {all} nodes did not answer in time: does the nodes' security group allow TCP 61678 from node to node?"
        );
    }
}
