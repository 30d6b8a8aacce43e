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

/// Our families that are not made from one family of ipamd, sorted by scope and name.
pub const PUBLISHED: &[Published] = &[
    published(
        "vpccni_cluster_ip_utilization_ratio",
        Kind::Gauge,
        Unit::Ratio,
        &[],
        "Pod addresses in use on IPv4 nodes, as a share of what these nodes can have at most; absent while that is 0.",
        "cluster",
    ),
    published(
        "vpccni_cluster_node_ip_utilization",
        Kind::Histogram,
        Unit::Ratio,
        &[],
        "IPv4 nodes now, by addresses in use as a share of what the node can have at most. A picture of this moment, not a counter: use no rate() on it.",
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
        "vpccni_node_growth_blocked",
        Kind::Gauge,
        Unit::Count,
        &["node", "reason"],
        "1 while the node's warm pool is empty or requests are refused, by what explains it: ceiling (the instance's limit), subnet (no free addresses), denied, throttled, api (other AWS errors of the last 10 minutes), unknown. The kubelet's pod limit is not known.",
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
