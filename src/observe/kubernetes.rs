//! Events of watching the API server: what was told, what went wrong comes in, one log line and one count
//! go out. Never: a line for each try.

use super::limit::Limiter;
use super::{Observe, counters, gauge};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::time::Duration;
use tracing::{info, warn};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Resource {
    /// aws-node's.
    Pods,
    /// Their metadata.
    Nodes,
    /// aws-node's.
    DaemonSets,
}

impl Resource {
    /// All of them.
    pub(crate) const ALL: [Resource; 3] = [Resource::Pods, Resource::Nodes, Resource::DaemonSets];

    /// As RBAC names it; also the label value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Resource::Pods => "pods",
            Resource::Nodes => "nodes",
            Resource::DaemonSets => "daemonsets",
        }
    }

    /// The rule that lets us watch it.
    pub(crate) fn rule(self, namespace: &str) -> String {
        match self {
            Resource::Pods => format!(
                "get, list, watch on pods in namespace {namespace} (Role; or see --discover.namespace)"
            ),
            Resource::Nodes => "get, list, watch on nodes (ClusterRole)".to_owned(),
            Resource::DaemonSets => {
                format!("get, list, watch on daemonsets.apps in namespace {namespace} (Role)")
            }
        }
    }
}

/// Neither is there a DaemonSet that wants none of its pods.
const UNKNOWN: i64 = -1;

/// Not watched, but needed where nodes are reached through the API server; as RBAC names it.
const PROXY: &str = "pods/proxy";

/// Not watched, but needed where there is an election; as RBAC names it.
const LEASES: &str = "leases";

/// The kinds of trouble. The closed set behind the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trouble {
    /// The credentials are not accepted.
    Unauthorized,
    /// The credentials lack a right.
    Forbidden,
    /// What was watched from is no longer known: everything is listed anew.
    Gone,
    /// Too many requests.
    Throttled,
    /// Another error of the API server.
    Server,
    /// No answer, or half of one.
    Unreachable,
    /// An answer that is not what was asked for.
    Undecodable,
}

impl Trouble {
    /// All of them.
    pub(crate) const ALL: [Trouble; 7] = [
        Trouble::Unauthorized,
        Trouble::Forbidden,
        Trouble::Gone,
        Trouble::Throttled,
        Trouble::Server,
        Trouble::Unreachable,
        Trouble::Undecodable,
    ];

    /// The label value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Trouble::Unauthorized => "unauthorized",
            Trouble::Forbidden => "forbidden",
            Trouble::Gone => "gone",
            Trouble::Throttled => "throttled",
            Trouble::Server => "server",
            Trouble::Unreachable => "unreachable",
            Trouble::Undecodable => "undecodable",
        }
    }
}

/// The metrics of the watches.
#[derive(Debug)]
pub(crate) struct Metrics {
    objects: IntGaugeVec,
    errors: IntCounterVec,
    lacking: IntGaugeVec,
    unreadable: IntCounterVec,
    desired: IntGauge,
    news: Limiter,
    /// The same trouble again.
    still: Limiter,
    unread: Limiter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let resources = |name: &str, help: &str| {
            let gauge =
                super::registered(registry, IntGaugeVec::new(Opts::new(name, help), &["resource"]));
            for resource in [Resource::Pods, Resource::Nodes] {
                gauge.with_label_values(&[resource.as_str()]);
            }
            gauge
        };
        let objects = resources(
            "vpccni_exporter_kubernetes_objects",
            "Objects of the API server that are known, by resource: aws-node pods that belong to a node, and nodes.",
        );
        let lacking = resources(
            "vpccni_exporter_kubernetes_missing_rule",
            "1 while the API server refuses to let this exporter get, list and watch the resource (pods/proxy: get it, for --discover.route=proxy; leases: read and write them, for --lead.election), else 0.",
        );
        for resource in [Resource::DaemonSets.as_str(), PROXY, LEASES] {
            lacking.with_label_values(&[resource]);
        }
        let errors = super::registered(
            registry,
            IntCounterVec::new(
                Opts::new(
                    "vpccni_exporter_kubernetes_watch_errors_total",
                    "Listings and watches that failed or were cut, by resource and reason; each is tried again.",
                ),
                &["resource", "reason"],
            ),
        );
        let unreadable = counters(
            registry,
            "vpccni_exporter_kubernetes_unreadable_objects_total",
            "Objects of a listing or watch that could not be read; what was known of them stays.",
            "resource",
        );
        for resource in Resource::ALL {
            unreadable.with_label_values(&[resource.as_str()]);
            for trouble in Trouble::ALL {
                errors.with_label_values(&[resource.as_str(), trouble.as_str()]);
            }
        }
        let desired = gauge(
            registry,
            "vpccni_exporter_kubernetes_daemonset_desired_pods",
            "Pods that aws-node's DaemonSet wants, over all shards; -1 while it is not known.",
        );
        desired.set(UNKNOWN);
        Metrics {
            objects,
            errors,
            lacking,
            unreadable,
            desired,
            news: Limiter::new(10, Duration::from_secs(10)),
            still: Limiter::new(1, Duration::from_secs(60)),
            unread: Limiter::new(1, Duration::from_secs(60)),
        }
    }
}

