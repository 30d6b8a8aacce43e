//! From the meanings of a page's lines to the order of its rows. Comes in: meanings in page order.
//! Goes out: the rows, what they are for, and each line's row. Never: a value.

use super::lines::Meaning;
use crate::catalog::{self, FAMILIES, Rule, Suffix};
use crate::model::Kind;
use crate::view::{CounterRow, FamilyId, HistogramRows, Roles, Series, Slot, rows_of};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// In a shape's rows: the line's value goes nowhere.
pub(super) const IGNORED: u16 = u16::MAX;
/// In a shape's rows: the line's value is the start time.
pub(super) const START: u16 = u16::MAX - 1;
/// More rows than this have no number; `--scrape.max-samples` is held below it.
pub(super) const MAX_ROWS: usize = START as usize;

type SeriesTable = [Option<Arc<Series>>];

/// Each line's row, and the series of the rows: grouped by family, families in page order of ours,
/// rows of a family in the order of the node's page.
pub(super) fn arrange(
    meanings: impl Iterator<Item = Meaning> + Clone,
    table: &SeriesTable,
) -> (Arc<[u16]>, Box<[u32]>) {
    let mut first_seen: HashMap<u32, usize, RandomState> = HashMap::default();
    for meaning in meanings.clone() {
        if let Meaning::Series(id) = meaning {
            let next = first_seen.len();
            first_seen.entry(id).or_insert(next);
        }
    }
    let mut order: Vec<(u32, usize)> = first_seen.iter().map(|(id, seen)| (*id, *seen)).collect();
    order.sort_unstable_by(|a, b| {
        let family = |id: u32| table[id as usize].as_ref().map(|s| s.family);
        family(a.0).cmp(&family(b.0)).then(a.1.cmp(&b.1))
    });
    order.truncate(MAX_ROWS);
    let mut row_of: HashMap<u32, u16, RandomState> = HashMap::default();
    for (row, (id, _)) in (0u16..).zip(&order) {
        row_of.insert(*id, row);
    }
    let rows = meanings
        .map(|meaning| match meaning {
            Meaning::Series(id) => row_of.get(&id).copied().unwrap_or(IGNORED),
            Meaning::Start => START,
            Meaning::Ignored => IGNORED,
        })
        .collect();
    (rows, order.into_iter().map(|(id, _)| id).collect())
}

/// Everything that later stages want to know of the rows, found out once.
pub(super) fn roles(rows: &[u32], table: &SeriesTable) -> Roles {
    let series = |id: &u32| table.get(*id as usize).and_then(|s| s.as_deref());
    let mut families: Vec<(FamilyId, u16)> = Vec::new();
    let mut gauges = Vec::new();
    let mut counters = Vec::new();
    let mut groups: HashMap<(FamilyId, &str), u16, RandomState> = HashMap::default();
    let mut next_group = 0u16;
    for (row, series) in (0u16..).zip(rows).filter_map(|(row, id)| Some((row, series(id)?))) {
        if families.last().is_none_or(|(last, _)| *last != series.family) {
            families.push((series.family, row));
        }
        match series.slot {
            Slot::None => {}
            Slot::Gauge(_) | Slot::GaugeByIpFamily(_) => gauges.push((row, series.slot)),
            Slot::Counter(slot) => {
                let grouped = matches!(kind(series.family), Kind::Histogram | Kind::Summary);
                let mut fresh = || {
                    next_group += 1;
                    next_group - 1
                };
                let group = if grouped {
                    *groups.entry((series.family, series.base())).or_insert_with(fresh)
                } else {
                    fresh()
                };
                counters.push(CounterRow { row, slot, group });
            }
        }
    }
    let page = Rows { rows, families: &families, table };
    let single = |name: &str| {
        let rows = page.of(known(name)?);
        (rows.len() == 1).then(|| u16::try_from(rows.start).ok())?
    };
    Roles {
        histograms: page.histograms().into(),
        version: page.version(),
        address_rows: [
            "awscni_assigned_ip_addresses",
            "awscni_total_ip_addresses",
            "awscni_ip_max",
        ]
        .map(single),
        families: families.into(),
        gauges: gauges.into(),
        counters: counters.into(),
    }
}

fn kind(family: FamilyId) -> Kind {
    match family {
        FamilyId::Known(index) => FAMILIES[usize::from(index)].kind,
        FamilyId::Other(_) => Kind::Untyped,
    }
}

fn known(name: &str) -> Option<FamilyId> {
    catalog::lookup(name).map(|(index, _)| FamilyId::Known(index))
}

struct Rows<'r> {
    rows: &'r [u32],
    families: &'r [(FamilyId, u16)],
    table: &'r SeriesTable,
}

impl<'r> Rows<'r> {
    fn of(&self, family: FamilyId) -> Range<usize> {
        rows_of(self.families, self.rows.len(), family)
    }

    fn version(&self) -> Option<Arc<str>> {
        let row = self.of(known("awscni_build_info")?).next()?;
        let labels = &self.table[self.rows[row] as usize].as_deref()?.labels;
        let rest = labels.split_once("version=\"").filter(|(head, _)| !head.ends_with("go"));
        // `goversion` sorts before `version`: look behind it.
        let rest = rest.or_else(|| labels.split_once(",version=\"")).map(|(_, rest)| rest)?;
        let (version, _) = rest.split_once('"')?;
        // One that is escaped is no version, and could be cut within an escape.
        (!version.contains('\\')).then(|| version.into())
    }

    /// For each histogram on the page that feeds the cluster: which of the catalogue's bounds it lacks.
    fn histograms(&self) -> Vec<HistogramRows> {
        let mut found = Vec::new();
        for (family, _) in self.families {
            let FamilyId::Known(index) = *family else { continue };
            let cluster = FAMILIES[usize::from(index)].cluster.as_ref();
            if !cluster.is_some_and(|c| c.rule == Rule::Histogram) {
                continue;
            }
            let all = (1u32 << catalog::DEFAULT_BOUNDS.len()) - 1;
            let mut missing: HashMap<&str, u32, RandomState> = HashMap::default();
            let rows = (0u16..).zip(self.rows).skip(self.of(*family).start);
            let rows = rows.take(self.of(*family).len());
            let rows =
                rows.filter_map(|(row, id)| Some((row, self.table[*id as usize].as_deref()?)));
            for (_, bucket) in rows.clone().filter(|(_, s)| s.suffix == Suffix::Bucket) {
                if let Some(bound) = bound(&bucket.labels) {
                    *missing.entry(bucket.base()).or_insert(all) &= !(1 << bound);
                }
            }
            for (count_row, count) in rows.filter(|(_, s)| s.suffix == Suffix::Count) {
                let missing = missing.get(count.base()).copied().unwrap_or(all);
                found.push(HistogramRows { count_row, family: index, missing });
            }
        }
        found
    }
}

fn bound(labels: &str) -> Option<u16> {
    let at = if labels.starts_with("le=\"") { 0 } else { labels.find(",le=\"")? + 1 };
    let rest = labels.get(at + "le=\"".len()..)?;
    super::canon::bound_index(rest.split('"').next()?)
}
