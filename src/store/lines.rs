//! Interned text of pages: each distinct stretch from one value to the next is kept once per
//! process, with what it means. Comes in: stretches of pages. Goes out: ids. Never: a value.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Where the value of a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Into this series of the node's page.
    Series(u32),
    /// It is process_start_time_seconds.
    Start,
    /// Nowhere: a family that we do not keep.
    Ignored,
}

/// One interned stretch: comment lines, sample name, labels, up to the value's first byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    at: u32,
    len: u32,
    /// Where its value goes.
    pub(super) meaning: Meaning,
    /// Hash of the raw series, to find the same series twice on one page.
    pub(super) raw: u64,
}

/// All interned lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    table: HashTable<u32>,
    free: Vec<u32>,
    dead_bytes: usize,
    hasher: RandomState,
}

/// Text beyond this is not interned; offsets are 32 bits wide. 100,000 nodes with 60 lines of
/// their own take a third of it.
const BYTES_CAP: usize = 1 << 30;

impl Lines {
    /// How many lines are interned.
    pub(super) fn len(&self) -> usize {
        self.lines.len() - self.free.len()
    }

    /// Whether another stretch still fits.
    pub(super) fn has_room(&self, stretch: &[u8]) -> bool {
        self.bytes.len() + stretch.len() <= BYTES_CAP
    }

    /// What is known of an id.
    pub(super) fn line(&self, id: u32) -> &Line {
        &self.lines[id as usize]
    }

    /// The text of an id.
    #[inline]
    pub(super) fn text(&self, id: u32) -> &[u8] {
        let line = &self.lines[id as usize];
        &self.bytes[line.at as usize..][..line.len as usize]
    }

    /// The id of a stretch that is interned already.
    pub(super) fn find(&self, stretch: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(stretch);
        self.table.find(hash, |id| self.text(*id) == stretch).copied()
    }

    /// Interns a stretch that [`Lines::find`] did not find; the caller has asked for room.
    pub(super) fn insert(&mut self, stretch: &[u8], meaning: Meaning, raw: u64) -> u32 {
        let at = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(stretch.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(stretch);
        let line = Line { at, len, meaning, raw };
        let id = match self.free.pop() {
            Some(id) => {
                self.lines[id as usize] = line;
                id
            }
            None => {
                self.lines.push(line);
                u32::try_from(self.lines.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let Lines { bytes, lines, table, hasher, .. } = self;
        let rehash = |id: &u32| {
            let line = &lines[*id as usize];
            hasher.hash_one(&bytes[line.at as usize..][..line.len as usize])
        };
        table.insert_unique(hasher.hash_one(stretch), id, rehash);
        id
    }

    /// Forgets every line that is not marked, and the text of all that were forgotten once they
    /// make up half of it. Marks: one flag an id.
    pub(super) fn sweep(&mut self, marked: &[bool]) {
        let mut is_free = vec![false; self.lines.len()];
        self.free.iter().for_each(|id| is_free[*id as usize] = true);
        for ((id, line), free) in (0u32..).zip(&self.lines).zip(&mut is_free) {
            if !*free && !marked.get(id as usize).copied().unwrap_or(false) {
                self.dead_bytes += line.len as usize;
                *free = true;
                self.free.push(id);
            }
        }
        self.table.retain(|id| !is_free[*id as usize]);
        if self.dead_bytes * 2 > self.bytes.len() {
            self.compact(&is_free);
        }
    }

    fn compact(&mut self, is_free: &[bool]) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.dead_bytes);
        for (line, free) in self.lines.iter_mut().zip(is_free) {
            if *free {
                *line = Line { at: 0, len: 0, meaning: Meaning::Ignored, raw: 0 };
                continue;
            }
            let text = &self.bytes[line.at as usize..][..line.len as usize];
            line.at = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(text);
        }
        self.bytes = bytes;
        self.dead_bytes = 0;
    }

    /// How many ids there are, used or free: the length of a mark list.
    pub(super) fn ids(&self) -> usize {
        self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swept_line_is_found_no_more_and_its_id_is_used_again() {
        let mut lines = Lines::default();
        let a = lines.insert(b"a ", Meaning::Ignored, 1);
        let b = lines.insert(b"b ", Meaning::Start, 2);
        lines.sweep(&[false, true]);
        assert_eq!(lines.find(b"a "), None);
        assert_eq!(lines.find(b"b "), Some(b));
        assert_eq!(lines.insert(b"c ", Meaning::Series(7), 3), a);
        assert_eq!((lines.text(a), lines.text(b)), (&b"c "[..], &b"b "[..]));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn texts_survive_compaction() {
        let mut lines = Lines::default();
        let ids: Vec<u32> = (0..100)
            .map(|i| lines.insert(format!("line {i} ").as_bytes(), Meaning::Ignored, i))
            .collect();
        let marked: Vec<bool> = (0..100).map(|i| i % 3 == 0).collect();
        lines.sweep(&marked);
        for i in (0..100).step_by(3) {
            assert_eq!(lines.text(ids[i]), format!("line {i} ").as_bytes());
            assert_eq!(lines.find(format!("line {i} ").as_bytes()), Some(ids[i]));
        }
        assert!(lines.bytes.len() < 100 * 4);
    }
}
