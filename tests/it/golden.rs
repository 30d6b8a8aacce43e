//! The scenarios recorded with the real cni-metrics-helper, replayed poll by poll through store and
//! aggregate: our gauges and increases equal what is true. The recordings stand outside the
//! project, in the folder that `VPCCNI_GOLDEN` names; without it the README's case alone is replayed.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use vpc_cni_exporter::aggregate::figures;
use vpc_cni_exporter::model::{Moment, Outcome, Source, Target, Targets};
use vpc_cni_exporter::observe::Observe;
use vpc_cni_exporter::store::{Answer, Settings, Store};

const INTERVAL: f64 = 30.0;
/// Long after the constant process_start_time_seconds of the recordings.
const BEGAN: f64 = 1.9e9;

/// ipamd's gauges of the recordings that are cluster figures of ours.
const GAUGES: [(&str, &str); 7] = [
    ("awscni_assigned_ip_addresses", "vpccni_cluster_ip_addresses_assigned"),
    ("awscni_total_ip_addresses", "vpccni_cluster_ip_addresses_attached"),
    ("awscni_ip_max", "vpccni_cluster_ip_addresses_max"),
    ("awscni_eni_allocated", "vpccni_cluster_enis_attached"),
    ("awscni_eni_max", "vpccni_cluster_enis_max"),
    ("awscni_total_ipv4_prefixes", "vpccni_cluster_ipv4_prefixes_attached"),
    ("awscni_ipamd_action_inprogress", "vpccni_cluster_ipamd_actions_in_progress"),
];

/// ipamd's counters of the recordings and ours.
const COUNTERS: [(&str, &str); 12] = [
    ("awscni_add_ip_req_count", "vpccni_cluster_cni_add_requests_total"),
    ("awscni_del_ip_req_count", "vpccni_cluster_cni_del_requests_total"),
    ("awscni_aws_api_error_count", "vpccni_cluster_aws_api_errors_total"),
    ("awscni_aws_utils_error_count", "vpccni_cluster_aws_utils_errors_total"),
    ("awscni_ipamd_error_count", "vpccni_cluster_ipamd_errors_total"),
    ("awscni_force_removed_enis", "vpccni_cluster_forced_eni_removals_total"),
    ("awscni_force_removed_ips", "vpccni_cluster_forced_ip_removals_total"),
    ("awscni_reconcile_count", "vpccni_cluster_reconcile_repairs_total"),
    ("awscni_pod_eni_error_count", "vpccni_cluster_pod_eni_errors_total"),
    ("awscni_ec2api_req_count", "vpccni_cluster_ec2_api_requests_total"),
    ("awscni_ec2api_error_count", "vpccni_cluster_ec2_api_errors_total"),
    ("awscni_no_available_ip_addresses", "vpccni_cluster_ip_requests_refused_total"),
];

/// A fleet whose pages are given.
struct Replay {
    store: Store,
    poll: u32,
}

impl Replay {
    fn new() -> Replay {
        Replay { store: Store::new(&Settings::default(), INTERVAL, Observe::new()), poll: 0 }
    }

    /// One round: `None` is a node that answers 503.
    fn poll(&mut self, pages: &BTreeMap<String, Option<String>>) {
        self.poll += 1;
        let uptime = f64::from(self.poll) * INTERVAL;
        let now = Moment { unix: BEGAN + uptime, uptime };
        let target = |name: &String| {
            Target::new(name.as_str(), name.as_str(), 61678, "/metrics", Source::Static)
        };
        let list = pages.keys().map(target).collect();
        self.store.retarget(&Targets { list, synced: true, ..Targets::default() }, now);
        for (name, page) in pages {
            let node = name.as_str().into();
            match page {
                Some(page) => {
                    let answer =
                        Answer { body: page.as_bytes(), date: None, at: now, seconds: 0.01 };
                    self.store.scraped(&node, answer).unwrap();
                }
                None => self.store.failed(&node, Outcome::HttpStatus, "503", now, 0.01),
            }
        }
    }

    /// Figures summed over their labels.
    fn sums(&self) -> BTreeMap<String, f64> {
        let uptime = f64::from(self.poll) * INTERVAL;
        let mut sums = BTreeMap::new();
        for figure in figures(&self.store.view(Moment { unix: BEGAN + uptime, uptime })) {
            for sample in figure.samples {
                *sums.entry(format!("{}{}", figure.name, sample.suffix)).or_insert(0.0) +=
                    sample.value.as_f64();
            }
        }
        sums
    }
}

#[test]
fn ecosystem_0_1_nodes_at_20_50_30_publish_an_increase_of_zero() {
    let mut replay = Replay::new();
    for _ in 0..5 {
        let pages = [("a", 20), ("b", 50), ("c", 30)]
            .map(|(name, n)| (name.to_owned(), Some(format!("awscni_add_ip_req_count {n}\n"))));
        replay.poll(&pages.into());
        assert_eq!(replay.sums()["vpccni_cluster_cni_add_requests_total"], 0.0);
    }
}

#[test]
fn the_recorded_scenarios_come_out_true() {
    let Ok(folder) = std::env::var("VPCCNI_GOLDEN") else {
        println!("VPCCNI_GOLDEN names no folder: the recorded scenarios were not replayed");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(Path::new(&folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    assert!(files.len() >= 12, "{folder} holds {} scenarios", files.len());
    for file in files {
        let scenario: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        replay(file.file_stem().unwrap().to_str().unwrap(), &scenario);
    }
}

fn replay(name: &str, scenario: &Value) {
    let mut replay = Replay::new();
    let mut owed: BTreeMap<&str, f64> = BTreeMap::new();
    let mut before: BTreeMap<String, f64> = BTreeMap::new();
    for (number, poll) in scenario["polls"].as_array().unwrap().iter().enumerate() {
        let at = format!("{name}, poll {}", number + 1);
        let nodes = poll["nodes"].as_object().unwrap();
        let pages: BTreeMap<String, Option<String>> = nodes
            .iter()
            .map(|(file, text)| match file.strip_suffix(".prom") {
                Some(node) => (node.to_owned(), Some(text.as_str().unwrap().to_owned())),
                None => (file.trim_end_matches(".fail.json").to_owned(), None),
            })
            .collect();
        let all_answered = pages.values().all(Option::is_some);
        replay.poll(&pages);
        let sums = replay.sums();
        let truth = &poll["true"];
        for (theirs, ours) in GAUGES {
            let expected = truth["gauges"][theirs].as_f64().unwrap();
            assert_eq!(sums[ours], expected, "{at}: {ours}");
        }
        let latency = [
            ("latency_ms_added", "vpccni_cluster_aws_api_latency_seconds_sum", 1000.0),
            ("latency_calls_added", "vpccni_cluster_aws_api_latency_seconds_count", 1.0),
        ];
        let increases = COUNTERS
            .iter()
            .map(|(theirs, ours)| (*ours, truth["counter_increase"][theirs].as_f64().unwrap(), 1.0))
            .chain(
                latency.map(|(theirs, ours, scale)| (ours, truth[theirs].as_f64().unwrap(), scale)),
            );
        for (ours, expected, scale) in increases {
            // What happened while a node could not be scraped arrives with its next good scrape.
            let owed = owed.entry(ours).or_default();
            *owed += expected - (sums[ours] - before.get(ours).copied().unwrap_or(0.0)) * scale;
            if all_answered {
                assert!(owed.abs() < 1e-6, "{at}: {ours} is short of {owed}");
            } else {
                assert!(*owed > -1e-6, "{at}: {ours} counts {owed} too much");
            }
        }
        before = sums;
    }
}
