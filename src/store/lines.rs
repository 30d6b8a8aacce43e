//! Interned text of pages: each distinct stretch from one value to the next is kept once per
//! process, with what it means. Comes in: stretches of pages. Goes out: ids. Never: a value.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use memchr::{memmem, memrchr};
use std::hash::BuildHasher;
use std::sync::Arc;

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

/// One interned stretch: comment lines, sample name, labels, up to the value's first byte. Its head is
/// shared by many lines, its tail is often its node's own: an address, an interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    head: u32,
    tail_at: u32,
    tail_len: u32,
    meaning: u32,
}

/// Greatest values of [`Line::meaning`] that are no series.
const START: u32 = u32::MAX;
const IGNORED: u32 = u32::MAX - 1;

impl Line {
    /// Where its value goes.
    pub(super) fn meaning(&self) -> Meaning {
        match self.meaning {
            START => Meaning::Start,
            IGNORED => Meaning::Ignored,
            id => Meaning::Series(id),
        }
    }

    fn tail<'t>(&self, tails: &'t [u8]) -> &'t [u8] {
        &tails[self.tail_at as usize..][..self.tail_len as usize]
    }
}

/// All interned lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    heads: Vec<Arc<[u8]>>,
    head_ids: HashMap<Arc<[u8]>, u32, RandomState>,
    free_heads: Vec<u32>,
    tails: Vec<u8>,
    dead_tails: usize,
    lines: Vec<Line>,
    table: HashTable<u32>,
    free: Vec<u32>,
    head_bytes: usize,
    hasher: RandomState,
}

/// Text beyond this is not interned; offsets are 32 bits wide. 100,000 nodes with 60 lines of
/// their own take a tenth of it.
const BYTES_CAP: usize = 1 << 30;

/// Cuts a stretch behind the first `="` of its sample: what follows differs from node to node.
fn cut(stretch: &[u8]) -> (&[u8], &[u8]) {
    let sample = memrchr(b'\n', stretch).map_or(0, |at| at + 1);
    let labels = memmem::find(&stretch[sample..], b"=\"").map(|at| sample + at + 2);
    stretch.split_at(labels.unwrap_or(stretch.len()))
}

impl Lines {
    /// How many lines are interned.
    pub(super) fn len(&self) -> usize {
        self.lines.len() - self.free.len()
    }

    /// Whether another stretch still fits.
    pub(super) fn has_room(&self, stretch: &[u8]) -> bool {
        self.tails.len() + self.head_bytes + stretch.len() <= BYTES_CAP
    }

    /// What is known of an id.
    pub(super) fn line(&self, id: u32) -> &Line {
        &self.lines[id as usize]
    }

    /// The text of an id, in two pieces.
    #[inline]
    pub(super) fn text(&self, id: u32) -> (&[u8], &[u8]) {
        let line = &self.lines[id as usize];
        (&self.heads[line.head as usize], line.tail(&self.tails))
    }

    /// Where the text of an id ends if it stands here on a page.
    #[inline]
    pub(super) fn matches(&self, id: u32, page: &[u8], at: usize) -> Option<usize> {
        let (head, tail) = self.text(id);
        let middle = at + head.len();
        let end = middle + tail.len();
        (page.get(middle..end)? == tail && page.get(at..middle)? == head).then_some(end)
    }

    /// The id of a stretch that is interned already.
    pub(super) fn find(&self, stretch: &[u8]) -> Option<u32> {
        let (head, tail) = cut(stretch);
        let head = *self.head_ids.get(head)?;
        let same = |id: &u32| {
            let line = &self.lines[*id as usize];
            line.head == head && line.tail(&self.tails) == tail
        };
        self.table.find(self.hasher.hash_one((head, tail)), same).copied()
    }

    /// Interns a stretch that [`Lines::find`] did not find; the caller has asked for room.
    pub(super) fn insert(&mut self, stretch: &[u8], meaning: Meaning) -> u32 {
        let (head, tail) = cut(stretch);
        let head = self.head_of(head);
        let meaning = match meaning {
            Meaning::Series(id) => id,
            Meaning::Start => START,
            Meaning::Ignored => IGNORED,
        };
        let tail_at = small(self.tails.len());
        self.tails.extend_from_slice(tail);
        let line = Line { head, tail_at, tail_len: small(tail.len()), meaning };
        let id = match self.free.pop() {
            Some(id) => {
                self.lines[id as usize] = line;
                id
            }
            None => {
                self.lines.push(line);
                small(self.lines.len() - 1)
            }
        };
        let Lines { tails, lines, table, hasher, .. } = self;
        let hash = |id: &u32| {
            let line = &lines[*id as usize];
            hasher.hash_one((line.head, line.tail(tails)))
        };
        table.insert_unique(hash(&id), id, hash);
        id
    }

    fn head_of(&mut self, head: &[u8]) -> u32 {
        if let Some(id) = self.head_ids.get(head) {
            return *id;
        }
        let text: Arc<[u8]> = head.into();
        self.head_bytes += head.len();
        let id = match self.free_heads.pop() {
            Some(id) => {
                self.heads[id as usize] = Arc::clone(&text);
                id
            }
            None => {
                self.heads.push(Arc::clone(&text));
                small(self.heads.len() - 1)
            }
        };
        self.head_ids.insert(text, id);
        id
    }

