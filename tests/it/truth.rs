//! The truth test: fleet and service as two processes. The fleet knows every value that each node last
//! served completely; whenever its story stands still and everyone has been scraped since, every
//! cluster figure of the service equals what the fleet knows.

use crate::support::{Child, figures, get, post, program, try_get, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds between scrapes of a node.
const INTERVAL: f64 = 0.5;

/// Rounds after which a node that fails has left the sums (`--scrape.stale-after`, and one more).
const SETTLED_ROUNDS: u64 = 6;

/// Floats that are sums of fractions agree within this (truth rule 10).
const RELATIVE: f64 = 1e-12;

/// A fleet and a service that scrapes it. The story stands still unless it is stepped.
pub(crate) struct Pair {
    _folder: tempfile::TempDir,
    fleet: Child,
    truth: SocketAddr,
    /// None where the fleet's process is the service's too.
    service: Option<Child>,
    /// Where the service listens.
    pub(crate) web: SocketAddr,
    /// Unix seconds just before the service began.
    began: f64,
    /// Seconds between scrapes of a node.
    interval: f64,
    /// The counters as they were last seen.
    counters: BTreeMap<String, f64>,
}

impl Pair {
    pub(crate) fn start(base: &str, nodes: u32, seed: u32, flags: &[&str]) -> Pair {
        Pair::start_with(base, nodes, seed, flags, &[])
    }

    /// With flags of the fleet and of the service.
    pub(crate) fn start_with(
        base: &str,
        nodes: u32,
        seed: u32,
        flags: &[&str],
        service: &[&str],
    ) -> Pair {
        let mut command = program();
        command.args(service);
        Pair::start_of(base, nodes, seed, flags, command)
    }

    /// With flags of the fleet, and a service to which those are added that lead it to the fleet.
    #[allow(
        clippy::disallowed_methods,
        reason = "the test is an edge: it tells the fleet since when"
    )]
    pub(crate) fn start_of(
        base: &str,
        nodes: u32,
        seed: u32,
        flags: &[&str],
        mut service: Command,
    ) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("targets.json");
        let (nodes, seed) = (nodes.to_string(), seed.to_string());
        let file = file.to_str().unwrap();
        let mut args = vec![
            "fleet",
            "--nodes",
            &nodes,
            "--seed",
            &seed,
            "--write-targets",
            file,
            "--port",
            "0",
            "--address-base",
            base,
            "--truth",
            "127.0.0.1:0",
        ];
        args.extend(flags);
        let fleet = Child::program(args);
        let truth = fleet.line("line that says where the truth is", |line| {
            let at = line.find("127.0.0.1:").filter(|_| line.to_lowercase().contains("truth"))?;
            let end = line[at..].find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
            line[at..end.map_or(line.len(), |end| at + end)].parse().ok()
        });
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        service.args(["--discover.file", file, "--web.listen-address", "127.0.0.1:0"]);
        service.args(["--scrape.interval", "500ms", "--publish.interval", "100ms"]);
        let service = Child::start(service);
        let web = service.listening();
        let mut pair = Pair {
            _folder: folder,
            fleet,
            truth,
            service: Some(service),
            web,
            began,
            interval: INTERVAL,
            counters: BTreeMap::new(),
        };
        pair.begin();
        pair
    }

    /// The demo, as it runs for everybody.
    fn demo(nodes: u32) -> Pair {
        let mut command = program();
        command.args(["demo", "--nodes", &nodes.to_string(), "--interval", "500ms"]);
        command.args(["--web.listen-address", "127.0.0.1:0"]);
        Pair::of_one(command)
    }

    /// A command that runs both, and says where they are as the demo does.
    #[allow(
        clippy::disallowed_methods,
        reason = "the test is an edge: it tells the fleet since when"
    )]
    pub(crate) fn of_one(command: Command) -> Pair {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let fleet = Child::start(command);
        let address = |word: &str| {
            fleet.line("line that says where to look", |line| {
                let at = line.strip_prefix(word)?.find("http://")? + word.len() + "http://".len();
                line[at..].split('/').next()?.parse().ok()
            })
        };
        let (web, truth) = (address("figures"), address("truth"));
        let folder = tempfile::tempdir().unwrap();
        let counters = BTreeMap::new();
        let interval = INTERVAL;
        let mut pair =
            Pair { _folder: folder, fleet, truth, service: None, web, began, interval, counters };
        pair.begin();
        pair
    }

    /// A fleet of the test's own, by its truth, and a service that began at this time (Unix seconds) and
    /// scrapes a node whenever these seconds have passed.
    pub(crate) fn over(truth: SocketAddr, service: Child, began: f64, interval: f64) -> Pair {
        let (folder, web) = (tempfile::tempdir().unwrap(), service.listening());
        let counters = BTreeMap::new();
        let mut pair = Pair {
            _folder: folder,
            fleet: service,
            truth,
            service: None,
            web,
            began,
            interval,
            counters,
        };
        pair.begin();
        pair
    }

    /// All that the fleet's process wrote, which is the service's where they are one or the fleet has none.
    pub(crate) fn log(&self) -> String {
        self.fleet.so_far()
    }

    /// Where the truth is.
    pub(crate) fn truth(&self) -> SocketAddr {
        self.truth
    }

    /// The service's process, which is one of its own; the fleet lives on while the pair does.
    pub(crate) fn take_service(&mut self) -> Child {
        self.service.take().unwrap()
    }

    /// The fleet's process, or the service's where they are one.
    pub(crate) fn process(self) -> Child {
        self.fleet
    }

    fn begin(&mut self) {
        self.control("/pause");
        until("first view", || self.status()["view"]["generation"].as_u64());
        self.counters = self.served().iter().map(|(key, value)| (normal(key), *value)).collect();
    }

    pub(crate) fn control(&self, path: &str) {
        let answer = post(self.truth, path);
        assert!(answer.status < 300, "POST {path}: {} {}", answer.status, answer.text());
    }

    fn status(&self) -> Value {
        let answer = try_get(self.web, "/api/v1/status", &[]).unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Waits for rounds that began after this call to close, and for a view made after them.
    pub(crate) fn settle(&self) {
        let rounds = |status: &Value| status["rounds_closed"].as_u64().unwrap();
        let closed = rounds(&self.status()) + SETTLED_ROUNDS;
        let status = until("closed rounds", || Some(self.status()).filter(|s| rounds(s) >= closed));
        let generation = status["view"]["generation"].as_u64().unwrap();
        until("a newer view", || {
            self.status()["view"]["generation"].as_u64().filter(|g| *g > generation)
        });
    }

    fn served(&self) -> BTreeMap<String, f64> {
        figures(&get(self.web, "/metrics?scope=cluster", &[]).text())
    }

    fn known(&self) -> Value {
        let path = format!("/truth?since={}&stale_after={}", self.began, self.interval * 3.0);
        serde_json::from_slice(&get(self.truth, &path, &[]).body).unwrap()
    }

    /// Holds every cluster figure against the truth, and the counters against themselves before.
    pub(crate) fn compare(&mut self, when: &str) {
        self.compare_with(self.served(), when);
    }

    /// The same with figures that came another way.
    pub(crate) fn compare_with(&mut self, served: BTreeMap<String, f64>, when: &str) {
        let whole = self.known();
        let served: BTreeMap<String, f64> =
            served.iter().map(|(key, value)| (normal(key), *value)).collect();
        let known = |part: &str| -> BTreeMap<String, f64> {
            let part = whole[part].as_object().unwrap();
            part.iter().map(|(key, value)| (normal(key), value.as_f64().unwrap())).collect()
        };
        let (gauges, increases) = (known("gauges"), known("increase"));
        let expected: BTreeMap<&String, f64> =
            gauges.iter().chain(&increases).map(|(key, value)| (key, *value)).collect();
        let mut wrong = Vec::new();
        let equal = |a: f64, b: f64| (a - b).abs() <= b.abs() * RELATIVE;
        for (key, value) in served.iter().filter(|(key, _)| is_told(key)) {
            let truth = expected.get(key).copied().unwrap_or(0.0);
            if !equal(*value, truth) {
                wrong.push(format!("{key}: served {value}, true {truth}"));
            }
        }
        let of = |key: &str| served.get(key).copied().unwrap_or(f64::NAN);
        let nodes = &whole["nodes"];
        let listed = nodes["known"].as_f64().unwrap();
        let standing = nodes["by_last_serve"]["standing"].as_f64().unwrap();
        let state =
            |state: &str| of(&normal(&format!("vpccni_cluster_nodes{{state=\"{state}\"}}")));
        for (what, served, truth) in [
            ("nodes_expected", of("vpccni_cluster_nodes_expected"), listed),
            ("nodes with values", state("up") + state("stale"), standing),
            ("nodes without", state("failed"), listed - standing),
            ("nodes missing", state("missing"), 0.0),
        ] {
            if !equal(served, truth) {
                wrong.push(format!("{what}: served {served}, true {truth}"));
            }
        }
        for (key, value) in &expected {
            if *value != 0.0 && !served.contains_key(*key) {
                wrong.push(format!("{key}: not served, true {value}"));
            }
        }
        for (key, before) in self.counters.iter().filter(|(key, _)| is_counter(key)) {
            let now = served.get(key).copied().unwrap_or(f64::NAN);
            if now.is_nan() || now < *before {
                wrong.push(format!("{key}: fell from {before} to {now}"));
            }
        }
        assert!(wrong.is_empty(), "{when}:\n{}\n{}", wrong.join("\n"), self.log());
        self.counters = served;
    }

    /// The sum of a family's samples when it was last compared.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let of = |key: &&String| key.as_str() == name || key.starts_with(&format!("{name}{{"));
        self.counters.keys().filter(of).map(|key| self.counters[key]).sum()
    }
}

