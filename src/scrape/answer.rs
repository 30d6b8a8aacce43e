//! Our own reader of a node's HTTP answer, strict and incremental. Comes in: bytes as they arrive.
//! Goes out: the body, framing removed, and what the head said. Never: I/O, a panic, more memory than
//! the limits allow, a cut answer taken for a whole one.
//!
//! An answer without Content-Length and without chunks ends where its connection ends, so that a cut
//! one looks like a whole one: it is refused as truncated. Content-Length together with chunks is how
//! answers are smuggled, and refused. Bytes after the end are not looked at: we asked for
//! `Connection: close` and close ourselves.

use crate::model::Outcome;
use memchr::{memchr, memmem};
use std::time::UNIX_EPOCH;

/// Bytes of status line and headers, and of trailers: client_golang's have 250.
const HEAD_CAP: usize = 16 * 1024;

/// Bytes of a chunk's size line with its extensions.
const CHUNK_LINE_CAP: usize = 1024;

/// Interim answers (1xx) before the answer: none is ever due to a GET.
const INTERIM_CAP: u32 = 8;

/// Why an answer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The connection ended before the end of the answer was seen.
    #[error("the answer was cut off: {0}")]
    Truncated(&'static str),
    /// The status is not 200.
    #[error("the answer has HTTP status {0}{hint}", hint = if (300..400).contains(.0) { "; redirects are not followed" } else { "" })]
    Status(u16),
    /// Head, framing, content type or content encoding are not ones we read.
    #[error("{0}")]
    Encoding(&'static str),
    /// The body is over the limit.
    #[error("the body is over {0} bytes (--scrape.max-body)")]
    TooLarge(usize),
}

impl AnswerError {
    /// The outcome that it stands for.
    pub fn outcome(&self) -> Outcome {
        match self {
            AnswerError::Truncated(_) => Outcome::Truncated,
            AnswerError::Status(_) => Outcome::HttpStatus,
            AnswerError::Encoding(_) => Outcome::Encoding,
            AnswerError::TooLarge(_) => Outcome::TooLarge,
        }
    }
}

/// How the body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentEncoding {
    /// As it is.
    Identity,
    /// One or more gzip members.
    Gzip,
}

/// What the head said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// `Date` in seconds since 1970.
    pub date: Option<f64>,
    /// How the body is encoded.
    pub encoding: ContentEncoding,
}

/// Reads one answer.
#[derive(Debug)]
pub struct AnswerReader {
    state: State,
    line: Vec<u8>,
    head: Option<Head>,
    interim: u32,
    trailer_bytes: usize,
    /// Bytes of size lines: endless extensions are not a way around the limit.
    framing: usize,
    max_body: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Up to the empty line after the headers.
    Head,
    /// So many bytes of a body with Content-Length are to come.
    Length(usize),
    /// The size line of a chunk.
    ChunkSize,
    /// So many bytes of a chunk are to come.
    Chunk(usize),
    /// The line end after a chunk.
    ChunkEnd,
    /// Up to the empty line after the last chunk.
    Trailers,
    Done,
}

impl AnswerReader {
    /// Expects an answer whose body, as sent and as decoded, has at most `max_body` bytes.
    pub fn new(max_body: usize) -> AnswerReader {
        AnswerReader {
            state: State::Head,
            line: Vec::new(),
            head: None,
            interim: 0,
            trailer_bytes: 0,
            framing: 0,
            max_body,
        }
    }

    /// Ready for another answer, keeping its memory.
    pub fn reset(&mut self) {
        self.state = State::Head;
        self.line.clear();
        self.head = None;
        self.interim = 0;
        self.trailer_bytes = 0;
        self.framing = 0;
    }

    /// Whether any byte has been taken.
    pub fn has_begun(&self) -> bool {
        self.state != State::Head || !self.line.is_empty() || self.interim > 0
    }

