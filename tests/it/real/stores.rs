//! Prometheus 3, Debian's 2.42 and vmagent: each asks for the format that it likes, and what it has stored
//! equals the truth. Besides: other jobs that scrape the same nodes, or set the label node themselves.

use super::part;
use super::prometheus::{Prometheus, figures_at};
use crate::support::{Child, HANG, figures, get, until};
use crate::truth::Pair;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CLUSTER: &str = "{__name__=~\"vpccni_cluster_.*\"}";
const BOTH: [&str; 2] = ["VPCCNI_PROMETHEUS", "VPCCNI_PROMETHEUS_2"];

#[test]
fn each_prometheus_stores_the_truth_in_the_format_that_suits_the_page() {
    let mut pair = Pair::start("127.9.6.1", 20, 6, &[]);
    pair.control("/step?seconds=3600");
    pair.settle();
    for variable in BOTH {
        let one_scope = json!({ "params": { "scope": ["cluster"] } });
        for (settings, open) in [(json!({}), false), (one_scope, true)] {
            let prometheus = Prometheus::of(variable, &[pair.web], settings, json!([]));
            prometheus.until_scraped(pair.web);
            // In OpenMetrics the sums of a picture of now have names of their own.
            let stored = prometheus.figures(CLUSTER);
            let stored = stored
                .into_iter()
                .map(|(key, value)| {
                    let key = key.replace("_utilization_gsum", "_utilization_sum");
                    (key.replace("_utilization_gcount", "_utilization_count"), value)
                })
                .collect();
            pair.compare_with(stored, &format!("in {variable}, OpenMetrics: {open}"));
            let types = prometheus.types();
            let several: Vec<_> = types.iter().filter(|(_, types)| types.len() != 1).collect();
            assert!(several.is_empty(), "{variable}: {several:?}");
            let is = |name: &str, kind: &str| {
                assert_eq!(types.get(name).map(|t| &*t[0]), Some(kind), "{variable}: {name}");
            };
            // A counter's family has another name in OpenMetrics: that tells the format.
            if open {
                is("vpccni_cluster_cni_add_requests", "counter");
                is("vpccni_cluster_node_ip_utilization", "gaugehistogram");
            } else {
                is("vpccni_cluster_cni_add_requests_total", "counter");
                is("vpccni_cluster_node_ip_utilization", "histogram");
                is("awscni_add_ip_req_count", "counter");
                is("awscni_ip_max", "gauge");
            }
            is("vpccni_cluster_aws_api_latency_seconds", "summary");
        }
    }
}

/// vmagent and the database that it writes to. The order is that of the ends.
struct Victoria {
    agent: Child,
    store: Child,
    address: SocketAddr,
    _folder: TempDir,
}

fn listening(process: &Child) -> SocketAddr {
    process.line("line that says where it listens", |line| {
        let rest = line.split_once("started server at http://")?.1;
        rest.trim().trim_end_matches('/').parse().ok()
    })
}

impl Victoria {
    fn scraping(target: SocketAddr) -> Victoria {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("scrape.yml");
        let job = json!({ "job_name": "test", "honor_labels": true,
            "static_configs": [{ "targets": [target] }] });
        let all = json!({ "global": { "scrape_interval": "1s" }, "scrape_configs": [job] });
        fs::write(&config, all.to_string()).unwrap();
        let mut command = Command::new(part("VPCCNI_VICTORIA_METRICS"));
        command
            .args(["-httpListenAddr=127.0.0.1:0", "-search.latencyOffset=0s"])
            .arg("-inmemoryDataFlushInterval=1s")
            .arg(format!("-storageDataPath={}", folder.path().join("data").display()));
        let store = Child::start(command);
        let address = listening(&store);
        let mut command = Command::new(part("VPCCNI_VMAGENT"));
        command
            .arg("-httpListenAddr=127.0.0.1:0")
            .arg(format!("-promscrape.config={}", config.display()))
            .arg(format!("-remoteWrite.url=http://{address}/api/v1/write"))
            .arg("-remoteWrite.flushInterval=200ms")
            .arg(format!("-remoteWrite.tmpDataPath={}", folder.path().join("queue").display()));
        let agent = Child::start(command);
        listening(&agent);
        Victoria { agent, store, address, _folder: folder }
    }
}

