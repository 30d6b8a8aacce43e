//! Events of the whole: start, standing, stop. Comes in: what happened. Goes out: a log line.
//! Never: a line per node.

use super::Observe;
use tracing::{info, warn};

/// How the cluster stands, for the log alone. Addresses are those of IPv4 nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Standing {
    pub(crate) up: usize,
    pub(crate) stale: usize,
    pub(crate) failed: usize,
    pub(crate) missing: usize,
    pub(crate) assigned: f64,
    pub(crate) attached: f64,
    pub(crate) max: f64,
    pub(crate) enis: f64,
    pub(crate) enis_max: f64,
    pub(crate) refused: f64,
    pub(crate) ec2_errors: f64,
    pub(crate) ipamd_errors: f64,
}

impl Observe {
    /// Something in the configuration does not do what one may think.
    pub(crate) fn configuration_warning(&self, warning: &str) {
        warn!("{warning}");
    }

    /// Once a round, once a minute at most: does it work, and how do we stand.
    pub(crate) fn standing(&self, s: &Standing) {
        info!(
            nodes.up = s.up,
            nodes.stale = s.stale,
            nodes.failed = s.failed,
            nodes.missing = s.missing,
            ip_addresses.assigned = whole(s.assigned),
            ip_addresses.attached = whole(s.attached),
            ip_addresses.max = whole(s.max),
            enis.attached = whole(s.enis),
            enis.max = whole(s.enis_max),
            ip_requests.refused = whole(s.refused),
            ec2_api.errors = whole(s.ec2_errors),
            ipamd.errors = whole(s.ipamd_errors),
            "{} nodes up, {} stale, {} failed, {} missing; {} of {} IPv4 pod addresses in use",
            s.up,
            s.stale,
            s.failed,
            s.missing,
            s.assigned,
            s.max
        );
    }

    /// The process was asked to stop.
    pub(crate) fn stopping(&self) {
        info!("stopping");
    }
}

/// A signal came that many send to make a service read its files again.
pub(crate) fn hangup() {
    info!("SIGHUP changes nothing: files are read again whenever they change");
}

/// What is counted is whole; a log field written as a float would read 7.0.
fn whole(value: f64) -> i64 {
    value as i64
}
