//! The loop that scrapes. Comes in: targets. Goes out: answers and failures to the store, rounds to
//! whoever waits for them. Never: two requests under way to one node, a second try within a slot.
//!
//! *Flow*: made to run alone on a thread with a runtime of one thread: no work is stolen, and a page
//! takes microseconds once its last byte is there. Due targets are started in ticks, and whenever a
//! place becomes free.
//! *When it cannot keep up*: a slot that comes while the scrape before is not over is an `overrun`,
//! counted and noted as the node's outcome, as is one that found no place until the next; nothing is
//! queued twice.
//! *Stopping*: on cancel nothing more is started, and what is under way is dropped.

use crate::clock::Clock;
use crate::model::{Moment, Outcome, Route, Targets};
use crate::observe::Observe;
use crate::store::{Answer, Store};
use crate::units;
use clap::Args;
use fetch::{Buffers, Failure, Fetched, fetch};
use kube::Client;
use plan::{Closed, Plan, Start};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

pub mod answer;
mod fetch;
mod plan;
mod proxy;

/// Due targets are started this often. Paced at 100 ms a scrape costs 15 % less than at 10 ms,
/// because a wake-up is shared by more of them.
const TICK: Duration = Duration::from_millis(100);

/// The first round names the security group when more than this share of it timed out.
const MOST: f64 = 0.5;

/// How nodes are scraped.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Scrape")]
#[group(id = "scrape")]
pub struct Settings {
    /// How often each node is scraped; 200ms at least
    #[arg(long = "scrape.interval", env = "VPCCNI_SCRAPE_INTERVAL", default_value = "30s",
          value_name = "DURATION", value_parser = interval)]
    pub interval: Duration,
    /// How long one scrape may take, from connecting to the last byte; the interval at most
    /// [default: 10s, or nine tenths of the interval where that is shorter]
    #[arg(long = "scrape.timeout", env = "VPCCNI_SCRAPE_TIMEOUT", value_name = "DURATION",
          value_parser = units::duration)]
    pub timeout: Option<Duration>,
    /// How many scrapes may be under way; a quarter of them at most to nodes that timed out last
    #[arg(long = "scrape.concurrency", env = "VPCCNI_SCRAPE_CONCURRENCY", default_value_t = 128,
          value_name = "SCRAPES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// The same where nodes are reached through the API server (--discover.route=proxy): each is a
    /// connection to it
    #[arg(long = "scrape.proxy-concurrency", env = "VPCCNI_SCRAPE_PROXY_CONCURRENCY",
          default_value_t = 16, value_name = "SCRAPES",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub proxy_concurrency: u32,
    /// Ask nodes for gzip: a sixth of the bytes, for some CPU on both sides
    #[arg(long = "scrape.gzip", env = "VPCCNI_SCRAPE_GZIP")]
    pub gzip: bool,
    /// Bytes that a node's page may have, as sent and as decoded
    #[arg(long = "scrape.max-body", env = "VPCCNI_SCRAPE_MAX_BODY", default_value = "4MiB",
          value_name = "SIZE", value_parser = units::bytes)]
    pub max_body: usize,
}

/// Reads `--scrape.interval`.
///
/// # Errors
/// In words, when it is no duration or too short.
pub fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(200);
    let interval = units::duration(text)?;
    if interval < SHORTEST { Err("200ms at least".to_owned()) } else { Ok(interval) }
}

impl Settings {
    /// The deadline of one scrape.
    ///
    /// # Errors
    /// In words, when `--scrape.timeout` is zero or longer than the interval.
    pub fn deadline(&self) -> Result<Duration, String> {
        const USUAL: Duration = Duration::from_secs(10);
        match self.timeout {
            None => Ok(USUAL.min(self.interval * 9 / 10)),
            Some(timeout) if timeout > self.interval => Err(format!(
                "at most --scrape.interval ({}) is allowed",
                units::format_duration(self.interval)
            )),
            Some(timeout) if timeout.is_zero() => Err("more than 0 is needed".to_owned()),
            Some(timeout) => Ok(timeout),
        }
    }
}

/// How often due targets are started.
fn tick(interval: Duration) -> Duration {
    TICK.min(interval / 10)
}

/// A scrape is over a tick before the next slot at the latest: a node that hangs has its outcome by
/// then, and is not an overrun besides.
fn before_next_slot(deadline: Duration, interval: Duration) -> Duration {
    deadline.min(interval.saturating_sub(tick(interval)))
}

