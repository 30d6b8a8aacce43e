//! The aws-node pods: which one speaks for a node, and where. Comes in: pods, of which little is kept.
//! Goes out: a node's name with an address, or with the reason why there is none. Never: a request.

use crate::model::{NodeName, Pod as PodIdentity};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

/// The name of the container port that serves metrics: so it is in the DaemonSet of amazon-vpc-cni-k8s.
const PORT_NAME: &str = "metrics";

/// The field of a Node by which a DaemonSet's pod is bound to it before it is scheduled.
const NODE_NAME_FIELD: &str = "metadata.name";

/// A pod, as far as it is read: a whole one has thirty times as much.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    metadata: ObjectMeta,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    containers: Vec<Container>,
    affinity: Option<Affinity>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Container {
    ports: Vec<Port>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Port {
    name: Option<String>,
    container_port: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Affinity {
    node_affinity: NodeAffinity,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinity {
    required_during_scheduling_ignored_during_execution: Required,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Required {
    node_selector_terms: Vec<Term>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Term {
    match_fields: Vec<Field>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Field {
    key: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    reason: Option<String>,
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: Option<String>,
}

impl kube::Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is kept of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) node: NodeName,
    pub(super) identity: PodIdentity,
    /// Its address and port, or why it cannot be scraped.
    pub(super) place: Result<(Arc<str>, u16), Arc<str>>,
}

impl Pod {
    /// What is kept; `None` for a pod that belongs to no node yet. `port` is that of pods that name
    /// none.
    pub(super) fn keep(self, port: u16) -> Option<Known> {
        let node = NodeName::from(self.spec.node_name.as_deref().or_else(|| self.bound_to())?);
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let created = self.metadata.creation_timestamp.as_ref().map_or(0, |at| at.0.as_second());
        let place = if self.metadata.deletion_timestamp.is_some() {
            Err(format!("the pod {name} is terminating"))
        } else if self.status.phase != "Running" {
            Err(self.not_running(name))
        } else {
            match self.status.pod_ip.parse::<IpAddr>() {
                Ok(ip) => Ok((Arc::from(ip.to_string()), self.port().unwrap_or(port))),
                Err(_) => Err(format!("the pod {name} runs but has no address yet")),
            }
        };
        let uid = Arc::from(self.metadata.uid.unwrap_or_default());
        let place = place.map_err(Arc::from);
        Some(Known { node, identity: PodIdentity { uid, created }, place })
    }

    /// The node that the DaemonSet controller made the pod for.
    fn bound_to(&self) -> Option<&str> {
        let required = &self
            .spec
            .affinity
            .as_ref()?
            .node_affinity
            .required_during_scheduling_ignored_during_execution;
        let mut fields = required.node_selector_terms.iter().flat_map(|term| &term.match_fields);
        fields.find(|field| field.key == NODE_NAME_FIELD)?.values.first().map(String::as_str)
    }

    fn port(&self) -> Option<u16> {
        let mut ports = self.spec.containers.iter().flat_map(|container| &container.ports);
        let named = ports.find(|port| port.name.as_deref() == Some(PORT_NAME))?;
        u16::try_from(named.container_port).ok().filter(|port| *port > 0)
    }

    fn not_running(&self, name: &str) -> String {
        let phase = if self.status.phase.is_empty() { "not running" } else { &self.status.phase };
        let containers = self.status.init_container_statuses.iter();
        let waiting = containers
            .chain(&self.status.container_statuses)
            .find_map(|container| container.state.waiting.as_ref()?.reason.as_deref());
        match self.status.reason.as_deref().or(waiting) {
            Some(reason) => format!("the pod {name} is {phase} ({reason})"),
            None => format!("the pod {name} is {phase}"),
        }
    }
}

/// A pod's name, and what is kept of it.
pub(super) type Named<'p> = (&'p str, &'p Known);

/// The pod that speaks for each node: the newest one that can be scraped, else the newest one.
/// Besides, the node of each that could be scraped and lost to a newer one.
pub(super) fn by_node<'p>(
    pods: impl Iterator<Item = Named<'p>>,
) -> (HashMap<&'p str, Named<'p>>, Vec<&'p str>) {
    let mut chosen: HashMap<&str, Named<'_>> = HashMap::new();
    let mut losers = Vec::new();
    // The name decides where two are of the same second, so that the choice stays.
    let rank = |(name, pod): Named<'p>| (pod.place.is_ok(), pod.identity.created, Reverse(name));
    for pod in pods {
        let best = chosen.entry(&pod.1.node).or_insert(pod);
        if best.0 == pod.0 {
            continue;
        }
        if best.1.place.is_ok() && pod.1.place.is_ok() {
            losers.push(&*pod.1.node);
        }
        if rank(pod) > rank(*best) {
            *best = pod;
        }
    }
    (chosen, losers)
}

/// The same pods, the newest first, each with the newer one that has its address, if there is one: the
/// pod of a node that died stands there as running until it is collected, and its address may have gone
/// to another node by then.
pub(super) fn by_address<'p>(
    chosen: impl Iterator<Item = Named<'p>>,
) -> impl Iterator<Item = (&'p str, &'p Known, Option<Named<'p>>)> {
    let mut pods: Vec<Named<'_>> = chosen.collect();
    pods.sort_unstable_by(|(_, a), (_, b)| {
        b.identity.created.cmp(&a.identity.created).then_with(|| a.node.cmp(&b.node))
    });
    let mut holders: HashMap<(&str, u16), Named<'_>> = HashMap::with_capacity(pods.len());
    pods.into_iter().map(move |(name, pod)| {
        let newer = match &pod.place {
            Ok((host, port)) => match holders.entry((host, *port)) {
                Entry::Occupied(holder) => Some(*holder.get()),
                Entry::Vacant(free) => {
                    free.insert((name, pod));
                    None
                }
            },
            Err(_) => None,
        };
        (name, pod, newer)
    })
}

/// Why a pod whose address a newer one has cannot be scraped.
pub(super) fn superseded(name: &str, (newer, pod): Named<'_>) -> Arc<str> {
    let node = &pod.node;
    format!("the pod {name} is not at its address any more: the newer {newer} on {node} has it")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, created: &str, more: Value) -> Pod {
        let mut pod = json!({
            "metadata": { "name": name, "uid": format!("uid-{name}"), "creationTimestamp": created },
            "spec": { "nodeName": "n1", "hostNetwork": true, "containers": [{ "name": "aws-node" }] },
            "status": { "phase": "Running", "podIP": "10.0.0.1" },
        });
        merge(&mut pod, more);
        serde_json::from_value(pod).unwrap()
    }

    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    const DAY: &str = "2026-11-01T00:00:00Z";

    fn place(more: Value) -> Result<String, String> {
        let known = pod("p", DAY, more).keep(61678).unwrap();
        known.place.map(|(host, port)| format!("{host} {port}")).map_err(|why| why.to_string())
    }

    #[test]
    fn a_running_pod_is_at_its_address_and_its_named_port() {
        assert_eq!(place(json!({})), Ok("10.0.0.1 61678".to_owned()));
        let ports = |name: &str, port: Value| {
            json!({ "spec": { "containers": [
                { "ports": [{ "containerPort": 8162, "name": "agentmetrics" }] },
                { "ports": [{ "containerPort": port, "name": name }] },
            ] } })
        };
        assert_eq!(place(ports("metrics", json!(7001))), Ok("10.0.0.1 7001".to_owned()));
        assert_eq!(place(ports("other", json!(7001))), Ok("10.0.0.1 61678".to_owned()));
        assert_eq!(place(ports("metrics", json!(70000))), Ok("10.0.0.1 61678".to_owned()));
        let ipv6 =
            json!({ "status": { "podIP": "2001:DB8:0::1" }, "spec": { "hostNetwork": false } });
        assert_eq!(place(ipv6), Ok("2001:db8::1 61678".to_owned()));
    }

    #[test]
    fn a_pod_that_cannot_be_scraped_says_why() {
        let why = |more| place(more).unwrap_err();
        let pending = json!({ "status": { "phase": "Pending", "podIP": "" } });
        assert_eq!(why(pending), "the pod p is Pending");
        let waiting = |kind: &str| {
            json!({ "status": { "phase": "Pending",
                kind: [{ "state": { "waiting": { "reason": "ImagePullBackOff" } } }] } })
        };
        assert_eq!(why(waiting("containerStatuses")), "the pod p is Pending (ImagePullBackOff)");
        assert_eq!(
            why(waiting("initContainerStatuses")),
            "the pod p is Pending (ImagePullBackOff)"
        );
        let evicted = json!({ "status": { "phase": "Failed", "reason": "Evicted" } });
        assert_eq!(why(evicted), "the pod p is Failed (Evicted)");
        let going = json!({ "metadata": { "deletionTimestamp": DAY } });
        assert_eq!(why(going), "the pod p is terminating");
        for ip in [json!(""), json!("none")] {
            let nowhere = json!({ "status": { "podIP": ip } });
            assert_eq!(why(nowhere), "the pod p runs but has no address yet");
        }
    }

    #[test]
    fn a_pod_that_is_not_scheduled_is_of_the_node_that_it_was_made_for() {
        let affinity = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchFields": [
                { "key": "metadata.name", "operator": "In", "values": ["n7"] },
            ] }],
        } } });
        let more = json!({ "spec": { "nodeName": null, "affinity": affinity }, "status": { "phase": "Pending" } });
        assert_eq!(&*pod("p", DAY, more).keep(1).unwrap().node, "n7");
        assert!(pod("p", DAY, json!({ "spec": { "nodeName": null } })).keep(1).is_none());
    }

    #[test]
    fn the_newest_pod_that_can_be_scraped_speaks_for_its_node() {
        let old = "2026-10-01T00:00:00Z";
        let pending = json!({ "status": { "phase": "Pending" } });
        let list: Vec<(String, Known)> = [
            ("new-pending", DAY, pending),
            ("old", old, json!({})),
            ("older", "2026-09-01T00:00:00Z", json!({})),
            (
                "elsewhere",
                old,
                json!({ "spec": { "nodeName": "n2" }, "status": { "phase": "Failed" } }),
            ),
            (
                "elsewhere-new",
                DAY,
                json!({ "spec": { "nodeName": "n2" }, "status": { "phase": "Pending" } }),
            ),
        ]
        .into_iter()
        .map(|(name, created, more)| (name.to_owned(), pod(name, created, more).keep(1).unwrap()))
        .collect();
        for reversed in [false, true] {
            let mut list = list.clone();
            if reversed {
                list.reverse();
            }
            let (chosen, losers) = by_node(list.iter().map(|(name, pod)| (&**name, pod)));
            assert_eq!((chosen["n1"].0, chosen["n2"].0), ("old", "elsewhere-new"));
            assert_eq!(losers, ["n1"]);
        }
    }

    #[test]
    fn what_is_kept_is_small() {
        // Besides its texts: the API server has some thousand bytes of each.
        assert!(size_of::<Known>() <= 80, "{}", size_of::<Known>());
    }
}
