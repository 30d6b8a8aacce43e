//! Health and readiness. Comes in: what the app tells about discovery, rounds and views. Goes out:
//! 200 or 503 with the reason in words. Never: a question to another stage (a probe answers from
//! atomics, whatever hangs), liveness that depends on anything but this process.

use super::{Shared, text};
use arc_swap::ArcSwapOption;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A view or a round that is older than so many scrape intervals means that its stage has stopped:
/// a round closes within two.
const STALE_INTERVALS: f64 = 3.0;

/// What the app tells, for the probes and the status page.
#[derive(Debug)]
pub struct Readiness {
    interval: f64,
    synced: AtomicBool,
    unread: ArcSwapOption<String>,
    targets: AtomicUsize,
    rounds: AtomicU64,
    last_round: Seconds,
    last_closed: Seconds,
    last_published: Seconds,
    note: ArcSwapOption<String>,
    discovery_note: ArcSwapOption<String>,
    lead_note: ArcSwapOption<String>,
}

/// Whether the exporter is ready, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether `/readyz` says 200.
    pub ready: bool,
    /// One line in words, without a line feed.
    pub reason: String,
}

impl Readiness {
    /// Nothing known. `interval` is `--scrape.interval`.
    pub fn new(interval: Duration) -> Readiness {
        Readiness {
            interval: interval.as_secs_f64(),
            synced: AtomicBool::new(false),
            unread: ArcSwapOption::empty(),
            targets: AtomicUsize::new(0),
            rounds: AtomicU64::new(0),
            last_round: Seconds::unknown(),
            last_closed: Seconds::unknown(),
            last_published: Seconds::unknown(),
            note: ArcSwapOption::empty(),
            discovery_note: ArcSwapOption::empty(),
            lead_note: ArcSwapOption::empty(),
        }
    }

    /// Every source has been read once, and there are so many targets. To be told with every new
    /// list, from the first that is synced.
    pub fn synced(&self, targets: usize) {
        self.targets.store(targets, Ordering::Relaxed);
        self.synced.store(true, Ordering::Release);
    }

    /// These sources have not been read well yet. To be told until the list is synced.
    pub fn unread(&self, sources: &[String]) {
        /// A right that is missing is one of few; of files there may be thousands.
        const NAMED: usize = 5;
        let (named, more) = sources.split_at(sources.len().min(NAMED));
        let mut text = named.join("; ");
        if !more.is_empty() {
            text.push_str(&format!("; and {} more", more.len()));
        }
        self.unread.store((!sources.is_empty()).then(|| Arc::new(text)));
    }

    /// So many rounds have closed since the process began, the last one at this uptime after so many
    /// seconds.
    pub fn rounds_closed(&self, rounds: u64, uptime: f64, last_seconds: f64) {
        self.last_closed.set(uptime);
        self.last_round.set(last_seconds);
        self.rounds.store(rounds, Ordering::Release);
    }

    /// A view was published, at this uptime in seconds.
    pub fn published(&self, uptime: f64) {
        self.last_published.set(uptime);
    }

    /// What an operator should know besides, for example that most targets time out and which rule
    /// to look at; `None` takes it back. It changes no verdict.
    pub fn note(&self, note: Option<String>) {
        self.note.store(note.map(Arc::new));
    }

    /// As [`Readiness::note`], of discovery.
    pub fn discovery_note(&self, note: Option<String>) {
        self.discovery_note.store(note.map(Arc::new));
    }

    /// As [`Readiness::note`], of the election.
    pub fn lead_note(&self, note: Option<String>) {
        self.lead_note.store(note.map(Arc::new));
    }

    /// Whether to be ready at this uptime, in seconds.
    pub fn verdict(&self, uptime: f64) -> Verdict {
        let (ready, mut reason) = self.judge(uptime);
        let notes = [self.lead_note.load(), self.discovery_note.load(), self.note.load()];
        for note in notes.iter().filter_map(|note| note.as_ref()) {
            reason.push_str("; ");
            // One line, whatever the note quotes.
            reason.extend(note.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        Verdict { ready, reason }
    }

    fn judge(&self, uptime: f64) -> (bool, String) {
        let Some(targets) = self.targets() else {
            let mut reason = "discovery has not read all of its sources yet".to_owned();
            if let Some(unread) = &*self.unread.load() {
                reason.push_str(": ");
                reason.push_str(unread);
            }
            return (false, reason);
        };
        if targets == 0 {
            return (true, "0 targets: discovery is complete and found no node".to_owned());
        }
        let Some(published) = self.last_published() else {
            let reason = if self.rounds() == 0 {
                format!("the first round over {targets} targets has not closed yet")
            } else {
                "the first round has closed; its view is being made".to_owned()
            };
            return (false, reason);
        };
        let closed = self.last_closed.get().unwrap_or(published);
        let stages = [("the view was made", published), ("a round closed", closed)];
        for (what, at) in stages {
            let age = uptime - at;
            if age > STALE_INTERVALS * self.interval {
                let reason = format!(
                    "{what} {age:.0} s ago the last time, more than {STALE_INTERVALS} scrape intervals"
                );
                return (false, reason);
            }
        }
        (true, format!("targets: {targets}, rounds closed: {}", self.rounds()))
    }

    /// Targets of the newest list; `None` until discovery has synced.
    pub fn targets(&self) -> Option<usize> {
        self.synced.load(Ordering::Acquire).then(|| self.targets.load(Ordering::Relaxed))
    }

    /// Rounds closed since the process began.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Acquire)
    }

    /// Seconds that the last round took.
    pub fn last_round(&self) -> Option<f64> {
        self.last_round.get()
    }

    /// Uptime in seconds of the last publishing.
    pub fn last_published(&self) -> Option<f64> {
        self.last_published.get()
    }
}

/// Seconds that may be unknown, in one atomic: NaN stands for unknown.
#[derive(Debug)]
struct Seconds(AtomicU64);

impl Seconds {
    fn unknown() -> Seconds {
        Seconds(AtomicU64::new(f64::NAN.to_bits()))
    }

