//! A view becomes the cluster's figures (DESIGN §5, §6). Comes in: a view. Goes out: figures with
//! every child present, ready to be written. Never: a clock, a log line, state between calls.

use crate::catalog::{self, Cluster, DEFAULT_BOUNDS, FAMILIES, Rule, SLOTS};
use crate::model::{Growth, Kind, NodeState};
use crate::total::Total;
use crate::view::{NodeView, Slot, View};
use std::collections::BTreeMap;

pub mod delta;
pub mod growth;

/// One family of the cluster scope.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its name, without suffixes.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its HELP text.
    pub help: &'static str,
    /// Its samples, in order.
    pub samples: Vec<Sample>,
}

/// One sample of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What follows the family's name.
    pub suffix: &'static str,
    /// Label names and values, in order; values are not escaped.
    pub labels: Vec<(&'static str, String)>,
    /// Its value.
    pub value: Value,
}

/// A figure's value, kept exact until it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A sum of the nodes' values, to be divided by the second.
    Total(Total, f64),
    /// A ratio or a share.
    Float(f64),
    /// Things counted here.
    Count(u64),
}

impl Value {
    /// As a float.
    pub fn as_f64(&self) -> f64 {
        match self {
            Value::Total(total, divisor) => total.value() / divisor,
            Value::Float(value) => *value,
            Value::Count(count) => *count as f64,
        }
    }
}

/// Upper bounds of vpccni_cluster_node_ip_utilization; closer where it hurts.
pub const UTILIZATION_BOUNDS: [f64; 8] = [0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 1.0];

/// Versions with a child of their own in vpccni_cluster_nodes_by_cni_version: a rolling upgrade has
/// two or three, a page that invents versions must not grow ours.
const VERSIONS: usize = 20;

/// The version of nodes that serve none.
const UNKNOWN: &str = "unknown";

/// The cluster scope, sorted by name.
pub fn figures(view: &View) -> Vec<Figure> {
    let gauges = gauges(view);
    let mut figures: Vec<Figure> = (0u16..)
        .zip(FAMILIES)
        .filter_map(|(index, family)| Some((index, family.cluster.as_ref()?)))
        .map(|(index, cluster)| Figure {
            name: cluster.name,
            kind: cluster.kind,
            help: cluster.help,
            samples: samples(index, cluster, view, &gauges),
        })
        .collect();
    figures.extend(of_nodes(view));
    figures.sort_by_key(|figure| figure.name);
    figures
}

/// The sums over the nodes whose values stand. What [`Total`] does not take was counted when it was
/// stored (rule 6).
pub(crate) fn gauges(view: &View) -> Vec<Total> {
    let mut sums = vec![Total::default(); SLOTS.gauges()];
    for node in &view.nodes {
        let Some(page) = &node.page else { continue };
        for (row, slot) in &page.layout.roles.gauges {
            let at = match slot {
                Slot::Gauge(at) => usize::from(*at),
                Slot::GaugeByIpFamily(at) => usize::from(*at) + usize::from(node.ipv6),
                Slot::None | Slot::Counter(_) => continue,
            };
            sums[at].add(page.values[usize::from(*row)]);
        }
    }
    sums
}

