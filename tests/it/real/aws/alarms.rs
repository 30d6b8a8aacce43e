//! Alarms that were made for cni-metrics-helper: each scenario recorded with it, played to the whole program
//! over real sockets, and read from CloudWatch as alarms do. Comes in: the recordings, from the folder that
//! `VPCCNI_GOLDEN` names. Goes out: where the helper was right we are equal, where it was wrong we are true.
//! Never: a poll that begins before the interval of the one before has been cut.

use super::double::Double;
use super::mirrored::outlet;
use crate::support::{Child, PageServer, program, try_get, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};
use vpc_cni_exporter::catalog::{FAMILIES, Rule};
use vpc_cni_exporter::model::Kind;

/// The intervals in which a poll's pages were served alone: after the first, up to the second.
type Window = (i64, i64);

/// What an alarm reads of one metric and interval, by name and time.
type Stored = BTreeMap<(String, i64), Point>;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    sum: f64,
    minimum: f64,
    maximum: f64,
    samples: f64,
}

/// The service and the nodes of one scenario.
struct Stage {
    folder: tempfile::TempDir,
    nodes: BTreeMap<String, PageServer>,
    service: Option<Child>,
    namespace: String,
    end: i64,
}

#[allow(clippy::disallowed_methods, reason = "the test is an edge: intervals are the wall clock's")]
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn status(web: SocketAddr) -> Value {
    until("status", || serde_json::from_str(&try_get(web, "/api/v1/status", &[]).ok()?.text()).ok())
}

impl Stage {
    fn of(name: &str) -> Stage {
        let namespace = format!("Golden/{name}");
        let folder = tempfile::tempdir().unwrap();
        Stage { folder, nodes: BTreeMap::new(), service: None, namespace, end: 0 }
    }

    /// Plays one poll and answers with its window.
    fn poll(&mut self, double: &Double, nodes: &serde_json::Map<String, Value>) -> Window {
        let mut groups = Vec::new();
        for (file, text) in nodes {
            // A page without a sample is a scrape that fails.
            let (node, page) = match file.strip_suffix(".prom") {
                Some(node) => (node, text.as_str().unwrap()),
                None => (file.trim_end_matches(".fail.json"), ""),
            };
            let server =
                self.nodes.entry(node.to_owned()).or_insert_with(|| PageServer::start(page));
            server.set(page);
            let labels = json!({ "node": node });
            groups.push(json!({ "targets": [server.address.to_string()], "labels": labels }));
        }
        let (file, next) = (self.folder.path().join("t.json"), self.folder.path().join("next"));
        std::fs::write(&next, Value::Array(groups).to_string()).unwrap();
        std::fs::rename(&next, &file).unwrap();
        let service = self.service.get_or_insert_with(|| {
            let mut command = program();
            command.envs(double.environment()).envs(Double::keys());
            command.args(["--discover.file", file.to_str().unwrap(), "--mirror.to=put"]);
            command.args(["--web.listen-address=127.0.0.1:0", "--scrape.interval=500ms"]);
            // A node that fails in one poll is no node that has gone.
            command.args(["--mirror.interval=1s", "--scrape.stale-after=1000"]);
            command.args(["--cluster.name=golden", "--mirror.namespace", &self.namespace]);
            Child::start(command)
        });
        let web = service.listening();
        until("all nodes of the poll", || {
            (status(web)["targets"] == nodes.len() && status(web)["nodes"].is_object())
                .then_some(())
        });
        let rounds = || status(web)["rounds_closed"].as_u64().unwrap();
        let before = rounds();
        let answered = nodes.keys().any(|file| file.ends_with(".prom"));
        if !nodes.is_empty() {
            until("scrapes of all nodes", || (rounds() > before + 2).then_some(()));
        }
        let begin = self.end;
        self.end = now();
        until("the end of the interval", || (now() > self.end).then_some(()));
        if answered {
            let sent = || outlet(web, "put")["points_sent"].as_u64().unwrap();
            for _ in 0..2 {
                let before = sent();
                until("another interval that is sent", || (sent() > before).then_some(()));
            }
        } else {
            until("two intervals of silence", || (now() > self.end + 2).then_some(()));
        }
        (begin, self.end)
    }
}

fn stored(double: &Double, namespace: &str) -> Stored {
    let points = double.ask(&format!("/stored?namespace={namespace}&period=1"));
    let mut stored = BTreeMap::new();
    for point in points.as_array().unwrap() {
        let of = |field: &str| point[field].as_f64().unwrap();
        let key =
            (point["name"].as_str().unwrap().to_owned(), point["timestamp"].as_i64().unwrap());
        let read = Point {
            sum: of("sum"),
            minimum: of("minimum"),
            maximum: of("maximum"),
            samples: of("samplecount"),
        };
        assert!(stored.insert(key, read).is_none(), "twice: {point}");
    }
    stored
}

/// How many values of the helper were compared, and how many of them were true.
#[derive(Default)]
struct Score {
    compared: usize,
    helper_true: usize,
}

