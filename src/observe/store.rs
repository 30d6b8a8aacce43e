//! Events of the store: what storing a page was like comes in, counters move. Never: a log line a
//! page; the round's line says how the fleet is doing.

use super::limit::Limiter;
use super::{Observe, counters, gauge};
use prometheus::{IntCounter, IntGauge, Registry};
use std::time::Duration;
use tracing::warn;

/// Why something of a page is not in the figures. The closed set behind the label `rule`.
const RULES: [&str; 2] = ["folded", "non_finite"];

/// What a page said about the process that served it. The closed set behind the label `event`.
const EVENTS: [&str; 3] = ["first_seen", "restart", "series_reset"];

/// The store's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    hits: IntCounter,
    misses: IntCounter,
    folded: IntCounter,
    non_finite: IntCounter,
    first_seen: IntCounter,
    restarts: IntCounter,
    resets: IntCounter,
    lines: IntGauge,
    series: IntGauge,
    cut: Limiter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let shape = counters(
            registry,
            "vpccni_exporter_shape_lines_total",
            "Sample lines of nodes' pages by how they were read: hit (as on the page before) or miss (tokenised).",
            "result",
        );
        let dropped = counters(
            registry,
            "vpccni_exporter_dropped_samples_total",
            "Samples that are no row of their own: folded (added to another row, and with it part of the figures) or non_finite (NaN, infinite or beyond 2^80, or a negative counter: part of no sum).",
            "rule",
        );
        let events = counters(
            registry,
            "vpccni_exporter_baseline_events_total",
            "What pages said about the processes that served them: first_seen (older than what this exporter remembers: a baseline), restart (counted from zero), series_reset (one series fell on its own).",
            "event",
        );
        Metrics {
            hits: shape.with_label_values(&["hit"]),
            misses: shape.with_label_values(&["miss"]),
            folded: dropped.with_label_values(&[RULES[0]]),
            non_finite: dropped.with_label_values(&[RULES[1]]),
            first_seen: events.with_label_values(&[EVENTS[0]]),
            restarts: events.with_label_values(&[EVENTS[1]]),
            resets: events.with_label_values(&[EVENTS[2]]),
            lines: gauge(
                registry,
                "vpccni_exporter_interned_lines",
                "Distinct lines of nodes' pages that are kept.",
            ),
            series: gauge(
                registry,
                "vpccni_exporter_interned_series",
                "Distinct series of nodes' pages that are kept.",
            ),
            // It holds until the process ends: a reminder is enough.
            cut: Limiter::new(1, Duration::from_secs(3_600)),
        }
    }
}

impl Observe {
    /// A page was stored.
    pub(crate) fn page_stored(&self, page: &PageStored) {
        let metrics = &self.store;
        metrics.hits.inc_by(page.lines.saturating_sub(page.misses) as u64);
        metrics.misses.inc_by(page.misses as u64);
        metrics.folded.inc_by(page.folded as u64);
        metrics.non_finite.inc_by(page.unusable as u64);
        metrics.first_seen.inc_by(page.first_seen.into());
        metrics.restarts.inc_by(page.restarted.into());
        metrics.resets.inc_by(page.resets as u64);
    }

    /// A view was taken: how much is interned now.
    pub(crate) fn interned(&self, lines: usize, series: usize, families_cut: bool) {
        if families_cut && let Some(unsaid) = self.store.cut.allow() {
            warn!(
                unsaid,
                "nodes serve more families than can be kept that the catalogue does not know: some are not shown with --node.detail=full"
            );
        }
        self.store.lines.set(i64::try_from(lines).unwrap_or(i64::MAX));
        self.store.series.set(i64::try_from(series).unwrap_or(i64::MAX));
    }
}

/// What storing a page was like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageStored {
    /// Sample lines on the page.
    pub(crate) lines: usize,
    /// Of these, tokenised.
    pub(crate) misses: usize,
    /// Rows that were added to another row.
    pub(crate) folded: usize,
    /// Values that enter no figure.
    pub(crate) unusable: usize,
    /// Whether the page was counted from zero after an earlier one.
    pub(crate) restarted: bool,
    /// Whether the page was the first of an older process.
    pub(crate) first_seen: bool,
    /// Series or groups that fell on their own.
    pub(crate) resets: usize,
}
