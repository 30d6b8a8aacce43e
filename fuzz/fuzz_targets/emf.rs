//! Any points as Embedded Metric Format: whole lines of JSON within the limits, no member twice, and every
//! point either in them or counted as left out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use vpc_cni_exporter::mirror::{Distribution, Group, Interval, Point, Unit, Value};
use vpc_cni_exporter::ship::emf::{Heading, Writer};

type Dimensions = Vec<(String, String)>;
/// One value is a plain number, several are a distribution, sound or not.
type Points = Vec<(String, bool, Vec<(f64, u32)>)>;

fuzz_target!(|input: (u16, i32, String, Vec<(Dimensions, Points)>)| {
    let (most, start, text, groups) = input;
    let heading = Heading {
        namespace: text.clone(),
        cluster: ("ClusterName".to_owned(), text.clone()),
        log_group: text,
        log_stream: None,
        max_event_bytes: usize::from(most),
    };
    let interval =
        Interval { start: start.into(), groups: groups.into_iter().map(group).collect() };
    let mut out = Vec::new();
    let tally = Writer::new(&heading).write(&interval, &mut out);
    let left_out: u64 = tally.dropped.iter().sum();
    assert_eq!(tally.sent + tally.unconfirmed + left_out, interval.points() as u64);
    let lines = String::from_utf8(out).unwrap();
    assert!(lines.is_empty() || lines.ends_with('\n'));
    let metrics: usize = lines.lines().map(|line| metrics(line, usize::from(most))).sum();
    assert_eq!(metrics as u64, tally.sent);
});

fn group((dimensions, points): (Dimensions, Points)) -> Group {
    let dimensions = dimensions.into_iter().map(|(name, value)| (name.into(), value.into()));
    let points = points.into_iter().map(|(name, plain, pairs)| {
        let (values, counts): (Vec<f64>, Vec<u32>) = pairs.into_iter().unzip();
        let value = if plain {
            Value::Number(values.first().copied().unwrap_or_default())
        } else {
            Value::Distribution(Distribution { values: values.into(), counts: counts.into() })
        };
        Point { name: name.into(), unit: Unit::Count, value }
    });
    Group { dimensions: dimensions.collect(), points: points.collect() }
}

/// How many metrics an event has.
fn metrics(line: &str, most: usize) -> usize {
    assert!(line.len() <= most);
    let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    let directive = &event["_aws"]["CloudWatchMetrics"][0];
    let metrics = directive["Metrics"].as_array().unwrap();
    let dimensions = directive["Dimensions"][0].as_array().unwrap();
    assert!(metrics.len() <= 100 && dimensions.len() <= 30);
    let of_metrics = metrics.iter().map(|metric| metric["Name"].as_str().unwrap());
    let of_dimensions = dimensions.iter().map(|name| name.as_str().unwrap());
    let names: HashSet<&str> = of_metrics.chain(of_dimensions).collect();
    assert_eq!(names.len(), metrics.len() + dimensions.len());
    assert_eq!(names.len() + 1, event.len());
    assert!(names.iter().all(|name| *name != "_aws" && event.contains_key(*name)));
    for metric in metrics {
        let target = &event[metric["Name"].as_str().unwrap()];
        let lengths =
            [&target["Values"], &target["Counts"]].map(|list| list.as_array().map(Vec::len));
        assert!(target.is_number() || matches!(lengths, [Some(1..=100), b] if b == lengths[0]));
    }
    metrics.len()
}
