//! The mirror's note in the Lease, as the election passes it on: for the mirror of this process and for the
//! next holder's. Comes in: what is to stand there, Leases as they are read. Goes out: what a write says, what
//! stands there. Never: a request, a look at what a note means.

use super::lease::Read;
use crate::mirror::{Holder, Note, Noted};
use tokio::sync::watch;

/// Both ends of what the mirror is told and tells.
#[derive(Debug)]
pub struct Notes {
    /// What is to stand there.
    pub note: watch::Receiver<Note>,
    /// What does.
    pub noted: watch::Sender<Noted>,
}

impl Notes {
    /// Whether there is a note of this term that does not stand in the Lease yet.
    pub(super) fn is_due(&self, term: u64) -> bool {
        let (note, noted) = (self.note.borrow(), self.noted.borrow());
        let stands = noted.is_sure && noted.written == note.text;
        note.term == term && !stands
    }

    /// What a write says in a term of ours. A predecessor's note stays until there is one of this term, and
    /// where there is no term yet: should this process end before, it holds for the next.
    pub(super) fn text(&self, term: Option<u64>) -> String {
        let note = self.note.borrow();
        if term == Some(note.term) { note.text.clone() } else { self.noted.borrow().read.clone() }
    }

    /// A write is sent: until it is answered nobody knows what stands there.
    pub(super) fn writes(&self) {
        self.noted.send_modify(|noted| noted.is_sure = false);
    }

    /// This note stands in the Lease, which is ours.
    pub(super) fn stands(&self, note: String) {
        self.noted.send_modify(|noted| {
            (noted.written, noted.is_sure, noted.holder) = (note, true, Holder::Us);
        });
    }

    /// The Lease was read while we hold nothing. Where it is gone, we knew last what stood there.
    pub(super) fn read(&self, ours: Option<&Read>) {
        self.noted.send_if_modified(|noted| {
            let written = std::mem::take(&mut noted.written);
            let read = match ours {
                Some(read) => read.note.clone(),
                None if !written.is_empty() => written,
                None => noted.read.clone(),
            };
            let changed = read != noted.read;
            noted.read = read;
            changed
        });
    }

    /// Whose the Lease is.
    pub(super) fn held_by(&self, holder: Holder) {
        self.noted.send_if_modified(|noted| {
            let changed = noted.holder != holder;
            noted.holder = holder;
            changed
        });
    }
}
