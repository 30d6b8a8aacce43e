//! A real Prometheus as a child process, and promtool. Comes in: addresses to scrape. Goes out: what
//! its database answers. Never: a configuration of the machine, a port that is agreed beforehand.

use super::part;
use crate::support::{Child, HANG, PageServer, address_in, get, key, run, try_get, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use tempfile::TempDir;

/// The job that everything is scraped as.
const JOB: &str = "test";

/// A Prometheus that scrapes each second what its `file_sd` file names. It is killed when dropped.
pub(crate) struct Prometheus {
    /// Before the folder, so that it goes first.
    process: Child,
    folder: TempDir,
    /// Where its API listens.
    pub(crate) address: SocketAddr,
}

impl Prometheus {
    /// Starts one, by `VPCCNI_PROMETHEUS`, with an empty database, and waits until it is ready.
    pub(crate) fn scraping(targets: &[SocketAddr]) -> Prometheus {
        Prometheus::start("VPCCNI_PROMETHEUS", targets, json!({}), json!([]))
    }

    /// The program that a variable names, with these jobs besides the usual one, which has more settings.
    pub(crate) fn of(
        variable: &str,
        targets: &[SocketAddr],
        settings: Value,
        jobs: Value,
    ) -> Prometheus {
        Prometheus::start(variable, targets, settings, jobs)
    }

    /// One to which all targets are the same instance, as behind a Service.
    pub(crate) fn scraping_as_one_instance(targets: &[SocketAddr], path: &str) -> Prometheus {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let params: serde_json::Map<String, Value> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), json!([value])))
            .collect();
        let one = json!([
            { "source_labels": ["__address__"], "target_label": "address" },
            { "target_label": "instance", "replacement": "one" },
        ]);
        let without = json!([{ "action": "labeldrop", "regex": "address" }]);
        Prometheus::start(
            "VPCCNI_PROMETHEUS",
            targets,
            json!({
                "metrics_path": path, "params": params,
                "relabel_configs": one, "metric_relabel_configs": without,
            }),
            json!([]),
        )
    }

    fn start(variable: &str, targets: &[SocketAddr], more: Value, jobs: Value) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        write_targets(&folder, targets);
        let mut job = json!({
            "job_name": JOB,
            "honor_labels": true,
            "file_sd_configs": [{ "files": [targets_file(&folder)], "refresh_interval": "1s" }],
        });
        for (key, value) in more.as_object().unwrap() {
            job[key] = value.clone();
        }
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": std::iter::once(&job).chain(jobs.as_array().unwrap()).collect::<Vec<_>>(),
        });
        // YAML is a superset of JSON.
        let config_file = folder.path().join("prometheus.yml");
        fs::write(&config_file, config.to_string()).unwrap();
        let mut command = Command::new(part(variable));
        command
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(folder.path());
        let process = Child::start(command);
        let address = process.line("line that says where Prometheus listens", |line| {
            line.contains("Listening on").then(|| address_in(line)).flatten()
        });
        until("ready Prometheus", || {
            try_get(address, "/-/ready", &[]).ok().filter(|answer| answer.status == 200)
        });
        Prometheus { process, folder, address }
    }

    /// What is scraped from now on; Prometheus notices by itself.
    pub(crate) fn retarget(&self, targets: &[SocketAddr]) {
        write_targets(&self.folder, targets);
    }

    /// See [`vector`].
    pub(crate) fn vector(&self, expression: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        vector(self.address, expression)
    }

    /// Each family that Prometheus knows the type of, with all types that it was told.
    pub(crate) fn types(&self) -> BTreeMap<String, Vec<String>> {
        let known = self.ask("/api/v1/metadata", &[]);
        let types = |told: &Value| -> Vec<String> {
            let told = told.as_array().unwrap().iter();
            told.map(|one| one["type"].as_str().unwrap().to_owned()).collect()
        };
        known.as_object().unwrap().iter().map(|(name, told)| (name.clone(), types(told))).collect()
    }

    /// A vector as `support::figures` writes an exposition: by name and labels, without those that
    /// Prometheus adds.
    pub(crate) fn figures(&self, expression: &str) -> BTreeMap<String, f64> {
        figures_at(self.address, expression)
    }

    /// The one value that an expression has now, or none.
    pub(crate) fn value(&self, expression: &str) -> Option<f64> {
        let vector = self.vector(expression);
        assert!(vector.len() <= 1, "{expression} has several values: {vector:?}");
        vector.first().map(|(_, value)| *value)
    }

    /// Asserts what a counter gained in the last hour, over all its series, by Prometheus's own `increase`:
    /// exactly so from the samples alone (`anchored`). The usual one extrapolates to both sides of them,
    /// each time by 1.1 of their mean distance at most.
    pub(crate) fn assert_increase(&self, counter: &str, gained: f64) {
        let value = |expression: String| {
            self.value(&expression).unwrap_or_else(|| panic!("no {expression}\n{}", self.log()))
        };
        let anchored = value(format!("sum(increase({counter}[1h] anchored))"));
        assert_eq!(anchored, gained, "{counter}\n{}", self.log());
        let usual = value(format!("sum(increase({counter}[1h]))"));
        let samples = value(format!("min(count_over_time({counter}[1h]) > 1)"));
        let most = gained * (1.0 + 2.2 / (samples - 1.0));
        assert!((gained..=most).contains(&usual), "{counter}: {usual} of {gained}, at most {most}");
    }

    /// Waits until a target has been scraped, without a fault, twice from now: the second scrape began
    /// after this call.
    pub(crate) fn until_scraped(&self, target: SocketAddr) {
        let last = || {
            let answer = self.ask("/api/v1/targets", &[("state", "active")]);
            let targets = answer["activeTargets"].as_array().unwrap().clone();
            let target = targets
                .into_iter()
                .filter(|t| t["discoveredLabels"]["__address__"] == json!(target.to_string()))
                .find(|t| t["health"] == json!("up"))?;
            Some(target["lastScrape"].as_str().unwrap().to_owned())
        };
        let mut before = last();
        for _ in 0..2 {
            let what = format!("scrape of {target} by Prometheus within {HANG:?}");
            before = Some(until(&what, || last().filter(|at| before.as_ref() != Some(at))));
        }
    }

    /// Why the last scrape of a job's one target failed, if it did.
    pub(crate) fn last_error(&self, job: &str) -> Option<String> {
        let answer = self.ask("/api/v1/targets", &[("state", "active"), ("scrapePool", job)]);
        let error = answer["activeTargets"][0]["lastError"].as_str()?;
        (!error.is_empty()).then(|| error.to_owned())
    }

    /// What Prometheus said so far, for a failure's text.
    pub(crate) fn log(&self) -> String {
        self.process.so_far()
    }

    /// The field `data` of an answer of the API.
    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        ask(self.address, path, query)
    }
}

