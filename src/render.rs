//! Families in, text 0.0.4 out (interface sketch).
use crate::store::View;

pub mod gzip;
pub mod negotiate;
pub mod own;

/// What a request narrows the node scope to; filters intersect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrow {
    /// Only this node.
    pub node: Option<String>,
    /// Only these family or sample names; empty means all.
    pub names: Vec<String>,
    /// Only nodes of shard `.0` of `.1`.
    pub shard: Option<(u32, u32)>,
}

/// Appends the cluster scope.
pub fn cluster(_view: &View, _narrow: &Narrow, _out: &mut Vec<u8>) {}
/// Appends the node scope.
pub fn nodes(_view: &View, _narrow: &Narrow, _out: &mut Vec<u8>) {}
