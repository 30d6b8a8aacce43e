//! The CloudWatch mirror, as the service runs it. Comes in: a plan, or none. Goes out: a task that ships, or
//! tells what it would ship, or waits. Never: a service that fails because its mirror does.

use crate::clock::Clock;
use crate::observe::Observe;
use crate::promise::Promise;
use crate::ship::settings::Plan;
use crate::ship::{self, Wires, preview};
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) struct Mirroring {
    pub(super) plan: Option<Plan>,
    pub(super) store: Arc<Store>,
    pub(super) promise: Arc<Promise>,
    /// True once there is a view.
    pub(super) ready: watch::Receiver<bool>,
    pub(super) clock: Clock,
    pub(super) observe: Arc<Observe>,
    /// How long what waits may be sent after the end was asked for.
    pub(super) drain: Duration,
}

impl Mirroring {
    /// Ends when it is cancelled, when the preview was told, or unexpectedly.
    pub(super) fn start(
        self,
        asked: Option<oneshot::Sender<String>>,
        cancel: CancellationToken,
    ) -> JoinHandle<()> {
        tokio::spawn(async move {
            let Mirroring { plan, store, promise, ready, clock, observe, drain } = self;
            match (plan, asked) {
                (Some(plan), Some(asked)) => tokio::select! {
                    () = cancel.cancelled() => {}
                    text = preview::interval(&plan, &store, clock, ready) => {
                        // Whoever asked is gone only when the process ends.
                        drop(text.map(|text| asked.send(text)));
                    }
                },
                (Some(plan), None) => {
                    // Neither note nor label is told yet: a follower keeps nothing, a name is given or
                    // that of the instance.
                    let (note, _unread) = watch::channel(String::new());
                    let (_unsaid, labelled) = watch::channel(None);
                    let wires = Wires { promise, noted: None, note, ready, labelled, clock };
                    ship::run(plan, store, wires, observe, drain, cancel).await;
                }
                (None, _) => cancel.cancelled().await,
            }
        })
    }
}
