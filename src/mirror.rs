//! What the CloudWatch mirror is made of and what it tells: points, outlets, why something was not sent.
//! Plain data, shared by the stage that ships, its observers and the server. Never: a clock, a request.

use std::borrow::Cow;
use std::sync::Arc;

/// A unit as CloudWatch spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things that are counted.
    Count,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Shares of a hundred.
    Percent,
    /// Bytes.
    Bytes,
    /// Shares of one, and whatever has no unit.
    None,
}

impl Unit {
    /// CloudWatch's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "Count",
            Unit::Seconds => "Seconds",
            Unit::Milliseconds => "Milliseconds",
            Unit::Percent => "Percent",
            Unit::Bytes => "Bytes",
            Unit::None => "None",
        }
    }
}

/// How often each value occurs: sorted by value, each value once, both of one length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distribution {
    /// The distinct values.
    pub values: Box<[f64]>,
    /// How often each of them occurs; at least 1.
    pub counts: Box<[u32]>,
}

/// What a point says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One plain value.
    Number(f64),
    /// The values of many nodes.
    Distribution(Distribution),
}

/// One metric of one interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The metric's name.
    pub name: Cow<'static, str>,
    /// Its unit.
    pub unit: Unit,
    /// Its value.
    pub value: Value,
}

/// Points with the same dimensions. The cluster's own dimension is not among them: it is the same for
/// all, and known only when they are sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// Name and value of each further dimension, sorted by name.
    pub dimensions: Box<[(Cow<'static, str>, Arc<str>)]>,
    /// Each name once.
    pub points: Vec<Point>,
}

/// What happened from `start` on, for the length of an interval.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Interval {
    /// Seconds since 1970, a multiple of the interval's length: the timestamp of all its points.
    pub start: i64,
    /// Each set of dimensions once.
    pub groups: Vec<Group>,
}

impl Interval {
    /// How many points there are.
    pub fn points(&self) -> usize {
        self.groups.iter().map(|group| group.points.len()).sum()
    }
}

/// Where points go. The closed set behind the label `outlet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sink {
    /// CloudWatch's PutMetricData.
    Put,
    /// Embedded Metric Format on standard output.
    Stdout,
    /// Embedded Metric Format to a CloudWatch agent.
    Agent,
    /// Embedded Metric Format to CloudWatch Logs.
    Logs,
}

impl Sink {
    /// All of them.
    pub const ALL: [Sink; 4] = [Sink::Put, Sink::Stdout, Sink::Agent, Sink::Logs];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Sink::Put => "put",
            Sink::Stdout => "stdout",
            Sink::Agent => "agent",
            Sink::Logs => "logs",
        }
    }
}

/// Why a point was not sent, for good. The closed set behind the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drop {
    /// NaN, an infinity, or beyond ±2^360, which CloudWatch refuses.
    Value,
    /// A metric's name that CloudWatch refuses.
    Name,
    /// A dimension that CloudWatch refuses, or one too many.
    Dimension,
    /// Its name is that of a dimension, too, or of another point of its event.
    Collision,
    /// It fits into no event or request.
    TooLarge,
    /// It is over `--mirror.max-billed-metrics`.
    Cap,
    /// The queue was full, and this was the oldest.
    QueueFull,
    /// CloudWatch takes nothing so old.
    TooOld,
    /// CloudWatch refused it.
    Rejected,
}

impl Drop {
    /// All of them.
    pub const ALL: [Drop; 9] = [
        Drop::Value,
        Drop::Name,
        Drop::Dimension,
        Drop::Collision,
        Drop::TooLarge,
        Drop::Cap,
        Drop::QueueFull,
        Drop::TooOld,
        Drop::Rejected,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Drop::Value => "value",
            Drop::Name => "name",
            Drop::Dimension => "dimension",
            Drop::Collision => "collision",
            Drop::TooLarge => "too_large",
            Drop::Cap => "cap",
            Drop::QueueFull => "queue_full",
            Drop::TooOld => "too_old",
            Drop::Rejected => "rejected",
        }
    }
}

