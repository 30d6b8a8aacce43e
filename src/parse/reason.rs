//! Why a page is refused. Comes in: an offset and a reason. Goes out: a closed set of reasons with
//! their words. Never: a part of the page in the text.

use std::fmt;

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

/// A reason and the offset it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reason: Reason,
}

#[cold]
pub(super) fn fault<T>(at: usize, reason: Reason) -> Result<T, Fault> {
    Err(Fault { at, reason })
}

/// The text if it is UTF-8; `at` is its offset in the page.
pub(super) fn utf8(text: &[u8], at: usize) -> Result<&str, Fault> {
    str::from_utf8(text)
        .map_err(|error| Fault { at: at + error.valid_up_to(), reason: Reason::Utf8 })
}
