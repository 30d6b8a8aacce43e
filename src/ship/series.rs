//! An interval's view becomes points: under cni-metrics-helper's names, or under those of `/metrics`. Comes
//! in: a view whose counters are the interval's gains. Goes out: groups of points. Never: IPv4 and IPv6
//! addresses added up, a mean of means, a metric of what no node serves.

use crate::aggregate::{self, Figure};
use crate::catalog::{self, FAMILIES, Rule, SLOTS, Unit as Base};
use crate::mirror::{Group, Point, Unit, Value};
use crate::model::Kind;
use crate::total::Total;
use crate::view::{FamilyId, NodeView, View};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::names;
use super::{distribution, limits};

/// Labels without which a figure's values must not be added up, or say nothing when they are.
const ALWAYS: [&str; 2] = ["ip_family", "state"];

/// What a name of `/metrics` contains whose only label is its subject: without it nothing is left to say.
const BY: &str = "_by_";

/// The dimension of points of one node.
const NODE: &str = "NodeName";

/// The helper's twenty, and the distributions over the nodes. Of clusters with both, IPv4 nodes alone:
/// addresses of the two families are never added up.
pub(super) fn helper(view: &View) -> Vec<Group> {
    let ipv6 = !view.nodes.iter().any(|n| n.page.is_some() && !n.ipv6);
    let gauges = aggregate::gauges(view);
    let mut points = Vec::new();
    for (index, family) in (0u16..).zip(FAMILIES) {
        let Some(name) = family.cloudwatch else { continue };
        let slots = || SLOTS.children(index).map(|(_, first)| usize::from(first));
        let gained = |offset: u16| {
            let mut sum = Total::default();
            for slot in slots() {
                sum.merge(&view.counters[slot + usize::from(offset)]);
            }
            sum.value()
        };
        let held = |offset: usize| {
            let mut sum = Total::default();
            slots().for_each(|slot| sum.merge(&gauges[slot + offset]));
            sum.value()
        };
        let (value, unit) = match family.cluster.as_ref().map(|cluster| cluster.rule) {
            Some(Rule::Sum) => (held(0), Unit::Count),
            Some(Rule::SumByIpFamily) => (held(usize::from(ipv6)), Unit::Count),
            Some(Rule::Increase) => (gained(0), Unit::Count),
            Some(Rule::Summary { .. }) => {
                let calls = gained(catalog::SUMMARY_COUNT);
                if calls <= 0.0 {
                    // Without a call there is no latency.
                    continue;
                }
                (gained(0) / calls, Unit::Milliseconds)
            }
            Some(Rule::Histogram) => continue,
            None => (rows(view, index), Unit::Count),
        };
        points.push(Point { name: Cow::Borrowed(name), unit, value: Value::Number(value) });
    }
    let of_nodes = names::PER_NODE.iter().filter_map(|per_node| {
        let nodes = standing(view).filter(|(node, _)| node.ipv6 == ipv6);
        let values = nodes.filter_map(|(node, _)| (per_node.value)(node));
        distribution_of(per_node.name, per_node.unit, values, limits::PUT_VALUES)
    });
    points.extend(of_nodes);
    vec![Group { dimensions: Box::default(), points }]
}

/// No more values than can be sent, so that an interval waits in few bytes however many nodes there are.
fn distribution_of(
    name: &'static str,
    unit: Unit,
    values: impl Iterator<Item = f64>,
    most: usize,
) -> Option<Point> {
    let all = distribution::collect(values.filter(|value| Total::takes(*value)));
    let value = distribution::fit(&all, most).into_owned();
    (!value.values.is_empty()).then_some(Point {
        name: Cow::Borrowed(name),
        unit,
        value: Value::Distribution(value),
    })
}

/// Nodes whose values stand.
fn standing(view: &View) -> impl Iterator<Item = (&NodeView, &crate::view::Page)> {
    view.nodes.iter().filter_map(|node| Some((node, &**node.page.as_ref()?)))
}

/// The sum of all rows of a family that has no figure of its own.
fn rows(view: &View, family: u16) -> f64 {
    let mut sum = Total::default();
    for (_, page) in standing(view) {
        let rows = page.layout.rows_of(FamilyId::Known(family));
        page.values[rows].iter().for_each(|value| sum.add(*value));
    }
    sum.value()
}

/// Name and value of each, by name.
type Labels = Vec<(&'static str, String)>;

/// What is wanted of the names of `/metrics`.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// `--mirror.dimensions`.
    pub(super) labels: Vec<String>,
    /// `--mirror.node-metrics`.
    pub(super) nodes: Vec<String>,
}

