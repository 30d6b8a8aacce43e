//! Events of the CloudWatch mirror: what became of points, how outlets stand, what it costs. Comes in: what
//! the stage tells. Goes out: one log line a change and counts; the standing that the server shows. Never: a
//! line for each interval that was sent.

use super::limit::Limiter;
use super::{Observe, counters, gauge, registered};
use crate::mirror::{Drop, Sink, Standing, State, Tally, Trouble};
use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// The metrics of the mirror.
#[derive(Debug)]
pub(crate) struct Metrics {
    state: IntGaugeVec,
    sent: IntCounterVec,
    unconfirmed: IntCounterVec,
    dropped: IntCounterVec,
    failures: IntCounterVec,
    waiting: IntGaugeVec,
    waiting_bytes: IntGaugeVec,
    lag: GaugeVec,
    last_success: GaugeVec,
    billed: IntGauge,
    cost: Gauge,
    trouble: [Limiter; Sink::ALL.len()],
    name: Limiter,
    cap: Limiter,
    clock: Limiter,
    drops: Limiter,
    board: Mutex<Board>,
}

/// What the mirror tells of itself, for people.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Board {
    /// The cluster's name, once it is known, and where it is from.
    pub cluster: Option<(String, String)>,
    /// Metrics that are billed.
    pub billed: usize,
    /// Dollars a month, in words.
    pub cost: Option<(f64, String)>,
    /// The outlets that were asked for.
    pub outlets: BTreeMap<Sink, Standing>,
}

fn by_reason(registry: &Registry, name: &str, help: &str) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), &["outlet", "reason"]))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn floats(registry: &Registry, name: &str, help: &str) -> GaugeVec {
    registered(registry, GaugeVec::new(Opts::new(name, help), &["outlet"]))
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let metrics = Metrics {
            state: gauges(
                registry,
                "vpccni_exporter_mirror_state",
                "1 for the state that an outlet of the CloudWatch mirror is in: off, waiting (nothing to send yet), leading (it sends), following (another process holds the Lease), refused (it would send but cannot).",
                &["outlet", "state"],
            ),
            sent: counters(
                registry,
                "vpccni_exporter_mirror_points_total",
                "Points that an outlet took; standard output and agents acknowledge nothing.",
                "outlet",
            ),
            unconfirmed: counters(
                registry,
                "vpccni_exporter_mirror_points_unconfirmed_total",
                "Points that were sent and never answered for: they may have arrived, and are not sent again.",
                "outlet",
            ),
            dropped: by_reason(
                registry,
                "vpccni_exporter_mirror_points_dropped_total",
                "Points that were not sent, by reason.",
            ),
            failures: by_reason(
                registry,
                "vpccni_exporter_mirror_failures_total",
                "Tries to send that failed, by reason; each is made again.",
            ),
            waiting: gauges(
                registry,
                "vpccni_exporter_mirror_queue_intervals",
                "Intervals that wait to be sent.",
                &["outlet"],
            ),
            waiting_bytes: gauges(
                registry,
                "vpccni_exporter_mirror_queue_bytes",
                "Bytes of the intervals that wait to be sent; the cap is --mirror.queue.",
                &["outlet"],
            ),
            lag: floats(
                registry,
                "vpccni_exporter_mirror_lag_seconds",
                "Seconds since the oldest interval that waits began; 0 while none does. As of the last interval or sending.",
            ),
            last_success: floats(
                registry,
                "vpccni_exporter_mirror_last_success_timestamp_seconds",
                "When an outlet last took points, in seconds since 1970; 0 before the first.",
            ),
            billed: gauge(
                registry,
                "vpccni_exporter_mirror_billed_metrics",
                "CloudWatch metrics that the mirror had to send in the last hour; the cap is --mirror.max-billed-metrics.",
            ),
            cost: registered(
                registry,
                Gauge::new(
                    "vpccni_exporter_mirror_estimated_monthly_cost_dollars",
                    "What the mirror costs in a month by the list prices of us-east-1, without free tier: metrics, requests, log ingestion.",
                ),
            ),
            trouble: Sink::ALL.map(|_| Limiter::new(1, Duration::from_secs(60))),
            name: Limiter::new(1, Duration::from_secs(60)),
            cap: Limiter::new(1, Duration::from_secs(600)),
            clock: Limiter::new(1, Duration::from_secs(600)),
            drops: Limiter::new(1, Duration::from_secs(60)),
            board: Mutex::default(),
        };
        for sink in Sink::ALL.map(Sink::as_str) {
            for counted in [&metrics.sent, &metrics.unconfirmed] {
                counted.with_label_values(&[sink]);
            }
            for gauges in [&metrics.waiting, &metrics.waiting_bytes] {
                gauges.with_label_values(&[sink]);
            }
            for floats in [&metrics.lag, &metrics.last_success] {
                floats.with_label_values(&[sink]);
            }
            for reason in Drop::ALL {
                metrics.dropped.with_label_values(&[sink, reason.as_str()]);
            }
            for reason in Trouble::ALL {
                metrics.failures.with_label_values(&[sink, reason.as_str()]);
            }
            for state in State::ALL {
                let is = i64::from(state == State::Off);
                metrics.state.with_label_values(&[sink, state.as_str()]).set(is);
            }
        }
        metrics
    }
}

