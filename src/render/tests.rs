//! What a page of ours looks like, from pages that went through the store.

use super::detail::{Level, Settings as Node};
use super::*;
use crate::model::{Moment, Source, Target, Targets};
use crate::observe::Observe;
use crate::parse::{Line, Reader};
use crate::store::{Answer, Settings, Store};
use std::collections::BTreeSet;

const HEAD: &str = include_str!("../../tests/data/head.prom");

fn view_of(pages: &[(&str, &str)]) -> View {
    let now = Moment { unix: 1.8e9, uptime: 30.0 };
    let store = Store::new(&Settings::default(), 30.0, Observe::new());
    let labels = [("zone", "us-west-2b"), ("team", "a\"b"), ("empty", "")];
    let target = |name: &str| Target {
        labels: labels.iter().copied().collect(),
        ..Target::new(name, "10.0.0.1", 61678, "/metrics", Source::File)
    };
    let list = pages.iter().map(|(name, _)| target(name)).collect();
    store.retarget(&Targets { list, synced: true, ..Targets::default() }, now);
    for (name, page) in pages {
        let answer = Answer { body: page.as_bytes(), date: None, at: now, seconds: 0.25 };
        if !page.is_empty() {
            store.scraped(&(*name).into(), answer).unwrap();
        }
    }
    store.view(now)
}

fn nodes_text(view: &View, narrow: &Narrow, settings: Node) -> String {
    let mut out = Vec::new();
    nodes(view, narrow, &Detail::new(settings), Format::Text004, &mut out);
    String::from_utf8(out).unwrap()
}

fn lines(text: &str, containing: &str) -> Vec<String> {
    text.lines().filter(|l| l.contains(containing)).map(str::to_owned).collect()
}

#[test]
fn core_shows_one_total_per_family_and_node() {
    let page = "awscni_ipamd_error_count{fn=\"a\"} 2\nawscni_ipamd_error_count{fn=\"b\"} 3\nawscni_assigned_ip_per_eni{eni=\"e\"} 1\n";
    let text =
        nodes_text(&view_of(&[("n1", page), ("n2", page)]), &Narrow::default(), Node::default());
    assert_eq!(
        lines(&text, "awscni_"),
        [
            "# HELP awscni_ipamd_error_count Errors of ipamd since it started.",
            "# TYPE awscni_ipamd_error_count counter",
            "awscni_ipamd_error_count{node=\"n1\"} 5",
            "awscni_ipamd_error_count{node=\"n2\"} 5",
        ]
    );
}

#[test]
fn full_shows_every_row_with_all_lines_of_a_family_together() {
    let page = "awscni_ipamd_error_count{fn=\"a\"} NaN\nawscni_zzz{x=\"y\"} 7\nawscni_aaa 1\n";
    let full = Node { detail: Level::Full, ..Node::default() };
    let text = nodes_text(&view_of(&[("n1", page), ("n2", page)]), &Narrow::default(), full);
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("awscni_")).collect();
    assert_eq!(
        rows,
        [
            "awscni_ipamd_error_count{node=\"n1\",fn=\"a\"} NaN",
            "awscni_ipamd_error_count{node=\"n2\",fn=\"a\"} NaN",
            "awscni_aaa{node=\"n1\"} 1",
            "awscni_aaa{node=\"n2\"} 1",
            "awscni_zzz{node=\"n1\",x=\"y\"} 7",
            "awscni_zzz{node=\"n2\",x=\"y\"} 7",
        ]
    );
}

#[test]
fn none_removes_every_series_with_the_label_node() {
    let none = Node { detail: Level::None, ..Node::default() };
    assert_eq!(nodes_text(&view_of(&[("n1", HEAD)]), &Narrow::default(), none), "");
}

#[test]
fn a_node_without_values_is_known_by_its_scrapes_alone() {
    let text = nodes_text(&view_of(&[("down", "")]), &Narrow::default(), Node::default());
    let rows: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(
        rows,
        [
            "vpccni_node_info{node=\"down\",zone=\"us-west-2b\",label_team=\"a\\\"b\"} 1",
            "vpccni_node_scrape_success{node=\"down\"} 0",
        ]
    );
}

