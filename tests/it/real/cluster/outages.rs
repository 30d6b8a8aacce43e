//! The API server away, back again, and not remembering. Figures come from the nodes and go on; what
//! vanished meanwhile is dropped afterwards, and nothing counts twice.

use super::Cluster;
use super::account::manifest;
use super::api::{Api, wait};
use super::mirror::Addresses;
use super::objects::PODS;
use super::relay::Relay;
use super::scene::{Plan, Scene, readiness, served, until_served};
use crate::support::{HANG, until};
use crate::truth::Watch;
use serde_json::json;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

const EXPECTED: &str = "vpccni_cluster_nodes_expected";
const RESOURCES: [&str; 3] = ["pods", "nodes", "daemonsets"];

fn errors(reason: &str, resource: &str) -> String {
    format!(
        "vpccni_exporter_kubernetes_watch_errors_total{{reason=\"{reason}\",resource=\"{resource}\"}}"
    )
}

fn scene(cluster: &Cluster, base: &str, relay: Option<&Relay>) -> Scene {
    let flags = relay.map(|relay| format!("--kube.api-server={}", relay.url()));
    let (addresses, manifest) = (Addresses::Direct, manifest("rbac.yaml"));
    let flags = flags.into_iter().collect();
    Plan { base, nodes: 15, addresses, manifest, flags, interval: 0.5 }.play(cluster)
}

#[test]
fn while_the_api_server_is_dead_the_figures_go_on_and_afterwards_too() {
    let mut cluster = Cluster::own(&[]);
    let mut scene = scene(&cluster, "127.41.0.1", None);
    let watch = Watch::start(scene.pair.web);
    scene.compare("at rest");
    cluster.kill();
    scene.step(1800);
    scene.compare("while nobody answers");
    assert_eq!(scene.pair.sum(EXPECTED), 15.0);
    assert_eq!(readiness(scene.pair.web).0, 200);
    cluster.restart();
    scene.pair.control("/join?old=true");
    scene.step(900);
    // The pauses between tries have grown meanwhile.
    until_served(scene.pair.web, EXPECTED, 16.0);
    scene.compare("after it came back");
    let falls = watch.end();
    assert!(falls.is_empty(), "{}", falls.join("\n"));
}

#[test]
fn an_api_server_that_comes_back_and_remembers_is_followed_on_and_nothing_is_listed_anew() {
    // Without their cache watches begin at any version that etcd still has.
    let mut cluster = Cluster::own(&["--watch-cache-sizes=pods#0,nodes#0,daemonsets.apps#0"]);
    let mut scene = scene(&cluster, "127.45.0.1", None);
    scene.compare("at rest");
    let web = scene.pair.web;
    let cut = |page: &BTreeMap<String, f64>, resource: &str| {
        let reason = |reason: &str| page[&errors(reason, resource)];
        reason("unreachable") + reason("server")
    };
    cluster.kill();
    until("notice of its death", || {
        RESOURCES.iter().all(|resource| cut(&served(web), resource) > 0.0).then_some(())
    });
    cluster.restart();
    scene.pair.control("/join?old=true");
    scene.step(900);
    until_served(web, EXPECTED, 16.0);
    scene.compare("after it came back");
    let page = served(web);
    for resource in RESOURCES {
        assert_eq!(page[&errors("gone", resource)], 0.0, "{resource}");
    }
}

#[test]
fn what_vanished_while_the_watch_was_away_is_dropped_afterwards() {
    let cluster = Cluster::shared();
    let relay = Relay::to(&cluster);
    let mut scene = scene(&cluster, "127.42.0.1", Some(&relay));
    scene.compare("at rest");
    relay.cut();
    let gone = vanish(&scene, 3);
    relay.mend();
    dropped(&mut scene, &gone);
    assert_eq!(
        served(scene.pair.web)[&errors("gone", "pods")],
        0.0,
        "it went on from where it was"
    );
}

#[test]
fn what_vanished_is_dropped_though_the_api_server_does_not_remember_it() {
    let mut cluster = Cluster::own(&[]);
    let relay = Relay::to(&cluster);
    let mut scene = scene(&cluster, "127.43.0.1", Some(&relay));
    scene.compare("at rest");
    relay.cut();
    let gone = vanish(&scene, 3);
    // Its watch cache begins anew, after what the service has seen last: 410 Gone.
    cluster.kill();
    cluster.restart();
    relay.mend();
    dropped(&mut scene, &gone);
    assert!(served(scene.pair.web)[&errors("gone", "pods")] > 0.0, "all was listed anew");
}

#[test]
fn a_rotated_token_is_used_when_the_old_one_has_ended() {
    // Nobody else waits for a minute because of it.
    let cluster = Cluster::own(&[]);
    let relay = Relay::to(&cluster);
    let mut scene = scene(&cluster, "127.44.0.1", Some(&relay));
    scene.compare("at rest");
    let old = Api::of(&scene.account().kubeconfig());
    wait(old.get(PODS)).unwrap();
    relay.cut();
    // A token ends with its account; another account of the same name has the same rights.
    let accounts = "/api/v1/namespaces/vpc-cni-exporter/serviceaccounts";
    wait(cluster.admin.delete(&format!("{accounts}/vpc-cni-exporter")));
    wait(cluster.admin.create(accounts, &json!({ "metadata": { "name": "vpc-cni-exporter" } })));
    scene.account().rotate();
    until("the end of the old token", || {
        wait(old.get(PODS)).is_err_and(|refusal| refusal.code == 401).then_some(())
    });
    let gone = vanish(&scene, 1);
    relay.mend();
    // The client reads the file anew once a minute, which is as long as one wait has.
    let read_anew = Instant::now() + HANG;
    while Instant::now() < read_anew && served(scene.pair.web)[EXPECTED] != 14.0 {
        thread::sleep(Duration::from_millis(100));
    }
    dropped(&mut scene, &gone);
}

/// Takes nodes away that the service cannot hear of.
fn vanish(scene: &Scene, nodes: usize) -> Vec<String> {
    let gone: Vec<String> =
        scene.fleet.targets().iter().take(nodes).map(|t| t.node.to_string()).collect();
    for node in &gone {
        scene.pair.control(&format!("/leave?node={node}"));
    }
    scene.mirror.caught_up();
    assert_eq!(served(scene.pair.web)[EXPECTED], 15.0, "it has not heard of it");
    gone
}

/// Waits until the service knows, and compares.
fn dropped(scene: &mut Scene, gone: &[String]) {
    until_served(scene.pair.web, EXPECTED, 15.0 - gone.len() as f64);
    scene.step(900);
    scene.compare("after the watch came back");
    let page = served(scene.pair.web);
    for node in gone {
        assert!(!page.keys().any(|key| key.contains(&format!("\"{node}\""))), "{node}");
    }
}
