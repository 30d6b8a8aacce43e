//! How many pods each node's kubelet takes. Comes in: Nodes, page by page, now and then; new ones one by
//! one. Goes out: what the last whole listing and what was asked since then say. Never: a watch of their
//! status, which changes all the time; half a listing; on the whole more than ten Nodes a second.
//!
//! *Flow*: a listing, then new nodes one by one until the next is due. *When it cannot keep up*: a node stays
//! unknown until the next listing, and counts by its instance's ceiling alone. *Stopping*: with the watches.

use super::guarded::Guarded;
use super::shard::Shard;
use super::trouble::trouble;
use crate::observe::Observe;
use crate::observe::kubernetes::{Resource, Trouble};
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, Client, Resource as _};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Objects on a page: a whole Node has some 10 KB.
const PAGE: u32 = 100;

/// Time between two listings: at least this much,
const AT_LEAST: Duration = Duration::from_secs(30);

/// more with each node, so that the API server serves ten in a second (so it is between two new ones),
const PER_NODE: Duration = Duration::from_millis(100);

/// but not so much that a node stays unknown for long.
const AT_MOST: Duration = Duration::from_secs(30 * 60);

/// Where more than a page and this share of all Nodes are new, all are listed before their time: in a
/// cluster that grows tenfold in a minute nodes are not to stay unknown for many.
const MANY: f64 = 0.1;

/// Pods that the kubelets take, by node; `None` of a node that does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Limits(HashMap<Box<str>, Option<u32>>);

impl Limits {
    /// Forgets nodes that are gone: another may get the name. Whether there was one.
    pub(super) fn keep(limits: &mut Arc<Limits>, is_there: impl Fn(&str) -> bool) -> bool {
        let gone = limits.0.keys().any(|node| !is_there(node));
        if gone {
            Arc::make_mut(limits).0.retain(|node, _| is_there(node));
        }
        gone
    }

    /// What tests need.
    #[cfg(test)]
    pub(super) fn known(pods: &[(&str, u32)]) -> Limits {
        Limits(pods.iter().map(|(node, pods)| (Box::from(*node), Some(*pods))).collect())
    }

    /// Whether a node was looked at.
    pub(super) fn knows(&self, node: &str) -> bool {
        self.0.contains_key(node)
    }

    /// Room for pods with an address of their own, where `host_network_pods` have none.
    pub(super) fn of(&self, node: &str, host_network_pods: u32) -> Option<u32> {
        let pods = (*self.0.get(node)?)?;
        Some(pods.saturating_sub(host_network_pods))
    }
}

/// A Node, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Node {
    metadata: ObjectMeta,
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    allocatable: HashMap<String, Value>,
}

impl Node {
    /// A quantity; the kubelet writes this one as a whole number.
    fn pods(&self) -> Option<u32> {
        self.status.allocatable.get("pods")?.as_str()?.parse().ok()
    }
}

impl kube::Resource for Node {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Node".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "nodes".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Lists again and again, until it is dropped. `new` are nodes of which nothing is known.
pub(super) async fn follow(
    client: Client,
    shard: Shard,
    new: watch::Receiver<Vec<Box<str>>>,
    limits: watch::Sender<Arc<Limits>>,
    observe: &Observe,
) {
    let mut follower =
        Follower { api: Api::all(client), shard, new, limits, observe, listed: 0, failed: None };
    loop {
        let began = Instant::now();
        let listed = follower.list().await;
        let until = Instant::now() + pause(listed);
        // What cannot be asked for one by one the next listing will tell.
        drop(tokio::time::timeout_at(until, follower.ask(listed)).await);
        tokio::time::sleep_until(began + AT_LEAST).await;
    }
}

struct Follower<'o> {
    api: Api<Guarded<Node>>,
    shard: Shard,
    new: watch::Receiver<Vec<Box<str>>>,
    limits: watch::Sender<Arc<Limits>>,
    observe: &'o Observe,
    /// Nodes of the last whole listing.
    listed: usize,
    /// How the last request ended, where it failed.
    failed: Option<Trouble>,
}

