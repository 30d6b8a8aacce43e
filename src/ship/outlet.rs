//! Where intervals go: one enum, one way to send. Comes in: intervals, oldest first, and the cluster's
//! name. Goes out: what became of them. Never: a retry of its own, a point sent twice.

use super::agent::Agent;
use super::aws::Aws;
use super::cutting::Dialect;
use super::emf::{EVENT_BYTES, Heading, STDOUT_EVENT_BYTES, Writer};
use super::settings::{Plan, To};
use super::stdout::Stdout;
#[cfg(feature = "aws")]
use super::{logs::Logs, put::Put};
use crate::mirror::{Interval, Tally, Trouble};
use std::sync::Arc;

/// The log group that events name where no other is given; `{}` stands for the cluster's name.
const LOG_GROUP: &str = "/vpc-cni-exporter/{}";

/// What became of a try to send some intervals.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// So many of them, from the first on, are done with: sent, unconfirmed or dropped for good.
    pub(super) settled: usize,
    /// What became of the points of those.
    pub(super) tally: Tally,
    /// Why the rest was not sent; it is tried again later.
    pub(super) trouble: Option<(Trouble, String)>,
}

impl Delivery {
    /// Nothing was sent, for this reason.
    pub(super) fn blocked(trouble: (Trouble, String)) -> Delivery {
        Delivery { trouble: Some(trouble), ..Delivery::default() }
    }
}

/// A batch to send, oldest first.
pub(super) type Batch<'a> = &'a [Arc<Interval>];

/// One of `--mirror.to`.
pub(super) struct Outlet {
    kind: Kind,
    namespace: String,
    dimension: &'static str,
    max_event_bytes: usize,
    /// Made when the cluster's name is known, which does not change.
    writer: Option<Writer>,
}

enum Kind {
    Stdout(std::io::Result<Stdout>),
    Agent(Agent),
    #[cfg(feature = "aws")]
    Put(Put),
    #[cfg(feature = "aws")]
    Logs(Logs, String),
}

impl Outlet {
    /// Nothing is connected to yet.
    pub(super) fn new(to: &To, plan: &Plan, aws: &Arc<Aws>) -> Outlet {
        let dialect = Dialect::of(to.sink(), plan.is_shard);
        let namespace = plan.namespace(dialect);
        let usual = if *to == To::Stdout { STDOUT_EVENT_BYTES } else { EVENT_BYTES };
        #[cfg(not(feature = "aws"))]
        let _not_there = aws;
        let kind = match to {
            To::Stdout => Kind::Stdout(Stdout::new()),
            To::Agent(at) => {
                let (host, port) = at.clone().unwrap_or_default();
                Kind::Agent(Agent::new(host, port))
            }
            #[cfg(feature = "aws")]
            To::Put => Kind::Put(Put::new(Arc::clone(aws), namespace.clone(), dialect.dimension())),
            #[cfg(feature = "aws")]
            To::Logs { group, stream } => {
                let days = plan.retention_days;
                let logs = Logs::new(Arc::clone(aws), group.clone(), stream.clone(), days);
                Kind::Logs(logs, group.clone())
            }
            // No flag leads here: they are refused when they are read.
            #[cfg(not(feature = "aws"))]
            To::Put | To::Logs { .. } => Kind::Stdout(Err(std::io::ErrorKind::Unsupported.into())),
        };
        Outlet {
            kind,
            namespace,
            dimension: dialect.dimension(),
            max_event_bytes: plan.max_event_bytes.unwrap_or(usual),
            writer: None,
        }
    }

    /// What became already of points of an interval that leaves the queue unsent.
    pub(super) fn abandon(&mut self, start: i64) -> Tally {
        match &mut self.kind {
            #[cfg(feature = "aws")]
            Kind::Put(put) => put.abandon(start),
            #[cfg(feature = "aws")]
            Kind::Logs(logs, _) => logs.abandon(start),
            // Nothing of theirs is sent in parts.
            Kind::Stdout(_) | Kind::Agent(_) => {
                let _no_start = start;
                Tally::default()
            }
        }
    }

    /// What an operator should know though points arrive; once.
    pub(super) fn warning(&mut self) -> Option<String> {
        match &mut self.kind {
            #[cfg(feature = "aws")]
            Kind::Logs(logs, _) => logs.warning(),
            _ => None,
        }
    }

    /// Sends intervals until all are done with or something is in the way. `now` is in seconds since 1970.
    pub(super) async fn send(&mut self, batch: Batch<'_>, cluster: &str, now: i64) -> Delivery {
        let log_group = match &self.kind {
            #[cfg(feature = "aws")]
            Kind::Logs(_, group) => group.clone(),
            _ => LOG_GROUP.replace("{}", cluster),
        };
        let writer = self.writer.get_or_insert_with(|| {
            Writer::new(&Heading {
                namespace: self.namespace.clone(),
                cluster: (self.dimension.to_owned(), cluster.to_owned()),
                log_group,
                log_stream: None,
                max_event_bytes: self.max_event_bytes,
            })
        });
        match &mut self.kind {
            Kind::Stdout(Ok(stdout)) => stdout.send(batch, writer).await,
            Kind::Stdout(Err(error)) => {
                let words = format!("standard output cannot be written to: {error}");
                Delivery::blocked((Trouble::Unreachable, words))
            }
            Kind::Agent(agent) => agent.send(batch, writer).await,
            #[cfg(feature = "aws")]
            Kind::Put(put) => put.send(batch, cluster, now).await,
            #[cfg(feature = "aws")]
            Kind::Logs(logs, _) => {
                let mut encode =
                    |interval: &Interval, out: &mut Vec<u8>| writer.write(interval, out);
                logs.send(batch, now, &mut encode).await
            }
        }
    }
}
