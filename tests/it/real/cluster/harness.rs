//! The harness itself, and the rights of `deploy/` at a real API server. Never: the program under test.

use super::Cluster;
use super::account::{manifest, without};
use super::api::{Api, wait};
use super::mirror::{Addresses, Mirror};
use super::objects::{NODES, PODS, Pod};
use super::scene::fleet;
use crate::support::until;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use vpc_cni_exporter::demo::fleet::{Age, Fleet};

/// All that the service asks the API server for: verbs, group, resource, namespace.
const RIGHTS: [(&[&str], &str, &str, &str); 4] = [
    (&["get", "list", "watch"], "", "pods", "kube-system"),
    (&["get", "list", "watch"], "apps", "daemonsets", "kube-system"),
    (&["get", "list", "watch"], "", "nodes", ""),
    (
        &["get", "list", "create", "update", "patch"],
        "coordination.k8s.io",
        "leases",
        "vpc-cni-exporter",
    ),
];

#[test]
fn data_outlive_a_crash_of_the_api_server() {
    let mut cluster = Cluster::own(&[]);
    wait(cluster.admin.create_node("n1", &[("a", "b")], None));
    cluster.kill();
    assert_eq!(wait(cluster.admin.get(NODES)).unwrap_err().code, 0, "nobody answers");
    cluster.restart();
    let node = wait(cluster.admin.get(&format!("{NODES}/n1"))).unwrap();
    assert_eq!(node["metadata"]["labels"]["a"], json!("b"));
}

#[test]
fn a_list_cannot_go_on_after_its_versions_were_compacted() {
    let mut cluster = Cluster::own(&["--watch-cache-sizes=nodes#0"]);
    for node in ["n1", "n2", "n3"] {
        wait(cluster.admin.create_node(node, &[], None));
    }
    let first = wait(cluster.admin.get(&format!("{NODES}?limit=1"))).unwrap();
    let next =
        format!("{NODES}?limit=1&continue={}", first["metadata"]["continue"].as_str().unwrap());
    assert_eq!(names(&wait(cluster.admin.get(&next)).unwrap()), ["n2"]);
    wait(cluster.admin.create_node("n4", &[], None));
    cluster.compact();
    assert_eq!(wait(cluster.admin.get(&next)).unwrap_err().code, 410);
}

#[test]
fn the_manifests_give_what_the_service_asks_for_and_nothing_else() {
    let cluster = Cluster::shared();
    let account = cluster.account(&manifest("rbac.yaml"));
    let ours = Api::of(&account.kubeconfig());
    for (verbs, group, resource, namespace) in RIGHTS {
        for verb in verbs {
            granted(&ours, verb, group, resource, namespace);
        }
    }
    for (verb, group, resource, namespace) in [
        ("list", "", "pods", ""),
        ("list", "", "pods", "default"),
        ("get", "", "pods/proxy", "kube-system"),
        ("delete", "", "pods", "kube-system"),
        ("create", "", "pods", "kube-system"),
        ("patch", "apps", "daemonsets", "kube-system"),
        ("get", "", "nodes/proxy", ""),
        ("patch", "", "nodes", ""),
        ("list", "", "secrets", "kube-system"),
        ("get", "", "secrets", "vpc-cni-exporter"),
        ("get", "", "configmaps", "vpc-cni-exporter"),
        ("get", "coordination.k8s.io", "leases", "kube-system"),
        ("delete", "coordination.k8s.io", "leases", "vpc-cni-exporter"),
    ] {
        let may = wait(ours.may(verb, group, resource, namespace));
        assert!(!may, "{verb} {resource}.{group} in {namespace:?}");
    }
    assert_eq!(wait(ours.get(PODS)).unwrap()["kind"], json!("PodList"));
    let refused = wait(ours.get("/api/v1/namespaces/kube-system/secrets")).unwrap_err();
    assert_eq!(refused.code, 403);
    assert!(refused.message.contains("system:serviceaccount:vpc-cni-exporter:vpc-cni-exporter"));
}

#[test]
fn a_rule_taken_out_is_refused_and_the_others_stay() {
    let cluster = Cluster::shared();
    for (_, _, missing, _) in RIGHTS {
        let account = cluster.account(&without(missing, manifest("rbac.yaml")));
        let ours = Api::of(&account.kubeconfig());
        for (_, group, resource, namespace) in RIGHTS {
            let what = format!("list {resource} without the rule for {missing}");
            let expected = resource != missing;
            // Roles reach the authorizer by a watch of its own.
            let list = || wait(ours.may("list", group, resource, namespace)) == expected;
            until(&what, || list().then_some(()));
        }
    }
}

