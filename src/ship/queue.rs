//! What waits to be sent. Comes in: intervals, oldest first. Goes out: the oldest ones; what had to be
//! given up for newer ones. Never: more than its bytes, an interval out of order, a wait.

use crate::mirror::{Interval, Value};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes that an interval and a group are counted with besides what is in them.
const OVERHEAD: usize = 64;

/// Intervals in the order of their time.
#[derive(Debug)]
pub(super) struct Queue {
    most: usize,
    bytes: usize,
    waiting: VecDeque<(usize, Arc<Interval>)>,
    /// The oldest ones that are being sent: they do not make room.
    under_way: usize,
}

impl Queue {
    /// `most` in bytes: `--mirror.queue`.
    pub(super) fn new(most: usize) -> Queue {
        Queue { most, bytes: 0, waiting: VecDeque::new(), under_way: 0 }
    }

    /// Appends an interval. The oldest ones make room for it, but not those that are being sent; they are
    /// given back. One that is larger than all the room is given up itself.
    pub(super) fn push(&mut self, interval: Arc<Interval>) -> Vec<Arc<Interval>> {
        let bytes = weight(&interval);
        self.bytes += bytes;
        self.waiting.push_back((bytes, interval));
        let mut given_up = Vec::new();
        while self.bytes > self.most
            && let Some((bytes, oldest)) = self.waiting.remove(self.under_way)
        {
            self.bytes -= bytes;
            given_up.push(oldest);
        }
        given_up
    }

    /// The oldest ones, at most so many, to be sent: they stay until they are settled.
    pub(super) fn send(&mut self, most: usize) -> Vec<Arc<Interval>> {
        self.under_way = most.min(self.waiting.len());
        let oldest = self.waiting.iter().take(self.under_way);
        oldest.map(|(_, interval)| Arc::clone(interval)).collect()
    }

    /// Sending ended: nothing is under way, and so many of the oldest are done with.
    pub(super) fn sent(&mut self, settled: usize) {
        let settled = settled.min(self.under_way);
        self.bytes -= self.waiting.drain(..settled).map(|(bytes, _)| bytes).sum::<usize>();
        self.under_way = 0;
    }

    /// Takes out what began no later than `start`. Not while something is under way.
    pub(super) fn settle(&mut self, start: i64) -> Vec<Arc<Interval>> {
        let mut out = Vec::new();
        while let Some((bytes, interval)) =
            self.waiting.pop_front_if(|(_, interval)| interval.start <= start)
        {
            self.bytes -= bytes;
            out.push(interval);
        }
        out
    }

    /// When the oldest began.
    pub(super) fn front(&self) -> Option<i64> {
        self.waiting.front().map(|(_, interval)| interval.start)
    }

    /// How many wait, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.waiting.len(), self.bytes)
    }
}

/// About the bytes that an interval keeps.
pub(super) fn weight(interval: &Interval) -> usize {
    let of_point = |point: &crate::mirror::Point| {
        let inner = match &point.value {
            Value::Number(_) => 0,
            Value::Distribution(d) => size_of_val(&*d.values) + size_of_val(&*d.counts),
        };
        let name = if let std::borrow::Cow::Owned(name) = &point.name { name.len() } else { 0 };
        size_of_val(point) + name + inner
    };
    let of_group = |group: &crate::mirror::Group| {
        let dimensions: usize = group.dimensions.iter().map(|d| size_of_val(d) + d.1.len()).sum();
        OVERHEAD + dimensions + group.points.iter().map(of_point).sum::<usize>()
    };
    OVERHEAD + interval.groups.iter().map(of_group).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::{Group, Point, Unit};
    use proptest::prelude::*;

    fn interval(start: i64, points: usize) -> Arc<Interval> {
        let point = Point { name: "a".into(), unit: Unit::Count, value: Value::Number(1.0) };
        let group = Group { points: vec![point; points], ..Group::default() };
        Arc::new(Interval { start, groups: vec![group] })
    }

    fn points(given_up: &[Arc<Interval>]) -> u64 {
        given_up.iter().map(|interval| interval.points() as u64).sum()
    }

    #[test]
    fn the_oldest_makes_room_and_its_points_are_counted() {
        let one = weight(&interval(0, 2));
        let mut queue = Queue::new(2 * one);
        assert_eq!(points(&queue.push(interval(0, 2))), 0);
        assert_eq!(points(&queue.push(interval(60, 2))), 0);
        assert_eq!(points(&queue.push(interval(120, 2))), 2);
        assert_eq!(queue.front(), Some(60));
        assert_eq!(points(&queue.push(interval(180, 100))), 104, "larger than all the room");
        assert_eq!(queue.size(), (0, 0));
    }

    #[test]
    fn what_is_being_sent_stays_until_it_is_settled() {
        let one = weight(&interval(0, 1));
        let mut queue = Queue::new(2 * one);
        queue.push(interval(0, 1));
        queue.push(interval(60, 1));
        assert_eq!(queue.send(1).len(), 1);
        assert_eq!(points(&queue.push(interval(120, 1))), 1, "the one at 60");
        queue.sent(1);
        assert_eq!(queue.front(), Some(120));
        assert_eq!(queue.size(), (1, one));
    }

    #[test]
    fn what_another_process_has_sent_is_taken_out() {
        let mut queue = Queue::new(1 << 20);
        for minute in 0..5 {
            queue.push(interval(minute * 60, 1));
        }
        assert_eq!(queue.settle(120).len(), 3);
        assert_eq!(queue.send(1)[0].start, 180);
        assert_eq!(queue.size().0, 2);
    }

    proptest! {
        #[test]
        fn prop_nothing_is_lost_uncounted_and_the_bytes_are_kept_to(
            sizes in prop::collection::vec(0usize..50, 1..60), most in 100usize..5000,
        ) {
            let mut queue = Queue::new(most);
            let (mut pushed, mut lost) = (0, 0);
            for (at, size) in (0..).zip(sizes) {
                pushed += size as u64;
                lost += points(&queue.push(interval(at * 60, size)));
                prop_assert!(queue.size().1 <= most);
            }
            let left = queue.settle(i64::MAX);
            let kept: usize = left.iter().map(|interval| interval.points()).sum();
            prop_assert_eq!(pushed, lost + kept as u64);
            prop_assert_eq!(queue.size(), (0, 0));
        }
    }
}