#[test]
fn labels_of_a_target_are_shown_as_the_allow_list_says() {
    let none_of_them = Node { labels: vec!["other".to_owned()], ..Node::default() };
    let text = nodes_text(&view_of(&[("n", "")]), &Narrow::default(), none_of_them);
    assert!(!text.contains("label_team"), "{text}");
    assert!(text.contains("zone=\"us-west-2b\""), "well-known labels are always shown");
}

#[test]
fn hostile_node_names_are_escaped() {
    let text = nodes_text(
        &view_of(&[("a\"\n\\", "awscni_ip_max 1\n")]),
        &Narrow::default(),
        Node::default(),
    );
    assert_eq!(lines(&text, "awscni_ip_max{"), ["awscni_ip_max{node=\"a\\\"\\n\\\\\"} 1"]);
}

#[test]
fn filters_intersect_and_an_unknown_name_leaves_nothing() {
    let view = view_of(&[("n1", HEAD), ("n2", HEAD)]);
    let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    let one = Narrow {
        node: Some("n2".to_owned()),
        names: names(&["awscni_ip_max", "awscni_eni_max"]),
        shard: None,
    };
    let text = nodes_text(&view, &one, Node::default());
    let rows: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(rows, ["awscni_eni_max{node=\"n2\"} 4", "awscni_ip_max{node=\"n2\"} 56"]);
    let unknown = Narrow { names: names(&["awscni_ip"]), ..Narrow::default() };
    assert_eq!(nodes_text(&view, &unknown, Node::default()), "");
}

#[test]
fn a_sample_name_with_its_suffix_narrows_as_a_family_name_does() {
    let view = view_of(&[]);
    let only = |name: &str| {
        let mut out = Vec::new();
        cluster(
            &view,
            &Narrow { names: vec![name.to_owned()], ..Narrow::default() },
            Format::Text004,
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        text.lines().filter(|l| !l.starts_with('#')).count()
    };
    let family = "vpccni_cluster_ipamd_node_initialization_duration_seconds";
    assert_eq!((only(family), only(&format!("{family}_count"))), (3 * 14, 3));
}

#[test]
fn the_union_of_all_shards_is_the_whole_and_no_node_is_in_two() {
    let names: Vec<String> = (0..40).map(|i| format!("node-{i}")).collect();
    let pages: Vec<(&str, &str)> =
        names.iter().map(|n| (n.as_str(), "awscni_ip_max 1\n")).collect();
    let view = view_of(&pages);
    let rows = |narrow: &Narrow| -> Vec<String> {
        let text = nodes_text(&view, narrow, Node::default());
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
    };
    let whole: BTreeSet<String> = rows(&Narrow::default()).into_iter().collect();
    let shards: Vec<Vec<String>> =
        (0..3).map(|i| rows(&Narrow { shard: Some((i, 3)), ..Narrow::default() })).collect();
    assert!(shards.iter().all(|shard| !shard.is_empty()));
    assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), whole.len());
    assert_eq!(shards.concat().into_iter().collect::<BTreeSet<_>>(), whole);
}

#[test]
fn our_own_reader_reads_what_we_write_and_no_family_is_declared_twice() {
    let view = view_of(&[("n1", HEAD), ("n2", "awscni_new_thing{a=\"b\\\\c\"} 1\n")]);
    let mut out = Vec::new();
    cluster(&view, &Narrow::default(), Format::Text004, &mut out);
    let full = Detail::new(Node { detail: Level::Full, ..Node::default() });
    nodes(&view, &Narrow::default(), &full, Format::Text004, &mut out);
    let mut reader = Reader::new(&out);
    let (mut types, mut samples) = (Vec::new(), 0);
    while let Some(line) = reader.next_line().unwrap() {
        match line {
            Line::Type { name, .. } => types.push(name),
            Line::Sample(_) => samples += 1,
            Line::Help { .. } => {}
        }
    }
    assert!(samples > 500, "{samples}");
    let unique: BTreeSet<&str> = types.iter().copied().collect();
    assert_eq!(unique.len(), types.len());
    crate::store::PageReader::new(&Settings::default()).read(&out).unwrap();
}

/// A page of both scopes, as OpenMetrics.
fn open_page(view: &View, settings: Node) -> String {
    let mut out = Vec::new();
    cluster(view, &Narrow::default(), Format::OpenMetrics100, &mut out);
    nodes(view, &Narrow::default(), &Detail::new(settings), Format::OpenMetrics100, &mut out);
    out.extend_from_slice(dialect::EOF.as_bytes());
    String::from_utf8(out).unwrap()
}

