//! The one table of metrics: what each family of ipamd is, how its rows become cluster figures, and
//! what we publish besides. Comes in: a name or labels from a page. Goes out: their entry. Never: a
//! value.
//!
//! To add a metric, add a row to `catalog/table.rs`; README's reference follows from it.

use crate::model::Kind;
use std::sync::LazyLock;

pub mod closed;
pub mod published;
pub mod reference;
pub mod table;

pub use published::{PUBLISHED, SETTINGS};
pub use table::FAMILIES;

/// Bounds of client_golang's default buckets, in seconds; `+Inf` is implied.
pub const DEFAULT_BOUNDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The family whose value tells a restart (truth rule 3).
pub const START_TIME: &str = "process_start_time_seconds";

/// The prefix of every family that the store keeps.
pub const PREFIX: &str = "awscni_";

/// What the names of our own families begin with.
pub const OWN_PREFIX: &str = "vpccni_";

/// The child that unknown label values count under.
pub const OTHER: &str = "other";

/// What stands in place of a `/32` in the folded row of awscni_assigned_ip_per_cidr.
pub const FOLDED_CIDR: &str = "/32";

/// One family of ipamd.
#[derive(Debug)]
pub struct Family {
    /// As ipamd names it.
    pub name: &'static str,
    /// The canonical type, whatever a node's version declares.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// Our words for the HELP line.
    pub help: &'static str,
    /// Its labels, without `le` and `quantile`.
    pub labels: &'static [&'static str],
    /// Whether node detail `core` shows its total per node.
    pub core: bool,
    /// How raw rows become canonical rows.
    pub fold: Fold,
    /// The cluster figure made from it.
    pub cluster: Option<Cluster>,
    /// The name under which cni-metrics-helper sends it to CloudWatch.
    pub cloudwatch: Option<&'static str>,
}

/// A unit, as Prometheus spells base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things that are counted.
    Count,
    /// Seconds.
    Seconds,
    /// Milliseconds: only on ipamd's own families.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// A share between 0 and 1.
    Ratio,
    /// Always 1; the labels are the information.
    Info,
}

impl Unit {
    /// The word in the reference.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Bytes => "bytes",
            Unit::Ratio => "ratio",
            Unit::Info => "info",
        }
    }
}

/// How raw rows become canonical rows. Rows that become one are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// Each row stands for itself.
    None,
    /// Rows whose label `cidr` is a single address (`/32`, `/128`) become one.
    HostCidrs,
    /// The label `error` holds free text: only the error code in it is kept.
    ErrorText,
}

/// Which sample of a family a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suffix {
    /// The family's own name.
    None,
    /// `_bucket`
    Bucket,
    /// `_sum`
    Sum,
    /// `_count`
    Count,
}

impl Suffix {
    /// What is appended to the family's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Suffix::None => "",
            Suffix::Bucket => "_bucket",
            Suffix::Sum => "_sum",
            Suffix::Count => "_count",
        }
    }
}

/// A cluster figure made from a family of ipamd.
#[derive(Debug)]
pub struct Cluster {
    /// Its name, without suffixes.
    pub name: &'static str,
    /// Its type on our page.
    pub kind: Kind,
    /// How the nodes' rows become it.
    pub rule: Rule,
    /// Our words for the HELP line.
    pub help: &'static str,
    /// Its labels and their closed sets of values.
    pub labels: &'static [ClosedLabel],
    /// The combinations that exist where not all do; empty means all.
    pub combinations: &'static [&'static [&'static str]],
}

/// How rows of nodes become a cluster figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// The sum over the nodes now.
    Sum,
    /// The sum over the nodes now, IPv4 and IPv6 nodes apart.
    SumByIpFamily,
    /// The sum of the increases.
    Increase,
    /// The sum of the increases of `_sum` and `_count`, divided by this (1000: from milliseconds).
    Summary {
        /// What the sum is divided by when it is written.
        divisor: f64,
    },
    /// The sum of the increases of buckets, `_sum` and `_count`.
    Histogram,
}

/// A label of a cluster figure. A value outside the set counts under [`OTHER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedLabel {
    /// Its name, on the node's page and on ours.
    pub name: &'static str,
    /// The values that have a child of their own, sorted.
    pub values: &'static [&'static str],
}

