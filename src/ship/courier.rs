//! Sends what waits for one outlet. Comes in: a queue, the promise to lead, the cluster's name. Goes out:
//! deliveries, and how the outlet stands. Never: a batch begun by a process that does not lead, or that its
//! successor could not know of; an interval that another process began to send.
//!
//! *Flow*: while this process leads, the oldest intervals are noted as begun, sent, and noted as settled.
//! While another leads, what it has settled leaves the queue; while nobody does, nothing. *When it cannot keep up*: the queue gives up
//! its oldest. *Stopping*: what waits is sent, as far as the time allows.

use super::delivery::Delivery;
use super::handover::Progress;
use super::naming::Named;
use super::notebook::Notebook;
use super::outlet::Outlet;
use super::queue::Queue;
use crate::clock::Clock;
use crate::mirror::{Drop, Holder, Interval, Sink, Standing, State, Tally, Trouble};
use crate::observe::Observe;
use crate::promise::Promise;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Intervals that are sent together after an outage: few requests, and little that is unconfirmed should
/// the process end in the middle.
const BATCH: usize = 60;

/// The first pause after a failure, doubled with each further one up to [`LONGEST_PAUSE`], less up to half of it
/// by chance.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// See [`FIRST_PAUSE`]: no longer than an interval, so that an outage ends with its end.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// While another process leads, or none: how often that is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A queue that the cutter fills and a courier empties.
#[derive(Debug)]
pub(super) struct Shelf {
    queue: Mutex<Queue>,
    /// What left the queue unsent and has not been counted yet.
    given_up: Mutex<Vec<Arc<Interval>>>,
    filled: Notify,
}

