//! What we publish that is not made from one family of ipamd: a table. Never: a value.

use super::{Published, Unit};
use crate::model::Kind;

const fn published(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
    scope: &'static str,
) -> Published {
    Published { name, kind, unit, help, labels, scope }
}

/// Variables of aws-node's container that say how ipamd hands out addresses; each is a label of
/// vpccni_daemonset_config_info. Named by amazon-vpc-cni-k8s's README.
pub const SETTINGS: [(&str, &str); 12] = [
    ("WARM_ENI_TARGET", "warm_eni_target"),
    ("WARM_IP_TARGET", "warm_ip_target"),
    ("WARM_PREFIX_TARGET", "warm_prefix_target"),
    ("MINIMUM_IP_TARGET", "minimum_ip_target"),
    ("MAX_ENI", "max_eni"),
    ("IP_COOLDOWN_PERIOD", "ip_cooldown_period"),
    ("ENABLE_PREFIX_DELEGATION", "enable_prefix_delegation"),
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "aws_vpc_k8s_cni_custom_network_cfg"),
    ("ENABLE_SUBNET_DISCOVERY", "enable_subnet_discovery"),
    ("ENABLE_POD_ENI", "enable_pod_eni"),
    ("ENABLE_IPv4", "enable_ipv4"),
    ("ENABLE_IPv6", "enable_ipv6"),
];

const DAEMONSET_LABELS: &[&str] = &{
    let mut labels = [""; SETTINGS.len() + 2];
    (labels[0], labels[1]) = ("daemonset", "version");
    let mut at = 0;
    while at < SETTINGS.len() {
        labels[at + 2] = SETTINGS[at].1;
        at += 1;
    }
    labels
};

/// Our families that are not made from one family of ipamd, sorted by scope and name.
pub const PUBLISHED: &[Published] = &[
    published(
        "vpccni_cluster_ip_addresses_usable",
        Kind::Gauge,
        Unit::Count,
        &["ip_family"],
        "Pod addresses that the nodes can put to use at most: the sum of vpccni_node_ip_addresses_usable.",
        "cluster",
    ),
    published(
        "vpccni_cluster_ip_utilization_ratio",
        Kind::Gauge,
        Unit::Ratio,
        &[],
        "Pod addresses in use on IPv4 nodes, as a share of what these nodes can put to use at most (vpccni_node_ip_addresses_usable); absent while that is 0.",
        "cluster",
    ),
    published(
        "vpccni_cluster_node_ip_utilization",
        Kind::Histogram,
        Unit::Ratio,
        &[],
        "IPv4 nodes now, by addresses in use as a share of what the node can put to use at most (vpccni_node_ip_addresses_usable). A picture of this moment, not a counter: use no rate() on it.",
        "cluster",
    ),
    published(
        "vpccni_cluster_nodes",
        Kind::Gauge,
        Unit::Count,
        &["state"],
        "Known nodes by state: up (last scrape good), stale (last scrape failed, its values still stand), failed (no values that stand), missing (no aws-node pod).",
        "cluster",
    ),
    published(
        "vpccni_cluster_nodes_growth_blocked",
        Kind::Gauge,
        Unit::Count,
        &["reason"],
        "Nodes that get no more pod addresses, by reason; see vpccni_node_growth_blocked.",
        "cluster",
    ),
    published(
        "vpccni_cluster_nodes_by_cni_version",
        Kind::Gauge,
        Unit::Count,
        &["version"],
        "Nodes whose values stand by version of the VPC CNI; the rarest beyond 20 versions count under other, nodes that serve none under unknown.",
        "cluster",
    ),
    published(
        "vpccni_cluster_nodes_expected",
        Kind::Gauge,
        Unit::Count,
        &[],
        "Nodes that should be scraped.",
        "cluster",
    ),
    published(
        "vpccni_daemonset_config_info",
        Kind::Gauge,
        Unit::Info,
        DAEMONSET_LABELS,
        "How aws-node's DaemonSet is set, by the labels: its image's version and settings, each under its variable's name in small letters; what is not set has no label, what a ConfigMap or Secret sets or may set is valueFrom. Always 1; absent without Kubernetes discovery. Each shard tells it.",
        "cluster",
    ),
    published(
        "vpccni_node_growth_blocked",
        Kind::Gauge,
        Unit::Count,
        &["node", "reason"],
        "1 while the node's warm pool is empty or requests were refused within 2 minutes, by what explains it: ceiling (the instance's limit), subnet (no free addresses), denied, throttled, api (other AWS errors of the last 10 minutes), unknown; besides max_pods while the kubelet takes no more pods, where its limit is known and lower than the ceiling, and as many pods use the host's network as --discover.host-network-pods says.",
        "node",
    ),
    published(
        "vpccni_node_info",
        Kind::Gauge,
        Unit::Info,
        &[
            "node",
            "instance_type",
            "zone",
            "region",
            "nodegroup",
            "nodepool",
            "capacity_type",
            "cni_version",
            "ip_family",
            "label_…",
        ],
        "What a node is; always 1. Join on the label node.",
        "node",
    ),
    published(
        "vpccni_node_ip_addresses_usable",
        Kind::Gauge,
        Unit::Count,
        &["node"],
        "Pod addresses that the node can put to use at most: awscni_ip_max, or what the kubelet's pod limit leaves room for (allocatable pods less --discover.host-network-pods) where that is known and lower.",
        "node",
    ),
    published(
        "vpccni_node_scrape_duration_seconds",
        Kind::Gauge,
        Unit::Seconds,
        &["node"],
        "Time that the last scrape of the node took.",
        "node",
    ),
    published(
        "vpccni_node_scrape_last_success_timestamp_seconds",
        Kind::Gauge,
        Unit::Seconds,
        &["node"],
        "When the last good scrape of the node ended; absent before the first.",
        "node",
    ),
    published(
        "vpccni_node_scrape_samples",
        Kind::Gauge,
        Unit::Count,
        &["node"],
        "Samples on the node's last good page, before folding.",
        "node",
    ),
    published(
        "vpccni_node_scrape_success",
        Kind::Gauge,
        Unit::Ratio,
        &["node"],
        "Whether the last scrape of the node was good: 1 or 0.",
        "node",
    ),
];