    /// Takes the next bytes; the body's are appended to `body`. Answers with the head once the whole
    /// answer has been seen.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<Option<Head>, AnswerError> {
        while self.state != State::Done {
            if input.is_empty() && !matches!(self.state, State::Length(0)) {
                return Ok(None);
            }
            match self.state {
                State::Head => input = self.take_head(input)?,
                State::Length(left) => {
                    let (taken, rest) = input.split_at(left.min(input.len()));
                    body.extend_from_slice(taken);
                    input = rest;
                    self.state = match left - taken.len() {
                        0 => State::Done,
                        left => State::Length(left),
                    };
                }
                State::ChunkSize => input = self.take_chunk_size(input, body.len())?,
                State::Chunk(left) => {
                    let (taken, rest) = input.split_at(left.min(input.len()));
                    body.extend_from_slice(taken);
                    input = rest;
                    self.state = match left - taken.len() {
                        0 => State::ChunkEnd,
                        left => State::Chunk(left),
                    };
                }
                State::ChunkEnd => {
                    let expected = if self.line.is_empty() { b'\r' } else { b'\n' };
                    if input[0] != expected {
                        return Err(AnswerError::Encoding("a chunk does not end in a line end"));
                    }
                    input = &input[1..];
                    if expected == b'\r' {
                        self.line.push(b'\r');
                    } else {
                        self.line.clear();
                        self.state = State::ChunkSize;
                    }
                }
                State::Trailers => input = self.take_trailer(input)?,
                State::Done => {}
            }
        }
        Ok(self.head)
    }

    /// The connection ended; an error unless the answer was whole.
    pub fn end(&self) -> AnswerError {
        AnswerError::Truncated(match self.state {
            State::Head if !self.has_begun() => "the connection ended without one",
            State::Head => "within its head",
            State::Length(_) => "before Content-Length was reached",
            State::Trailers => "within its trailers",
            _ => "before its last chunk",
        })
    }

    fn take_head<'i>(&mut self, input: &'i [u8]) -> Result<&'i [u8], AnswerError> {
        const END: &[u8] = b"\r\n\r\n";
        let had = self.line.len();
        // Nearly always the whole head comes at once, and need not be kept.
        if had == 0
            && let Some(end) = memmem::find(&input[..input.len().min(HEAD_CAP)], END)
        {
            self.read_head(&input[..end])?;
            return Ok(&input[end + END.len()..]);
        }
        // The end may straddle what was taken before.
        let from = had.saturating_sub(END.len() - 1);
        let room = (HEAD_CAP + END.len()).saturating_sub(had);
        let taken = input.len().min(room);
        self.line.extend_from_slice(&input[..taken]);
        let Some(at) = memmem::find(&self.line[from..], END) else {
            return if self.line.len() >= HEAD_CAP + END.len() {
                Err(AnswerError::Encoding("the answer's head is over 16 KiB"))
            } else {
                Ok(&input[taken..])
            };
        };
        let end = from + at;
        let rest = &input[end + END.len() - had..];
        let head = std::mem::take(&mut self.line);
        let result = self.read_head(&head[..end]);
        self.line = head;
        self.line.clear();
        result?;
        Ok(rest)
    }

    fn read_head(&mut self, head: &[u8]) -> Result<(), AnswerError> {
        let mut lines = crlf_lines(head);
        let (version, status) = status_line(lines.next().unwrap_or_default())?;
        if (100..200).contains(&status) && status != 101 {
            self.interim += 1;
            return if self.interim > INTERIM_CAP {
                Err(AnswerError::Encoding("too many interim answers (1xx)"))
            } else {
                Ok(())
            };
        }
        if status != 200 {
            return Err(AnswerError::Status(status));
        }
        let mut fields = Fields::default();
        for line in lines {
            fields.read(line)?;
        }
        self.head = Some(Head { date: fields.date, encoding: fields.encoding });
        self.state = match (fields.chunked, fields.length) {
            (true, Some(_)) => {
                return Err(AnswerError::Encoding(
                    "the answer has both Content-Length and Transfer-Encoding",
                ));
            }
            (true, None) if version == 0 => {
                return Err(AnswerError::Encoding("HTTP/1.0 knows no Transfer-Encoding"));
            }
            (true, None) => State::ChunkSize,
            (false, Some(length)) if length > self.max_body => {
                return Err(AnswerError::TooLarge(self.max_body));
            }
            (false, Some(length)) => State::Length(length),
            (false, None) => {
                return Err(AnswerError::Truncated(
                    "it has neither Content-Length nor chunks, so that its end cannot be told",
                ));
            }
        };
        Ok(())
    }

    fn take_chunk_size<'i>(
        &mut self,
        input: &'i [u8],
        body_len: usize,
    ) -> Result<&'i [u8], AnswerError> {
        let Some(rest) =
            self.take_line(input, CHUNK_LINE_CAP, "a chunk's size line is too long")?
        else {
            return Ok(&[]);
        };
        let digits = self.line.iter().position(|b| !b.is_ascii_hexdigit());
        let (digits, extension) = self.line.split_at(digits.unwrap_or(self.line.len()));
        // Blanks may stand before an extension, and some servers pad with them. What an extension
        // says is nothing to us, but a control character in it may be a line end to others.
        let control = extension.iter().any(|b| b.is_ascii_control() && *b != b'\t');
        if control || !matches!(extension.trim_ascii_start().first(), None | Some(b';')) {
            return Err(AnswerError::Encoding("a chunk's size is not a hexadecimal number"));
        }
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| AnswerError::Encoding("a chunk's size is not a number that fits"))?;
        self.framing += self.line.len();
        self.line.clear();
        if self.framing > self.max_body.saturating_add(HEAD_CAP) {
            return Err(AnswerError::Encoding("the answer is more framing than body"));
        }
        if size > self.max_body.saturating_sub(body_len) {
            return Err(AnswerError::TooLarge(self.max_body));
        }
        self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
        Ok(rest)
    }

    fn take_trailer<'i>(&mut self, input: &'i [u8]) -> Result<&'i [u8], AnswerError> {
        let Some(rest) = self.take_line(input, HEAD_CAP, "the trailers are over 16 KiB")? else {
            return Ok(&[]);
        };
        if self.line.is_empty() {
            self.state = State::Done;
            return Ok(rest);
        }
        self.trailer_bytes += self.line.len();
        if self.trailer_bytes > HEAD_CAP {
            return Err(AnswerError::Encoding("the trailers are over 16 KiB"));
        }
        header(&self.line)?;
        self.line.clear();
        Ok(rest)
    }

    /// Moves input to `line` up to CRLF, which is left out; `None` while the line goes on.
    fn take_line<'i>(
        &mut self,
        input: &'i [u8],
        cap: usize,
        too_long: &'static str,
    ) -> Result<Option<&'i [u8]>, AnswerError> {
        let end = memchr(b'\n', input);
        self.line.extend_from_slice(&input[..end.unwrap_or(input.len())]);
        if self.line.len() > cap {
            return Err(AnswerError::Encoding(too_long));
        }
        let Some(end) = end else { return Ok(None) };
        if self.line.pop() != Some(b'\r') {
            return Err(AnswerError::Encoding("a line of the framing does not end in CRLF"));
        }
        Ok(Some(&input[end + 1..]))
    }
}

