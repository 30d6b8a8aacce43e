//! What one publishing is made from: pages, their layouts, the nodes, the cluster's counters, all
//! as of one moment. Comes in: values that the store keeps. Goes out: the same values, shared and
//! unchanging. Never: a lock, a clock, a decision.

use crate::catalog::{Family, Suffix};
use crate::model::{DaemonSet, Growth, Kind, Moment, NodeState, Outcome, Target};
use crate::total::Total;
use std::ops::Range;
use std::sync::Arc;

/// Which family a series belongs to. Ordered: catalogued families by name, then the others as they
/// were met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FamilyId {
    /// Index into [`crate::catalog::FAMILIES`].
    Known(u16),
    /// Index into [`View::others`]; stable while the process lives.
    Other(u32),
}

/// A sample name that the catalogue does not know. It appears in node detail `full` alone and is
/// never aggregated (truth rule 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherFamily {
    /// The sample name on the nodes' pages.
    pub name: Arc<str>,
    /// Its family: the same name, or what precedes `_bucket`, `_sum` or `_count` where that is
    /// declared a histogram or a summary.
    pub family: Arc<str>,
    /// The family's type as declared; `Untyped` when never declared or once two nodes disagreed.
    pub kind: Kind,
}

/// One row of a node's page after folding: interned once per process.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its family.
    pub family: FamilyId,
    /// Which sample of the family.
    pub suffix: Suffix,
    /// `a="x",b="y"`: escaped, sorted by name, without braces; empty without labels.
    pub labels: Box<str>,
    /// The same without `le` and `quantile`, where that is something else; see [`Series::base`].
    pub ungrouped: Option<Box<str>>,
    /// Where its value goes in the cluster's figures.
    pub slot: Slot,
    /// Rows of a page that differ are added up here.
    pub folded: bool,
}

impl Series {
    /// Labels without `le` and `quantile`: rows with equal base belong to one histogram or summary.
    pub fn base(&self) -> &str {
        self.ungrouped.as_deref().unwrap_or(&self.labels)
    }

    /// Whether both name the same row.
    pub fn is(&self, other: &Series) -> bool {
        self.family == other.family && self.suffix == other.suffix && self.labels == other.labels
    }
}

/// Where a row's value goes in the cluster's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Nowhere.
    None,
    /// Its increases are added to this cluster counter.
    Counter(u16),
    /// Its value is added to this cluster gauge.
    Gauge(u16),
    /// Its value is added to this cluster gauge on IPv4 nodes, to the next one on IPv6 nodes.
    GaugeByIpFamily(u16),
}

/// The rows of a node's page, in the order of their families. It stays the same object while the
/// node's page keeps its shape.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Indexes into [`View::series`], grouped by family in the order of [`FamilyId`].
    pub rows: Box<[u32]>,
    /// What the rows are for.
    pub roles: Arc<Roles>,
}

/// What the rows of a layout are for. Nodes whose rows differ in addresses and interfaces alone share
/// one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Roles {
    /// First row of each family that is present.
    pub families: Box<[(FamilyId, u16)]>,
    /// Rows that feed cluster gauges.
    pub gauges: Box<[(u16, Slot)]>,
    /// Rows that feed cluster counters.
    pub counters: Box<[CounterRow]>,
    /// Histograms on the page that feed cluster histograms.
    pub histograms: Box<[HistogramRows]>,
    /// The label `version` of awscni_build_info.
    pub version: Option<Arc<str>>,
    /// Rows of awscni_assigned_ip_addresses, awscni_total_ip_addresses and awscni_ip_max.
    pub address_rows: [Option<u16>; 3],
}

/// A row that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterRow {
    /// Index into [`Layout::rows`].
    pub row: u16,
    /// The cluster counter it feeds.
    pub slot: u16,
    /// Rows of one histogram or summary share a group and are reset together.
    pub group: u16,
}

/// Which of the catalogue's bounds a histogram on a page lacks (truth rule 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HistogramRows {
    /// The row of its `_count`.
    pub count_row: u16,
    /// Index into [`crate::catalog::FAMILIES`].
    pub family: u16,
    /// Bit i is set when the catalogue's bound i has no bucket on the page.
    pub missing: u32,
}

impl Layout {
    /// The rows of a family, as a range into [`Layout::rows`]; empty when it is not on the page.
    pub fn rows_of(&self, family: FamilyId) -> Range<usize> {
        rows_of(&self.roles.families, self.rows.len(), family)
    }
}

/// [`Layout::rows_of`] by the first rows of the families and the number of rows.
pub(crate) fn rows_of(families: &[(FamilyId, u16)], rows: usize, family: FamilyId) -> Range<usize> {
    match families.binary_search_by_key(&family, |(id, _)| *id) {
        Ok(at) => {
            let end = families.get(at + 1).map_or(rows, |next| next.1.into());
            usize::from(families[at].1)..end
        }
        Err(_) => 0..0,
    }
}

/// The values of one good scrape.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What each value is.
    pub layout: Arc<Layout>,
    /// One value a row of the layout; NaN and infinities as served.
    pub values: Box<[f64]>,
}

impl Page {
    fn address(&self, which: usize) -> Option<f64> {
        self.layout.roles.address_rows[which].map(|row| self.values[usize::from(row)])
    }

