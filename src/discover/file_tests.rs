//! Files of targets: what is read, what is left out, what is refused and in which words.

use super::*;
use proptest::prelude::*;

fn defaults() -> Defaults {
    Defaults { port: 61678, path: "/metrics".to_owned(), host_network_pods: 2 }
}

fn json(content: &str) -> Parsed {
    parse("t.json", content.as_bytes(), &defaults()).unwrap()
}

fn refused(name: &str, content: &str) -> String {
    parse(name, content.as_bytes(), &defaults()).unwrap_err().to_string()
}

fn labels(pairs: &[(&str, &str)]) -> TargetLabels {
    pairs.iter().copied().collect()
}

#[test]
fn json_and_yaml_give_the_same_targets_in_the_files_order() {
    let from_json = json(
        r#"[{"targets": ["10.0.0.2:61679", "[fd00::1]"], "labels": {"zone": "a"}},
            {"targets": ["n3"], "labels": {"node": "ip-10-0-0-3"}}]"#,
    );
    let target = |node: &str, host: &str, port, zone: &[(&str, &str)]| Target {
        labels: labels(zone),
        ..Target::new(node, host, port, "/metrics", Source::File)
    };
    let expected = [
        target("10.0.0.2", "10.0.0.2", 61679, &[("zone", "a")]),
        target("fd00::1", "fd00::1", 61678, &[("zone", "a")]),
        target("ip-10-0-0-3", "n3", 61678, &[]),
    ];
    assert_eq!(from_json.targets, expected);
    let yaml = "- targets: ['10.0.0.2:61679', '[fd00::1]']\n  labels:\n    zone: a\n\
                - targets:\n  - n3\n  labels: {node: ip-10-0-0-3}\n";
    for name in ["t.yml", "t.yaml", "t"] {
        assert_eq!(parse(name, yaml.as_bytes(), &defaults()).unwrap(), from_json, "{name}");
    }
    assert!(refused("T.JSON", yaml).starts_with("T.JSON: not a list of groups"));
}

#[test]
fn the_text_of_a_target_wins_over_a_label_address_as_in_prometheus() {
    let parsed = json(r#"[{"targets": ["a:1", "b:2"], "labels": {"__address__": "c:3"}}]"#);
    let addresses: Vec<String> = parsed.targets.iter().map(Target::address).collect();
    assert_eq!(addresses, ["a:1", "b:2"]);
    assert_eq!(json(r#"[{"targets": [], "labels": {"__address__": "c:3"}}]"#), Parsed::default());
}

#[test]
fn a_path_is_honoured_and_an_empty_label_is_none() {
    let parsed = json(
        r#"[{"targets": ["a"], "labels": {"__metrics_path__": "/m?x=1", "zone": ""}},
            {"targets": ["b"], "labels": {"__metrics_path__": "", "__scheme__": ""}},
            {"targets": ["c"], "labels": {"__scheme__": "http"}}]"#,
    );
    let paths: Vec<&str> = parsed.targets.iter().map(|target| &*target.path).collect();
    assert_eq!(paths, ["/m?x=1", "/metrics", "/metrics"]);
    assert_eq!(parsed.targets[0].labels, labels(&[]));
}

#[test]
fn labels_of_the_scraper_are_counted_other_internal_ones_are_dropped_silently() {
    let parsed = json(
        r#"[{"targets": ["a", "b"], "labels": {"pod": "p", "namespace": "n", "instance": "i",
             "job": "j", "cluster": "c", "__meta_x": "m", "__param_y": "y", "instance_type": "m5"}},
            {"targets": ["c"], "labels": {"job": "j"}}]"#,
    );
    assert_eq!(parsed.labels_dropped, 6);
    assert_eq!(parsed.targets[1].labels, labels(&[("instance_type", "m5")]));
    assert_eq!(parsed.targets[2].labels, labels(&[]));
}

