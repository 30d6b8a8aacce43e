//! Where intervals go: one enum, one way to send. Comes in: intervals, oldest first, and the cluster's
//! name. Goes out: what became of them. Never: a retry of its own, a point sent twice.

use super::agent::Agent;
use super::aws::Aws;
use super::delivery::{Batch, Delivery};
#[cfg(feature = "aws")]
use super::dialect::Dialect;
use super::emf::Writer;
use super::settings::{Plan, To};
use super::stdout::Stdout;
#[cfg(feature = "aws")]
use super::{logs::Logs, put::Put};
#[cfg(feature = "aws")]
use crate::mirror::Interval;
use crate::mirror::{Tally, Trouble};
use std::sync::Arc;

/// One of `--mirror.to`.
pub(super) struct Outlet {
    kind: Kind,
    to: To,
    plan: Plan,
    /// Of those that take events: made when the cluster's name is known, which does not change.
    writer: Option<Writer>,
}

enum Kind {
    Stdout(std::io::Result<Stdout>),
    Agent(Agent),
    #[cfg(feature = "aws")]
    Put(Put),
    #[cfg(feature = "aws")]
    Logs(Logs),
}

impl Outlet {
    /// Nothing is connected to yet.
    pub(super) fn new(to: &To, plan: &Plan, aws: &Arc<Aws>) -> Outlet {
        #[cfg(not(feature = "aws"))]
        let _not_there = aws;
        let kind = match to {
            To::Stdout => Kind::Stdout(Stdout::new()),
            To::Agent(at) => {
                let (host, port) = at.clone().unwrap_or_default();
                Kind::Agent(Agent::new(host, port))
            }
            #[cfg(feature = "aws")]
            To::Put => {
                let dialect = Dialect::of(to.sink(), plan.is_shard);
                let (namespace, dimension) = (plan.namespace(dialect), dialect.dimension());
                Kind::Put(Put::new(Arc::clone(aws), namespace, dimension))
            }
            #[cfg(feature = "aws")]
            To::Logs { group, stream } => {
                let (group, stream) = (group.clone(), stream.clone());
                Kind::Logs(Logs::new(Arc::clone(aws), group, stream, plan.retention_days))
            }
            // No flag leads here: they are refused when they are read.
            #[cfg(not(feature = "aws"))]
            To::Put | To::Logs { .. } => Kind::Stdout(Err(std::io::ErrorKind::Unsupported.into())),
        };
        Outlet { kind, to: to.clone(), plan: plan.clone(), writer: None }
    }

    /// The start of the interval of which a part was sent.
    pub(super) fn open(&self) -> Option<i64> {
        match &self.kind {
            #[cfg(feature = "aws")]
            Kind::Put(put) => put.open(),
            #[cfg(feature = "aws")]
            Kind::Logs(logs) => logs.open(),
            // Nothing of theirs is sent in parts.
            Kind::Stdout(_) | Kind::Agent(_) => None,
        }
    }

    /// What became already of points of an interval that leaves the queue unsent.
    pub(super) fn abandon(&mut self, start: i64) -> Tally {
        #[cfg(not(feature = "aws"))]
        let _not_asked = start;
        match &mut self.kind {
            #[cfg(feature = "aws")]
            Kind::Put(put) => put.abandon(start),
            #[cfg(feature = "aws")]
            Kind::Logs(logs) => logs.abandon(start),
            // Nothing of theirs is sent in parts.
            Kind::Stdout(_) | Kind::Agent(_) => Tally::default(),
        }
    }

    /// What an operator should know though points arrive; once.
    pub(super) fn warning(&mut self) -> Option<String> {
        match &mut self.kind {
            #[cfg(feature = "aws")]
            Kind::Logs(logs) => logs.warning(),
            _ => None,
        }
    }

    /// Sends intervals until all are done with or something is in the way. `now` is in seconds since 1970.
    pub(super) async fn send(&mut self, batch: Batch<'_>, cluster: &str, now: i64) -> Delivery {
        #[cfg(not(feature = "aws"))]
        let _not_asked = now;
        let Outlet { kind, to, plan, writer } = self;
        let make = || Writer::new(&plan.heading(to, cluster));
        match kind {
            Kind::Stdout(Ok(stdout)) => stdout.send(batch, writer.get_or_insert_with(make)).await,
            Kind::Stdout(Err(error)) => {
                let words = format!("standard output cannot be written to: {error}");
                Delivery::blocked((Trouble::Unreachable, words))
            }
            Kind::Agent(agent) => agent.send(batch, writer.get_or_insert_with(make)).await,
            #[cfg(feature = "aws")]
            Kind::Put(put) => put.send(batch, cluster, now).await,
            #[cfg(feature = "aws")]
            Kind::Logs(logs) => {
                let writer = writer.get_or_insert_with(make);
                let mut encode =
                    |interval: &Interval, out: &mut Vec<u8>| writer.write(interval, out);
                logs.send(batch, now, &mut encode).await
            }
        }
    }
}
