//! The note in the Lease, as couriers write and read it. Comes in: how far they have come. Goes out: what
//! another process noted before. Never: a wait without an end: where the API server does not answer, whoever
//! may serve on may send on.

use super::handover::{Note, Progress};
use crate::mirror::{Noted, Sink};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a note may take to be written. The promise that lets this process send holds for longer only
/// while it is renewed, so a note that does not come through means no other leader either.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both ends of what `lead` passes on.
#[derive(Debug)]
pub(super) struct Notebook {
    ours: Mutex<Note>,
    write: watch::Sender<String>,
    /// `None` without an election: there is nobody to leave a note for.
    noted: Option<watch::Receiver<Noted>>,
}

impl Notebook {
    pub(super) fn new(
        write: watch::Sender<String>,
        noted: Option<watch::Receiver<Noted>>,
    ) -> Notebook {
        Notebook { ours: Mutex::default(), write, noted }
    }

    fn set(&self, sink: Sink, progress: Progress) {
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        ours.set(sink, progress);
        self.write.send_replace(ours.write());
    }

    /// Notes what is about to be sent, and waits until that stands in the Lease.
    pub(super) async fn begun(&self, sink: Sink, progress: Progress) {
        let Some(noted) = &self.noted else { return };
        self.set(sink, progress);
        let mut noted = noted.clone();
        let written = noted.wait_for(|now| Note::read(&now.written).get(sink) == Some(progress));
        drop(timeout(PATIENCE, written).await);
    }

    /// Notes what is done with; that need not be waited for.
    pub(super) fn settled(&self, sink: Sink, progress: Progress) {
        if self.noted.is_some() {
            self.set(sink, progress);
        }
    }

    /// How far another process has come that leads, or led before.
    pub(super) fn theirs(&self, sink: Sink) -> Option<Progress> {
        let noted = self.noted.as_ref()?;
        Note::read(&noted.borrow().read).get(sink)
    }

    /// The same, when we begin to lead: our own note goes on from it.
    pub(super) fn take_over(&self, sink: Sink) -> Option<Progress> {
        let theirs = self.theirs(sink)?;
        self.set(sink, Progress { settled: theirs.begun, begun: theirs.begun });
        Some(theirs)
    }
}
