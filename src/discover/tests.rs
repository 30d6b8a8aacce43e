//! Discovery as it runs: real files in real directories, and the list as its readers see it.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// No test waits this long unless it fails.
const HANG: Duration = Duration::from_secs(60);

/// So long that only a notice of the system explains a reading.
const NEVER: Duration = Duration::from_secs(86_400);

fn settings(targets: &[&str], files: &[String]) -> Settings {
    Settings {
        kubernetes: Mode::Off,
        namespace: "kube-system".to_owned(),
        selector: "k8s-app=aws-node".to_owned(),
        nodes: true,
        route: Route::Direct,
        host_network_pods: 2,
        targets: targets.iter().map(|&text| text.to_owned()).collect(),
        files: files.to_vec(),
        file_interval: NEVER,
        port: 61678,
        path: "/metrics".to_owned(),
    }
}

struct Running {
    targets: watch::Receiver<Arc<Targets>>,
    observe: Arc<Observe>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(settings: Settings) -> Running {
        let (tx, targets) = watch::channel(Arc::new(Targets::default()));
        let observe = Observe::new();
        let cancel = CancellationToken::new();
        let fixed = static_targets(&settings).unwrap();
        let task = tokio::spawn(run(
            settings,
            fixed,
            None,
            shard::Shard::default(),
            tx,
            Arc::clone(&observe),
            cancel.clone(),
        ));
        Running { targets, observe, cancel, task }
    }

    /// Waits for a synced list of exactly these nodes.
    async fn until_nodes(&mut self, nodes: &[&str]) -> Arc<Targets> {
        let is = |targets: &Arc<Targets>| {
            targets.synced
                && targets.list.iter().map(|target| &*target.node).eq(nodes.iter().copied())
        };
        let waited = tokio::time::timeout(HANG, self.targets.wait_for(is)).await;
        let found = waited.ok().map(|found| Arc::clone(&found.unwrap()));
        found.unwrap_or_else(|| panic!("wanted {nodes:?}, has {:?}", self.targets.borrow()))
    }

    /// Waits for a list that waits for exactly these sources.
    async fn until_unread(&mut self, sources: &[&Path]) {
        let told = |path: &&Path| format!("--discover.file {}", text(path));
        let sources: Vec<String> = sources.iter().map(told).collect();
        let is = |targets: &Arc<Targets>| !targets.synced && targets.unread == sources;
        drop(tokio::time::timeout(HANG, self.targets.wait_for(is)).await.unwrap().unwrap());
    }

    /// Waits until this many readings of files ended so.
    async fn until_reads(&self, result: &str, wanted: u64) {
        let until = async {
            while self.reads(result) < wanted {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(HANG, until).await.unwrap();
    }

    fn reads(&self, result: &str) -> u64 {
        let families = self.observe.registry.gather();
        let name = "vpccni_exporter_discovery_file_reads_total";
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let mut metrics = family.get_metric().iter();
        let metric = metrics.find(|metric| metric.get_label()[0].value() == result).unwrap();
        metric.get_counter().get_value() as u64
    }

    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(HANG, self.task).await.unwrap().unwrap();
    }
}

fn group(node: &str) -> String {
    format!(r#"[{{"targets": ["host-{node}"], "labels": {{"node": "{node}"}}}}]"#)
}

/// As editors and generators replace a file.
fn rename_over(path: &Path, content: &str) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, content).unwrap();
    fs::rename(fresh, path).unwrap();
}

fn directory() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    (dir, move |name: &str| root.join(name))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn addresses_are_read_in_all_their_forms() {
    let read = |text: &str| address(text, 61678).map(|(host, port)| format!("{host} {port}"));
    for (text, expected) in [
        ("10.0.0.1", "10.0.0.1 61678"),
        ("10.0.0.1:80", "10.0.0.1 80"),
        ("ip-10-0-0-1.ec2.internal:65535", "ip-10-0-0-1.ec2.internal 65535"),
        ("aws_node", "aws_node 61678"),
        ("fd00::1", "fd00::1 61678"),
        ("[fd00::1]", "fd00::1 61678"),
        ("[fd00::1]:80", "fd00::1 80"),
        // One address has one spelling.
        ("FD00:0::1", "fd00::1 61678"),
        ("Node-1:80", "node-1 80"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(expected));
    }
    for bad in [
        "", ":80", "a:", "a:0", "a:65536", "a:+1", "a:b:c", "[a]:1", "[::1", "::1]", "[::1]x:1",
        "é",
    ] {
        assert_eq!(read(bad), Err(BadAddress(bad.to_owned())), "{bad}");
    }
}