fn samples(family: u16, cluster: &Cluster, view: &View, gauges: &[Total]) -> Vec<Sample> {
    let lost = view.lost_bounds.get(usize::from(family)).copied().unwrap_or(0);
    let counter = |slot: u16| view.counters.get(usize::from(slot)).copied().unwrap_or_default();
    let mut out = Vec::new();
    for (values, first) in SLOTS.children(family) {
        let labels: Vec<(&'static str, String)> = cluster
            .labels
            .iter()
            .map(|l| l.name)
            .zip(values.iter().map(|v| v.to_string()))
            .collect();
        let sample = |suffix, value| Sample { suffix, labels: labels.clone(), value };
        match cluster.rule {
            Rule::Sum => out.push(sample("", Value::Total(gauges[usize::from(first)], 1.0))),
            Rule::SumByIpFamily => {
                for (offset, ip_family) in ["ipv4", "ipv6"].into_iter().enumerate() {
                    let mut one =
                        sample("", Value::Total(gauges[usize::from(first) + offset], 1.0));
                    one.labels.push(("ip_family", ip_family.to_owned()));
                    out.push(one);
                }
            }
            Rule::Increase => out.push(sample("", Value::Total(counter(first), 1.0))),
            Rule::Summary { divisor } => {
                out.push(sample("_sum", Value::Total(counter(first), divisor)));
                let count = counter(first + catalog::SUMMARY_COUNT);
                out.push(sample("_count", Value::Total(count, 1.0)));
            }
            Rule::Histogram => {
                let kept = (0u16..).zip(DEFAULT_BOUNDS).filter(|(i, _)| lost & (1 << i) == 0);
                let count = Value::Total(counter(first + catalog::HISTOGRAM_COUNT), 1.0);
                let buckets = kept
                    .map(|(i, bound)| (bound.to_string(), Value::Total(counter(first + i), 1.0)))
                    .chain([("+Inf".to_owned(), count)]);
                for (le, value) in buckets {
                    let mut bucket = sample("_bucket", value);
                    bucket.labels.push(("le", le));
                    out.push(bucket);
                }
                let sum = counter(first + catalog::HISTOGRAM_SUM);
                out.push(sample("_sum", Value::Total(sum, 1.0)));
                out.push(sample("_count", count));
            }
        }
    }
    out
}

/// The figures that are about the nodes themselves.
fn of_nodes(view: &View) -> Vec<Figure> {
    let plain = |value| vec![Sample { suffix: "", labels: Vec::new(), value }];
    let by = |label: &'static str, values: Vec<(String, u64)>| {
        let sample = |(value, count)| Sample {
            suffix: "",
            labels: vec![(label, value)],
            value: Value::Count(count),
        };
        values.into_iter().map(sample).collect::<Vec<_>>()
    };
    let expected = view.nodes.iter().filter(|node| node.target.expected).count() as u64;
    let states = NodeState::ALL.map(|s| (s.as_str().to_owned(), view.count(s) as u64)).to_vec();
    let addresses: Vec<(f64, f64)> = view.nodes.iter().filter_map(ipv4_addresses).collect();
    let usable = ["ipv4", "ipv6"].map(|family| {
        let nodes = view.nodes.iter().filter(|node| node.ipv6 == (family == "ipv6"));
        let sum: Total = nodes.filter_map(NodeView::usable).filter(|n| Total::takes(*n)).collect();
        let labels = vec![("ip_family", family.to_owned())];
        Sample { suffix: "", labels, value: Value::Total(sum, 1.0) }
    });
    let config = view.daemonsets.iter().map(|set| {
        let mut labels = vec![("daemonset", set.name.to_string())];
        labels.extend(set.settings.iter().map(|(label, value)| (*label, value.to_string())));
        Sample { suffix: "", labels, value: Value::Count(1) }
    });
    let blocked = Growth::ALL.map(|reason| {
        let nodes = view.nodes.iter().filter(|node| node.growth == Some(reason));
        (reason.as_str().to_owned(), nodes.count() as u64)
    });
    let mut figures = vec![
        figure("vpccni_cluster_ip_addresses_usable", usable.to_vec()),
        figure("vpccni_cluster_nodes", by("state", states)),
        figure("vpccni_cluster_nodes_growth_blocked", by("reason", blocked.to_vec())),
        figure("vpccni_cluster_nodes_expected", plain(Value::Count(expected))),
        figure("vpccni_cluster_nodes_by_cni_version", by("version", versions(view))),
        figure("vpccni_cluster_node_ip_utilization", utilization(&addresses)),
        figure("vpccni_daemonset_config_info", config.collect()),
    ];
    // A shard's ratio says nothing of the cluster, and ratios do not add up.
    if view.is_shard {
        return figures.into_iter().flatten().collect();
    }
    let assigned: Total = addresses.iter().map(|(assigned, _)| *assigned).collect();
    let usable: Total = addresses.iter().map(|(_, usable)| *usable).collect();
    if usable.value() > 0.0 {
        let ratio = Value::Float(assigned.value() / usable.value());
        figures.push(figure("vpccni_cluster_ip_utilization_ratio", plain(ratio)));
    }
    figures.into_iter().flatten().collect()
}

fn figure(name: &str, samples: Vec<Sample>) -> Option<Figure> {
    let entry = catalog::published(name)?;
    Some(Figure { name: entry.name, kind: entry.kind, help: entry.help, samples })
}

/// Addresses assigned and usable on an IPv4 node that serves both and can use any at all.
pub(crate) fn ipv4_addresses(node: &NodeView) -> Option<(f64, f64)> {
    let (assigned, usable) = (node.assigned()?, node.usable()?);
    (!node.ipv6 && Total::takes(assigned) && Total::takes(usable) && usable > 0.0)
        .then_some((assigned, usable))
}

fn utilization(addresses: &[(f64, f64)]) -> Vec<Sample> {
    let ratios: Vec<f64> = addresses.iter().map(|(assigned, usable)| assigned / usable).collect();
    let bucket = |le: String, count: usize| Sample {
        suffix: "_bucket",
        labels: vec![("le", le)],
        value: Value::Count(count as u64),
    };
    let mut samples: Vec<Sample> = UTILIZATION_BOUNDS
        .iter()
        .map(|bound| bucket(bound.to_string(), ratios.iter().filter(|r| *r <= bound).count()))
        .collect();
    samples.push(bucket("+Inf".to_owned(), ratios.len()));
    let sum: Total = ratios.iter().copied().collect();
    let rest = |suffix, value| Sample { suffix, labels: Vec::new(), value };
    samples.push(rest("_sum", Value::Float(sum.value())));
    samples.push(rest("_count", Value::Count(ratios.len() as u64)));
    samples
}

/// Nodes by version: the commonest have a child of their own, always in the order of their names.
fn versions(view: &View) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut other, mut unknown) = (0, 0);
    for node in view.nodes.iter().filter(|n| n.page.is_some()) {
        match node.cni_version() {
            None => unknown += 1,
            Some(version) if is_version(version) => *counts.entry(version).or_default() += 1,
            Some(_) => other += 1,
        }
    }
    let mut all: Vec<(&str, u64)> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    other += all.drain(VERSIONS.min(all.len())..).map(|(_, count)| count).sum::<u64>();
    let mut named: Vec<(String, u64)> = all.into_iter().map(|(v, n)| (v.to_owned(), n)).collect();
    named.push((catalog::OTHER.to_owned(), other));
    if unknown > 0 {
        named.push((UNKNOWN.to_owned(), unknown));
    }
    named.sort();
    named
}

fn is_version(version: &str) -> bool {
    /// The longest tags in use, with a commit behind them, have about 40.
    const LONGEST: usize = 64;
    (1..=LONGEST).contains(&version.len())
        && ![catalog::OTHER, UNKNOWN].contains(&version)
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-_".contains(&b))
}

#[cfg(test)]
#[path = "aggregate/tests.rs"]
mod tests;
