//! Closed sets of label values, as ipamd's versions use them (amazon-vpc-cni-k8s v1.5 to v1.23).
//! Sorted. What is not listed counts under `other`, so that a new value adds no series. Never:
//! a value that nodes made up.

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
    "eniIPPoolReconcileAdd",
    "eniIPPoolReconcileDel",
    "eniReconcileAdd",
    "eniReconcileDel",
];
/// awscni_ec2api_req_count and awscni_ec2api_error_count: the EC2 calls that ipamd makes.
pub const EC2_CALLS: &[&str] = &[
    "AssignIpv6Addresses",
    "AssignPrivateIpAddresses",
    "AttachNetworkInterface",
    "CreateNetworkInterface",
    "CreateTags",
    "DeleteNetworkInterface",
    "DescribeInstanceTypes",
    "DescribeInstances",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "DetachNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
    "UnassignPrivateIpAddresses",
];
/// awscni_aws_api_latency_ms: EC2 calls and instance metadata.
pub const AWS_APIS: &[&str] = &[
    "AssignIpv6Addresses",
    "AssignIpv6AddressesWithContext",
    "AssignPrivateIpAddresses",
    "AttachNetworkInterface",
    "CreateNetworkInterface",
    "CreateTags",
    "DeleteNetworkInterface",
    "DescribeInstances",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "DetachNetworkInterface",
    "GetMetadata",
    "ModifyNetworkInterfaceAttribute",
    "UnassignPrivateIpAddresses",
    "waitForENIAndIPsAttached",
];
/// awscni_aws_utils_error_count.
pub const AWS_UTILS: &[&str] = &[
    "AllocENIDeleteErr",
    "ENICleanupUponModifyNetworkErr",
    "FreeENIDeleteErr",
    "FreeENIDescribeENIFailed",
    "UnknownInstanceType",
    "cleanUpLeakedENIDeleteErr",
    "getENIAttachmentIDFailed",
];
/// Codes of awscni_aws_api_error_count: what ipamd meets in the field, by cause: no addresses, limits, throttling, rights, wrong or vanished resources, faults of EC2.
pub const AWS_ERRORS: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AttachmentLimitExceeded",
    "AuthFailure",
    "BandwidthLimitExceeded",
    "Blocked",
    "Client.RequestLimitExceeded",
    "DependencyViolation",
    "DryRunOperation",
    "EC2MetadataError",
    "EC2MetadataRequestError",
    "EC2ThrottledException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IDPCommunicationError",
    "IMDSRequestError",
    "IncompleteSignature",
    "IncorrectInstanceState",
    "IncorrectState",
    "InsufficientCidrBlocks",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientInstanceCapacity",
    "InternalError",
    "InternalFailure",
    "InvalidAttachmentID.NotFound",
    "InvalidClientTokenId",
    "InvalidGroup.NotFound",
    "InvalidGroupId.Malformed",
    "InvalidIPAddress.InUse",
    "InvalidIdentityToken",
    "InvalidInstanceID",
    "InvalidInstanceID.NotFound",
    "InvalidInstanceType",
    "InvalidNetworkInterface.InUse",
    "InvalidNetworkInterfaceAttachmentId.NotFound",
    "InvalidNetworkInterfaceID.NotFound",
    "InvalidNetworkInterfaceId.Malformed",
    "InvalidParameter",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "InvalidSecurityGroupID.NotFound",
    "InvalidSubnet.Conflict",
    "InvalidSubnetID.NotFound",
    "InvalidVpcID.NotFound",
    "MaxNetworkInterfacesExceeded",
    "MaxNetworkInterfacesReached",
    "MissingAuthenticationToken",
    "MissingParameter",
    "MissingRegion",
    "NetworkInterfaceLimitExceeded",
    "NoCredentialProviders",
    "OperationNotPermitted",
    "OptInRequired",
    "PriorRequestNotComplete",
    "PrivateIpAddressLimitExceeded",
    "RequestCanceled",
    "RequestError",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ResourceLimitExceeded",
    "SecurityGroupsPerInterfaceLimitExceeded",
    "SerializationError",
    "ServerInternal",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "SlowDown",
    "TagLimitExceeded",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "UnauthorizedOperation",
    "Unavailable",
    "UnrecognizedClientException",
    "Unsupported",
    "UnsupportedOperation",
    "WebIdentityErr",
];
/// awscni_ipamd_error_count.
pub const IPAMD_ERRORS: &[&str] = &[
    "addENIaddressesToDataStoreAddENIIPv4AddressFailed",
    "addENIprefixesToDataStoreFailed",
    "addENIsecondaryIPsToDataStoreFailed",
    "addENIv4prefixesToDataStoreFailed",
    "addENIv6prefixesToDataStoreFailed",
    "decreaseIPPool",
    "decreaseIPPoolFreeENIFailed",
    "eniReconcileAdd",
    "eniReconcileDel",
    "increaseIPPoolAllocAllIPAddressFailed",
    "increaseIPPoolAllocENI",
    "increaseIPPoolAllocIPAddressesFailed",
    "increaseIPPoolGetENIaddressesFailed",
    "increaseIPPoolGetENIprefixedFailed",
    "increaseIPPoolsetupENIFailed",
    "increaseIPPoolwaitENIAttachedFailed",
    "ipReconcileAdd",
    "ipReconcileDel",
    "nodeInitAssignPodIPv4AddressFailed",
    "nodeInitK8SGetLocalPodIPsFailed",
    "prefixReconcileAdd",
    "reconcileFailedGetENIs",
    "retryAllocENIIPAllocAllIPAddressFailed",
    "retryAllocENIIPgetENIaddressesFailed",
    "unExpectedMaxENIAttached",
    "waitENIAttachedMaxRetryExceeded",
];
/// awscni_pod_eni_error_count.
pub const POD_ENI_ERRORS: &[&str] =
    &["askForTrunkENIIfNeeded", "nodeInit", "tryEnableSecurityGroupsForPods"];
