//! What stands between the braces of a sample. Comes in: a page and the offset after a brace. Goes
//! out: the list, checked once, walked as often as wanted. Never: an allocation to check or walk,
//! more than linear time, two labels of one name.

use std::borrow::Cow;

use super::reason::{Fault, Reason, fault, utf8};
use super::scan::{self, BLANK, LABEL, LABEL_START, byte, is, skip};

/// A checked label list: valid UTF-8, well-formed, every name once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Labels<'a> {
    /// A list that `check` has passed.
    #[inline]
    pub(super) fn checked(list: &'a [u8]) -> Self {
        Labels(list)
    }

    /// name and still-escaped value
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        LabelIter { list: self.0, at: 0 }
    }

    /// Whether there is no label.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

/// Undoes `\\`, `\"` and `\n`; borrows where there is nothing to undo. Any other escape stands for
/// itself, and so does a backslash at the end.
pub fn unescape(value: &str) -> Cow<'_, str> {
    let Some((plain, mut rest)) = value.split_once('\\') else { return Cow::Borrowed(value) };
    let mut out = String::with_capacity(value.len());
    out.push_str(plain);
    loop {
        // Here a backslash was just taken off the front of `rest`.
        let mut escaped = rest.chars();
        match escaped.next() {
            Some('n') => out.push('\n'),
            Some(same @ ('\\' | '"')) => out.push(same),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
        let Some((plain, next)) = escaped.as_str().split_once('\\') else {
            out.push_str(escaped.as_str());
            return Cow::Owned(out);
        };
        out.push_str(plain);
        rest = next;
    }
}

/// Checks the labels from `at` on, the first byte after the brace, and finds the closing brace.
#[inline]
pub(super) fn check(page: &[u8], mut at: usize) -> Result<usize, Fault> {
    let open = at;
    let mut high = 0;
    let mut seen = name_mark(b"__name__");
    let mut repeated = false;
    loop {
        at = skip(page, at, BLANK);
        let first = byte(page, at);
        if !is(first, LABEL_START) {
            if first == b'}' {
                break;
            }
            return fault(at, Reason::LabelName);
        }
        let name_end = skip(page, at + 1, LABEL);
        let mark = name_mark(page.get(at..name_end).unwrap_or_default());
        repeated |= seen & mark != 0;
        seen |= mark;
        at = skip(page, name_end, BLANK);
        if byte(page, at) != b'=' {
            return fault(at, Reason::Equals);
        }
        at = skip(page, at + 1, BLANK);
        if byte(page, at) != b'"' {
            return fault(at, Reason::OpenQuote);
        }
        at = value_end(page, at + 1, &mut high)?;
        at = skip(page, at + 1, BLANK);
        match byte(page, at) {
            b',' => at += 1,
            b'}' => break,
            _ => return fault(at, Reason::CommaOrBrace),
        }
    }
    if high != 0 {
        utf8(page.get(open..at).unwrap_or_default(), open)?;
    }
    if repeated {
        check_repeated(page, open, at)?;
    }
    Ok(at)
}

/// The closing quote of the label value that begins at `at`.
#[inline]
fn value_end(page: &[u8], mut at: usize, high: &mut u64) -> Result<usize, Fault> {
    loop {
        at = scan::value_run(page, at, high);
        match byte(page, at) {
            b'"' => return Ok(at),
            b'\\' if byte(page, at + 1) != b'\n' => {
                *high |= u64::from(byte(page, at + 1) & 0x80);
                at += 2;
            }
            _ => return fault(at, Reason::CloseQuote),
        }
    }
}

/// One of 64 bits for a label name. Equal names have equal bits; unequal ones seldom do.
#[inline]
fn name_mark(name: &[u8]) -> u64 {
    let (first, last) = match name {
        [first, .., last] => (*first, *last),
        [only] => (*only, *only),
        [] => (0, 0),
    };
    let mix = usize::from(first) + 5 * usize::from(last) + 11 * name.len();
    1 << (mix % 64)
}

/// The exact answer behind `name_mark`, over labels that are otherwise well-formed.
#[cold]
fn check_repeated(page: &[u8], open: usize, close: usize) -> Result<(), Fault> {
    let mut names: [&[u8]; MAX_LABELS] = [b""; MAX_LABELS];
    let mut labels = LabelIter { list: page.get(open..close).unwrap_or_default(), at: 0 };
    let mut count = 0;
    while let Some((begin, name, _)) = labels.advance() {
        let at = open + begin;
        if name == b"__name__" || names.iter().take(count).any(|known| *known == name) {
            return fault(at, Reason::DuplicateLabel);
        }
        let Some(place) = names.get_mut(count) else {
            return fault(at, Reason::TooManyLabels);
        };
        *place = name;
        count += 1;
    }
    Ok(())
}

/// Walks over labels that are known to be well-formed.
struct LabelIter<'a> {
    list: &'a [u8],
    at: usize,
}

impl<'a> LabelIter<'a> {
    /// Where the next label begins, its name and its escaped value.
    #[inline]
    fn advance(&mut self) -> Option<(usize, &'a [u8], &'a [u8])> {
        let list = self.list;
        let begin = skip(list, self.at, BLANK);
        let name_end = skip(list, begin, LABEL);
        if name_end == begin {
            return None;
        }
        let equals = skip(list, name_end, BLANK);
        let value = skip(list, equals + 1, BLANK) + 1;
        let value_end = value_end(list, value, &mut 0).ok()?;
        let comma = skip(list, value_end + 1, BLANK);
        self.at = comma + 1;
        Some((begin, list.get(begin..name_end)?, list.get(value..value_end)?))
    }
}

impl<'a> Iterator for LabelIter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (_, name, value) = self.advance()?;
        // Checked before; a quote or backslash never stands inside a UTF-8 sequence.
        Some((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?))
    }
}

/// Label names are compared pairwise where a repetition is possible; the cap keeps that linear in
/// the page. Real samples have under ten.
pub(super) const MAX_LABELS: usize = 64;
