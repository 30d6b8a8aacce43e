//! What one page adds to the cluster's figures, taken from the node's own state. Comes in: a node.
//! Goes out: values by figure. Never: a page's bytes, the service's code: this is the other side of
//! the comparison, and has its own lists of label values.

use super::node::Node;
use super::pool::Mode;
use std::collections::HashMap;
use std::sync::LazyLock;

/// How a figure comes from the nodes' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The sum of the last values.
    Gauge,
    /// The sum of increases.
    Counter,
}

/// One figure of the cluster.
#[derive(Debug)]
pub(super) struct Figure {
    /// In sample syntax, labels sorted by name.
    pub(super) key: String,
    pub(super) rule: Rule,
    /// The sum is divided by this at the end.
    pub(super) divisor: f64,
}

/// All figures; a position in `list` is a figure's id.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) list: Vec<Figure>,
    ids: HashMap<(&'static str, &'static str, &'static str), usize>,
}

/// The table of this program.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// What is not in a list counts here.
const OTHER: &str = "other";
const BOOLEANS: &[&str] = &["false", "true"];
/// client_golang's default bounds.
pub(super) const BOUNDS: [(f64, &str); 11] = [
    (0.005, "0.005"),
    (0.01, "0.01"),
    (0.025, "0.025"),
    (0.05, "0.05"),
    (0.1, "0.1"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (1.0, "1"),
    (2.5, "2.5"),
    (5.0, "5"),
    (10.0, "10"),
];
/// EC2 calls that the fleet's nodes make.
const CALLS: &[&str] = &[
    "AssignPrivateIpAddresses",
    "AttachNetworkInterface",
    "CreateNetworkInterface",
    "CreateTags",
    "DeleteNetworkInterface",
    "DescribeNetworkInterfaces",
    "DetachNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
];
/// … and what else they measure the time of.
const TIMED: &[&str] = &[
    "AssignPrivateIpAddresses",
    "AttachNetworkInterface",
    "CreateNetworkInterface",
    "CreateTags",
    "DeleteNetworkInterface",
    "DescribeNetworkInterfaces",
    "DetachNetworkInterface",
    "GetMetadata",
    "ModifyNetworkInterfaceAttribute",
];
/// AWS error codes that they meet.
const CODES: &[&str] = &[
    "InsufficientCidrBlocks",
    "InsufficientFreeAddressesInSubnet",
    "InvalidParameterValue",
    "RequestLimitExceeded",
    "UnauthorizedOperation",
];
/// ipamd's errors that they count.
const IPAMD: &[&str] = &[
    "decreaseIPPoolFreeENIFailed",
    "increaseIPPoolAllocENI",
    "increaseIPPoolAllocIPAddressesFailed",
    "reconcileFailedGetENIs",
];
const ACTIONS: &[&str] =
    &["decreaseDatastorePool", "increaseDatastorePool", "nodeIPPoolReconcile", "nodeInit"];

const STARTUP: &str = "ipamd_startup_duration_seconds";
const INIT: &str = "ipamd_node_initialization_duration_seconds";

impl Table {
    fn new() -> Table {
        let mut table = Table::default();
        for family in [
            "ip_addresses_assigned",
            "ip_addresses_attached",
            "ip_addresses_max",
            "ip_addresses_usable",
        ] {
            // A closed set by nature: there is no other family.
            for ip_family in ["ipv4", "ipv6"] {
                let key = format!("vpccni_cluster_{family}{{ip_family={ip_family:?}}}");
                table.push((family, ip_family, ""), key, Rule::Gauge, 1.0);
            }
        }
        for family in ["ipv4_prefixes_attached", "enis_attached", "enis_max"] {
            table.plain(family, Rule::Gauge);
        }
        table.one_label("ipamd_actions_in_progress", "fn", ACTIONS, Rule::Gauge);
        table.one_label(
            "nodes_by_connmark_backend",
            "backend",
            &["iptables", "nftables"],
            Rule::Gauge,
        );
        for family in [
            "ip_requests_refused_total",
            "cni_add_requests_total",
            "forced_eni_removals_total",
            "forced_ip_removals_total",
        ] {
            table.plain(family, Rule::Counter);
        }
        for (family, label, values) in [
            ("cni_del_requests_total", "reason", ["PodDeleted", "SetupNSFailed"].as_slice()),
            ("ec2_api_requests_total", "fn", CALLS),
            ("ec2_api_errors_total", "fn", CALLS),
            ("aws_api_errors_total", "error", CODES),
            ("aws_utils_errors_total", "fn", &["AllocENIDeleteErr", "FreeENIDeleteErr"]),
            ("ipamd_errors_total", "fn", IPAMD),
            ("pod_eni_errors_total", "fn", &["nodeInit"]),
            ("reconcile_repairs_total", "fn", &["eniDataStorePoolReconcileAdd", "eniReconcileDel"]),
            ("connmark_reconciliations_total", "result", &["error", "success"]),
        ] {
            table.one_label(family, label, values, Rule::Counter);
        }
        for api in TIMED.iter().copied().chain([OTHER]) {
            for error in BOOLEANS {
                for (family, suffix, divisor) in
                    [("latency_sum", "sum", 1000.0), ("latency_count", "count", 1.0)]
                {
                    let key = format!(
                        "vpccni_cluster_aws_api_latency_seconds_{suffix}{{api={api:?},error={error:?}}}"
                    );
                    table.push((family, api, error), key, Rule::Counter, divisor);
                }
            }
        }
        // Nodes whose start failed have no metrics server: their children never appear.
        table.histogram(INIT, "", "success=\"true\"");
        for with in BOOLEANS {
            table.histogram(STARTUP, with, &format!("success=\"true\",with_api_server={with:?}"));
        }
        table
    }

    fn push(
        &mut self,
        id: (&'static str, &'static str, &'static str),
        key: String,
        rule: Rule,
        divisor: f64,
    ) {
        self.ids.insert(id, self.list.len());
        self.list.push(Figure { key, rule, divisor });
    }

    fn plain(&mut self, family: &'static str, rule: Rule) {
        self.push((family, "", ""), format!("vpccni_cluster_{family}"), rule, 1.0);
    }

    fn one_label(
        &mut self,
        family: &'static str,
        label: &str,
        values: &[&'static str],
        rule: Rule,
    ) {
        for value in values.iter().copied().chain([OTHER]) {
            let key = format!("vpccni_cluster_{family}{{{label}={value:?}}}");
            self.push((family, value, ""), key, rule, 1.0);
        }
    }

    fn histogram(&mut self, family: &'static str, child: &'static str, labels: &str) {
        // failure_reason sorts before le; success and with_api_server after it.
        let first = if family == STARTUP { "failure_reason=\"\"," } else { "" };
        for le in BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]) {
            let key = format!("vpccni_cluster_{family}_bucket{{{first}le={le:?},{labels}}}");
            self.push((family, child, le), key, Rule::Counter, 1.0);
        }
        for suffix in ["sum", "count"] {
            let key = format!("vpccni_cluster_{family}_{suffix}{{{first}{labels}}}");
            self.push((family, child, suffix), key, Rule::Counter, 1.0);
        }
    }

    fn id(&self, family: &'static str, first: &'static str, second: &'static str) -> Option<usize> {
        let other = || self.ids.get(&(family, OTHER, second));
        self.ids.get(&(family, first, second)).or_else(other).copied()
    }
}

/// What a page adds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    /// By id. 0 stands for absent, too.
    pub(super) values: Box<[f64]>,
    /// Assigned and usable, for an IPv4 node where both are known.
    pub(super) addresses: Option<(f64, f64)>,
    /// From awscni_build_info, where it is served.
    pub(super) version: Option<&'static str>,
}

