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
pub mod kubernetes;
pub mod lead;
pub mod limit;
pub mod scrape;
pub mod serve;
pub mod ship;
pub mod store;
pub mod web;

/// The exporter's own metrics, shared by all stages.
#[derive(Debug)]
pub struct Observe {
    /// Everything under `vpccni_exporter_*` and `process_*`.
    pub registry: Registry,
    pub(crate) discover: discover::Metrics,
    pub(crate) kubernetes: kubernetes::Metrics,
    pub(crate) lead: lead::Metrics,
    pub(crate) scrape: scrape::Metrics,
    pub(crate) serve: serve::Metrics,
    pub(crate) ship: ship::Metrics,
    pub(crate) store: store::Metrics,
    pub(crate) web: web::Metrics,
}

impl Observe {
    /// A registry of its own, so that tests can have several.
    pub fn new() -> Arc<Observe> {
        let registry = Registry::new();
        build_info(&registry);
        process(&registry);
        Arc::new(Observe {
            discover: discover::Metrics::new(&registry),
            kubernetes: kubernetes::Metrics::new(&registry),
            lead: lead::Metrics::new(&registry),
            scrape: scrape::Metrics::new(&registry),
            serve: serve::Metrics::new(&registry),
            ship: ship::Metrics::new(&registry),
            store: store::Metrics::new(&registry),
            web: web::Metrics::new(&registry),
            registry,
        })
    }
}

/// What is running: `revision` is what the build was told of in `VPCCNI_BUILD_REVISION`.
fn build_info(registry: &Registry) {
    let info = registered(
        registry,
        IntGaugeVec::new(
            Opts::new("vpccni_exporter_build_info", "1, with the exporter's version and revision."),
            &["version", "revision"],
        ),
    );
    let revision = option_env!("VPCCNI_BUILD_REVISION").unwrap_or("unknown");
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);
}

/// The families `process_…`: start, CPU, memory, files, threads. Read from /proc, which only Linux has.
fn process(registry: &Registry) {
    #[cfg(target_os = "linux")]
    {
        use prometheus::process_collector::ProcessCollector;
        // It fails only where a name is taken, and the registry is new.
        drop(registry.register(Box::new(ProcessCollector::for_self())));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_and_the_process_are_told() {
        let families = Observe::new().registry.gather();
        let family = |name: &str| families.iter().find(|family| family.name() == name).unwrap();
        let info = &family("vpccni_exporter_build_info").get_metric()[0];
        let labels: Vec<(&str, &str)> =
            info.get_label().iter().map(|label| (label.name(), label.value())).collect();
        let revision = option_env!("VPCCNI_BUILD_REVISION").unwrap_or("unknown");
        assert_eq!(labels, [("revision", revision), ("version", env!("CARGO_PKG_VERSION"))]);
        assert_eq!(info.get_gauge().get_value(), 1.0);
        if cfg!(target_os = "linux") {
            let memory = &family("process_resident_memory_bytes").get_metric()[0];
            assert!(memory.get_gauge().get_value() > 1_000_000.0);
            let start = &family("process_start_time_seconds").get_metric()[0];
            assert!(start.get_gauge().get_value() > 1_700_000_000.0);
        }
    }
}
