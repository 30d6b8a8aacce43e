//! What the writer writes, byte for byte and read again by rules of their own.

use super::*;
use crate::mirror::{Distribution, Unit};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;

/// Events of the cluster `prod` with this limit.
pub(in crate::ship) fn heading(max_event_bytes: usize) -> Heading {
    Heading {
        namespace: "VpcCni".into(),
        cluster: ("ClusterName".into(), "prod".into()),
        log_group: "/vpc-cni".into(),
        log_stream: None,
        max_event_bytes,
    }
}

/// Points `m0`, `m1` and so on, each with its number as value.
pub(in crate::ship) fn interval(start: i64, points: usize) -> Interval {
    let points = (0..points).map(|i| number_point(format!("m{i}"), i as f64)).collect();
    Interval { start, groups: vec![Group { dimensions: Box::default(), points }] }
}

fn number_point(name: impl Into<Cow<'static, str>>, value: f64) -> Point {
    Point { name: name.into(), unit: Unit::Count, value: Value::Number(value) }
}

fn group(dimensions: &[(&'static str, &str)], points: Vec<Point>) -> Group {
    let owned = |(name, value): &(&'static str, &str)| (Cow::Borrowed(*name), (*value).into());
    Group { dimensions: dimensions.iter().map(owned).collect(), points }
}

fn written(heading: &Heading, groups: Vec<Group>) -> (String, Tally) {
    let mut out = Vec::new();
    let tally = Writer::new(heading).write(&Interval { start: 60, groups }, &mut out);
    (String::from_utf8(out).unwrap(), tally)
}

fn tally(sent: u64, dropped: &[(Drop, u64)]) -> Tally {
    let mut tally = Tally { sent, ..Tally::default() };
    dropped.iter().for_each(|(reason, points)| tally.drop(*reason, *points));
    tally
}

#[test]
fn an_event_is_one_line_with_definitions_dimensions_and_values() {
    let spread = Distribution { values: [0.5, 3.0].into(), counts: [2, 1].into() };
    let points = vec![
        number_point("a", -0.0),
        Point { name: "b".into(), unit: Unit::Milliseconds, value: Value::Distribution(spread) },
        Point { name: "c".into(), unit: Unit::None, value: Value::Number(1.25e-7) },
    ];
    let stream = Heading { log_stream: Some("one".into()), ..heading(EVENT_BYTES) };
    let (text, counted) = written(&stream, vec![group(&[("error", "")], points)]);
    let expected = concat!(
        r#"{"_aws":{"Timestamp":60000,"LogGroupName":"/vpc-cni","LogStreamName":"one","#,
        r#""CloudWatchMetrics":[{"Namespace":"VpcCni","Dimensions":[["ClusterName","error"]],"#,
        r#""Metrics":[{"Name":"a","Unit":"Count","StorageResolution":60},"#,
        r#"{"Name":"b","Unit":"Milliseconds","StorageResolution":60},"#,
        r#"{"Name":"c","Unit":"None","StorageResolution":60}]}]},"#,
        r#""ClusterName":"prod","error":"none","#,
        r#""a":-0,"b":{"Values":[0.5,3],"Counts":[2,1]},"c":1.25e-7}"#,
        "\n",
    );
    assert_eq!(text, expected);
    assert_eq!(counted, tally(3, &[]));
}

#[test]
fn each_group_has_its_own_events_and_one_without_points_has_none() {
    let groups = vec![
        group(&[], vec![number_point("a", 1.0)]),
        group(&[("api", "x")], vec![]),
        group(&[("api", "y")], vec![number_point("a", 2.0)]),
    ];
    let (text, counted) = written(&heading(EVENT_BYTES), groups);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].ends_with(r#"}]}]},"ClusterName":"prod","a":1}"#), "{text}");
    assert!(lines[1].ends_with(r#"}]}]},"ClusterName":"prod","api":"y","a":2}"#), "{text}");
    assert_eq!(counted.sent, 2);
}

#[test]
fn text_is_escaped_and_what_is_not_ascii_stays_but_in_dimensions() {
    let odd = Heading {
        namespace: "a\"\\\u{1f}\n".into(),
        cluster: ("Cl\"".into(), "p\"\u{e4}\u{7f}".into()),
        log_group: "\u{e4}\u{2028}".into(),
        ..heading(EVENT_BYTES)
    };
    let (text, _) = written(&odd, vec![group(&[], vec![number_point("n\\", 1.0)])]);
    let expected = concat!(
        "{\"_aws\":{\"Timestamp\":60000,\"LogGroupName\":\"\u{e4}\u{2028}\",",
        r#""CloudWatchMetrics":[{"Namespace":"a\"\\\u001f\u000a","Dimensions":[["Cl\""]],"#,
        r#""Metrics":[{"Name":"n\\","Unit":"Count","StorageResolution":60}]}]},"#,
        r#""Cl\"":"p\"??","n\\":1}"#,
        "\n",
    );
    assert_eq!(text, expected);
}

#[test]
fn an_event_has_at_most_100_metrics() {
    let mut out = Vec::new();
    let counted = Writer::new(&heading(EVENT_BYTES)).write(&interval(0, 201), &mut out);
    let sizes: Vec<usize> = events(&out).iter().map(|event| event.points.len()).collect();
    assert_eq!(sizes, [100, 100, 1]);
    assert_eq!(counted, tally(201, &[]));
}

#[test]
fn an_event_is_as_long_as_the_limit_and_no_longer() {
    let points = || vec![number_point("a", 1.0), number_point("b", 1.0), number_point("c", 1.0)];
    let (whole, _) = written(&heading(EVENT_BYTES), vec![group(&[], points())]);
    let length = whole.len() - 1;
    assert_eq!(written(&heading(length), vec![group(&[], points())]).0, whole);
    let (split, counted) = written(&heading(length - 1), vec![group(&[], points())]);
    let sizes: Vec<usize> = events(split.as_bytes()).iter().map(|e| e.points.len()).collect();
    assert_eq!((sizes, counted.sent), (vec![2, 1], 3));
    // No caller goes beyond what CloudWatch takes.
    let endless = Heading { log_group: "x".repeat(EVENT_BYTES), ..heading(usize::MAX) };
    let (text, counted) = written(&endless, vec![group(&[], points())]);
    assert_eq!((&*text, counted), ("", tally(0, &[(Drop::TooLarge, 3)])));
}

#[test]
fn a_point_that_fits_into_no_event_is_left_out_alone() {
    let long = "n".repeat(200);
    let points = vec![number_point("a", 1.0), number_point(long, 1.0), number_point("b", 1.0)];
    let (text, counted) = written(&heading(350), vec![group(&[], points)]);
    assert_eq!(counted, tally(2, &[(Drop::TooLarge, 1)]));
    let names: Vec<Vec<String>> = events(text.as_bytes())
        .iter()
        .map(|event| event.points.iter().map(|point| point.name.clone()).collect())
        .collect();
    assert_eq!(names, [["a"], ["b"]]);
    assert_eq!(written(&heading(0), vec![group(&[], vec![number_point("a", 1.0)])]).0, "");
}

#[test]
fn what_may_not_leave_is_counted_by_its_reason() {
    let none = Point {
        name: "none".into(),
        unit: Unit::Count,
        value: Value::Distribution(Distribution::default()),
    };
    let points = vec![
        number_point("a", 1.0),
        number_point("a", 2.0),
        number_point("ClusterName", 1.0),
        number_point("api", 1.0),
        number_point("_aws", 1.0),
        number_point("", 1.0),
        number_point("b\n", 1.0),
        number_point("b", f64::NAN),
        number_point("b", f64::INFINITY),
        number_point("b", -2f64.powi(361)),
        none,
        number_point("b", 3.0),
    ];
    let (text, counted) = written(&heading(EVENT_BYTES), vec![group(&[("api", "x")], points)]);
    let dropped = [(Drop::Collision, 4), (Drop::Name, 2), (Drop::Value, 4)];
    assert_eq!(counted, tally(2, &dropped));
    // The first of a name wins that may leave.
    assert!(text.ends_with("\"a\":1,\"b\":3}\n"), "{text}");
}

#[test]
fn a_group_with_a_dimension_that_may_not_leave_is_left_out_whole() {
    let names: Vec<String> = (0..30).map(|i| format!("d{i}")).collect();
    let some = |count: usize| Group {
        dimensions: names[..count].iter().map(|n| (n.clone().into(), "v".into())).collect(),
        points: interval(0, 2).groups.remove(0).points,
    };
    let two = || interval(0, 2).groups.remove(0).points;
    let groups = vec![
        some(30),
        group(&[("ClusterName", "x")], two()),
        group(&[("_aws", "x")], two()),
        group(&[(":a", "x")], two()),
        group(&[("a", "x"), ("a", "y")], two()),
        some(29),
    ];
    let (text, counted) = written(&heading(EVENT_BYTES), groups);
    assert_eq!(counted, tally(2, &[(Drop::Dimension, 10)]));
    let events = events(text.as_bytes());
    assert_eq!((events.len(), events[0].dimensions.len()), (1, 30));
}

#[test]
fn a_distribution_has_at_most_100_values_and_keeps_its_ends() {
    let spread = distribution::collect((1..=250).map(f64::from));
    let point = Point { name: "a".into(), unit: Unit::Count, value: Value::Distribution(spread) };
    let (text, _) = written(&heading(EVENT_BYTES), vec![group(&[], vec![point])]);
    let event = events(text.as_bytes()).remove(0);
    let (values, counts): (Vec<f64>, Vec<f64>) = event.points[0].values.iter().copied().unzip();
    assert_eq!((values.len(), values[0], values[1], values[50]), (51, 1.0, 5.0, 250.0));
    assert_eq!(counts.iter().sum::<f64>(), 250.0);
}

#[test]
fn a_writer_that_is_warm_needs_no_more_memory() {
    let spread = distribution::collect((0..300).map(f64::from));
    let mut busy = interval(60, 150);
    busy.groups[0].points.push(Point {
        name: "spread".into(),
        unit: Unit::Count,
        value: Value::Distribution(spread),
    });
    let mut writer = Writer::new(&heading(9000));
    let mut out = Vec::new();
    writer.write(&busy, &mut out);
    let sizes = |writer: &Writer| {
        let Event { opening, middle, targets, fitted, .. } = &writer.group;
        let buffers = [opening, middle, targets].map(Vec::capacity);
        (buffers, fitted.values.capacity(), fitted.counts.capacity(), writer.names.capacity())
    };
    let before = sizes(&writer);
    let first = std::mem::take(&mut out);
    writer.write(&busy, &mut out);
    assert_eq!((sizes(&writer), &out), (before, &first));
}

/// An event as a reader sees it that trusts nobody.
struct Read {
    dimensions: Vec<(String, String)>,
    points: Vec<ReadPoint>,
    timestamp: i64,
}

#[derive(Debug, Clone, PartialEq)]
struct ReadPoint {
    name: String,
    unit: String,
    /// Each value and its count; a plain number has no count.
    values: Vec<(f64, f64)>,
}

/// The members of an object, as often as they occur.
struct Members(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Members, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;
            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        reader.deserialize_map(All)
    }
}

/// Reads events and holds them to the specification.
fn events(text: &[u8]) -> Vec<Read> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(event).collect()
}

fn event(line: &str) -> Read {
    let Members(members) = serde_json::from_str(line).unwrap();
    let names: HashSet<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), members.len(), "a member twice: {line}");
    let root = |name: &str| &members.iter().find(|(n, _)| n == name).unwrap().1;
    let aws = root("_aws").as_object().unwrap();
    assert!(aws["LogGroupName"].is_string());
    let directives = aws["CloudWatchMetrics"].as_array().unwrap();
    let [directive] = &directives[..] else { panic!("one directive: {line}") };
    let [set] = &directive["Dimensions"].as_array().unwrap()[..] else { panic!("one set") };
    let set = set.as_array().unwrap();
    assert!((1..=30).contains(&set.len()));
    let metrics = directive["Metrics"].as_array().unwrap();
    assert!((1..=100).contains(&metrics.len()));
    assert_eq!(members.len(), 1 + set.len() + metrics.len(), "every member is a target");
    let dimensions = set.iter().map(|name| {
        let value = root(name.as_str().unwrap()).as_str().unwrap();
        assert!((1..=1024).contains(&value.len()) && value.bytes().all(|b| (32..127).contains(&b)));
        (name.as_str().unwrap().to_owned(), value.to_owned())
    });
    let points = metrics.iter().map(|metric| {
        assert_eq!(metric["StorageResolution"], 60);
        let name = metric["Name"].as_str().unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let values = match root(name) {
            serde_json::Value::Number(number) => vec![(number.as_f64().unwrap(), 0.0)],
            spread => {
                let (values, counts) = (numbers(&spread["Values"]), numbers(&spread["Counts"]));
                assert!(values.len() == counts.len() && (1..=100).contains(&values.len()));
                values.into_iter().zip(counts).collect()
            }
        };
        let unit = metric["Unit"].as_str().unwrap().to_owned();
        ReadPoint { name: name.to_owned(), unit, values }
    });
    let timestamp = aws["Timestamp"].as_i64().unwrap();
    Read { dimensions: dimensions.collect(), points: points.collect(), timestamp }
}

/// What may leave of a group, by the rules in their plainest form.
fn leaving(group: &Group, tally: &mut Tally) -> Vec<ReadPoint> {
    let mut used: HashSet<&str> = HashSet::from(["_aws", "ClusterName"]);
    let names = group.dimensions.iter().map(|(name, _)| &**name);
    let mut fit = group.dimensions.len() < 30;
    for name in names {
        fit &= limits::name(name).is_ok() && used.insert(name);
    }
    if !fit {
        tally.drop(Drop::Dimension, group.points.len() as u64);
        return Vec::new();
    }
    let mut points = Vec::new();
    for point in &group.points {
        let values = match &point.value {
            Value::Number(value) => vec![(*value, 0.0)],
            Value::Distribution(spread) => {
                let spread = distribution::fit(spread, 100);
                let counts = spread.counts.iter().map(|count| f64::from(*count));
                spread.values.iter().copied().zip(counts).collect()
            }
        };
        let sound = values.iter().all(|(value, _)| value.abs() <= limits::LARGEST);
        if limits::name(&point.name).is_err() {
            tally.drop(Drop::Name, 1);
        } else if values.is_empty() || !sound {
            tally.drop(Drop::Value, 1);
        } else if !used.insert(&point.name) {
            tally.drop(Drop::Collision, 1);
        } else {
            let unit = point.unit.as_str().to_owned();
            points.push(ReadPoint { name: point.name.to_string(), unit, values });
        }
    }
    points
}

/// serde_json's reader may be off by the last bits.
fn alike(read: &ReadPoint, expected: &ReadPoint) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= b.abs() * 1e-14 + 1e-300;
    let pairs = || read.values.iter().zip(&expected.values);
    (&read.name, &read.unit, read.values.len())
        == (&expected.name, &expected.unit, expected.values.len())
        && pairs().all(|(a, b)| near(a.0, b.0) && a.1 == b.1)
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-1000i32..100_000).prop_map(f64::from),
        4 => -1e3..1e9f64,
        1 => any::<u64>().prop_map(f64::from_bits),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let spread = prop::collection::vec(any_number(), 0..250)
        .prop_map(|values| Value::Distribution(distribution::collect(values)));
    prop_oneof![3 => any_number().prop_map(Value::Number), 1 => spread]
}

