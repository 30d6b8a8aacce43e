//! One server of data. Three processes whose leader stops, is killed, paused and cut off, scraped by a
//! Prometheus to which all are one instance and by one to which each is its own: what both have stored
//! adds up to the truth. Besides: a lone process while the API server is dead, and a missing right.

use super::Cluster;
use super::account::{manifest, without};
use super::objects::NODES;
use super::replicas::{LEASE, Replicas, Witness, cluster_page, status};
use super::scene::{readiness, served, service, until_served};
use crate::real::prometheus::Prometheus;
use crate::support::until;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const ADDS: &str = "vpccni_cluster_cni_add_requests_total";
const LEADS: &str = "vpccni_exporter_leader";

/// What the nodes themselves say, summed; their processes live all the time.
fn adds_of_nodes(web: SocketAddr) -> f64 {
    let page = served(web);
    let rows = page.iter().filter(|(key, _)| key.starts_with("awscni_add_ip_req_count{"));
    rows.map(|(_, value)| value).sum()
}

/// Waits until a process has scraped every node again, twice.
fn settled(web: SocketAddr) {
    let rounds = || status(web)["rounds_closed"].as_u64().unwrap();
    let now = rounds();
    until("two rounds more", || (rounds() >= now + 3).then_some(()));
    let generation = || status(web)["view"]["generation"].as_u64().unwrap();
    let view = generation();
    until("a view of them", || (generation() > view).then_some(()));
}

#[test]
fn whatever_happens_to_the_leader_one_serves_and_every_increase_is_counted_once() {
    let cluster = Cluster::shared();
    let mut replicas = Replicas::over(&cluster, "127.61.0.1", 12);
    for _ in 0..3 {
        replicas.start(&cluster, &[]);
    }
    let webs: Vec<SocketAddr> = replicas.all.iter().map(|replica| replica.web).collect();
    let mut turns = vec![replicas.leader_of(&[0, 1, 2])];
    let began = adds_of_nodes(webs[turns[0]]);
    let witness = Witness::of(webs.clone());
    let one = Prometheus::scraping_as_one_instance(&webs, "/metrics?scope=cluster");
    let each = Prometheus::scraping(&webs);
    let mut left = vec![0, 1, 2];
    let mut ended = 0.0;
    for trouble in ["none", "STOP", "cut", "TERM", "KILL"] {
        let leader = *turns.last().unwrap();
        let web = webs[leader];
        match trouble {
            "none" => {}
            "cut" => replicas.all[leader].relay.cut(),
            signal => replicas.all[leader].process.signal(signal),
        }
        let next = match trouble {
            "none" => leader,
            _ => {
                let others: Vec<usize> = left.iter().copied().filter(|&at| at != leader).collect();
                replicas.leader_of(&others)
            }
        };
        if next != leader {
            turns.push(next);
        }
        match trouble {
            // It wakes up while another serves, and must not end what it had begun.
            "STOP" => replicas.all[leader].process.signal("CONT"),
            "cut" => replicas.all[leader].relay.mend(),
            "TERM" | "KILL" => left.retain(|&at| at != leader),
            _ => {}
        }
        if matches!(trouble, "STOP" | "cut") {
            until("a former leader that knows it", || {
                let page = served(web);
                let stands_by = readiness(web).1.contains("stands by");
                (page[LEADS] == 0.0 && cluster_page(web).is_none() && stands_by).then_some(())
            });
        }
        // Counters begin at zero, and are seen to; nothing happens between two leaders here.
        let web = webs[next];
        one.until_scraped(webs[next]);
        each.until_scraped(webs[next]);
        for _ in 0..2 {
            replicas.step(900);
            settled(web);
            each.until_scraped(web);
            one.until_scraped(web);
        }
        ended = adds_of_nodes(web);
    }
    let truth = ended - began;
    assert!(truth > 100.0, "{truth} requests are no test");
    assert_eq!(one.increase(ADDS), truth, "one instance\n{}", one.log());
    assert_eq!(each.increase(ADDS), truth, "an instance each\n{}", each.log());
    assert_eq!(witness.end(), turns, "who served, in turn");
}

#[test]
fn an_api_server_that_is_dead_does_not_stop_a_lone_process_from_serving() {
    let mut cluster = Cluster::own(&[]);
    let mut replicas = Replicas::over(&cluster, "127.62.0.1", 4);
    let one = replicas.start(&cluster, &[]);
    let web = replicas.all[one].web;
    assert_eq!(replicas.leader_of(&[one]), one);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/vpc-cni-exporter/leases/vpc-cni-exporter";
    until("a lease without a competitor", || {
        let lease = super::api::wait(cluster.admin.get(lease)).ok()?;
        (lease["metadata"]["annotations"]["vpc-cni-exporter/contended"] == "false").then_some(())
    });
    cluster.kill();
    // Four durations: a holder with competitors would have stopped in the first.
    let until_when = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until_when {
        assert!(cluster_page(web).is_some(), "{}", replicas.all[one].process.so_far());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(readiness(web).1.contains("serves on"), "{}", readiness(web).1);
    cluster.restart();
    until_served(web, LEADS, 1.0);
    until("a word no more of the outage", || {
        (!readiness(web).1.contains("serves on")).then_some(())
    });
    assert_eq!(served(web)["vpccni_exporter_terms_total"], 1.0, "its counters went on");
    assert!(super::api::wait(cluster.admin.get(NODES)).is_ok());
}

#[test]
fn without_the_right_to_its_lease_a_process_serves_no_data_and_names_the_rule() {
    let cluster = Cluster::shared();
    let replicas = Replicas::over(&cluster, "127.63.0.1", 3);
    super::api::wait(super::account::remove(&cluster.admin, &manifest("rbac.yaml")));
    let account = cluster.account(&without("leases", manifest("rbac.yaml")));
    let process = service(&account.kubeconfig(), &["--lead.election=on", LEASE]);
    let web = process.listening();
    let rule = "get, list, create, update, patch on leases.coordination.k8s.io in namespace vpc-cni-exporter";
    process.line("warning that names the rule", |line| line.contains(rule).then_some(()));
    until("/readyz that names the rule", || readiness(web).1.contains(rule).then_some(()));
    assert!(cluster_page(web).is_none());
    assert!(served(web)["vpccni_exporter_lease_attempts_total{result=\"forbidden\"}"] > 0.0);
    drop(cluster.account(&manifest("rbac.yaml")));
    until("data", || cluster_page(web));
    until("/readyz without a word of rules", || {
        (!readiness(web).1.contains("right")).then_some(())
    });
    drop(replicas);
}
