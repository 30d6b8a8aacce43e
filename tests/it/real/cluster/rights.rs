//! The service without one of its rights: it lives, does what it can, says everywhere which rule is
//! missing, and goes on by itself once it has it.

use super::Cluster;
use super::account::{manifest, without};
use super::mirror::{Addresses, Mirror};
use super::scene::{fleet, readiness, served, service, until_served};
use crate::support::until;

/// What is missing, how the rule is named, and whether the service can do without.
const RULES: [(&str, &str, bool); 3] = [
    (
        "pods",
        "get, list, watch on pods in namespace kube-system (Role; or see --discover.namespace)",
        false,
    ),
    ("nodes", "get, list, watch on nodes (ClusterRole)", true),
    ("daemonsets", "get, list, watch on daemonsets.apps in namespace kube-system (Role)", true),
];

const UP: &str = "vpccni_cluster_nodes{state=\"up\"}";

#[test]
fn a_missing_rule_is_named_everywhere_and_once_given_all_is_well() {
    let cluster = Cluster::shared();
    let (fleet, _) = fleet("127.51.0.1", 3);
    let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), Addresses::Direct);
    mirror.caught_up();
    for (missing, rule, ready) in RULES {
        let account = cluster.account(&without(missing, manifest("rbac.yaml")));
        let service = service(&account.kubeconfig(), &[]);
        service.line(&format!("warning that names the rule for {missing}"), |line| {
            line.contains(&format!("the right is missing to {rule}")).then_some(())
        });
        let web = service.listening();
        until(&format!("/readyz that names the rule for {missing}"), || {
            let (status, said) = readiness(web);
            ((status == 200) == ready && said.contains(rule)).then_some(())
        });
        let metric = format!("vpccni_exporter_kubernetes_missing_rule{{resource=\"{missing}\"}}");
        until_served(web, &metric, 1.0);
        assert_eq!(served(web).get(UP), ready.then_some(&3.0), "without {missing}");
        // Libraries would say so, too, at every try and in their own words.
        assert!(!service.so_far().contains(" ERROR "), "{}", service.so_far());
        // Given while it runs.
        drop(cluster.account(&manifest("rbac.yaml")));
        until_served(web, &metric, 0.0);
        until_served(web, UP, 3.0);
        until("/readyz without a word of rules", || {
            let (status, said) = readiness(web);
            (status == 200 && !said.contains("right")).then_some(())
        });
    }
}

#[test]
fn with_exactly_its_rules_the_service_misses_none() {
    let cluster = Cluster::shared();
    let (fleet, _) = fleet("127.52.0.1", 3);
    let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), Addresses::Direct);
    mirror.caught_up();
    let account = cluster.account(&manifest("rbac.yaml"));
    let service = service(&account.kubeconfig(), &[]);
    let web = service.listening();
    until_served(web, UP, 3.0);
    let page = served(web);
    let refused = |key: &&String| {
        key.starts_with("vpccni_exporter_kubernetes_missing_rule")
            || key.contains("reason=\"forbidden\"")
    };
    let refused: Vec<(&String, f64)> =
        page.keys().filter(refused).map(|key| (key, page[key])).collect();
    assert!(refused.len() >= 6, "{refused:?}");
    assert!(refused.iter().all(|(_, value)| *value == 0.0), "{refused:?}");
    assert_eq!(page["vpccni_exporter_kubernetes_daemonset_desired_pods"], 3.0);
}

#[test]
fn without_node_metadata_no_right_to_nodes_is_needed() {
    let cluster = Cluster::shared();
    let (fleet, _) = fleet("127.53.0.1", 3);
    let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), Addresses::Direct);
    mirror.caught_up();
    let account = cluster.account(&without("nodes", manifest("rbac.yaml")));
    let service = service(&account.kubeconfig(), &["--discover.nodes=false"]);
    let web = service.listening();
    until_served(web, UP, 3.0);
    let page = served(web);
    let of_nodes: Vec<(&String, &f64)> = page
        .iter()
        .filter(|(key, _)| key.starts_with("vpccni_exporter_kubernetes_"))
        .filter(|(key, _)| key.contains("resource=\"nodes\""))
        .collect();
    assert!(of_nodes.len() >= 9, "{of_nodes:?}");
    assert!(of_nodes.iter().all(|(_, value)| **value == 0.0), "{of_nodes:?}");
    let (status, said) = readiness(web);
    assert!(status == 200 && !said.contains("right"), "{status} {said}");
}

#[test]
fn the_missing_right_to_the_pod_proxy_is_named_until_it_is_given() {
    let cluster = Cluster::shared();
    let (fleet, _) = fleet("127.54.0.1", 3);
    let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), Addresses::Proxied);
    mirror.caught_up();
    let account = cluster.account(&manifest("rbac.yaml"));
    let service = service(&account.kubeconfig(), &["--discover.route=proxy"]);
    let web = service.listening();
    let metric = "vpccni_exporter_kubernetes_missing_rule{resource=\"pods/proxy\"}";
    until_served(web, metric, 1.0);
    service.line("warning that names the rule", |line| {
        let named = line.contains("no node can be scraped") && line.contains("rbac-proxy.yaml");
        (named && line.contains("cannot get resource")).then_some(())
    });
    until("/readyz that names the rule", || {
        readiness(web).1.contains("the right is missing to get pods/proxy").then_some(())
    });
    drop(cluster.account(&manifest("rbac-proxy.yaml")));
    until_served(web, UP, 3.0);
    until_served(web, metric, 0.0);
    until("/readyz without a word of rules", || {
        let (status, said) = readiness(web);
        (status == 200 && !said.contains("right")).then_some(())
    });
}
