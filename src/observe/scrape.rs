//! Events of the stage scrape: what happened to a scrape or a round comes in, one log line at most
//! and one count go out. A failing node is told of when it begins to fail, rate-limited; after that
//! the status page and its series say so.

use super::limit::Limiter;
use super::{Observe, counters, gauge, registered};
use crate::model::{Outcome, Target};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Registry};
use std::time::Duration;
use tracing::{debug, info, warn};

/// Scrapes on a healthy network take milliseconds, the default deadline is 10 s.
const SCRAPE_BOUNDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// The scraper's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    scrapes: IntCounterVec,
    seconds: Histogram,
    delay: Histogram,
    body_bytes: IntCounter,
    wire_bytes: IntCounter,
    samples: IntCounter,
    under_way: IntGauge,
    targets: IntGauge,
    rounds: IntCounter,
    round_seconds: prometheus::Gauge,
    failures: Limiter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let scrapes = counters(
            registry,
            "vpccni_exporter_scrapes_total",
            "Scrapes of nodes by outcome.",
            "outcome",
        );
        for outcome in Outcome::ALL {
            scrapes.with_label_values(&[outcome.as_str()]);
        }
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
                "How long scrapes waited behind their slot for a place (--scrape.concurrency).",
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
            // A broken security group fails every node at once: ten examples tell as much.
            failures: Limiter::new(10, Duration::from_secs(10)),
        }
    }
}

impl Observe {
    /// A scrape got a place, so many seconds behind its slot.
    pub(crate) fn scrape_started(&self, delay: f64) {
        self.scrape.delay.observe(delay);
    }

    /// How many scrapes are under way, and how many targets there are.
    pub(crate) fn scrapes_under_way(&self, under_way: usize, targets: usize) {
        self.scrape.under_way.set(i64::try_from(under_way).unwrap_or(i64::MAX));
        self.scrape.targets.set(i64::try_from(targets).unwrap_or(i64::MAX));
    }

    /// A page was read and stored.
    pub(crate) fn page_read(&self, body: usize, wire: usize, samples: usize) {
        self.scrape.body_bytes.inc_by(body as u64);
        self.scrape.wire_bytes.inc_by(wire as u64);
        self.scrape.samples.inc_by(samples as u64);
    }

    /// A scrape ended; `news` says that the one before ended otherwise.
    pub(crate) fn scrape_ended(
        &self,
        target: &Target,
        outcome: Outcome,
        reason: &str,
        seconds: f64,
        news: bool,
    ) {
        let metrics = &self.scrape;
        metrics.scrapes.with_label_values(&[outcome.as_str()]).inc();
        metrics.seconds.observe(seconds);
        let address = target.address();
        let node = &*target.node;
        if !news {
            if outcome != Outcome::Ok {
                debug!(node, address, outcome = outcome.as_str(), "{node} still fails: {reason}");
            }
        } else if outcome == Outcome::Ok {
            debug!(node, address, "{node} answers");
        } else if let Some(unsaid) = metrics.failures.allow() {
            warn!(
                node,
                address,
                outcome = outcome.as_str(),
                unsaid,
                "{node} at {address} could not be scraped: {outcome}: {reason}"
            );
        }
    }

    /// A slot came while the scrape before was not over.
    pub(crate) fn scrape_overrun(&self, target: &Target) {
        self.scrape.scrapes.with_label_values(&[Outcome::Overrun.as_str()]).inc();
        if let Some(unsaid) = self.scrape.failures.allow() {
            let node = &*target.node;
            warn!(
                node,
                unsaid,
                "{node}: its slot came while the scrape before was not over; see --scrape.concurrency and --scrape.timeout"
            );
        }
    }

    /// Every target that was due in a round has an outcome.
    pub(crate) fn round_closed(&self, number: u64, seconds: f64, ok: usize, failed: usize) {
        self.scrape.rounds.inc();
        self.scrape.round_seconds.set(seconds);
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
