//! Which samples a family may hold, and in what order. Comes in: the metadata and samples of one
//! family, in the order of the page. Goes out: its type, or the first rule that it breaks. Never:
//! a view of any other family.

use std::borrow::Cow;
use std::collections::HashSet;

use super::histogram::Histogram;
use super::line::{Labels, Sample};
use super::{Fault, Refusal, Rule, Type};
use crate::number;

/// A family under way.
#[derive(Debug)]
pub(super) struct Family<'a> {
    name: &'a str,
    /// The line where it begins.
    begun: u32,
    help: bool,
    kind: Option<Type>,
    unit: Option<&'a str>,
    group: Option<Group<'a>>,
    /// Label sets whose samples have ended.
    groups: HashSet<Labels<'a>>,
}

/// The samples of one label set, `le`, `quantile` and a state's label apart.
#[derive(Debug)]
struct Group<'a> {
    key: Labels<'a>,
    /// The line of its last sample.
    line: u32,
    timestamp: Option<f64>,
    /// Series without timestamps: name's suffix and all labels.
    series: HashSet<(&'static str, Labels<'a>)>,
    total: bool,
    histogram: Histogram,
}

impl<'a> Family<'a> {
    pub(super) fn new(name: &'a str, begun: u32) -> Self {
        Family {
            name,
            begun,
            help: false,
            kind: None,
            unit: None,
            group: None,
            groups: HashSet::new(),
        }
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    pub(super) fn begun(&self) -> u32 {
        self.begun
    }

    /// Whether a sample of this name belongs here.
    pub(super) fn owns(&self, name: &str) -> bool {
        self.suffix(name).is_some()
    }

    pub(super) fn help(&mut self) -> Result<(), Rule> {
        self.still_empty()?;
        once(!std::mem::replace(&mut self.help, true))
    }

    pub(super) fn declare(&mut self, word: &str) -> Result<(), Rule> {
        self.still_empty()?;
        let kind = Type::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or(Rule::Type)?;
        once(self.kind.replace(kind).is_none())
    }

    pub(super) fn unit(&mut self, unit: &'a str) -> Result<(), Rule> {
        self.still_empty()?;
        once(self.unit.replace(unit).is_none())?;
        let before = self.name.strip_suffix(unit);
        if unit.is_empty() || before.is_some_and(|before| before.ends_with('_')) {
            Ok(())
        } else {
            Err(Rule::Unit)
        }
    }

    /// A sample that this family owns.
    pub(super) fn sample(&mut self, sample: Sample<'a>, line: u32) -> Result<(), Refusal> {
        let kind = self.kind();
        let suffix = self.suffix(sample.name).unwrap_or_default();
        let at = sample.value_at;
        check_value(kind, suffix, sample.value).map_err(|rule| Fault { at, rule }.on(line))?;
        if let Some(at) = sample.exemplar_at
            && !matches!(
                (kind, suffix),
                (Type::Counter, "_total") | (Type::Histogram | Type::GaugeHistogram, "_bucket")
            )
        {
            return Err(Fault { at, rule: Rule::ExemplarPlace }.on(line));
        }
        let on_line = |rule| Fault { at: 0, rule }.on(line);
        let bound = check_labels(self.name, kind, suffix, &sample.labels).map_err(on_line)?;
        let group = self.enter(kind, suffix, &sample, line)?;
        if sample.timestamp.is_none() && !group.series.insert((suffix, sample.labels)) {
            return Err(on_line(Rule::DuplicateSeries));
        }
        group.total |= suffix == "_total";
        if matches!(kind, Type::Histogram | Type::GaugeHistogram) {
            group.histogram.take(suffix, bound, sample.value).map_err(on_line)?;
        }
        Ok(())
    }

    /// Judges what only the end shows, and answers with the type.
    pub(super) fn close(&self) -> Result<Type, Refusal> {
        let kind = self.kind();
        if let Some(group) = &self.group {
            group.end(kind)?;
        }
        if self.unit.is_some_and(|unit| !unit.is_empty())
            && matches!(kind, Type::Info | Type::StateSet)
        {
            return Err(Fault { at: 0, rule: Rule::UnitType }.on(self.begun));
        }
        Ok(kind)
    }

    fn kind(&self) -> Type {
        self.kind.unwrap_or(Type::Unknown)
    }

    fn still_empty(&self) -> Result<(), Rule> {
        if self.group.is_none() { Ok(()) } else { Err(Rule::MetadataLate) }
    }

    fn suffix(&self, name: &str) -> Option<&'static str> {
        let after = name.strip_prefix(self.name)?;
        self.kind().suffixes().iter().find(|suffix| **suffix == after).copied()
    }