/// A family of ours that is not made from one family of ipamd.
#[derive(Debug)]
pub struct Published {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// Our words for the HELP line.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// `cluster` or `node`.
    pub scope: &'static str,
}

/// The index of a catalogued family and the sample that `sample` is of it. A name that is itself a
/// family wins over a suffix; suffixes count only where the family's type has them.
pub fn lookup(sample: &str) -> Option<(u16, Suffix)> {
    let find = |name: &str| FAMILIES.binary_search_by(|f| f.name.cmp(name)).ok();
    let index = |at: usize| u16::try_from(at).ok();
    if let Some(at) = find(sample) {
        return Some((index(at)?, Suffix::None));
    }
    for suffix in [Suffix::Bucket, Suffix::Sum, Suffix::Count] {
        let Some(at) = sample.strip_suffix(suffix.as_str()).and_then(find) else { continue };
        let fits = match FAMILIES[at].kind {
            Kind::Histogram => true,
            Kind::Summary => suffix != Suffix::Bucket,
            _ => false,
        };
        if fits {
            return Some((index(at)?, suffix));
        }
    }
    None
}

/// The entry of one of our own families; the table is tested to hold every name that is asked for.
pub fn published(name: &str) -> Option<&'static Published> {
    PUBLISHED.iter().find(|p| p.name == name)
}

/// The children of every cluster figure and where their values stand.
#[derive(Debug)]
pub struct Slots {
    families: Vec<FamilySlots>,
    counters: u16,
    gauges: u16,
}

#[derive(Debug, Default)]
struct FamilySlots {
    /// Label values of each child, in the order of `Cluster::labels`.
    children: Vec<Vec<&'static str>>,
    /// First slot, among the counters or among the gauges.
    first: u16,
}

/// All slots, computed from the table once.
pub static SLOTS: LazyLock<Slots> = LazyLock::new(Slots::of_table);

impl Slots {
    fn of_table() -> Slots {
        let mut slots = Slots { families: Vec::new(), counters: 0, gauges: 0 };
        for family in FAMILIES {
            let mut entry = FamilySlots::default();
            if let Some(cluster) = &family.cluster {
                entry.children = children(cluster);
                let width = width(cluster.rule);
                let count = u16::try_from(entry.children.len()).unwrap_or(u16::MAX);
                let next = match cluster.rule {
                    Rule::Sum | Rule::SumByIpFamily => &mut slots.gauges,
                    _ => &mut slots.counters,
                };
                entry.first = *next;
                *next += count * width;
            }
            slots.families.push(entry);
        }
        slots
    }

    /// How many counters there are.
    pub fn counters(&self) -> usize {
        self.counters.into()
    }

    /// How many gauges there are.
    pub fn gauges(&self) -> usize {
        self.gauges.into()
    }

    /// Label values and first slot of each child of a family's cluster figure.
    pub fn children(&self, family: u16) -> impl Iterator<Item = (&[&'static str], u16)> {
        let entry = &self.families[usize::from(family)];
        let width = FAMILIES[usize::from(family)].cluster.as_ref().map_or(1, |c| width(c.rule));
        (0u16..).zip(&entry.children).map(move |(i, c)| (c.as_slice(), entry.first + i * width))
    }

    /// The first slot of the child that a row with these labels belongs to.
    pub fn child_of<'l>(
        &self,
        family: u16,
        label: impl Fn(&str) -> Option<&'l str>,
    ) -> Option<u16> {
        let cluster = FAMILIES[usize::from(family)].cluster.as_ref()?;
        let wanted: Vec<&str> = cluster
            .labels
            .iter()
            .map(|l| label(l.name).filter(|v| l.values.contains(v)).unwrap_or(OTHER))
            .collect();
        let entry = &self.families[usize::from(family)];
        // A combination that is not listed counts under the last child: `other` throughout.
        let at =
            entry.children.iter().position(|c| *c == wanted).unwrap_or(entry.children.len() - 1);
        Some(entry.first + u16::try_from(at).ok()? * width(cluster.rule))
    }
}