impl Metrics {
    /// A request failed. Whether there is something to say of it, and how often there was not.
    fn troubled(&self, resource: Resource, trouble: Trouble, known: bool) -> Option<u64> {
        let resource = resource.as_str();
        self.errors.with_label_values(&[resource, trouble.as_str()]).inc();
        if trouble == Trouble::Forbidden {
            // Until it works: no other trouble says that the right is there.
            self.lacking.with_label_values(&[resource]).set(1);
        }
        if known { self.still.allow() } else { self.news.allow() }
    }
}

impl Observe {
    /// Which API server is asked, by what, and which namespace is the credentials' own.
    pub(crate) fn api_server(&self, url: &str, from: &str, namespace: &str) {
        info!(url, from, namespace, "the API server is {url}, by {from}");
    }

    /// A listing or a watch failed. `known` says that it did so the last time, for the same reason.
    pub(crate) fn watch_troubled(
        &self,
        resource: Resource,
        trouble: Trouble,
        words: &str,
        namespace: &str,
        known: bool,
    ) {
        let (resource_name, reason) = (resource.as_str(), trouble.as_str());
        let Some(unsaid) = self.kubernetes.troubled(resource, trouble, known) else { return };
        match trouble {
            Trouble::Forbidden => {
                let rule = resource.rule(namespace);
                warn!(
                    resource = resource_name,
                    reason, unsaid, "the right is missing to {rule}: {words}"
                );
            }
            Trouble::Gone => info!(
                resource = resource_name,
                reason, unsaid, "{resource_name} are listed anew: {words}"
            ),
            _ => warn!(
                resource = resource_name,
                reason,
                unsaid,
                "{resource_name} are not followed at present, what is known of them stays: {words}; the log's first lines name the API server"
            ),
        }
    }

    /// A watch that was in trouble is so no more.
    pub(crate) fn watch_goes_on(&self, resource: Resource) {
        let name = resource.as_str();
        self.kubernetes.lacking.with_label_values(&[name]).set(0);
        if let Some(unsaid) = self.kubernetes.news.allow() {
            info!(resource = name, unsaid, "{name} are followed again");
        }
    }

    /// What the kubelets take could not be asked for.
    pub(crate) fn limits_unread(&self, trouble: Trouble, words: &str, known: bool) {
        let (resource, reason) = (Resource::Nodes.as_str(), trouble.as_str());
        let Some(unsaid) = self.kubernetes.troubled(Resource::Nodes, trouble, known) else {
            return;
        };
        if trouble == Trouble::Forbidden {
            let rule = Resource::Nodes.rule("");
            warn!(
                resource,
                reason,
                unsaid,
                "the right is missing to {rule}, for the kubelets' pod limits: {words}"
            );
        } else {
            warn!(
                resource,
                reason,
                unsaid,
                "the pod limits of Nodes cannot be read at present, what is known of them stays: {words}"
            );
        }
    }

    /// The right that was missing for them is there.
    pub(crate) fn limits_read_again(&self) {
        self.kubernetes.lacking.with_label_values(&[Resource::Nodes.as_str()]).set(0);
    }

    /// The API server refuses us the Lease, or does so no more.
    pub(super) fn lease_denied(&self, denied: bool) {
        self.kubernetes.lacking.with_label_values(&[LEASES]).set(denied.into());
    }

    /// The API server refuses us its pod proxy, or does so no more.
    pub(crate) fn proxy_denied(&self, denied: bool, words: &str) {
        self.kubernetes.lacking.with_label_values(&[PROXY]).set(denied.into());
        let Some(unsaid) = self.kubernetes.news.allow() else { return };
        if denied {
            warn!(
                resource = PROXY,
                unsaid,
                "no node can be scraped with --discover.route=proxy (deploy/rbac-proxy.yaml): {words}"
            );
        } else {
            info!(resource = PROXY, unsaid, "the API server's pod proxy can be used again");
        }
    }

    /// An object could not be read.
    pub(crate) fn object_unreadable(&self, resource: Resource, name: &str, words: &str) {
        let resource = resource.as_str();
        self.kubernetes.unreadable.with_label_values(&[resource]).inc();
        if let Some(unsaid) = self.kubernetes.unread.allow() {
            warn!(resource, name, unsaid, "an object of {resource} cannot be read: {words}");
        }
    }

    /// How many objects are known.
    pub(crate) fn objects_known(&self, resource: Resource, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.kubernetes.objects.with_label_values(&[resource.as_str()]).set(count);
    }

    /// How many pods the DaemonSet wants.
    pub(crate) fn daemonset_desires(&self, count: Option<i64>) {
        self.kubernetes.desired.set(count.unwrap_or(UNKNOWN));
    }
}
