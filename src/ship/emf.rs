//! Intervals become Embedded Metric Format, one JSON object a line. Comes in: the points of an interval.
//! Goes out: whole events appended to a buffer of the caller's, and what became of each point. Never:
//! half an event, a member twice in one, an event over a limit of CloudWatch's or of the caller's, a
//! number that JSON does not know, an allocation for each point.

use super::{distribution, limits};
use crate::mirror::{Drop, Group, Interval, Point, Tally, Value};
use crate::number;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Bytes of an event that CloudWatch Logs takes: 1 MiB, of which it counts 26 for itself.
pub const EVENT_BYTES: usize = 1_048_576 - 26;

/// Bytes of an event on standard output: 15 KiB. A container runtime cuts a longer line in parts, and a
/// part is no JSON: containerd after 16,384 bytes without the end of the line
/// (`max_container_log_line_size`; EKS's images leave that default), Docker after 16 KiB
/// (`daemon/logger/copier.go`). The rest is for what collectors put around a line. CRI-O reads 8 KiB at
/// a time and cuts whatever line such a read ends in (conmon, `STDIO_BUF_SIZE`): no size helps, the
/// collector has to join its parts.
pub const STDOUT_EVENT_BYTES: usize = 15 * 1024;

/// What all events have in common.
#[derive(Debug, Clone)]
pub struct Heading {
    /// CloudWatch's namespace.
    pub namespace: String,
    /// Name and value of the cluster's dimension.
    pub cluster: (String, String),
    /// The log group that the agent puts the events into.
    pub log_group: String,
    /// The log stream, where it is not left to the agent.
    pub log_stream: Option<String>,
    /// Bytes that an event may have, without its newline; never more than [`EVENT_BYTES`].
    pub max_event_bytes: usize,
}

/// Writes events.
#[derive(Debug)]
pub struct Writer {
    /// The name of the cluster's dimension.
    cluster: String,
    /// What all events have, from behind the timestamp to the first dimension's name.
    head: Vec<u8>,
    /// The cluster's dimension as a root member.
    member: Vec<u8>,
    most: usize,
    group: Event,
    /// The names that the group has used, by their points.
    names: HashTable<usize>,
    hasher: RandomState,
}

