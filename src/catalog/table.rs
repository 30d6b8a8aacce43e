//! The rows of the catalogue: ipamd's families, and the cluster figures made from them. Names, types
//! and labels are facts of amazon-vpc-cni-k8s; the words are ours. Never: a value.

use super::closed;
use super::{ClosedLabel, Cluster, Family, Fold, Rule, Unit};
use crate::model::Kind;

const fn family(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Family {
    Family {
        name,
        kind,
        unit,
        help,
        labels: &[],
        core: false,
        fold: Fold::None,
        cluster: None,
        cloudwatch: None,
    }
}

const fn cluster(name: &'static str, kind: Kind, rule: Rule, help: &'static str) -> Cluster {
    Cluster { name, kind, rule, help, labels: &[], combinations: &[] }
}

const fn label(name: &'static str, values: &'static [&'static str]) -> ClosedLabel {
    ClosedLabel { name, values }
}

/// ipamd's families, sorted by name.
pub const FAMILIES: &[Family] = &[
    Family {
        core: true,
        cloudwatch: Some("addReqCount"),
        cluster: Some(cluster(
            "vpccni_cluster_cni_add_requests_total",
            Kind::Counter,
            Rule::Increase,
            "CNI ADD requests: pods that asked for an address.",
        )),
        ..family(
            "awscni_add_ip_req_count",
            Kind::Counter,
            Unit::Count,
            "CNI ADD requests since ipamd started.",
        )
    },
    Family {
        core: true,
        cloudwatch: Some("assignIPAddresses"),
        cluster: Some(cluster(
            "vpccni_cluster_ip_addresses_assigned",
            Kind::Gauge,
            Rule::SumByIpFamily,
            "Pod addresses in use.",
        )),
        ..family(
            "awscni_assigned_ip_addresses",
            Kind::Gauge,
            Unit::Count,
            "Pod addresses in use on the node.",
        )
    },
    Family {
        labels: &["cidr"],
        fold: Fold::HostCidrs,
        cloudwatch: Some("totalAssignedIPv4sPerCidr"),
        ..family(
            "awscni_assigned_ip_per_cidr",
            Kind::Gauge,
            Unit::Count,
            "Pod addresses in use per prefix; single secondary addresses are added up under cidr=\"/32\".",
        )
    },
    Family {
        labels: &["eni"],
        ..family(
            "awscni_assigned_ip_per_eni",
            Kind::Gauge,
            Unit::Count,
            "Pod addresses in use per network interface.",
        )
    },
    Family {
        labels: &["api", "error"],
        core: true,
        cloudwatch: Some("awsAPIErr"),
        cluster: Some(Cluster {
            labels: &[label("error", closed::AWS_ERRORS)],
            ..cluster(
                "vpccni_cluster_aws_api_errors_total",
                Kind::Counter,
                Rule::Increase,
                "Failed AWS API calls by AWS error code.",
            )
        }),
        ..family(
            "awscni_aws_api_error_count",
            Kind::Counter,
            Unit::Count,
            "Failed AWS API calls since ipamd started, by call and AWS error code.",
        )
    },
    Family {
        labels: &["api", "error", "status"],
        cloudwatch: Some("awsAPILatency"),
        cluster: Some(Cluster {
            labels: &[label("api", closed::AWS_APIS), label("error", closed::BOOLEAN)],
            ..cluster(
                "vpccni_cluster_aws_api_latency_seconds",
                Kind::Summary,
                Rule::Summary { divisor: 1000.0 },
                "Time spent in AWS API and instance metadata calls.",
            )
        }),
        ..family(
            "awscni_aws_api_latency_ms",
            Kind::Summary,
            Unit::Milliseconds,
            "Time spent in AWS API and instance metadata calls, in milliseconds.",
        )
    },
    Family {
        labels: &["fn", "error"],
        core: true,
        fold: Fold::ErrorText,
        cloudwatch: Some("awsUtilErr"),
        cluster: Some(Cluster {
            labels: &[label("fn", closed::AWS_UTILS)],
            ..cluster(
                "vpccni_cluster_aws_utils_errors_total",
                Kind::Counter,
                Rule::Increase,
                "Errors in ipamd's AWS helper functions.",
            )
        }),
        ..family(
            "awscni_aws_utils_error_count",
            Kind::Counter,
            Unit::Count,
            "Errors in ipamd's AWS helper functions since it started; free text is reduced to the error code.",
        )
    },
    Family {
        labels: &["version", "goversion"],
        ..family(
            "awscni_build_info",
            Kind::Gauge,
            Unit::Info,
            "Version of the VPC CNI on the node; always 1.",
        )
    },
    Family {
        labels: &["backend"],
        cluster: Some(Cluster {
            labels: &[label("backend", closed::CONNMARK_BACKENDS)],
            ..cluster(
                "vpccni_cluster_nodes_by_connmark_backend",
                Kind::Gauge,
                Rule::Sum,
                "Nodes by the backend that sets their connection marks.",
            )
        }),
        ..family(
            "awscni_connmark_backend",
            Kind::Gauge,
            Unit::Info,
            "Backend that sets connection marks on the node; always 1.",
        )
    },
    Family {
        labels: &["result"],
        cluster: Some(Cluster {
            labels: &[label("result", closed::CONNMARK_RESULTS)],
            ..cluster(
                "vpccni_cluster_connmark_reconciliations_total",
                Kind::Counter,
                Rule::Increase,
                "Reconciliations of connection marks by result.",
            )
        }),
        ..family(
            "awscni_connmark_reconcile_total",
            Kind::Counter,
            Unit::Count,
            "Reconciliations of connection marks since ipamd started.",
        )
    },
    Family {
        labels: &["reason"],
        core: true,
        cloudwatch: Some("delReqCount"),
        cluster: Some(Cluster {
            labels: &[label("reason", closed::DEL_REASONS)],
            ..cluster(
                "vpccni_cluster_cni_del_requests_total",
                Kind::Counter,
                Rule::Increase,
                "CNI DEL requests: addresses given back, by reason.",
            )
        }),
        ..family(
            "awscni_del_ip_req_count",
            Kind::Counter,
            Unit::Count,
            "CNI DEL requests since ipamd started.",
        )
    },
    Family {
        labels: &["fn"],
        core: true,
        cloudwatch: Some("ec2ApiErrCount"),
        cluster: Some(Cluster {
            labels: &[label("fn", closed::EC2_CALLS)],
            ..cluster(
                "vpccni_cluster_ec2_api_errors_total",
                Kind::Counter,
                Rule::Increase,
                "Failed EC2 API calls by call.",
            )
        }),
        ..family(
            "awscni_ec2api_error_count",
            Kind::Counter,
            Unit::Count,
            "Failed EC2 API calls since ipamd started.",
        )
    },
    Family {
        labels: &["fn"],
        cloudwatch: Some("ec2ApiReqCount"),
        cluster: Some(Cluster {
            labels: &[label("fn", closed::EC2_CALLS)],
            ..cluster(
                "vpccni_cluster_ec2_api_requests_total",
                Kind::Counter,
                Rule::Increase,
                "EC2 API calls by call.",
            )
        }),
        ..family(
            "awscni_ec2api_req_count",
            Kind::Counter,
            Unit::Count,
            "EC2 API calls since ipamd started.",
        )
    },
    Family {
        core: true,
        cloudwatch: Some("eniAllocated"),
        cluster: Some(cluster(
            "vpccni_cluster_enis_attached",
            Kind::Gauge,
            Rule::Sum,
            "Network interfaces attached and managed by ipamd.",
        )),
        ..family(
            "awscni_eni_allocated",
            Kind::Gauge,
            Unit::Count,
            "Network interfaces attached to the node and managed by ipamd.",
        )
    },
    Family {
        core: true,
        cloudwatch: Some("eniMaxAvailable"),
        cluster: Some(cluster(
            "vpccni_cluster_enis_max",
            Kind::Gauge,
            Rule::Sum,
            "Network interfaces that the instances allow ipamd to manage.",
        )),
        ..family(
            "awscni_eni_max",
            Kind::Gauge,
            Unit::Count,
            "Network interfaces that the instance allows ipamd to manage.",
        )
    },
    Family {
        core: true,
        cloudwatch: Some("forceRemoveENI"),
        cluster: Some(cluster(
            "vpccni_cluster_forced_eni_removals_total",
            Kind::Counter,
            Rule::Increase,
            "Network interfaces removed although pods used them.",
        )),
        ..family(
            "awscni_force_removed_enis",
            Kind::Counter,
            Unit::Count,
            "Network interfaces removed although in use, since ipamd started.",
        )
    },
    Family {
        core: true,
        cloudwatch: Some("forceRemoveIPs"),
        cluster: Some(cluster(
            "vpccni_cluster_forced_ip_removals_total",
            Kind::Counter,
            Rule::Increase,
            "Addresses removed although pods used them.",
        )),
        ..family(
            "awscni_force_removed_ips",
            Kind::Counter,
            Unit::Count,
            "Addresses removed although in use, since ipamd started.",
        )
    },
    Family {
        core: true,
        cloudwatch: Some("maxIPAddresses"),
        cluster: Some(cluster(
            "vpccni_cluster_ip_addresses_max",
            Kind::Gauge,
            Rule::SumByIpFamily,
            "Pod addresses that the nodes can have at most, by their instances' limits.",
        )),
        ..family(
            "awscni_ip_max",
            Kind::Gauge,
            Unit::Count,
            "Pod addresses that the node can have at most, by its instance's limits.",
        )
    },
    Family {
        labels: &["fn"],
        cloudwatch: Some("ipamdActionInProgress"),
        cluster: Some(Cluster {
            labels: &[label("fn", closed::IPAMD_ACTIONS)],
            ..cluster(
                "vpccni_cluster_ipamd_actions_in_progress",
                Kind::Gauge,
                Rule::Sum,
                "Work of ipamd under way, by kind of work.",
            )
        }),
        ..family(
            "awscni_ipamd_action_inprogress",
            Kind::Gauge,
            Unit::Count,
            "Work of ipamd under way on the node.",
        )
    },
    Family {
        labels: &["fn"],
        core: true,
        cloudwatch: Some("ipamdErr"),
        cluster: Some(Cluster {
            labels: &[label("fn", closed::IPAMD_ERRORS)],
            ..cluster(
                "vpccni_cluster_ipamd_errors_total",
                Kind::Counter,
                Rule::Increase,
                "Errors of ipamd by function.",
            )
        }),
        ..family(
            "awscni_ipamd_error_count",
            Kind::Counter,
            Unit::Count,
            "Errors of ipamd since it started.",
        )
    },
    Family {
        labels: &["success"],
        cluster: Some(Cluster {
            labels: &[label("success", closed::BOOLEAN)],
            ..cluster(
                "vpccni_cluster_ipamd_node_initialization_duration_seconds",
                Kind::Histogram,
                Rule::Histogram,
                "Time that ipamd took to initialise a node.",
            )
        }),
        ..family(
            "awscni_ipamd_node_initialization_duration_seconds",
            Kind::Histogram,
            Unit::Seconds,
            "Time that ipamd took to initialise the node.",
        )
    },
    Family {
        labels: &["success", "with_api_server", "failure_reason"],
        cluster: Some(Cluster {
            labels: &[
                label("success", closed::BOOLEAN),
                label("with_api_server", closed::BOOLEAN),
                label("failure_reason", closed::STARTUP_FAILURES),
            ],
            combinations: closed::STARTUP_COMBINATIONS,
            ..cluster(
                "vpccni_cluster_ipamd_startup_duration_seconds",
                Kind::Histogram,
                Rule::Histogram,
                "Time from the start of ipamd until it served, or gave up.",
            )
        }),
        ..family(
            "awscni_ipamd_startup_duration_seconds",
            Kind::Histogram,
            Unit::Seconds,
            "Time from the start of ipamd until it served, or gave up.",
        )
    },
    Family {
        core: true,
        cluster: Some(cluster(
            "vpccni_cluster_ip_requests_refused_total",
            Kind::Counter,
            Rule::Increase,
            "Pods refused an address because the node had none: the symptom of exhaustion.",
        )),
        ..family(
            "awscni_no_available_ip_addresses",
            Kind::Counter,
            Unit::Count,
            "Pods refused an address because the node had none, since ipamd started.",
        )
    },
    Family {
        labels: &["fn"],
        core: true,
        cloudwatch: Some("podENIErr"),
        cluster: Some(Cluster {
            labels: &[label("fn", closed::POD_ENI_ERRORS)],
            ..cluster(
                "vpccni_cluster_pod_eni_errors_total",
                Kind::Counter,
                Rule::Increase,
                "Errors with pods' own network interfaces (security groups for pods).",
            )
        }),
        ..family(
            "awscni_pod_eni_error_count",
            Kind::Counter,
            Unit::Count,
            "Errors with pods' own network interfaces since ipamd started.",
        )
    },
    Family {
        labels: &["fn"],
        cloudwatch: Some("reconcileCount"),
        cluster: Some(Cluster {
            labels: &[label("fn", closed::RECONCILIATIONS)],
            ..cluster(
                "vpccni_cluster_reconcile_repairs_total",
                Kind::Counter,
                Rule::Increase,
                "Mismatches between ipamd's store and EC2 that were repaired; 0 is healthy.",
            )
        }),
        ..family(
            "awscni_reconcile_count",
            Kind::Counter,
            Unit::Count,
            "Mismatches between ipamd's store and EC2 that were repaired, since ipamd started.",
        )
    },
    Family {
        core: true,
        cloudwatch: Some("totalIPAddresses"),
        cluster: Some(cluster(
            "vpccni_cluster_ip_addresses_attached",
            Kind::Gauge,
            Rule::SumByIpFamily,
            "Pod addresses attached to the nodes, in use or warm; a /80 prefix of an IPv6 node counts 2^48.",
        )),
        ..family(
            "awscni_total_ip_addresses",
            Kind::Gauge,
            Unit::Count,
            "Pod addresses attached to the node, in use or warm.",
        )
    },
    Family {
        core: true,
        cloudwatch: Some("totalIPv4Prefixes"),
        cluster: Some(cluster(
            "vpccni_cluster_ipv4_prefixes_attached",
            Kind::Gauge,
            Rule::Sum,
            "IPv4 prefixes (/28) attached to the nodes.",
        )),
        ..family(
            "awscni_total_ipv4_prefixes",
            Kind::Gauge,
            Unit::Count,
            "IPv4 prefixes (/28) attached to the node.",
        )
    },
    family(
        "awscni_unrecovered_checkpoint_entries",
        Kind::Counter,
        Unit::Count,
        "Entries of ipamd's checkpoint that it could not take over when it started.",
    ),
];
