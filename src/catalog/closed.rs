//! Closed sets of label values, as ipamd's versions use them (amazon-vpc-cni-k8s v1.5 to v1.23).
//! Sorted. What is not listed counts under `other`, so that a new value adds no series.

use super::OTHER;

/// Booleans as client_golang's users write them.
pub const BOOLEAN: &[&str] = &["false", "true"];
/// awscni_connmark_backend.
pub const CONNMARK_BACKENDS: &[&str] = &["iptables", "nftables"];
/// awscni_connmark_reconcile_total.
pub const CONNMARK_RESULTS: &[&str] = &["error", "success"];
/// awscni_del_ip_req_count.
pub const DEL_REASONS: &[&str] = &["PodDeleted", "SetupNSFailed"];
/// awscni_ipamd_startup_duration_seconds, failure_reason.
pub const STARTUP_FAILURES: &[&str] = &["", "api_server_connectivity", "node_initialization"];
/// Combinations of awscni_ipamd_startup_duration_seconds that ipamd can make: a start that succeeds
/// has no reason for failing.
pub const STARTUP_COMBINATIONS: &[&[&str]] = &[
    &["true", "true", ""],
    &["true", "false", ""],
    &["false", "true", "api_server_connectivity"],
    &["false", "false", "api_server_connectivity"],
    &["false", "true", "node_initialization"],
    &["false", "false", "node_initialization"],
    &[OTHER, OTHER, OTHER],
];
/// awscni_ipamd_action_inprogress, new and old names.
pub const IPAMD_ACTIONS: &[&str] = &[
    "decreaseDatastorePool",
    "decreaseIPPool",
    "increaseDatastorePool",
    "increaseIPPool",
    "nodeIPPoolReconcile",
    "nodeInit",
    "retryAllocENIIP",
];
/// awscni_reconcile_count.
pub const RECONCILIATIONS: &[&str] = &[
    "eniDataStorePoolReconcileAdd",
    "eniIPPoolReconcileDel",
    "eniReconcileAdd",
    "eniReconcileDel",
];
/// X
pub const AWS_ERRORS: &[&str] = &["RequestLimitExceeded"];
/// X
pub const AWS_APIS: &[&str] = &["CreateNetworkInterface"];
/// X
pub const AWS_UTILS: &[&str] = &["AllocENI"];
/// X
pub const EC2_CALLS: &[&str] = &["CreateNetworkInterface"];
/// X
pub const IPAMD_ERRORS: &[&str] = &["nodeInit"];
/// X
pub const POD_ENI_ERRORS: &[&str] = &["AllocENI"];
