//! One server of data (DESIGN §5): of several processes the holder of a Lease alone serves the scopes
//! cluster and node. Comes in: the API server's Lease. Goes out: a promise that ends by itself, and what
//! to tell. Never: two that serve at once, as far as clocks tick alike; a promise kept past a pause.
//!
//! *Flow*: five times a duration the Lease is read and, by the rules of [`term`], renewed, taken or
//! left alone. Shards have a Lease each; while one of another number of shards is held, by the same rules
//! ([`others`]), none of ours is taken: nodes would be counted twice. *When it cannot keep up*: the promise ends, and with it the
//! serving of data. *Stopping*: the Lease is released, so that the next holder need not wait.

use crate::clock::Clock;
use crate::mirror::Holder;
use crate::observe::Observe;
use crate::observe::lead::Answer;
use crate::promise::Promise;
use crate::units;
use clap::{Args, ValueEnum};
use futures_util::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use lease::{Claim, Client, Form, Read, Refusal};
pub use notes::Notes;
use others::Others;
use std::sync::Arc;
use std::time::Duration;
use term::{Step, Term};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

mod knock;
mod lease;
mod notes;
mod others;
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

/// After how long a note is written again that somebody else's writing spoiled.
const NOTE_AGAIN: Duration = Duration::from_millis(100);

/// Attempts in a row that somebody else's writing spoiled, before it is told.
const CONFLICTS_TOLD: u32 = 3;

/// To so many holders of another number of shards we announce ourselves in one attempt; the next attempt
/// has those that are left.
const ANNOUNCED: usize = 4;

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
    /// After how long without renewal another process takes over; whole seconds from 3s to 1h
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
    /// What the identities of earlier containers of this pod begin with, where nobody else's can.
    pub pod: Option<String>,
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
    notes: Notes,
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
    /// Leases of other numbers of shards.
    others: Others,
    /// Attempts in a row that somebody else's writing spoiled.
    conflicts: u32,
    /// It was told that the promise has ended, though the Lease is still ours.
    lapsed: bool,
}

/// Takes part in the election until it is cancelled. `ready` becomes true once there is something to
/// serve: before that the Lease is left to others.
#[allow(clippy::too_many_arguments, reason = "the wires of a stage, each named at its one caller")]
pub async fn run(
    settings: Settings,
    client: kube::Client,
    candidate: Candidate,
    notes: Notes,
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
    let form = Form {
        name: if count > 1 { format!("{}-{index}", settings.name) } else { settings.name.clone() },
        family: settings.name,
        shards: count,
        duration: settings.duration,
        address: candidate.address.clone(),
    };
    let patience = (settings.duration / PATIENCE).min(LONGEST_PATIENCE);
    let client = Client { api, form, patience };
    let seconds = settings.duration.as_secs_f64();
    let elector = Elector {
        term: Term::new(candidate.identity.clone(), candidate.pod.clone(), seconds),
        others: Others::new(candidate.shard, seconds),
        candidate,
        notes,
        client,
        promise,
        clock,
        observe,
        standing,
        renewals: 0,
        leader: String::new(),
        conflicts: 0,
        lapsed: false,
    };
    let (form, candidate) = (&elector.client.form, &elector.candidate);
    elector.observe.stands_for(&form.name, &candidate.identity, form.address.as_deref());
    elector.run(ready, settings.duration / ATTEMPTS, cancel).await;
}