    /// The sample's group: the one under way, or a new one after the end of that.
    fn enter(
        &mut self,
        kind: Type,
        suffix: &str,
        sample: &Sample<'a>,
        line: u32,
    ) -> Result<&mut Group<'a>, Refusal> {
        let refuse = |rule| Err(Fault { at: 0, rule }.on(line));
        let key = group_key(self.name, kind, suffix, &sample.labels);
        let group = match self.group.take() {
            Some(mut group) if group.key == key => {
                group.line = line;
                // The samples of an info family have no label set in common that could be told
                // from their own labels: each may have a time of its own.
                if kind != Type::Info {
                    match (group.timestamp, sample.timestamp) {
                        (None, Some(_)) | (Some(_), None) => return refuse(Rule::TimestampMix),
                        (Some(before), Some(now)) if now < before => {
                            return refuse(Rule::TimestampOrder);
                        }
                        (Some(before), Some(now)) if now > before => group.end_point(kind)?,
                        _ => {}
                    }
                }
                group.timestamp = sample.timestamp;
                group
            }
            ended => {
                if let Some(ended) = ended {
                    ended.end(kind)?;
                    self.groups.insert(ended.key);
                }
                if self.groups.contains(&key) {
                    return refuse(Rule::Grouping);
                }
                Group {
                    key,
                    line,
                    timestamp: sample.timestamp,
                    series: HashSet::new(),
                    total: false,
                    histogram: Histogram::default(),
                }
            }
        };
        Ok(self.group.insert(group))
    }
}

impl Group<'_> {
    /// No further sample of this label set.
    fn end(&self, kind: Type) -> Result<(), Refusal> {
        let refuse = |rule| Fault { at: 0, rule }.on(self.line);
        match kind {
            Type::Counter if !self.total => Err(refuse(Rule::NoTotal)),
            Type::Histogram | Type::GaugeHistogram => self.histogram.end().map_err(refuse),
            _ => Ok(()),
        }
    }

    /// No further sample of this label set with this timestamp.
    fn end_point(&mut self, kind: Type) -> Result<(), Refusal> {
        self.end(kind)?;
        self.histogram = Histogram::default();
        Ok(())
    }
}

fn once(first: bool) -> Result<(), Rule> {
    if first { Ok(()) } else { Err(Rule::MetadataTwice) }
}

fn check_value(kind: Type, suffix: &str, value: f64) -> Result<(), Rule> {
    match (kind, suffix) {
        (Type::StateSet, _) if !matches!(value, 0.0 | 1.0) => return Err(Rule::StateValue),
        (Type::Info, _) if !matches!(value, 1.0) => return Err(Rule::InfoValue),
        (Type::Summary, "") if value < 0.0 => return Err(Rule::QuantileNegative),
        _ => {}
    }
    let counts = matches!(suffix, "_total" | "_bucket" | "_count" | "_gcount" | "_sum");
    if (counts || suffix == "_gsum") && value.is_nan() {
        return Err(Rule::CountNaN);
    }
    if counts && value < 0.0 {
        return Err(Rule::CountNegative);
    }
    let whole = value.is_finite() && value.fract() == 0.0;
    if matches!(suffix, "_bucket" | "_count" | "_gcount") && !whole {
        return Err(Rule::CountFraction);
    }
    Ok(())
}

/// Checks the labels that a type demands; answers with a bucket's bound.
fn check_labels(
    name: &str,
    kind: Type,
    suffix: &str,
    labels: &Labels<'_>,
) -> Result<Option<f64>, Rule> {
    match (kind, suffix) {
        (Type::Summary, "") => {
            let quantile = label(labels, "quantile").and_then(|q| number::parse(q.as_bytes()));
            match quantile {
                Some(quantile) if (0.0..=1.0).contains(&quantile) => Ok(None),
                _ => Err(Rule::QuantileLabel),
            }
        }
        (Type::StateSet, _) if label(labels, name).is_none() => Err(Rule::StateLabel),
        (Type::Histogram | Type::GaugeHistogram, "_bucket") => {
            let le = label(labels, "le").ok_or(Rule::BucketLabel)?;
            match number::parse(le.as_bytes()) {
                Some(bound) if bound.is_finite() => Ok(Some(bound)),
                Some(f64::INFINITY) if le == "+Inf" => Ok(Some(f64::INFINITY)),
                _ => Err(Rule::BucketLabel),
            }
        }
        _ => Ok(None),
    }
}

fn label<'l>(labels: &'l Labels<'_>, name: &str) -> Option<&'l str> {
    labels.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::as_ref(value))
}

/// The labels that the samples of one metric have in common.
fn group_key<'a>(name: &str, kind: Type, suffix: &str, labels: &Labels<'a>) -> Labels<'a> {
    let own = match (kind, suffix) {
        (Type::Info, _) => return Labels::new(),
        (Type::StateSet, _) => name,
        (Type::Summary, "") => "quantile",
        (Type::Histogram | Type::GaugeHistogram, "_bucket") => "le",
        _ => "",
    };
    labels.iter().filter(|(label, _)| *label != own).cloned().collect()
}
