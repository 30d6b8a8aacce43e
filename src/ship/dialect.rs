//! The two languages of the mirror. Comes in: an outlet. Goes out: whose names its points have, with the
//! namespace and dimension that go with them. Never: a point.

use crate::mirror::Sink;

/// Whose names points have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// cni-metrics-helper's.
    Helper,
    /// Those of `/metrics`.
    Own,
}

impl Dialect {
    /// The one of an outlet.
    pub(super) fn of(sink: Sink, is_shard: bool) -> Dialect {
        // The helper's figures are of the whole cluster, and a shard knows a part.
        if sink == Sink::Put && !is_shard { Dialect::Helper } else { Dialect::Own }
    }

    /// The namespace, where none is given.
    pub(super) fn namespace(self) -> &'static str {
        match self {
            Dialect::Helper => "Kubernetes",
            Dialect::Own => "VpcCni",
        }
    }

    /// The dimension that holds the cluster's name.
    pub(super) fn dimension(self) -> &'static str {
        match self {
            Dialect::Helper => "CLUSTER_ID",
            Dialect::Own => "ClusterName",
        }
    }
}
