//! A raw row becomes a canonical one: family, sample, folded and sorted labels, cluster slot (truth
//! rule 9). Comes in: a sample's name and labels. Goes out: its meaning, decided once, when the line
//! is interned. Never: a value.

use crate::catalog::{self, DEFAULT_BOUNDS, FAMILIES, Fold, Rule, SLOTS, Suffix};
use crate::model::Kind;
use crate::number;
use crate::parse::{Labels, unescape};
use crate::render::escape;
use crate::view::{FamilyId, Series, Slot};
use std::borrow::Cow;

/// What a raw row is.
#[derive(Debug, PartialEq)]
pub(super) enum Canonical<'a> {
    /// A row of a catalogued family.
    Known { family: u16, suffix: Suffix, labels: Vec<(Cow<'a, str>, Cow<'a, str>)>, folded: bool },
    /// A row of a family of ipamd that the catalogue does not know.
    Other { labels: Vec<(Cow<'a, str>, Cow<'a, str>)> },
    /// process_start_time_seconds.
    Start,
    /// Another program's family, or a row that its family cannot have.
    Ignored,
}

/// A name or a label value over `--scrape.max-label-length`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// Which one.
    pub(super) what: String,
    /// Bytes that it has.
    pub(super) length: usize,
}

/// Decides what a row is; label values are held against the limit after folding.
pub(super) fn canonical<'a>(
    name: &str,
    raw: Labels<'a>,
    max_label_length: usize,
) -> Result<Canonical<'a>, TooLong> {
    let mut labels: Vec<(Cow<'a, str>, Cow<'a, str>)> =
        raw.iter().map(|(name, value)| (Cow::Borrowed(name), unescape(value))).collect();
    let known = catalog::lookup(name);
    let mut folded = false;
    if let Some((family, _)) = known {
        folded = fold(FAMILIES[usize::from(family)].fold, &mut labels);
    }
    let names = [("the metric's name", name)].into_iter();
    let names = names.chain(labels.iter().map(|(label, _)| ("a label's name", &**label)));
    if let Some((what, name)) = names.into_iter().find(|(_, name)| name.len() > max_label_length) {
        return Err(TooLong { what: what.to_owned(), length: name.len() });
    }
    if let Some((label, value)) = labels.iter().find(|(_, v)| v.len() > max_label_length) {
        return Err(TooLong { what: format!("label {label} of {name}"), length: value.len() });
    }
    if name == catalog::START_TIME && labels.is_empty() {
        return Ok(Canonical::Start);
    }
    if !name.starts_with(catalog::PREFIX) {
        return Ok(Canonical::Ignored);
    }
    for at in 0..labels.len() {
        if RESERVED.contains(&&*labels[at].0) {
            let mut free = format!("exported_{}", labels[at].0);
            while labels.iter().any(|(label, _)| *label == free) {
                free.insert_str(0, "exported_");
            }
            labels[at].0 = Cow::Owned(free);
        }
    }
    labels.sort();
    let Some((family, suffix)) = known else { return Ok(Canonical::Other { labels }) };
    if suffix == Suffix::Bucket {
        for (_, le) in labels.iter_mut().filter(|(name, _)| name == "le") {
            *le = bound_text(std::mem::take(le));
        }
    }
    let has = |label: &str| labels.iter().any(|(name, _)| name == label);
    let fits = match (FAMILIES[usize::from(family)].kind, suffix) {
        (Kind::Histogram, Suffix::None) => false,
        (Kind::Histogram, Suffix::Bucket) => has("le"),
        (Kind::Summary, Suffix::None) => has("quantile"),
        _ => true,
    };
    Ok(if fits { Canonical::Known { family, suffix, labels, folded } } else { Canonical::Ignored })
}

/// Labels that belong to us or to the scraper (DESIGN §5); a node's own are renamed as Prometheus
/// renames them.
const RESERVED: &[&str] = &["cluster", "instance", "job", "namespace", "node", "pod"];

fn fold(rule: Fold, labels: &mut [(Cow<'_, str>, Cow<'_, str>)]) -> bool {
    let (label, replacement) = match rule {
        Fold::None => return false,
        Fold::HostCidrs => ("cidr", host_cidr as fn(&str) -> Option<String>),
        Fold::ErrorText => ("error", error_text as fn(&str) -> Option<String>),
    };
    let mut folded = false;
    for (_, value) in labels.iter_mut().filter(|(name, _)| name == label) {
        if let Some(canonical) = replacement(value) {
            *value = Cow::Owned(canonical);
            folded = true;
        }
    }
    folded
}

