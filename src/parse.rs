//! Prometheus text 0.0.4 on bytes. Comes in: a page that is held whole. Goes out: its lines, one
//! by one, every part borrowed from the page. Never: a panic, an allocation per line, more than
//! linear time, a line that is half read.
//!
//! # What is accepted
//!
//! What Prometheus' own text parser accepts, and a little less where it is careless:
//! - names `[a-zA-Z_:][a-zA-Z0-9_:]*`, label names `[a-zA-Z_][a-zA-Z0-9_]*`; quoted UTF-8 names
//!   are not of this format and are refused;
//! - blanks and tabs around every token, also at the beginning and end of a line; none are needed
//!   after a closing brace; a comma may follow the last label;
//! - label values in UTF-8 with `\\`, `\"` and `\n`; any other escape stands for itself, backslash
//!   included, as in Prometheus' scraper; a raw line feed in a value is refused;
//! - a label name twice in one sample is refused, and so is the label `__name__`: Prometheus throws
//!   away the whole scrape for it;
//! - numbers as `number::parse` reads them; timestamps as signed 64-bit integers;
//! - `# HELP` and `# TYPE` need at least one blank after the `#`; without a name, and for TYPE
//!   without one of the five types, they are refused. Every other comment is passed over, unread;
//! - the last line must end in a line feed: an answer that was cut off is no page.
//!
//! What one line alone cannot show (a second TYPE, a TYPE after its samples, a series twice) is
//! the business of whoever collects the lines.
//!
//! # How it stays fast
//!
//! Names are class-checked once per family: a line that begins with the name of the line before
//! reuses it (`Reader::name`). UTF-8 is checked only where a byte of 0x80 or above stands, except
//! for HELP texts. Label values are run through eight bytes at a time, short numbers are read by a
//! digit loop. Errors carry an offset on the way and become line and column in one cold place.

use memchr::memchr;

use crate::model::Kind;
use crate::number;

mod labels;
pub mod openmetrics;
mod reason;
mod scan;

pub use labels::{Labels, unescape};
use reason::{Fault, fault, utf8};
pub use reason::{ParseError, Reason};
use scan::{BLANK, NAME, NAME_START, byte, is, skip};

/// One meaningful line.
#[derive(Debug, Clone, Copy)]
pub enum Line<'a> {
    /// `name{labels} value [timestamp]`
    Sample(Sample<'a>),
    /// `# TYPE name kind`
    Type {
        /// family
        name: &'a str,
        /// its type
        kind: Kind,
    },
    /// `# HELP name text`
    Help {
        /// family
        name: &'a str,
        /// escaped as on the page
        text: &'a str,
    },
}

/// One sample; every reference points into the page.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Sample name, suffix included.
    pub name: &'a str,
    /// What stands between the braces, well-formed, still escaped; empty without braces.
    pub labels: Labels<'a>,
    /// NaN and infinities included.
    pub value: f64,
    /// Milliseconds; text 0.0.4 allows one, we do not use it.
    pub timestamp: Option<i64>,
    /// Offset of the value's first byte in the page.
    pub value_at: usize,
}

/// Reads the value at `at` when nothing but its line feed follows it. Answers with the value and
/// the offset after the line feed. `None` (a timestamp, blanks, no number, no line feed) sends the
/// caller to a `Reader`, which takes the line or says what is wrong. Where this answers, a
/// `Reader` finds the same bits and the same offset.
#[inline]
pub fn value_line(page: &[u8], at: usize) -> Option<(f64, usize)> {
    let rest = page.get(at..)?;
    if let Some((value, length)) = number::short(rest)
        && rest.get(length) == Some(&b'\n')
    {
        return Some((value, at + length + 1));
    }
    long_value_line(rest).map(|(value, length)| (value, at + length))
}

/// Reads a page line by line. After an error it stays before the refused line.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    page: &'a [u8],
    at: usize,
    line: u32,
    /// The name on the line before; empty before the first.
    last: &'a str,
}

impl<'a> Reader<'a> {
    /// From the first line.
    pub fn new(page: &'a [u8]) -> Self {
        Reader::resume(page, 0, 1)
    }

    /// From a line that begins at `offset`; `line` is its 1-based number. An offset beyond the
    /// page is its end.
    pub fn resume(page: &'a [u8], offset: usize, line: u32) -> Self {
        Reader { page, at: offset.min(page.len()), line, last: "" }
    }

