//! The CloudWatch mirror: the same series, true, affordable, never lost (DESIGN §7). Comes in: views of the
//! store at the ends of intervals. Goes out: Embedded Metric Format and PutMetricData. Never: a delay of
//! what is served, a point of a process that does not lead.
//!
//! *Flow*: at the end of each interval of the wall clock one view is cut ([`cut`]) and becomes points
//! ([`series`]), which wait in a queue for each outlet; a courier sends them. Whoever follows fills its
//! queues, too, and goes on where the leader's note in the Lease ends. *When it cannot keep up*: the queue
//! gives up its oldest, which is counted. *Stopping*: what waits is sent, as far as the time allows.

use crate::clock::Clock;
use crate::mirror::{Note, Noted, Standing};
use crate::observe::Observe;
use crate::promise::Promise;
use crate::store::Store;
use aws::Aws;
use courier::{Courier, Shelf};
use cut::Cutter;
use cutting::{Cutting, Packer};
use handover::Progress;
use notebook::Notebook;
use outlet::Outlet;
use settings::Plan;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod agent;
#[cfg_attr(not(feature = "aws"), path = "ship/no_aws.rs")]
mod aws;
mod cost;
mod courier;
mod cut;
mod cutting;
mod delivery;
mod dialect;
mod distribution;
#[cfg(all(test, feature = "aws"))]
mod double_tests;
pub mod emf;
mod handover;
#[cfg(feature = "aws")]
mod identity;
pub(crate) mod limits;
#[cfg(feature = "aws")]
mod logs;
mod names;
mod naming;
mod notebook;
mod outlet;
#[cfg(feature = "aws")]
mod parcel;
pub mod preview;
#[cfg(feature = "aws")]
mod put;
mod queue;
mod series;
pub mod settings;
mod stdout;

pub use settings::Settings;

/// What the labels of the nodes say of the cluster's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Labelled {
    /// The nodes are not known yet.
    #[default]
    Awaited,
    /// Nothing, or not the same.
    Nothing,
    /// This.
    Name(Arc<str>),
}

/// What ties the stage to the others.
#[derive(Debug, Clone)]
pub struct Wires {
    /// Whether this process leads.
    pub promise: Arc<Promise>,
    /// What stands in the Lease: `None` without an election.
    pub noted: Option<watch::Receiver<Noted>>,
    /// What is to stand there.
    pub note: watch::Sender<Note>,
    /// True once there is a view: before the first round has closed nothing is known.
    pub ready: watch::Receiver<bool>,
    /// The cluster's name by the labels of its nodes.
    pub labelled: watch::Receiver<Labelled>,
    /// The clock of the service.
    pub clock: Clock,
}

/// Ships until it is cancelled, and then for `drain` at most. `again`: another run of this process ended
/// before, and what was gained until now was its to send.
pub async fn run(
    plan: Plan,
    store: Arc<Store>,
    wires: Wires,
    observe: Arc<Observe>,
    drain: Duration,
    again: bool,
    cancel: CancellationToken,
) {
    let Wires { promise, noted, note, mut ready, labelled, clock } = wires;
    let notebook = Arc::new(Notebook::new(note, noted));
    let (name_tx, cluster) = watch::channel(Err("it is still being asked for".to_owned()));
    // Asked for nothing before an outlet or the cluster's name needs it.
    let aws = Arc::new(Aws::new());
    if again {
        notebook.resume(promise.term());
    }
    let mut tasks = JoinSet::new();
    let mut shelves = Vec::new();
    for to in &plan.to {
        let sink = to.sink();
        let shelf = Arc::new(Shelf::new(plan.queue));
        let courier = Courier {
            sink,
            outlet: Outlet::new(to, &plan, &aws),
            shelf: Arc::clone(&shelf),
            promise: Arc::clone(&promise),
            notebook: Arc::clone(&notebook),
            cluster: cluster.clone(),
            clock,
            observe: Arc::clone(&observe),
            term: again.then(|| promise.term()),
            floor: notebook.ours(sink).unwrap_or(Progress::NOTHING),
            begun: None,
            pause: courier::FIRST_PAUSE,
            standing: Standing::default(),
            last_success: None,
        };
        tasks.spawn(courier.run(cancel.clone(), drain));
        shelves.push((sink, shelf));
    }
    let naming =
        naming::name(aws, plan.cluster.clone(), labelled, name_tx, clock, Arc::clone(&observe));
    let mut cutter = Cutter::new(plan.seconds());
    if again {
        cutter.begin(store.view(clock.now()));
    }
    let mut cutting = Cutting {
        packer: Packer::new(&plan),
        cutter,
        store,
        shelves,
        observe,
        promise,
        notebook,
        most_billed: plan.most_billed,
        is_shard: plan.is_shard,
    };
    let cut = async {
        if ready.wait_for(|ready| *ready).await.is_ok() {
            cutting.run(clock).await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        // None of these ends by itself; one that does ends the stage.
        _ = tasks.join_next() => return,
        () = naming => return,
        () = cut => return,
    }
    while tasks.join_next().await.is_some() {}
}