/// What became of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Accepted, or written where nobody acknowledges.
    pub sent: u64,
    /// Sent, and never answered: they may have arrived, and are not sent again.
    pub unconfirmed: u64,
    /// Not sent, by reason, in the order of [`Drop::ALL`].
    pub dropped: [u64; Drop::ALL.len()],
}

impl Tally {
    /// Counts points that are not sent.
    pub fn drop(&mut self, reason: Drop, points: u64) {
        self.dropped[reason as usize] += points;
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.unconfirmed += other.unconfirmed;
        for (ours, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *ours += theirs;
        }
    }
}

/// Why an outlet cannot send now; it tries again. The closed set behind the label `reason` of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// The cluster's name is not known: `--cluster.name`.
    Identity,
    /// No credentials, or none that are accepted.
    Credentials,
    /// No region.
    Region,
    /// A right is missing.
    Forbidden,
    /// Too many requests.
    Throttled,
    /// The other side failed.
    Server,
    /// Nobody answers.
    Unreachable,
    /// What was asked for cannot be: a log group that there is not, a value that is refused as a whole.
    Refused,
    /// Nobody holds the Lease, or it cannot be noted there what is begun.
    Lease,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Trouble; 9] = [
        Trouble::Identity,
        Trouble::Credentials,
        Trouble::Region,
        Trouble::Forbidden,
        Trouble::Throttled,
        Trouble::Server,
        Trouble::Unreachable,
        Trouble::Refused,
        Trouble::Lease,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Trouble::Identity => "identity",
            Trouble::Credentials => "credentials",
            Trouble::Region => "region",
            Trouble::Forbidden => "forbidden",
            Trouble::Throttled => "throttled",
            Trouble::Server => "server",
            Trouble::Unreachable => "unreachable",
            Trouble::Refused => "refused",
            Trouble::Lease => "lease",
        }
    }
}

/// How an outlet stands. The closed set behind the label `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It was not asked for.
    #[default]
    Off,
    /// There was nothing to send yet.
    Waiting,
    /// It sends.
    Leading,
    /// Another process sends; what it has not sent is kept.
    Following,
    /// It would send, but cannot; it tries again.
    Refused,
}

impl State {
    /// All of them.
    pub const ALL: [State; 5] =
        [State::Off, State::Waiting, State::Leading, State::Following, State::Refused];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Off => "off",
            State::Waiting => "waiting",
            State::Leading => "leading",
            State::Following => "following",
            State::Refused => "refused",
        }
    }
}

/// How an outlet stands, whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// See [`State`].
    pub state: State,
    /// Why, in words, where it is refused.
    pub reason: Option<(Trouble, String)>,
    /// What became of points so far.
    pub tally: Tally,
    /// Intervals that wait.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Seconds since 1970 at which the oldest of them began.
    pub oldest: Option<i64>,
    /// Seconds since 1970 at which something was sent last.
    pub last_success: Option<f64>,
}

/// What is to stand in the Lease for whoever holds it next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// The term of whoever says so: in another one it is not true any more.
    pub term: u64,
    /// How far each outlet has come.
    pub text: String,
}

/// What does stand there, as [`crate::lead`] passes it on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Noted {
    /// The note that this process wrote last.
    pub written: String,
    /// The note that stood there when this process last did not lead: its predecessor's.
    pub read: String,
    /// False while a write is under way of which it is not known whether it reached the Lease.
    pub is_sure: bool,
    /// Whose the Lease is, as it was read last.
    pub holder: Holder,
}

/// Who holds the Lease of this process's shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holder {
    /// Nobody, or it is not known.
    #[default]
    Nobody,
    /// This process.
    Us,
    /// Another process for the same shard.
    Another,
    /// Processes of another number of shards, which have our nodes among theirs.
    OtherShards,
}

impl Holder {
    /// Whether other processes send what we would.
    pub fn is_another(self) -> bool {
        matches!(self, Holder::Another | Holder::OtherShards)
    }
}