impl Observe {
    /// What the mirror tells of itself; without outlets it is off.
    pub fn mirror(&self) -> Board {
        self.ship.board.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn board<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        change(&mut self.ship.board.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Points that became something, for good.
    pub(crate) fn mirror_points(&self, sink: Sink, tally: &Tally) {
        let name = sink.as_str();
        self.ship.sent.with_label_values(&[name]).inc_by(tally.sent);
        self.ship.unconfirmed.with_label_values(&[name]).inc_by(tally.unconfirmed);
        let mut said = Vec::new();
        for (reason, points) in Drop::ALL.into_iter().zip(tally.dropped) {
            self.ship.dropped.with_label_values(&[name, reason.as_str()]).inc_by(points);
            if points > 0 {
                said.push(format!("{points} as {}", reason.as_str()));
            }
        }
        self.board(|board| board.outlets.entry(sink).or_default().tally.add(tally));
        if !said.is_empty()
            && let Some(unsaid) = self.ship.drops.allow()
        {
            warn!(outlet = name, unsaid, "points were not sent to CloudWatch: {}", said.join(", "));
        }
    }

    /// How an outlet stands now.
    pub(crate) fn mirror_stands(&self, sink: Sink, now: f64, standing: Standing) {
        let name = sink.as_str();
        for state in State::ALL {
            let is = i64::from(state == standing.state);
            self.ship.state.with_label_values(&[name, state.as_str()]).set(is);
        }
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.ship.waiting.with_label_values(&[name]).set(whole(standing.waiting));
        self.ship.waiting_bytes.with_label_values(&[name]).set(whole(standing.waiting_bytes));
        let lag = standing.oldest.map_or(0.0, |oldest| (now - oldest as f64).max(0.0));
        self.ship.lag.with_label_values(&[name]).set(lag);
        if let Some(at) = standing.last_success {
            self.ship.last_success.with_label_values(&[name]).set(at);
        }
        let (before, after) = (
            self.board(|board| {
                let entry = board.outlets.entry(sink).or_default();
                let before = entry.state;
                let tally = entry.tally;
                *entry = Standing { tally, ..standing.clone() };
                before
            }),
            standing.state,
        );
        if before == after {
            return;
        }
        match after {
            State::Leading if before == State::Refused => {
                info!(outlet = name, "the mirror sends again");
            }
            State::Leading => info!(outlet = name, "the mirror sends to CloudWatch"),
            State::Following => {
                info!(outlet = name, "another process sends to CloudWatch; this one stands by")
            }
            State::Off | State::Waiting | State::Refused => {}
        }
    }

    /// A try to send failed; it is made again.
    pub(crate) fn mirror_failed(&self, sink: Sink, trouble: Trouble, words: &str) {
        self.ship.failures.with_label_values(&[sink.as_str(), trouble.as_str()]).inc();
        if let Some(unsaid) = self.ship.trouble[sink as usize].allow() {
            let (outlet, reason) = (sink.as_str(), trouble.as_str());
            warn!(outlet, reason, unsaid, "nothing can be sent to CloudWatch now: {words}");
        }
    }

    /// Points arrive, but something besides does not work.
    pub(crate) fn mirror_warns(&self, sink: Sink, words: &str) {
        warn!(outlet = sink.as_str(), "{words}");
    }

    /// What is billed, and about what it costs. `first` says it in the log.
    pub(crate) fn mirror_costs(&self, billed: usize, dollars: f64, words: &str, first: bool) {
        self.ship.billed.set(i64::try_from(billed).unwrap_or(i64::MAX));
        self.ship.cost.set(dollars);
        self.board(|board| {
            board.billed = billed;
            board.cost = Some((dollars, words.to_owned()));
        });
        if first {
            info!(
                mirror.billed_metrics = billed,
                "the CloudWatch mirror has {billed} metrics to send: {words}"
            );
        }
    }

    /// Another process sends.
    pub(crate) fn mirror_costs_nothing(&self) {
        self.ship.billed.set(0);
        self.ship.cost.set(0.0);
        self.board(|board| {
            board.billed = 0;
            board.cost = None;
        });
    }

    /// No interval ended, though one should: the wall clock is behind the last one by so many seconds.
    pub(crate) fn mirror_awaits_clock(&self, ahead: f64) {
        /// A timer may be early by some.
        const NOTABLE: f64 = 5.0;
        if ahead > NOTABLE
            && let Some(unsaid) = self.ship.clock.allow()
        {
            warn!(
                unsaid,
                "the wall clock went back: the CloudWatch mirror has sent later times already and waits {ahead:.0} s; what happens until then is sent with the next interval"
            );
        }
    }

    /// More metrics than `--mirror.max-billed-metrics`: the rest is not sent.
    pub(crate) fn mirror_capped(&self, most: usize, over: u64) {
        if let Some(unsaid) = self.ship.cap.allow() {
            warn!(
                unsaid,
                "{over} more metrics would be billed than --mirror.max-billed-metrics ({most}) allows: they are not sent; raise it, or ask for less (--mirror.dimensions, --mirror.node-metrics)"
            );
        }
    }

    /// The mirror ended though nobody asked it to; it begins anew after this.
    pub(crate) fn mirror_broke(&self, after: Duration) {
        tracing::error!(
            "the CloudWatch mirror broke, which is a bug: what waited is lost, and it begins anew in {} s; everything else goes on",
            after.as_secs()
        );
    }

    /// The cluster's name is known.
    pub(crate) fn mirror_named(&self, name: &str, from: &str) {
        self.board(|board| board.cluster = Some((name.to_owned(), from.to_owned())));
        info!(
            mirror.cluster = name,
            "the CloudWatch mirror calls this cluster {name} (from {from})"
        );
    }

    /// The cluster's name is not known; it is asked for again.
    pub(crate) fn mirror_unnamed(&self, words: &str) {
        if let Some(unsaid) = self.ship.name.allow() {
            warn!(
                unsaid,
                "the CloudWatch mirror does not know this cluster's name and sends nothing: {words}"
            );
        }
    }
}
