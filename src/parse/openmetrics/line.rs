//! How lines are written. Comes in: one line without its line feed. Goes out: its parts, label
//! values unescaped. Never: a judgement that needs another line.

use std::borrow::Cow;

use super::super::scan::{LABEL, LABEL_START, NAME, NAME_START, is, skip};
use super::super::unescape;
use super::{Fault, Rule};
use crate::number;

/// A line that is neither blank nor the end.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// `# WORD name text`
    Metadata {
        word: Word,
        name: &'a str,
        text: &'a str,
        /// Where the text begins.
        text_at: usize,
    },
    /// `name{labels} value [timestamp] [# {labels} value [timestamp]]`
    Sample(Sample<'a>),
}

/// The word after the hash.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    Help,
    Type,
    Unit,
}

/// A sample as written.
#[derive(Debug)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    pub(super) labels: Labels<'a>,
    pub(super) value: f64,
    /// Where the value begins.
    pub(super) value_at: usize,
    /// Seconds, always finite.
    pub(super) timestamp: Option<f64>,
    /// Where the exemplar begins, if there is one. Its parts were checked.
    pub(super) exemplar_at: Option<usize>,
}

/// Names and unescaped values, sorted by name, every name once.
pub(super) type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Takes one line apart.
pub(super) fn read(line: &str) -> Result<Line<'_>, Fault> {
    match line.as_bytes().first() {
        None => Err(Fault { at: 0, rule: Rule::BlankLine }),
        Some(b'#') => metadata(line),
        Some(_) => sample(line).map(Line::Sample),
    }
}

fn metadata(line: &str) -> Result<Line<'_>, Fault> {
    let malformed = |at| Fault { at, rule: Rule::Metadata };
    let mut parts = line.splitn(4, ' ');
    let (Some("#"), Some(word)) = (parts.next(), parts.next()) else {
        return Err(malformed(0));
    };
    let word = match word {
        "HELP" => Word::Help,
        "TYPE" => Word::Type,
        "UNIT" => Word::Unit,
        _ => return Err(malformed(2)),
    };
    let (Some(name), Some(text)) = (parts.next(), parts.next()) else {
        return Err(malformed(line.len()));
    };
    let at = "# WORD ".len();
    let starts_well = name.bytes().next().is_some_and(|first| is(first, NAME_START));
    let end = skip(name.as_bytes(), 0, NAME);
    if !starts_well || end < name.len() {
        return Err(Fault { at: at + if starts_well { end } else { 0 }, rule: Rule::Name });
    }
    Ok(Line::Metadata { word, name, text, text_at: at + name.len() + 1 })
}

fn sample(line: &str) -> Result<Sample<'_>, Fault> {
    let mut cursor = Cursor { line, at: 0 };
    let name = cursor.word(NAME_START, NAME, Rule::Name)?;
    let labels = if cursor.eat(b'{') { cursor.labels()? } else { Labels::new() };
    cursor.expect(b' ', Rule::Space)?;
    let value_at = cursor.at;
    let value = cursor.number(Rule::Value)?;
    let mut timestamp = None;
    let mut exemplar_at = None;
    if cursor.eat(b' ') {
        if !cursor.sees(b'#') {
            timestamp = Some(cursor.timestamp()?);
        }
        if timestamp.is_none() || cursor.eat(b' ') {
            exemplar_at = Some(cursor.at);
            cursor.exemplar()?;
        }
    }
    // Numbers end at a space or the line's end, so only a space can be left over.
    if cursor.at < line.len() {
        return Err(Fault { at: cursor.at, rule: Rule::Exemplar });
    }
    Ok(Sample { name, labels, value, value_at, timestamp, exemplar_at })
}

/// The most characters that names and values of an exemplar's labels may have together.
const EXEMPLAR_CHARACTERS: usize = 128;

/// A place in a line.
struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn sees(&self, byte: u8) -> bool {
        self.line.as_bytes().get(self.at) == Some(&byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let seen = self.sees(byte);
        self.at += usize::from(seen);
        seen
    }

    fn expect(&mut self, byte: u8, rule: Rule) -> Result<(), Fault> {
        if self.eat(byte) { Ok(()) } else { Err(Fault { at: self.at, rule }) }
    }

    /// The text from `from` to here; both are always at ASCII bytes or the end.
    fn since(&self, from: usize) -> &'a str {
        self.line.get(from..self.at).unwrap_or_default()
    }

    fn word(&mut self, first: u8, more: u8, rule: Rule) -> Result<&'a str, Fault> {
        let bytes = self.line.as_bytes();
        let begin = self.at;
        if !bytes.get(begin).is_some_and(|byte| is(*byte, first)) {
            return Err(Fault { at: begin, rule });
        }
        self.at = skip(bytes, begin, more);
        Ok(self.since(begin))
    }

    /// Labels after an opening brace, up to and with the closing one.
    fn labels(&mut self) -> Result<Labels<'a>, Fault> {
        let begin = self.at;
        let mut labels = Labels::new();
        if self.eat(b'}') {
            return Ok(labels);
        }
        loop {
            let name = self.word(LABEL_START, LABEL, Rule::LabelName)?;
            self.expect(b'=', Rule::Equals)?;
            self.expect(b'"', Rule::OpenQuote)?;
            labels.push((name, unescape(self.quoted()?)));
            if !self.eat(b',') {
                self.expect(b'}', Rule::CommaOrBrace)?;
                break;
            }
        }
        labels.sort_unstable();
        let twice = labels.windows(2).any(|pair| pair[0].0 == pair[1].0);
        // Prometheus keeps the metric name under this label name.
        if twice || labels.iter().any(|(name, _)| *name == "__name__") {
            return Err(Fault { at: begin, rule: Rule::DuplicateLabel });
        }
        Ok(labels)
    }

    /// The rest of a quoted text; the closing quote is read too.
    fn quoted(&mut self) -> Result<&'a str, Fault> {
        let begin = self.at;
        let bytes = self.line.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    let text = self.since(begin);
                    self.at += 1;
                    return Ok(text);
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        Err(Fault { at: bytes.len(), rule: Rule::CloseQuote })
    }

    /// A number that reaches to the next space or the line's end.
    fn number(&mut self, rule: Rule) -> Result<f64, Fault> {
        let begin = self.at;
        let rest = self.line.as_bytes().get(begin..).unwrap_or_default();
        self.at += memchr::memchr(b' ', rest).unwrap_or(rest.len());
        number::parse(self.since(begin).as_bytes()).ok_or(Fault { at: begin, rule })
    }

    fn timestamp(&mut self) -> Result<f64, Fault> {
        let at = self.at;
        let seconds = self.number(Rule::Timestamp)?;
        if seconds.is_finite() { Ok(seconds) } else { Err(Fault { at, rule: Rule::Timestamp }) }
    }

    /// An exemplar from its hash to the line's end.
    fn exemplar(&mut self) -> Result<(), Fault> {
        for byte in [b'#', b' ', b'{'] {
            self.expect(byte, Rule::Exemplar)?;
        }
        let begin = self.at;
        let labels = self.labels()?;
        let length: usize =
            labels.iter().map(|(name, value)| name.len() + value.chars().count()).sum();
        if length > EXEMPLAR_CHARACTERS {
            return Err(Fault { at: begin, rule: Rule::ExemplarLength });
        }
        self.expect(b' ', Rule::Exemplar)?;
        self.number(Rule::Value)?;
        if self.eat(b' ') {
            self.timestamp()?;
        }
        Ok(())
    }
}