/// Slots that one child takes: a histogram's buckets, then `+Inf` which is its count, then its sum.
fn width(rule: Rule) -> u16 {
    match rule {
        Rule::Sum | Rule::Increase => 1,
        Rule::SumByIpFamily | Rule::Summary { .. } => 2,
        Rule::Histogram => HISTOGRAM_SUM + 1,
    }
}

/// Slot of a histogram child's count, relative to its first.
pub const HISTOGRAM_COUNT: u16 = DEFAULT_BOUNDS.len() as u16;
/// Slot of a histogram child's sum, relative to its first.
pub const HISTOGRAM_SUM: u16 = HISTOGRAM_COUNT + 1;
/// Slot of a summary child's count, relative to its first, which is the sum.
pub const SUMMARY_COUNT: u16 = 1;

fn children(cluster: &Cluster) -> Vec<Vec<&'static str>> {
    if !cluster.combinations.is_empty() {
        return cluster.combinations.iter().map(|c| c.to_vec()).collect();
    }
    let mut all: Vec<Vec<&'static str>> = vec![Vec::new()];
    for label in cluster.labels {
        all = all
            .into_iter()
            .flat_map(|head| {
                label.values.iter().copied().chain([OTHER]).map(move |value| {
                    let mut child = head.clone();
                    child.push(value);
                    child
                })
            })
            .collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_name_so_that_lookup_and_page_order_hold() {
        assert!(FAMILIES.windows(2).all(|w| w[0].name < w[1].name));
    }

    #[test]
    fn a_suffix_counts_only_where_the_type_has_it() {
        let name = |sample| lookup(sample).map(|(i, s)| (FAMILIES[usize::from(i)].name, s));
        assert_eq!(
            name("awscni_aws_api_latency_ms_sum"),
            Some(("awscni_aws_api_latency_ms", Suffix::Sum))
        );
        assert_eq!(name("awscni_aws_api_latency_ms_bucket"), None);
        assert_eq!(
            name("awscni_add_ip_req_count"),
            Some(("awscni_add_ip_req_count", Suffix::None))
        );
        assert_eq!(name("awscni_add_ip_req_count_sum"), None);
    }

    #[test]
    fn closed_sets_are_sorted_and_leave_other_to_us() {
        for label in FAMILIES.iter().filter_map(|f| f.cluster.as_ref()).flat_map(|c| c.labels) {
            assert!(label.values.windows(2).all(|w| w[0] < w[1]), "{label:?}");
            assert!(!label.values.contains(&OTHER), "{label:?}");
        }
    }

    #[test]
    fn listed_combinations_end_with_other_throughout() {
        for cluster in FAMILIES.iter().filter_map(|f| f.cluster.as_ref()) {
            let Some(last) = cluster.combinations.last() else { continue };
            assert!(last.iter().all(|v| *v == OTHER), "{}", cluster.name);
            assert!(cluster.combinations.iter().all(|c| c.len() == cluster.labels.len()));
        }
    }

    #[test]
    fn rule_9_an_unknown_label_value_counts_under_other() {
        let (family, _) = lookup("awscni_del_ip_req_count").unwrap();
        let slot = |reason| SLOTS.child_of(family, |_| Some(reason)).unwrap();
        let named: Vec<_> = SLOTS.children(family).map(|(c, s)| (c[0], s)).collect();
        assert!(named.contains(&("PodDeleted", slot("PodDeleted"))));
        assert!(named.contains(&("other", slot("never heard of"))));
    }

    #[test]
    fn core_is_at_most_sixteen_series_a_node() {
        assert!(FAMILIES.iter().filter(|f| f.core).count() <= 16);
    }

    #[test]
    fn no_two_children_share_a_slot() {
        let mut seen = std::collections::HashSet::new();
        for (index, family) in (0u16..).zip(FAMILIES) {
            let Some(cluster) = &family.cluster else { continue };
            let gauge = matches!(cluster.rule, Rule::Sum | Rule::SumByIpFamily);
            for (_, first) in SLOTS.children(index) {
                for slot in first..first + width(cluster.rule) {
                    assert!(seen.insert((gauge, slot)), "{}", cluster.name);
                }
            }
        }
        assert_eq!(seen.len(), SLOTS.counters() + SLOTS.gauges());
    }
}