fn any_group() -> impl Strategy<Value = Group> {
    let unit = prop::sample::select(vec![Unit::Count, Unit::Seconds, Unit::None, Unit::Bytes]);
    let name =
        prop_oneof![4 => "[a-z\"\\\\ ]{1,9}", 1 => "[ad:\u{0}\u{e4}]{0,2}", 1 => "n{200,270}"];
    let point = (name, unit, any_value()).prop_map(|(name, unit, value)| Point {
        name: name.into(),
        unit,
        value,
    });
    let dimension = (prop_oneof![9 => "d[a-z\"]{2,6}", 1 => "[ad:]{0,2}"], "[ -~\u{0}\u{e4}]{0,9}");
    (prop::collection::vec(dimension, 0..4), prop::collection::vec(point, 0..130)).prop_map(
        |(dimensions, points)| {
            let owned = |(name, value): (String, String)| (name.into(), value.into());
            Group { dimensions: dimensions.into_iter().map(owned).collect(), points }
        },
    )
}

proptest! {
    #[test]
    fn what_is_read_again_is_what_was_to_leave(
        start in 0..4_000_000_000i64,
        groups in prop::collection::vec(any_group(), 0..4),
        most in prop_oneof![200..1200usize, 1200..20_000usize],
    ) {
        let mut out = Vec::new();
        let interval = Interval { start, groups };
        let counted = Writer::new(&heading(most)).write(&interval, &mut out);
        prop_assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= most));
        let mut read = events(&out).into_iter().peekable();
        let mut expected = Tally::default();
        for group in &interval.groups {
            let mut to_leave = leaving(group, &mut expected).into_iter().peekable();
            let pairs = group.dimensions.iter().map(|(name, value)| {
                (name.to_string(), limits::dimension(value).into_owned())
            });
            let cluster = ("ClusterName".to_owned(), "prod".to_owned());
            let dimensions: Vec<_> = std::iter::once(cluster).chain(pairs).collect();
            // A point that is not in the events was too large for one; the others are in order.
            while to_leave.peek().is_some() {
                let next = read.next_if(|event| {
                    event.dimensions == dimensions && to_leave.clone().any(|p| alike(&event.points[0], &p))
                });
                let Some(event) = next else {
                    expected.drop(Drop::TooLarge, to_leave.by_ref().count() as u64);
                    break;
                };
                prop_assert_eq!(event.timestamp, start * 1000);
                for point in &event.points {
                    while let Some(skipped) = to_leave.next_if(|p| !alike(point, p)) {
                        prop_assert!(skipped.name.len() > 20 || skipped.values.len() > 1 || most < 700);
                        expected.drop(Drop::TooLarge, 1);
                    }
                    prop_assert!(to_leave.next().is_some(), "{:?} from nowhere", point);
                    expected.sent += 1;
                }
            }
        }
        prop_assert!(read.next().is_none());
        prop_assert_eq!(counted, expected);
    }
}
