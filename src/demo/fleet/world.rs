//! All nodes and their story, without a socket. Comes in: story time, interventions. Goes out: pages
//! and what changed. Never: a clock (moments are given), two answers to one seed.

use super::figures::Figures;
use super::node::{Age, Behaviour, Node};
use super::page;
use super::story::{Story, StoryEvent, TICK};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Story seconds between two changes of a node's values.
const LIFE: u64 = 60;

/// A page, and what it adds to the cluster's figures.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) node: Arc<str>,
    /// Number of the node's process.
    pub(super) process: u64,
    /// When the process began, by a clock that is right.
    pub(super) start: f64,
    /// The node's version.
    pub(super) version: u64,
    pub(super) body: Vec<u8>,
    pub(super) figures: Arc<Figures>,
}

/// What a connection gets.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) behaviour: Behaviour,
    pub(super) clock_offset: f64,
    /// Made anew only after a change.
    pub(super) page: Arc<Page>,
}

/// What one step changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Slots whose door or place among the targets may have changed.
    pub(super) slots: Vec<usize>,
    pub(super) events: Vec<StoryEvent>,
}

impl Change {
    pub(super) fn touch(&mut self, slot: usize) {
        self.slots.push(slot);
    }

    pub(super) fn say(&mut self, at: u64, sentence: String) {
        self.events.push(StoryEvent { at, sentence });
    }
}

/// A place where a node can be: an address.
#[derive(Debug, Default)]
struct Slot {
    node: Option<Node>,
    page: Option<Arc<Page>>,
}

/// The nodes, each behind a lock of its own: pages are made at the same time.
#[derive(Debug)]
pub(super) struct World {
    slots: Vec<Mutex<Slot>>,
    telling: Mutex<Telling>,
    calm: bool,
}

#[derive(Debug)]
struct Telling {
    story: Story,
    seed: u64,
    /// Serial number of the next node.
    next: u64,
    /// Nodes there are.
    count: u64,
    /// Free places, the one that has been free for longest first: an address that is taken again at
    /// once would be scraped under its old node's name.
    free: VecDeque<usize>,
    /// Story seconds that have passed but do not fill a tick.
    rest: f64,
}

/// The nodes, while the story changes them.
#[derive(Debug)]
pub(super) struct Nodes<'w> {
    guards: Vec<MutexGuard<'w, Slot>>,
    free: VecDeque<usize>,
    seed: u64,
    next: u64,
    count: u64,
}