fn host_cidr(cidr: &str) -> Option<String> {
    let single = cidr.ends_with("/32") || cidr.ends_with("/128");
    single.then(|| catalog::FOLDED_CIDR.to_owned())
}

/// The code in an error text, or `other`. The AWS SDK for Go writes `… api error CODE: message`
/// (version 2) or `CODE: message` (version 1); both may be wrapped and carry request ids.
fn error_text(text: &str) -> Option<String> {
    let code = text
        .split_once("api error ")
        .map(|(_, rest)| rest)
        .and_then(|rest| rest.split([':', ' ', ',']).next())
        .or_else(|| text.split(": ").find(|part| catalog::closed::AWS_ERRORS.contains(part)))
        .or_else(|| catalog::closed::AWS_ERRORS.contains(&text).then_some(text))
        .filter(|code| is_code(code))
        .unwrap_or(catalog::OTHER);
    (code != text).then(|| code.to_owned())
}

fn is_code(code: &str) -> bool {
    /// EC2's longest code has 58 characters; a longer word is no code.
    const LONGEST: usize = 64;
    !code.is_empty()
        && code.len() <= LONGEST
        && code.starts_with(|c: char| c.is_ascii_uppercase())
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
}

/// The series of a canonical row.
pub(super) fn series(
    family: FamilyId,
    suffix: Suffix,
    labels: &[(Cow<'_, str>, Cow<'_, str>)],
    folded: bool,
) -> Series {
    let slot = match family {
        FamilyId::Known(index) => slot(index, suffix, labels),
        FamilyId::Other(_) => Slot::None,
    };
    let grouping = |name: &str| name == "le" || name == "quantile";
    let pairs = || labels.iter().map(|(n, v)| (&**n, &**v));
    let grouped = labels.iter().any(|(name, _)| grouping(name));
    Series {
        family,
        suffix,
        labels: rendered(pairs()).into(),
        ungrouped: grouped.then(|| rendered(pairs().filter(|(n, _)| !grouping(n))).into()),
        slot,
        folded,
    }
}

fn slot(family: u16, suffix: Suffix, labels: &[(Cow<'_, str>, Cow<'_, str>)]) -> Slot {
    let label = |name: &str| labels.iter().find(|(n, _)| n == name).map(|(_, value)| &**value);
    let Some(cluster) = &FAMILIES[usize::from(family)].cluster else { return Slot::None };
    let Some(first) = SLOTS.child_of(family, label) else { return Slot::None };
    match (cluster.rule, suffix) {
        (Rule::Sum, _) => Slot::Gauge(first),
        (Rule::SumByIpFamily, _) => Slot::GaugeByIpFamily(first),
        (Rule::Increase, _) => Slot::Counter(first),
        (Rule::Summary { .. }, Suffix::Sum) => Slot::Counter(first),
        (Rule::Summary { .. }, Suffix::Count) => Slot::Counter(first + catalog::SUMMARY_COUNT),
        (Rule::Histogram, Suffix::Bucket) => match label("le").and_then(bound_index) {
            Some(bound) => Slot::Counter(first + bound),
            None => Slot::None,
        },
        (Rule::Histogram, Suffix::Count) => Slot::Counter(first + catalog::HISTOGRAM_COUNT),
        (Rule::Histogram, Suffix::Sum) => Slot::Counter(first + catalog::HISTOGRAM_SUM),
        _ => Slot::None,
    }
}

/// A bound in the one spelling that we know for its number.
pub(super) fn bound_text(le: Cow<'_, str>) -> Cow<'_, str> {
    match number::parse(le.as_bytes()) {
        Some(bound) => {
            let mut out = Vec::new();
            number::write(&mut out, bound);
            Cow::Owned(String::from_utf8(out).unwrap_or_default())
        }
        None => le,
    }
}

/// The index of a bound among the catalogue's, compared as a number: `5` is `5.0`.
pub(super) fn bound_index(le: &str) -> Option<u16> {
    let bound = number::parse(le.as_bytes())?;
    let at = DEFAULT_BOUNDS.iter().position(|b| b.to_bits() == bound.to_bits())?;
    u16::try_from(at).ok()
}

/// `a="x",b="y"` with values escaped as text 0.0.4 wants it.
fn rendered<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> String {
    let mut out = Vec::new();
    for (name, value) in labels {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(value, true, &mut out);
        out.push(b'"');
    }
    // Only ASCII was put between pieces of UTF-8.
    String::from_utf8(out).unwrap_or_default()
}
