//! What pods, Nodes and the DaemonSet add up to. Comes in: what the three watches know, and what keeps
//! them from knowing more. Goes out: targets, what is not known yet, what an operator should know. Never:
//! a guess about a node that no watch has told of.

use super::Found;
use super::daemonset::Set;
use super::index::Index;
use super::limits::Limits;
use super::nodes::{self, Kind};
use super::pods;
use super::shard::Shard;
use crate::model::{DaemonSet, Idle, NodeName, Route, Source, Target, TargetLabels};
use crate::observe::kubernetes::{Resource, Trouble};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What is watched, and how its pods are reached.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Of aws-node.
    pub namespace: String,
    /// Of aws-node's pods and DaemonSet.
    pub selector: String,
    /// Whether Nodes are watched.
    pub nodes: bool,
    /// Keys of Node labels that are told besides the well-known ones.
    pub labels: Vec<String>,
    /// How pods are reached.
    pub route: Route,
    /// Port of pods that name none.
    pub port: u16,
    /// Path of the exposition.
    pub path: Arc<str>,
    /// The nodes that are ours.
    pub shard: Shard,
    /// Pods of each node that have no address of their own.
    pub host_network_pods: u32,
}

/// All that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cluster<'w> {
    pub(super) pods: &'w Index<pods::Known>,
    pub(super) pods_trouble: Option<(Trouble, &'w str)>,
    pub(super) nodes: &'w Index<nodes::Known>,
    pub(super) nodes_trouble: Option<(Trouble, &'w str)>,
    /// What the kubelets take.
    pub(super) limits: &'w Limits,
    pub(super) sets: &'w Index<Set>,
    pub(super) sets_trouble: Option<(Trouble, &'w str)>,
}

impl Cluster<'_> {
    /// Pods that the DaemonSets should have, over all shards; `None` where there is none, or it is not
    /// known.
    pub(super) fn desired(&self) -> Option<i64> {
        let desired = self.sets.iter().map(|(_, set)| i64::from(set.desired));
        (self.sets.len() > 0).then(|| desired.sum())
    }

    /// What it adds up to.
    pub(super) fn found(&self, scope: &Scope) -> Found {
        // Without the right to watch Nodes the pods alone must do, as where they are not wanted.
        let denied = matches!(self.nodes_trouble, Some((Trouble::Forbidden, _)));
        let nodes_are_awaited = scope.nodes && !self.nodes.synced() && !denied;
        let (mut unread, mut notes) = (Vec::new(), Vec::new());
        for (resource, trouble, is_awaited) in [
            (Resource::Pods, self.pods_trouble, !self.pods.synced()),
            (Resource::Nodes, self.nodes_trouble.filter(|_| scope.nodes), nodes_are_awaited),
            (Resource::DaemonSets, self.sets_trouble, false),
        ] {
            match trouble {
                _ if is_awaited => unread.push(awaited(resource, trouble, scope)),
                Some((Trouble::Forbidden, words)) => notes.push(lacking(resource, scope, words)),
                Some((_, words)) => {
                    let resource = resource.as_str();
                    notes.push(format!("{resource} are not followed at present: {words}"));
                }
                None => {}
            }
        }
        let (targets, losers) = self.targets(scope);
        if unread.is_empty() {
            notes.extend(self.nothing_found(scope, &targets));
        }
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Found { targets, losers, unread, note, cluster: self.name(), daemonsets: self.daemonsets() }
    }

    /// In the order of the nodes' names, each name and each address once. Besides, how many pods lost.
    fn targets(&self, scope: &Scope) -> (Vec<Target>, usize) {
        let ours = |node: &str| scope.shard.owns(node);
        let (chosen, lost) = pods::by_node(self.pods.iter());
        let mut losers = lost.into_iter().filter(|node| ours(node)).count();
        let nodes: HashMap<&str, &nodes::Known> =
            if scope.nodes { self.nodes.iter().collect() } else { HashMap::new() };
        let labels =
            |node: &str| nodes.get(node).map_or_else(TargetLabels::default, |n| n.labels.clone());
        let expected = |node: &str| nodes.get(node).is_none_or(|n| n.kind == Kind::Linux);
        let pod_limit = |node: &str| self.limits.of(node, scope.host_network_pods);
        let mut targets = Vec::with_capacity(chosen.len());
        // Those of other shards as well: an address may have moved to or from one of theirs.
        for (name, pod, newer) in pods::by_address(chosen.values().copied()) {
            if !ours(&pod.node) {
                continue;
            }
            let node: NodeName = Arc::clone(&pod.node);
            let idle =
                |reason| Target::idle(Arc::clone(&node), Source::Kubernetes, Idle::Pod(reason));
            let target = match (&pod.place, newer) {
                (Ok(_), Some(newer)) => {
                    losers += 1;
                    idle(pods::superseded(name, newer))
                }
                (Ok((host, port)), None) => Target {
                    pod: Some(pod.identity.clone()),
                    route: scope.route,
                    ..Target::new(
                        Arc::clone(&node),
                        Arc::clone(host),
                        *port,
                        scope.path_to(name, *port),
                        Source::Kubernetes,
                    )
                },
                (Err(reason), _) => idle(Arc::clone(reason)),
            };
            targets.push(Target {
                labels: labels(&node),
                expected: expected(&node),
                pod_limit: pod_limit(&node),
                ..target
            });
        }
        let missing = nodes
            .iter()
            .filter(|(name, node)| node.kind == Kind::Linux && !chosen.contains_key(*name))
            .map(|(name, node)| Target {
                labels: node.labels.clone(),
                pod_limit: pod_limit(name),
                ..Target::idle((*name).into(), Source::Kubernetes, Idle::Missing)
            });
        targets.extend(missing);
        // The same list is the same text: it is compared with the one before.
        targets.sort_unstable_by(|a, b| a.node.cmp(&b.node));
        (targets, losers)
    }

    /// By name.
    fn daemonsets(&self) -> Arc<[DaemonSet]> {
        let set = |(name, set): (&str, &Set)| DaemonSet {
            name: name.into(),
            settings: Arc::clone(&set.settings),
        };
        let mut sets: Vec<DaemonSet> = self.sets.iter().map(set).collect();
        sets.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        sets.into()
    }

    /// The name on which all nodes agree that tell one.
    fn name(&self) -> Option<Arc<str>> {
        let mut names = self.nodes.iter().filter_map(|(_, node)| node.cluster.as_ref());
        let first = names.next()?;
        names.all(|name| name == first).then(|| Arc::clone(first))
    }

    /// Why everything was listed, and there is nothing to do.
    fn nothing_found(&self, scope: &Scope, targets: &[Target]) -> Option<String> {
        let known = self.sets.synced() && (self.nodes.synced() || !scope.nodes);
        if targets.is_empty() && self.nodes.len() > 0 {
            return Some(self.nothing_to_scrape());
        }
        let nothing = self.sets.len() == 0 && !targets.iter().any(|t| t.idle.is_none());
        (known && nothing).then(|| {
            format!(
                "no DaemonSet and no running pod {} in namespace {}: see --discover.selector and --discover.namespace",
                scope.selector, scope.namespace
            )
        })
    }

    /// Nodes there are, but none of them should run an aws-node pod.
    fn nothing_to_scrape(&self) -> String {
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        for (_, node) in self.nodes.iter() {
            *kinds.entry(node.kind).or_default() += 1;
        }
        let kinds: Vec<String> =
            kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        format!(
            "nothing to scrape: none of the {} nodes runs aws-node ({})",
            self.nodes.len(),
            kinds.join(", ")
        )
    }
}

impl Scope {
    fn path_to(&self, pod: &str, port: u16) -> Arc<str> {
        match self.route {
            Route::Direct => Arc::clone(&self.path),
            // The port must be a number: some API servers fail on a name.
            Route::Proxy => format!(
                "/api/v1/namespaces/{}/pods/{pod}:{port}/proxy{}",
                self.namespace, self.path
            )
            .into(),
        }
    }
}

fn awaited(resource: Resource, trouble: Option<(Trouble, &str)>, scope: &Scope) -> String {
    match trouble {
        Some((Trouble::Forbidden, words)) => lacking(resource, scope, words),
        Some((_, words)) => format!("--discover.kubernetes: {}: {words}", resource.as_str()),
        None => format!("--discover.kubernetes: {}", resource.as_str()),
    }
}

fn lacking(resource: Resource, scope: &Scope, words: &str) -> String {
    format!("the right is missing to {}: {words}", resource.rule(&scope.namespace))
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
pub(super) mod tests;
