//! Events of the stage discover: what was read or lost comes in, one log line and one count go out.

use super::limit::Limiter;
use super::{Observe, counters, gauge};
use crate::model::{Source, Targets};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::time::Duration;
use tracing::{debug, info, warn};

/// The metrics of discovery.
#[derive(Debug)]
pub(crate) struct Metrics {
    targets: IntGaugeVec,
    dropped: IntGauge,
    files: IntCounterVec,
    broken: Limiter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let targets = super::registered(
            registry,
            IntGaugeVec::new(
                Opts::new(
                    "vpccni_exporter_discovery_targets",
                    "Targets that discovery published, by source.",
                ),
                &["source"],
            ),
        );
        for source in Source::ALL {
            targets.with_label_values(&[source.as_str()]);
        }
        let files = counters(
            registry,
            "vpccni_exporter_discovery_file_reads_total",
            "Files of --discover.file whose content was new, by result: ok, or error (its last good targets stay).",
            "result",
        );
        for result in ["ok", "error"] {
            files.with_label_values(&[result]);
        }
        Metrics {
            targets,
            dropped: gauge(
                registry,
                "vpccni_exporter_discovery_targets_dropped",
                "Targets that lost their node's name to another target.",
            ),
            files,
            // A broken file is read again every interval: the same line once a minute is enough.
            broken: Limiter::new(5, Duration::from_secs(60)),
        }
    }
}

impl Observe {
    /// The list of targets is not what it was.
    pub(crate) fn targets_changed(&self, targets: &Targets) {
        for source in Source::ALL {
            let count = targets.list.iter().filter(|t| t.source == source).count();
            let gauge = self.discover.targets.with_label_values(&[source.as_str()]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.discover.dropped.set(i64::try_from(targets.losers).unwrap_or(i64::MAX));
        let count = targets.list.len();
        info!(targets = count, dropped = targets.losers, "{count} nodes to scrape");
    }

    /// A file's new content is in use.
    pub(crate) fn file_read(&self, file: &str, targets: usize) {
        self.discover.files.with_label_values(&["ok"]).inc();
        debug!(file, targets, "{file} has {targets} targets");
    }

    /// A file cannot be used; its last good targets stay.
    pub(crate) fn file_broken(&self, file: &str, reason: &str, kept: usize) {
        self.discover.files.with_label_values(&["error"]).inc();
        if let Some(unsaid) = self.discover.broken.allow() {
            warn!(
                file,
                kept,
                unsaid,
                "a file of --discover.file is not used, its {kept} last good targets stay: {reason}"
            );
        }
    }

    /// A file is not there any more.
    pub(crate) fn file_vanished(&self, file: &str, targets: usize) {
        warn!(file, targets, "{file} is gone, and with it {targets} targets");
    }

    /// Changes will only be seen on the interval.
    pub(crate) fn files_unwatched(&self, place: &str, reason: &str) {
        warn!(
            place,
            "changes in {place} will only be seen every --discover.file-interval: {reason}"
        );
    }
}
