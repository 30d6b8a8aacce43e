//! What we send to CloudWatch besides the names of `/metrics` and cni-metrics-helper's, which stand with
//! their families: a table. Never: a value.

use crate::catalog::{FAMILIES, PUBLISHED, Published, Unit as Base};
use crate::mirror::Unit;
use crate::model::Kind;
use crate::view::NodeView;

/// A metric whose values are those of many nodes: average, extremes and percentiles for the price of one.
#[derive(Debug)]
pub(super) struct PerNode {
    /// Its name.
    pub(super) name: &'static str,
    /// Its unit.
    pub(super) unit: Unit,
    /// A node's value, if it has one.
    pub(super) value: fn(&NodeView) -> Option<f64>,
}

/// Beside the helper's names.
pub(super) const PER_NODE: [PerNode; 3] = [
    PerNode { name: "assignIPAddressesPerNode", unit: Unit::Count, value: NodeView::assigned },
    PerNode { name: "totalIPAddressesPerNode", unit: Unit::Count, value: NodeView::total },
    PerNode { name: "ipUtilizationPerNode", unit: Unit::Percent, value: percent },
];

/// In the place of the histogram of that name.
pub(super) const UTILIZATION: &str = "vpccni_cluster_node_ip_utilization";

/// The one of our node families that may be mirrored.
pub(super) const NODE_SUCCESS: &str = "vpccni_node_scrape_success";

/// How the name of a family ends that is all labels: its value says nothing.
pub(super) const INFO: &str = "_info";

/// How many names the helper's are, with those beside them.
pub(super) fn helper() -> usize {
    FAMILIES.iter().filter(|family| family.cloudwatch.is_some()).count() + PER_NODE.len()
}

fn percent(node: &NodeView) -> Option<f64> {
    let (assigned, usable) = (node.assigned()?, node.usable()?);
    (usable > 0.0).then(|| assigned / usable * 100.0)
}

/// Names that `--mirror.node-metrics` may list: ipamd's gauges that count something, and whether a node
/// answers.
pub(super) fn node_metrics() -> impl Iterator<Item = &'static str> {
    let gauges = FAMILIES.iter().filter(|f| f.kind == Kind::Gauge && f.unit == Base::Count);
    gauges.map(|family| family.name).chain([NODE_SUCCESS])
}

/// Labels of the cluster scope that `--mirror.dimensions` may list: all but the one that tells buckets
/// apart.
pub(super) fn labels() -> Vec<&'static str> {
    let of_families = FAMILIES.iter().filter_map(|f| f.cluster.as_ref());
    let of_families = of_families.flat_map(|c| c.labels).map(|label| label.name);
    let figures = |p: &&Published| p.scope == "cluster" && !p.name.ends_with(INFO);
    let own = PUBLISHED.iter().filter(figures).flat_map(|p| p.labels).copied();
    let mut labels: Vec<&str> = of_families.chain(own).chain(["ip_family"]).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}
