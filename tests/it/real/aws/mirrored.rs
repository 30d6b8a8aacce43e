//! The whole program, its fleet, and what of it reached AWS. Comes in: faults, absences, troubles of the
//! fleet. Goes out: sums over all that CloudWatch has, held against `/metrics`, which is held against the
//! truth. Never: a figure of the program's own about what it sent, where AWS's can be had.

use super::double::{Double, script};
use crate::real::part;
use crate::support::{figures, get, key, program, run, try_get, until};
use crate::truth::Pair;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use vpc_cni_exporter::catalog::{FAMILIES, Rule};
use vpc_cni_exporter::model::Kind;

/// Series of one cluster: points as `tests/aws/extract.py` prints them.
type Series = BTreeMap<String, Vec<[f64; 5]>>;

/// The program as it mirrors to this AWS.
pub(crate) fn mirroring(double: &Double, flags: &[&str]) -> Command {
    let mut command = program();
    command.envs(double.environment()).envs(Double::keys());
    command.args(["--mirror.interval=1s", "--mirror.max-billed-metrics=1000"]).args(flags);
    command
}

/// The mirror's part of `/api/v1/status`.
pub(crate) fn mirror(web: SocketAddr) -> Value {
    until("status", || {
        let answer = try_get(web, "/api/v1/status", &[]).ok()?;
        Some(serde_json::from_str::<Value>(&answer.text()).ok()?["mirror"].clone())
    })
}

/// Of one outlet.
pub(crate) fn outlet(web: SocketAddr, name: &str) -> Value {
    until(&format!("the outlet {name}"), || {
        let outlets = mirror(web)["outlets"].clone();
        outlets.as_array()?.iter().find(|outlet| outlet["outlet"] == name).cloned()
    })
}

/// Waits until so many intervals more have been cut, and nothing waits.
pub(crate) fn all_is_sent(web: SocketAddr, outlets: &[&str]) {
    for name in outlets {
        let sent = || outlet(web, name)["points_sent"].as_u64().unwrap();
        for _ in 0..2 {
            let before = sent();
            until(&format!("another interval, by {name}"), || (sent() > before).then_some(()));
        }
        until(&format!("an empty queue of {name}"), || {
            (outlet(web, name)["queue_intervals"] == 0).then_some(())
        });
    }
}

/// What the cluster scope serves: labels that are no dimension are added up.
pub(crate) fn served(web: SocketAddr) -> BTreeMap<String, f64> {
    let page = figures(&get(web, "/metrics?scope=cluster", &[]).text());
    let mut sums = BTreeMap::new();
    for (series, value) in page {
        let (name, labels) = series.split_once('{').unwrap_or((&series, ""));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('='));
        let labels: Vec<(&str, &str)> = labels
            .filter(|(label, _)| ["ip_family", "state"].contains(label))
            .map(|(label, value)| (label, value.trim_matches('"')))
            .collect();
        *sums.entry(key(name, labels)).or_insert(0.0) += value;
    }
    sums
}

/// The helper's names: sums over all that CloudWatch has of each.
pub(crate) fn sums_of_helper(double: &Double, dimension: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for point in double.ask("/stored?namespace=Kubernetes&period=1").as_array().unwrap() {
        assert_eq!(point["dimensions"], serde_json::json!({ "CLUSTER_ID": dimension }));
        let name = point["name"].as_str().unwrap().to_owned();
        // One point an interval, but for distributions: whoever sends one twice is found out.
        assert!(name.ends_with("PerNode") || point["samplecount"] == 1.0, "{point}");
        *sums.entry(name).or_insert(0.0) += point["sum"].as_f64().unwrap();
    }
    sums
}

/// The counters that the helper has a name for: that name, and ours.
pub(crate) fn counters() -> impl Iterator<Item = (&'static str, &'static str)> {
    FAMILIES.iter().filter_map(|family| {
        let cluster = family.cluster.as_ref().filter(|c| c.rule == Rule::Increase)?;
        Some((family.cloudwatch.filter(|_| cluster.kind == Kind::Counter)?, cluster.name))
    })
}