/// The field `data` of an answer of Prometheus's API, whoever speaks it.
fn ask(address: SocketAddr, path: &str, query: &[(&str, &str)]) -> Value {
    let query: Vec<String> =
        query.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    let answer = get(address, &format!("{path}?{}", query.join("&")), &[]);
    let text = answer.text();
    let mut json: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
    assert_eq!(json["status"], json!("success"), "{path}?{query:?}: {text}");
    json["data"].take()
}

/// The instant vector that an expression has now: its series by their labels, `__name__` too.
pub(crate) fn vector(
    address: SocketAddr,
    expression: &str,
) -> Vec<(BTreeMap<String, String>, f64)> {
    ask(address, "/api/v1/query", &[("query", expression)])["result"]
        .as_array()
        .unwrap_or_else(|| panic!("{expression} is no vector"))
        .iter()
        .map(|series| {
            let labels = series["metric"].as_object().unwrap();
            let labels = labels.iter().map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()));
            (labels.collect(), series["value"][1].as_str().unwrap().parse().unwrap())
        })
        .collect()
}

/// See [`Prometheus::figures`].
pub(crate) fn figures_at(address: SocketAddr, expression: &str) -> BTreeMap<String, f64> {
    let figures = vector(address, expression).into_iter().map(|(labels, value)| {
        let name = labels.get("__name__").map_or("", String::as_str);
        let escaped: Vec<(&String, String)> = labels
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "__name__" | "job" | "instance"))
            .map(|(name, value)| (name, escape(value)))
            .collect();
        let labels = escaped.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        (key(name, labels), value)
    });
    figures.collect()
}

/// Judges an exposition by `promtool check metrics`, by `VPCCNI_PROMTOOL`: no complaint at all.
pub(crate) fn promtool_is_content_with(exposition: &str) {
    let complaints = promtool_complaints(exposition);
    assert!(complaints.is_empty(), "promtool check metrics:\n{complaints}\nof\n{exposition}");
}

fn promtool_complaints(exposition: &str) -> String {
    let mut command = Command::new(part("VPCCNI_PROMTOOL"));
    command.args(["check", "metrics"]);
    let ended = run(command, exposition.as_bytes());
    let said = ended.stdout + &ended.stderr;
    assert_eq!(ended.status.success(), said.is_empty(), "{} but said: {said}", ended.status);
    said
}

fn targets_file(folder: &TempDir) -> String {
    folder.path().join("targets.json").display().to_string()
}

/// By a rename, so that no half of it is read.
fn write_targets(folder: &TempDir, targets: &[SocketAddr]) {
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let half = folder.path().join("targets.half");
    fs::write(&half, json!([{ "targets": targets }]).to_string()).unwrap();
    fs::rename(half, targets_file(folder)).unwrap();
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A label value as an exposition writes it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[test]
fn prometheus_stores_what_a_page_says_and_what_it_says_next() {
    let page = "# TYPE a_total counter\na_total{path=\"C:\\\\x \\\"y\\\"\",node=\"n\"} 7\n";
    let server = PageServer::start(page);
    let prometheus = Prometheus::scraping(&[server.address]);
    prometheus.until_scraped(server.address);
    assert_eq!(
        prometheus.figures("a_total"),
        crate::support::figures(page),
        "{}",
        prometheus.log()
    );
    assert_eq!(prometheus.value("absent_total"), None);
    assert_eq!(prometheus.value("sum(up)"), Some(1.0));
    server.set("# TYPE a_total counter\na_total{node=\"n\"} 8.25\n");
    prometheus.until_scraped(server.address);
    assert_eq!(prometheus.value("a_total"), Some(8.25));
    let other = PageServer::start("a_total 9\n");
    prometheus.retarget(&[other.address]);
    prometheus.until_scraped(other.address);
    let instance = format!("a_total{{instance=\"{}\"}}", other.address);
    assert_eq!(prometheus.value(&instance), Some(9.0));
}

#[test]
fn promtool_tells_a_clean_page_from_one_with_faults() {
    promtool_is_content_with("# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n");
    let complaints = promtool_complaints("# TYPE a counter\na 1\n");
    assert!(complaints.contains("no help text"), "{complaints}");
    assert!(complaints.contains("_total"), "{complaints}");
}
