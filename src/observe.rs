//! What the exporter says about itself. One function per event: it writes the log line and moves
//! the counters together. Comes in: events of the stages. Goes out: the families
//! `vpccni_exporter_*` and the log on stderr. Never: a scraped value, a free-text label value.
//!
//! Each stage's events stand in a file of their own below `observe/`, as an `impl Observe` block
//! over a metrics struct of their own.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::sync::Arc;

pub mod app;
pub mod discover;
pub mod limit;
pub mod scrape;
pub mod serve;
pub mod store;

/// The exporter's own metrics, shared by all stages.
#[derive(Debug)]
pub struct Observe {
    /// Everything under `vpccni_exporter_*` and `process_*`.
    pub registry: Registry,
    pub(crate) discover: discover::Metrics,
    pub(crate) scrape: scrape::Metrics,
    pub(crate) serve: serve::Metrics,
    pub(crate) store: store::Metrics,
}

impl Observe {
    /// A registry of its own, so that tests can have several.
    pub fn new() -> Arc<Observe> {
        let registry = Registry::new();
        let build = IntGaugeVec::new(
            Opts::new("vpccni_exporter_build_info", "Version of this exporter; always 1."),
            &["version"],
        );
        registered(&registry, build).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // There is nothing else under these names, so it is not refused.
        #[cfg(target_os = "linux")]
        drop(
            registry
                .register(Box::new(prometheus::process_collector::ProcessCollector::for_self())),
        );
        Arc::new(Observe {
            discover: discover::Metrics::new(&registry),
            scrape: scrape::Metrics::new(&registry),
            serve: serve::Metrics::new(&registry),
            store: store::Metrics::new(&registry),
            registry,
        })
    }
}

/// Registers a metric whose name and labels are constants of ours.
///
/// # Panics
/// When a constant is not a valid name, or is registered twice: every test that makes an
/// [`Observe`] would fail.
#[allow(
    clippy::expect_used,
    reason = "names are constants; the first test to make an Observe finds a bad one"
)]
pub(crate) fn registered<C>(registry: &Registry, metric: prometheus::Result<C>) -> C
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let metric = metric.expect("a metric's name and labels are valid constants");
    registry.register(Box::new(metric.clone())).expect("a metric's name is unique");
    metric
}

/// Counters of one closed label.
pub(crate) fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), &[label]))
}

/// A gauge of whole things.
pub(crate) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::new(name, help))
}
