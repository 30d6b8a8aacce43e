//! A simulated fleet as the API server would know it: a Node and a running pod for each node. Comes in: the
//! fleet's list, as it changes. Goes out: the objects that follow it. Never: a node's figures, which the
//! service has to fetch from the node itself.

use super::api::{AT_ONCE, Api, beside, wait};
use super::objects::Pod;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use vpc_cni_exporter::model::Target;

type List = Arc<Vec<Target>>;

/// Follows a fleet until it is dropped.
pub(crate) struct Mirror {
    fleet: watch::Receiver<List>,
    mirrored: watch::Receiver<List>,
    task: JoinHandle<()>,
}

/// How the pods' addresses are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// As they are.
    Direct,
    /// 10.b.c.d for 127.b.c.d, which the pod proxy of the test's API server undoes.
    Proxied,
}

impl Mirror {
    /// Makes all that is there already, and then what changes.
    pub(crate) fn follow(api: &Api, fleet: watch::Receiver<List>, addresses: Addresses) -> Mirror {
        let (done, mirrored) = watch::channel(List::default());
        let (api, mut changes) = (api.clone(), fleet.clone());
        let task = beside(async move {
            let daemonset = api.create_daemonset().await;
            let work = Work { api, daemonset: daemonset.into(), addresses };
            // Each pod has a name of its own, as the DaemonSet's controller gives it.
            let mut pods = 0;
            let mut known = BTreeMap::new();
            loop {
                let list = List::clone(&changes.borrow_and_update());
                work.become_as(&list, &mut known, &mut pods).await;
                done.send_replace(list);
                if changes.changed().await.is_err() {
                    return;
                }
            }
        });
        Mirror { fleet, mirrored, task }
    }

    /// Waits until the API server knows the fleet as it is now.
    pub(crate) fn caught_up(&self) {
        let (fleet, mut mirrored) = (self.fleet.clone(), self.mirrored.clone());
        wait(async {
            let same = |list: &List| list.len() == fleet.borrow().len() && list == &*fleet.borrow();
            let ended = mirrored.wait_for(same).await.is_err();
            assert!(!ended, "the mirror broke; see above");
        });
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What stands at the API server: the node as it was listed, and its pod's name.
type Known = BTreeMap<Arc<str>, (Target, String)>;

#[derive(Clone)]
struct Work {
    api: Api,
    daemonset: Arc<str>,
    addresses: Addresses,
}

impl Work {
    async fn become_as(&self, list: &[Target], known: &mut Known, pods: &mut usize) {
        let listed: BTreeMap<&str, &Target> = list.iter().map(|t| (&*t.node, t)).collect();
        let (gate, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        known.retain(|node, (target, pod)| {
            let stays = listed.get(&**node).is_some_and(|now| *now == target);
            if !stays {
                let (work, gate) = (self.clone(), Arc::clone(&gate));
                let (node, pod) = (Arc::clone(node), pod.clone());
                tasks.spawn(async move {
                    let _turn = gate.acquire().await.unwrap();
                    work.api.delete_pod(&pod).await;
                    work.api.delete_node(&node).await;
                });
            }
            stays
        });
        finish(&mut tasks).await;
        for target in list {
            if known.contains_key(&target.node) {
                continue;
            }
            *pods += 1;
            let pod = format!("aws-node-{pods:05}");
            known.insert(Arc::clone(&target.node), (target.clone(), pod.clone()));
            let (work, gate, target) = (self.clone(), Arc::clone(&gate), target.clone());
            tasks.spawn(async move {
                let _turn = gate.acquire().await.unwrap();
                work.make(&target, pod).await;
            });
        }
        finish(&mut tasks).await;
        self.api.daemonset_is(list.len(), list.len()).await;
    }

    async fn make(&self, target: &Target, name: String) {
        let labels: Vec<(&str, String)> = target
            .labels
            .iter()
            .filter_map(|(label, value)| Some((label_of_node(label)?, as_written(label, value))))
            .collect();
        let labels: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
        // As the fleet tells it in its file, less what it knows to be on each node.
        let pods = target.pod_limit.map(|room| room + 2);
        self.api.create_node(&target.node, &labels, pods).await;
        let node = target.node.to_string();
        let pod = Pod { name, node, port: target.port, owner: self.daemonset.to_string() };
        let address = written(target.host.parse().unwrap(), self.addresses);
        self.api.run_pod(&pod, address).await;
    }
}

/// A task that panicked has said so; the mirror ends with it.
async fn finish(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// An address as the pod's status has it.
pub(crate) fn written(address: Ipv4Addr, addresses: Addresses) -> IpAddr {
    let [_, b, c, d] = address.octets();
    match addresses {
        Addresses::Direct => address.into(),
        Addresses::Proxied => Ipv4Addr::new(10, b, c, d).into(),
    }
}

/// EKS writes capacity types in its own way.
fn as_written(label: &str, value: &str) -> String {
    if label == "capacity_type" { value.to_uppercase().replace('-', "_") } else { value.to_owned() }
}

/// The label of a Node that our label of the info metric comes from.
fn label_of_node(ours: &str) -> Option<&'static str> {
    match ours {
        "instance_type" => Some("node.kubernetes.io/instance-type"),
        "zone" => Some("topology.kubernetes.io/zone"),
        "region" => Some("topology.kubernetes.io/region"),
        "nodegroup" => Some("eks.amazonaws.com/nodegroup"),
        "capacity_type" => Some("eks.amazonaws.com/capacityType"),
        _ => None,
    }
}
