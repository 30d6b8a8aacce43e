//! Intervals, as they end. Comes in: the store's view at the end of each. Goes out: points, onto the shelves
//! of the outlets, and what they cost. Never: an interval of which nothing is known: where no node answered
//! there is nothing to say.

use super::cost::{Cap, Estimate, Traffic};
use super::courier::Shelf;
use super::cut::{Cut, Cutter};
use super::dialect::Dialect;
use super::emf::{Heading, Writer};
use super::limits;
use super::names;
use super::notebook::Notebook;
use super::series::{self, Wanted};
use super::settings::{Plan, To};
use crate::clock::Clock;
use crate::mirror::{Drop, Interval, Sink, Tally};
use crate::observe::Observe;
use crate::promise::Promise;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// What is left of an interval, and how many of its points are over the cap.
type Kept = (Arc<Interval>, u64);

/// What one interval sends, ready for the outlets.
#[derive(Debug)]
pub(super) struct Packed {
    helper: Option<Kept>,
    own: Option<Kept>,
    pub(super) billed: usize,
    pub(super) estimate: Estimate,
}

impl Packed {
    /// What is said in these names, if anybody wants it.
    pub(super) fn of(&self, dialect: Dialect) -> Option<&Kept> {
        match dialect {
            Dialect::Helper => self.helper.as_ref(),
            Dialect::Own => self.own.as_ref(),
        }
    }

    /// Points over the cap.
    pub(super) fn over(&self) -> u64 {
        [&self.helper, &self.own].into_iter().flatten().map(|(_, over)| over).sum()
    }
}

/// Makes points of views.
#[derive(Debug)]
pub(super) struct Packer {
    sinks: Vec<Sink>,
    is_shard: bool,
    wanted: Wanted,
    namespace: Option<String>,
    seconds: f64,
    cap: Cap,
    /// For measuring: what an event of ours is long.
    scratch: (Writer, Vec<u8>),
}

impl Packer {
    pub(super) fn new(plan: &Plan) -> Packer {
        let scratch = Writer::new(&Heading {
            namespace: plan.namespace(Dialect::Own),
            cluster: (Dialect::Own.dimension().to_owned(), "a-cluster-of-mine".to_owned()),
            log_group: "/aws/eks/a-cluster-of-mine".to_owned(),
            log_stream: None,
            max_event_bytes: super::emf::EVENT_BYTES,
        });
        Packer {
            sinks: plan.to.iter().map(|to| to.sink()).collect(),
            is_shard: plan.is_shard,
            wanted: Wanted { labels: plan.dimensions.clone(), nodes: plan.node_metrics.clone() },
            namespace: plan.namespace.clone(),
            seconds: plan.interval.as_secs_f64(),
            cap: Cap::new(plan.most_billed, reserved(plan)),
            scratch: (scratch, Vec::new()),
        }
    }

    pub(super) fn pack(&mut self, cut: &Cut) -> Packed {
        let of = |dialect: Dialect, sinks: &[Sink], cap: &mut Cap| {
            let wanted = sinks.iter().any(|sink| Dialect::of(*sink, self.is_shard) == dialect);
            wanted.then(|| {
                let groups = match dialect {
                    Dialect::Helper => series::helper(&cut.view),
                    Dialect::Own => series::own(&cut.view, &self.wanted),
                };
                let mut interval = Interval { start: cut.start, groups };
                let namespace = self.namespace.as_deref().unwrap_or_else(|| dialect.namespace());
                let first = dialect == Dialect::Helper;
                let over = cap.apply(namespace, &mut interval, first);
                (Arc::new(interval), over)
            })
        };
        // The helper's names first: they are the ones that alarms know.
        let helper = of(Dialect::Helper, &self.sinks, &mut self.cap);
        let own = of(Dialect::Own, &self.sinks, &mut self.cap);
        let billed = self.cap.billed();
        let mut packed = Packed { helper, own, billed, estimate: Estimate::default() };
        packed.estimate = Estimate::of(billed, self.traffic(&packed), self.seconds);
        packed
    }

    fn traffic(&mut self, packed: &Packed) -> Traffic {
        let mut traffic = Traffic::default();
        // The same for each outlet of events.
        let mut events_bytes = None;
        for sink in &self.sinks {
            let kept = packed.of(Dialect::of(*sink, self.is_shard));
            let Some((interval, _)) = kept else { continue };
            if *sink == Sink::Put {
                traffic.requests += interval.points().div_ceil(limits::PUT_METRICS) as u64;
            } else {
                let (writer, out) = &mut self.scratch;
                traffic.log_bytes += *events_bytes.get_or_insert_with(|| {
                    out.clear();
                    writer.write(interval, out);
                    // Each event is billed with 26 bytes besides its own.
                    let events = out.iter().filter(|b| **b == b'\n').count();
                    (out.len() + 25 * events) as u64
                });
            }
        }
        traffic
    }
}

/// Room for all of the helper's names, where they are sent.
fn reserved(plan: &Plan) -> usize {
    let is_helper = |to: &To| Dialect::of(to.sink(), plan.is_shard) == Dialect::Helper;
    if plan.to.iter().any(is_helper) { names::helper() } else { 0 }
}

/// Cuts until it is dropped.
pub(super) struct Cutting {
    pub(super) packer: Packer,
    pub(super) cutter: Cutter,
    pub(super) store: Arc<Store>,
    pub(super) shelves: Vec<(Sink, Arc<Shelf>)>,
    pub(super) observe: Arc<Observe>,
    pub(super) promise: Arc<Promise>,
    pub(super) notebook: Arc<Notebook>,
    pub(super) most_billed: usize,
    pub(super) is_shard: bool,
}

impl Cutting {
    pub(super) async fn run(&mut self, clock: Clock) {
        let mut first = true;
        loop {
            let Some(cut) = next(&mut self.cutter, &self.store, clock, self.is_shard).await else {
                self.observe.mirror_awaits_clock(self.cutter.ahead(clock.now().unix));
                continue;
            };
            if !cut.covered {
                continue;
            }
            let packed = self.packer.pack(&cut);
            // What a follower packs its leader sends, and tells.
            let leads = self.promise.holds(self.promise.term(), clock.uptime());
            let is_ours = leads || !self.notebook.holder().is_another();
            if leads {
                if packed.over() > 0 {
                    self.observe.mirror_capped(self.most_billed, packed.over());
                }
                let words = packed.estimate.to_string();
                self.observe.mirror_costs(packed.billed, packed.estimate.total(), &words, first);
                first = false;
            } else {
                self.observe.mirror_costs_nothing();
            }
            for (sink, shelf) in &self.shelves {
                if let Some((interval, over)) = packed.of(Dialect::of(*sink, self.is_shard)) {
                    shelf.put(Arc::clone(interval));
                    if is_ours {
                        let mut tally = Tally::default();
                        tally.drop(Drop::Cap, *over);
                        self.observe.mirror_points(*sink, &tally);
                    }
                }
            }
        }
    }
}

/// The interval that ends next, once it has ended.
pub(super) async fn next(
    cutter: &mut Cutter,
    store: &Store,
    clock: Clock,
    is_shard: bool,
) -> Option<Cut> {
    sleep(Duration::from_secs_f64(cutter.remaining(clock.now().unix))).await;
    let view = store.view(clock.now());
    cutter.cut(crate::view::View { is_shard, ..view })
}
