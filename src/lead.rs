//! One server of data (DESIGN §5): of several processes the holder of a Lease alone serves the scopes
//! cluster and node. Comes in: the API server's Lease. Goes out: a promise that ends by itself, and what
//! to tell. Never: two that serve at once, as far as clocks tick alike; a promise kept past a pause.
//!
//! *Flow*: five times a duration the Lease is read and, by the rules of [`term`], renewed, taken or
//! left alone. Shards have a Lease each; while one of another number of shards is held, none of ours is
//! taken: nodes would be counted twice. *When it cannot keep up*: the promise ends, and with it the
//! serving of data. *Stopping*: the Lease is released, so that the next holder need not wait.

use crate::clock::Clock;
use crate::observe::Observe;
use crate::observe::lead::Answer;
use crate::promise::Promise;
use crate::units;
use clap::{Args, ValueEnum};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use lease::{Claim, Client, Read, Refusal};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use term::{Knock, Step, Term};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

mod knock;
mod lease;
mod term;

/// Attempts in a duration. A promise lasts for two thirds of it: one attempt may hang, and two may fail
/// at once, before it ends.
const ATTEMPTS: u32 = 5;

/// Of the duration, how long one of the two requests of an attempt may take.
const PATIENCE: u32 = 6;

/// Nor longer than this: a request that hangs must not hang for minutes.
const LONGEST_PATIENCE: Duration = Duration::from_secs(5);

/// Of the time between two attempts, the share that is left to chance.
const JITTER: f64 = 0.1;

/// A holder of another number of shards that has not renewed for so many durations is gone.
const GONE_DURATIONS: f64 = 4.0;

/// Who serves data.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Lead")]
#[group(id = "lead")]
pub struct Settings {
    /// Whether of several processes one alone serves data, by a Lease: auto does so in a pod
    #[arg(long = "lead.election", env = "VPCCNI_LEAD_ELECTION", value_name = "MODE", value_enum,
          default_value_t = Election::Auto)]
    pub election: Election,
    /// Namespace of the Lease [default: the pod's own, or that of the kubeconfig]
    #[arg(id = "lead_namespace", long = "lead.namespace", env = "VPCCNI_LEAD_NAMESPACE",
          value_name = "NAMESPACE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub namespace: Option<String>,
    /// Name of the Lease; with several shards each has one that ends with its number
    #[arg(long = "lead.name", env = "VPCCNI_LEAD_NAME", value_name = "NAME",
          default_value = "vpc-cni-exporter", value_parser = name)]
    pub name: String,
    /// After how long without renewal another process takes over; 3s at least
    #[arg(long = "lead.duration", env = "VPCCNI_LEAD_DURATION", value_name = "DURATION",
          default_value = "15s", value_parser = duration)]
    pub duration: Duration,
}

/// `--lead.election`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Election {
    /// In a pod.
    Auto,
    /// Always.
    On,
    /// Never: this process serves whatever others do.
    Off,
}

fn name(text: &str) -> Result<String, String> {
    // It is the value of a label, too, and a shard's number comes behind it.
    const LONGEST: usize = 59;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = |b: Option<u8>| b.is_some_and(|b| b != b'-');
    let good = text.len() <= LONGEST
        && text.bytes().all(plain)
        && ends(text.bytes().next())
        && ends(text.bytes().last());
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("at most {LONGEST} lower-case letters, digits and - are allowed"))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = units::duration(text)?;
    let whole = duration.subsec_nanos() == 0;
    if (3..=3600).contains(&duration.as_secs()) && whole {
        Ok(duration)
    } else {
        Err("whole seconds from 3s to 1h are allowed".to_owned())
    }
}

/// Which Lease, and who we are.
#[derive(Debug)]
pub struct Candidate {
    /// Unique among all processes that ever were.
    pub identity: String,
    /// Where our HTTP server is for the others, if that is known: `host:port`.
    pub address: Option<String>,
    /// Number of this shard, and of all.
    pub shard: (u32, u32),
}

/// What the election tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leading {
    /// The term that began last; 0 before the first.
    pub term: u64,
    /// What an operator should know, in words.
    pub note: Option<String>,
}

