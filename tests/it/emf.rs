//! Our Embedded Metric Format against metrique's, AWS's own writer of it: the same documents.

use metrique_writer_core::format::Format;
use serde_json::{Value as Json, json};
use vpc_cni_exporter::mirror::{Distribution, Group, Interval, Point, Unit, Value};
use vpc_cni_exporter::ship::emf::{EVENT_BYTES, Heading, Writer};

#[path = "../../benches/emf/metrique.rs"]
mod metrique;

const UNITS: [Unit; 6] =
    [Unit::Count, Unit::Seconds, Unit::Milliseconds, Unit::Percent, Unit::Bytes, Unit::None];

fn point(name: &str, unit: Unit, value: Value) -> Point {
    Point { name: name.to_owned().into(), unit, value }
}

/// Numbers of all magnitudes and distributions, under names and dimensions with what JSON escapes.
fn groups() -> Vec<Group> {
    let numbers = [0.0, 1.0, -7.0, 0.1, 1.5e-7, 123_456.789, 9_007_199_254_740_993.0, 1e21, -2e108];
    let numbers = numbers.iter().enumerate().map(|(i, number)| {
        point(&format!("number{i}"), UNITS[i % UNITS.len()], Value::Number(*number))
    });
    let spreads = UNITS.iter().enumerate().map(|(i, unit)| {
        let values = (0..=i * 19).map(|v| v as f64 / 4.0 - 3.0).collect();
        let counts = (0..=i as u32 * 19).map(|count| 1 << (count % 20)).collect();
        let spread = Distribution { values, counts };
        point(&format!("spread \"{i}\\"), *unit, Value::Distribution(spread))
    });
    let plain = Group { points: numbers.collect(), ..Group::default() };
    let dimensions = [("api \"x\"".into(), "a\\b".into()), ("error".into(), "e".into())];
    vec![plain, Group { dimensions: dimensions.into(), points: spreads.collect() }]
}

/// Ours as metrique writes it: no resolution where it is the usual one, no unit where there is none.
fn without_defaults(mut event: Json) -> Json {
    for metric in event["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array_mut().unwrap() {
        let metric = metric.as_object_mut().unwrap();
        assert_eq!(metric.remove("StorageResolution"), Some(json!(60)));
        if metric["Unit"] == "None" {
            metric.remove("Unit");
        }
    }
    event
}

#[test]
fn metrique_writes_the_same_documents() {
    let heading = Heading {
        namespace: "Vpc \"Cni\"".into(),
        cluster: ("ClusterName".into(), "prod".into()),
        log_group: "/vpc-cni/\u{e4}".into(),
        log_stream: None,
        max_event_bytes: EVENT_BYTES,
    };
    let interval = Interval { start: 1_800_000_060, groups: groups() };
    let mut ours = Vec::new();
    let tally = Writer::new(&heading).write(&interval, &mut ours);
    assert_eq!((tally.sent, tally.dropped.iter().sum::<u64>()), (interval.points() as u64, 0));
    let mut theirs = Vec::new();
    for group in &interval.groups {
        let start = interval.start.unsigned_abs();
        let document = metrique::Document { heading: &heading, start, group };
        document.writer(false).format(&document, &mut theirs).unwrap();
    }
    let read = |text: &[u8]| -> Vec<Json> {
        serde_json::Deserializer::from_slice(text).into_iter().map(Result::unwrap).collect()
    };
    let ours: Vec<Json> = read(&ours).into_iter().map(without_defaults).collect();
    assert_eq!(ours.len(), 2);
    assert_eq!(as_floats(ours), as_floats(read(&theirs)));
}

/// Every number as a float: `1e21` and `1000000000000000000000` are one.
fn as_floats(events: Vec<Json>) -> Vec<Json> {
    fn each(value: &mut Json) {
        match value {
            Json::Number(number) => *value = json!(number.as_f64()),
            Json::Array(list) => list.iter_mut().for_each(each),
            Json::Object(members) => members.values_mut().for_each(each),
            _ => {}
        }
    }
    let mut events = events;
    events.iter_mut().for_each(each);
    events
}
