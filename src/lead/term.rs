//! Who may serve, decided. Comes in: the Lease as it was read, our own uptime, what the holder says when
//! it is asked. Goes out: the next step, and until when a holder may serve. Never: a wall clock, a
//! request, two that may serve at once.
//!
//! A holder serves for [`SERVED_SHARE`] of the duration, counted from before its last good renewal was
//! sent. A follower takes over once it has seen the same record for a whole duration, counted from when
//! it first saw it: later than the holder's count began, and for longer. Both clocks are monotonic ones.
//!
//! A holder that nobody competes with goes on while the API server does not answer. So that nobody
//! takes its Lease meanwhile, the record says whether it knew of a competitor when it wrote it: only
//! then may one take over without asking it. It goes on while its promise holds, and never afterwards:
//! whoever asked it in between heard that it does not serve.

/// Of the duration, for how much a holder serves after a renewal.
const SERVED_SHARE: f64 = 2.0 / 3.0;

/// Renewals without a competitor after which a holder knows itself alone.
const CALM_RENEWALS: u32 = 3;

/// Durations after which a holder that never knew of us and cannot be asked counts as dead.
const SILENT_DURATIONS: f64 = 4.0;

/// A Lease as it was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    /// Empty when it was released.
    pub(super) holder: String,
    /// What changes with every renewal.
    pub(super) renewed: String,
    /// Seconds.
    pub(super) duration: f64,
    /// A competitor has announced itself since the last renewal.
    pub(super) contender: bool,
    /// The holder knew of a competitor when it renewed.
    pub(super) contended: bool,
}

/// What the holder answered when it was asked directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knock {
    /// It serves data.
    Serves,
    /// It does not.
    Idle,
    /// No answer, or nobody knows where to ask. Nobody listening there is none: a firewall says so, too.
    Silent,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is no Lease.
    Create,
    /// It is ours.
    Renew {
        /// To be written: whether we know of a competitor.
        contended: bool,
    },
    /// It is nobody's any more.
    Take,
    /// It is another's, who shall know of us.
    Announce,
    /// It seems to be nobody's any more, but the holder never knew of us.
    Ask,
    /// It is another's.
    Wait,
}

/// Another's Lease, watched until it is nobody's any more.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The record as it last changed: holder, renewal, and our uptime when we first saw it.
    seen: Option<(String, String, f64)>,
}

impl Watch {
    /// What the record allows at `now`; `duration` is our own.
    pub(super) fn look(&mut self, record: &Record, duration: f64, now: f64) -> Step {
        let known = self.seen.as_ref();
        let same = known
            .filter(|(holder, renewed, _)| *holder == record.holder && *renewed == record.renewed);
        let since = match same {
            Some((_, _, since)) => *since,
            None => {
                self.seen = Some((record.holder.clone(), record.renewed.clone(), now));
                now
            }
        };
        let whole = record.duration.max(duration);
        if record.holder.is_empty() || (record.contended && now - since >= whole) {
            Step::Take
        } else if now - since >= whole {
            Step::Ask
        } else if record.contender {
            Step::Wait
        } else {
            Step::Announce
        }
    }

    /// What to do after [`Step::Ask`], at `now`.
    pub(super) fn asked(&self, record: &Record, duration: f64, knock: Knock, now: f64) -> Step {
        let whole = record.duration.max(duration);
        let unchanged = self.seen.as_ref().map_or(0.0, |(_, _, since)| now - since);
        match knock {
            Knock::Idle => Step::Take,
            Knock::Silent if unchanged >= whole * SILENT_DURATIONS => Step::Take,
            Knock::Serves | Knock::Silent if record.contender => Step::Wait,
            Knock::Serves | Knock::Silent => Step::Announce,
        }
    }
}

/// One process's part in the election.
#[derive(Debug)]
pub(super) struct Term {
    me: String,
    /// What the identities of earlier containers of this very pod begin with.
    pod: Option<String>,
    duration: f64,
    /// Of our Lease, while it is another's.
    watch: Watch,
    /// Until when we may serve; `None` while we hold nothing.
    until: Option<f64>,
    /// Whether our last renewal said that there is a competitor.
    contended: bool,
    /// Renewals since a competitor was last heard of.
    calm: u32,
    /// Our uptime when we first found no Lease.
    gone: Option<f64>,
}

impl Term {
    pub(super) fn new(me: String, pod: Option<String>, duration: f64) -> Term {
        let watch = Watch::default();
        Term { me, pod, duration, watch, until: None, contended: true, calm: 0, gone: None }
    }

    /// What to do about the Lease as it was read at `now`.
    pub(super) fn step(&mut self, record: Option<&Record>, now: f64) -> Step {
        let Some(record) = record else {
            let was_ours = self.until.is_some();
            self.lost();
            // Somebody took it away: its holder serves until it notices.
            let gone = *self.gone.get_or_insert(now);
            let never = self.watch.seen.is_none();
            let noticed = was_ours || never || now - gone >= self.duration;
            return if noticed { Step::Create } else { Step::Wait };
        };
        if record.holder == self.me {
            self.calm = if record.contender { 0 } else { self.calm.saturating_add(1) };
            let contended = self.calm < CALM_RENEWALS;
            // From before it is written: the answer may be lost, and the competitor counts on it.
            self.contended |= contended;
            return Step::Renew { contended };
        }
        self.lost();
        self.gone = None;
        if self.pod.as_ref().is_some_and(|pod| record.holder.starts_with(pod)) {
            // It had ended before this container began.
            return Step::Take;
        }
        self.watch.look(record, self.duration, now)
    }

    /// What to do after [`Step::Ask`], at `now`.
    pub(super) fn asked(&self, record: &Record, knock: Knock, now: f64) -> Step {
        self.watch.asked(record, self.duration, knock, now)
    }

    /// A write that makes the Lease ours, or keeps it so, was carried out; it was sent at `sent`.
    /// Answers with the end of the promise, and whether a new term begins.
    pub(super) fn wrote(&mut self, contended: bool, sent: f64) -> (f64, bool) {
        let begins = self.until.is_none();
        if begins {
            self.calm = 0;
            self.gone = None;
        }
        self.contended = contended;
        let until = sent + self.duration * SERVED_SHARE;
        self.until = Some(until);
        (until, begins)
    }

    /// An attempt that began at `began` got no answer until `now`. One that is alone goes on, as long as
    /// its promise holds: whoever was paused for longer cannot know what happened meanwhile.
    pub(super) fn unanswered(&mut self, began: f64, now: f64) -> Option<f64> {
        let until = self.until.as_mut()?;
        if !self.contended && now < *until {
            *until = until.max(began + self.duration * SERVED_SHARE);
            return Some(*until);
        }
        None
    }

    /// Whether the last thing known is that the Lease is ours.
    pub(super) fn holds_lease(&self) -> bool {
        self.until.is_some()
    }

    /// The Lease is not ours, or no more.
    fn lost(&mut self) {
        self.until = None;
        self.contended = true;
    }
}

#[cfg(test)]
#[path = "term_tests.rs"]
mod tests;
