//! Events of `--web.config.file`: what happened comes in, one log line and one count go out. Comes in:
//! readings of the file, passwords that were held against it, handshakes that failed. Goes out: families
//! below `vpccni_exporter_web_…`, and a line where a person should look. Never: a user's name, a password
//! or its hash.

use super::limit::Limiter;
use super::{Observe, counters, gauge, registered};
use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};
use std::path::Path;
use std::time::Duration;

/// What became of a password. The closed set behind the label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PasswordCheck {
    /// It is the user's.
    Right,
    /// It is not, or there is no such user.
    Wrong,
    /// It was not held against a hash: too many were waiting.
    Refused,
}

impl PasswordCheck {
    /// Every outcome.
    pub const ALL: [PasswordCheck; 3] =
        [PasswordCheck::Right, PasswordCheck::Wrong, PasswordCheck::Refused];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            PasswordCheck::Right => "right",
            PasswordCheck::Wrong => "wrong",
            PasswordCheck::Refused => "refused",
        }
    }
}

/// Repeated warnings of one cause are this far apart at least: whoever can reach the port can cause them.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The metrics of the file.
#[derive(Debug)]
pub(crate) struct Metrics {
    successful: IntGauge,
    success_time: Gauge,
    checks: IntCounterVec,
    handshake: Limiter,
    refused: Limiter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let success_time = Opts::new(
            "vpccni_exporter_web_config_last_reload_success_timestamp_seconds",
            "Unix time at which --web.config.file was taken over the last time; 0 without one.",
        );
        let metrics = Metrics {
            successful: gauge(
                registry,
                "vpccni_exporter_web_config_last_reload_successful",
                "1 if --web.config.file and its files are served as they are, or there is none; 0 while a change is refused.",
            ),
            success_time: registered(registry, Gauge::with_opts(success_time)),
            checks: counters(
                registry,
                "vpccni_exporter_web_password_checks_total",
                "Passwords that were to be held against a hash, by outcome; refused are those over the queue.",
                "outcome",
            ),
            handshake: Limiter::new(1, WARN_EVERY),
            refused: Limiter::new(1, WARN_EVERY),
        };
        for outcome in PasswordCheck::ALL {
            metrics.checks.with_label_values(&[outcome.as_str()]);
        }
        metrics.successful.set(1);
        metrics
    }
}

impl Observe {
    /// The file is served from now on. `what` says what it turns on.
    pub fn web_config_taken(&self, file: &Path, what: &str, unix: f64) {
        self.web.successful.set(1);
        self.web.success_time.set(unix);
        tracing::info!(web.config.file = %file.display(), "web configuration taken over: {what}");
    }

    /// A change of the file, or of one that it names, is not taken over.
    pub fn web_config_refused(&self, file: &Path, reason: &str) {
        self.web.successful.set(0);
        tracing::warn!(
            web.config.file = %file.display(),
            reason,
            "a change of --web.config.file is refused, and the configuration before it stands"
        );
    }

    /// All files are as they were when they were taken over: the refused change was taken back.
    pub fn web_config_restored(&self, file: &Path) {
        self.web.successful.set(1);
        tracing::info!(
            web.config.file = %file.display(),
            "the refused change of --web.config.file was taken back"
        );
    }

    /// A password was held against a hash, or could not be.
    pub fn password_checked(&self, outcome: PasswordCheck) {
        self.web.checks.with_label_values(&[outcome.as_str()]).inc();
        if outcome == PasswordCheck::Refused
            && let Some(unsaid) = self.web.refused.allow()
        {
            tracing::warn!(unsaid, "password not checked, answered with 503: too many are waiting");
        }
    }

    /// A client could not be agreed with: its certificate, its versions or ciphers, or it speaks no TLS.
    pub fn handshake_failed(&self, error: &std::io::Error) {
        if let Some(unsaid) = self.web.handshake.allow() {
            tracing::warn!(%error, unsaid, "TLS handshake failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(observe: &Observe, name: &str, outcome: Option<&str>) -> f64 {
        let families = observe.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let of_outcome = |m: &&prometheus::proto::Metric| {
            outcome.is_none_or(|outcome| m.get_label()[0].value() == outcome)
        };
        let metric = family.get_metric().iter().find(of_outcome).unwrap();
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    #[test]
    fn a_refused_change_shows_until_a_good_one_or_the_old_one_is_back() {
        let observe = Observe::new();
        let successful =
            || value(&observe, "vpccni_exporter_web_config_last_reload_successful", None);
        let time = "vpccni_exporter_web_config_last_reload_success_timestamp_seconds";
        assert_eq!((successful(), value(&observe, time, None)), (1.0, 0.0));
        let file = Path::new("/web.yml");
        observe.web_config_taken(file, "TLS", 5.0);
        assert_eq!((successful(), value(&observe, time, None)), (1.0, 5.0));
        observe.web_config_refused(file, "x");
        assert_eq!((successful(), value(&observe, time, None)), (0.0, 5.0));
        observe.web_config_restored(file);
        assert_eq!((successful(), value(&observe, time, None)), (1.0, 5.0));
        observe.web_config_refused(file, "x");
        observe.web_config_taken(file, "TLS", 9.0);
        assert_eq!((successful(), value(&observe, time, None)), (1.0, 9.0));
    }

    #[test]
    fn every_outcome_is_there_before_it_happens_and_counts_for_itself() {
        let observe = Observe::new();
        let name = "vpccni_exporter_web_password_checks_total";
        for outcome in PasswordCheck::ALL {
            assert_eq!(value(&observe, name, Some(outcome.as_str())), 0.0);
            observe.password_checked(outcome);
            assert_eq!(value(&observe, name, Some(outcome.as_str())), 1.0);
        }
    }
}