    /// awscni_assigned_ip_addresses, if it is on the page.
    pub fn assigned(&self) -> Option<f64> {
        self.address(0)
    }

    /// awscni_total_ip_addresses, if it is on the page.
    pub fn total(&self) -> Option<f64> {
        self.address(1)
    }

    /// awscni_ip_max, if it is on the page.
    pub fn max(&self) -> Option<f64> {
        self.address(2)
    }
}

/// Everything that one publishing needs, as of one moment; it never changes once made.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// When it was taken.
    pub taken: Moment,
    /// Grows with every view.
    pub generation: u64,
    /// Its nodes are one shard's, not all of the cluster's.
    pub is_shard: bool,
    /// Sorted by node name.
    pub nodes: Vec<NodeView>,
    /// What the rows of the layouts mean.
    pub series: Arc<Vec<Option<Arc<Series>>>>,
    /// Uncatalogued families.
    pub others: Arc<Vec<OtherFamily>>,
    /// The cluster's counters since this process began to count, by slot, in the sources' units.
    pub counters: Vec<Total>,
    /// The same since this process began to scrape, whoever served meanwhile.
    pub gained: Vec<Total>,
    /// aws-node's settings, by DaemonSet.
    pub daemonsets: Arc<[DaemonSet]>,
    /// Per catalogued family: bounds that some contributing histogram lacked (bit i: bound i).
    pub lost_bounds: Vec<u32>,
}

impl View {
    /// The series at an index of a layout of this view.
    pub fn series_at(&self, index: u32) -> Option<&Series> {
        self.series.get(index as usize).and_then(|s| s.as_deref())
    }

    /// How many nodes are in a state.
    pub fn count(&self, state: NodeState) -> usize {
        self.nodes.iter().filter(|node| node.state == state).count()
    }
}

/// Addresses from which on a node is an IPv6 node (truth rule 7). No IPv4 node comes near: the largest
/// instances take some thousands.
pub(crate) const IPV6_TOTAL: f64 = 1_099_511_627_776.0;

/// One node in a view.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Who, where, with which labels.
    pub target: Arc<Target>,
    /// Up, stale, failed, missing.
    pub state: NodeState,
    /// How the last scrape ended; `None` before the first.
    pub last_outcome: Option<Outcome>,
    /// The last failure in words, for people; empty while the last scrape is good.
    pub reason: Arc<str>,
    /// Unix seconds of the last scrape's end; `None` before the first.
    pub last_scrape: Option<f64>,
    /// Unix seconds of the last good scrape's end.
    pub last_success: Option<f64>,
    /// Seconds that the last scrape took.
    pub last_seconds: f64,
    /// Its last scrapes.
    pub recent: Recent,
    /// Samples on the last good page, before folding.
    pub samples: usize,
    /// Truth rule 7.
    pub ipv6: bool,
    /// Why it gets no more addresses, while values stand; `None` where it can grow as far as is known.
    pub growth: Option<Growth>,
    /// The values that stand: present in states up and stale alone.
    pub page: Option<Arc<Page>>,
}

/// A scrape that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whole seconds since 1970.
    pub unix: u32,
    /// How long it took, in milliseconds.
    pub millis: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// The last scrapes of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recent([Option<Ended>; Recent::KEPT]);

impl Recent {
    /// So many are remembered: some 100 bytes of each node.
    pub const KEPT: usize = 8;

    /// One more; the oldest is forgotten.
    pub fn push(&mut self, ended: Ended) {
        self.0.rotate_right(1);
        self.0[0] = Some(ended);
    }

    /// The newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.0.iter().flatten()
    }
}

impl NodeView {
    /// From awscni_build_info, while values stand.
    pub fn cni_version(&self) -> Option<&str> {
        self.page.as_ref().and_then(|page| page.layout.roles.version.as_deref())
    }

    /// awscni_assigned_ip_addresses, while values stand.
    pub fn assigned(&self) -> Option<f64> {
        self.page.as_ref().and_then(|page| page.assigned())
    }

    /// awscni_total_ip_addresses, while values stand.
    pub fn total(&self) -> Option<f64> {
        self.page.as_ref().and_then(|page| page.total())
    }

    /// awscni_ip_max, while values stand.
    pub fn max(&self) -> Option<f64> {
        self.page.as_ref().and_then(|page| page.max())
    }

    /// Pod addresses that the node can put to use at most, while values stand: awscni_ip_max, or what
    /// the kubelet's pod limit leaves room for where that is known and lower.
    pub fn usable(&self) -> Option<f64> {
        let (max, limit) = (self.max()?, self.target.pod_limit.map(f64::from));
        // A NaN stays one.
        Some(limit.filter(|limit| *limit < max).unwrap_or(max))
    }
}

/// The name of a family of a view, for one that is not catalogued that of its samples.
pub fn family_name(view: &View, id: FamilyId) -> &str {
    match id {
        FamilyId::Known(index) => known(index).name,
        FamilyId::Other(index) => view.others.get(index as usize).map_or("", |o| &*o.name),
    }
}

/// The catalogue's entry behind [`FamilyId::Known`].
pub fn known(index: u16) -> &'static Family {
    &crate::catalog::FAMILIES[usize::from(index)]
}
