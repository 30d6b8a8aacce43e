//! Fleet, service and independent readers: what a real Prometheus has stored equals what the fleet knows,
//! promtool finds no fault with our own families, and PyPI's reader reads what our own does.

use super::prometheus::{Prometheus, promtool_is_content_with};
use super::reader::{Dialect, read};
use crate::support::{figures, get};
use crate::truth::Pair;

#[test]
fn what_prometheus_has_stored_equals_the_truth() {
    let mut pair = Pair::start("127.9.3.1", 40, 3, &[]);
    let prometheus = Prometheus::scraping(&[pair.web]);
    for hours in 1..=3 {
        pair.control("/step?seconds=1800");
        pair.control("/step?seconds=1800");
        pair.settle();
        prometheus.until_scraped(pair.web);
        let stored = prometheus.figures("{__name__=~\"vpccni_cluster_.*\"}");
        pair.compare_with(stored, &format!("in Prometheus, after {hours} hours"));
        let summed = prometheus.value("sum(awscni_eni_allocated)");
        assert_eq!(
            summed,
            Some(pair.sum("vpccni_cluster_enis_attached")),
            "by node, summed by PromQL"
        );
    }
    let nodes = prometheus
        .vector("vpccni_node_scrape_success * on (node) group_left (zone) vpccni_node_info");
    assert_eq!(
        nodes.len() as f64,
        pair.sum("vpccni_cluster_nodes"),
        "the join on node is one to one"
    );
    assert!(nodes.iter().all(|(labels, _)| labels["zone"].starts_with("us-west-2")));
}

#[test]
fn promtool_has_nothing_to_say_about_our_own_families() {
    let pair = Pair::start("127.9.4.1", 10, 4, &[]);
    let page = get(pair.web, "/metrics", &[]).text();
    let ours = |line: &&str| {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        name.starts_with("vpccni_")
    };
    let ours: Vec<&str> = page.lines().filter(ours).collect();
    assert!(ours.len() > 500, "{}", ours.len());
    promtool_is_content_with(&(ours.join("\n") + "\n"));
}

#[test]
fn an_independent_reader_reads_the_whole_page_as_our_own_does() {
    let mut pair = Pair::start_with("127.9.5.1", 25, 5, &[], &["--node.detail", "full"]);
    pair.control("/step?seconds=3600");
    pair.settle();
    pair.compare("with node detail full");
    let page = get(pair.web, "/metrics?scope=cluster&scope=node", &[("Accept-Encoding", "gzip")]);
    assert_eq!(page.header("content-encoding"), Some("gzip"));
    let page = page.text();
    let (theirs, ours) = (read(&page, Dialect::Text), figures(&page));
    assert!(ours.len() > 1_000, "{}", ours.len());
    assert_eq!(theirs.len(), ours.len());
    for (key, value) in &ours {
        let same = theirs[key] == *value || (theirs[key].is_nan() && value.is_nan());
        assert!(same, "{key}: {} and {value}", theirs[key]);
    }
}

#[test]
fn an_independent_strict_reader_reads_our_openmetrics() {
    for detail in ["core", "full"] {
        let mut pair = Pair::start_with("127.9.9.1", 15, 9, &[], &["--node.detail", detail]);
        pair.control("/step?seconds=3600");
        pair.settle();
        pair.compare("before it is read");
        let open = [("Accept", "application/openmetrics-text")];
        for path in
            ["/metrics", "/metrics?scope=cluster", "/metrics?scope=self", "/metrics?name[]=none"]
        {
            let answer = get(pair.web, path, &open);
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            assert_eq!(answer.header("content-type"), Some(kind));
            let page = answer.text();
            let (theirs, ours) = (read(&page, Dialect::OpenMetrics), figures(&page));
            assert_eq!(theirs.len(), ours.len(), "{path}");
            for (key, value) in &ours {
                let same = theirs[key] == *value || (theirs[key].is_nan() && value.is_nan());
                assert!(same, "{path}: {key}: {} and {value}", theirs[key]);
            }
        }
    }
}
