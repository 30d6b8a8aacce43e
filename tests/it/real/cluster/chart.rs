//! What the chart renders, given to a real API server: it takes every object, its Pod Security admission
//! the pods as well, and the program runs with the rendered arguments as the rendered account, which may
//! do what is needed and nothing else. Never: an object written by hand.

use super::super::part;
use super::Cluster;
use super::api::{Api, wait};
use super::mirror::{Addresses, Mirror};
use super::scene::{fleet, served, service, until_served};
use crate::support::until;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Release and namespace, as `charts/render` has them.
const NAME: &str = "vpc-cni-exporter";

const UP: &str = "vpccni_cluster_nodes{state=\"up\"}";

/// What is rendered with these values set.
fn rendered(values: &[&str]) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("charts/render"));
    command.env("VPCCNI_HELM", part("VPCCNI_HELM"));
    command.args(values.iter().flat_map(|value| ["--set", value]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.split("\n---\n").map(|one| one.trim_start_matches("---\n"));
    let objects = documents.filter(|one| one.lines().any(|l| !l.is_empty() && !l.starts_with('#')));
    objects
        .map(|one| serde_saphyr::from_str(one).unwrap_or_else(|e| panic!("{e}: {one}")))
        .collect()
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let mut found = objects.iter().filter(|object| object["kind"] == json!(kind));
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

/// The namespace, in which only pods of the restricted standard are admitted.
fn namespace() -> Value {
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME, "labels": labels } })
}

/// A pod of a controller's template.
fn pod(controller: &Value) -> Value {
    let template = &controller["spec"]["template"];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "p", "namespace": NAME, "labels": template["metadata"]["labels"] },
        "spec": template["spec"],
    })
}

/// The arguments of its only container.
fn arguments(controller: &Value) -> Vec<String> {
    let containers = &controller["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1);
    Vec::deserialize(&containers[0]["args"]).unwrap_or_default()
}

#[test]
fn the_chart_without_values_is_admitted_and_runs_with_exactly_its_rights() {
    let cluster = Cluster::own(&[]);
    let admin = &cluster.admin;
    let objects = rendered(&[]);
    let (fleet, _) = fleet("127.56.0.1", 3);
    let mirror = Mirror::follow(admin, fleet.watch_targets(), Addresses::Direct);
    mirror.caught_up();
    wait(admin.apply(&namespace()));
    let account = cluster.account(&objects);
    let deployment = of_kind(&objects, "Deployment");
    wait(admin.apply(&pod(deployment)));
    let mut privileged = pod(deployment);
    privileged["metadata"]["name"] = json!("privileged");
    privileged["spec"]["hostNetwork"] = json!(true);
    let refusal = wait(admin.try_apply(&privileged)).unwrap_err();
    assert_eq!(refusal.code, 403, "the standard is enforced here: {refusal:?}");

    let arguments = arguments(deployment);
    let mut flags: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // As in a pod, where it would find out by itself.
    flags.extend(["--lead.election=on", "--lead.namespace=vpc-cni-exporter"]);
    let service = service(&account.kubeconfig(), &flags);
    until_served(service.listening(), UP, 3.0);
    until_served(service.listening(), "vpccni_exporter_leader", 1.0);
    // By the DaemonSet's watch and the listing of whole Nodes.
    until("settings of the DaemonSet and a pod limit", || {
        let served = served(service.listening());
        let told = |name: &str| served.keys().any(|key| key.starts_with(name));
        (told("vpccni_daemonset_config_info{") && told("vpccni_node_ip_addresses_usable{"))
            .then_some(())
    });
    for resource in ["pods", "nodes", "daemonsets", "leases"] {
        let missing = format!("vpccni_exporter_kubernetes_missing_rule{{resource=\"{resource}\"}}");
        until_served(service.listening(), &missing, 0.0);
    }
    let own = Api::of(&account.kubeconfig());
    let may = |verb, group, resource, namespace| wait(own.may(verb, group, resource, namespace));
    for (verb, group, resource, namespace) in [
        ("list", "", "secrets", "kube-system"),
        ("get", "", "secrets", NAME),
        ("list", "", "configmaps", "kube-system"),
        ("get", "", "pods/proxy", "kube-system"),
        ("get", "", "pods/log", "kube-system"),
        ("create", "", "pods", NAME),
        ("create", "", "pods/exec", "kube-system"),
        ("list", "", "pods", "default"),
        ("delete", "", "pods", "kube-system"),
        ("patch", "apps", "daemonsets", "kube-system"),
        ("patch", "", "nodes", ""),
        ("get", "", "nodes/proxy", ""),
        ("get", "coordination.k8s.io", "leases", "kube-system"),
        ("delete", "coordination.k8s.io", "leases", NAME),
        ("create", "", "serviceaccounts/token", NAME),
    ] {
        assert!(!may(verb, group, resource, namespace), "{verb} {resource} in {namespace:?}");
    }
    for (verb, group, resource, namespace) in [
        ("watch", "", "pods", "kube-system"),
        ("watch", "apps", "daemonsets", "kube-system"),
        ("list", "", "nodes", ""),
        ("get", "", "nodes", ""),
        ("watch", "", "nodes", ""),
    ] {
        assert!(may(verb, group, resource, namespace), "{verb} {resource} in {namespace:?}");
    }
}

#[test]
fn shards_and_replicas_of_the_chart_are_admitted_and_one_of_each_serves() {
    let cluster = Cluster::own(&[]);
    let admin = &cluster.admin;
    let (fleet, _) = fleet("127.57.0.1", 4);
    let mirror = Mirror::follow(admin, fleet.watch_targets(), Addresses::Direct);
    mirror.caught_up();
    wait(admin.apply(&namespace()));
    let shards = rendered(&["sharding.enabled=true", "sharding.shards=2"]);
    let account = cluster.account(&shards);
    let set = of_kind(&shards, "StatefulSet");
    wait(admin.apply(&pod(set)));
    let arguments = arguments(set);
    let mut nodes = 0.0;
    let mut running = Vec::new();
    for index in ["--shard.index=0", "--shard.index=1"] {
        let mut flags: Vec<&str> = arguments.iter().map(String::as_str).collect();
        flags.extend([index, "--lead.election=on", "--lead.namespace=vpc-cni-exporter"]);
        let service = service(&account.kubeconfig(), &flags);
        until_served(service.listening(), "vpccni_exporter_leader", 1.0);
        let up = until("nodes of the shard", || served(service.listening()).get(UP).copied());
        nodes += up;
        running.push(service);
    }
    assert_eq!(nodes, 4.0, "each node is one shard's");
    let replicas = rendered(&["replicas=3"]);
    wait(async {
        for object in &replicas {
            admin.apply(object).await;
        }
    });
    let mut pod = pod(of_kind(&replicas, "Deployment"));
    pod["metadata"]["name"] = json!("replica");
    wait(admin.apply(&pod));
}
