//! What the API server says, as the service's figures say it: pods and nodes that come, go and change.
//! Never: a figure that was not held against the fleet or the objects.

use super::Cluster;
use super::account::manifest;
use super::api::{AT_ONCE, wait};
use super::mirror::Addresses;
use super::objects::{NODES, PODS, Pod};
use super::scene::{Plan, Scene, readiness, served, service, until_served};
use crate::support::{PageServer, get, until};
use crate::truth::Watch;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

const STATE_MISSING: &str = "vpccni_cluster_nodes{state=\"missing\"}";
const STATE_UP: &str = "vpccni_cluster_nodes{state=\"up\"}";
const EXPECTED: &str = "vpccni_cluster_nodes_expected";

fn plan(base: &str, nodes: u32) -> Plan<'_> {
    let (manifest, flags) = (manifest("rbac.yaml"), Vec::new());
    Plan { base, nodes, addresses: Addresses::Direct, manifest, flags, interval: 0.5 }
}

/// Replaces a node's pod by one with another uid, as the DaemonSet's controller does.
fn replace(cluster: &Cluster, scene: &Scene, old: &str, new: &str) {
    let admin = &cluster.admin;
    let (new, address) = successor(cluster, scene, old, new);
    wait(async {
        admin.terminate_pod(old).await;
        admin.delete_pod(old).await;
        admin.run_pod(&new, address).await;
    });
}

/// The pod that replaces another one, and the address of both.
fn successor(cluster: &Cluster, scene: &Scene, old: &str, new: &str) -> (Pod, IpAddr) {
    let pod = wait(cluster.admin.get(&format!("{PODS}/{old}"))).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let address: IpAddr = text(&pod["status"]["podIP"]).parse().unwrap();
    let new = Pod {
        name: new.to_owned(),
        node: text(&pod["spec"]["nodeName"]),
        port: scene.port,
        owner: text(&pod["metadata"]["ownerReferences"][0]["uid"]),
    };
    (new, address)
}

#[test]
fn nodes_that_join_leave_and_take_over_addresses_leave_every_figure_true() {
    let cluster = Cluster::shared();
    let mut scene = plan("127.31.0.1", 30).play(&cluster);
    let watch = Watch::start(scene.pair.web);
    scene.compare("at rest");
    for turn in 1..=4 {
        let gone = scene.fleet.targets()[turn].node.clone();
        // Who joins next takes over the address of who left.
        scene.pair.control(&format!("/leave?node={gone}"));
        scene.pair.control("/join?old=true");
        scene.pair.control("/join?old=false");
        scene.step(600);
        scene.compare(&format!("after {turn} turns"));
    }
    assert_eq!(scene.pair.sum(EXPECTED), 34.0);
    let falls = watch.end();
    assert!(falls.is_empty(), "{}", falls.join("\n"));
}

#[test]
fn a_rollout_of_the_daemonset_neither_dips_the_sums_nor_bursts_the_counters() {
    let cluster = Cluster::shared();
    let mut plan = plan("127.32.0.1", 12);
    // However long the test takes between a pod and the next.
    plan.flags.push("--scrape.stale-after=1000".to_owned());
    let mut scene = plan.play(&cluster);
    scene.compare("at rest");
    let web = scene.pair.web;
    let sum = || served(web)["vpccni_cluster_ip_addresses_attached{ip_family=\"ipv4\"}"];
    let before = sum();
    let watch = Watch::start(web);
    for i in 1..=12 {
        let old = format!("aws-node-{i:05}");
        let new = format!("aws-node-new-{i:05}");
        if i > 4 {
            // The old one and the new one in one view.
            replace(&cluster, &scene, &old, &new);
            continue;
        }
        // Each state is seen: terminating, none, pending, running.
        let (pod, address) = successor(&cluster, &scene, &old, &new);
        let seen = |why: &str| {
            until(&format!("the node of {old} that is idle: {why}"), || {
                idle(web)
                    .iter()
                    .any(|(node, reason)| *node == pod.node && reason.contains(why))
                    .then_some(())
            });
            until_served(web, "vpccni_cluster_nodes{state=\"stale\"}", 1.0);
            assert_eq!((served(web)[STATE_UP], sum()), (11.0, before), "pod {i}: {why}");
        };
        wait(cluster.admin.terminate_pod(&old));
        seen("is terminating");
        wait(cluster.admin.delete_pod(&old));
        seen("no aws-node pod");
        wait(cluster.admin.create_pod(&pod));
        seen("is Pending");
        wait(cluster.admin.pod_is(&new, "Running", Some(address)));
        until_served(web, STATE_UP, 12.0);
        assert_eq!(sum(), before, "after pod {i}");
    }
    scene.pair.settle();
    assert_eq!(sum(), before);
    scene.compare("after the rollout");
    let falls = watch.end();
    assert!(falls.is_empty(), "{}", falls.join("\n"));
    // As after an update of the CNI: another process as well.
    for (i, target) in (1..=12).zip(scene.fleet.targets().iter()) {
        assert!(scene.fleet.restart(&target.node));
        replace(&cluster, &scene, &format!("aws-node-new-{i:05}"), &format!("aws-node-{i:05}"));
    }
    scene.step(900);
    scene.compare("after a rollout that restarts the processes");
}

