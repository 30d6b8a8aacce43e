//! The CloudWatch mirror, as the service runs it. Comes in: a plan, or none. Goes out: a task that ships, or
//! tells what it would ship, or waits. Never: a service that fails because its mirror does.

use crate::clock::Clock;
use crate::mirror::{Note, Noted};
use crate::model::Targets;
use crate::observe::Observe;
use crate::promise::Promise;
use crate::ship::settings::Plan;
use crate::ship::{self, Labelled, Wires, preview};
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// After how long a mirror that broke begins anew: an interval, so that one that breaks at each costs little.
const AGAIN: Duration = Duration::from_secs(60);

pub(super) struct Mirroring {
    pub(super) plan: Option<Plan>,
    pub(super) store: Arc<Store>,
    pub(super) promise: Arc<Promise>,
    /// What stands in the Lease: `None` without an election.
    pub(super) noted: Option<watch::Receiver<Noted>>,
    /// What is to stand there.
    pub(super) note: watch::Sender<Note>,
    /// True once there is a view.
    pub(super) ready: watch::Receiver<bool>,
    /// What discovery knows: labels of Nodes may tell the cluster's name.
    pub(super) targets: watch::Receiver<Arc<Targets>>,
    pub(super) clock: Clock,
    pub(super) observe: Arc<Observe>,
    /// How long what waits may be sent after the end was asked for.
    pub(super) drain: Duration,
}

impl Mirroring {
    /// Ends when it is cancelled, when the preview was told, or unexpectedly.
    pub(super) fn start(
        self,
        asked: Option<oneshot::Sender<Result<String, String>>>,
        cancel: CancellationToken,
    ) -> JoinHandle<()> {
        tokio::spawn(async move {
            let Mirroring {
                plan,
                store,
                promise,
                noted,
                note,
                ready,
                targets,
                clock,
                observe,
                drain,
            } = self;
            match (plan, asked) {
                (Some(plan), Some(asked)) => tokio::select! {
                    () = cancel.cancelled() => {}
                    text = preview::interval(&plan, &store, clock, ready) => {
                        // Whoever asked is gone only when the process ends.
                        drop(text.map(|text| asked.send(text)));
                    }
                },
                (Some(plan), None) => {
                    let (tell, labelled) = watch::channel(Labelled::default());
                    let wires = Wires { promise, noted, note, ready, labelled, clock };
                    let of_runs = Arc::clone(&observe);
                    let begin = |again, stop| {
                        let (plan, store, wires) =
                            (plan.clone(), Arc::clone(&store), wires.clone());
                        ship::run(plan, store, wires, Arc::clone(&of_runs), drain, again, stop)
                    };
                    tokio::select! {
                        () = kept(begin, &observe, cancel) => {}
                        // Ends with the process alone.
                        () = names(targets, tell) => {}
                    }
                }
                (None, _) => cancel.cancelled().await,
            }
        })
    }
}

/// Keeps the mirror running: one that breaks takes nothing else along, and begins anew after a pause. `begin`
/// hears whether there was one before.
async fn kept<F>(
    begin: impl Fn(bool, CancellationToken) -> F,
    observe: &Observe,
    cancel: CancellationToken,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut again = false;
    loop {
        // A task of its own: a panic ends nothing but it.
        let run = tokio::spawn(begin(again, cancel.clone())).await;
        if run.is_ok() && cancel.is_cancelled() {
            return;
        }
        observe.mirror_broke(AGAIN);
        again = true;
        tokio::select! {
            () = cancel.cancelled() => return,
            () = sleep(AGAIN) => {}
        }
    }
}

/// Passes on what the Nodes' labels say, once all are known.
async fn names(mut targets: watch::Receiver<Arc<Targets>>, tell: watch::Sender<Labelled>) {
    loop {
        let known = Arc::clone(&targets.borrow_and_update());
        if known.synced {
            let says = known.cluster.clone().map_or(Labelled::Nothing, Labelled::Name);
            tell.send_if_modified(|said| {
                let changed = *said != says;
                *said = says;
                changed
            });
        }
        if targets.changed().await.is_err() {
            // Discovery has ended, and with it the service.
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_mirror_that_breaks_begins_anew_and_knows_that_it_was_there_before() {
        let runs: Arc<Mutex<Vec<(bool, u64)>>> = Arc::default();
        let (cancel, began) = (CancellationToken::new(), Instant::now());
        let begin = |again, stop: CancellationToken| {
            let runs = Arc::clone(&runs);
            async move {
                let count = {
                    let mut runs = runs.lock().unwrap();
                    runs.push((again, began.elapsed().as_secs()));
                    runs.len()
                };
                match count {
                    1 => panic!("as a bug would"),
                    2 => {}
                    _ => stop.cancelled().await,
                }
            }
        };
        let stopping = async {
            sleep(AGAIN * 3).await;
            cancel.cancel();
        };
        let observe = Observe::new();
        tokio::join!(kept(begin, &observe, cancel.clone()), stopping);
        assert_eq!(*runs.lock().unwrap(), [(false, 0), (true, 60), (true, 120)]);
    }
}
