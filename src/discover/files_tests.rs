//! Files on a real disk: what is found, what is read, what stays known.

use super::*;
use crate::discover::notice;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

fn defaults() -> Defaults {
    Defaults { port: 61678, path: "/metrics".to_owned(), host_network_pods: 2 }
}

fn read_once(patterns: &[String]) -> (Reading, Arc<Observe>) {
    let observe = Observe::new();
    let (mut watching, _notices) = notice::start(&observe);
    (read_all(patterns, &mut watching), observe)
}

fn nodes(known: &Known) -> Vec<String> {
    known.targets().map(|target| target.node.to_string()).collect()
}

fn file(content: &str) -> Result<Vec<u8>, String> {
    Ok(content.as_bytes().to_vec())
}

fn reading(files: &[(&str, Result<Vec<u8>, String>)]) -> Reading {
    let files = files.iter().map(|(path, content)| (PathBuf::from(path), content.clone()));
    Reading { files: files.collect(), ..Reading::default() }
}

#[test]
fn files_of_overlapping_patterns_are_read_once_and_directories_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("deep/er")).unwrap();
    for name in ["a.json", "b.json", "deep/er/c.json"] {
        fs::write(at(name), name).unwrap();
    }
    fs::create_dir(at("d.json")).unwrap();
    let text = |pattern: &str| at(pattern).display().to_string();
    let patterns = [text("*.json"), text("a.json"), text("**/c.json"), text("none/*.yml")];
    let (reading, _) = read_once(&patterns);
    let expected: Vec<(PathBuf, Result<Vec<u8>, String>)> =
        ["a.json", "b.json", "deep/er/c.json"].map(|name| (at(name), file(name))).into();
    assert_eq!(reading.files.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(reading.empty, [text("none/*.yml")]);
    assert_eq!(reading.unlisted, []);
}

#[test]
fn a_dangling_link_is_no_file_and_a_socket_is_one_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(dir.path().join("socket.json")).unwrap();
    symlink("nowhere", dir.path().join("link.json")).unwrap();
    let (reading, _) = read_once(&[dir.path().join("*.json").display().to_string()]);
    let expected = Err("it cannot be read: it is not a regular file".to_owned());
    let files: Vec<_> = reading.files.into_iter().collect();
    assert_eq!(files, [(dir.path().join("socket.json"), expected)]);
}

#[test]
fn a_file_over_the_cap_is_refused_and_one_at_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.json");
    let big = File::create(&path).unwrap();
    big.set_len(MAX_FILE + 1).unwrap();
    assert_eq!(read(&path), Some(Err("it cannot be read: it has more than 64 MiB".to_owned())));
    big.set_len(MAX_FILE).unwrap();
    assert_eq!(read(&path).unwrap().unwrap().len() as u64, MAX_FILE);
}

#[test]
fn the_directories_of_a_pattern_are_those_where_a_match_can_appear() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["x", "y"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let of = |pattern: &str| directories_of(&dir.path().join(pattern).display().to_string());
    assert_eq!(of("*.json"), [dir.path()]);
    assert_eq!(of("*/a.json"), [dir.path().to_owned(), dir.path().join("x"), dir.path().join("y")]);
    assert_eq!(directories_of("a.json"), [PathBuf::from(".")]);
    assert_eq!(directories_of("/a.json"), [PathBuf::from("/")]);
    assert_eq!(directories_of("[x]/*.json")[0], PathBuf::from("."));
}

#[test]
fn a_broken_file_keeps_its_last_good_targets_and_a_mended_one_replaces_them() {
    let observe = Observe::new();
    let mut known = Known::default();
    let mut take = |content| {
        known.take(reading(&[("t.json", content)]), &defaults(), &observe);
        nodes(&known)
    };
    assert_eq!(take(file("[")), Vec::<String>::new());
    assert_eq!(take(file(r#"[{"targets": ["a"]}]"#)), ["a"]);
    assert_eq!(take(file(r#"[{"targets": ["b"]}"#)), ["a"]);
    assert_eq!(take(Err("no".to_owned())), ["a"]);
    assert_eq!(take(file("")), ["a"]);
    assert_eq!(take(file(r#"[{"targets": ["b"]}]"#)), ["b"]);
    assert_eq!(take(file("[]")), Vec::<String>::new());
}

#[test]
fn a_vanished_file_takes_its_targets_along_unless_its_directory_could_not_be_listed() {
    let observe = Observe::new();
    let mut known = Known::default();
    let both = [
        ("/x/t.json", file(r#"[{"targets": ["a"]}]"#)),
        ("/y/t.json", file(r#"[{"targets": ["b"]}]"#)),
    ];
    known.take(reading(&both), &defaults(), &observe);
    assert_eq!(nodes(&known), ["a", "b"]);
    let unlisted = vec![(PathBuf::from("/x"), "stale file handle".to_owned())];
    known.take(Reading { unlisted, ..Reading::default() }, &defaults(), &observe);
    assert_eq!(nodes(&known), ["a"]);
    known.take(Reading::default(), &defaults(), &observe);
    assert_eq!(nodes(&known), Vec::<String>::new());
}

#[test]
fn readings_and_dropped_labels_are_counted() {
    let observe = Observe::new();
    let mut known = Known::default();
    let good = file(r#"[{"targets": ["a"], "labels": {"pod": "p", "job": "j"}}]"#);
    for content in [good.clone(), good, file("["), file("[")] {
        known.take(reading(&[("t.json", content)]), &defaults(), &observe);
    }
    let count = |name: &str, label: Option<&str>| {
        let families = observe.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let mut metrics = family.get_metric().iter();
        let metric =
            metrics.find(|m| label.is_none_or(|label| m.get_label()[0].value() == label)).unwrap();
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    };
    let reads = "vpccni_exporter_discovery_file_reads_total";
    assert_eq!((count(reads, Some("ok")), count(reads, Some("error"))), (2.0, 2.0));
    assert_eq!(count("vpccni_exporter_discovery_labels_dropped", None), 2.0);
    known.take(Reading::default(), &defaults(), &observe);
    assert_eq!(count("vpccni_exporter_discovery_labels_dropped", None), 0.0);
}