/// A key as every reader has it: Prometheus 3 writes `le="10.0"` for `le="10"`, and an empty label is none.
fn normal(key: &str) -> String {
    let Some((name, labels)) = key.strip_suffix('}').and_then(|key| key.split_once('{')) else {
        return key.to_owned();
    };
    let label = |label: &str| {
        let (name, value) = label.split_once('=').unwrap();
        let bound = value.trim_matches('"').parse::<f64>().ok().filter(|_| name == "le");
        match (value, bound) {
            ("\"\"", _) => None,
            (_, Some(bound)) => Some(format!("le={bound}")),
            _ => Some(format!("{name}={value}")),
        }
    };
    let labels: Vec<String> = labels.split(',').filter_map(label).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// Figures that the fleet adds up too. Nodes by state are compared with what it knows of each.
fn is_told(key: &str) -> bool {
    // The fleet knows what happened, not what that is taken for.
    let judged = key.starts_with("vpccni_cluster_nodes_growth_blocked");
    let judged = judged || key.starts_with("vpccni_daemonset_config_info");
    !judged && !key.starts_with("vpccni_cluster_nodes{") && key != "vpccni_cluster_nodes_expected"
}

fn is_counter(key: &str) -> bool {
    let name = key.split('{').next().unwrap();
    let summed = ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
    summed && !name.starts_with("vpccni_cluster_node_ip_utilization")
}

#[test]
fn every_cluster_figure_equals_the_truth_through_simulated_hours() {
    let mut pair = Pair::start("127.9.1.1", 120, 7, &[]);
    let watch = Watch::start(pair.web);
    pair.settle();
    pair.compare("before the story begins");
    for hour in 1..=12 {
        // In steps, so that what happens within the hour is scraped at several ages.
        for _ in 0..4 {
            pair.control("/step?seconds=900");
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
        pair.settle();
        pair.compare(&format!("after {hour} hours"));
    }
    assert!(pair.sum("vpccni_cluster_cni_add_requests_total") > 100.0, "the fleet has lived");
    let falls = watch.end();
    assert!(falls.is_empty(), "{}", falls.join("\n"));
}

/// Looks at every view, also between the comparisons: no counter falls.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    pub(crate) fn start(web: SocketAddr) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut before: BTreeMap<String, f64> = BTreeMap::new();
            let mut falls = Vec::new();
            while !asked.load(Ordering::Relaxed) {
                // Views are made every 100 ms.
                std::thread::sleep(std::time::Duration::from_millis(50));
                let Ok(answer) = try_get(web, "/metrics?scope=cluster", &[]) else { continue };
                let now = figures(&answer.text());
                for (key, was) in before.iter().filter(|(key, _)| is_counter(key)) {
                    if now.get(key).is_none_or(|now| now.is_nan() || now < was) {
                        falls.push(format!("{key}: from {was} to {:?}", now.get(key)));
                    }
                }
                before = now;
            }
            falls
        });
        Watch { stop, thread }
    }

    /// What fell.
    pub(crate) fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn the_demo_serves_what_its_fleet_knows() {
    let mut pair = Pair::demo(60);
    pair.settle();
    pair.compare("at rest");
    for _ in 0..4 {
        pair.control("/step?seconds=900");
        std::thread::sleep(std::time::Duration::from_millis(400));
    }
    pair.settle();
    pair.compare("an hour later");
    assert!(pair.sum("vpccni_cluster_cni_add_requests_total") > 10.0, "the fleet has lived");
}