struct Elector {
    candidate: Candidate,
    client: Client,
    term: Term,
    promise: Arc<Promise>,
    clock: Clock,
    observe: Arc<Observe>,
    standing: watch::Sender<Leading>,
    /// Written so far.
    renewals: u64,
    /// Who led when it was last told.
    leader: String,
    /// Leases of other numbers of shards: their renewal, and our uptime when we first saw it.
    others: HashMap<String, (String, f64)>,
}

/// Takes part in the election until it is cancelled. `ready` becomes true once there is something to
/// serve: before that the Lease is left to others.
#[allow(clippy::too_many_arguments, reason = "the wires of a stage, each named at its one caller")]
pub async fn run(
    settings: Settings,
    client: kube::Client,
    candidate: Candidate,
    promise: Arc<Promise>,
    ready: watch::Receiver<bool>,
    standing: watch::Sender<Leading>,
    clock: Clock,
    observe: Arc<Observe>,
    cancel: CancellationToken,
) {
    let namespace =
        settings.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let (index, count) = candidate.shard;
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let client = Client {
        api,
        name: if count > 1 { format!("{}-{index}", settings.name) } else { settings.name.clone() },
        family: settings.name,
        shards: count,
        duration: settings.duration,
        address: candidate.address.clone(),
        patience: (settings.duration / PATIENCE).min(LONGEST_PATIENCE),
    };
    let elector = Elector {
        term: Term::new(candidate.identity.clone(), settings.duration.as_secs_f64()),
        candidate,
        client,
        promise,
        clock,
        observe,
        standing,
        renewals: 0,
        leader: String::new(),
        others: HashMap::new(),
    };
    elector.run(ready, settings.duration / ATTEMPTS, cancel).await;
}

impl Elector {
    async fn run(
        mut self,
        mut ready: watch::Receiver<bool>,
        pause: Duration,
        cancel: CancellationToken,
    ) {
        tokio::select! {
            () = cancel.cancelled() => return,
            ready = ready.wait_for(|ready| *ready) => if ready.is_err() { return },
        }
        loop {
            let next = Instant::now() + pause.mul_f64(1.0 - JITTER * fastrand::f64());
            // What is under way when the end comes is dropped; the release reads everything anew.
            tokio::select! {
                () = cancel.cancelled() => return self.release().await,
                () = self.attempt() => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return self.release().await,
                () = sleep_until(next) => {}
            }
        }
    }

