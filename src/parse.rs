//! Prometheus text 0.0.4 on bytes (interface sketch).
use crate::model::Kind;

/// Why a page is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// 1-based.
    pub line: u32,
    /// 1-based, in bytes.
    pub column: u32,
    /// What is wrong.
    pub reason: Reason,
}
/// Closed set of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {/* … */}

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
/// A checked label list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels<'a>(&'a str);
impl<'a> Labels<'a> {
    /// name and still-escaped value
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let _ = self.0;
        std::iter::empty()
    }
}
/// Undoes `\\`, `\"` and `\n`; borrows where there is nothing to undo.
pub fn unescape(value: &str) -> std::borrow::Cow<'_, str> {
    value.into()
}

/// Reads a page line by line.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    _page: &'a [u8],
}
impl<'a> Reader<'a> {
    /// From the first line.
    pub fn new(page: &'a [u8]) -> Self {
        Reader { _page: page }
    }
    /// From a line that begins at `offset`; `line` is its 1-based number.
    pub fn resume(page: &'a [u8], _offset: usize, _line: u32) -> Self {
        Reader { _page: page }
    }
    /// The next meaningful line; `None` at the end. Blank lines and plain comments are passed over.
    pub fn next_line(&mut self) -> Result<Option<Line<'a>>, ParseError> {
        Ok(None)
    }
    /// Offset of the first byte not yet read (after the line feed of the last line returned).
    pub fn offset(&self) -> usize {
        0
    }
}

/// Reads `VALUE\n` at `at`.
pub fn value_line(_page: &[u8], _at: usize) -> Option<(f64, usize)> {
    None
}
impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
