//! What is billed, and about what it costs. Comes in: points. Goes out: those that are within
//! `--mirror.max-billed-metrics`, and a sum of money. Never: a bill; taxes, discounts and the free tier are
//! not in it.
//!
//! A metric is billed by the hour in which it was sent, once, whatever the number of its points: by
//! namespace, name and set of dimensions. PutMetricData and Embedded Metric Format cost the same for it;
//! besides there are requests of the one, and bytes of logs of the other.

use crate::mirror::{Group, Interval};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// Where these prices hold.
pub(super) const REGION: &str = "us-east-1";
/// When they were read, and where: AWS's public price page of CloudWatch.
pub(super) const DATE: &str = "2026-02";
/// Dollars a month for each custom metric, by how many there are.
const METRIC_TIERS: [(f64, f64); 4] =
    [(10_000.0, 0.30), (240_000.0, 0.10), (750_000.0, 0.05), (f64::INFINITY, 0.02)];
/// Dollars a request of PutMetricData.
const REQUEST: f64 = 0.01 / 1000.0;
/// Dollars a byte of logs taken in; a gigabyte is 2^30 bytes.
const LOG_BYTE: f64 = 0.50 / (1u64 << 30) as f64;
/// Seconds of a month, as AWS counts it: 30 days.
const MONTH: f64 = 30.0 * 86_400.0;
/// For so long an unsent metric still counts: metrics are billed by the hour.
const HOUR: i64 = 3600;

/// Which metrics are sent: those that were there first, up to the cap.
#[derive(Debug)]
pub(super) struct Cap {
    most: usize,
    /// Of these, so many are kept free for those that come first.
    reserved: usize,
    /// By hash of namespace, name and dimensions: the last interval that had it, and whether it comes first.
    admitted: HashMap<u64, (i64, bool), BuildHasherDefault<DefaultHasher>>,
}

impl Cap {
    /// `most`: `--mirror.max-billed-metrics`.
    pub(super) fn new(most: usize, reserved: usize) -> Cap {
        Cap { most, reserved, admitted: HashMap::default() }
    }

    /// Takes the points out of an interval that are over the cap; how many that were. `first`: whether
    /// room is reserved for these.
    pub(super) fn apply(&mut self, namespace: &str, interval: &mut Interval, first: bool) -> u64 {
        let start = interval.start;
        self.admitted.retain(|_, (seen, _)| *seen > start - HOUR);
        let theirs = self.admitted.values().filter(|(_, is_first)| *is_first != first).count();
        let taken = if first { theirs } else { theirs.max(self.reserved) };
        let most = self.most.saturating_sub(taken);
        let mut ours = self.admitted.len() - theirs;
        let mut over = 0;
        for group in &mut interval.groups {
            let Group { dimensions, points } = group;
            points.retain(|point| {
                let key = self.admitted.hasher().hash_one((namespace, &point.name, &*dimensions));
                let known = self.admitted.contains_key(&key);
                let fits = known || ours < most;
                if fits {
                    ours += usize::from(!known);
                    self.admitted.insert(key, (start, first));
                } else {
                    over += 1;
                }
                fits
            });
        }
        interval.groups.retain(|group| !group.points.is_empty());
        over
    }

    /// Metrics that are billed for this hour.
    pub(super) fn billed(&self) -> usize {
        self.admitted.len()
    }
}

/// What one interval sends.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Traffic {
    /// Requests of PutMetricData.
    pub(super) requests: u64,
    /// Bytes of logs.
    pub(super) log_bytes: u64,
}

/// Dollars a month.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Estimate {
    pub(super) metrics: f64,
    pub(super) requests: f64,
    pub(super) logs: f64,
}

impl Estimate {
    /// Of so many metrics, and of traffic that repeats each `interval` seconds.
    pub(super) fn of(billed: usize, traffic: Traffic, interval: f64) -> Estimate {
        let mut left = billed as f64;
        let mut metrics = 0.0;
        for (width, price) in METRIC_TIERS {
            let in_tier = left.min(width);
            metrics += in_tier * price;
            left -= in_tier;
        }
        let intervals = MONTH / interval;
        Estimate {
            metrics,
            requests: traffic.requests as f64 * intervals * REQUEST,
            logs: traffic.log_bytes as f64 * intervals * LOG_BYTE,
        }
    }

    pub(super) fn total(&self) -> f64 {
        self.metrics + self.requests + self.logs
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate { metrics, requests, logs } = self;
        write!(
            f,
            "about {:.2} dollars a month (metrics {metrics:.2}, requests {requests:.2}, logs {logs:.2}; prices of {REGION}, {DATE}, aws.amazon.com/cloudwatch/pricing)",
            self.total()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::{Point, Unit, Value};

    fn interval(start: i64, names: &[&'static str]) -> Interval {
        let point = |name: &&'static str| Point {
            name: (*name).into(),
            unit: Unit::Count,
            value: Value::Number(1.0),
        };
        let points = names.iter().map(point).collect();
        Interval { start, groups: vec![Group { points, ..Group::default() }] }
    }

    fn names(interval: &Interval) -> Vec<&str> {
        interval.groups.iter().flat_map(|g| &g.points).map(|p| &*p.name).collect()
    }

    #[test]
    fn what_came_first_stays_within_the_cap_and_gives_its_place_up_after_an_hour() {
        let mut cap = Cap::new(2, 0);
        let mut first = interval(0, &["a", "b", "c"]);
        assert_eq!(cap.apply("n", &mut first, false), 1);
        assert_eq!(names(&first), ["a", "b"]);
        let mut second = interval(60, &["c", "b", "a"]);
        assert_eq!(cap.apply("n", &mut second, false), 1);
        assert_eq!(names(&second), ["b", "a"]);
        let mut later = interval(60 + HOUR, &["c", "b"]);
        assert_eq!(cap.apply("n", &mut later, false), 0);
        assert_eq!(cap.billed(), 2);
    }

    #[test]
    fn the_same_name_in_two_namespaces_is_billed_twice() {
        let mut cap = Cap::new(10, 0);
        cap.apply("n", &mut interval(0, &["a"]), false);
        cap.apply("m", &mut interval(0, &["a"]), false);
        assert_eq!(cap.billed(), 2);
    }

    #[test]
    fn the_helpers_names_have_their_room_even_where_they_come_later() {
        let mut cap = Cap::new(3, 2);
        let mut own = interval(0, &["a", "b", "c"]);
        assert_eq!(cap.apply("n", &mut own, false), 2);
        let mut helper = interval(60, &["h", "i"]);
        assert_eq!(cap.apply("m", &mut helper, true), 0);
        assert_eq!((cap.billed(), names(&helper)), (3, vec!["h", "i"]));
        assert_eq!(cap.apply("n", &mut interval(60, &["a", "b"]), false), 1);
    }

    #[test]
    fn the_estimate_is_that_of_the_price_page() {
        let of = |billed| Estimate::of(billed, Traffic::default(), 60.0).metrics;
        assert!((of(20) - 6.0).abs() < 1e-9);
        assert!((of(10_000) - 3000.0).abs() < 1e-6);
        assert!((of(22_022) - (3000.0 + 1202.2)).abs() < 1e-6);
        let traffic = Traffic { requests: 1, log_bytes: 1 << 20 };
        let month = Estimate::of(0, traffic, 60.0);
        assert!((month.requests - 43_200.0 * 0.01 / 1000.0).abs() < 1e-9);
        assert!((month.logs - 43_200.0 / 1024.0 * 0.5).abs() < 1e-9);
    }
}