#[test]
fn the_labels_of_a_node_are_those_of_its_info_and_follow_it() {
    let cluster = Cluster::shared();
    let mut plan = plan("127.33.0.1", 2);
    plan.flags.push("--node.labels=example.com/team".to_owned());
    let scene = plan.play(&cluster);
    let node = scene.fleet.targets()[0].node.clone();
    let info = |label: &str, value: &str| {
        until(&format!("{label}={value:?} of {node}"), || {
            let key = |key: &&String| {
                key.starts_with("vpccni_node_info{")
                    && key.contains(&format!("node=\"{node}\""))
                    && (key.contains(&format!("{label}=\"{value}\""))
                        || value.is_empty() && !key.contains(&format!("{label}=\"")))
            };
            served(scene.pair.web).keys().find(key).map(drop)
        });
    };
    let instance = &scene.fleet.targets()[0];
    info("instance_type", instance.labels.get("instance_type").unwrap());
    info("zone", instance.labels.get("zone").unwrap());
    wait(cluster.admin.relabel(&node, json!({ "example.com/team": "blue" })));
    info("label_example_com_team", "blue");
    let zone = json!({ "topology.kubernetes.io/zone": "us-west-2x", "example.com/team": "red" });
    wait(cluster.admin.relabel(&node, zone));
    info("zone", "us-west-2x");
    info("label_example_com_team", "red");
    wait(cluster.admin.relabel(&node, json!({ "example.com/team": null })));
    info("label_example_com_team", "");
}

#[test]
fn the_kubelets_pod_limit_is_known_of_old_and_new_nodes_and_tells_that_a_node_is_full() {
    let cluster = Cluster::shared();
    let mut scene = plan("127.46.0.1", 3).play(&cluster);
    let web = scene.pair.web;
    until_served(web, STATE_UP, 3.0);
    scene.compare("with limits as the fleet has them");
    let host = "127.46.1.200";
    let page = "awscni_assigned_ip_addresses 18\nawscni_total_ip_addresses 32\nawscni_ip_max 432\n";
    let node = PageServer::start_at(&format!("{host}:0"), page);
    wait(cluster.admin.create_node("full", &[], Some(20)));
    let pod = Pod {
        name: "aws-node-full".to_owned(),
        node: "full".to_owned(),
        port: node.address.port(),
        owner: "00000000-0000-0000-0000-000000000000".to_owned(),
    };
    wait(cluster.admin.run_pod(&pod, host.parse().unwrap()));
    until_served(web, "vpccni_node_growth_blocked{node=\"full\",reason=\"max_pods\"}", 1.0);
    assert_eq!(served(web)["vpccni_node_ip_addresses_usable{node=\"full\"}"], 18.0);
    assert_eq!(served(web)["vpccni_cluster_nodes_growth_blocked{reason=\"max_pods\"}"], 1.0);
}

