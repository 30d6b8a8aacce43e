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
    /// The name of its cluster, where a label tells it.
    pub(super) cluster: Option<Arc<str>>,
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

/// The label by which eksctl tells the cluster's name.
const CLUSTER: &str = "alpha.eksctl.io/cluster-name";

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
        let cluster = label(CLUSTER).map(|name| self.share(name));
        Known { kind, labels: kept.into_iter().collect(), cluster }
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
pub(super) fn capacity_type(value: &str) -> String {
    value.to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(reader: &mut Reader, labels: &[(&str, &str)]) -> Known {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        reader.keep(Some(&labels))
    }

    fn told(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        let known = keep(&mut Reader::new(&[]), labels);
        known.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn eks_karpenter_and_old_labels_become_ours() {
        for (key, value, name, expected) in [
            ("node.kubernetes.io/instance-type", "m5.large", "instance_type", "m5.large"),
            ("beta.kubernetes.io/instance-type", "m5.large", "instance_type", "m5.large"),
            ("topology.kubernetes.io/zone", "us-west-2b", "zone", "us-west-2b"),
            ("failure-domain.beta.kubernetes.io/zone", "us-west-2b", "zone", "us-west-2b"),
            ("topology.kubernetes.io/region", "us-west-2", "region", "us-west-2"),
            ("eks.amazonaws.com/nodegroup", "blue", "nodegroup", "blue"),
            ("alpha.eksctl.io/nodegroup-name", "blue", "nodegroup", "blue"),
            ("karpenter.sh/nodepool", "gpu", "nodepool", "gpu"),
            ("karpenter.sh/provisioner-name", "gpu", "nodepool", "gpu"),
            ("eks.amazonaws.com/capacityType", "ON_DEMAND", "capacity_type", "on-demand"),
            ("eks.amazonaws.com/capacityType", "SPOT", "capacity_type", "spot"),
            ("karpenter.sh/capacity-type", "on-demand", "capacity_type", "on-demand"),
        ] {
            assert_eq!(told(&[(key, value)]), [(name.to_owned(), expected.to_owned())]);
        }
        assert_eq!(told(&[("topology.kubernetes.io/zone", ""), ("team", "a")]), []);
    }

    #[test]
    fn the_newer_of_two_labels_counts() {
        let both = [
            ("topology.kubernetes.io/zone", "new"),
            ("failure-domain.beta.kubernetes.io/zone", "old"),
        ];
        assert_eq!(told(&both), [("zone".to_owned(), "new".to_owned())]);
    }

    #[test]
    fn labels_that_are_asked_for_are_told_under_a_prometheus_name() {
        let wanted = ["example.com/team-a", "absent", ""].map(str::to_owned);
        let known = keep(&mut Reader::new(&wanted), &[("example.com/team-a", "x"), ("b", "y")]);
        let labels: Vec<_> = known.labels.iter().collect();
        assert_eq!(labels, [("example_com_team_a", "x")]);
    }

    #[test]
    fn nodes_that_run_no_aws_node_are_known_by_their_labels() {
        let kind = |labels: &[(&str, &str)]| keep(&mut Reader::new(&[]), labels).kind;
        assert_eq!(Reader::new(&[]).keep(None).kind, Kind::Linux);
        assert_eq!(kind(&[("kubernetes.io/os", "linux")]), Kind::Linux);
        assert_eq!(kind(&[("kubernetes.io/os", "windows")]), Kind::Windows);
        assert_eq!(kind(&[("eks.amazonaws.com/compute-type", "ec2")]), Kind::Linux);
        for (value, expected) in
            [("auto", Kind::Auto), ("fargate", Kind::Fargate), ("hybrid", Kind::Hybrid)]
        {
            assert_eq!(kind(&[("eks.amazonaws.com/compute-type", value)]), expected);
        }
    }

    #[test]
    fn a_value_is_kept_once_for_all_nodes_and_not_longer_than_they_are() {
        let mut reader = Reader::new(&[]);
        let zone = [("topology.kubernetes.io/zone", "us-west-2b")];
        let nodes = [keep(&mut reader, &zone), keep(&mut reader, &zone)];
        assert_eq!(reader.shared.len(), 1);
        reader.sweep();
        assert_eq!(reader.shared.len(), 1);
        drop(nodes);
        reader.sweep();
        assert_eq!(reader.shared.len(), 0);
    }
}