#[test]
fn vmagent_stores_what_the_page_says() {
    let mut pair = Pair::start("127.9.7.1", 20, 7, &[]);
    pair.control("/step?seconds=3600");
    pair.settle();
    let victoria = Victoria::scraping(pair.web);
    let web = pair.web;
    let cluster = |page: &str| figures(&get(web, page, &[]).text());
    let page = cluster("/metrics?scope=cluster");
    // It keeps decimals, of which a sum of shares has more than fit.
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs();
    let differ = || -> Vec<String> {
        let stored = figures_at(victoria.address, CLUSTER);
        let wrong = |(key, value): (&String, &f64)| {
            // A label without a value is none, in every store.
            let there = stored.get(&key.replace("failure_reason=\"\",", "")).copied();
            (!there.is_some_and(|there| close(*value, there)))
                .then(|| format!("{key} {value}, stored {there:?}"))
        };
        page.iter().filter_map(wrong).collect()
    };
    let began = Instant::now();
    while !differ().is_empty() && began.elapsed() < HANG {
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(differ(), Vec::<String>::new(), "of {} figures", page.len());
    pair.compare("the page itself");
    let nodes = figures_at(victoria.address, "awscni_add_ip_req_count");
    let wanted = cluster("/metrics?name[]=awscni_add_ip_req_count");
    assert_eq!(nodes, wanted, "{}{}", victoria.agent.so_far(), victoria.store.so_far());
}

/// Where the README says how full the nodes are.
const WHERE: &str = "awscni_assigned_ip_addresses / vpccni_node_ip_addresses_usable * on (node) group_left (zone, nodegroup) vpccni_node_info";
/// Whether pods are refused addresses.
const REFUSED: &str = "increase(vpccni_cluster_ip_requests_refused_total[10m])";
/// When there are no more.
const WHEN: &str = "predict_linear(vpccni_cluster_ip_addresses_assigned[6h], 86400) > vpccni_cluster_ip_addresses_usable";
/// Why.
const WHY: &str = "sum by (error) (increase(vpccni_cluster_aws_api_errors_total[15m]))";

/// What the documented queries say of a fleet at rest, by the page alone: nothing grows, nothing runs out.
fn documented(prometheus: &Prometheus, page: &BTreeMap<String, f64>) {
    let ours = |query: &str| -> Vec<(BTreeMap<String, String>, f64)> {
        let series = prometheus.vector(query).into_iter();
        series.filter(|(labels, _)| labels.get("job").is_none_or(|job| job == "test")).collect()
    };
    let full: BTreeMap<String, f64> =
        ours(WHERE).into_iter().map(|(labels, value)| (labels["node"].clone(), value)).collect();
    let of = |name: &str, node: &str| page[&format!("{name}{{node=\"{node}\"}}")];
    assert_eq!(full.len(), 12);
    for (node, share) in &full {
        let used = of("awscni_assigned_ip_addresses", node);
        assert_eq!(*share, used / of("vpccni_node_ip_addresses_usable", node), "{node}");
    }
    // It takes a second scrape.
    let grown =
        |query: &str| until(query, || Some(ours(query)).filter(|series| !series.is_empty()));
    let refused: Vec<f64> = grown(REFUSED).into_iter().map(|(_, value)| value).collect();
    assert_eq!(refused, [0.0]);
    let mut errors: Vec<String> = grown(WHY)
        .into_iter()
        .map(|(labels, value)| {
            assert_eq!(value, 0.0, "{labels:?}");
            labels["error"].clone()
        })
        .collect();
    errors.sort();
    let mut told: Vec<String> = page
        .keys()
        .filter(|key| key.starts_with("vpccni_cluster_aws_api_errors_total{"))
        .map(|key| key.split("error=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
        .collect();
    told.sort();
    told.dedup();
    assert_eq!(errors, told);
    assert_eq!(ours(WHEN), [], "tomorrow is as today, and below the most there can be");
    let (tomorrow, _) = WHEN.split_once(" > ").unwrap();
    let tomorrow: BTreeMap<String, f64> = grown(tomorrow)
        .into_iter()
        .map(|(labels, value)| (labels["ip_family"].clone(), value))
        .collect();
    for (family, value) in tomorrow {
        let now = page[&format!("vpccni_cluster_ip_addresses_assigned{{ip_family=\"{family}\"}}")];
        assert!((value - now).abs() < 1e-6, "{family}: {value}, now {now}");
    }
}

#[test]
fn the_queries_under_test_are_those_of_the_readme() {
    let readme = include_str!("../../../README.md");
    for query in [WHERE, REFUSED, WHEN, WHY] {
        assert!(readme.contains(&format!("`{query}`")), "{query}");
    }
}

#[test]
fn other_jobs_on_the_same_nodes_and_a_target_label_node_break_no_documented_query() {
    let pair = Pair::start("127.9.8.1", 12, 8, &[]);
    pair.settle();
    let nodes: serde_json::Value =
        serde_json::from_str(&get(pair.web, "/api/v1/nodes", &[]).text()).unwrap();
    let nodes = nodes["nodes"].as_array().unwrap();
    // As a PodMonitor of aws-node does it: the same names, from the nodes themselves.
    let groups: Vec<serde_json::Value> = nodes
        .iter()
        .map(|node| json!({ "targets": [node["address"]], "labels": { "node": node["node"] } }))
        .collect();
    let second = json!([{ "job_name": "aws-node", "static_configs": groups }]);
    // Ours wins over a target label of that name.
    let relabeled =
        json!({ "relabel_configs": [{ "target_label": "node", "replacement": "where-it-runs" }] });
    for variable in BOTH {
        let prometheus = Prometheus::of(variable, &[pair.web], relabeled.clone(), second.clone());
        prometheus.until_scraped(pair.web);
        until("the other job's series", || {
            (prometheus.value("count(awscni_ip_max{job=\"aws-node\"})") == Some(12.0)).then_some(())
        });
        let names = prometheus.vector("vpccni_node_info");
        assert_eq!(names.len(), 12);
        assert!(names.iter().all(|(labels, _)| labels["node"] != "where-it-runs"));
        documented(&prometheus, &figures(&get(pair.web, "/metrics", &[]).text()));
    }
}