impl Nodes<'_> {
    /// Places, taken or not.
    pub(super) fn slots(&self) -> usize {
        self.guards.len()
    }

    /// Nodes there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Node> {
        self.guards.get(slot)?.node.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Node> {
        self.guards.get_mut(slot)?.node.as_mut()
    }

    /// A new node in the place that has been free for longest.
    pub(super) fn join(&mut self, age: Age, minute: u64, now: f64) -> Option<(usize, Arc<str>)> {
        let slot = self.free.pop_front()?;
        let node = Node::new(self.seed, self.next, age, minute, now);
        self.next += 1;
        self.count += 1;
        let name = node.name.clone();
        *self.guards[slot] = Slot { node: Some(node), page: None };
        Some((slot, name))
    }

    pub(super) fn remove(&mut self, slot: usize) {
        if let Some(guard) = self.guards.get_mut(slot)
            && guard.node.is_some()
        {
            **guard = Slot::default();
            self.free.push_back(slot);
            self.count -= 1;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves plain values behind: nothing is half done that would matter.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// `nodes` nodes, and room for those that join.
    pub(super) fn new(seed: u64, nodes: usize, calm: bool, now: f64) -> World {
        let story = Story::new(seed, nodes);
        let minute = story.minute();
        let fresh = |serial: usize| Slot {
            node: (serial < nodes).then(|| Node::new(seed, serial as u64, Age::Old, minute, now)),
            page: None,
        };
        World {
            slots: (0..nodes + spare(nodes)).map(|serial| Mutex::new(fresh(serial))).collect(),
            telling: Mutex::new(Telling {
                story,
                seed,
                next: nodes as u64,
                count: nodes as u64,
                free: (nodes..nodes + spare(nodes)).collect(),
                rest: 0.0,
            }),
            calm,
        }
    }

    /// Places, taken or not.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Story seconds since the beginning.
    pub(super) fn seconds(&self) -> u64 {
        locked(&self.telling).story.seconds
    }

    /// Lets story time pass; `now` is the moment at which new processes begin.
    pub(super) fn advance(&self, seconds: f64, now: f64) -> Change {
        let mut change = Change::default();
        let mut telling = locked(&self.telling);
        telling.rest += seconds.max(0.0);
        while telling.rest >= TICK as f64 {
            telling.rest -= TICK as f64;
            telling.story.seconds += TICK;
            let (at, minute) = (telling.story.seconds / TICK, telling.story.minute());
            let life = LIFE / TICK;
            for slot in self.slots.iter().skip((at % life) as usize).step_by(life as usize) {
                if let Some(node) = &mut locked(slot).node {
                    node.live(minute);
                }
            }
            if !self.calm {
                self.told(&mut telling, |story, nodes| story.tick(nodes, now, &mut change));
            }
        }
        change
    }

    /// Runs `tell` with all nodes in hand.
    fn told<R>(
        &self,
        telling: &mut Telling,
        tell: impl FnOnce(&mut Story, &mut Nodes<'_>) -> R,
    ) -> R {
        let mut nodes = Nodes {
            guards: self.slots.iter().map(locked).collect(),
            free: std::mem::take(&mut telling.free),
            seed: telling.seed,
            next: telling.next,
            count: telling.count,
        };
        let result = tell(&mut telling.story, &mut nodes);
        (telling.next, telling.count, telling.free) = (nodes.next, nodes.count, nodes.free);
        result
    }

    /// A node joins now; its slot and name, unless every place is taken.
    pub(super) fn join(&self, age: Age, now: f64) -> Option<(usize, Arc<str>)> {
        let mut telling = locked(&self.telling);
        self.told(&mut telling, |story, nodes| nodes.join(age, story.minute(), now))
    }

    /// A node leaves now.
    pub(super) fn leave(&self, slot: usize) {
        self.told(&mut locked(&self.telling), |_, nodes| nodes.remove(slot));
    }

    /// Does something to, or reads, the node at a place.
    pub(super) fn with<R>(&self, slot: usize, act: impl FnOnce(&mut Node) -> R) -> Option<R> {
        locked(self.slots.get(slot)?).node.as_mut().map(act)
    }

    /// The place of a node.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        (0..self.slots()).find(|slot| self.with(*slot, |n| *n.name == *name) == Some(true))
    }

    /// What a connection to a place gets now; `None` where no node is.
    pub(super) fn answer(&self, slot: usize) -> Option<Answer> {
        let mut slot = locked(self.slots.get(slot)?);
        let slot = &mut *slot;
        let node = slot.node.as_ref()?;
        let page = match &slot.page {
            Some(page) if page.version == node.version => page.clone(),
            _ => slot.page.insert(Arc::new(Page::of(node))).clone(),
        };
        Some(Answer { behaviour: node.behaviour, clock_offset: node.clock_offset, page })
    }
}

/// Places for nodes that join, beyond the first ones: twice what the story's drift may need, so that
/// addresses rest between two nodes.
fn spare(nodes: usize) -> usize {
    nodes / 5 + 8
}

impl Page {
    fn of(node: &Node) -> Page {
        Page {
            node: node.name.clone(),
            process: node.process.number,
            start: node.process.start,
            version: node.version,
            body: page::render(node),
            figures: Arc::new(Figures::of(node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1.8e9;

    fn pages(world: &World) -> Vec<Vec<u8>> {
        (0..world.slots()).filter_map(|s| world.answer(s)).map(|a| a.page.body.clone()).collect()
    }

    #[test]
    fn one_seed_tells_one_story_however_it_is_cut_into_steps() {
        let (one, many) = (World::new(7, 40, false, NOW), World::new(7, 40, false, NOW));
        let events = one.advance(24.0 * 3600.0, NOW + 60.0).events;
        let mut cut = Vec::new();
        for _ in 0..24 * 3600 / 45 {
            cut.extend(many.advance(45.0, NOW + 60.0).events);
        }
        assert!(events.len() > 100, "{}", events.len());
        assert_eq!(events, cut);
        assert_eq!(pages(&one), pages(&many));
    }

    #[test]
    fn another_seed_tells_another_story() {
        let (one, other) = (World::new(7, 40, false, NOW), World::new(8, 40, false, NOW));
        assert_ne!(one.advance(7200.0, NOW).events, other.advance(7200.0, NOW).events);
        assert_ne!(pages(&one), pages(&other));
    }

    #[test]
    fn a_day_of_the_story_holds_everything_that_can_happen() {
        let world = World::new(3, 100, false, NOW);
        let events = world.advance(48.0 * 3600.0, NOW + 9.0).events;
        for words in [
            "joined",
            "joined with days",
            "left",
            "restarted",
            "reboots",
            "back from its reboot",
            "rolling upgrade of",
            "upgrade to",
            "than it can take",
            "subnet exhausted in us-west-2",
            "throttles",
            "lost its rights",
            "never answers",
            "bytes a second",
            "refuses",
            "cuts",
            "garbage",
            "503",
            "NaN",
            "clock of",
            "dropped out",
            "back among",
        ] {
            assert!(events.iter().any(|e| e.sentence.contains(words)), "{words}");
        }
    }

    #[test]
    fn in_a_calm_fleet_values_change_and_nothing_happens() {
        let world = World::new(3, 20, true, NOW);
        let before = pages(&world);
        assert_eq!(world.advance(4.0 * 3600.0, NOW).events, []);
        assert!(pages(&world).iter().zip(&before).all(|(a, b)| a != b));
    }

    #[test]
    fn a_page_is_made_once_for_a_state() {
        let world = World::new(3, 1, true, NOW);
        let page = |world: &World| world.answer(0).unwrap().page;
        let first = page(&world);
        assert!(Arc::ptr_eq(&first, &page(&world)));
        world.advance(60.0, NOW);
        assert!(!Arc::ptr_eq(&first, &page(&world)));
    }

    #[test]
    fn an_address_rests_before_it_is_taken_again() {
        let world = World::new(3, 10, true, NOW);
        world.leave(4);
        let taken: Vec<usize> =
            (0..spare(10)).map(|_| world.join(Age::Young, NOW).unwrap().0).collect();
        assert!(!taken.contains(&4));
        assert_eq!(world.join(Age::Young, NOW).unwrap().0, 4);
        assert_eq!(world.join(Age::Young, NOW), None);
    }

    #[test]
    fn names_are_never_used_twice() {
        let world = World::new(3, 10, true, NOW);
        let mut names = std::collections::HashSet::new();
        for _ in 0..50 {
            let (slot, name) = world.join(Age::Young, NOW).unwrap();
            assert!(names.insert(name));
            world.leave(slot);
        }
    }
}
