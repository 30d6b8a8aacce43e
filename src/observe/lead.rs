//! Events of the election: who leads, what the API server answered comes in, one log line a change and
//! counts go out. Never: a line for each renewal.

use super::limit::Limiter;
use super::{Observe, counters, gauge};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};
use std::time::Duration;
use tracing::{info, warn};

/// How the API server answered a request about the Lease. The closed set behind the label `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As was asked.
    Ok,
    /// Somebody else was quicker: it is read again.
    Conflict,
    /// There is no such namespace.
    NotFound,
    /// The credentials lack a right.
    Forbidden,
    /// The credentials are not accepted.
    Unauthorized,
    /// Another error of the API server.
    Server,
    /// No answer, or none in time.
    Unreachable,
}

impl Answer {
    const ALL: [Answer; 7] = [
        Answer::Ok,
        Answer::Conflict,
        Answer::NotFound,
        Answer::Forbidden,
        Answer::Unauthorized,
        Answer::Server,
        Answer::Unreachable,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Answer::Ok => "ok",
            Answer::Conflict => "conflict",
            Answer::NotFound => "not_found",
            Answer::Forbidden => "forbidden",
            Answer::Unauthorized => "unauthorized",
            Answer::Server => "server",
            Answer::Unreachable => "unreachable",
        }
    }
}

/// The metrics of the election.
#[derive(Debug)]
pub(crate) struct Metrics {
    leader: IntGauge,
    terms: IntCounter,
    requests: IntCounterVec,
    trouble: Limiter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let requests = counters(
            registry,
            "vpccni_exporter_lease_attempts_total",
            "Attempts to read and renew or take the Lease, by result.",
            "result",
        );
        for answer in Answer::ALL {
            requests.with_label_values(&[answer.as_str()]);
        }
        Metrics {
            leader: gauge(
                registry,
                "vpccni_exporter_leader",
                "1 while this process may serve the scopes cluster and node, else 0; 1 without an election.",
            ),
            terms: super::registered(
                registry,
                IntCounter::new(
                    "vpccni_exporter_terms_total",
                    "How often this process began to serve: its cluster counters began at zero each time.",
                ),
            ),
            requests,
            trouble: Limiter::new(1, Duration::from_secs(60)),
        }
    }
}

impl Observe {
    /// An attempt ended. What is to be said of it, if anything.
    pub(crate) fn lease_answered(&self, answer: Answer, lease: &str, words: &str) {
        self.lead.requests.with_label_values(&[answer.as_str()]).inc();
        match answer {
            Answer::Forbidden => self.lease_denied(true),
            // Whatever else is answered was allowed; silence says nothing.
            Answer::Ok | Answer::Conflict | Answer::NotFound => self.lease_denied(false),
            Answer::Unauthorized | Answer::Server | Answer::Unreachable => {}
        }
        if words.is_empty() {
            return;
        }
        if let Some(unsaid) = self.lead.trouble.allow() {
            warn!(lease, result = answer.as_str(), unsaid, "{words}");
        }
    }

    /// We take part from now on; where others find us is known or not.
    pub(crate) fn stands_for(&self, lease: &str, identity: &str, address: Option<&str>) {
        let address = address.unwrap_or("unknown: see POD_IP");
        info!(lease, identity, address, "this process takes part in the election");
    }

    /// Whether data may be served now.
    pub(crate) fn may_serve(&self, yes: bool) {
        self.lead.leader.set(yes.into());
    }

    /// A term began.
    pub(crate) fn leads(&self, lease: &str) {
        self.lead.terms.inc();
        info!(lease, "this process leads: it serves data from now on, its counters begin at zero");
    }

    /// A term ended.
    pub(crate) fn leads_no_more(&self, lease: &str, holder: &str) {
        warn!(lease, holder, "this process does not lead any more: it serves no data");
    }

    /// The promise ended without another leader.
    pub(crate) fn promise_ended(&self, lease: &str, why: &str) {
        warn!(lease, "{why}");
    }

    /// The same term goes on after its promise had ended.
    pub(crate) fn leads_again(&self, lease: &str) {
        info!(lease, "this process serves data again; nobody else did, and its counters go on");
    }

    /// Another process leads.
    pub(crate) fn follows(&self, lease: &str, holder: &str) {
        info!(lease, holder, "{holder} leads; this process stands by");
    }
}