    /// The next meaningful line; `None` at the end. Blank lines and plain comments are passed over.
    #[inline]
    pub fn next_line(&mut self) -> Result<Option<Line<'a>>, ParseError> {
        while self.at < self.page.len() {
            let begin = skip(self.page, self.at, BLANK);
            let first = byte(self.page, begin);
            let read = if is(first, NAME_START) {
                self.sample(begin).map(|(sample, end)| (Some(Line::Sample(sample)), end))
            } else {
                self.other(begin)
            };
            match read {
                Ok((line, end)) => {
                    self.at = end;
                    self.line = self.line.saturating_add(1);
                    if line.is_some() {
                        return Ok(line);
                    }
                }
                Err(fault) => return Err(self.refuse(fault)),
            }
        }
        Ok(None)
    }

    /// Offset of the first byte not yet read (after the line feed of the last line returned).
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// 1-based number of the line that begins at `offset`.
    #[inline]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// A sample whose name begins at `begin`, and the offset after its line feed.
    #[inline]
    fn sample(&mut self, begin: usize) -> Result<(Sample<'a>, usize), Fault> {
        let page = self.page;
        let (name, name_end) = self.name(begin);
        let mut at = skip(page, name_end, BLANK);
        let mut labels = Labels::default();
        if byte(page, at) == b'{' {
            let close = labels::check(page, at + 1)?;
            labels = Labels::checked(page.get(at + 1..close).unwrap_or_default());
            at = skip(page, close + 1, BLANK);
        } else if at == name_end {
            return fault(at, Reason::AfterName);
        }
        let (value, timestamp, end) = match value_line(page, at) {
            Some((value, end)) => (value, None, end),
            None => value_and_timestamp(page, at)?,
        };
        Ok((Sample { name, labels, value, timestamp, value_at: at }, end))
    }

    /// A line that does not begin with a name: blank, a comment, metadata or refused.
    fn other(&mut self, begin: usize) -> Result<(Option<Line<'a>>, usize), Fault> {
        let page = self.page;
        match byte(page, begin) {
            b'#' => {}
            b'\n' if begin < page.len() => return Ok((None, begin + 1)),
            _ => return fault(begin, Reason::Name),
        }
        let rest = page.get(begin..).unwrap_or_default();
        let Some(length) = memchr(b'\n', rest) else {
            return fault(page.len(), Reason::Unfinished);
        };
        let end = begin + length;
        let word = skip(page, begin + 1, BLANK);
        let after = word + KEYWORD;
        let help = match page.get(word..after) {
            Some(b"HELP") => true,
            Some(b"TYPE") => false,
            _ => return Ok((None, end + 1)),
        };
        if word == begin + 1 || !matches!(byte(page, after), b' ' | b'\t' | b'\n') {
            return Ok((None, end + 1));
        }
        let name_at = skip(page, after, BLANK);
        if !is(byte(page, name_at), NAME_START) {
            return fault(name_at, Reason::MetadataName);
        }
        let (name, name_end) = self.name(name_at);
        let text_at = skip(page, name_end, BLANK);
        if text_at == name_end && text_at < end {
            return fault(name_end, Reason::MetadataName);
        }
        let text = page.get(text_at..end).unwrap_or_default();
        let line = if help {
            Line::Help { name, text: utf8(text, text_at)? }
        } else {
            Line::Type {
                name,
                kind: kind(text).ok_or(Fault { at: text_at, reason: Reason::Type })?,
            }
        };
        Ok((Some(line), end + 1))
    }

    /// The name at `begin`, whose first byte may begin one, and its end. Most lines repeat the
    /// name of the line before: then comparing the bytes replaces checking them.
    #[inline]
    fn name(&mut self, begin: usize) -> (&'a str, usize) {
        let page = self.page;
        let end = begin + self.last.len();
        if !self.last.is_empty()
            && page.get(begin..end) == Some(self.last.as_bytes())
            && !is(byte(page, end), NAME)
        {
            return (self.last, end);
        }
        let end = skip(page, begin + 1, NAME);
        // Names are ASCII, so the conversion cannot fail.
        self.last = str::from_utf8(page.get(begin..end).unwrap_or_default()).unwrap_or_default();
        (self.last, end)
    }

    /// Turns an offset into line and column.
    #[cold]
    fn refuse(&self, fault: Fault) -> ParseError {
        let rest = self.page.get(self.at..).unwrap_or_default();
        let (at, reason) = match memchr(b'\n', rest) {
            Some(_) => (fault.at, fault.reason),
            None => (self.page.len(), Reason::Unfinished),
        };
        let column = u32::try_from(at.saturating_sub(self.at)).unwrap_or(u32::MAX);
        ParseError { line: self.line, column: column.saturating_add(1), reason }
    }
}

/// Length of `HELP` and of `TYPE`.
const KEYWORD: usize = 4;

/// Value and timestamp at `at` in any legal form, and the offset after the line feed.
#[inline(never)]
fn value_and_timestamp(page: &[u8], at: usize) -> Result<(f64, Option<i64>, usize), Fault> {
    let value_end = token_end(page, at);
    let text = page.get(at..value_end).unwrap_or_default();
    let value = number::parse(text).ok_or(Fault { at, reason: Reason::Value })?;
    let stamp_at = skip(page, value_end, BLANK);
    let stamp_end = token_end(page, stamp_at);
    let timestamp = match page.get(stamp_at..stamp_end) {
        Some(text) if !text.is_empty() => {
            let stamp = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            Some(stamp.ok_or(Fault { at: stamp_at, reason: Reason::Timestamp })?)
        }
        _ => None,
    };
    let end = skip(page, stamp_end, BLANK);
    if end < page.len() && byte(page, end) == b'\n' {
        Ok((value, timestamp, end + 1))
    } else {
        fault(end, Reason::Trailing)
    }
}

/// Where the run of bytes that are neither blank nor line feed ends.
fn token_end(page: &[u8], mut at: usize) -> usize {
    while !matches!(byte(page, at), b' ' | b'\t' | b'\n') {
        at += 1;
    }
    at
}

/// `value_line` for numbers that are not short: the value and the length with the line feed.
#[inline(never)]
fn long_value_line(rest: &[u8]) -> Option<(f64, usize)> {
    let length = memchr(b'\n', rest)?;
    let value = number::parse(rest.get(..length)?)?;
    Some((value, length + 1))
}

fn kind(text: &[u8]) -> Option<Kind> {
    let word = text.get(..token_end(text, 0))?;
    if skip(text, word.len(), BLANK) < text.len() {
        return None;
    }
    match word {
        b"counter" => Some(Kind::Counter),
        b"gauge" => Some(Kind::Gauge),
        b"histogram" => Some(Kind::Histogram),
        b"summary" => Some(Kind::Summary),
        b"untyped" => Some(Kind::Untyped),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
