//! The CloudWatch mirror: the same series, true, affordable, never lost (DESIGN §7). Comes in: views of the
//! store at the ends of intervals. Goes out: Embedded Metric Format and PutMetricData. Never: a delay of
//! what is served, a point of a process that does not lead.

#[allow(dead_code, reason = "wired by ship.rs")]
mod agent;
#[allow(dead_code, reason = "wired by ship.rs")]
mod distribution;
pub mod emf;
pub(crate) mod limits;
mod outlet;
#[allow(dead_code, reason = "wired by ship.rs")]
mod stdout;
