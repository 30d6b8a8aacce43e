//! The CloudWatch mirror: the same series, true, affordable, never lost (DESIGN §7). Comes in: views of the
//! store at the ends of intervals. Goes out: Embedded Metric Format and PutMetricData. Never: a delay of
//! what is served, a point of a process that does not lead.

#[cfg(feature = "aws")]
#[allow(dead_code, reason = "wired by ship.rs")]
mod aws;
#[allow(dead_code, reason = "wired by ship.rs")]
mod distribution;
#[cfg(all(test, feature = "aws"))]
mod double_tests;
pub mod emf;
#[cfg(feature = "aws")]
#[allow(dead_code, reason = "wired by ship.rs")]
mod identity;
#[allow(dead_code, reason = "wired by ship.rs")]
pub(crate) mod limits;
#[cfg(feature = "aws")]
#[allow(dead_code, reason = "wired by ship.rs")]
mod logs;
mod outlet;
#[cfg(feature = "aws")]
#[allow(dead_code, reason = "wired by ship.rs")]
mod parcel;
#[cfg(feature = "aws")]
#[allow(dead_code, reason = "wired by ship.rs")]
mod put;
