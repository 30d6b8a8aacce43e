//! How the service comes to the API server and to the pods: by what it was told, and where they are.

use super::Cluster;
use super::account::manifest;
use super::api::wait;
use super::mirror::{Addresses, Mirror};
use super::objects::PODS;
use super::relay::Relay;
use super::scene::{fleet, served, service, until_served};
use crate::support::{Child, PageServer, program};
use serde_json::json;

const UP: &str = "vpccni_cluster_nodes{state=\"up\"}";

#[test]
fn a_kubeconfig_alone_has_it_discover_at_the_api_server_that_the_helper_s_variable_names() {
    let cluster = Cluster::shared();
    let (fleet, _) = fleet("127.55.0.1", 3);
    let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), Addresses::Direct);
    mirror.caught_up();
    let account = cluster.account(&manifest("rbac.yaml"));
    // The kubeconfig names the API server itself: only by the variable it is reached through here.
    let relay = Relay::to(&cluster);
    let mut command = program();
    command.arg(format!("--kube.config={}", account.kubeconfig().display()));
    command.args(["--web.listen-address=127.0.0.1:0", "--scrape.interval=500ms"]);
    command.args(["--publish.interval=100ms"]).env("CLUSTER_ENDPOINT", relay.url());
    let service = Child::start(command);
    let web = service.listening();
    until_served(web, UP, 3.0);
    let cut =
        "vpccni_exporter_kubernetes_watch_errors_total{reason=\"unreachable\",resource=\"pods\"}";
    assert_eq!(served(web)[cut], 0.0);
    relay.cut();
    crate::support::until("notice of the cut", || (served(web)[cut] > 0.0).then_some(()));
}

/// A page that tells a node's greatest number of addresses.
fn page(max: u32) -> String {
    format!("# TYPE awscni_ip_max gauge\nawscni_ip_max {max}\nawscni_total_ip_addresses 0\n")
}

#[test]
fn pods_with_an_address_of_their_own_and_of_ipv6_are_scraped_at_their_named_ports() {
    let cluster = Cluster::shared();
    let admin = &cluster.admin;
    let servers =
        [("v4", PageServer::start(&page(4))), ("v6", PageServer::start_at("[::1]:0", &page(6)))];
    for (node, server) in &servers {
        wait(admin.create_node(node, &[], None));
        let name = format!("aws-node-{node}");
        let ports = json!([
            { "name": "agentmetrics", "containerPort": 8162 },
            { "name": "metrics", "containerPort": server.address.port() },
        ]);
        let pod = json!({
            "metadata": { "name": name, "labels": { "k8s-app": "aws-node" } },
            "spec": {
                "nodeName": node,
                "containers": [{ "name": "aws-node", "image": "aws-node", "ports": ports }],
            },
        });
        let made = wait(admin.create(PODS, &pod));
        assert_eq!(made["spec"]["hostNetwork"], json!(null));
        wait(admin.pod_is(&name, "Running", Some(server.address.ip())));
    }
    let account = cluster.account(&manifest("rbac.yaml"));
    let service = service(&account.kubeconfig(), &[]);
    let web = service.listening();
    until_served(web, UP, 2.0);
    for (node, max) in [("v4", 4.0), ("v6", 6.0)] {
        assert_eq!(served(web)[&format!("awscni_ip_max{{node=\"{node}\"}}")], max);
    }
    let family =
        |family: &str| format!("vpccni_cluster_ip_addresses_max{{ip_family=\"{family}\"}}");
    assert_eq!((served(web)[&family("ipv4")], served(web)[&family("ipv6")]), (4.0, 6.0));
}