impl Follower<'_> {
    /// Lists all. How many there are, as far as is known.
    async fn list(&mut self) -> usize {
        let before = Arc::clone(&self.limits.borrow());
        let mut seen = 0;
        match list(&self.api, self.shard, &before, &mut seen, self.observe).await {
            Ok(now) => {
                self.well();
                self.listed = seen;
                self.limits.send_if_modified(|before| {
                    let changed = **before != now;
                    *before = Arc::new(now);
                    changed
                });
            }
            Err(error) => self.unread(error),
        }
        // One that failed half-way cost what it read.
        self.listed.max(seen)
    }

    /// Asks for new nodes, each once, until they are too many beside those that were `listed`, or it is
    /// dropped.
    async fn ask(&mut self, listed: usize) {
        let most = (PAGE as usize).max((listed as f64 * MANY) as usize);
        let mut asked: HashSet<Box<str>> = HashSet::new();
        loop {
            let (next, unknown) = self.unknown(&asked);
            if unknown > most {
                return;
            }
            let Some(name) = next else {
                if self.new.changed().await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            };
            match self.api.get_opt(&name).await {
                Ok(node) => {
                    self.well();
                    let pods = node.and_then(|node| read(node, &name, self.observe)).flatten();
                    self.limits.send_modify(|limits| {
                        Arc::make_mut(limits).0.insert(name.clone(), pods);
                    });
                }
                Err(error) => {
                    self.unread(error);
                    // The others would be refused as well.
                    if self.failed == Some(Trouble::Forbidden) {
                        return std::future::pending().await;
                    }
                }
            }
            asked.insert(name);
            tokio::time::sleep(PER_NODE).await;
        }
    }

    /// One that is to be asked for, and how many there are.
    fn unknown(&mut self, asked: &HashSet<Box<str>>) -> (Option<Box<str>>, usize) {
        let known = self.limits.borrow();
        let new = self.new.borrow_and_update();
        let mut unknown = new.iter().filter(|name| !asked.contains(*name) && !known.knows(name));
        let first = unknown.next().cloned();
        let more = unknown.count();
        (first.clone(), more + usize::from(first.is_some()))
    }

    fn well(&mut self) {
        if self.failed.take() == Some(Trouble::Forbidden) {
            self.observe.limits_read_again();
        }
    }

    fn unread(&mut self, error: kube::Error) {
        let (kind, words) = trouble(&watcher::Error::InitialListFailed(error));
        self.observe.limits_unread(kind, &words, self.failed == Some(kind));
        self.failed = Some(kind);
    }
}

/// What a node tells; `None` where it cannot be read.
fn read(node: Guarded<Node>, name: &str, observe: &Observe) -> Option<Option<u32>> {
    match node.read() {
        Ok(node) => Some(node.pods()),
        Err(words) => {
            observe.object_unreadable(Resource::Nodes, name, &words);
            None
        }
    }
}

fn pause(nodes: usize) -> Duration {
    let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
    PER_NODE.saturating_mul(nodes).clamp(AT_LEAST, AT_MOST)
}

/// What is known of our Nodes; `seen` counts all that were read. Of one that cannot be read stays what was
/// known `before`.
async fn list(
    api: &Api<Guarded<Node>>,
    shard: Shard,
    before: &Limits,
    seen: &mut usize,
    observe: &Observe,
) -> kube::Result<Limits> {
    let mut limits = HashMap::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let objects = api.list(&page).await?;
        *seen += objects.items.len();
        for node in objects.items {
            let name = node.meta().name.clone().unwrap_or_default();
            if !shard.owns(&name) {
                continue;
            }
            let known = before.0.get(name.as_str()).copied().flatten();
            let pods = read(node, &name, observe).unwrap_or(known);
            limits.insert(name.into(), pods);
        }
        match objects.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(Limits(limits)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_large_cluster_is_listed_less_often() {
        let seconds = [0, 300, 301, 5_000, 100_000].map(|nodes| pause(nodes).as_secs_f64());
        assert_eq!(seconds, [30.0, 30.0, 30.1, 500.0, 1800.0]);
    }

    #[test]
    fn allocatable_pods_are_read_where_they_are_a_number() {
        let pods = |value: Value| {
            let node = json!({ "status": { "allocatable": { "cpu": "2", "pods": value } } });
            serde_json::from_value::<Node>(node).unwrap().pods()
        };
        let told = [json!("110"), json!("0"), json!("1k"), json!(110), json!(null)].map(pods);
        assert_eq!(told, [Some(110), Some(0), None, None, None]);
        assert_eq!(serde_json::from_value::<Node>(json!({})).unwrap().pods(), None);
    }

    #[test]
    fn pods_without_an_address_are_no_room() {
        let limits = Limits::known(&[("n", 110), ("small", 1)]);
        let room = ["n", "small", "other"].map(|node| limits.of(node, 2));
        assert_eq!(room, [Some(108), Some(0), None]);
    }
}
