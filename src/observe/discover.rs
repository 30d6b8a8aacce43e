//! Events of the stage `discover`: what happened comes in, one log line and one count go out.

use prometheus::Registry;

/// The metrics of this stage.
#[derive(Debug)]
pub(crate) struct Metrics {}

impl Metrics {
    pub(crate) fn new(_registry: &Registry) -> Metrics {
        Metrics {}
    }
}
