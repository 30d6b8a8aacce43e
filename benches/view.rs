//! What a publishing costs: view, aggregation, rendering, compression; and an interval of the CloudWatch
//! mirror, for 10,000 nodes.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on ends by panicking")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::ffi::OsString;
use std::hint::black_box;
use std::time::Duration;
use vpc_cni_exporter::aggregate::figures;
use vpc_cni_exporter::config;
use vpc_cni_exporter::model::{Moment, Source, Target, Targets};
use vpc_cni_exporter::observe::Observe;
use vpc_cni_exporter::render::detail::Detail;
use vpc_cni_exporter::render::negotiate::Format;
use vpc_cni_exporter::render::{self, Narrow, gzip};
use vpc_cni_exporter::ship::preview::Preview;
use vpc_cni_exporter::store::{Answer, Settings, Store};

const NODES: usize = 10_000;
const HEAD: &str = include_str!("../tests/data/head.prom");

fn moment(uptime: f64) -> Moment {
    Moment { unix: 1.8e9 + uptime, uptime }
}

/// Nodes whose pages differ in what differs between nodes: addresses, ENIs, values.
fn store() -> Store {
    let store = Store::new(&Settings::default(), 30.0, Observe::new());
    let target = |i: usize| {
        let (a, b, c) = (i / 65_536, i / 256 % 256, i % 256);
        let name = format!("ip-10-{a}-{b}-{c}.us-west-2.compute.internal");
        let labels = [("zone", "us-west-2b")].into_iter().collect();
        Target { labels, ..Target::new(name, "10.0.0.1", 61678, "/metrics", Source::File) }
    };
    let mut list: Vec<Target> = (0..NODES).map(target).collect();
    list.sort_by(|a, b| a.node.cmp(&b.node));
    store
        .retarget(&Targets { list: list.clone(), synced: true, ..Targets::default() }, moment(0.0));
    for (i, target) in list.iter().enumerate() {
        let page = HEAD
            .replace("10.0.", &format!("10.{}.", i % 250))
            .replace("eni-0", &format!("eni-{i}"));
        let answer = Answer { body: page.as_bytes(), date: None, at: moment(1.0), seconds: 0.01 };
        store.scraped(&target.node, answer).unwrap();
    }
    store
}

fn publishing(criterion: &mut Criterion) {
    let store = store();
    let view = store.view(moment(2.0));
    let detail = Detail::default();
    let mut text = Vec::new();
    render::nodes(&view, &Narrow::default(), &detail, Format::Text004, &mut text);
    let mut group = criterion.benchmark_group("publish");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("view", |b| b.iter(|| black_box(store.view(moment(2.0)).nodes.len())));
    group.bench_function("figures", |b| b.iter(|| black_box(figures(&view).len())));
    group.throughput(Throughput::Bytes(text.len() as u64));
    let mut out = Vec::with_capacity(text.len());
    group.bench_function("render_core", |b| {
        b.iter(|| {
            out.clear();
            render::nodes(&view, &Narrow::default(), &detail, Format::Text004, &mut out);
            black_box(out.len())
        });
    });
    let body = bytes::Bytes::from(text);
    group.bench_function("gzip_core", |b| b.iter(|| black_box(gzip::compress(body.clone()).len)));
    group.finish();
}

/// All of an interval but the sending, for all outlets: once a minute by default.
fn mirroring(criterion: &mut Criterion) {
    let store = store();
    let words = ["x", "--mirror.to=put,emf+stdout:,emf+tcp:", "--cluster.name=blue"];
    let settings = config::read_words(&words.map(OsString::from)).unwrap().mirror;
    let plan = settings.plan(Duration::from_secs(30), false, None, None).unwrap();
    let mut group = criterion.benchmark_group("mirror");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let begun = || {
        let mut preview = Preview::new(&plan);
        preview.of(store.view(moment(0.5)));
        preview
    };
    let text = begun().of(store.view(moment(60.0))).unwrap();
    assert!(text.contains("metrics billed"), "{text}");
    group.bench_function("interval", |b| {
        b.iter_batched_ref(
            begun,
            |preview| black_box(preview.of(store.view(moment(60.0)))),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, publishing, mirroring);
criterion_main!(benches);
