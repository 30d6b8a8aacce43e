//! A view as a person wants to see it: sums, a distribution, and what is wrong, worst first. Comes in: the
//! nodes of a view. Goes out: figures and findings. Never: a rate or a forecast (that takes history, which
//! Prometheus has), a cause that nothing tells.

use super::ask::{Ask, LABELS, Reason, share};
use crate::aggregate::ipv4_addresses;
use crate::model::{Growth, Idle, NodeState, Outcome};
use crate::total::Total;
use crate::view::NodeView;
use foldhash::fast::RandomState;
use std::collections::BTreeMap;

/// How often each text occurs.
type Counts<'v> = hashbrown::HashMap<&'v str, usize, RandomState>;

/// Bars of the distribution: tenths, and all from 1 on.
pub(super) const BARS: usize = 11;

/// From here on an operator should think of more room.
pub(super) const NEAR: f64 = 0.9;

/// Names of a list; the rest are counted.
const NAMED: usize = 3;

/// Values of a label that can be chosen, and how long they may be, which is what Kubernetes allows; others
/// can be written into the address.
const CHOICES: usize = 20;
const CHOICE: usize = 63;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Good,
    Notice,
    Warning,
    Critical,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Notice => "notice",
            Level::Warning => "warning",
            Level::Critical => "critical",
        }
    }
}

/// Something that is wrong with some nodes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding<'v> {
    pub(super) level: Level,
    /// What they have, after their number and a colon.
    pub(super) what: String,
    /// What to do.
    pub(super) advice: &'static str,
    /// What all or most of them have in common.
    pub(super) common: Option<String>,
    /// Words of one of them, where each has its own.
    pub(super) example: Option<&'v str>,
    /// The first of them by name.
    pub(super) named: Vec<&'v str>,
    pub(super) nodes: usize,
    /// What shows all of them; `None` where no filter does.
    pub(super) show: Option<Ask>,
}

/// Sums of one address family.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Addresses {
    /// Nodes whose values stand.
    pub(super) nodes: usize,
    /// Of them those that tell assigned and usable.
    pub(super) counted: usize,
    pub(super) assigned: f64,
    /// Attached, but no pod's; of nodes that serve both.
    pub(super) warm: f64,
    /// Usable, but not attached; of nodes that serve both.
    pub(super) growth: f64,
    pub(super) usable: f64,
    /// Assigned as a share of usable, of nodes that serve both: vpccni_cluster_ip_utilization_ratio.
    pub(super) share: Option<f64>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Picture<'v> {
    pub(super) nodes: usize,
    pub(super) expected: usize,
    /// By [`NodeState::ALL`].
    pub(super) states: [usize; 4],
    /// IPv4 and IPv6.
    pub(super) addresses: [Addresses; 2],
    /// IPv4 nodes by the share of usable addresses that are in use.
    pub(super) bars: [usize; BARS],
    /// Worst first.
    pub(super) findings: Vec<Finding<'v>>,
    /// Nodes by version of the CNI; the commonest first.
    pub(super) versions: Vec<(&'v str, usize)>,
    /// Values of [`LABELS`] that can be chosen, by name.
    pub(super) choices: [Vec<&'v str>; LABELS.len()],
}

/// Why a node is in a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Blocked(Growth),
    Missing,
    /// Nobody has asked it, or not since its pod came back.
    Unasked,
    /// Its pod cannot be scraped; no values, or some that stand.
    Idle(bool),
    /// Its scrapes end so; no values, or some that stand.
    Failing(Outcome, bool),
    /// What it serves is no number.
    NoNumber,
    Near,
}

impl Cause {
    fn of(node: &NodeView) -> impl Iterator<Item = Cause> {
        let stands = node.page.is_some();
        let scrape = match (&node.target.idle, node.last_outcome) {
            (Some(Idle::Missing), _) => Some(Cause::Missing),
            (Some(Idle::Pod(_)), _) => Some(Cause::Idle(stands)),
            (None, Some(Outcome::Ok) | None) => (!stands).then_some(Cause::Unasked),
            (None, Some(outcome)) => Some(Cause::Failing(outcome, stands)),
        };
        let values = match node.growth {
            Some(reason) => Some(Cause::Blocked(reason)),
            None if is_no_number(node) => Some(Cause::NoNumber),
            None => share(node).filter(|share| *share >= NEAR).map(|_| Cause::Near),
        };
        [scrape, values].into_iter().flatten()
    }