    fn set(&self, seconds: f64) {
        self.0.store(seconds.to_bits(), Ordering::Release);
    }

    fn get(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Ordering::Acquire))).filter(|seconds| !seconds.is_nan())
    }
}

/// `/healthz`, `/livez`, `/-/healthy`: that this is answered is the answer.
pub(crate) async fn healthy() -> Response {
    text(StatusCode::OK, "healthy\n")
}

/// `/readyz`, `/-/ready`.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let Verdict { ready, reason } = shared.verdict();
    if ready {
        text(StatusCode::OK, format!("ready: {reason}\n"))
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness() -> Readiness {
        Readiness::new(Duration::from_secs(30))
    }

    fn told(readiness: &Readiness, uptime: f64) -> (bool, String) {
        let Verdict { ready, reason } = readiness.verdict(uptime);
        (ready, reason)
    }

    #[test]
    fn ready_comes_with_sync_then_round_then_view() {
        let readiness = readiness();
        let not = |reason: &str| (false, reason.to_owned());
        assert_eq!(told(&readiness, 1.0), not("discovery has not read all of its sources yet"));
        readiness.synced(7);
        assert_eq!(told(&readiness, 1.0), not("the first round over 7 targets has not closed yet"));
        readiness.rounds_closed(1, 1.0, 0.5);
        assert_eq!(
            told(&readiness, 1.0),
            not("the first round has closed; its view is being made")
        );
        readiness.published(2.0);
        assert_eq!(told(&readiness, 2.0), (true, "targets: 7, rounds closed: 1".to_owned()));
    }

    #[test]
    fn no_targets_is_ready_and_says_so() {
        let readiness = readiness();
        readiness.synced(0);
        let found_none = "0 targets: discovery is complete and found no node";
        assert_eq!(told(&readiness, 1e6), (true, found_none.to_owned()));
    }

    #[test]
    fn what_is_not_read_yet_is_named() {
        let readiness = readiness();
        readiness.unread(&["--discover.file /a.json".to_owned(), "pods".to_owned()]);
        let (ready, reason) = told(&readiness, 1.0);
        assert!(!ready && reason.ends_with("yet: --discover.file /a.json; pods"), "{reason}");
        let files: Vec<String> = (0..7).map(|n| format!("file{n}")).collect();
        readiness.unread(&files);
        assert!(told(&readiness, 1.0).1.ends_with("file3; file4; and 2 more"));
    }

    #[test]
    fn a_view_or_a_round_older_than_three_intervals_is_not_ready() {
        let readiness = readiness();
        readiness.synced(1);
        readiness.rounds_closed(1, 5.0, 0.5);
        readiness.published(10.0);
        assert!(told(&readiness, 95.0).0);
        let old = |what: &str| {
            (false, format!("{what} 91 s ago the last time, more than 3 scrape intervals"))
        };
        assert_eq!(told(&readiness, 96.0), old("a round closed"));
        readiness.rounds_closed(2, 96.0, 0.5);
        assert!(told(&readiness, 100.0).0);
        assert_eq!(told(&readiness, 101.0), old("the view was made"));
        readiness.published(101.0);
        assert!(told(&readiness, 101.0).0);
    }

    #[test]
    fn a_note_is_told_on_one_line_and_changes_no_verdict() {
        let readiness = readiness();
        readiness.note(Some("most targets time out:\ncheck the rule".to_owned()));
        let (ready, reason) = told(&readiness, 0.0);
        assert!(!ready && reason.ends_with("; most targets time out: check the rule"), "{reason}");
        readiness.synced(0);
        assert!(told(&readiness, 0.0).0);
        readiness.note(None);
        assert!(!told(&readiness, 0.0).1.contains("most targets"));
    }
}
