//! Everything that is interned, and the reading of a page against it. Comes in: a page, and the
//! shape of the one before. Goes out: its values in the order of a layout. Never: a delta, a clock.
//!
//! Fast path: while the page repeats the lines of the shape before, a line costs one comparison and
//! one number. Slow path: a line that differs is tokenised, looked up or interned, and the shape is
//! searched ahead for it, so that one row more or less costs one line, not the rest of the page.

use super::canon::{self, Canonical};
use super::layout::{self, IGNORED, START};
use super::lines::{Lines, Meaning};
use super::{Limits, Refusal};
use crate::catalog::Suffix;
use crate::model::Kind;
use crate::parse::{self, Line, Reader, Sample};
use crate::view::{FamilyId, Layout, OtherFamily, Roles, Series};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet, HashTable};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// How far ahead the shape is searched for a line that came early: rows of one family come and go
/// by tens at most (performance research: 64 keeps 1 % churn within 1.2 of no churn).
const LOOKAHEAD: usize = 64;

/// The lines of a node's page, in order, and where their values go.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Ids in [`Lines`].
    pub(super) lines: Box<[u32]>,
    /// For each line its row, or [`IGNORED`], or [`START`].
    pub(super) rows: Arc<[u16]>,
    /// The rows.
    pub(super) layout: Arc<Layout>,
}

/// What reading a page found.
#[derive(Debug)]
pub(super) struct Reading {
    /// One value a row.
    pub(super) values: Box<[f64]>,
    /// The new shape; `None` when it is the one before.
    pub(super) reshaped: Option<Shape>,
    /// process_start_time_seconds as served.
    pub(super) start: Option<f64>,
    /// Samples on the page.
    pub(super) samples: usize,
    /// Of these, samples of rows.
    pub(super) kept: usize,
    /// Lines that took the slow path.
    pub(super) misses: usize,
    /// Whether it has series of ours: the nodes on it would be taken for one.
    pub(super) own: bool,
}

impl Reading {
    /// Refuses the page of another program. Taken for zeros, it would drop gauges now and burst
    /// counters with the next good page.
    pub(super) fn of_ipamd(self) -> Result<Reading, Refusal> {
        match foreign(self.own, self.kept, self.samples) {
            None => Ok(self),
            Some(why) => Err(Refusal::Parse(why)),
        }
    }
}

/// Why a page that can be read is refused as a node's, if it is.
pub(super) fn foreign(own: bool, kept: usize, samples: usize) -> Option<String> {
    if own {
        return Some("this is a page of vpc-cni-exporter, not of ipamd".to_owned());
    }
    (kept == 0).then(|| match samples {
        0 => "the page is empty".to_owned(),
        _ => format!(
            "none of the {samples} samples is ipamd's (awscni_…): is another program at this address?"
        ),
    })
}

/// The interned lines, series and families of this process.
#[derive(Debug, Default)]
pub(super) struct Interner {
    pub(super) lines: Lines,
    series: Arc<Vec<Option<Arc<Series>>>>,
    series_ids: HashTable<u32>,
    free_series: Vec<u32>,
    others: Arc<Vec<OtherFamily>>,
    others_cut: bool,
    roles: HashSet<Arc<Roles>, RandomState>,
    places: HashSet<Arc<[u16]>, RandomState>,
    declared: HashMap<String, Kind, RandomState>,
    hasher: RandomState,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    ids: Vec<u32>,
    values: Vec<f64>,
    seen: HashSet<u64, RandomState>,
    /// A sample of ours was met.
    own: bool,
}

