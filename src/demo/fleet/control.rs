//! The fleet as its owners steer it: time, single nodes, the targets file. Comes in: orders. Goes out:
//! doors that open and close, the file, events. Never: a file half written, a node listed that has no
//! address.

use super::TargetsError;
use super::node::{Age, Behaviour, Ec2, HOST_NETWORK_PODS};
use super::server::Shared;
use super::story::StoryEvent;
use super::world::Change;
use crate::model::{Source, Target};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// A place's address and door.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) open: watch::Sender<bool>,
}

/// Everything that can be done to a running fleet.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) places: Vec<Place>,
    pub(super) events: broadcast::Sender<StoryEvent>,
    pub(super) targets: watch::Sender<Arc<Vec<Target>>>,
    pub(super) file: Option<PathBuf>,
    pub(super) paused: AtomicBool,
    /// One writer of the file at a time, so that the newest list is the one that stays.
    pub(super) writing: tokio::sync::Mutex<()>,
}

impl Control {
    pub(super) fn now(&self) -> f64 {
        self.shared.clock.now().unix
    }

    pub(super) fn stopped(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    pub(super) fn address(&self, slot: usize) -> SocketAddr {
        self.places[slot].address
    }

    pub(super) fn paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Story time passes, paused or not.
    pub(super) async fn step(&self, seconds: f64) -> Result<(), TargetsError> {
        let change = self.shared.world.advance(seconds, self.now());
        self.apply(change).await
    }

    pub(super) async fn misbehave(
        &self,
        node: &str,
        behaviour: Behaviour,
    ) -> Option<Result<(), TargetsError>> {
        let slot = self.shared.world.find(node)?;
        self.shared.world.with(slot, |n| n.behave(behaviour))?;
        self.set_door(slot);
        Some(Ok(()))
    }

    /// What EC2 says from now on when the node asks, and whether more pods are sent to it than it can have
    /// addresses for.
    pub(super) fn strain(&self, node: &str, ec2: Ec2, crowded: bool) -> Option<()> {
        let slot = self.shared.world.find(node)?;
        self.shared.world.with(slot, |n| (n.ec2, n.crowded) = (ec2, crowded))
    }

    /// Restarts a node's ipamd; when its new process began.
    pub(super) fn restart(&self, node: &str) -> Option<f64> {
        let slot = self.shared.world.find(node)?;
        let now = self.now();
        self.shared.world.with(slot, |n| {
            n.restart(now);
            n.process.start
        })
    }

    pub(super) async fn leave(&self, node: &str) -> Option<Result<(), TargetsError>> {
        let slot = self.shared.world.find(node)?;
        self.shared.world.leave(slot);
        Some(self.changed(slot, format!("node {node} left")).await)
    }

    pub(super) async fn join(&self, age: Age) -> Option<(Arc<str>, Result<(), TargetsError>)> {
        let (slot, name) = self.shared.world.join(age, self.now())?;
        let done = self.changed(slot, format!("node {name} joined")).await;
        Some((name, done))
    }

    async fn changed(&self, slot: usize, sentence: String) -> Result<(), TargetsError> {
        let mut change = Change::default();
        change.touch(slot);
        change.say(self.shared.world.seconds(), sentence);
        self.apply(change).await
    }

    async fn apply(&self, change: Change) -> Result<(), TargetsError> {
        for slot in &change.slots {
            self.set_door(*slot);
        }
        let published = if change.slots.is_empty() { Ok(()) } else { self.publish().await };
        for event in change.events {
            // Nobody needs to listen.
            drop(self.events.send(event));
        }
        published
    }

    fn set_door(&self, slot: usize) {
        let open = self.shared.world.with(slot, |node| node.accepts()).unwrap_or(false);
        self.places[slot].open.send_if_modified(|was| std::mem::replace(was, open) != open);
    }

    /// Tells everybody which nodes are listed, if that changed: the file first, then the truth.
    pub(super) async fn publish(&self) -> Result<(), TargetsError> {
        let _writing = self.writing.lock().await;
        let list = Arc::new(self.list());
        if **self.targets.borrow() == *list {
            return Ok(());
        }
        if let Some(file) = self.file.clone() {
            let list = list.clone();
            tokio::task::spawn_blocking(move || replace(&file, &list))
                .await
                .unwrap_or(Err(TargetsError::Interrupted))?;
        }
        self.shared.truth.listed(list.iter().map(|target| target.node.clone()).collect());
        self.targets.send_replace(list);
        Ok(())
    }

    fn list(&self) -> Vec<Target> {
        let mut list: Vec<Target> = (0..self.places.len())
            .filter_map(|slot| {
                self.shared.world.with(slot, |node| self.target(slot, node)).flatten()
            })
            .collect();
        list.sort_by(|a, b| a.node.cmp(&b.node));
        list
    }

    fn target(&self, slot: usize, node: &super::node::Node) -> Option<Target> {
        let address = self.address(slot);
        let labels = [
            ("instance_type", node.instance.name),
            ("zone", node.zone),
            ("region", super::node::REGION),
            ("nodegroup", node.nodegroup),
            ("capacity_type", if node.spot { "spot" } else { "on-demand" }),
        ]
        .into_iter()
        .collect();
        let (name, host) = (node.name.clone(), address.ip().to_string());
        let pod_limit = node.pod_limit().and_then(|limit| u32::try_from(limit).ok());
        node.listed.then(|| Target {
            labels,
            pod_limit,
            ..Target::new(name, host, address.port(), "/metrics", Source::File)
        })
    }
}

/// Writes the list beside the file, and puts it in its place at once.
fn replace(file: &Path, list: &[Target]) -> Result<(), TargetsError> {
    let failed = |source| TargetsError::Write { file: file.to_owned(), source };
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, file_sd(list)).map_err(failed)?;
    std::fs::rename(&beside, file).map_err(failed)
}

/// Prometheus's `file_sd` format, one group a node.
pub(super) fn file_sd(list: &[Target]) -> String {
    let groups: Vec<serde_json::Value> = list
        .iter()
        .map(|target| {
            let mut labels: BTreeMap<&str, &str> = target.labels.iter().collect();
            labels.insert("node", &target.node);
            let pods =
                target.pod_limit.map(|room| (u64::from(room) + HOST_NETWORK_PODS).to_string());
            if let Some(pods) = &pods {
                labels.insert("__allocatable_pods__", pods);
            }
            serde_json::json!({ "targets": [target.address()], "labels": labels })
        })
        .collect();
    // One group a line: a person may read it, and diff it.
    let lines: Vec<String> = groups.iter().map(|group| format!("  {group}")).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}