/// The headers that matter.
#[derive(Debug)]
struct Fields {
    length: Option<usize>,
    chunked: bool,
    encoding: ContentEncoding,
    date: Option<f64>,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields { length: None, chunked: false, encoding: ContentEncoding::Identity, date: None }
    }
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), AnswerError> {
        let (name, value) = header(line)?;
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if is("content-length") {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(value).ok().filter(|_| digits);
            let length = length
                .and_then(|v| v.parse().ok())
                .ok_or(AnswerError::Encoding("Content-Length is not a number that fits"))?;
            if self.length.replace(length).is_some() {
                return Err(AnswerError::Encoding("the answer has several Content-Length"));
            }
        } else if is("transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(AnswerError::Encoding("a Transfer-Encoding other than chunked"));
            }
            self.chunked = true;
        } else if is("content-encoding") {
            self.encoding = match value.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => self.encoding,
                b"gzip" | b"x-gzip" if self.encoding == ContentEncoding::Identity => {
                    ContentEncoding::Gzip
                }
                _ => return Err(AnswerError::Encoding("a Content-Encoding other than gzip")),
            };
        } else if is("content-type") {
            content_type(value)?;
        } else if is("date") {
            self.date = date(value);
        }
        Ok(())
    }
}

/// A `Date` in seconds since 1970, if it is readable.
pub(super) fn date(value: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(value).ok()?;
    let at = httpdate::parse_http_date(text).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

/// Text 0.0.4 is text/plain, with or without its version. Anything else says itself that it is not.
pub(super) fn content_type(value: &[u8]) -> Result<(), AnswerError> {
    let lower = value.to_ascii_lowercase();
    let mut parts = lower.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let text = parts.next() == Some(b"text/plain");
    let version = parts.find_map(|part| part.strip_prefix(b"version="));
    if text && matches!(version, None | Some(b"0.0.4" | b"\"0.0.4\"")) {
        Ok(())
    } else {
        Err(AnswerError::Encoding("the Content-Type is not Prometheus text 0.0.4"))
    }
}

/// Lines that end in CRLF, the last one without.
fn crlf_lines(mut head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        match memmem::find(head, b"\r\n") {
            Some(at) => {
                let line = &head[..at];
                head = &head[at + 2..];
                Some(line)
            }
            None => {
                done = true;
                Some(head)
            }
        }
    })
}

