//! What `check` says about an exposition. Comes in: the bytes of one page and its format. Goes
//! out: a report, or line, column and reason of the refusal. Never: I/O, a repaired page.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::catalog::{self, Suffix};
use crate::model::Kind;
use crate::parse::{Line, ParseError, Reader, openmetrics};
use crate::store::{PageReader, Settings};

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Prometheus text 0.0.4, read as a scrape reads it.
    Text,
    /// OpenMetrics 1.0 text, read strictly.
    #[value(name = "openmetrics")]
    OpenMetrics,
}

/// What stands on a page, and what we make of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Families: of declared names, and of samples without a declaration.
    pub families: usize,
    /// Sample lines.
    pub samples: usize,
    /// Families by the word of their type, as declared; `untyped` or `unknown` without.
    pub by_type: BTreeMap<&'static str, usize>,
    /// One sentence for each family that is stored under another type than it declares. Text only.
    pub repaired: Vec<String>,
    /// Rows that were added to another row, such as those of single addresses. Text only.
    pub folded: usize,
    /// Why a scrape of a node refuses the page all the same. Text only.
    pub refused: Option<String>,
}

/// Reads the page and answers with what stands on it, or with `line:column: reason`.
pub fn report(input: &[u8], format: Format) -> Result<Report, String> {
    match format {
        Format::Text => {
            let (mut report, declared) = text(input).map_err(|error| error.to_string())?;
            let page = PageReader::new(&Settings::default()).read(input)?;
            report.folded = page.kept - page.rows;
            report.refused = page.refusal();
            report.repaired = repaired(&declared);
            Ok(report)
        }
        Format::OpenMetrics => {
            let summary = openmetrics::read(input).map_err(|refusal| refusal.to_string())?;
            let words = summary.families.iter().map(|kind| kind.as_str());
            Ok(Report::new(summary.samples, words))
        }
    }
}

impl Report {
    /// A report of what was read, nothing repaired or folded.
    fn new(samples: usize, kinds: impl Iterator<Item = &'static str>) -> Report {
        let mut report = Report { samples, ..Report::default() };
        for kind in kinds {
            report.families += 1;
            *report.by_type.entry(kind).or_default() += 1;
        }
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "families: {}", self.families)?;
        for (kind, count) in &self.by_type {
            writeln!(f, "  {kind}: {count}")?;
        }
        writeln!(f, "samples: {}", self.samples)?;
        writeln!(f, "types repaired: {}", self.repaired.len())?;
        for sentence in &self.repaired {
            writeln!(f, "  {sentence}")?;
        }
        writeln!(f, "rows folded: {}", self.folded)?;
        match &self.refused {
            Some(why) => writeln!(f, "as a node's page it is refused: {why}"),
            None => Ok(()),
        }
    }
}

/// Families whose declared type is not the canonical one (a rolling upgrade mixes both).
fn repaired(declared: &HashMap<&str, Kind>) -> Vec<String> {
    let mut sentences: Vec<String> = declared
        .iter()
        .filter_map(|(name, kind)| {
            let (index, suffix) = catalog::lookup(name).filter(|_| *kind != Kind::Untyped)?;
            let canonical = catalog::FAMILIES[usize::from(index)].kind;
            let wrong = suffix == Suffix::None && canonical != *kind;
            wrong.then(|| format!("{name}: {}, read as {}", kind.as_str(), canonical.as_str()))
        })
        .collect();
    sentences.sort();
    sentences
}

type Declared<'a> = HashMap<&'a str, Kind>;

fn text(input: &[u8]) -> Result<(Report, Declared<'_>), ParseError> {
    let mut families: HashMap<&str, Kind> = HashMap::new();
    let mut samples = 0;
    let mut reader = Reader::new(input);
    while let Some(line) = reader.next_line()? {
        match line {
            Line::Type { name, kind } => {
                families.insert(name, kind);
            }
            Line::Help { name, .. } => {
                families.entry(name).or_insert(Kind::Untyped);
            }
            Line::Sample(sample) => {
                samples += 1;
                let name = family(&families, sample.name);
                families.entry(name).or_insert(Kind::Untyped);
            }
        }
    }
    let report = Report::new(samples, families.values().map(|kind| kind.as_str()));
    Ok((report, families))
}

