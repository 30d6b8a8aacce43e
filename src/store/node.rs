//! One node as the store knows it: its newest good page, its state (truth rules 5 and 7). Comes in:
//! outcomes of its scrapes. Goes out: its state at a moment, its view. Never: another node's values.

use super::intern::Shape;
use super::left::place;
use crate::aggregate::delta::Run;
use crate::aggregate::growth;
use crate::model::{Idle, Moment, NodeState, Outcome, Target, short};
use crate::view::{Ended, IPV6_TOTAL, NodeView, Recent};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) target: Arc<Target>,
    pub(super) run: Option<Run>,
    /// The run was another name's, or at another address.
    pub(super) elsewhere: bool,
    pub(super) shape: Option<Arc<Shape>>,
    /// What tells why it may not grow.
    pub(super) growth: growth::Memory,
    samples: usize,
    ipv6: bool,
    last_outcome: Option<Outcome>,
    reason: Arc<str>,
    last_scrape: Option<f64>,
    last_seconds: f64,
    recent: Recent,
    /// Of the last good scrape since the node joined: on both clocks.
    last_good: Option<Moment>,
}

impl Node {
    /// A node that joins, with what is remembered of it.
    pub(super) fn new(target: &Target, run: Option<Run>) -> Node {
        Node {
            ipv6: target.is_ipv6(),
            target: Arc::new(target.clone()),
            elsewhere: run.is_some(),
            run,
            shape: None,
            growth: growth::Memory::default(),
            samples: 0,
            last_outcome: None,
            reason: Arc::from("not scraped yet"),
            last_scrape: None,
            last_seconds: 0.0,
            recent: Recent::default(),
            last_good: None,
        }
    }

    /// Takes over what discovery says of it now.
    pub(super) fn retarget(&mut self, target: &Target) {
        if *self.target == *target {
            return;
        }
        let target = if target.idle.is_some() {
            // It is known where it was, should it come back there.
            let Target { host, port, path, pod, .. } = Target::clone(&self.target);
            Target { host, port, path, pod, ..target.clone() }
        } else {
            target.clone()
        };
        self.elsewhere |= self.target.node != target.node || place(&self.target) != place(&target);
        self.target = Arc::new(target);
        self.ipv6 = self.is_ipv6();
    }

    pub(super) fn failed(&mut self, outcome: Outcome, reason: &str, now: Moment, seconds: f64) {
        self.ended(outcome, now, seconds);
        let reason = short(reason);
        if *self.reason != *reason {
            self.reason = Arc::from(&*reason);
        }
    }

    fn ended(&mut self, outcome: Outcome, now: Moment, seconds: f64) {
        self.last_outcome = Some(outcome);
        self.last_scrape = Some(now.unix);
        self.last_seconds = seconds;
        // Casts of floats saturate.
        let (unix, millis) = (now.unix as u32, (seconds * 1000.0) as u32);
        self.recent.push(Ended { unix, millis, outcome });
    }

    pub(super) fn stored(
        &mut self,
        run: Run,
        shape: Arc<Shape>,
        samples: usize,
        now: Moment,
        seconds: f64,
    ) {
        self.run = Some(run);
        self.elsewhere = false;
        self.shape = Some(shape);
        self.samples = samples;
        self.ipv6 = self.is_ipv6();
        self.ended(Outcome::Ok, now, seconds);
        if !self.reason.is_empty() {
            self.reason = Arc::from("");
        }
        self.last_good = Some(now);
    }

    /// Whether another pod than the one of the last good page has the node, and was made after that
    /// page was served: the page before may have been the new one's already (truth rule 3).
    pub(super) fn replaced(&self, now: Moment) -> bool {
        /// Clocks of nodes and of the API server differ by less.
        const CLOCKS_DIFFER: f64 = 2.0;
        let (Some(pod), Some(run)) = (&self.target.pod, &self.run) else { return false };
        let last_good = now.unix - (now.uptime - run.last_good);
        run.pod.as_ref().is_some_and(|uid| *uid != pod.uid)
            && last_good + CLOCKS_DIFFER < pod.created as f64
    }

    /// Truth rule 7.
    fn is_ipv6(&self) -> bool {
        let total = self.run.as_ref().and_then(|run| run.page.total());
        self.target.is_ipv6() || total.is_some_and(|t| t.is_finite() && t >= IPV6_TOTAL)
    }

    /// Truth rule 5. A node whose last scrape was good gets one interval more: its next scrape is
    /// only due when that has passed. One that cannot be scraped is stale, too, while its values stand:
    /// a rollout of the DaemonSet must not dip the sums.
    fn state(&self, now: Moment, stale_seconds: f64, interval_seconds: f64) -> NodeState {
        let without_values = match &self.target.idle {
            Some(Idle::Missing) => NodeState::Missing,
            Some(Idle::Pod(_)) | None => NodeState::Failed,
        };
        let Some(good) = self.last_good else { return without_values };
        let age = now.uptime - good.uptime;
        if self.last_outcome == Some(Outcome::Ok) && self.target.idle.is_none() {
            if age <= stale_seconds + interval_seconds {
                return NodeState::Up;
            }
        } else if age <= stale_seconds {
            return NodeState::Stale;
        }
        without_values
    }

    /// As of now, for readers.
    pub(super) fn view(&self, now: Moment, stale_seconds: f64, interval_seconds: f64) -> NodeView {
        let state = self.state(now, stale_seconds, interval_seconds);
        let stands = matches!(state, NodeState::Up | NodeState::Stale);
        let page = self.run.as_ref().filter(|_| stands).map(|run| Arc::clone(&run.page));
        NodeView {
            growth: page
                .as_ref()
                .and_then(|page| self.growth.blocked(page, self.target.pod_limit, now.uptime)),
            target: Arc::clone(&self.target),
            state,
            last_outcome: self.last_outcome,
            reason: match &self.target.idle {
                Some(idle) => Arc::from(idle.reason()),
                None => Arc::clone(&self.reason),
            },
            last_scrape: self.last_scrape,
            last_success: self.last_good.map(|m| m.unix),
            last_seconds: self.last_seconds,
            recent: self.recent,
            samples: self.samples,
            ipv6: self.ipv6,
            page,
        }
    }
}