    async fn attempt(&mut self) {
        let began = self.clock.uptime();
        let mut result = self.advance().await;
        if matches!(result, Err(Refusal(Answer::Conflict, _))) {
            // Somebody was quicker: what the Lease is now is worth a look at once.
            result = self.advance().await;
        }
        let lease = self.client.name.clone();
        match result {
            Ok(()) => self.observe.lease_answered(Answer::Ok, &lease, ""),
            Err(Refusal(answer, words)) => {
                let told = self.trouble(answer, &words);
                self.observe.lease_answered(answer, &lease, &told);
                if answer != Answer::Conflict {
                    let now = self.clock.uptime();
                    let until = self.term.unanswered(began, now);
                    let note = if until.is_some_and(|until| self.promise.prolong(until, now)) {
                        format!("{told}; no other process is known, this one serves on")
                    } else {
                        told
                    };
                    self.tell(Some(note));
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<(), Refusal> {
        let leases = self.client.list().await?;
        let now = self.clock.uptime();
        let ours = leases.iter().find(|read| read.name == self.client.name);
        let mut step = self.term.step(ours.map(|read| &read.record), now);
        if !matches!(step, Step::Renew { .. }) {
            self.ended(ours);
        }
        if step == Step::Ask
            && let Some(read) = ours
        {
            let knock = match &read.address {
                Some(address) => knock::knock(address, self.client.patience).await,
                None => Knock::Silent,
            };
            step = self.term.asked(&read.record, knock, self.clock.uptime());
        }
        if matches!(step, Step::Create | Step::Take)
            && let Some(other) = self.held_by_other_shards(&leases, now)
        {
            self.tell(Some(other));
            return Ok(());
        }
        let contended = !matches!(step, Step::Renew { contended: false });
        let sent = self.clock.now();
        let identity = self.candidate.identity.clone();
        self.renewals += 1;
        let (unix, renewal) = (sent.unix, self.renewals);
        let claim = Claim { holder: &identity, contended, unix, renewal };
        match (step, ours) {
            (Step::Create, _) => self.client.create(&claim).await?,
            (Step::Take | Step::Renew { .. }, Some(read)) => {
                self.client.replace(read, &claim).await?
            }
            (Step::Announce, _) => return self.client.announce(&identity).await,
            _ => return Ok(()),
        }
        if !self.term.holds_lease() {
            // Written, then read: of two that took Leases of different numbers of shards at the same
            // time, one at least sees the other.
            let leases = self.client.list().await?;
            if let Some(other) = self.held_by_other_shards(&leases, self.clock.uptime()) {
                self.tell(Some(other));
                self.give_back(&leases).await;
                return Ok(());
            }
        }
        let (until, begins) = self.term.wrote(contended, sent.uptime);
        if begins {
            self.promise.begin(until);
            self.observe.leads(&self.client.name);
            self.leader.clone_from(&self.candidate.identity);
        } else {
            self.promise.extend(until);
        }
        self.tell(None);
        if begins {
            // Nobody else's by now: a Lease of another number of shards was found dead above.
            let dead = leases
                .iter()
                .filter(|read| read.shards != self.client.shards && !read.record.holder.is_empty());
            for read in dead {
                self.client.retire(read).await?;
            }
        }
        Ok(())
    }

    /// The Lease is another's: whatever we served, we do so no more.
    fn ended(&mut self, ours: Option<&Read>) {
        let holder = ours.map_or("", |read| &read.record.holder);
        if self.leader == self.candidate.identity {
            self.promise.end();
            self.observe.leads_no_more(&self.client.name, holder);
        } else if self.leader != holder && !holder.is_empty() {
            self.observe.follows(&self.client.name, holder);
        }
        if self.leader != holder {
            self.leader = holder.to_owned();
        }
        let note = (!holder.is_empty()).then(|| format!("stands by: {holder} serves the data"));
        self.tell(note);
    }

    /// A Lease of the same name for another number of shards that somebody holds, in words.
    fn held_by_other_shards(&mut self, leases: &[Read], now: f64) -> Option<String> {
        let mut held = None;
        let others = std::mem::take(&mut self.others);
        for read in leases.iter().filter(|read| read.shards != self.client.shards) {
            if read.record.holder.is_empty() {
                continue;
            }
            let renewed = &read.record.renewed;
            let same = others.get(&read.name).filter(|(before, _)| before == renewed);
            let since = same.map_or(now, |(_, since)| *since);
            let durations = if read.record.contended { 1.0 } else { GONE_DURATIONS };
            if now - since < read.record.duration * durations {
                held = Some(format!(
                    "stands by: {} still serves as one of {} shards, this process is one of {}",
                    read.record.holder, read.shards, self.client.shards
                ));
            }
            self.others.insert(read.name.clone(), (renewed.clone(), since));
        }
        held
    }

    async fn give_back(&self, leases: &[Read]) {
        let ours = leases.iter().find(|read| read.name == self.client.name);
        let Some(read) = ours.filter(|read| read.record.holder == self.candidate.identity) else {
            return;
        };
        let claim = Claim { holder: "", contended: true, unix: self.clock.now().unix, renewal: 0 };
        // Where it fails the Lease ends by itself.
        drop(self.client.replace(read, &claim).await);
    }

    async fn release(self) {
        self.promise.end();
        if self.term.holds_lease()
            && let Ok(leases) = self.client.list().await
        {
            self.give_back(&leases).await;
        }
    }

    fn trouble(&self, answer: Answer, words: &str) -> String {
        let namespace = self.client.api.namespace().unwrap_or_default();
        match answer {
            Answer::Forbidden => format!(
                "the right is missing to get, list, create, update, patch on leases.coordination.k8s.io in namespace {namespace} (Role), or see --lead.election: {words}"
            ),
            _ => format!(
                "the Lease {} in namespace {namespace} cannot be read or written: {words}",
                self.client.name
            ),
        }
    }

    fn tell(&self, note: Option<String>) {
        let now = Leading { term: self.promise.term(), note };
        self.standing.send_if_modified(|standing| {
            let changed = *standing != now;
            *standing = now;
            changed
        });
    }
}