#[test]
fn the_daemonsets_settings_are_told_and_follow_it() {
    let cluster = Cluster::shared();
    let scene = plan("127.47.0.1", 1).play(&cluster);
    let info = |settings: &str| {
        let key = format!("vpccni_daemonset_config_info{{daemonset=\"aws-node\",{settings}}}");
        until_served(scene.pair.web, &key, 1.0);
    };
    info("enable_prefix_delegation=\"false\",version=\"v1.20.0\",warm_eni_target=\"1\"");
    let env = json!([{ "name": "WARM_IP_TARGET", "value": "5" }]);
    wait(cluster.admin.set_environment(&env));
    info("version=\"v1.20.0\",warm_ip_target=\"5\"");
}

#[test]
fn a_node_without_a_pod_is_missing_and_one_whose_pod_does_not_run_has_failed() {
    let cluster = Cluster::shared();
    let scene = plan("127.34.0.1", 3).play(&cluster);
    let web = scene.pair.web;
    until_served(web, STATE_UP, 3.0);
    wait(cluster.admin.delete_pod("aws-node-00001"));
    until_served(web, STATE_MISSING, 1.0);
    until_served(web, STATE_UP, 2.0);
    wait(cluster.admin.pod_is("aws-node-00002", "Failed", None));
    until_served(web, "vpccni_cluster_nodes{state=\"failed\"}", 1.0);
    assert_eq!(served(web)[EXPECTED], 3.0);
    assert_eq!(served(web)[STATE_MISSING], 1.0);
}

#[test]
fn two_thousand_nodes_and_pods_that_come_at_once_are_all_scraped() {
    let cluster = Cluster::shared();
    let mut plan = plan("127.35.0.1", 2000);
    plan.interval = 3.0;
    let mut scene = plan.play_before_the_nodes_come(&cluster);
    until_served(scene.pair.web, STATE_UP, 2000.0);
    scene.compare("when all have come");
    assert_eq!(scene.pair.sum(STATE_UP), 2000.0);
    assert_eq!(scene.pair.sum(EXPECTED), 2000.0);
}

#[test]
fn through_the_pod_proxy_every_figure_is_true_too() {
    let cluster = Cluster::shared();
    let mut plan = plan("127.36.0.1", 8);
    plan.addresses = Addresses::Proxied;
    plan.manifest.extend(manifest("rbac-proxy.yaml"));
    plan.flags.push("--discover.route=proxy".to_owned());
    let mut scene = plan.play(&cluster);
    scene.compare("at rest");
    scene.step(900);
    scene.compare("a quarter of an hour later");
    assert_eq!(scene.pair.sum(STATE_UP), 8.0);
}

#[test]
fn nodes_that_never_run_aws_node_are_not_expected() {
    let cluster = Cluster::shared();
    let scene = plan("127.37.0.1", 2).play(&cluster);
    let admin = &cluster.admin;
    for (node, labels) in [
        ("fargate", ("eks.amazonaws.com/compute-type", "fargate")),
        ("hybrid", ("eks.amazonaws.com/compute-type", "hybrid")),
        ("auto", ("eks.amazonaws.com/compute-type", "auto")),
        ("windows", ("kubernetes.io/os", "windows")),
    ] {
        wait(admin.create_node(node, &[labels], None));
    }
    wait(admin.create_node("zz", &[], None));
    until("7 nodes that are known, one of them missing", || {
        let page = served(scene.pair.web);
        let of = |key: &str| page.get(key).copied();
        (of(&known("nodes")) == Some(7.0) && of(STATE_MISSING) == Some(1.0)).then_some(())
    });
    assert_eq!(served(scene.pair.web)[EXPECTED], 3.0);
    assert_eq!(served(scene.pair.web)[STATE_UP], 2.0);
}

#[test]
fn a_cluster_of_auto_mode_nodes_alone_is_ready_and_says_so() {
    let cluster = Cluster::shared();
    for i in 0..AT_ONCE {
        let auto = [("eks.amazonaws.com/compute-type", "auto")];
        wait(cluster.admin.create_node(&format!("auto-{i}"), &auto, None));
    }
    let account = cluster.account(&manifest("rbac.yaml"));
    let service = service(&account.kubeconfig(), &[]);
    let web = service.listening();
    let said = until("readiness", || {
        let (status, said) = readiness(web);
        (status == 200).then_some(said)
    });
    assert!(said.to_lowercase().contains("nothing to scrape"), "{said}");
    assert_eq!(wait(cluster.admin.get(NODES)).unwrap()["items"].as_array().unwrap().len(), AT_ONCE);
}