fn status_line(line: &[u8]) -> Result<(u8, u16), AnswerError> {
    const WRONG: AnswerError = AnswerError::Encoding("the answer is not HTTP/1");
    let rest = line.strip_prefix(b"HTTP/1.").ok_or(WRONG)?;
    let (version, status) = match rest {
        [v @ b'0'..=b'9', b' ', a, b, c] => (v - b'0', [*a, *b, *c]),
        [v @ b'0'..=b'9', b' ', a, b, c, b' ', ..] => (v - b'0', [*a, *b, *c]),
        _ => return Err(WRONG),
    };
    if !status.iter().all(u8::is_ascii_digit) || line.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        return Err(WRONG);
    }
    let code = status.iter().fold(0u16, |code, digit| code * 10 + u16::from(digit - b'0'));
    Ok((version, code))
}

fn header(line: &[u8]) -> Result<(&[u8], &[u8]), AnswerError> {
    const WRONG: AnswerError = AnswerError::Encoding("a header line of the answer is malformed");
    let colon = memchr(b':', line).ok_or(WRONG)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let control = |b: &u8| b.is_ascii_control() && *b != b'\t';
    if name.is_empty() || !name.iter().all(token) || value.iter().any(control) {
        return Err(WRONG);
    }
    Ok((name, value))
}

/// Inflates a gzip body of any number of members; the result has at most `max_body` bytes.
pub fn inflate(packed: &[u8], max_body: usize, out: &mut Vec<u8>) -> Result<(), AnswerError> {
    use std::io::Read;
    out.clear();
    let limit = u64::try_from(max_body).unwrap_or(u64::MAX).saturating_add(1);
    let mut reader = flate2::bufread::MultiGzDecoder::new(packed).take(limit);
    reader
        .read_to_end(out)
        .map_err(|_| AnswerError::Encoding("the body is not the gzip that it claims to be"))?;
    if out.len() > max_body {
        return Err(AnswerError::TooLarge(max_body));
    }
    Ok(())
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
