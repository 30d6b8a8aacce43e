//! Strict OpenMetrics 1.0 text. Comes in: a page that is held whole. Goes out: the families that
//! stand on it, or the first rule that it breaks, with line and column. Never: a panic, a repaired
//! page, more than linear time (but for sorting the labels of one sample).
//!
//! This reader judges; it is not on the scrape path (`aws-node` speaks text 0.0.4 only), so it may
//! allocate. `line` knows how lines are written, `family` which samples a family may hold and in
//! what order, `histogram` what buckets must add up to, `rule` puts each refusal into words.
//!
//! Where the specification's grammar and the readers in the wild differ, it follows the readers: a
//! backslash before any other character stands for itself, double quotes in a HELP text need no
//! escape, samples of one series may share a timestamp (it may have been cut to milliseconds), and
//! label names that begin with an underscore, though reserved, are accepted.

use std::collections::HashSet;

mod family;
mod histogram;
mod line;
mod rule;
#[cfg(test)]
mod tests;

use family::Family;
use line::{Line, Word};
pub use rule::Rule;

/// Reads a whole page and says what stands on it, or the first rule that it breaks.
pub fn read(page: &[u8]) -> Result<Summary, Refusal> {
    let text = str::from_utf8(page).map_err(|error| not_utf8(page, error.valid_up_to()))?;
    let mut pages = Pages::default();
    let mut rest = text;
    let mut number: u32 = 1;
    loop {
        let place = |fault: Fault| fault.on(number);
        let Some((line, next)) = rest.split_once('\n') else {
            // Only the last line may do without a line feed.
            if rest == EOF {
                return pages.finish();
            }
            return Err(place(Fault { at: rest.len(), rule: Rule::NoEof }));
        };
        if line == EOF {
            if next.is_empty() {
                return pages.finish();
            }
            return Err(Fault { at: 0, rule: Rule::AfterEof }.on(number.saturating_add(1)));
        }
        pages.take(line::read(line).map_err(place)?, number)?;
        rest = next;
        number = number.saturating_add(1);
    }
}

/// What stands on a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Declared type of each family, in the order of the page.
    pub families: Vec<Type>,
    /// Sample lines.
    pub samples: usize,
}

/// Why a page is refused, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {rule}")]
pub struct Refusal {
    /// 1-based. For what a family lacks: the line where it begins or where its point ends.
    pub line: u32,
    /// 1-based, in bytes.
    pub column: u32,
    /// What is wrong.
    pub rule: Rule,
}

/// A type of OpenMetrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// `_total`, which only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets of events.
    Histogram,
    /// Cumulative buckets of what is there now.
    GaugeHistogram,
    /// Labels that do not change, with the value 1.
    Info,
    /// Booleans, one of them or several true.
    StateSet,
    /// Quantiles.
    Summary,
    /// Undeclared, or declared as not known.
    Unknown,
}

impl Type {
    /// Every type, in alphabetical order of the words.
    pub const ALL: [Type; 8] = [
        Type::Counter,
        Type::Gauge,
        Type::GaugeHistogram,
        Type::Histogram,
        Type::Info,
        Type::StateSet,
        Type::Summary,
        Type::Unknown,
    ];

    /// The word of a `# TYPE` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
            Type::GaugeHistogram => "gaugehistogram",
            Type::Info => "info",
            Type::StateSet => "stateset",
            Type::Summary => "summary",
            Type::Unknown => "unknown",
        }
    }

    /// What a sample's name may have after the family's name.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            Type::Counter => &["_total", "_created"],
            Type::Histogram => &["_bucket", "_count", "_sum", "_created"],
            Type::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
            Type::Info => &["_info"],
            Type::Summary => &["", "_count", "_sum", "_created"],
            Type::Gauge | Type::StateSet | Type::Unknown => &[""],
        }
    }
}

/// The line that ends each page.
const EOF: &str = "# EOF";

/// A broken rule and the byte of its line where it shows.
#[derive(Debug, Clone, Copy)]
struct Fault {
    at: usize,
    rule: Rule,
}

impl Fault {
    fn on(self, line: u32) -> Refusal {
        let column = u32::try_from(self.at).unwrap_or(u32::MAX).saturating_add(1);
        Refusal { line, column, rule: self.rule }
    }
}

/// The families of a page, one under way, the others closed.
#[derive(Default)]
struct Pages<'a> {
    open: Option<Family<'a>>,
    taken: HashSet<String>,
    summary: Summary,
}

impl<'a> Pages<'a> {
    fn take(&mut self, line: Line<'a>, number: u32) -> Result<(), Refusal> {
        match line {
            Line::Metadata { word, name, text, text_at } => {
                let family = self.family(|open| open.name() == name, name, number)?;
                let at_text = |rule| Fault { at: text_at, rule };
                match word {
                    Word::Help => family.help(),
                    Word::Type => family.declare(text),
                    Word::Unit => family.unit(text),
                }
                .map_err(|rule| at_text(rule).on(number))
            }
            Line::Sample(sample) => {
                self.summary.samples += 1;
                let name = sample.name;
                self.family(|open| open.owns(name), name, number)?.sample(sample, number)
            }
        }
    }

    /// The open family if the line belongs to it, else a new one.
    fn family(
        &mut self,
        belongs: impl Fn(&Family<'a>) -> bool,
        name: &'a str,
        number: u32,
    ) -> Result<&mut Family<'a>, Refusal> {
        let open = match self.open.take() {
            Some(open) if belongs(&open) => open,
            ended => {
                self.close(ended)?;
                Family::new(name, number)
            }
        };
        Ok(self.open.insert(open))
    }

    fn close(&mut self, ended: Option<Family<'a>>) -> Result<(), Refusal> {
        let Some(family) = ended else { return Ok(()) };
        let begun = family.begun();
        let clash = |rule| Fault { at: 0, rule }.on(begun);
        let kind = family.close()?;
        // The bare name is taken even where no sample may bear it.
        let bare = [""];
        let suffixes =
            kind.suffixes().iter().chain(bare.iter().filter(|_| !kind.suffixes().contains(&"")));
        for suffix in suffixes {
            if !self.taken.insert(format!("{}{suffix}", family.name())) {
                return Err(clash(Rule::Clash));
            }
        }
        self.summary.families.push(kind);
        Ok(())
    }

    fn finish(mut self) -> Result<Summary, Refusal> {
        let ended = self.open.take();
        self.close(ended)?;
        Ok(self.summary)
    }
}

fn not_utf8(page: &[u8], at: usize) -> Refusal {
    let before = page.get(..at).unwrap_or_default();
    let lines = memchr::memchr_iter(b'\n', before).count();
    let begin = memchr::memrchr(b'\n', before).map_or(0, |line_feed| line_feed + 1);
    let number = u32::try_from(lines).unwrap_or(u32::MAX).saturating_add(1);
    Fault { at: at - begin, rule: Rule::Utf8 }.on(number)
}
