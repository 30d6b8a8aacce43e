//! What happens to the fleet: episodes that begin and end by the story's clock. Comes in: the passing
//! of story time, and a seed. Goes out: changes to nodes, and a sentence for people about each. Never:
//! real time (a restarted process is given its moment), a socket, anything that depends on who scrapes.

use super::counters::Fault;
use super::node::{Age, Behaviour, Ec2, NODEGROUPS, Node, ZONES};
use super::release::RELEASES;
use super::rng::Rng;
use super::world::{Change, Nodes};
use std::fmt;
use std::sync::Arc;

/// The story's clock ticks in seconds.
pub(super) const TICK: u64 = 10;
/// Story minute at which a fleet begins: an ordinary morning.
pub(super) const MORNING: u64 = 7 * 60;
/// Episodes an hour for small fleets; one more for every `NODES_PER_EPISODE` nodes.
const EPISODES: u64 = 12;
const NODES_PER_EPISODE: u64 = 25;
/// However large the fleet: the sentences are to be read.
const MOST_EPISODES: u64 = 240;
/// The fleet stays within this share of its first size, in 1/100.
const DRIFT: u64 = 10;
/// Seconds between two nodes of a rolling upgrade.
const ROLLING: u64 = 20;
/// Seconds by which a clock is stepped at most.
const LARGEST_STEP: u64 = 3600;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoryEvent {
    /// Story seconds since the fleet began.
    pub at: u64,
    /// A sentence for people.
    pub sentence: String,
}

impl fmt::Display for StoryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, hour, minute) = self.time_of_day();
        write!(f, "day {day} {hour:02}:{minute:02}  {}", self.sentence)
    }
}

impl StoryEvent {
    /// Day (from 1), hour and minute by the story's clock.
    pub fn time_of_day(&self) -> (u64, u64, u64) {
        let minute = MORNING + self.at / 60;
        (minute / 1440 + 1, minute / 60 % 24, minute % 60)
    }
}

/// What an episode turns back when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Behaviour,
    Ec2,
    Crowd,
    Reboot,
    Absence,
}

#[derive(Debug)]
struct Pending {
    at: u64,
    slot: usize,
    node: Arc<str>,
    ending: Ending,
}