fn judge(name: &str, polls: &[(Window, &Value)], stored: &Stored, score: &mut Score) {
    let mut owed: BTreeMap<&str, f64> = BTreeMap::new();
    let mut all_answered_last = false;
    for (number, ((begin, end), poll)) in polls.iter().enumerate() {
        let at = format!("{name}, poll {}", number + 1);
        let files = poll["nodes"].as_object().unwrap();
        let answered = files.keys().any(|file| file.ends_with(".prom"));
        let all_answered = answered && files.keys().all(|file| file.ends_with(".prom"));
        let truth = &poll["true"];
        let all_answered_before = all_answered_last;
        all_answered_last = all_answered;
        for family in FAMILIES {
            let (Some(theirs), Some(cluster)) = (family.cloudwatch, &family.cluster) else {
                continue;
            };
            let in_window =
                stored.range((theirs.to_owned(), begin + 1)..=(theirs.to_owned(), *end));
            let points: Vec<Point> = in_window.map(|(_, point)| *point).collect();
            if !answered {
                let last = stored.get(&(theirs.to_owned(), *end));
                assert_eq!(last, None, "{at}: {theirs} is known though nobody answered");
                if let Some(gained) = truth["counter_increase"][family.name].as_f64() {
                    *owed.entry(theirs).or_default() += gained;
                }
                continue;
            }
            // An alarm on Sum, Average, Minimum or Maximum reads one plain value a minute.
            let plain = |p: &Point| p.samples == 1.0 && p.minimum == p.sum && p.maximum == p.sum;
            assert!(points.iter().all(plain), "{at}: {theirs}: {points:?}");
            let helper = poll["helper_cloudwatch"][theirs].as_f64();
            let expected = match cluster.rule {
                Rule::Increase if cluster.kind == Kind::Counter => {
                    let expected = truth["counter_increase"][family.name].as_f64().unwrap();
                    let owed = owed.entry(theirs).or_default();
                    // What happened while a node could not be scraped comes with its next good scrape.
                    *owed += expected - points.iter().map(|p| p.sum).sum::<f64>();
                    let is_right = if all_answered { owed.abs() < 1e-6 } else { *owed > -1e-6 };
                    assert!(is_right, "{at}: {theirs} is short of {owed}");
                    expected
                }
                Rule::Sum | Rule::SumByIpFamily => {
                    let expected = truth["gauges"][family.name].as_f64().unwrap();
                    let last = points.last().unwrap_or_else(|| panic!("{at}: no {theirs}"));
                    assert_eq!(last.sum, expected, "{at}: {theirs}");
                    expected
                }
                Rule::Summary { .. } => {
                    let calls = truth["latency_calls_added"].as_f64().unwrap();
                    let mean = truth["latency_ms_added"].as_f64().unwrap() / calls;
                    // Calls of nodes that failed before come with others; those of two intervals have two means.
                    match points[..] {
                        _ if !(all_answered && all_answered_before) => {}
                        [] => assert_eq!(calls, 0.0, "{at}: {theirs}"),
                        [point] => assert!((point.sum - mean).abs() < 1e-6, "{at}: {theirs}"),
                        _ => assert!(calls > 0.0, "{at}: {theirs}: {points:?}"),
                    }
                    continue;
                }
                _ => continue,
            };
            if let Some(helper) = helper {
                score.compared += 1;
                score.helper_true += usize::from(helper == expected);
            }
        }
    }
}

#[test]
fn alarms_of_the_helper_read_what_it_had_right_and_the_truth_where_it_had_not() {
    let Ok(folder) = std::env::var("VPCCNI_GOLDEN") else {
        println!("VPCCNI_GOLDEN names no folder: the recorded scenarios were not played");
        return;
    };
    let files = std::fs::read_dir(Path::new(&folder)).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|e| e == "json")).collect();
    assert!(files.len() >= 12, "{folder} holds {} scenarios", files.len());
    let double = Double::start();
    let play = |file: &Path| {
        let scenario: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let mut stage = Stage::of(name);
        let polls: Vec<(Window, &Value)> = scenario["polls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|poll| (stage.poll(&double, poll["nodes"].as_object().unwrap()), poll))
            .collect();
        let mut score = Score::default();
        judge(name, &polls, &stored(&double, &stage.namespace), &mut score);
        score
    };
    // Each waits for its intervals most of the time.
    let scores: Vec<Score> = thread::scope(|scope| {
        let playing: Vec<_> = files.iter().map(|file| scope.spawn(|| play(file))).collect();
        playing.into_iter().map(|played| played.join().unwrap()).collect()
    });
    let compared: usize = scores.iter().map(|score| score.compared).sum();
    let helper_true: usize = scores.iter().map(|score| score.helper_true).sum();
    println!("{compared} values: ours are all true, of the helper's {helper_true}");
    assert!(compared > 1000 && helper_true < compared);
}