/// Samples as name, labels and value, in which the dialects agree: suffixes and whole bounds aside.
fn samples(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let plain = |line: &str| {
        let line = line.replace("utilization_gsum", "utilization_sum");
        let line = line.replace("utilization_gcount", "utilization_count");
        line.replace(".0\"}", "\"}")
    };
    lines.map(plain).collect()
}

/// Everything that a node may serve and OpenMetrics would refuse in a typed family.
const ODD: &str = "awscni_add_ip_req_count NaN\nawscni_del_ip_req_count{reason=\"x\"} -3\n\
    # TYPE awscni_other histogram\nawscni_other_bucket{le=\"1\"} 5\nawscni_other_bucket{le=\"2\"} 3\n\
    awscni_other_sum NaN\n# TYPE awscni_more_total counter\nawscni_more_total 1\nawscni_more 2\n\
    # TYPE awscni_s summary\nawscni_s{quantile=\"0.5\"} NaN\nawscni_s_count -1\n";

#[test]
fn in_openmetrics_every_page_is_valid_and_has_the_samples_of_text() {
    let view = view_of(&[("n1", HEAD), ("n2", ODD), ("n3", "")]);
    for detail in [Level::Core, Level::Full, Level::None] {
        let settings = Node { detail, ..Node::default() };
        let open = open_page(&view, settings.clone());
        crate::parse::openmetrics::read(open.as_bytes())
            .unwrap_or_else(|why| panic!("{why:?}\n{open}"));
        let mut text = Vec::new();
        cluster(&view, &Narrow::default(), Format::Text004, &mut text);
        nodes(&view, &Narrow::default(), &Detail::new(settings), Format::Text004, &mut text);
        assert_eq!(samples(&open), samples(&String::from_utf8(text).unwrap()));
    }
}

#[test]
fn in_openmetrics_types_and_names_are_those_of_its_rules() {
    let view = view_of(&[("n1", HEAD)]);
    let open = open_page(&view, Node { detail: Level::Full, ..Node::default() });
    for line in [
        "# TYPE vpccni_cluster_cni_add_requests counter",
        "# TYPE vpccni_cluster_node_ip_utilization gaugehistogram",
        "# TYPE vpccni_cluster_aws_api_latency_seconds summary",
        "# TYPE awscni_add_ip_req_count unknown",
        "# TYPE awscni_aws_api_latency_ms_sum unknown",
        "# TYPE awscni_ip_max gauge",
        "# TYPE vpccni_node_info gauge",
    ] {
        assert!(open.lines().any(|l| l == line), "{line} is not in\n{open}");
    }
    let has = |part: &str| open.contains(part);
    assert!(has("\nvpccni_cluster_cni_add_requests_total "));
    assert!(has("_ip_utilization_bucket{le=\"1.0\"}") && has("_ip_utilization_gcount "));
    assert!(!has("_created") && !has("# UNIT"));
}

#[test]
fn in_openmetrics_a_name_is_asked_for_as_in_text() {
    let view = view_of(&[("n1", HEAD)]);
    let detail = Detail::new(Node { detail: Level::Full, ..Node::default() });
    for name in [
        "vpccni_cluster_cni_add_requests_total",
        "awscni_aws_api_latency_ms",
        "awscni_aws_api_latency_ms_sum",
        "vpccni_cluster_node_ip_utilization_sum",
        "vpccni_cluster_ipamd_startup_duration_seconds_bucket",
        "vpccni_cluster_aws_api_latency_seconds_count",
    ] {
        let narrow = Narrow { names: vec![name.to_owned()], ..Narrow::default() };
        let page = |format| {
            let mut out = Vec::new();
            cluster(&view, &narrow, format, &mut out);
            nodes(&view, &narrow, &detail, format, &mut out);
            samples(&String::from_utf8(out).unwrap())
        };
        let text = page(Format::Text004);
        assert!(!text.is_empty(), "{name}");
        assert_eq!(page(Format::OpenMetrics100), text, "{name}");
        let mut open = Vec::new();
        cluster(&view, &narrow, Format::OpenMetrics100, &mut open);
        nodes(&view, &narrow, &detail, Format::OpenMetrics100, &mut open);
        open.extend_from_slice(dialect::EOF.as_bytes());
        crate::parse::openmetrics::read(&open).unwrap();
    }
}
