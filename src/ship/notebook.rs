//! The note in the Lease, as couriers write and read it. Comes in: how far they have come. Goes out: what
//! another process noted before. Never: a wait without an end; something begun that whoever comes next could
//! not know of.

use super::handover::{Note, Progress};
use crate::mirror::{self, Holder, Noted, Sink};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a note may take to be written; later it is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both ends of what `lead` passes on.
#[derive(Debug)]
pub(super) struct Notebook {
    /// Of this term of leading.
    ours: Mutex<(u64, Note)>,
    write: watch::Sender<mirror::Note>,
    /// `None` without an election: there is nobody to leave a note for.
    noted: Option<watch::Receiver<Noted>>,
}

impl Notebook {
    pub(super) fn new(
        write: watch::Sender<mirror::Note>,
        noted: Option<watch::Receiver<Noted>>,
    ) -> Notebook {
        Notebook { ours: Mutex::default(), write, noted }
    }

    /// Goes on in a term in which another notebook of this process was kept.
    pub(super) fn resume(&self, term: u64) {
        let Some(noted) = &self.noted else { return };
        let written = Note::read(&noted.borrow().written);
        *self.ours.lock().unwrap_or_else(PoisonError::into_inner) = (term, written);
    }

    /// How far this process has come.
    pub(super) fn ours(&self, sink: Sink) -> Option<Progress> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).1.get(sink)
    }

    /// A term's note begins with the predecessor's: it holds for outlets that have not taken over yet.
    fn set(&self, noted: &watch::Receiver<Noted>, term: u64, sink: Sink, progress: Progress) {
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        if term < ours.0 {
            // A delivery that ended late: another process may have led since, and its note was read then.
            return;
        }
        if ours.0 != term {
            *ours = (term, Note::read(&noted.borrow().read));
        }
        ours.1.set(sink, progress);
        self.write.send_replace(mirror::Note { term, text: ours.1.write() });
    }

    /// Notes what is about to be sent, and waits until that stands in the Lease; whether it does.
    pub(super) async fn begun(&self, term: u64, sink: Sink, progress: Progress) -> bool {
        let Some(noted) = &self.noted else { return true };
        self.set(noted, term, sink, progress);
        let mut noted = noted.clone();
        let written = noted
            .wait_for(|now| now.is_sure && Note::read(&now.written).get(sink) == Some(progress));
        timeout(PATIENCE, written).await.is_ok_and(|written| written.is_ok())
    }

    /// Notes what is done with, and how far it is begun; that need not be waited for.
    pub(super) fn settled(&self, term: u64, sink: Sink, progress: Progress) {
        if let Some(noted) = &self.noted {
            self.set(noted, term, sink, progress);
        }
    }

    /// Who holds the Lease, as far as is known.
    pub(super) fn holder(&self) -> Holder {
        self.noted.as_ref().map_or(Holder::Us, |noted| noted.borrow().holder)
    }

    /// How far the process has come that leads, or led before us.
    pub(super) fn theirs(&self, sink: Sink) -> Option<Progress> {
        let noted = self.noted.as_ref()?;
        Note::read(&noted.borrow().read).get(sink)
    }

    /// The same, when a term of ours begins: our own note goes on from it. Where nobody noted anything,
    /// nothing was sent.
    pub(super) fn take_over(&self, term: u64, sink: Sink) -> Option<Progress> {
        let theirs = self.theirs(sink);
        let begun = theirs.unwrap_or(Progress::NOTHING).begun;
        self.settled(term, sink, Progress { settled: begun, begun });
        theirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_term_s_note_goes_on_from_the_predecessor_s_outlet_by_outlet() {
        let (write, note) = watch::channel(mirror::Note::default());
        let (lease, noted) = watch::channel(Noted::default());
        let notebook = Notebook::new(write, Some(noted));
        let text = || note.borrow().text.clone();
        assert_eq!(notebook.take_over(1, Sink::Put), None);
        assert_eq!(text(), "put:0/0", "whoever follows keeps what comes after");
        notebook.settled(1, Sink::Put, Progress { settled: 60, begun: 60 });
        // Another process led meanwhile.
        lease.send_modify(|noted| noted.read = "put:120/180 agent:60/120".to_owned());
        let theirs = notebook.take_over(2, Sink::Agent);
        assert_eq!(theirs, Some(Progress { settled: 60, begun: 120 }));
        assert_eq!(text(), "put:120/180 agent:120/120", "put has not taken over yet");
        assert_eq!(note.borrow().term, 2);
        let theirs = notebook.take_over(2, Sink::Put);
        assert_eq!(theirs, Some(Progress { settled: 120, begun: 180 }));
        assert_eq!(text(), "put:180/180 agent:120/120");
        // A delivery of the term before ends.
        notebook.settled(1, Sink::Logs, Progress { settled: 60, begun: 60 });
        assert_eq!((note.borrow().term, text()), (2, "put:180/180 agent:120/120".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_begun_waits_for_the_lease_but_not_for_ever() {
        let (write, note) = watch::channel(mirror::Note::default());
        let (lease, noted) = watch::channel(Noted::default());
        let notebook = Notebook::new(write, Some(noted));
        let begun = Progress { settled: 0, begun: 60 };
        let began = tokio::time::Instant::now();
        assert!(!notebook.begun(1, Sink::Put, begun).await);
        assert_eq!(began.elapsed(), PATIENCE, "nobody writes");
        let waiting = notebook.begun(1, Sink::Put, Progress { settled: 0, begun: 120 });
        let writing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lease.send_modify(|noted| {
                (noted.written, noted.is_sure) = (note.borrow().text.clone(), true);
            });
        };
        assert!(tokio::join!(waiting, writing).0);
        assert_eq!(began.elapsed(), PATIENCE + Duration::from_secs(1));
        // The same again, while it is not known what stands there.
        lease.send_modify(|noted| noted.is_sure = false);
        assert!(!notebook.begun(1, Sink::Put, Progress { settled: 0, begun: 120 }).await);
    }
}