/// Every counter has the same sum in CloudWatch as on the page.
pub(crate) fn helper_adds_up(double: &Double, cluster: &str, served: &BTreeMap<String, f64>) {
    let stored = sums_of_helper(double, cluster);
    let mut compared = 0;
    for (theirs, ours) in counters() {
        assert_eq!(stored.get(theirs), served.get(ours), "{theirs} and {ours}");
        compared += 1;
    }
    assert!(compared >= 10, "{compared} counters");
}

/// What these events say, extracted by another program than ours.
pub(crate) fn extracted(events: &str, cluster: &str) -> Series {
    let mut command = Command::new(part("VPCCNI_AWS_PYTHON"));
    command.arg(script("extract.py"));
    // AWS's own schema stands outside the project.
    if let Some(schema) = std::env::var_os("VPCCNI_EMF_SCHEMA") {
        command.arg(schema);
    }
    let ended = run(command, events.as_bytes());
    assert!(ended.status.success(), "{}", ended.stderr);
    let mut all: BTreeMap<String, Series> = serde_json::from_str(&ended.stdout).unwrap();
    let series = all.remove(cluster).unwrap();
    assert!(all.is_empty(), "another cluster: {:?}", all.keys());
    series
}

/// Every counter that is served has the same sum in these events, and every gauge the same last value.
pub(crate) fn events_add_up(series: &Series, served: &BTreeMap<String, f64>) {
    let (mut counters, mut gauges) = (0, 0);
    for (name, points) in series {
        let Some(value) = served.get(name) else {
            // A histogram on the page, a distribution here.
            assert!(name.starts_with("vpccni_cluster_node_ip_utilization"), "not served: {name}");
            continue;
        };
        let base = name.split('{').next().unwrap();
        let of_histogram = base.ends_with("_sum") || base.ends_with("_count");
        if base.ends_with("_total") || of_histogram {
            let sum: f64 = points.iter().map(|point| point[1]).sum();
            let equal = (sum - value).abs() <= value.abs() * 1e-9;
            assert!(equal, "{name}: {sum} in events, {value} served");
            counters += 1;
        } else {
            assert_eq!(points.last().unwrap()[1], *value, "{name}");
            gauges += 1;
        }
    }
    assert!(counters >= 15 && gauges >= 8, "{counters} counters, {gauges} gauges");
    for name in served.keys().filter(|name| name.ends_with("_total")) {
        assert!(series.contains_key(name), "{name} is not sent");
    }
}

/// The events in a log stream.
pub(crate) fn logged(double: &Double, group: &str, stream: &str) -> String {
    let events = double.ask(&format!("/events?group={group}&stream={stream}"));
    let message = |event: &Value| event["message"].as_str().unwrap().to_owned() + "\n";
    events.as_array().unwrap().iter().map(message).collect()
}

/// A CloudWatch agent, as far as the program knows it: whatever is sent to it is kept.
pub(crate) struct Agent {
    pub(super) address: SocketAddr,
    lines: Arc<Mutex<String>>,
}

impl Agent {
    pub(crate) fn start() -> Agent {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lines = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&lines);
        // Ends with the process: the test's own is the one that connects.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || {
                    for line in BufReader::new(stream.unwrap()).lines() {
                        let Ok(line) = line else { return };
                        kept.lock().unwrap().push_str(&(line + "\n"));
                    }
                });
            }
        });
        Agent { address, lines }
    }

    pub(crate) fn events(&self) -> String {
        self.lines.lock().unwrap().clone()
    }
}