#[test]
fn a_newer_pod_that_does_not_run_leaves_the_node_to_the_one_that_does() {
    let cluster = Cluster::shared();
    let scene = plan("127.38.0.1", 2).play(&cluster);
    let web = scene.pair.web;
    let owner = "00000000-0000-0000-0000-000000000000".to_owned();
    let node = scene.fleet.targets()[0].node.to_string();
    let late = Pod { name: "aws-node-late".to_owned(), node, port: scene.port, owner };
    // Pods know the second they were made in: some pass, so that it is the newer one.
    scene.pair.settle();
    wait(cluster.admin.create_pod(&late));
    until_served(web, &known("pods"), 3.0);
    scene.pair.settle();
    assert_eq!(served(web)[STATE_UP], 2.0);
    // And the other way round: once it runs, the older one may go.
    let address = scene.fleet.targets()[0].host.parse().unwrap();
    wait(cluster.admin.pod_is("aws-node-late", "Running", Some(address)));
    wait(cluster.admin.delete_pod("aws-node-00001"));
    until_served(web, &known("pods"), 2.0);
    scene.pair.settle();
    assert_eq!(served(web)[STATE_UP], 2.0);
}

#[test]
fn a_node_whose_address_a_newer_pod_has_is_known_and_expected_and_the_newer_one_is_scraped() {
    let cluster = Cluster::shared();
    let mut scene = plan("127.39.0.1", 3).play(&cluster);
    let web = scene.pair.web;
    until_served(web, STATE_UP, 3.0);
    let old = scene.fleet.targets()[0].clone();
    // Its pod still stands there as running when another node has its address. Pods know the second
    // they were made in.
    thread::sleep(Duration::from_millis(1100));
    wait(cluster.admin.create_node("zz", &[], None));
    let owner = "00000000-0000-0000-0000-000000000000".to_owned();
    let pod =
        Pod { name: "aws-node-zz".to_owned(), node: "zz".to_owned(), port: scene.port, owner };
    wait(cluster.admin.run_pod(&pod, old.host.parse().unwrap()));
    for turn in 0..5 {
        // Each change has everything added up again.
        wait(
            cluster
                .admin
                .relabel("zz", json!({ "topology.kubernetes.io/zone": format!("z{turn}") })),
        );
        until("zone of the node that has the address", || {
            let zone = format!("zone=\"z{turn}\"");
            served(web).keys().any(|key| key.contains(&zone)).then_some(())
        });
        until_served(web, STATE_UP, 3.0);
        assert_eq!(served(web)[EXPECTED], 4.0, "in turn {turn}");
        let idle = idle(web);
        assert_eq!(idle.len(), 1, "{idle:?}");
        let (node, why) = &idle[0];
        assert!(
            *node == *old.node && why.contains("the newer aws-node-zz on zz has it"),
            "{idle:?}"
        );
    }
    let watch = Watch::start(web);
    wait(cluster.admin.delete_pod("aws-node-zz"));
    wait(cluster.admin.delete_node("zz"));
    until_served(web, EXPECTED, 3.0);
    until_served(web, STATE_UP, 3.0);
    scene.step(900);
    scene.compare("after the address came back");
    let falls = watch.end();
    assert!(falls.is_empty(), "{}", falls.join("\n"));
}

/// The nodes that are not scraped, and why.
fn idle(web: SocketAddr) -> Vec<(String, String)> {
    let page: serde_json::Value =
        serde_json::from_str(&get(web, "/api/v1/nodes", &[]).text()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = page["nodes"].as_array().unwrap().iter();
    let idle = nodes.filter(|node| node["address"].is_null());
    idle.map(|node| (text(&node["node"]), text(&node["reason"]))).collect()
}

/// The number of objects that the service knows of.
fn known(resource: &str) -> String {
    format!("vpccni_exporter_kubernetes_objects{{resource=\"{resource}\"}}")
}