    fn level(self) -> Level {
        match self {
            Cause::Blocked(reason) => of_growth(reason),
            Cause::Missing | Cause::Idle(false) | Cause::Failing(_, false) => Level::Critical,
            Cause::Idle(true) | Cause::Failing(_, true) | Cause::NoNumber | Cause::Unasked => {
                Level::Warning
            }
            Cause::Near => Level::Notice,
        }
    }

    fn what(self) -> String {
        let since = |stands| if stands { "; older values stand" } else { "; no values" };
        match self {
            Cause::Blocked(Growth::MaxPods) => "no room for more pods (max_pods)".to_owned(),
            Cause::Blocked(reason) => format!("no more addresses ({})", reason.as_str()),
            Cause::Missing => "no aws-node pod (missing)".to_owned(),
            Cause::Unasked => "not scraped yet, or not since aws-node came back".to_owned(),
            Cause::Idle(stands) => format!("aws-node does not run{}", since(stands)),
            Cause::Failing(outcome, stands) => {
                format!("cannot be scraped ({outcome}){}", since(stands))
            }
            Cause::NoNumber => "NaN or infinity instead of addresses".to_owned(),
            Cause::Near => "90% or more of the usable addresses in use".to_owned(),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Cause::Blocked(reason) => reason.advice(),
            Cause::Missing => {
                "Look at the DaemonSet aws-node: its tolerations, its node selector, and pods that wait"
            }
            Cause::Unasked => "Wait for an interval",
            Cause::Idle(_) => {
                "Look at the pod with kubectl describe, in the namespace of --discover.namespace"
            }
            Cause::Failing(outcome, _) => outcome.advice(),
            Cause::NoNumber => "They enter no sum; restart aws-node there",
            Cause::Near => {
                "There is little room or none: more nodes, larger ones, or with IPv4 prefix delegation"
            }
        }
    }

    /// What shows the nodes.
    fn show(self) -> Option<Ask> {
        let reason = |reason| Ask { reason: Some(reason), ..Ask::default() };
        match self {
            Cause::Blocked(growth) => Some(reason(Reason::Growth(growth))),
            Cause::Failing(outcome, _) => Some(reason(Reason::Outcome(outcome))),
            Cause::Missing => Some(Ask { state: Some(NodeState::Missing), ..Ask::default() }),
            Cause::Unasked | Cause::Idle(_) | Cause::NoNumber | Cause::Near => None,
        }
    }
}

/// How bad it is that a node cannot grow: where it has all that it can have, nothing is broken.
pub(super) fn of_growth(reason: Growth) -> Level {
    match reason {
        Growth::Ceiling | Growth::MaxPods => Level::Warning,
        _ => Level::Critical,
    }
}

pub(super) fn is_no_number(node: &NodeView) -> bool {
    let values = [node.assigned(), node.total(), node.max()];
    values.into_iter().flatten().any(|value| !value.is_finite())
}

impl<'v> Picture<'v> {
    pub(super) fn of(nodes: &'v [NodeView]) -> Picture<'v> {
        let mut picture = Picture { nodes: nodes.len(), ..Picture::default() };
        let mut sums = [Sums::default(); 2];
        let mut causes: BTreeMap<Cause, Vec<&NodeView>> = BTreeMap::new();
        let mut versions = Counts::default();
        for node in nodes {
            picture.expected += usize::from(node.target.expected);
            picture.states[node.state as usize] += 1;
            for cause in Cause::of(node) {
                causes.entry(cause).or_default().push(node);
            }
            if node.page.is_none() {
                continue;
            }
            let family = usize::from(node.ipv6);
            picture.addresses[family].nodes += 1;
            sums[family].add(node);
            if let Some((assigned, usable)) = ipv4_addresses(node) {
                // Tenths from below: what is full is in a bar of its own.
                let tenth = (assigned / usable * 10.0).clamp(0.0, 10.0) as usize;
                picture.bars[tenth] += 1;
            }
            *versions.entry(node.cni_version().unwrap_or("unknown")).or_default() += 1;
        }
        for (addresses, sums) in picture.addresses.iter_mut().zip(sums) {
            *addresses = Addresses { nodes: addresses.nodes, ..sums.addresses() };
        }
        let fleet = Commonness::of(nodes.iter());
        let mut findings: Vec<Finding<'_>> =
            causes.into_iter().map(|(cause, nodes)| finding(cause, &nodes, &fleet)).collect();
        // Within a level the larger one first.
        findings.sort_by(|a, b| b.level.cmp(&a.level).then(b.nodes.cmp(&a.nodes)));
        picture.findings = findings;
        picture.versions = by_count(versions);
        picture.choices = fleet.choices();
        picture
    }
}

/// Sums over the nodes of an address family.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    assigned: Total,
    warm: Total,
    growth: Total,
    usable: Total,
    /// Of nodes that serve assigned and usable.
    both: [Total; 2],
    counted: usize,
}