/// What may happen, with its weight.
const EPISODE_WEIGHTS: &[(Episode, u64)] = &[
    (Episode::Join, 10),
    (Episode::Leave, 10),
    (Episode::Restart, 8),
    (Episode::Reboot, 6),
    (Episode::Upgrade, 3),
    (Episode::Crowd, 8),
    (Episode::Ec2(Fault::SubnetFull), 5),
    (Episode::Ec2(Fault::Throttled), 5),
    (Episode::Ec2(Fault::Denied), 4),
    (Episode::Answer(Behaviour::Timeout), 6),
    (Episode::Answer(Behaviour::Slow), 2),
    (Episode::Answer(Behaviour::Refuse), 4),
    (Episode::Answer(Behaviour::Truncate), 5),
    (Episode::Answer(Behaviour::Garbage), 4),
    (Episode::Answer(Behaviour::Http503), 4),
    (Episode::Answer(Behaviour::Nan), 6),
    (Episode::ClockStep, 4),
    (Episode::Absence, 3),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Episode {
    Join,
    Leave,
    Restart,
    Reboot,
    Upgrade,
    Crowd,
    Ec2(Fault),
    Answer(Behaviour),
    ClockStep,
    Absence,
}

/// The story of one fleet.
#[derive(Debug)]
pub(super) struct Story {
    rng: Rng,
    first_size: u64,
    /// Story seconds since the beginning.
    pub(super) seconds: u64,
    pending: Vec<Pending>,
    rollout: Option<Rollout>,
}

#[derive(Debug)]
struct Rollout {
    to: usize,
    next: usize,
}

impl Story {
    /// The story of a seed.
    pub(super) fn new(seed: u64, first_size: usize) -> Story {
        /// A stream of its own, apart from every node's.
        const STREAM: u64 = u64::MAX;
        Story {
            rng: Rng::stream(seed, STREAM),
            first_size: first_size as u64,
            seconds: 0,
            pending: Vec::new(),
            rollout: None,
        }
    }

    /// The minute of the day's load.
    pub(super) fn minute(&self) -> u64 {
        MORNING + self.seconds / 60
    }

    /// One tick of misfortune, the clock having moved already.
    pub(super) fn tick(&mut self, nodes: &mut Nodes<'_>, now: f64, change: &mut Change) {
        self.end_episodes(nodes, now, change);
        self.roll_on(nodes, now, change);
        let an_hour = (EPISODES + self.first_size / NODES_PER_EPISODE).min(MOST_EPISODES);
        let chance_of = 3600 / TICK;
        // Up to MOST_EPISODES an hour stays below one a tick.
        if self.rng.below(chance_of) < an_hour {
            self.begin(nodes, now, change);
        }
    }

    fn begin(&mut self, nodes: &mut Nodes<'_>, now: f64, change: &mut Change) {
        let total: u64 = EPISODE_WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.below(total);
        let mut chosen = Episode::Join;
        for (episode, weight) in EPISODE_WEIGHTS {
            if at < *weight {
                chosen = *episode;
                break;
            }
            at -= weight;
        }
        match chosen {
            Episode::Join => self.join(nodes, now, change),
            Episode::Upgrade => self.upgrade(change),
            Episode::Ec2(fault) => self.ec2(fault, nodes, change),
            other => self.of_one(other, nodes, now, change),
        }
    }

    fn join(&mut self, nodes: &mut Nodes<'_>, now: f64, change: &mut Change) {
        let old = self.rng.per_mille(400);
        if nodes.count() > self.first_size * (100 + DRIFT) / 100 {
            return;
        }
        let age = if old { Age::Old } else { Age::Young };
        let minute = self.minute();
        let joined = nodes.join(age, minute, now);
        if let Some((slot, name)) = joined {
            let with = if old { " with days behind it" } else { "" };
            change.say(self.seconds, format!("node {name} joined{with}"));
            change.touch(slot);
        }
    }

    fn upgrade(&mut self, change: &mut Change) {
        if self.rollout.is_some() {
            return;
        }
        let to = RELEASES.len() - 1 - self.rng.index(3);
        self.rollout = Some(Rollout { to, next: 0 });
        let version = RELEASES[to].version;
        change.say(self.seconds, format!("rolling upgrade of older nodes to CNI {version} began"));
    }

    fn roll_on(&mut self, nodes: &mut Nodes<'_>, now: f64, change: &mut Change) {
        if !self.seconds.is_multiple_of(ROLLING) {
            return;
        }
        let Some(rollout) = &mut self.rollout else { return };
        let release = &RELEASES[rollout.to];
        // A rollout of a large fleet takes as long as one of 200 nodes.
        let at_once = self.first_size / 200 + 1;
        for _ in 0..at_once {
            let from = rollout.next;
            let behind = |node: &Node| {
                !node.down && RELEASES.iter().position(|r| r == node.release) < Some(rollout.to)
            };
            let Some(slot) = (from..nodes.slots()).find(|s| nodes.get(*s).is_some_and(behind))
            else {
                change.say(self.seconds, format!("rolling upgrade to {} ended", release.version));
                self.rollout = None;
                return;
            };
            if let Some(node) = nodes.get_mut(slot) {
                node.upgrade(release, now);
            }
            change.touch(slot);
            rollout.next = slot + 1;
        }
    }

    fn ec2(&mut self, fault: Fault, nodes: &mut Nodes<'_>, change: &mut Change) {
        let zone = *self.rng.pick(ZONES);
        let group = *self.rng.pick(NODEGROUPS);
        let until = self.seconds + self.rng.between(15 * 60, 90 * 60);
        // A subnet and a role meet a part of the fleet, throttling any node.
        let share = self.rng.between(30, 300);
        let mut met = 0;
        for slot in 0..nodes.slots() {
            let lot = self.rng.per_mille(share);
            let Some(node) = nodes.get_mut(slot) else { continue };
            let meets = match fault {
                Fault::SubnetFull => node.zone == zone && lot,
                Fault::Denied => node.nodegroup == group && lot,
                _ => lot,
            };
            if meets && node.ec2 == Ec2::Fine {
                node.ec2 = Ec2::Refuses(fault);
                // Demand meets the dearth, else nobody would see it.
                node.crowded |= lot && met % 3 == 0;
                met += 1;
                let name = node.name.clone();
                self.pending.push(Pending { at: until, slot, node: name, ending: Ending::Ec2 });
            }
        }
        let sentence = match fault {
            Fault::SubnetFull => {
                format!("subnet exhausted in {zone}: {met} nodes get no addresses")
            }
            Fault::Denied => {
                format!("role of nodegroup {group} lost its rights: EC2 denies {met} nodes")
            }
            _ => format!("EC2 throttles {met} nodes"),
        };
        if met > 0 {
            change.say(self.seconds, sentence);
        }
    }

    fn of_one(&mut self, what: Episode, nodes: &mut Nodes<'_>, now: f64, change: &mut Change) {
        let length = self.rng.between(5 * 60, 60 * 60);
        let step = self.rng.between(1, LARGEST_STEP) as f64;
        let back = self.rng.per_mille(500);
        let Some(slot) = self.pick(nodes) else { return };
        let few = nodes.count() <= self.first_size * (100 - DRIFT) / 100;
        let Some(node) = nodes.get_mut(slot) else { return };
        let name = node.name.clone();
        let (ending, sentence) = match what {
            Episode::Leave if few => return,
            Episode::Leave => {
                nodes.remove(slot);
                change.say(self.seconds, format!("node {name} left"));
                return change.touch(slot);
            }
            Episode::Restart => {
                node.restart(now);
                change.touch(slot);
                return change.say(self.seconds, format!("ipamd of {name} restarted"));
            }
            Episode::ClockStep => {
                // A young process whose start wobbles cannot be told from a new one by anybody.
                if node.process.number > 1 || now - node.process.start < 3600.0 {
                    return;
                }
                let step = if back { -step } else { step };
                node.clock_offset += step;
                node.version += 1;
                return change.say(self.seconds, format!("clock of {name} stepped by {step} s"));
            }
            Episode::Reboot => {
                node.down = true;
                (Ending::Reboot, format!("node {name} reboots"))
            }
            Episode::Crowd => {
                node.crowded = true;
                (Ending::Crowd, format!("more pods are sent to {name} than it can take"))
            }
            Episode::Absence => {
                node.listed = false;
                (Ending::Absence, format!("node {name} dropped out of the targets, and lives on"))
            }
            Episode::Answer(behaviour) => {
                node.behave(behaviour);
                (Ending::Behaviour, format!("node {name} {}", verb(behaviour)))
            }
            Episode::Join | Episode::Upgrade | Episode::Ec2(_) => return,
        };
        change.touch(slot);
        change.say(self.seconds, sentence);
        self.pending.push(Pending { at: self.seconds + length, slot, node: name, ending });
    }

    /// A node that nothing else has befallen.
    fn pick(&mut self, nodes: &Nodes<'_>) -> Option<usize> {
        /// Tries; in a fleet where all are troubled, nothing more happens.
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let slot = self.rng.index(nodes.slots());
            let untroubled = |node: &Node| {
                node.behaviour == Behaviour::Ok && !node.down && node.listed && !node.crowded
            };
            if nodes.get(slot).is_some_and(untroubled) {
                return Some(slot);
            }
        }
        None
    }

    fn end_episodes(&mut self, nodes: &mut Nodes<'_>, now: f64, change: &mut Change) {
        let (seconds, minute) = (self.seconds, self.minute());
        let (due, later): (Vec<Pending>, Vec<Pending>) =
            std::mem::take(&mut self.pending).into_iter().partition(|p| p.at <= seconds);
        self.pending = later;
        for ended in due {
            let Some(node) = nodes.get_mut(ended.slot).filter(|n| n.name == ended.node) else {
                continue;
            };
            let name = &ended.node;
            let sentence = match ended.ending {
                Ending::Behaviour => {
                    node.behave(Behaviour::Ok);
                    format!("node {name} answers as it should again")
                }
                Ending::Crowd => {
                    node.crowded = false;
                    format!("the crowd has left {name}")
                }
                Ending::Reboot => {
                    node.come_back(minute, now);
                    format!("node {name} is back from its reboot")
                }
                Ending::Absence => {
                    node.listed = true;
                    format!("node {name} is back among the targets")
                }
                // One sentence a node would be many: the episode had one for all.
                Ending::Ec2 => {
                    (node.ec2, node.crowded) = (Ec2::Fine, false);
                    continue;
                }
            };
            change.touch(ended.slot);
            change.say(seconds, sentence);
        }
    }
}

fn verb(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::Ok => "answers",
        Behaviour::Timeout => "accepts connections and never answers",
        Behaviour::Slow => "answers a few bytes a second",
        Behaviour::Refuse => "refuses connections",
        Behaviour::Truncate => "cuts its answers off",
        Behaviour::Garbage => "answers garbage",
        Behaviour::Http503 => "answers 503",
        Behaviour::Nan => "serves NaN and infinities",
    }
}