#[test]
fn the_proxy_s_manifest_gives_the_pod_proxy_and_nothing_else() {
    let cluster = Cluster::shared();
    let account = cluster.account(&[manifest("rbac.yaml"), manifest("rbac-proxy.yaml")].concat());
    let ours = Api::of(&account.kubeconfig());
    granted(&ours, "get", "", "pods/proxy", "kube-system");
    granted(&ours, "get", "", "pods", "kube-system");
    for (verb, resource, namespace) in
        [("create", "pods/proxy", "kube-system"), ("get", "pods/proxy", "default")]
    {
        assert!(!wait(ours.may(verb, "", resource, namespace)), "{verb} {resource} {namespace}");
    }
}

#[test]
fn two_thousand_nodes_with_pods_are_mirrored_and_follow_their_fleet() {
    let cluster = Cluster::shared();
    let (fleet, _) = fleet("127.21.0.1", 2000);
    let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), Addresses::Direct);
    mirror.caught_up();
    assert_eq!(pods(&cluster.admin), fleet_addresses(&fleet));
    let first = fleet.targets()[0].clone();
    assert!(wait(fleet.leave(&first.node)).unwrap());
    let joined = wait(fleet.join(Age::Young)).unwrap().unwrap();
    mirror.caught_up();
    assert_eq!(pods(&cluster.admin), fleet_addresses(&fleet));
    let node = wait(cluster.admin.get(&format!("{NODES}/{joined}"))).unwrap();
    assert_eq!(node["metadata"]["labels"]["topology.kubernetes.io/region"], json!("us-west-2"));
    assert_eq!(wait(cluster.admin.get(&format!("{NODES}/{}", first.node))).unwrap_err().code, 404);
}

#[test]
fn a_pod_ends_at_once_or_is_terminating_until_then() {
    let cluster = Cluster::shared();
    let admin = &cluster.admin;
    let owner = wait(admin.create_daemonset());
    let pod = Pod { name: "a1".to_owned(), node: "n1".to_owned(), port: 61678, owner };
    let first = wait(admin.run_pod(&pod, Ipv4Addr::new(127, 22, 0, 1).into()));
    wait(admin.terminate_pod("a1"));
    let ending = wait(admin.get(&format!("{PODS}/a1"))).unwrap();
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(ending["status"]["podIP"], json!("127.22.0.1"));
    wait(admin.delete_pod("a1"));
    assert_eq!(wait(admin.get(&format!("{PODS}/a1"))).unwrap_err().code, 404);
    assert_ne!(wait(admin.create_pod(&pod)), first, "the same name, another uid");
}

#[test]
fn a_mirrored_node_s_page_is_fetched_through_the_pod_proxy_by_who_may() {
    let cluster = Cluster::shared();
    let (fleet, port) = fleet("127.23.0.1", 2);
    let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), Addresses::Proxied);
    mirror.caught_up();
    let first = wait(cluster.admin.get(&format!("{PODS}/aws-node-00001"))).unwrap();
    assert_eq!(first["status"]["podIP"], json!("10.23.0.1"));
    let page = format!("{PODS}/aws-node-00001:{port}/proxy/metrics");
    let account = cluster.account(&manifest("rbac.yaml"));
    let ours = Api::of(&account.kubeconfig());
    assert_eq!(wait(ours.text(&page)).unwrap_err().code, 403);
    let account = cluster.account(&manifest("rbac-proxy.yaml"));
    let ours = Api::of(&account.kubeconfig());
    granted(&ours, "get", "", "pods/proxy", "kube-system");
    assert!(wait(ours.text(&page)).unwrap().contains("\nawscni_assigned_ip_addresses "));
}

#[test]
fn labels_of_a_node_are_set_and_taken_away() {
    let cluster = Cluster::shared();
    wait(cluster.admin.create_node("n1", &[("a", "1"), ("b", "1")], None));
    wait(cluster.admin.relabel("n1", json!({ "a": "2", "b": null, "c": "1" })));
    let node = wait(cluster.admin.get(&format!("{NODES}/n1"))).unwrap();
    let labels = &node["metadata"]["labels"];
    assert_eq!(
        (&labels["a"], &labels["b"], &labels["c"]),
        (&json!("2"), &json!(null), &json!("1"))
    );
}

/// Waits for a right: roles reach the authorizer by a watch of its own.
fn granted(api: &Api, verb: &str, group: &str, resource: &str, namespace: &str) {
    let what = format!("right to {verb} {resource}.{group} in {namespace:?}");
    until(&what, || wait(api.may(verb, group, resource, namespace)).then_some(()));
}

fn fleet_addresses(fleet: &Fleet) -> Vec<(String, String)> {
    fleet.targets().iter().map(|t| (t.node.to_string(), t.host.to_string())).collect()
}

/// Node and address of every pod, sorted.
fn pods(api: &Api) -> Vec<(String, String)> {
    let list = wait(api.get(&format!("{PODS}?labelSelector=k8s-app%3Daws-node"))).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    let mut pods: Vec<_> =
        items.map(|pod| (text(&pod["spec"]["nodeName"]), text(&pod["status"]["podIP"]))).collect();
    pods.sort();
    pods
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}