impl Shelf {
    pub(super) fn new(most: usize) -> Shelf {
        Shelf {
            queue: Mutex::new(Queue::new(most)),
            given_up: Mutex::default(),
            filled: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an interval; older ones may have to be given up for it.
    pub(super) fn put(&self, interval: Arc<Interval>) {
        let given_up = self.lock().push(interval);
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).extend(given_up);
        self.filled.notify_one();
    }

    fn given_up(&self) -> Vec<Arc<Interval>> {
        std::mem::take(&mut *self.given_up.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What sends for one outlet.
pub(super) struct Courier {
    pub(super) sink: Sink,
    pub(super) outlet: Outlet,
    pub(super) shelf: Arc<Shelf>,
    pub(super) promise: Arc<Promise>,
    pub(super) notebook: Arc<Notebook>,
    /// The cluster's name, once it is known; why it is not.
    pub(super) cluster: watch::Receiver<Named>,
    pub(super) clock: Clock,
    pub(super) observe: Arc<Observe>,
    /// `None` before the first time of leading.
    pub(super) term: Option<u64>,
    /// How far the predecessor had come, whenever we come to cut that.
    pub(super) floor: Progress,
    /// What is begun and must be taken back should the end come before it is sent.
    pub(super) begun: Option<Begun>,
    pub(super) pause: Duration,
    /// As it was told last.
    pub(super) standing: Standing,
    /// Seconds since 1970 at which something was sent last.
    pub(super) last_success: Option<f64>,
}

/// A batch that was noted as begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    term: u64,
    /// All before it is settled.
    before: i64,
    /// Part of it may have left.
    is_sent: bool,
}

impl Courier {
    /// Runs until it is cancelled, and then for `drain` at most.
    pub(super) async fn run(mut self, cancel: CancellationToken, drain: Duration) {
        let mut next = Instant::now();
        let mut end = pin!(async {
            cancel.cancelled().await;
            sleep(drain).await;
        });
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                // A notice is kept for whoever comes late.
                () = self.shelf.filled.notified(), if next <= Instant::now() => {}
                () = sleep_until(next.max(Instant::now() + LOOK)) => {}
            }
            // What is under way when the end is asked for goes on while there is time: dropped, it would be
            // unconfirmed.
            let trouble = tokio::select! {
                () = &mut end => return self.take_back(),
                trouble = self.turn() => trouble,
            };
            next = if trouble { self.later() } else { Instant::now() };
        }
        let sending = async {
            while self.shelf.lock().front().is_some() && self.leads() {
                if self.turn().await {
                    sleep(FIRST_PAUSE).await;
                }
            }
        };
        tokio::select! {
            () = end => self.take_back(),
            () = sending => {}
        }
    }

    /// What was noted as begun and never sent is its successor's.
    fn take_back(&self) {
        if let Some(Begun { term, before, is_sent: false }) = self.begun {
            let begun = self.outlet.open().map_or(before, |open| open.max(before));
            self.notebook.settled(term, self.sink, Progress { settled: before, begun });
        }
    }

    fn leads(&self) -> bool {
        self.promise.holds(self.promise.term(), self.clock.uptime())
    }

    fn later(&mut self) -> Instant {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Instant::now() + pause.mul_f64(1.0 - fastrand::f64() / 2.0)
    }

    /// One look at what is to be done; whether that failed.
    async fn turn(&mut self) -> bool {
        let term = self.promise.term();
        self.count_given_up();
        if !self.leads() {
            self.follow();
            return false;
        }
        if self.term != Some(term) {
            self.take_over(term);
            self.term = Some(term);
        }
        self.settle_floor();
        let batch = self.shelf.lock().send(BATCH);
        let Some(last) = batch.last().map(|interval| interval.start) else {
            let state = match self.standing.state {
                State::Off | State::Waiting => State::Waiting,
                _ => State::Leading,
            };
            self.stands(state, None);
            return false;
        };
        let before = batch.first().map_or(last, |interval| interval.start - 1);
        let delivery = self.deliver(term, &batch, Progress { settled: before, begun: last }).await;
        self.begun = None;
        self.shelf.lock().sent(delivery.settled);
        // What was not sent is not begun any more: whoever comes next may send it.
        let settled = delivery.settled.checked_sub(1).and_then(|at| batch.get(at));
        let settled = settled.map_or(before, |interval| interval.start);
        let begun = self.outlet.open().map_or(settled, |open| open.max(settled));
        self.notebook.settled(term, self.sink, Progress { settled, begun });
        self.observe.mirror_points(self.sink, &delivery.tally);
        if delivery.tally.sent > 0 {
            self.last_success = Some(self.clock.now().unix);
        }
        match delivery.trouble {
            None => {
                self.pause = FIRST_PAUSE;
                self.stands(State::Leading, None);
                false
            }
            Some((trouble, words)) => {
                self.observe.mirror_failed(self.sink, trouble, &words);
                self.stands(State::Refused, Some((trouble, words)));
                true
            }
        }
    }

    /// Of an interval that was sent in part, that part is known already. What a follower gives up its leader
    /// has, or counts.
    fn count_given_up(&mut self) {
        let another = self.notebook.holder().is_another();
        for interval in self.shelf.given_up() {
            let mut tally = self.outlet.abandon(interval.start);
            let known = tally.sent + tally.unconfirmed + tally.dropped.iter().sum::<u64>();
            if !another {
                tally.drop(Drop::QueueFull, (interval.points() as u64).saturating_sub(known));
            }
            self.observe.mirror_points(self.sink, &tally);
        }
    }

    async fn deliver(&mut self, term: u64, batch: &[Arc<Interval>], begun: Progress) -> Delivery {
        let cluster = self.cluster.borrow().clone();
        let cluster = match cluster {
            Ok(cluster) => cluster,
            Err(words) => return Delivery::blocked((Trouble::Identity, words)),
        };
        self.begun = Some(Begun { term, before: begun.settled, is_sent: false });
        // One that is alone sends on while the API server is away, as it serves on.
        if !self.notebook.begun(term, self.sink, begun).await && !self.promise.is_alone() {
            let words =
                "what is begun cannot be noted in the Lease; see --lead.election and /readyz";
            return Delivery::blocked((Trouble::Lease, words.to_owned()));
        }
        // Noting may have taken its time.
        if !self.promise.holds(term, self.clock.uptime()) {
            return Delivery::default();
        }
        self.begun = Some(Begun { term, before: begun.settled, is_sent: true });
        let now = self.clock.now().unix as i64;
        let delivery = self.outlet.send(batch, &cluster, now).await;
        if let Some(words) = self.outlet.warning() {
            self.observe.mirror_warns(self.sink, &words);
        }
        delivery
    }

    /// What the holder has settled is done with. What it began is kept, should it never settle it. Another
    /// holder that leaves no note sends everything, for all we know.
    fn follow(&mut self) {
        let holder = self.notebook.holder();
        let settled = match (holder, self.notebook.theirs(self.sink)) {
            // They have our nodes, and send them under other names.
            (Holder::OtherShards, _) | (Holder::Another, None) => i64::MAX,
            (_, Some(theirs)) => theirs.settled,
            (_, None) => i64::MIN,
        };
        let mut shelf = self.shelf.lock();
        drop(shelf.settle(settled));
        let waits = shelf.front().is_some();
        drop(shelf);
        if holder.is_another() {
            self.stands(State::Following, None);
        } else if self.term.is_some() || waits {
            let words = "no process holds the Lease at present; see --lead.election and /readyz";
            if self.standing.state != State::Refused {
                self.observe.mirror_failed(self.sink, Trouble::Lease, words);
            }
            self.stands(State::Refused, Some((Trouble::Lease, words.to_owned())));
        } else {
            self.stands(State::Waiting, None);
        }
    }

    /// What the one before began to send may have arrived.
    fn take_over(&mut self, term: u64) {
        let Some(theirs) = self.notebook.take_over(term, self.sink) else { return };
        let now = self.clock.now().unix as i64;
        if theirs.begun > now {
            self.observe.mirror_warns(
                self.sink,
                &format!(
                    "the process before had a clock that was {} s ahead of this one's, or more",
                    theirs.begun - now
                ),
            );
        }
        // A clock that was ahead must not silence us for as long.
        let begun = theirs.begun.min(now);
        self.floor = Progress { settled: theirs.settled.min(begun), begun };
        self.settle_floor();
    }

    /// What the one before sent, or began to, is not ours to send, even where we cut it only now.
    fn settle_floor(&self) {
        let mut shelf = self.shelf.lock();
        drop(shelf.settle(self.floor.settled));
        let begun = shelf.settle(self.floor.begun);
        drop(shelf);
        let unconfirmed: u64 = begun.iter().map(|interval| interval.points() as u64).sum();
        if unconfirmed > 0 {
            self.observe.mirror_points(self.sink, &Tally { unconfirmed, ..Tally::default() });
        }
    }

    fn stands(&mut self, state: State, reason: Option<(Trouble, String)>) {
        let shelf = self.shelf.lock();
        let (waiting, waiting_bytes) = shelf.size();
        let oldest = shelf.front();
        drop(shelf);
        let now = Standing {
            state,
            reason,
            waiting,
            waiting_bytes,
            oldest,
            last_success: self.last_success,
            ..self.standing.clone()
        };
        if now != self.standing || oldest.is_some() {
            self.standing = now.clone();
            self.observe.mirror_stands(self.sink, self.clock.now().unix, now);
        }
    }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