#[test]
fn an_hour_without_cloudwatch_is_made_up_for_and_every_outlet_adds_up_to_what_is_served() {
    let double = Double::start();
    let agent = Agent::start();
    let to = format!("--mirror.to=put,emf+logs://group/stream,emf+tcp://{}", agent.address);
    let service = mirroring(&double, &["--cluster.name=blue", &to]);
    let mut pair = Pair::start_of("127.81.0.1", 20, 5, &["--calm"], service);
    let nodes: Value = serde_json::from_str(&get(pair.truth(), "/nodes", &[]).text()).unwrap();
    let name = |at: usize| nodes[at]["name"].as_str().unwrap().to_owned();
    let trouble = [
        format!("/restart?node={}", name(0)),
        format!("/leave?node={}", name(1)),
        format!("/misbehave?node={}&how=refuse", name(2)),
        "/join?old=true".to_owned(),
        format!("/misbehave?node={}&how=ok", name(2)),
        format!("/restart?node={}", name(3)),
    ];
    pair.control("/step?seconds=900");
    all_is_sent(pair.web, &["put", "logs", "agent"]);
    double.tell("/away");
    // An hour of the mirror's: sixty intervals.
    for at in 0..60 {
        let waiting = || outlet(pair.web, "put")["queue_intervals"].as_u64().unwrap();
        until("another interval that waits", || (waiting() > at).then_some(()));
        if at % 5 == 0 {
            pair.control("/step?seconds=300");
        }
        if at % 10 == 5 {
            pair.control(&trouble[at as usize / 10]);
        }
    }
    let put = outlet(pair.web, "put");
    assert_eq!((&put["state"], &put["reason"]), (&"refused".into(), &"unreachable".into()));
    double.tell("/back");
    pair.settle();
    pair.compare("after an hour without CloudWatch");
    all_is_sent(pair.web, &["put", "logs", "agent"]);
    for name in ["put", "logs", "agent"] {
        let outlet = outlet(pair.web, name);
        assert_eq!(outlet["points_unconfirmed"], 0, "{outlet}");
        assert_eq!(outlet["points_dropped"], serde_json::json!({}), "{outlet}");
    }
    let served = served(pair.web);
    helper_adds_up(&double, "blue", &served);
    events_add_up(&extracted(&logged(&double, "group", "stream"), "blue"), &served);
    events_add_up(&extracted(&agent.events(), "blue"), &served);
    assert_eq!(double.ask("/groups"), serde_json::json!({ "group": 14 }));
}

#[test]
fn whatever_cloudwatch_answers_nothing_is_counted_twice_and_what_is_unsure_is_said() {
    let double = Double::start();
    let service = mirroring(&double, &["--cluster.name=blue", "--mirror.to=put"]);
    let mut pair = Pair::start_of("127.82.0.1", 5, 6, &["--calm"], service);
    for kind in ["throttle", "too_many", "internal", "unavailable", "denied", "cut_after", "half"] {
        double.tell(&format!("/fault?kind={kind}&count=2&operation=PutMetricData"));
        pair.control("/step?seconds=300");
        all_is_sent(pair.web, &["put"]);
    }
    pair.settle();
    pair.compare("after all faults");
    all_is_sent(pair.web, &["put"]);
    // moto had those whose answer was lost: sent again they would be there twice.
    helper_adds_up(&double, "blue", &served(pair.web));
    let put = outlet(pair.web, "put");
    assert!(put["points_unconfirmed"].as_u64().unwrap() > 0, "{put}");
    assert_eq!(put["points_dropped"], serde_json::json!({}), "{put}");
    let failures = figures(&get(pair.web, "/metrics?scope=self", &[]).text());
    for reason in ["throttled", "server", "forbidden"] {
        let name = key(
            "vpccni_exporter_mirror_failures_total",
            vec![("outlet", "put"), ("reason", reason)],
        );
        assert!(failures[&name] >= 2.0, "{name}: {}", failures[&name]);
    }
}

#[test]
fn what_waits_is_sent_before_the_process_ends() {
    let double = Double::start();
    let service = mirroring(&double, &["--cluster.name=blue", "--mirror.to=put"]);
    let mut pair = Pair::start_of("127.83.0.1", 5, 7, &["--calm"], service);
    double.tell("/away");
    pair.control("/step?seconds=900");
    pair.settle();
    pair.compare("before the end");
    let waiting = || outlet(pair.web, "put")["queue_intervals"].as_u64().unwrap();
    let now = waiting();
    until("three intervals more that wait", || (waiting() > now + 3).then_some(()));
    let served = served(pair.web);
    double.tell("/back");
    let service = pair.take_service();
    service.signal("TERM");
    let ended = service.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    helper_adds_up(&double, "blue", &served);
}