    /// Forgets every line that is not marked, heads that none needs any more, and dead tails once
    /// they make up a quarter. Marks: one flag an id.
    pub(super) fn sweep(&mut self, marked: &[bool]) {
        let mut is_free = vec![false; self.lines.len()];
        self.free.iter().for_each(|id| is_free[*id as usize] = true);
        let mut head_used = vec![false; self.heads.len()];
        for ((id, line), free) in (0u32..).zip(&self.lines).zip(&mut is_free) {
            if *free {
                continue;
            }
            if marked.get(id as usize).copied().unwrap_or(false) {
                head_used[line.head as usize] = true;
            } else {
                self.dead_tails += line.tail_len as usize;
                *free = true;
                self.free.push(id);
            }
        }
        self.table.retain(|id| !is_free[*id as usize]);
        let Lines { head_ids, free_heads, heads, head_bytes, .. } = self;
        head_ids.retain(|text, id| {
            let used = head_used[*id as usize];
            if !used {
                *head_bytes -= text.len();
                heads[*id as usize] = Arc::default();
                free_heads.push(*id);
            }
            used
        });
        if self.dead_tails * 4 > self.tails.len() {
            self.compact(&is_free);
        }
    }

    fn compact(&mut self, is_free: &[bool]) {
        let mut tails = Vec::with_capacity(self.tails.len() - self.dead_tails);
        for (line, free) in self.lines.iter_mut().zip(is_free) {
            let at = small(tails.len());
            if *free {
                line.tail_len = 0;
            } else {
                tails.extend_from_slice(line.tail(&self.tails));
            }
            line.tail_at = at;
        }
        self.tails = tails;
        self.dead_tails = 0;
    }

    /// How many ids there are, used or free: the length of a mark list.
    pub(super) fn ids(&self) -> usize {
        self.lines.len()
    }
}

/// [`BYTES_CAP`] keeps every number here below 2^32.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &Lines, id: u32) -> Vec<u8> {
        let (head, tail) = lines.text(id);
        [head, tail].concat()
    }

    #[test]
    fn lines_that_differ_behind_their_first_label_share_the_text_before_it() {
        let mut lines = Lines::default();
        let comment = b"# HELP a b=\"c\"\na{eni=\"x\"} ";
        let first = lines.insert(comment, Meaning::Series(0));
        let a = lines.insert(b"a{eni=\"y\"} ", Meaning::Series(1));
        let b = lines.insert(b"a{eni=\"z\"} ", Meaning::Series(2));
        assert_eq!(text(&lines, first), comment);
        assert_eq!(lines.heads.len(), 2);
        assert_eq!(lines.tails, b"x\"} y\"} z\"} ");
        let page = b"..a{eni=\"z\"} 7\n";
        assert_eq!(lines.matches(b, page, 2), Some(13));
        assert_eq!([lines.matches(a, page, 2), lines.matches(b, page, 3)], [None, None]);
        assert_eq!(lines.matches(b, &page[..12], 2), None);
        assert_eq!(lines.find(b"a{eni=\"y\"} "), Some(a));
        assert_eq!(lines.find(b"a{eni=\""), None);
    }

    #[test]
    fn a_swept_line_is_found_no_more_and_its_id_is_used_again() {
        let mut lines = Lines::default();
        let a = lines.insert(b"a ", Meaning::Ignored);
        let b = lines.insert(b"b ", Meaning::Start);
        lines.sweep(&[false, true]);
        assert_eq!(lines.find(b"a "), None);
        assert_eq!(lines.find(b"b "), Some(b));
        assert_eq!((lines.heads.len(), lines.head_bytes), (2, 2));
        assert_eq!(lines.insert(b"c ", Meaning::Series(7)), a);
        assert_eq!((text(&lines, a), text(&lines, b)), (b"c ".to_vec(), b"b ".to_vec()));
        assert_eq!((lines.len(), lines.heads.len()), (2, 2));
        assert_eq!(lines.line(a).meaning(), Meaning::Series(7));
        assert_eq!(lines.line(b).meaning(), Meaning::Start);
    }

    #[test]
    fn texts_survive_compaction() {
        let mut lines = Lines::default();
        let line = |i: u64| format!("line{{i=\"{i}\"}} ").into_bytes();
        let ids: Vec<u32> = (0..100).map(|i| lines.insert(&line(i), Meaning::Ignored)).collect();
        let before = lines.tails.len();
        let marked: Vec<bool> = (0..100).map(|i| i % 3 == 0).collect();
        lines.sweep(&marked);
        for i in (0..100).step_by(3) {
            assert_eq!(text(&lines, ids[i as usize]), line(i));
            assert_eq!(lines.find(&line(i)), Some(ids[i as usize]));
        }
        assert!(lines.tails.len() * 2 < before);
        // Once more, with ids that were free already.
        lines.sweep(&[]);
        assert_eq!((lines.len(), lines.tails.len(), lines.head_bytes), (0, 0, 0));
    }
}