/// How the rounds are going.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rounds {
    /// Rounds closed so far, the first one included.
    pub closed: u64,
    /// When the last one closed.
    pub last_closed: Moment,
    /// Seconds that it took.
    pub last_seconds: f64,
    /// Seconds until the last of its nodes that did not time out had an outcome.
    pub last_answered_seconds: f64,
    /// Good scrapes in it.
    pub ok: usize,
    /// Failed ones.
    pub failed: usize,
    /// More than half of its scrapes timed out.
    pub most_timed_out: bool,
    /// The API server refuses us its pod proxy, as far as the newest scrape through it knows.
    pub proxy_denied: bool,
}

/// Scrapes until it is cancelled. `deadline` is [`Settings::deadline`]; `proxy` is the API server whose
/// pod proxy is the route.
#[allow(clippy::too_many_arguments, reason = "the wires of a stage, each named at its one caller")]
pub async fn run(
    settings: Settings,
    deadline: Duration,
    proxy: Option<Client>,
    targets: watch::Receiver<Arc<Targets>>,
    store: Arc<Store>,
    clock: Clock,
    observe: Arc<Observe>,
    rounds: watch::Sender<Rounds>,
    cancel: CancellationToken,
) {
    let places = match proxy {
        Some(_) => settings.proxy_concurrency,
        None => settings.concurrency,
    } as usize;
    let scraper = Scraper {
        plan: Plan::new(settings.interval.as_secs_f64(), places),
        spare: Vec::new(),
        most_under_way: 0,
        deadline: before_next_slot(deadline, settings.interval),
        settings,
        proxy,
        store,
        clock,
        observe,
        rounds,
    };
    scraper.run(targets, cancel).await;
}

