//! What an interval costs as Embedded Metric Format, ours against metrique's for the same document. Comes
//! in: points as the mirror has them. Goes out: time per interval, by criterion. Never: a judgement; the
//! figures stand in `benches/README.md`.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on ends by panicking")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metrique_writer_core::format::Format;
use std::hint::black_box;
use vpc_cni_exporter::mirror::{Distribution, Group, Interval, Point, Unit, Value};
use vpc_cni_exporter::ship::emf::{EVENT_BYTES, Heading, Writer};

#[path = "emf/metrique.rs"]
mod metrique;

fn interval(points: usize, value: impl Fn(usize) -> Value) -> Interval {
    let units = [Unit::Count, Unit::Milliseconds, Unit::None];
    let point = |i: usize| Point {
        name: format!("vpccni_cluster_some_family_{i}_total").into(),
        unit: units[i % 3],
        value: value(i),
    };
    let points = (0..points).map(point).collect();
    Interval { start: 1_800_000_000, groups: vec![Group { points, ..Group::default() }] }
}

/// Half whole numbers, half fractions.
fn number(i: usize) -> Value {
    let whole = (i * i * 7919 % 1_000_003) as f64;
    Value::Number(if i.is_multiple_of(2) { whole } else { whole / 7.0 })
}

/// As many values as an event may have of one metric.
fn distribution(i: usize) -> Value {
    let values = (0..100).map(|v| (v * 3 + i) as f64).collect();
    Value::Distribution(Distribution { values, counts: (1..=100).collect() })
}

fn writing(criterion: &mut Criterion) {
    let heading = Heading {
        namespace: "VpcCni".into(),
        cluster: ("ClusterName".into(), "production".into()),
        log_group: "/vpc-cni/production".into(),
        log_stream: None,
        max_event_bytes: EVENT_BYTES,
    };
    for (name, interval) in [
        ("20_metrics", interval(20, number)),
        ("101_metrics", interval(101, number)),
        ("20_distributions", interval(20, distribution)),
    ] {
        let mut group = criterion.benchmark_group(format!("emf/{name}"));
        group.throughput(Throughput::Elements(interval.points() as u64));
        let mut out = Vec::new();
        let mut writer = Writer::new(&heading);
        group.bench_function("ours", |b| {
            b.iter(|| {
                out.clear();
                black_box(writer.write(black_box(&interval), &mut out))
            });
        });
        let start = interval.start.unsigned_abs();
        let document = metrique::Document { heading: &heading, start, group: &interval.groups[0] };
        let mut theirs = document.writer(true);
        group.bench_function("metrique", |b| {
            b.iter(|| {
                out.clear();
                theirs.format(black_box(&document), &mut out).unwrap();
            });
        });
        group.finish();
    }
}

criterion_group!(benches, writing);
criterion_main!(benches);