/// The cluster scope of `/metrics`, and of the node scope what is wanted. Labels that are not wanted as
/// dimensions are added up.
pub(super) fn own(view: &View, wanted: &Wanted) -> Vec<Group> {
    let mut groups: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
    let figures = aggregate::figures(view);
    let is_kept = |label: &str| ALWAYS.contains(&label) || wanted.labels.iter().any(|l| l == label);
    for figure in &figures {
        let labels = figure.samples.first().map_or(&[][..], |sample| &sample.labels);
        let says_nothing = figure.name.contains(BY) && !labels.iter().any(|(l, _)| is_kept(l));
        if says_nothing || figure.name.ends_with(names::INFO) || figure.name == names::UTILIZATION {
            continue;
        }
        for (suffix, dimensions, value) in summed(figure, is_kept) {
            let is_ours = |(name, _): &(&str, String)| ALWAYS.contains(name);
            let optional = !dimensions.iter().all(is_ours);
            // A child of a wanted label costs money: it is sent when there is something to tell.
            if optional && value == 0.0 || is_absent(view, &dimensions) {
                continue;
            }
            let name = match suffix {
                "" => Cow::Borrowed(figure.name),
                suffix => Cow::Owned(format!("{}{suffix}", figure.name)),
            };
            let unit = unit(figure, suffix);
            groups.entry(dimensions).or_default().push(Point {
                name,
                unit,
                value: Value::Number(value),
            });
        }
    }
    let ratios = standing(view).filter_map(|(node, _)| aggregate::ipv4_addresses(node));
    let ratios = ratios.map(|(assigned, usable)| assigned / usable);
    if let Some(point) = distribution_of(names::UTILIZATION, Unit::None, ratios, limits::EMF_VALUES)
    {
        groups.entry(Vec::new()).or_default().push(point);
    }
    let group = |(dimensions, points): (Labels, Vec<Point>)| Group {
        dimensions: dimensions.into_iter().map(|(n, v)| (Cow::Borrowed(n), v.into())).collect(),
        points,
    };
    let mut groups: Vec<Group> = groups.into_iter().map(group).collect();
    groups.extend(nodes(view, &wanted.nodes));
    groups
}

/// A figure's samples, added up over the labels that are not kept.
fn summed(figure: &Figure, is_kept: impl Fn(&str) -> bool) -> Vec<(&'static str, Labels, f64)> {
    let mut sums: BTreeMap<(&'static str, Labels), f64> = BTreeMap::new();
    for sample in &figure.samples {
        // Buckets are for whoever can read them; sum and count say how many and how long.
        if sample.suffix == "_bucket" {
            continue;
        }
        let mut kept = sample.labels.clone();
        kept.retain(|(label, _)| is_kept(label));
        kept.sort_unstable();
        *sums.entry((sample.suffix, kept)).or_default() += sample.value.as_f64();
    }
    sums.into_iter().map(|((suffix, labels), sum)| (suffix, labels, sum)).collect()
}

/// Whether it is about an address family that no node has.
fn is_absent(view: &View, dimensions: &[(&'static str, String)]) -> bool {
    let Some((_, family)) = dimensions.iter().find(|(name, _)| *name == "ip_family") else {
        return false;
    };
    !standing(view).any(|(node, _)| node.ipv6 == (family == "ipv6"))
}

fn unit(figure: &Figure, suffix: &str) -> Unit {
    let seconds = figure.name.contains("_seconds") && suffix != "_count";
    match figure.kind {
        _ if seconds => Unit::Seconds,
        Kind::Gauge if figure.name.ends_with("_ratio") => Unit::None,
        _ => Unit::Count,
    }
}

/// The node scope's gauges that are wanted, a group a node.
fn nodes<'a>(view: &'a View, wanted: &'a [String]) -> impl Iterator<Item = Group> + 'a {
    let families: Vec<(u16, &catalog::Family)> = (0u16..)
        .zip(FAMILIES)
        .filter(|(_, family)| wanted.iter().any(|name| name == family.name))
        .collect();
    let success = wanted.iter().any(|name| name == names::NODE_SUCCESS);
    let any = success || !families.is_empty();
    view.nodes.iter().filter(move |_| any).filter_map(move |node| {
        let mut points = Vec::new();
        if let Some(page) = &node.page {
            for (index, family) in &families {
                let rows = page.layout.rows_of(FamilyId::Known(*index));
                let values = &page.values[rows];
                // Of what cannot be added up there is no sum.
                if values.is_empty() || !values.iter().all(|value| Total::takes(*value)) {
                    continue;
                }
                let sum: Total = values.iter().copied().collect();
                let unit = if family.unit == Base::Count { Unit::Count } else { Unit::None };
                let name = Cow::Borrowed(family.name);
                points.push(Point { name, unit, value: Value::Number(sum.value()) });
            }
        }
        if let Some(outcome) = node.last_outcome.filter(|_| success) {
            let good = f64::from(u8::from(outcome == crate::model::Outcome::Ok));
            let name = Cow::Borrowed(names::NODE_SUCCESS);
            points.push(Point { name, unit: Unit::None, value: Value::Number(good) });
        }
        let dimensions = Box::new([(Cow::Borrowed(NODE), Arc::clone(&node.target.node))]);
        (!points.is_empty()).then_some(Group { dimensions, points })
    })
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
