//! Flags, their variables, the helper's variables, and who wins.

use super::*;
use std::collections::BTreeSet;

fn resolve(args: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let words = ["vpc-cni-exporter", "--discover.targets", "10.0.0.1"];
    let words = words.iter().chain(args).map(OsString::from);
    let (cli, matches) = read(words).unwrap();
    let variable = |name: &str| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
    };
    Config::resolve(cli.service, |id| was_given(&matches, id), variable)
}

#[test]
fn clap_finds_nothing_wrong_with_the_flags() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_of_the_service_has_its_variable_a_stage_and_a_meaning() {
    let mut command = Cli::command();
    command.build();
    let mut seen = BTreeSet::new();
    for arg in
        command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
    {
        let flag = arg.get_long().unwrap();
        let variable = format!("VPCCNI_{}", flag.replace(['.', '-'], "_").to_uppercase());
        assert_eq!(arg.get_env().unwrap().to_str(), Some(variable.as_str()), "{flag}");
        assert!(arg.get_help_heading().is_some(), "{flag}");
        assert!(arg.get_help().is_some_and(|help| !help.to_string().is_empty()), "{flag}");
        assert!(seen.insert(variable));
    }
    assert_eq!(seen.len(), 50, "a flag more or less changes the README and the CHANGELOG");
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = resolve(&[], &[]).unwrap();
    assert_eq!(config.service.scrape.interval, Duration::from_secs(30));
    assert_eq!(config.deadline, Duration::from_secs(10));
    assert_eq!(config.publish_interval, Duration::from_secs(5));
    assert_eq!(config.service.log.level, Some(LogLevel::Info));
    assert!(!config.hide_data);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn timeout_and_publishing_follow_a_short_interval_but_a_given_timeout_must_fit() {
    let config = resolve(&["--scrape.interval", "2s"], &[]).unwrap();
    assert_eq!(config.deadline, Duration::from_millis(1_800));
    assert_eq!(config.publish_interval, Duration::from_secs(2));
    let error = resolve(&["--scrape.interval=2s", "--scrape.timeout=3s"], &[]).unwrap_err();
    assert_eq!((error.key.as_str(), error.value.as_str()), ("--scrape.timeout", "3s"));
    let error = resolve(&["--publish.interval=31s"], &[]).unwrap_err();
    assert_eq!((error.key.as_str(), error.value.as_str()), ("--publish.interval", "31s"));
    assert_eq!(error.allowed, "at most --scrape.interval (30s) is allowed");
}

#[test]
fn the_helpers_interval_gives_way_to_ours() {
    let theirs = [("METRIC_UPDATE_INTERVAL", "45")];
    let config = resolve(&[], &theirs).unwrap();
    assert_eq!(config.service.scrape.interval, Duration::from_secs(45));
    let config = resolve(&["--scrape.interval=20s"], &theirs).unwrap();
    assert_eq!(config.service.scrape.interval, Duration::from_secs(20));
}

#[test]
fn wrong_values_of_the_helpers_variables_name_key_value_and_what_is_allowed() {
    for (key, value) in [
        ("METRIC_UPDATE_INTERVAL", "30s"),
        ("METRIC_UPDATE_INTERVAL", "0"),
        ("USE_PROMETHEUS", "on"),
        ("USE_CLOUDWATCH", "maybe"),
        ("AWS_VPC_K8S_CNI_LOGLEVEL", "loud"),
    ] {
        let error = resolve(&[], &[(key, value)]).unwrap_err();
        assert_eq!((error.key.as_str(), error.value.as_str()), (key, value));
        assert!(error.allowed.contains("allowed"), "{}", error.allowed);
    }
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    for name in
        ["USE_PROMETHEUS", "USE_CLOUDWATCH", "METRIC_UPDATE_INTERVAL", "AWS_VPC_K8S_CNI_LOGLEVEL"]
    {
        let config = resolve(&[], &[(name, "")]).unwrap();
        assert_eq!((config.hide_data, config.mirror.is_some()), (false, false), "{name}");
    }
}

#[test]
fn the_helpers_switches_mean_what_they_meant() {
    for (value, hidden) in [("false", true), ("No", true), ("TRUE", false), ("yes", false)] {
        assert_eq!(resolve(&[], &[("USE_PROMETHEUS", value)]).unwrap().hide_data, hidden);
    }
    let config = resolve(&[], &[("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG")]).unwrap();
    assert_eq!(config.service.log.level, Some(LogLevel::Debug));
    let config = resolve(&[], &[("AWS_VPC_K8S_CNI_LOGLEVEL", "fatal")]).unwrap();
    assert_eq!(config.service.log.level, Some(LogLevel::Error));
    let config = resolve(&["--log.level=warn"], &[("AWS_VPC_K8S_CNI_LOGLEVEL", "?")]).unwrap();
    assert_eq!(config.service.log.level, Some(LogLevel::Warn));
    for (value, mirrors) in [("true", cfg!(feature = "aws")), ("no", false)] {
        let config = resolve(&[], &[("USE_CLOUDWATCH", value)]);
        assert_eq!(config.is_ok_and(|config| config.mirror.is_some()), mirrors, "{value}");
    }
    let slow = [("METRIC_UPDATE_INTERVAL", "7000"), ("USE_CLOUDWATCH", "no")];
    let interval = resolve(&[], &slow).unwrap().service.mirror.interval;
    assert_eq!(interval, Duration::from_secs(7200), "the next one that divides a day");
}

#[test]
fn nothing_to_scrape_and_bad_addresses_stop_the_start() {
    let (cli, _) = read(["vpc-cni-exporter"].map(OsString::from)).unwrap();
    let error = Config::resolve(cli.service, |_| false, |_| None).unwrap_err();
    assert!(error.to_string().contains("--discover.file"), "{error}");
    for bad in ["10.0.0.2:0", "10.0.0.2:port", "[::1", "ho st", ":80"] {
        let error = resolve(&["--discover.targets", bad], &[]).unwrap_err();
        assert_eq!((error.key.as_str(), error.value.as_str()), ("--discover.targets", bad));
    }
}

#[test]
fn by_itself_it_discovers_where_there_is_a_cluster_and_elects_in_a_pod() {
    let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    let endpoint = ("CLUSTER_ENDPOINT", "https://example.com:443");
    for (args, variables, discovers, elects) in [
        (&[][..], &[][..], false, false),
        (&[], &[("KUBERNETES_SERVICE_HOST", "")], false, false),
        (&[], &[pod], true, true),
        (&["--kube.config=file"], &[], true, false),
        (&["--kube.api-server=https://example.com"], &[], true, false),
        (&[], &[endpoint], true, false),
        (&["--discover.kubernetes=on"], &[], true, false),
        (&["--discover.kubernetes=off"], &[pod], false, true),
        (&["--discover.kubernetes=off", "--lead.election=off"], &[pod], false, false),
    ] {
        let config = resolve(args, variables).unwrap();
        assert_eq!((config.kubernetes, config.election), (discovers, elects), "{args:?}");
        assert_eq!(config.in_cluster, variables.contains(&pod), "{args:?}");
    }
    let url = |args: &[&str]| resolve(args, &[endpoint]).unwrap().service.kube.api_server.unwrap();
    assert_eq!(url(&[]), "https://example.com:443/");
    assert_eq!(url(&["--kube.api-server=https://a:1"]), "https://a:1/", "the flag wins");
    let bad = resolve(&[], &[("CLUSTER_ENDPOINT", "example.com")]).unwrap_err();
    assert_eq!((&*bad.key, &*bad.value), ("CLUSTER_ENDPOINT", "example.com"));
}

#[test]
fn a_value_of_a_variable_is_refused_with_flag_and_variable() {
    // Clap took the value; what it cannot check alone is checked later.
    let args = ["--discover.targets", "a,b:0"];
    let of_variable = [("VPCCNI_DISCOVER_TARGETS", "a,b:0")];
    let error = resolve(&args, &of_variable).unwrap_err();
    assert_eq!(error.key, "--discover.targets (variable VPCCNI_DISCOVER_TARGETS)");
    assert_eq!(error.value, "b:0");
    let error = resolve(&args, &[("VPCCNI_DISCOVER_TARGETS", "c")]).unwrap_err();
    assert_eq!(error.key, "--discover.targets");
}

#[test]
fn variables_that_look_like_ours_and_are_not_are_told() {
    let names = ["VPCCNI_SCRAPE_INTERVALL", "VPCCNI_SCRAPE_INTERVAL", "PATH", "VPCCNI_A"];
    let told = unknown_variables(names.into_iter().map(OsString::from));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("VPCCNI_A ") && told[1].contains("VPCCNI_SCRAPE_INTERVALL "));
}

#[test]
fn wrong_flags_name_flag_value_and_what_is_allowed() {
    for (flag, value) in [
        ("--scrape.interval", "30"),
        ("--scrape.interval", "100ms"),
        ("--scrape.concurrency", "0"),
        ("--scrape.max-body", "4 MiB"),
        ("--scrape.max-samples", "70000"),
        ("--node.detail", "some"),
        ("--node.allow", "("),
        ("--discover.path", "metrics"),
        ("--web.listen-address", "61681:"),
        ("--log.format", "xml"),
    ] {
        let words = ["vpc-cni-exporter", flag, value].map(OsString::from);
        let error = read(words).unwrap_err().to_string();
        assert!(error.contains(flag) && error.contains(value), "{error}");
    }
}