impl Sums {
    fn add(&mut self, node: &NodeView) {
        let known = |value: Option<f64>| value.filter(|value| Total::takes(*value));
        let (assigned, total) = (known(node.assigned()), known(node.total()));
        let usable = known(node.usable());
        self.assigned.add(assigned.unwrap_or(0.0));
        self.usable.add(usable.unwrap_or(0.0));
        if let (Some(assigned), Some(total)) = (assigned, total) {
            self.warm.add((total - assigned).max(0.0));
        }
        if let (Some(total), Some(usable)) = (total, usable) {
            self.growth.add((usable - total).max(0.0));
        }
        if let (Some(assigned), Some(usable)) = (assigned, usable.filter(|usable| *usable > 0.0)) {
            self.counted += 1;
            self.both[0].add(assigned);
            self.both[1].add(usable);
        }
    }

    fn addresses(&self) -> Addresses {
        let [assigned, usable] = self.both.map(|sum| sum.value());
        Addresses {
            nodes: 0,
            counted: self.counted,
            assigned: self.assigned.value(),
            warm: self.warm.value(),
            growth: self.growth.value(),
            usable: self.usable.value(),
            share: (usable > 0.0).then(|| assigned / usable),
        }
    }
}

fn by_count(counts: Counts<'_>) -> Vec<(&str, usize)> {
    let mut list: Vec<(&str, usize)> = counts.into_iter().collect();
    list.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    list
}

fn finding<'v>(cause: Cause, nodes: &[&'v NodeView], fleet: &Commonness<'v>) -> Finding<'v> {
    let reasons = nodes.iter().map(|node| &*node.reason).filter(|reason| !reason.is_empty());
    let has_words = matches!(cause, Cause::Idle(_) | Cause::Failing(..));
    Finding {
        level: cause.level(),
        what: cause.what(),
        advice: cause.advice(),
        common: Commonness::of(nodes.iter().copied()).beside(fleet),
        example: reasons.into_iter().next().filter(|_| has_words),
        named: nodes.iter().take(NAMED).map(|node| &*node.target.node).collect(),
        nodes: nodes.len(),
        show: cause.show(),
    }
}

/// How often each value of [`LABELS`] occurs.
struct Commonness<'v> {
    nodes: usize,
    counts: [Counts<'v>; LABELS.len()],
}

impl<'v> Commonness<'v> {
    fn of(nodes: impl Iterator<Item = &'v NodeView>) -> Commonness<'v> {
        let mut of = Commonness { nodes: 0, counts: Default::default() };
        for node in nodes {
            of.nodes += 1;
            for (counts, (_, label)) in of.counts.iter_mut().zip(LABELS) {
                if let Some(value) = node.target.labels.get(label) {
                    *counts.entry(value).or_default() += 1;
                }
            }
        }
        of
    }

    fn choices(&self) -> [Vec<&'v str>; LABELS.len()] {
        self.counts.each_ref().map(|counts| {
            let common = by_count(counts.clone()).into_iter().map(|(value, _)| value);
            let mut values: Vec<&str> =
                common.filter(|value| value.len() <= CHOICE).take(CHOICES).collect();
            values.sort_unstable();
            values
        })
    }

    /// What these have in common that the fleet has not: all of them, or most, where less than half of
    /// the fleet does.
    fn beside(&self, fleet: &Commonness<'v>) -> Option<String> {
        /// Of one node everything is common, of two it may be chance.
        const FEW: usize = 3;
        if self.nodes < FEW {
            return None;
        }
        let mut found = Vec::new();
        for ((counts, all), (name, _)) in self.counts.iter().zip(&fleet.counts).zip(LABELS) {
            let Some((value, count)) = counts.iter().max_by_key(|(value, n)| (**n, **value)) else {
                continue;
            };
            let of_fleet = all.get(value).copied().unwrap_or(0) as f64 / fleet.nodes as f64;
            if of_fleet >= 0.5 || *count * 3 < self.nodes * 2 {
                continue;
            }
            let of = if name == "zone" { "in" } else { "of" };
            found.push(match *count == self.nodes {
                true => format!("all {of} {name} {value}"),
                false => format!("{count} {of} {name} {value}"),
            });
        }
        (!found.is_empty()).then(|| found.join(", "))
    }
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