#[test]
fn a_static_node_is_named_by_its_host_and_by_its_port_where_it_has_several() {
    let given = ["a", "b:1", "b:2", "[fd00::1]:1", "[fd00::1]:2", "c:1", " c:1 ", ""];
    let targets = static_targets(&settings(&given, &[])).unwrap();
    let names: Vec<&str> = targets.iter().map(|target| &*target.node).collect();
    assert_eq!(names, ["a", "b:1", "b:2", "[fd00::1]:1", "[fd00::1]:2", "c", "c"]);
    assert_eq!((targets[0].port, &*targets[0].path), (61678, "/metrics"));
    assert_eq!((targets[2].port, targets[2].source), (2, Source::Static));
}

#[tokio::test]
async fn static_targets_alone_are_published_once_and_with_what_lost_its_name() {
    let mut running = Running::start(settings(&["b", "a:1", "b"], &[]));
    let targets = running.until_nodes(&["a", "b"]).await;
    assert_eq!(targets.losers, 1);
    running.stop().await;
}

#[tokio::test]
async fn until_every_source_was_read_well_the_list_is_not_complete() {
    let (_dir, at) = directory();
    fs::write(at("half.json"), "[{").unwrap();
    let files = [text(&at("half.json")), text(&at("*.yml"))];
    let mut running = Running::start(settings(&["a"], &files));
    running.until_unread(&[&at("half.json"), &at("*.yml")]).await;
    rename_over(&at("half.json"), &group("b"));
    running.until_unread(&[&at("*.yml")]).await;
    fs::write(at("none.yml"), "[]").unwrap();
    running.until_nodes(&["a", "b"]).await;
    // What goes later is gone.
    fs::remove_file(at("none.yml")).unwrap();
    fs::remove_file(at("half.json")).unwrap();
    running.until_nodes(&["a"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_is_broken_at_first_is_used_once_mended() {
    let (_dir, at) = directory();
    fs::write(at("t.json"), "[").unwrap();
    let mut running = Running::start(settings(&["a"], &[text(&at("t.json"))]));
    running.until_unread(&[&at("t.json")]).await;
    assert_eq!((running.reads("ok"), running.reads("error")), (0, 1));
    rename_over(&at("t.json"), &group("b"));
    running.until_nodes(&["a", "b"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_breaks_keeps_its_targets_and_one_that_vanishes_loses_them() {
    let (_dir, at) = directory();
    fs::write(at("t.json"), group("a")).unwrap();
    let mut running = Running::start(settings(&[], &[text(&at("*.json"))]));
    running.until_nodes(&["a"]).await;
    // The reading that tells of the new file tells of the broken one too.
    rename_over(&at("t.json"), "[{");
    fs::write(at("u.json"), group("b")).unwrap();
    running.until_nodes(&["a", "b"]).await;
    running.until_reads("error", 1).await;
    fs::remove_file(at("t.json")).unwrap();
    running.until_nodes(&["b"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_file_renamed_over_another_is_seen_without_the_interval() {
    let (_dir, at) = directory();
    fs::write(at("t.yml"), "- targets: [a]\n").unwrap();
    let mut running = Running::start(settings(&[], &[text(&at("t.yml"))]));
    running.until_nodes(&["a"]).await;
    rename_over(&at("t.yml"), "- targets: [b]\n");
    running.until_nodes(&["b"]).await;
    // Once more: the watch is over the directory, not over the file that was.
    rename_over(&at("t.yml"), "- targets: [c]\n");
    running.until_nodes(&["c"]).await;
    fs::write(at("t.yml"), "- targets: [d]\n").unwrap();
    running.until_nodes(&["d"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_configmap_that_swaps_its_link_is_seen_without_the_interval() {
    let (_dir, at) = directory();
    let write = |version: &str, node: &str| {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("t.json"), group(node)).unwrap();
    };
    write("..1", "a");
    symlink("..1", at("..data")).unwrap();
    symlink("..data/t.json", at("t.json")).unwrap();
    // The pattern matches the link alone: what begins with dots are directories.
    let mut running = Running::start(settings(&[], &[text(&at("*"))]));
    running.until_nodes(&["a"]).await;
    for (old, new, node) in [("..1", "..2", "b"), ("..2", "..3", "c")] {
        write(new, node);
        symlink(new, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at(old)).unwrap();
        running.until_nodes(&[node]).await;
    }
    assert_eq!(running.reads("error"), 0);
    running.stop().await;
}

#[tokio::test]
async fn the_target_of_a_link_is_watched_where_it_is() {
    let (_dir, at) = directory();
    fs::create_dir(at("real")).unwrap();
    fs::create_dir(at("etc")).unwrap();
    fs::write(at("real/t.json"), group("a")).unwrap();
    symlink("../real/t.json", at("etc/t.json")).unwrap();
    let mut running = Running::start(settings(&[], &[text(&at("etc/t.json"))]));
    running.until_nodes(&["a"]).await;
    rename_over(&at("real/t.json"), &group("b"));
    running.until_nodes(&["b"]).await;
    running.stop().await;
}

#[tokio::test]
async fn new_files_and_new_directories_that_match_are_seen_without_the_interval() {
    let (_dir, at) = directory();
    let mut running = Running::start(settings(&[], &[text(&at("*/t.json"))]));
    running.until_unread(&[&at("*/t.json")]).await;
    for (name, nodes) in [("x", &["x"][..]), ("y", &["x", "y"])] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("t.json"), group(name)).unwrap();
        running.until_nodes(nodes).await;
    }
    rename_over(&at("x/t.json"), &group("z"));
    running.until_nodes(&["y", "z"]).await;
    running.stop().await;
}

#[tokio::test]
async fn the_interval_finds_what_no_notice_tells() {
    let (_dir, at) = directory();
    let mut settings = settings(&[], &[text(&at("later/t.json"))]);
    settings.file_interval = Duration::from_millis(20);
    let mut running = Running::start(settings);
    // The directory is not there: it cannot be watched, nor is the one above it.
    running.until_unread(&[&at("later/t.json")]).await;
    fs::create_dir(at("later")).unwrap();
    fs::write(at("later/t.json"), group("a")).unwrap();
    running.until_nodes(&["a"]).await;
    running.stop().await;
}

#[tokio::test]
async fn what_did_not_change_is_not_published_again() {
    let (_dir, at) = directory();
    fs::write(at("t.json"), group("a")).unwrap();
    let mut running = Running::start(settings(&[], &[text(&at("t.json"))]));
    let first = running.until_nodes(&["a"]).await;
    let before = running.reads("ok");
    rename_over(&at("t.json"), &format!("{} ", group("a")));
    running.until_reads("ok", before + 1).await;
    running.cancel.cancel();
    tokio::time::timeout(HANG, running.task).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &running.targets.borrow()));
}

#[tokio::test]
async fn a_file_wins_over_the_command_line() {
    let (_dir, at) = directory();
    fs::write(at("t.json"), r#"[{"targets": ["10.0.0.9:1"], "labels": {"node": "a"}}]"#).unwrap();
    let mut running = Running::start(settings(&["a", "b"], &[text(&at("t.json"))]));
    let targets = running.until_nodes(&["a", "b"]).await;
    assert_eq!((targets.list[0].address().as_str(), targets.losers), ("10.0.0.9:1", 1));
    assert_eq!(targets.list[1].address(), "b:61678");
    fs::remove_file(at("t.json")).unwrap();
    let is_static = |targets: &Arc<Targets>| targets.losers == 0;
    tokio::time::timeout(HANG, running.targets.wait_for(is_static)).await.unwrap().unwrap();
    assert_eq!(running.until_nodes(&["a", "b"]).await.list[0].source, Source::Static);
    running.stop().await;
}

#[test]
fn wrong_settings_are_refused() {
    assert_eq!(file_interval("999ms"), Err("1s at least is allowed".to_owned()));
    assert_eq!(file_interval("1s"), Ok(Duration::from_secs(1)));
    for bad in ["", "metrics", "/a b", "/a\nb", "/ä"] {
        assert!(path(bad).unwrap_err().contains("allowed"), "{bad}");
    }
}
