//! How fast pages are read. Comes in: two real-sized pages of the test data. Goes out: time and
//! bytes per second, by criterion. Never: a judgement; the figures stand in `benches/README.md`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vpc_cni_exporter::parse::{Line, Reader, value_line};
use vpc_cni_exporter::store::{PageReader, Settings};

/// A page with the families of the newest daemon, 20 pod addresses.
const HEAD: &[u8] = include_bytes!("../tests/data/head.prom");
/// A page of a daemon of 2019, with quantiles.
const OLD: &[u8] = include_bytes!("../tests/data/aws-node-old-quantiles.prom");

/// Every line: names checked, labels checked, values read.
fn names_and_values(page: &[u8]) -> (usize, f64) {
    let mut reader = Reader::new(page);
    let (mut bytes, mut sum) = (0, 0.0);
    while let Ok(Some(line)) = reader.next_line() {
        match line {
            Line::Sample(sample) => {
                bytes += sample.name.len();
                sum += sample.value;
            }
            Line::Type { name, .. } | Line::Help { name, .. } => bytes += name.len(),
        }
    }
    assert_eq!(reader.offset(), page.len(), "the page was read to its end");
    (bytes, sum)
}

/// The same, and every label taken apart.
fn with_labels(page: &[u8]) -> (usize, f64) {
    let mut reader = Reader::new(page);
    let (mut bytes, mut sum) = (0, 0.0);
    while let Ok(Some(line)) = reader.next_line() {
        if let Line::Sample(sample) = line {
            bytes +=
                sample.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            sum += sample.value;
        }
    }
    (bytes, sum)
}

/// Only the values, at offsets that are known: what a shape that hits pays for numbers.
fn values_at(page: &[u8], offsets: &[usize]) -> f64 {
    offsets.iter().filter_map(|at| value_line(page, *at)).map(|(value, _)| value).sum()
}

fn full_parse(c: &mut Criterion) {
    for (name, page) in [("head", HEAD), ("old", OLD)] {
        let mut group = c.benchmark_group("full_parse");
        group.throughput(Throughput::Bytes(page.len() as u64));
        group.bench_function(name, |b| b.iter(|| names_and_values(black_box(page))));
        group.bench_function(format!("{name}+labels"), |b| b.iter(|| with_labels(black_box(page))));
        group.finish();
    }
}

fn values(c: &mut Criterion) {
    for (name, page) in [("head", HEAD), ("old", OLD)] {
        let mut reader = Reader::new(page);
        let mut offsets = Vec::new();
        while let Ok(Some(line)) = reader.next_line() {
            if let Line::Sample(sample) = line {
                offsets.push(sample.value_at);
            }
        }
        let mut group = c.benchmark_group("value_line");
        group.throughput(Throughput::Elements(offsets.len() as u64));
        group.bench_function(name, |b| b.iter(|| values_at(black_box(page), black_box(&offsets))));
        group.finish();
    }
}

/// The page of the same node again and again: with the same lines, and with 1 % of them coming or
/// going. `cold` knows no page before: a full parse with every line looked up.
fn shape(c: &mut Criterion) {
    let mut group = c.benchmark_group("shape");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    let mut reader = PageReader::new(&Settings::default());
    group.bench_function("head/all_hit", |b| b.iter(|| reader.read(black_box(HEAD))));
    let row = b"awscni_assigned_ip_per_cidr{cidr=\"10.9.9.9/32\"} 1\n";
    let at = HEAD.windows(28).position(|w| w == b"awscni_assigned_ip_per_cidr{").unwrap_or(0);
    let longer = [&HEAD[..at], row, &HEAD[at..]].concat();
    group.bench_function("head/1%_churn", |b| {
        let mut pages = [HEAD, &longer].into_iter().cycle();
        b.iter(|| reader.read(black_box(pages.next().unwrap_or(HEAD))));
    });
    group.bench_function("head/cold", |b| {
        b.iter(|| PageReader::new(&Settings::default()).read(black_box(HEAD)));
    });
    group.finish();
}

criterion_group!(benches, full_parse, values, shape);
criterion_main!(benches);