#[test]
fn what_happens_while_a_node_cannot_be_scraped_arrives_with_its_next_good_scrape() {
    let mut pair = Pair::start("127.9.6.1", 12, 11, &["--calm"]);
    let nodes: Value = serde_json::from_slice(&get(pair.truth, "/nodes", &[]).body).unwrap();
    let nodes = nodes.as_array().or_else(|| nodes["nodes"].as_array()).unwrap().clone();
    let name = |i: usize| {
        nodes[i]["name"].as_str().or_else(|| nodes[i]["node"].as_str()).unwrap().to_owned()
    };
    pair.settle();
    pair.compare("at rest");
    for how in ["timeout", "refuse", "truncate", "garbage", "http_503"] {
        pair.control(&format!("/misbehave?node={}&how={how}", name(0)));
        pair.control("/step?seconds=1800");
        pair.settle();
        pair.compare(&format!("while one node answers with {how}"));
        assert_eq!(pair.counters["vpccni_cluster_nodes{state=\"failed\"}"], 1.0, "{how}");
        pair.control(&format!("/misbehave?node={}&how=ok", name(0)));
        pair.settle();
        pair.compare(&format!("after one node answered with {how}"));
        assert_eq!(pair.counters["vpccni_cluster_nodes{state=\"up\"}"], 12.0, "{how}");
    }
    pair.control(&format!("/restart?node={}", name(1)));
    pair.control(&format!("/leave?node={}", name(2)));
    pair.control("/join?old=true");
    pair.control("/join?old=false");
    pair.control("/step?seconds=900");
    pair.settle();
    pair.compare("after a restart, a leave, an old and a young node");
    assert_eq!(pair.counters["vpccni_cluster_nodes_expected"], 13.0);
}
