//! The cluster as the API server tells it: aws-node pods, Nodes, the DaemonSet. Comes in: three watches, and
//! now and then a listing of what the kubelets take. Goes out: what they add up to, whenever it changed.
//! Never: an incomplete list passed off as a whole one, a target lost because the API server does not answer.
//!
//! *Flow*: each watch lists page by page, then follows. Changes are put together after a moment, so that
//! a rollout of thousands of pods is some lists, not thousands. *When it cannot keep up*: the API server
//! closes a slow watch, which goes on from where it was, after a pause where that comes soon. *Stopping*:
//! with the stage.

use super::Found;
use super::cluster::{Cluster, Scope};
use super::daemonset;
use super::guarded::Guarded;
use super::limits::{self, Limits};
use super::nodes::Reader;
use super::pods::{self, Pod};
use super::spaced::spaced;
use super::watched::Watched;
use crate::observe::Observe;
use crate::observe::kubernetes::Resource;
use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Changes that come within this time are one change.
const SETTLE: Duration = Duration::from_millis(500);

/// Objects on a page of a listing.
const PAGE: u32 = 500;

/// Watches until it is dropped.
pub(super) async fn watch(
    client: Client,
    scope: Scope,
    found: watch::Sender<Arc<Found>>,
    observe: Arc<Observe>,
) {
    let namespace = scope.namespace.clone();
    let all = watcher::Config::default().page_size(PAGE);
    let ours = all.clone().labels(&scope.selector);
    let of_sets = ours.clone();
    // Each resource has pauses of its own.
    let (of_pods, began) = spaced(client.clone());
    let api: Api<Guarded<Pod>> = Api::namespaced(of_pods, &namespace);
    let begin = move || watcher(api.clone(), ours.clone()).boxed();
    let mut pods = Watched::new(Resource::Pods, began, begin);
    let (client_of_sets, began) = spaced(client.clone());
    let api: Api<Guarded<DaemonSet>> = Api::namespaced(client_of_sets, &namespace);
    let begin = move || watcher(api.clone(), of_sets.clone()).boxed();
    let mut sets = Watched::new(Resource::DaemonSets, began, begin);
    // Labels and names are all that is asked for: neither spec nor status.
    let (of_nodes, began) = spaced(client.clone());
    let api: Api<Guarded<PartialObjectMeta<Node>>> = Api::all(of_nodes);
    let begin = move || watcher(api.clone(), all.clone()).boxed();
    let mut nodes = Watched::new(Resource::Nodes, began, begin);
    let mut reader = Reader::new(&scope.labels);
    let (port, shard) = (scope.port, scope.shard);
    let (tx, mut of_kubelets) = watch::channel(Arc::new(Limits::default()));
    let (new_nodes, new) = watch::channel(Vec::new());
    let mut listing = std::pin::pin!(limits::follow(client, shard, new, tx.clone(), &observe));
    let mut due = Some(Instant::now());
    loop {
        let settled = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            biased;
            () = settled => {
                due = None;
                if nodes.index.synced() {
                    tx.send_if_modified(|limits| Limits::keep(limits, |node| nodes.index.has(node)));
                }
                let limits = Arc::clone(&of_kubelets.borrow_and_update());
                let unknown = nodes.index.iter().filter(|(name, _)| !limits.knows(name));
                new_nodes.send_replace(unknown.map(|(name, _)| name.into()).collect());
                let cluster = Cluster {
                    pods: &pods.index,
                    pods_trouble: pods.trouble(),
                    nodes: &nodes.index,
                    nodes_trouble: nodes.trouble(),
                    limits: &limits,
                    sets: &sets.index,
                    sets_trouble: sets.trouble(),
                };
                let ours = |(_, pod): &(&str, &pods::Known)| shard.owns(&pod.node);
                observe.objects_known(Resource::Pods, pods.index.iter().filter(ours).count());
                observe.objects_known(Resource::Nodes, nodes.index.len());
                observe.daemonset_desires(cluster.desired());
                let now = Arc::new(cluster.found(&scope));
                found.send_if_modified(|before| {
                    let changed = *before != now;
                    *before = now;
                    changed
                });
                reader.sweep();
                false
            }
            next = pods.next() => {
                // Those of all shards: of two pods with one address the newer has it, wherever it is.
                pods.take(next, |pod: Pod| pod.keep(port), &namespace, &observe)
            }
            next = nodes.next(), if scope.nodes => {
                let keep = |node: PartialObjectMeta<Node>| {
                    let name = node.metadata.name.as_deref().unwrap_or_default();
                    let labels = node.metadata.labels.as_ref();
                    shard.owns(name).then(|| reader.keep(labels))
                };
                nodes.take(next, keep, &namespace, &observe)
            }
            next = sets.next() => sets.take(next, daemonset::keep, &namespace, &observe),
            changed = of_kubelets.changed(), if scope.nodes => changed.is_ok(),
            // It does not end by itself.
            () = &mut listing, if scope.nodes => return,
        };
        if changed && due.is_none() {
            due = Some(Instant::now() + SETTLE);
        }
    }
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
