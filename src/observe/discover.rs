//! Events of the stage discover: what was read or lost comes in, one log line and one count go out.
//! Never: a line that repeats itself every reading.

use super::limit::Limiter;
use super::{Observe, counters, gauge};
use crate::model::{Source, Target, Targets};
use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::time::Duration;
use tracing::{debug, info, warn};

/// The metrics of discovery.
#[derive(Debug)]
pub(crate) struct Metrics {
    targets: IntGaugeVec,
    dropped: IntGauge,
    labels_dropped: IntGauge,
    last_change: Gauge,
    files: IntCounterVec,
    lists: Limiter,
    /// What just happened to a file.
    news: Limiter,
    /// What was told before and still holds.
    still: Limiter,
}

/// What a good reading of a file brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The content that is in use already.
    Same,
    /// New content.
    Changed,
    /// The file was broken, and is no more.
    Mended,
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
            "Readings of files of --discover.file, by result: ok, or error (the file's last good targets stay).",
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
                "Targets that lost their node's name or their address to another target.",
            ),
            labels_dropped: gauge(
                registry,
                "vpccni_exporter_discovery_labels_dropped",
                "Labels of the files in use that are not passed on because they belong to whoever scrapes this exporter: cluster, instance, job, namespace, pod.",
            ),
            last_change: super::registered(
                registry,
                Gauge::new(
                    "vpccni_exporter_discovery_last_change_timestamp_seconds",
                    "When the list of targets last changed, in seconds since 1970.",
                ),
            ),
            files,
            lists: Limiter::new(3, Duration::from_secs(10)),
            // Many files may break or go at once, when a directory is replaced.
            news: Limiter::new(20, Duration::from_secs(3)),
            // Files are read every interval: the same line once a minute is enough.
            still: Limiter::new(1, Duration::from_secs(60)),
        }
    }
}

impl Observe {
    /// The list of targets is not what it was; `unix` is when, in seconds since 1970.
    pub(crate) fn targets_changed(&self, targets: &Targets, lost: &[Target], unix: f64) {
        for source in Source::ALL {
            let count = targets.list.iter().filter(|t| t.source == source).count();
            self.discover.targets.with_label_values(&[source.as_str()]).set(whole(count));
        }
        self.discover.dropped.set(whole(targets.losers));
        self.discover.last_change.set(unix);
        let count = targets.list.len();
        // In a large cluster the list changes all the time; before it is complete it says nothing.
        if targets.synced
            && let Some(unsaid) = self.discover.lists.allow()
        {
            let nodes = if count == 1 { "node" } else { "nodes" };
            if targets.list.iter().all(|target| target.idle.is_some()) {
                let why = targets.note.as_deref().unwrap_or("see the reasons in /api/v1/nodes");
                warn!(
                    targets = count,
                    unsaid, "{count} {nodes} known, none of them can be scraped: {why}"
                );
            } else {
                info!(targets = count, dropped = targets.losers, unsaid, "{count} {nodes} known");
            }
        }
        if let Some(first) = lost.first() {
            warn!(
                dropped = lost.len(),
                "{} targets are left out because their node's name or their address is taken, the first one {} at {}",
                lost.len(),
                first.node,
                first.address()
            );
        }
    }

    /// A file was read, and all of it is in use.
    pub(crate) fn file_read(&self, file: &str, targets: usize, news: News) {
        self.discover.files.with_label_values(&["ok"]).inc();
        match news {
            News::Same => {}
            News::Changed => debug!(file, targets, "{file} has {targets} targets"),
            News::Mended => {
                if let Some(unsaid) = self.discover.news.allow() {
                    info!(file, targets, unsaid, "{file} is used again, with {targets} targets");
                }
            }
        }
    }

    /// A file cannot be used; its last good targets stay. `known` says that it was so before, for
    /// the same reason, which names the file.
    pub(crate) fn file_broken(&self, file: &str, reason: &str, kept: usize, known: bool) {
        self.discover.files.with_label_values(&["error"]).inc();
        let limiter = if known { &self.discover.still } else { &self.discover.news };
        if let Some(unsaid) = limiter.allow() {
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
        if let Some(unsaid) = self.discover.news.allow() {
            warn!(file, targets, unsaid, "{file} is gone, and with it {targets} targets");
        }
    }

    /// A pattern matches no file.
    pub(crate) fn pattern_empty(&self, pattern: &str) {
        if let Some(unsaid) = self.discover.still.allow() {
            warn!(pattern, unsaid, "--discover.file {pattern} matches no file");
        }
    }

    /// A directory could not be listed; the files known below it stay.
    pub(crate) fn place_unlisted(&self, place: &str, reason: &str) {
        if let Some(unsaid) = self.discover.still.allow() {
            warn!(
                place,
                unsaid,
                "{place}, named by --discover.file, cannot be listed, known files stay: {reason}"
            );
        }
    }

    /// How many labels of the files in use belong to our scraper.
    pub(crate) fn labels_dropped(&self, count: usize) {
        let count = whole(count);
        if count > 0 && count != self.discover.labels_dropped.get() {
            warn!(
                count,
                "{count} labels cluster, instance, job, namespace or pod of files of --discover.file are left out: they belong to the scraper"
            );
        }
        self.discover.labels_dropped.set(count);
    }

    /// Changes will only be seen on the interval.
    pub(crate) fn files_unwatched(&self, place: &str, reason: &str) {
        if let Some(unsaid) = self.discover.news.allow() {
            warn!(
                place,
                unsaid,
                "changes in {place} will only be seen every --discover.file-interval: {reason}"
            );
        }
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(node: &str, source: Source) -> Target {
        Target::new(node, node, 61678, "/metrics", source)
    }

    #[test]
    fn a_changed_list_is_counted_by_source_with_its_losers_and_its_time() {
        let observe = Observe::new();
        let list =
            vec![target("a", Source::File), target("b", Source::Static), target("c", Source::File)];
        observe.targets_changed(
            &Targets { list, losers: 4, synced: true, ..Targets::default() },
            &[],
            1_700_000_000.5,
        );
        let of = |source| observe.discover.targets.with_label_values(&[source]).get();
        assert_eq!((of("static"), of("file")), (1, 2));
        assert_eq!(observe.discover.dropped.get(), 4);
        assert_eq!(observe.discover.last_change.get(), 1_700_000_000.5);
    }

    #[test]
    fn what_still_holds_does_not_use_up_the_lines_of_what_is_new() {
        let metrics = Metrics::new(&Registry::new());
        assert_eq!(metrics.still.allow(), Some(0));
        assert_eq!(metrics.still.allow(), None);
        assert_eq!(metrics.news.allow(), Some(0));
    }
}