impl Interner {
    /// Reads a page. `before` is the shape that the page probably has.
    pub(super) fn read(
        &mut self,
        page: &[u8],
        before: Option<&Shape>,
        limits: &Limits,
    ) -> Result<Reading, Refusal> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.read_lines(page, before, limits, &mut scratch);
        let result = result.and_then(|misses| self.finish(page, before, misses, &mut scratch));
        self.scratch = scratch;
        result
    }

    fn read_lines(
        &mut self,
        page: &[u8],
        before: Option<&Shape>,
        limits: &Limits,
        scratch: &mut Scratch,
    ) -> Result<usize, Refusal> {
        let expected: &[u32] = before.map_or(&[], |shape| &shape.lines);
        scratch.ids.clear();
        scratch.values.clear();
        scratch.own = false;
        let (mut at, mut next, mut misses) = (0, 0, 0);
        loop {
            if let Some(&id) = expected.get(next)
                && let Some(value_at) = self.lines.matches(id, page, at)
                && let Some((value, end)) = parse::value_line(page, value_at)
            {
                scratch.ids.push(id);
                scratch.values.push(value);
                at = end;
                next += 1;
                continue;
            }
            let mut reader = Reader::resume(page, at, 1);
            let Some(sample) = self.next_sample(&mut reader, page, limits)? else { break };
            misses += 1;
            scratch.own |= sample.name.starts_with(crate::catalog::OWN_PREFIX);
            let stretch = &page[at..sample.value_at];
            let id = self
                .line_of(stretch, &sample, limits)
                .map_err(|reason| Refusal::Limit(placed(page, scratch.ids.len(), &reason)))?;
            scratch.ids.push(id);
            scratch.values.push(sample.value);
            at = reader.offset();
            if scratch.ids.len() > limits.max_samples {
                break;
            }
            let ahead = expected.iter().skip(next).take(LOOKAHEAD);
            if let Some(skipped) = ahead.into_iter().position(|e| *e == id) {
                next += skipped + 1;
            }
        }
        if scratch.ids.len() > limits.max_samples {
            let reason = format!(
                "the page has more than {} samples (--scrape.max-samples)",
                limits.max_samples
            );
            return Err(Refusal::Limit(placed(page, limits.max_samples, &reason)));
        }
        Ok(misses)
    }

    /// The next sample; types declared on the way are noted for families we do not know.
    fn next_sample<'p>(
        &mut self,
        reader: &mut Reader<'p>,
        page: &[u8],
        limits: &Limits,
    ) -> Result<Option<Sample<'p>>, Refusal> {
        loop {
            match reader.next_line() {
                Ok(None) => return Ok(None),
                Ok(Some(Line::Sample(sample))) => return Ok(Some(sample)),
                Ok(Some(Line::Type { name, kind })) => {
                    if name.len() <= limits.max_label_length {
                        self.declare(name, kind);
                    }
                }
                Ok(Some(Line::Help { .. })) => {}
                Err(error) => return Err(Refusal::Parse(located(page, error))),
            }
        }
    }

    fn declare(&mut self, name: &str, kind: Kind) {
        if !name.starts_with(crate::catalog::PREFIX) || crate::catalog::lookup(name).is_some() {
            return;
        }
        match self.declared.get(name) {
            Some(known) if *known == kind => return,
            Some(_) => self.declared.insert(name.to_owned(), Kind::Untyped),
            None if self.declared.len() >= OTHER_FAMILIES_CAP => return,
            None => self.declared.insert(name.to_owned(), kind),
        };
        let others: Vec<OtherFamily> =
            self.others.iter().map(|other| self.other(&other.name)).collect();
        if others != *self.others {
            self.others = Arc::new(others);
        }
    }

    /// What is known of an uncatalogued sample name by now.
    fn other(&self, name: &Arc<str>) -> OtherFamily {
        let parent = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let base = name.strip_suffix(suffix)?;
            let kind = *self.declared.get(base)?;
            let fits = kind == Kind::Histogram || (kind == Kind::Summary && *suffix != "_bucket");
            fits.then(|| OtherFamily { name: Arc::clone(name), family: base.into(), kind })
        });
        parent.unwrap_or_else(|| OtherFamily {
            name: Arc::clone(name),
            family: Arc::clone(name),
            kind: self.declared.get(&**name).copied().unwrap_or(Kind::Untyped),
        })
    }

    /// The id of the stretch before a sample's value, interning it at first sight.
    fn line_of(
        &mut self,
        stretch: &[u8],
        sample: &Sample<'_>,
        limits: &Limits,
    ) -> Result<u32, String> {
        if let Some(id) = self.lines.find(stretch) {
            return Ok(id);
        }
        if !self.lines.has_room(stretch) {
            return Err(
                "the store of interned lines is full: too many nodes with too many lines of their own"
                    .to_owned(),
            );
        }
        let canonical = canon::canonical(sample.name, sample.labels, limits.max_label_length)
            .map_err(|long| {
                format!(
                    "{} has {} bytes, {} are allowed (--scrape.max-label-length)",
                    long.what, long.length, limits.max_label_length
                )
            })?;
        let meaning = match &canonical {
            Canonical::Ignored => Meaning::Ignored,
            Canonical::Start => Meaning::Start,
            Canonical::Known { family, suffix, labels, folded } => {
                let id = FamilyId::Known(*family);
                Meaning::Series(self.series_of(canon::series(id, *suffix, labels, *folded)))
            }
            Canonical::Other { labels } => match self.other_of(sample.name) {
                Some(id) => {
                    Meaning::Series(self.series_of(canon::series(id, Suffix::None, labels, false)))
                }
                None => Meaning::Ignored,
            },
        };
        Ok(self.lines.insert(stretch, meaning))
    }

    /// Equal for lines of one and the same raw series, however its labels are ordered or escaped.
    fn identity(&self, id: u32) -> u64 {
        match self.lines.line(id).meaning() {
            Meaning::Series(series) => match self.series[series as usize].as_deref() {
                Some(Series { folded: true, .. }) => self.raw_hash(id),
                _ => u64::from(series),
            },
            // Only the text itself can be told to be there twice; nothing is made of it.
            Meaning::Start | Meaning::Ignored => u64::from(u32::MAX) + 1 + u64::from(id),
        }
    }

    /// The hash of the series that a line names itself, before folding.
    fn raw_hash(&self, id: u32) -> u64 {
        let (head, tail) = self.lines.text(id);
        let line = [head, tail, b"0\n"].concat();
        let mut reader = Reader::new(&line);
        let sample = loop {
            match reader.next_line() {
                Ok(Some(Line::Sample(sample))) => break sample,
                Ok(Some(_)) => {}
                // It was read when it was interned.
                Ok(None) | Err(_) => return self.hasher.hash_one(&line),
            }
        };
        let mut labels: Vec<_> =
            sample.labels.iter().map(|(name, value)| (name, parse::unescape(value))).collect();
        labels.sort();
        self.hasher.hash_one((sample.name, labels))
    }

    fn series_of(&mut self, series: Series) -> u32 {
        let Interner { series: table, series_ids, free_series, hasher, .. } = self;
        let hash = |s: &Series| hasher.hash_one((s.family, s.suffix, &*s.labels));
        let wanted = hash(&series);
        let same = |id: &u32| table[*id as usize].as_deref().is_some_and(|s| s.is(&series));
        let known = series_ids.find(wanted, same).copied();
        let folds = |id: u32| table[id as usize].as_ref().is_some_and(|s| s.folded);
        if let Some(id) = known
            && (folds(id) || !series.folded)
        {
            return id;
        }
        let table = Arc::make_mut(table);
        if let Some(id) = known {
            // Known as a row of its own until now.
            table[id as usize] = Some(Arc::new(series));
            return id;
        }
        let id = match free_series.pop() {
            Some(id) => {
                table[id as usize] = Some(Arc::new(series));
                id
            }
            None => {
                table.push(Some(Arc::new(series)));
                u32::try_from(table.len() - 1).unwrap_or(u32::MAX)
            }
        };
        // Freed ids are not in the table of ids.
        series_ids.insert_unique(wanted, id, |id| table[*id as usize].as_deref().map_or(0, hash));
        id
    }

    /// The uncatalogued family of a sample name; `None` once there are too many.
    fn other_of(&mut self, name: &str) -> Option<FamilyId> {
        let at = match self.others.iter().position(|o| &*o.name == name) {
            Some(at) => at,
            None if self.others.len() >= OTHER_FAMILIES_CAP => {
                self.others_cut = true;
                return None;
            }
            None => {
                let other = self.other(&Arc::from(name));
                let others = Arc::make_mut(&mut self.others);
                others.push(other);
                others.len() - 1
            }
        };
        Some(FamilyId::Other(u32::try_from(at).ok()?))
    }

    fn finish(
        &mut self,
        page: &[u8],
        before: Option<&Shape>,
        misses: usize,
        scratch: &mut Scratch,
    ) -> Result<Reading, Refusal> {
        let reshaped = match before {
            Some(shape) if *shape.lines == *scratch.ids => None,
            _ => Some(self.shape_of(page, before, scratch)?),
        };
        let empty = Shape::default();
        let shape = reshaped.as_ref().or(before).unwrap_or(&empty);
        // -0.0 is the one float that leaves every addend as it is, so a lone row keeps its bits.
        let mut values = vec![-0.0; shape.layout.rows.len()].into_boxed_slice();
        let (mut start, mut kept) = (None, 0);
        for (row, value) in shape.rows.iter().zip(&scratch.values) {
            match *row {
                IGNORED => {}
                START => start = Some(*value),
                row => {
                    kept += 1;
                    values[usize::from(row)] += value;
                }
            }
        }
        let (samples, own) = (scratch.ids.len(), scratch.own);
        Ok(Reading { values, reshaped, start, samples, kept, misses, own })
    }

    fn shape_of(
        &mut self,
        page: &[u8],
        before: Option<&Shape>,
        scratch: &mut Scratch,
    ) -> Result<Shape, Refusal> {
        scratch.seen.clear();
        let twice = scratch.ids.iter().position(|id| !scratch.seen.insert(self.identity(*id)));
        if let Some(twice) = twice {
            let (head, tail) = self.lines.text(scratch.ids[twice]);
            let text = [head, tail].concat();
            let text = String::from_utf8_lossy(&text);
            let row = text.lines().last().unwrap_or_default().trim_end();
            let reason = format!("the series {row} is on the page twice");
            return Err(Refusal::Parse(placed(page, twice, &reason)));
        }
        let meanings = scratch.ids.iter().map(|id| self.lines.line(*id).meaning());
        let (rows, order) = layout::arrange(meanings, &self.series);
        let same = before.filter(|shape| *shape.layout.rows == *order);
        let layout = match same {
            Some(shape) => Arc::clone(&shape.layout),
            None => {
                let roles = shared(&mut self.roles, Arc::new(layout::roles(&order, &self.series)));
                Arc::new(Layout { rows: order, roles })
            }
        };
        let rows = shared(&mut self.places, rows);
        Ok(Shape { lines: scratch.ids.as_slice().into(), rows, layout })
    }

    /// Forgets lines and series that no shape uses. `shapes` are all that are kept, `layouts` those
    /// kept without their lines.
    pub(super) fn sweep<'s>(
        &mut self,
        shapes: impl Iterator<Item = &'s Shape>,
        layouts: impl Iterator<Item = &'s Layout>,
    ) {
        let mut lines = vec![false; self.lines.ids()];
        let mut series = vec![false; self.series.len()];
        for shape in shapes {
            shape.lines.iter().for_each(|id| lines[*id as usize] = true);
            shape.layout.rows.iter().for_each(|id| series[*id as usize] = true);
        }
        for layout in layouts {
            layout.rows.iter().for_each(|id| series[*id as usize] = true);
        }
        self.lines.sweep(&lines);
        self.series_ids.retain(|id| series[*id as usize]);
        self.roles.retain(|roles| Arc::strong_count(roles) > 1);
        self.places.retain(|places| Arc::strong_count(places) > 1);
        let table = Arc::make_mut(&mut self.series);
        for (id, marked) in series.iter().enumerate() {
            if !marked && table[id].take().is_some() {
                self.free_series.push(u32::try_from(id).unwrap_or(u32::MAX));
            }
        }
    }

    /// The series table, shared with views.
    pub(super) fn series(&self) -> &Arc<Vec<Option<Arc<Series>>>> {
        &self.series
    }

    /// The uncatalogued families, shared with views.
    pub(super) fn others(&self) -> &Arc<Vec<OtherFamily>> {
        &self.others
    }

    /// Whether some uncatalogued family is not kept because there are too many.
    pub(super) fn others_cut(&self) -> bool {
        self.others_cut
    }

    /// How many series are interned.
    pub(super) fn series_count(&self) -> usize {
        self.series.len() - self.free_series.len()
    }
}

