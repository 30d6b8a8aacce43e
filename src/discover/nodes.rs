//! Nodes by their metadata: which of them should run an aws-node pod, and what is told of them. Comes
//! in: labels. Goes out: a kind, and the labels of `vpccni_node_info`. Never: a node's status, which is
//! not asked for.

use crate::model::{TargetLabels, label_name};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// What kind of node it is, as far as it matters to the VPC CNI: its DaemonSet's affinity excludes all
/// but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Runs aws-node.
    Linux,
    /// EKS Auto Mode: the CNI is part of the machine image.
    Auto,
    /// A pod's own machine.
    Fargate,
    /// Outside of AWS.
    Hybrid,
    /// Addresses come from the VPC resource controller.
    Windows,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Linux => "Linux",
            Kind::Auto => "EKS Auto Mode",
            Kind::Fargate => "Fargate",
            Kind::Hybrid => "hybrid",
            Kind::Windows => "Windows",
        })
    }
}

/// What is kept of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) kind: Kind,
    pub(super) labels: TargetLabels,
}

/// Our names for what clouds, EKS, eksctl and Karpenter tell in several ways; the first that is there
/// counts.
const WELL_KNOWN: [(&str, &[&str]); 6] = [
    ("instance_type", &["node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"]),
    ("zone", &["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]),
    ("region", &["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"]),
    ("nodegroup", &["eks.amazonaws.com/nodegroup", "alpha.eksctl.io/nodegroup-name"]),
    ("nodepool", &["karpenter.sh/nodepool", "karpenter.sh/provisioner-name"]),
    ("capacity_type", &["karpenter.sh/capacity-type", "eks.amazonaws.com/capacityType"]),
];

/// The label by which EKS tells where a node runs.
const COMPUTE_TYPE: &str = "eks.amazonaws.com/compute-type";

/// Reads nodes. Names and values that many nodes share are kept once.
#[derive(Debug)]
pub(super) struct Reader {
    /// Keys of labels that are told besides, with the names that they get.
    wanted: Vec<(String, Arc<str>)>,
    names: [Arc<str>; WELL_KNOWN.len()],
    shared: HashSet<Arc<str>>,
}

impl Reader {
    /// `wanted` is `--node.labels`.
    pub(super) fn new(wanted: &[String]) -> Reader {
        let wanted = wanted.iter().filter(|key| !key.is_empty());
        Reader {
            wanted: wanted.map(|key| (key.clone(), label_name(key).into())).collect(),
            names: WELL_KNOWN.map(|(name, _)| name.into()),
            shared: HashSet::new(),
        }
    }

    /// What is kept of a node with these labels.
    pub(super) fn keep(&mut self, labels: Option<&BTreeMap<String, String>>) -> Known {
        let label = |key: &str| {
            let value = labels.and_then(|labels| labels.get(key));
            value.map(String::as_str).filter(|value| !value.is_empty())
        };
        let mut kept: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for (at, (name, keys)) in WELL_KNOWN.iter().enumerate() {
            let Some(value) = keys.iter().find_map(|key| label(key)) else { continue };
            let value = if *name == "capacity_type" {
                let value = capacity_type(value);
                self.share(&value)
            } else {
                self.share(value)
            };
            kept.push((Arc::clone(&self.names[at]), value));
        }
        let wanted: Vec<(Arc<str>, &str)> = self
            .wanted
            .iter()
            .filter_map(|(key, name)| Some((Arc::clone(name), label(key)?)))
            .collect();
        for (name, value) in wanted {
            let value = self.share(value);
            kept.push((name, value));
        }
        let kind = match (label(COMPUTE_TYPE), label("kubernetes.io/os")) {
            (Some("auto"), _) => Kind::Auto,
            (Some("fargate"), _) => Kind::Fargate,
            (Some("hybrid"), _) => Kind::Hybrid,
            (_, Some("windows")) => Kind::Windows,
            _ => Kind::Linux,
        };
        Known { kind, labels: kept.into_iter().collect() }
    }

    /// Forgets values that no node has any more.
    pub(super) fn sweep(&mut self) {
        self.shared.retain(|value| Arc::strong_count(value) > 1);
    }

    fn share(&mut self, value: &str) -> Arc<str> {
        if let Some(known) = self.shared.get(value) {
            return Arc::clone(known);
        }
        let value: Arc<str> = value.into();
        self.shared.insert(Arc::clone(&value));
        value
    }
}

/// EKS says ON_DEMAND, Karpenter on-demand.
fn capacity_type(value: &str) -> String {
    value.to_ascii_lowercase().replace('_', "-")
}