impl Figures {
    /// Nothing at all.
    pub(super) fn nothing() -> Figures {
        Figures { values: vec![0.0; TABLE.list.len()].into(), addresses: None, version: None }
    }

    fn add(&mut self, family: &'static str, first: &'static str, second: &'static str, value: f64) {
        if let Some(id) = TABLE.id(family, first, second) {
            self.values[id] += value;
        }
    }

    fn count(&mut self, family: &'static str, label: &'static str, count: u64) {
        self.add(family, label, "", count as f64);
    }

    fn observed_once(&mut self, family: &'static str, child: &'static str, seconds: f64) {
        for (_, le) in BOUNDS.iter().filter(|(bound, _)| seconds <= *bound) {
            self.add(family, child, le, 1.0);
        }
        self.add(family, child, "+Inf", 1.0);
        self.add(family, child, "count", 1.0);
        self.add(family, child, "sum", seconds);
    }

    /// What the node's page, made now, adds.
    pub(super) fn of(node: &Node) -> Figures {
        let mut out = Figures::nothing();
        out.gauges(node);
        let (release, process) = (node.release, &node.process);
        let counters = &process.counters;
        out.add("cni_add_requests_total", "", "", node.adds_shown());
        out.count("forced_eni_removals_total", "", counters.forced_enis);
        out.count("forced_ip_removals_total", "", counters.forced_ips);
        if release.refused.is_some() {
            out.count("ip_requests_refused_total", "", counters.refused);
        }
        for (reason, count) in counters.dels.iter() {
            out.count("cni_del_requests_total", reason, count);
        }
        for ((_, code), count) in counters.api_errors.iter() {
            out.count("aws_api_errors_total", code, count);
        }
        for ((function, _), count) in counters.utils.iter() {
            out.count("aws_utils_errors_total", function, count);
        }
        for latency in &counters.latency {
            let error = if latency.failed { "true" } else { "false" };
            out.add("latency_sum", latency.api, error, latency.sum_ms as f64);
            out.add("latency_count", latency.api, error, latency.count as f64);
        }
        for (function, count) in counters.ipamd_errors.iter() {
            out.count("ipamd_errors_total", function, count);
        }
        for (function, count) in counters.reconciled.iter() {
            out.count("reconcile_repairs_total", function, count);
        }
        if release.modern {
            for (call, count) in counters.ec2_calls.iter() {
                out.count("ec2_api_requests_total", call, count);
            }
            for (call, count) in counters.ec2_errors.iter() {
                out.count("ec2_api_errors_total", call, count);
            }
            for (function, count) in counters.pod_eni_errors.iter() {
                out.count("pod_eni_errors_total", function, count);
            }
            out.version = Some(release.version);
        }
        if release.connmark {
            out.count("connmark_reconciliations_total", "error", counters.connmark_errors);
            out.count("connmark_reconciliations_total", "success", counters.connmark_successes);
        }
        if release.startup {
            out.observed_once(INIT, "", process.init_seconds);
            let with = if process.with_api_server { "true" } else { "false" };
            out.observed_once(STARTUP, with, process.startup_seconds);
        }
        out
    }

