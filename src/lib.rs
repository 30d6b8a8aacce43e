//! Cluster-level Prometheus metrics for the Amazon VPC CNI.
//!
//! ```text
//! API server, files ──► discover ──watch<Targets>──► scrape ──► parse ──► store
//!                                                      │ HTTP :61678        │ View
//!                                                      ▼                    ▼
//!                                                  aws-node pods        aggregate
//!                                                                           │
//!             Lease ◄──► lead ──promise──► serve ──► /metrics   ◄────── render
//!                          └───promise──► ship ──► PutMetricData, EMF: stdout, agent, Logs
//! ```
//!
//! Verbs are stages, in flow order; nouns are ground. A file may use only the floors below its
//! own: `6 main · 5 app config demo check logging · 4 serve · 3 discover scrape lead ship · 2 store kubernetes ·
//! 1 parse aggregate render · 0 number model catalog view total units observe clock promise mirror`. Ground and pure
//! stages may use their own floor where that makes no circle; no edge (floor 3) uses another.
//! `tests/it/floors.rs` holds it so.

pub mod catalog;
pub mod clock;
pub mod mirror;
pub mod model;
pub mod number;
pub mod observe;
pub mod promise;
pub mod total;
pub mod units;
pub mod view;

pub mod aggregate;
pub mod discover;
pub mod kubernetes;
pub mod lead;
pub mod parse;
pub mod render;
pub mod scrape;
pub mod serve;
pub mod ship;
pub mod store;

pub mod app;
pub mod check;
pub mod config;
pub mod demo;
pub mod logging;