/// Uncatalogued `awscni_` families beyond this are not kept: ipamd has 27, a page that invents
/// names without end must not grow us.
const OTHER_FAMILIES_CAP: usize = 1_000;

/// What some other shape has already, or this.
fn shared<T: ?Sized + Eq + Hash>(known: &mut HashSet<Arc<T>, RandomState>, new: Arc<T>) -> Arc<T> {
    Arc::clone(known.get_or_insert_with(&new, Arc::clone))
}

/// A reason with the place of a sample, counted from 0: `line:column: reason`.
fn placed(page: &[u8], sample: usize, reason: &str) -> String {
    let mut reader = Reader::new(page);
    let mut samples = 0;
    while let Ok(Some(line)) = reader.next_line() {
        samples += usize::from(matches!(line, Line::Sample(_)));
        if samples > sample {
            break;
        }
    }
    format!("{}:1: {reason}", reader.line() - 1)
}

/// The error's place on the whole page: the slow path began in its middle. Every line before the bad
/// one is good, so that reading from the top finds the same error.
fn located(page: &[u8], error: parse::ParseError) -> String {
    let mut reader = Reader::new(page);
    loop {
        match reader.next_line() {
            Ok(Some(_)) => {}
            Ok(None) => return error.to_string(),
            Err(error) => return error.to_string(),
        }
    }
}
