//! What one leader of the mirror leaves to the next, as a note in the Lease. Comes in: how far each outlet
//! has come. Goes out: text and back. Never: a guess: a note that cannot be read says nothing.
//!
//! Before intervals are sent, the note says so; when they are settled, it says that. Whoever takes over
//! sends neither: what was begun and not settled may have arrived.

use crate::mirror::Sink;
use std::collections::BTreeMap;

/// How far an outlet has come, by the start of intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// All up to this one are settled.
    pub(super) settled: i64,
    /// Up to this one sending was begun; no less than `settled`.
    pub(super) begun: i64,
}

impl Progress {
    /// Of whoever has sent nothing: every interval begins later.
    pub(super) const NOTHING: Progress = Progress { settled: 0, begun: 0 };
}

/// The progress of all outlets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Note(BTreeMap<Sink, Progress>);

impl Note {
    pub(super) fn set(&mut self, sink: Sink, progress: Progress) {
        self.0.insert(sink, progress);
    }

    pub(super) fn get(&self, sink: Sink) -> Option<Progress> {
        self.0.get(&sink).copied()
    }

    /// `put:60/120 logs:60/60`: settled and begun.
    pub(super) fn write(&self) -> String {
        let mut out = String::new();
        for (sink, Progress { settled, begun }) in &self.0 {
            let blank = if out.is_empty() { "" } else { " " };
            out.push_str(&format!("{blank}{}:{settled}/{begun}", sink.as_str()));
        }
        out
    }

    pub(super) fn read(text: &str) -> Note {
        let one = |word: &str| {
            let (name, rest) = word.split_once(':')?;
            let (settled, begun) = rest.split_once('/')?;
            let sink = Sink::ALL.into_iter().find(|sink| sink.as_str() == name)?;
            let (settled, begun): (i64, i64) = (settled.parse().ok()?, begun.parse().ok()?);
            (begun >= settled).then_some((sink, Progress { settled, begun }))
        };
        Note(text.split(' ').filter_map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_a_note_is_read_as_it_was_written(progress in prop::collection::vec((0usize..4, any::<i32>(), 0i64..9999), 0..5)) {
            let mut note = Note::default();
            for (sink, settled, more) in progress {
                let settled = i64::from(settled);
                note.set(Sink::ALL[sink], Progress { settled, begun: settled + more });
            }
            prop_assert_eq!(Note::read(&note.write()), note);
        }

        #[test]
        fn prop_any_text_is_read_without_a_panic(text in ".{0,60}") {
            prop_assert!(Note::read(&text).write().len() <= text.len() + 40);
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        let note = Note::read("put:60/120 logs:x/1 nowhere:1/2 agent:5/4");
        assert_eq!(note.get(Sink::Put), Some(Progress { settled: 60, begun: 120 }));
        assert_eq!(note.write(), "put:60/120");
    }
}