/// The family of a sample: a histogram's or summary's name with its suffix taken off, else the
/// sample's own name.
fn family<'a>(families: &HashMap<&'a str, Kind>, sample: &'a str) -> &'a str {
    const SUFFIXES: [(&str, &[Kind]); 3] = [
        ("_bucket", &[Kind::Histogram]),
        ("_sum", &[Kind::Histogram, Kind::Summary]),
        ("_count", &[Kind::Histogram, Kind::Summary]),
    ];
    for (suffix, kinds) in SUFFIXES {
        if let Some(base) = sample.strip_suffix(suffix)
            && families.get(base).is_some_and(|kind| kinds.contains(kind))
        {
            return base;
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The report in words, or the refusal.
    fn check(input: &[u8], format: Format) -> Result<String, String> {
        report(input, format).map(|report| report.to_string())
    }

    #[test]
    fn a_text_page_is_counted_by_family_and_type() {
        let page = b"# HELP a x\n# TYPE a counter\na 1\na{x=\"1\"} 2\n# TYPE h histogram\n\
            h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\nb 1\nb_sum 1\n# HELP c only\n";
        let report = report(page, Format::Text).unwrap();
        assert_eq!(report.families, 5);
        assert_eq!(report.samples, 7);
        let by_type = BTreeMap::from([("counter", 1), ("histogram", 1), ("untyped", 3)]);
        assert_eq!(report.by_type, by_type);
    }

    #[test]
    fn an_openmetrics_page_is_counted_by_its_own_types() {
        let page = b"# TYPE a counter\na_total 1\n# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n";
        assert_eq!(
            check(page, Format::OpenMetrics).unwrap(),
            "families: 2\n  counter: 1\n  info: 1\nsamples: 2\ntypes repaired: 0\nrows folded: 0\n"
        );
    }

    #[test]
    fn what_was_repaired_and_folded_is_told() {
        let page = b"# TYPE awscni_add_ip_req_count gauge\nawscni_add_ip_req_count 3\n\
            awscni_assigned_ip_per_cidr{cidr=\"10.0.0.1/32\"} 1\n\
            awscni_assigned_ip_per_cidr{cidr=\"10.0.0.2/32\"} 1\n";
        assert_eq!(
            check(page, Format::Text).unwrap(),
            "families: 2\n  gauge: 1\n  untyped: 1\nsamples: 3\ntypes repaired: 1\n  \
             awscni_add_ip_req_count: gauge, read as counter\nrows folded: 1\n"
        );
    }

    #[test]
    fn a_page_that_is_none_of_ipamds_is_read_and_the_report_says_that_a_scrape_refuses_it() {
        for (page, why) in [(&b""[..], "the page is empty"), (b"up 1\n", "none of the 1 samples")] {
            let said = check(page, Format::Text).unwrap();
            assert!(said.contains(&format!("refused: {why}")), "{said}");
        }
    }

    #[test]
    fn a_series_that_stands_twice_is_refused_as_a_scrape_would() {
        assert!(check(b"a 1\na 2\n", Format::Text).unwrap_err().contains("twice"));
    }

    #[test]
    fn a_refusal_names_line_column_and_reason() {
        assert_eq!(
            check(b"a 1\nb x\n", Format::Text).unwrap_err(),
            "2:3: a number is expected as the value"
        );
        assert_eq!(
            check(b"a 1\n", Format::OpenMetrics).unwrap_err(),
            "2:1: the page must end in a line `# EOF`"
        );
    }

    #[test]
    fn the_old_node_s_page_has_the_families_that_it_declares() {
        let page = include_bytes!("../tests/data/aws-node-old-quantiles.prom");
        let report = report(page, Format::Text).unwrap();
        assert_eq!((report.families, report.samples), (42, 114));
    }
}