#[test]
fn a_label_that_cannot_be_honoured_is_named_with_file_and_group() {
    let of = |label: &str, value: &str| {
        let group = r#"{"targets": ["b"], "labels": {"LABEL": "VALUE"}}"#;
        let group = group.replace("LABEL", label).replace("VALUE", value);
        refused("/etc/t.json", &format!(r#"[{{"targets": ["a"]}}, {group}]"#))
    };
    assert_eq!(
        of("__scheme__", "https"),
        "/etc/t.json, group 2: label __scheme__=\"https\": ipamd speaks plain HTTP: only http is allowed"
    );
    assert_eq!(of("node", ""), "/etc/t.json, group 2: label node=\"\": a node's name is not empty");
    assert_eq!(
        of("__metrics_path__", "metrics"),
        "/etc/t.json, group 2: label __metrics_path__=\"metrics\": a path that begins with / is allowed"
    );
    for bad in ["a-b", "1a", "", "ä"] {
        assert_eq!(
            of(bad, "v"),
            format!(
                "/etc/t.json, group 2: label {bad}=\"v\": a label's name has letters, digits and _"
            )
        );
    }
}

#[test]
fn an_address_that_is_none_is_named_with_file_and_group() {
    for bad in ["", ":80", "a:0", "a:65536", "http://a", "a/b", "[::1", "a b", "[a]:1", "[::1]80"] {
        let content = serde_json::json!([{ "targets": ["a"] }, { "targets": ["b", bad] }]);
        assert_eq!(
            refused("t.json", &content.to_string()),
            format!(
                "t.json, group 2: {bad:?} is no address; HOST, HOST:PORT or [IPV6]:PORT is allowed"
            )
        );
    }
}

#[test]
fn another_shape_is_refused_with_its_place() {
    for (content, place) in [
        ("{}", "line 1 column "),
        (r#"["a"]"#, "line 1 column "),
        ("[null]", "line 1 column "),
        ("[{\"targets\": [1]}]", "line 1 column "),
        ("[{\"targets\": [\"a\"],\n\"label\": {}}]", "line 2 column "),
        ("[{\"targets\": [\"a\"]", "line 1 column "),
    ] {
        let error = refused("t.json", content);
        assert!(error.contains(place) && error.starts_with("t.json: "), "{content}: {error}");
    }
    for content in
        ["a: b", "- a", "- targets: {}", "- target: [a]", "- targets: [a", "- targets: [a]\n- x"]
    {
        let error = refused("t.yml", content);
        assert!(error.contains("line ") && !error.contains('\n'), "{content}: {error}");
    }
    assert!(refused("t.json", "[{\"targets\": [\"a\"]}] x").contains("trailing"));
}

#[test]
fn what_prometheus_lets_out_may_be_left_out() {
    assert_eq!(json("[]"), Parsed::default());
    assert_eq!(json(r#"[{}, {"targets": null, "labels": null}]"#), Parsed::default());
    let yaml = parse("t.yml", b"- targets: [a]\n  labels:\n", &defaults()).unwrap();
    assert_eq!(yaml.targets.len(), 1);
}

#[test]
fn a_file_without_content_is_being_written_and_refused() {
    for content in ["", " \n\t\n"] {
        for name in ["t.json", "t.yml"] {
            assert_eq!(
                refused(name, content),
                format!("{name} is empty; no targets are written as []")
            );
        }
    }
}

#[test]
fn scalars_of_yaml_are_read_as_they_are_written() {
    let yaml = b"- targets: [a]\n  labels: {zone: 1, b: true, c: 1.50, d: 0x10, e: '~'}\n";
    let parsed = parse("t.yml", yaml, &defaults()).unwrap();
    let expected = [("zone", "1"), ("b", "true"), ("c", "1.50"), ("d", "0x10"), ("e", "~")];
    assert_eq!(parsed.targets[0].labels, labels(&expected));
}

#[test]
fn few_bytes_of_yaml_do_not_become_many() {
    let mut bomb = "- &a0 {targets: [x]}\n".to_owned();
    for level in 1..12 {
        let row = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("- &a{level} [{row}]\n"));
    }
    assert!(refused("t.yml", &bomb).starts_with("t.yml: "));
}

#[test]
fn a_file_of_the_largest_clusters_is_read() {
    let group = |n| format!("- targets: [n{n}]\n  labels: {{zone: a, nodepool: b, region: c}}\n");
    let yaml: String = (0..60_000).map(group).collect();
    assert_eq!(parse("t.yml", yaml.as_bytes(), &defaults()).unwrap().targets.len(), 60_000);
}

/// Bytes that are nearly a file: pieces of one in any order.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        "\"targets\"",
        "\"labels\"",
        ":",
        ",",
        "\"a:1\"",
        "\"__scheme__\"",
        "\"https\"",
        "\"node\"",
        "\"\"",
        "null",
        "\n",
        "- ",
        "  ",
        "targets",
        ": ",
        "&a",
        "*a",
        "|",
        "#",
        "'",
        "1",
        "é",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn prop_no_bytes_make_it_panic_and_what_is_read_is_usable(
        bytes in prop_oneof![
            nearly().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..200),
        ],
    ) {
        for name in ["t.json", "t.yml"] {
            for target in parse(name, &bytes, &defaults()).unwrap_or_default().targets {
                prop_assert!(!target.node.is_empty() && !target.host.is_empty());
                prop_assert!(target.port > 0 && target.path.starts_with('/'));
            }
        }
    }

    #[test]
    fn prop_each_address_becomes_one_target_in_order(
        groups in prop::collection::vec(
            prop::collection::vec(("[a-z][a-z0-9.-]{0,12}", 1u16..), 0..5), 0..5),
    ) {
        let all: Vec<(String, u16)> = groups.concat();
        let groups: Vec<_> = groups
            .iter()
            .map(|group| {
                let targets: Vec<String> = group.iter().map(|(h, p)| format!("{h}:{p}")).collect();
                serde_json::json!({ "targets": targets })
            })
            .collect();
        let content = serde_json::Value::from(groups).to_string();
        // JSON is YAML too.
        for name in ["t.json", "t.yml"] {
            let parsed = parse(name, content.as_bytes(), &defaults()).unwrap();
            let found: Vec<(String, u16)> =
                parsed.targets.iter().map(|t| (t.host.to_string(), t.port)).collect();
            prop_assert_eq!(&found, &all);
        }
    }
}