    fn gauges(&mut self, node: &Node) {
        let pool = &node.pool;
        let family = if pool.mode == Mode::Ipv6 { "ipv6" } else { "ipv4" };
        let (assigned, max) = (node.assigned_shown(), node.ip_max() as f64);
        self.add("ip_addresses_assigned", family, "", assigned);
        self.add("ip_addresses_attached", family, "", pool.total() as f64);
        let usable = node.pod_limit().map_or(max, |limit| max.min(limit as f64));
        self.add("ip_addresses_max", family, "", max);
        self.add("ip_addresses_usable", family, "", usable);
        self.add("ipv4_prefixes_attached", "", "", pool.prefixes() as f64);
        self.add("enis_attached", "", "", pool.enis.len() as f64);
        self.add("enis_max", "", "", node.eni_max() as f64);
        if node.growing {
            self.add("ipamd_actions_in_progress", "increaseDatastorePool", "", 1.0);
        }
        if node.release.connmark {
            let backend = if node.nftables { "nftables" } else { "iptables" };
            self.add("nodes_by_connmark_backend", backend, "", 1.0);
        }
        if pool.mode != Mode::Ipv6 && usable > 0.0 && assigned.is_finite() {
            self.addresses = Some((assigned, usable));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Age;
    use super::*;

    #[test]
    fn keys_are_unique_and_their_labels_sorted() {
        let mut keys: Vec<&str> = TABLE.list.iter().map(|f| f.key.as_str()).collect();
        keys.sort_unstable();
        assert!(keys.windows(2).all(|w| w[0] != w[1]));
        assert!(keys.contains(&r#"vpccni_cluster_ipamd_startup_duration_seconds_bucket{failure_reason="",le="2.5",success="true",with_api_server="false"}"#));
        assert!(
            keys.contains(
                &r#"vpccni_cluster_aws_api_latency_seconds_sum{api="other",error="true"}"#
            )
        );
    }

    #[test]
    fn an_unknown_label_value_counts_under_other() {
        let mut figures = Figures::nothing();
        figures.count("ec2_api_requests_total", "NoSuchCall", 3);
        let at = TABLE
            .list
            .iter()
            .position(|f| f.key == r#"vpccni_cluster_ec2_api_requests_total{fn="other"}"#)
            .unwrap();
        assert_eq!(figures.values[at], 3.0);
    }

    #[test]
    fn every_count_of_a_node_finds_a_figure() {
        // A misspelt family would vanish silently.
        for serial in 0..200 {
            let mut node = Node::new(1, serial, Age::Old, 0, 1.8e9);
            (0..200).for_each(|minute| node.live(minute));
            let figures = Figures::of(&node);
            let total: f64 = figures.values.iter().sum();
            assert!(total > node.adds_shown() + node.pool.total() as f64);
        }
        for family in ["cni_add_requests_total", "latency_sum", "latency_count", INIT, STARTUP] {
            assert!(TABLE.ids.keys().any(|(known, _, _)| *known == family), "{family}");
        }
    }
}