impl Elector {
    async fn run(
        mut self,
        mut ready: watch::Receiver<bool>,
        pause: Duration,
        cancel: CancellationToken,
    ) {
        let after_a_pause = || Instant::now() + pause.mul_f64(1.0 - JITTER * fastrand::f64());
        loop {
            let next = after_a_pause();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.look() => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                ready = ready.wait_for(|ready| *ready) => match ready {
                    Ok(_) => break,
                    Err(_) => return,
                },
                () = sleep_until(next) => {}
            }
        }
        loop {
            let next = after_a_pause();
            // What is under way when the end comes is dropped; the release reads everything anew.
            tokio::select! {
                () = cancel.cancelled() => return self.release().await,
                () = self.attempt() => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return self.release().await,
                () = self.take_notes(next) => {}
            }
        }
    }

    /// Before there is anything to serve: a right that is missing is told with the others, not after the
    /// first round.
    async fn look(&self) {
        let lease = &self.client.form.name;
        let (answer, told) = match self.client.list().await {
            Ok(_) => (Answer::Ok, None),
            Err(Refusal(answer, words)) => (answer, Some(self.trouble(answer, &words))),
        };
        self.observe.lease_answered(answer, lease, told.as_deref().unwrap_or_default());
        self.tell(told);
    }

    /// Until the next attempt, what the mirror has to note is written at once: it waits for that.
    async fn take_notes(&mut self, next: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                changed = self.notes.note.changed() => if changed.is_err() {
                    // Nothing is mirrored.
                    return sleep_until(next).await;
                },
            }
            while self.term.holds_lease()
                && self.notes.is_due(self.promise.term())
                && Instant::now() < next
            {
                // The renewal must not wait for it, and carries it, too.
                match timeout_at(next, self.write_note()).await {
                    // Somebody announced himself meanwhile, for example.
                    Ok(Err(Refusal(Answer::Conflict, _))) => sleep(NOTE_AGAIN).await,
                    Ok(_) | Err(_) => break,
                }
            }
        }
    }

    async fn write_note(&mut self) -> Result<(), Refusal> {
        let leases = self.client.list().await?;
        let ours = leases.iter().find(|read| read.name == self.client.form.name);
        let Some(read) = ours.filter(|read| read.record.holder == self.candidate.identity) else {
            return Ok(());
        };
        let note = self.notes.note.borrow_and_update().text.clone();
        self.notes.writes();
        self.client.note(read, &note).await?;
        self.notes.stands(note);
        Ok(())
    }

    /// Whose our Lease is, and whether others than it count (`elsewhere`: Leases of another number of shards
    /// are held).
    fn holder(&self, ours: Option<&Read>, elsewhere: bool) -> Holder {
        let holder = ours.map_or("", |read| &read.record.holder);
        let other_count = ours.is_some_and(|read| read.shards != self.client.form.shards);
        if holder == self.candidate.identity {
            Holder::Us
        } else if elsewhere || (other_count && !holder.is_empty()) {
            Holder::OtherShards
        } else if holder.is_empty() {
            Holder::Nobody
        } else {
            Holder::Another
        }
    }

    async fn attempt(&mut self) {
        let began = self.clock.uptime();
        let mut result = self.advance().await;
        if matches!(result, Err(Refusal(Answer::Conflict, _))) {
            // Somebody was quicker: what the Lease is now is worth a look at once.
            result = self.advance().await;
        }
        match result {
            Ok(()) => {
                self.conflicts = 0;
                self.observe.lease_answered(Answer::Ok, &self.client.form.name, "");
            }
            Err(refusal) => self.refused(&refusal, began),
        }
    }

    async fn advance(&mut self) -> Result<(), Refusal> {
        let leases = self.client.list().await?;
        let now = self.clock.uptime();
        let ours = leases.iter().find(|read| read.name == self.client.form.name);
        let mut step = self.term.step(ours.map(|read| &read.record), now);
        let others = self.others.look(&leases, &self.client.form.name, now);
        let renews = matches!(step, Step::Renew { .. });
        if !renews {
            self.ended(ours, step, &leases);
        }
        // A Lease that is ours though we hold nothing was written by a request that seemed to fail.
        let begins = !self.term.holds_lease();
        if begins {
            self.notes.read(ours);
        }
        self.notes.held_by(self.holder(ours, !others.is_empty()));
        if step == Step::Ask
            && let Some(read) = ours
        {
            let knock = knock::holder(read, self.client.patience).await;
            step = self.term.asked(&read.record, knock, self.clock.uptime());
        }
        let mut dead = Vec::new();
        if matches!(step, Step::Create | Step::Take) {
            match self.other_shards(others).await? {
                Ok(found) => dead = found,
                Err(words) => {
                    self.tell(Some(words));
                    return Ok(());
                }
            }
        }
        let contended = !matches!(step, Step::Renew { contended: false });
        let sent = self.clock.now();
        let identity = self.candidate.identity.clone();
        self.renewals += 1;
        let (unix, renewal) = (sent.unix, self.renewals);
        let note = self.notes.text((!begins).then(|| self.promise.term()));
        let claim = Claim { holder: &identity, contended, unix, renewal, note: &note };
        if matches!(step, Step::Create | Step::Take | Step::Renew { .. }) {
            self.notes.writes();
        }
        match (step, ours) {
            (Step::Create, _) => self.client.create(&claim).await?,
            (Step::Take | Step::Renew { .. }, Some(read)) => {
                self.client.replace(read, &claim).await?
            }
            (Step::Announce, Some(read)) => {
                return self.client.announce(&read.name, &identity).await;
            }
            _ => return Ok(()),
        }
        if !self.term.holds_lease() && !self.others_are_gone(&dead).await? {
            return Ok(());
        }
        self.notes.stands(note);
        let (until, begins) = self.term.wrote(contended, sent.uptime);
        if begins {
            self.promise.begin(until);
            self.observe.leads(&self.client.form.name);
            self.leader.clone_from(&self.candidate.identity);
        } else {
            self.promise.extend(until);
        }
        if std::mem::take(&mut self.lapsed) && !begins {
            self.observe.leads_again(&self.client.form.name);
        }
        self.tell(None);
        Ok(())
    }

    /// Of Leases for another number of shards those that are dead; or in words why we stand by.
    async fn other_shards(
        &self,
        mut held: Vec<(&Read, Step)>,
    ) -> Result<Result<Vec<Read>, String>, Refusal> {
        let asks = |step: &Step| *step == Step::Ask;
        // While another of them renews there is nothing to ask.
        if held.iter().all(|(_, step)| asks(step) || *step == Step::Take) {
            let patience = self.client.patience;
            let asked = held.iter_mut().filter(|(_, step)| asks(step));
            let knock = async |(read, step)| (read, step, knock::holder(read, patience).await);
            let answers = join_all(asked.map(|(read, step)| knock((*read, step)))).await;
            let now = self.clock.uptime();
            for (read, step, knock) in answers {
                *step = self.others.asked(read, knock, now);
            }
        }
        let unaware = held.iter().filter(|(_, step)| *step == Step::Announce);
        for (read, _) in unaware.take(ANNOUNCED) {
            self.client.announce(&read.name, &self.candidate.identity).await?;
        }
        let (dead, alive): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|(_, step)| *step == Step::Take);
        let alive: Vec<&Read> = alive.into_iter().map(|(read, _)| read).collect();
        Ok(match self.others.words(&alive) {
            Some(words) => Err(words),
            None => Ok(dead.into_iter().map(|(read, _)| read.clone()).collect()),
        })
    }

    /// Our Lease is written. Of two that took Leases of different numbers of shards at the same time one at
    /// least sees the other now, and gives back what it took. Those that were found dead are emptied as
    /// they were read, before we serve: a holder that renewed since then is not dead.
    async fn others_are_gone(&self, dead: &[Read]) -> Result<bool, Refusal> {
        let leases = self.client.list().await?;
        let held = self.others.held(&leases);
        let is_dead = |read: &&Read| {
            dead.iter().any(|dead| dead.name == read.name && dead.version == read.version)
        };
        if !held.iter().all(is_dead) {
            self.tell(self.others.words(&held));
            self.give_back(&leases, None).await;
            return Ok(false);
        }
        for read in held {
            if let Err(refusal) = self.client.retire(read).await {
                self.give_back(&leases, None).await;
                return Err(refusal);
            }
        }
        Ok(true)
    }

    /// An attempt that began at `began` did not do what it was to do.
    fn refused(&mut self, Refusal(answer, words): &Refusal, began: f64) {
        let (answer, lease) = (*answer, self.client.form.name.clone());
        self.conflicts = if answer == Answer::Conflict { self.conflicts + 1 } else { 0 };
        let told = self.trouble(answer, words);
        let quiet = answer == Answer::Conflict && self.conflicts < CONFLICTS_TOLD;
        self.observe.lease_answered(answer, &lease, if quiet { "" } else { &told });
        let now = self.clock.uptime();
        let alone =
            if answer == Answer::Conflict { None } else { self.term.unanswered(began, now) };
        if alone.is_some_and(|until| self.promise.prolong(until, now)) {
            self.tell(Some(format!("{told}; no other process is known, this one serves on")));
            return;
        }
        let holds = self.promise.holds(self.promise.term(), self.clock.uptime());
        if self.term.holds_lease() && !holds {
            let ended = format!("{told}; no data is served from now on, until that succeeds");
            if !std::mem::replace(&mut self.lapsed, true) {
                self.observe.promise_ended(&lease, &ended);
            }
            self.tell(Some(ended));
        } else if !quiet {
            self.tell(Some(told));
        }
    }

    /// The Lease is another's: whatever we served, we do so no more.
    fn ended(&mut self, ours: Option<&Read>, step: Step, leases: &[Read]) {
        let holder = ours.map_or("", |read| &read.record.holder);
        // One whose Lease is taken at once is gone.
        let leads = !holder.is_empty() && step != Step::Take;
        self.lapsed = false;
        if self.leader == self.candidate.identity {
            self.promise.end();
            self.observe.leads_no_more(&self.client.form.name, holder);
        } else if self.leader != holder && leads {
            self.observe.follows(&self.client.form.name, holder);
        }
        if self.leader != holder {
            self.leader = holder.to_owned();
        }
        let same = ours.is_none_or(|read| read.shards == self.client.form.shards);
        if !same {
            self.tell(self.others.words(&self.others.held(leases)));
        } else if leads {
            self.tell(Some(format!("stands by: {holder} serves the data")));
        }
    }

    /// `note`: what it is to say of the mirror; what it says already where that is not given.
    async fn give_back(&self, leases: &[Read], note: Option<&str>) {
        let ours = leases.iter().find(|read| read.name == self.client.form.name);
        let Some(read) = ours.filter(|read| read.record.holder == self.candidate.identity) else {
            return;
        };
        let unix = self.clock.now().unix;
        let note = note.unwrap_or(&read.note);
        let claim = Claim { holder: "", contended: true, unix, renewal: 0, note };
        // Where it fails the Lease ends by itself.
        drop(self.client.replace(read, &claim).await);
    }

    async fn release(self) {
        self.promise.end();
        if self.term.holds_lease()
            && let Ok(leases) = self.client.list().await
        {
            let note = self.notes.text(Some(self.promise.term()));
            self.give_back(&leases, Some(&note)).await;
        }
    }

    fn trouble(&self, answer: Answer, words: &str) -> String {
        let namespace = self.client.api.namespace().unwrap_or_default();
        let lease = &self.client.form.name;
        match answer {
            Answer::Forbidden => format!(
                "the right is missing to get, list, create, update, patch on leases.coordination.k8s.io in namespace {namespace} (Role), or see --lead.election: {words}"
            ),
            Answer::NotFound => format!(
                "there is no namespace {namespace} for the Lease {lease}; see --lead.namespace: {words}"
            ),
            Answer::Conflict => format!(
                "the Lease {lease} in namespace {namespace} is changed by somebody else whenever it is to be written; see --lead.name: {words}"
            ),
            _ => format!(
                "the Lease {lease} in namespace {namespace} cannot be read or written: {words}"
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

#[cfg(test)]
#[path = "lead/run_tests.rs"]
mod tests;
