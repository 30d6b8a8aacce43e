//! Prometheus 3, Debian's 2.42 and vmagent: each asks for the format that it likes, and what it has stored
//! equals the truth. Besides: other jobs that scrape the same nodes, or set the label node themselves.

use super::part;
use super::prometheus::{Prometheus, figures_at};
use crate::support::{Child, HANG, figures, get, until};
use crate::truth::Pair;
use serde_json::json;
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

/// Those of the README that match series of ours with each other.
const DOCUMENTED: [&str; 4] = [
    "awscni_assigned_ip_addresses / awscni_ip_max * on (node) group_left (zone, nodegroup) vpccni_node_info",
    "increase(vpccni_cluster_ip_requests_refused_total[10m])",
    "predict_linear(vpccni_cluster_ip_addresses_assigned[6h], 86400) > vpccni_cluster_ip_addresses_max",
    "sum by (error) (increase(vpccni_cluster_aws_api_errors_total[15m]))",
];

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
        for query in DOCUMENTED {
            // It panics where Prometheus answers with an error.
            let series = prometheus.vector(query);
            let ours = series
                .iter()
                .filter(|(labels, _)| labels.get("job").is_none_or(|job| job == "test"));
            if query.contains("group_left") {
                assert_eq!(ours.count(), 12, "{query}");
            }
        }
    }
}
