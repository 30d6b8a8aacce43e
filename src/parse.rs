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

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;

use crate::model::Kind;
use crate::number;

pub mod openmetrics;
mod scan;

use scan::{BLANK, LABEL, LABEL_START, NAME, NAME_START, byte, is, skip};

/// Why a page is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {reason}")]
pub struct ParseError {
    /// 1-based.
    pub line: u32,
    /// 1-based, in bytes.
    pub column: u32,
    /// What is wrong.
    pub reason: Reason,
}

/// Closed set of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The page ends inside a line.
    Unfinished,
    /// A line begins with what is neither a name, a blank nor `#`.
    Name,
    /// After the name stands neither a brace nor a value.
    AfterName,
    /// A label name is expected.
    LabelName,
    /// `=` is expected after a label name.
    Equals,
    /// A quote is expected before a label value.
    OpenQuote,
    /// The line ends inside a label value.
    CloseQuote,
    /// A comma or a closing brace is expected after a label value.
    CommaOrBrace,
    /// The same label name twice, or `__name__`.
    DuplicateLabel,
    /// More labels than any exporter has use for.
    TooManyLabels,
    /// A label value or help text is not UTF-8.
    Utf8,
    /// The value is missing or is no number.
    Value,
    /// The timestamp is no integer of 64 bits.
    Timestamp,
    /// Something stands after value and timestamp.
    Trailing,
    /// `# HELP` or `# TYPE` without a metric name.
    MetadataName,
    /// `# TYPE` with none of the five types.
    Type,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Unfinished => "the page ends inside a line: the answer was cut off",
            Reason::Name => "a metric name or a comment is expected here",
            Reason::AfterName => "a value or an opening brace is expected after the metric name",
            Reason::LabelName => "a label name or a closing brace is expected here",
            Reason::Equals => "an equals sign is expected after the label name",
            Reason::OpenQuote => "a double quote is expected before the label value",
            Reason::CloseQuote => "the line ends inside a label value",
            Reason::CommaOrBrace => "a comma or a closing brace is expected after the label value",
            Reason::DuplicateLabel => "a label name stands twice in one sample",
            Reason::TooManyLabels => "the sample has more than 64 labels",
            Reason::Utf8 => "the text is not valid UTF-8",
            Reason::Value => "a number is expected as the value",
            Reason::Timestamp => "an integer is expected as the timestamp",
            Reason::Trailing => "the line does not end after value and timestamp",
            Reason::MetadataName => "a metric name is expected after HELP or TYPE",
            Reason::Type => {
                "the type must be counter, gauge, histogram, summary or untyped, and nothing else"
            }
        })
    }
}

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

/// A checked label list: valid UTF-8, well-formed, every name once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Labels<'a> {
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
            let close = check_labels(page, at + 1)?;
            labels = Labels(page.get(at + 1..close).unwrap_or_default());
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

/// A reason and the offset it is about.
#[derive(Debug, Clone, Copy)]
struct Fault {
    at: usize,
    reason: Reason,
}

/// Length of `HELP` and of `TYPE`.
const KEYWORD: usize = 4;

/// Label names are compared pairwise where a repetition is possible; the cap keeps that linear in
/// the page. Real samples have under ten.
const MAX_LABELS: usize = 64;

#[cold]
fn fault<T>(at: usize, reason: Reason) -> Result<T, Fault> {
    Err(Fault { at, reason })
}

/// Checks the labels from `at` on, the first byte after the brace, and finds the closing brace.
#[inline]
fn check_labels(page: &[u8], mut at: usize) -> Result<usize, Fault> {
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

fn utf8(text: &[u8], at: usize) -> Result<&str, Fault> {
    str::from_utf8(text)
        .map_err(|error| Fault { at: at + error.valid_up_to(), reason: Reason::Utf8 })
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