impl Writer {
    /// Encodes what stays the same. The namespace is the caller's to check.
    pub fn new(heading: &Heading) -> Writer {
        let mut head = b",\"LogGroupName\":".to_vec();
        string(&heading.log_group, &mut head);
        if let Some(stream) = &heading.log_stream {
            head.extend_from_slice(b",\"LogStreamName\":");
            string(stream, &mut head);
        }
        head.extend_from_slice(b",\"CloudWatchMetrics\":[{\"Namespace\":");
        string(&heading.namespace, &mut head);
        head.extend_from_slice(b",\"Dimensions\":[[");
        let (name, value) = &heading.cluster;
        string(name, &mut head);
        let mut member = Vec::new();
        string(name, &mut member);
        member.push(b':');
        string(&limits::dimension(value), &mut member);
        Writer {
            cluster: name.clone(),
            head,
            member,
            most: heading.max_event_bytes.min(EVENT_BYTES),
            group: Event::default(),
            names: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// Appends the events of an interval, a newline behind each.
    pub fn write(&mut self, interval: &Interval, out: &mut Vec<u8>) -> Tally {
        let mut tally = Tally::default();
        for group in &interval.groups {
            if self.has_fit_dimensions(group) {
                self.prepare(interval.start, group);
                self.points(group, out, &mut tally);
            } else {
                tally.drop(Drop::Dimension, group.points.len() as u64);
            }
        }
        tally
    }

    /// The names of a group's dimensions and the cluster's: few, allowed, each once.
    fn has_fit_dimensions(&self, group: &Group) -> bool {
        let others = || group.dimensions.iter().map(|(name, _)| &**name);
        let names = || std::iter::once(&*self.cluster).chain(others());
        let fit = |(index, name)| {
            limits::name(name).is_ok() && name != ROOT && !names().take(index).any(|n| n == name)
        };
        group.dimensions.len() < limits::DIMENSIONS && names().enumerate().all(fit)
    }

    /// Encodes what the events of a group have in common.
    fn prepare(&mut self, start: i64, group: &Group) {
        let Event { opening, middle, .. } = &mut self.group;
        opening.clear();
        opening.extend_from_slice(b"{\"_aws\":{\"Timestamp\":");
        number::write_i128(opening, i128::from(start) * 1000);
        opening.extend_from_slice(&self.head);
        middle.clear();
        middle.extend_from_slice(b"]}]},");
        middle.extend_from_slice(&self.member);
        for (name, value) in &group.dimensions {
            opening.push(b',');
            string(name, opening);
            middle.push(b',');
            string(name, middle);
            middle.push(b':');
            string(&limits::dimension(value), middle);
        }
        opening.extend_from_slice(b"]],\"Metrics\":[");
        self.names.clear();
    }

    fn points(&mut self, group: &Group, out: &mut Vec<u8>, tally: &mut Tally) {
        for (index, point) in group.points.iter().enumerate() {
            if let Err(reason) = self.admit(group, index, point) {
                tally.drop(reason, 1);
                continue;
            }
            let mut added = self.group.add(point, self.most, out);
            if !added && self.group.points > 0 {
                self.group.end(out);
                added = self.group.add(point, self.most, out);
            }
            if added {
                tally.sent += 1;
            } else {
                tally.drop(Drop::TooLarge, 1);
            }
            if self.group.points == limits::EMF_METRICS {
                self.group.end(out);
            }
        }
        self.group.end(out);
    }

    /// Whether a point may leave; from then on its name is taken.
    fn admit(&mut self, group: &Group, index: usize, point: &Point) -> Result<(), Drop> {
        let name = limits::name(&point.name)?;
        match &point.value {
            Value::Number(value) => limits::number(*value).map(|_| ())?,
            Value::Distribution(values) => distribution::check(values)?,
        }
        let of_dimension = group.dimensions.iter().any(|(dimension, _)| dimension == name);
        let name_at = |at: &usize| group.points.get(*at).map_or("", |point| &*point.name);
        let hash = self.hasher.hash_one(name);
        let taken = self.names.find(hash, |at| name_at(at) == name).is_some();
        if taken || of_dimension || name == self.cluster || name == ROOT {
            return Err(Drop::Collision);
        }
        self.names.insert_unique(hash, index, |at| self.hasher.hash_one(name_at(at)));
        Ok(())
    }
}

/// The root member that holds everything but targets.
const ROOT: &str = "_aws";

/// The event that is being written, and what it shares with the others of its group.
#[derive(Debug, Default)]
struct Event {
    /// From the beginning to the first metric's definition.
    opening: Vec<u8>,
    /// From the end of the last definition to the last dimension's value.
    middle: Vec<u8>,
    /// The root members of its points.
    targets: Vec<u8>,
    /// How many points it has; without any it has not begun.
    points: usize,
    /// Where it begins in the caller's buffer.
    begin: usize,
    /// A distribution that had too many values.
    fitted: distribution::Fitted,
}

impl Event {
    /// Adds a point, or begins with it. False, and all is as before, where the event would be too long.
    fn add(&mut self, point: &Point, most: usize, out: &mut Vec<u8>) -> bool {
        let (before, targets_before) = (out.len(), self.targets.len());
        if self.points == 0 {
            self.begin = before;
            out.extend_from_slice(&self.opening);
        } else {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"Name\":");
        let name = out.len();
        string(&point.name, out);
        self.targets.push(b',');
        self.targets.extend_from_slice(&out[name..]);
        self.targets.push(b':');
        self.target(&point.value);
        out.extend_from_slice(b",\"Unit\":\"");
        out.extend_from_slice(point.unit.as_str().as_bytes());
        out.extend_from_slice(b"\",\"StorageResolution\":60}");
        let rest = self.middle.len() + self.targets.len() + CLOSING.len();
        if out.len() - self.begin + rest > most {
            out.truncate(before);
            self.targets.truncate(targets_before);
            return false;
        }
        self.points += 1;
        true
    }

    fn target(&mut self, value: &Value) {
        let out = &mut self.targets;
        let values = match value {
            Value::Number(value) => return number::write(out, *value),
            Value::Distribution(values) => values,
        };
        let (values, counts): (&[f64], &[u32]) = if values.values.len() <= limits::EMF_VALUES {
            (&values.values, &values.counts)
        } else {
            self.fitted.fit(values, limits::EMF_VALUES);
            (&self.fitted.values, &self.fitted.counts)
        };
        out.extend_from_slice(b"{\"Values\":[");
        list(values, out, |out, value| number::write(out, *value));
        out.extend_from_slice(b"],\"Counts\":[");
        list(counts, out, |out, count| number::write(out, f64::from(*count)));
        out.extend_from_slice(b"]}");
    }

    /// Completes the event, if it has begun.
    fn end(&mut self, out: &mut Vec<u8>) {
        if self.points > 0 {
            out.extend_from_slice(&self.middle);
            out.extend_from_slice(&self.targets);
            out.extend_from_slice(CLOSING);
            out.push(b'\n');
            self.targets.clear();
            self.points = 0;
        }
    }
}

const CLOSING: &[u8] = b"}";

/// Writes each item, with commas between them.
fn list<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

/// Appends a JSON string. What is not ASCII stays as it is.
fn string(text: &str, out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..=0x1f);
    let mut rest = text.as_bytes();
    out.push(b'"');
    while let Some(at) = rest.iter().position(special) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            control => {
                let digit = |value: u8| HEX[usize::from(value & 15)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(control >> 4), digit(control)]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
#[path = "emf/tests.rs"]
pub(super) mod tests;