/// A task that panicked has left its work undone, and with it ends the stage, so that somebody hears
/// of it.
fn go_on_panicking(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

struct Scraper {
    plan: Plan,
    /// Buffers of scrapes that ended; as many as were under way at once in the last round.
    spare: Vec<Buffers>,
    most_under_way: usize,
    settings: Settings,
    proxy: Option<Client>,
    deadline: Duration,
    store: Arc<Store>,
    clock: Clock,
    observe: Arc<Observe>,
    rounds: watch::Sender<Rounds>,
}

/// A scrape that ended, with the buffers it worked in.
struct Ended {
    start: Start,
    buffers: Buffers,
    result: Result<Fetched, Failure>,
    began: f64,
    at: Moment,
}

impl Scraper {
    async fn run(mut self, mut targets: watch::Receiver<Arc<Targets>>, cancel: CancellationToken) {
        // Two timers that take turns, so that one is always pending: with none, tokio wakes itself for
        // every new timer by writing to a descriptor, one system call for each scrape's deadline.
        let tick = tick(self.settings.interval);
        let mut ticks = interval_at(Instant::now(), 2 * tick);
        let mut tocks = interval_at(Instant::now() + tick, 2 * tick);
        // A tick that was missed is made up for by the next one: slots are found by the clock.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        tocks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut under_way: JoinSet<Ended> = JoinSet::new();
        self.retarget(&mut targets);
        loop {
            self.start(&mut under_way);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                changed = targets.changed() => match changed {
                    Ok(()) => self.retarget(&mut targets),
                    // Discovery has ended, and with it the process will.
                    Err(_) => return,
                },
                Some(ended) = under_way.join_next() => {
                    let mut next = Some(ended);
                    while let Some(ended) = next {
                        match ended {
                            Ok(ended) => self.ended(ended),
                            Err(error) => go_on_panicking(error),
                        }
                        next = under_way.try_join_next();
                    }
                    self.close_rounds();
                }
                _ = ticks.tick() => self.tick(),
                _ = tocks.tick() => self.tick(),
            }
        }
    }

    fn retarget(&mut self, targets: &mut watch::Receiver<Arc<Targets>>) {
        let list = Arc::clone(&targets.borrow_and_update());
        let now = self.clock.now();
        self.store.retarget(&list, now);
        self.plan.retarget(&list, now.uptime);
        self.close_rounds();
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        for target in self.plan.advance(now.uptime) {
            let reason = "its slot came while the scrape before was waiting or under way; see --scrape.concurrency";
            self.store.failed(&target.node, Outcome::Overrun, reason, now, 0.0);
            self.observe.scrape_overrun(&target);
        }
        self.close_rounds();
    }

    fn start(&mut self, under_way: &mut JoinSet<Ended>) {
        while let Some(start) = self.plan.start(self.clock.uptime()) {
            self.observe.scrape_started(start.delay, start.hangs);
            let buffers = self
                .spare
                .pop()
                .unwrap_or_else(|| Buffers::new(self.settings.gzip, self.settings.max_body));
            let proxy = self.proxy.clone().filter(|_| start.target.route == Route::Proxy);
            under_way.spawn(scrape(start, buffers, proxy, self.deadline, self.clock));
        }
        let plan = &self.plan;
        self.most_under_way = self.most_under_way.max(plan.in_flight());
        self.observe.scrapes_under_way(plan.in_flight(), plan.targets(), plan.hanging());
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { start, mut buffers, result, began, at } = ended;
        let seconds = at.uptime - began;
        let node = &start.target.node;
        if start.target.route == Route::Proxy {
            self.proxied(&result);
        }
        // Whoever left or moved meanwhile is not to be found in store or plan by this result.
        let (outcome, reason) = match &result {
            _ if !self.plan.knows(&start) => (Outcome::Ok, String::new()),
            Ok(fetched) => {
                let body = buffers.page(fetched);
                let answer = Answer { body, date: fetched.date, at, seconds };
                match self.store.scraped(node, answer) {
                    Ok(stored) => {
                        self.observe.page_read(body.len(), fetched.wire_bytes, stored.samples);
                        (Outcome::Ok, String::new())
                    }
                    Err(refused) => (refused.outcome, refused.reason),
                }
            }
            Err(failure) => {
                self.store.failed(node, failure.outcome, &failure.reason, at, seconds);
                (failure.outcome, failure.reason.clone())
            }
        };
        if let Some(before) = self.plan.ended(&start, outcome, at.uptime) {
            self.observe.scrape_ended(&start.target, before, outcome, &reason, seconds);
        }
        buffers.trim();
        self.spare.push(buffers);
    }

    /// Takes note of whether we may use the API server's proxy.
    fn proxied(&self, result: &Result<Fetched, Failure>) {
        let (denied, words) = match result {
            Ok(_) => (false, ""),
            Err(failure) if failure.denied => (true, &*failure.reason),
            // It says nothing about rights.
            Err(_) => return,
        };
        self.rounds.send_if_modified(|rounds| {
            let changed = rounds.proxy_denied != denied;
            rounds.proxy_denied = denied;
            if changed {
                self.observe.proxy_denied(denied, words);
            }
            changed
        });
    }

    fn close_rounds(&mut self) {
        let now = self.clock.now();
        while let Some(closed) = self.plan.closed(now.uptime) {
            // The first round uses every place, those after it a few.
            self.spare.truncate(self.most_under_way);
            self.most_under_way = self.plan.in_flight();
            let Closed { number, began, ok, failed, timed_out, answered } = closed;
            let most = timed_out as f64 > (ok + failed) as f64 * MOST;
            let (seconds, answered) = (now.uptime - began, answered - began);
            self.observe.round_closed(number, seconds, answered, ok, failed);
            if number == 0 && most {
                self.observe.most_timed_out(timed_out, ok + failed);
            }
            self.rounds.send_modify(|rounds| {
                rounds.closed += 1;
                rounds.last_closed = now;
                rounds.last_seconds = seconds;
                rounds.last_answered_seconds = answered;
                rounds.ok = ok;
                rounds.failed = failed;
                rounds.most_timed_out = most;
            });
        }
    }
}

async fn scrape(
    start: Start,
    mut buffers: Buffers,
    proxy: Option<Client>,
    deadline: Duration,
    clock: Clock,
) -> Ended {
    let began = clock.uptime();
    let fetching = async {
        match &proxy {
            None => fetch(&start.target, &mut buffers).await,
            Some(client) => proxy::fetch(client, &start.target, &mut buffers).await,
        }
    };
    let result = tokio::time::timeout(deadline, fetching).await.unwrap_or_else(|_| {
        let reason = format!(
            "no whole answer within {} (--scrape.timeout)",
            units::format_duration(deadline)
        );
        Err(Failure::new(Outcome::Timeout, reason))
    });
    Ended { start, buffers, result, began, at: clock.now() }
}

#[cfg(test)]
mod tests;
