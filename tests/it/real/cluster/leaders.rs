//! One server of data. Three processes whose leader stops, is killed, paused and cut off, scraped by a
//! Prometheus to which all are one instance and by one to which each is its own: what both have stored
//! adds up to the truth less what nodes counted while nobody served. Besides: a lone process while the API
//! server is dead, that is killed, that is not told its place, and a missing right.

use super::Cluster;
use super::account::{manifest, without};
use super::objects::NODES;
use super::replicas::{LEASE, LEASES, Replica, Replicas, Witness, cluster_page, status};
use super::scene::{readiness, served, service, until_served};
use crate::real::prometheus::Prometheus;
use crate::support::until;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const ADDS: &str = "vpccni_cluster_cni_add_requests_total";
const LEADS: &str = "vpccni_exporter_leader";
const CONTENDED: &str = "vpc-cni-exporter/contended";

/// What the nodes themselves say, summed; their processes live all the time.
pub(super) fn adds_of_nodes(web: SocketAddr) -> f64 {
    let page = served(web);
    let rows = page.iter().filter(|(key, _)| key.starts_with("awscni_add_ip_req_count{"));
    rows.map(|(_, value)| value).sum()
}

/// Waits until each of these processes has scraped every node again, twice.
pub(super) fn settled(webs: &[SocketAddr]) {
    let rounds = |web| status(web)["rounds_closed"].as_u64().unwrap();
    let generation = |web| status(web)["view"]["generation"].as_u64().unwrap();
    let each =
        |of: &dyn Fn(SocketAddr) -> u64| -> Vec<u64> { webs.iter().map(|&web| of(web)).collect() };
    let more = |of: &dyn Fn(SocketAddr) -> u64, than: &[u64], by: u64| {
        webs.iter().zip(than).all(|(&web, than)| of(web) >= than + by).then_some(())
    };
    let now = each(&rounds);
    until("two rounds more", || more(&rounds, &now, 3));
    let now = each(&generation);
    until("a view of them", || more(&generation, &now, 1));
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
    let (mut ended, mut lost) = (began, 0.0);
    for trouble in ["none", "STOP", "cut", "TERM", "KILL"] {
        let leader = *turns.last().unwrap();
        if trouble != "none" {
            left.retain(|&at| at != leader);
            let next = hand_over(&replicas, trouble, leader, &left);
            turns.push(next);
            // The next leader found this when it began: nobody served it, and it is counted by nobody.
            let between = adds_of_nodes(webs[next]) - ended;
            assert!(between > 20.0, "{between} requests between two leaders");
            lost += between;
        }
        if matches!(trouble, "STOP" | "cut") {
            let web = webs[leader];
            until("a former leader that knows it", || {
                let page = served(web);
                let stands_by = readiness(web).1.contains("stands by");
                (page[LEADS] == 0.0 && cluster_page(web).is_none() && stands_by).then_some(())
            });
            left.push(leader);
        }
        // Counters begin at zero, and are seen to.
        let web = webs[*turns.last().unwrap()];
        one.until_scraped(web);
        each.until_scraped(web);
        for _ in 0..2 {
            replicas.step(900);
            settled(&[web]);
            each.until_scraped(web);
            one.until_scraped(web);
        }
        ended = adds_of_nodes(web);
    }
    let counted = ended - began - lost;
    assert!(counted > 100.0, "{counted} requests are no test");
    one.assert_increase(ADDS, counted);
    each.assert_increase(ADDS, counted);
    assert_eq!(witness.end(), turns, "who served, in turn");
}

/// Something happens to the leader, and while nobody serves story time passes on the nodes. The others hear
/// of it from the nodes before one of them may take over, so that what is lost is known. Who leads then.
fn hand_over(replicas: &Replicas, trouble: &str, leader: usize, others: &[usize]) -> usize {
    let (old, web) = (&replicas.all[leader], replicas.all[leader].web);
    match trouble {
        "cut" => old.relay.cut(),
        "STOP" => old.process.signal("STOP"),
        _ => {}
    }
    // At once: a leader that hears of no competitor for three renewals would serve on.
    for &at in others {
        replicas.all[at].relay.cut();
    }
    match trouble {
        "cut" => until("a leader without a promise", || cluster_page(web).is_none().then_some(())),
        "STOP" => {}
        signal => {
            old.process.signal(signal);
            until("its end", || cluster_page(web).is_none().then_some(()));
        }
    }
    replicas.step(900);
    for &at in others {
        settled(&[replicas.all[at].web]);
    }
    for &at in others {
        replicas.all[at].relay.mend();
    }
    let next = replicas.leader_of(others);
    match trouble {
        // It wakes up while another serves, and must not end what it had begun.
        "STOP" => old.process.signal("CONT"),
        "cut" => old.relay.mend(),
        _ => {}
    }
    next
}

#[test]
fn a_container_that_is_killed_and_restarts_in_its_pod_does_not_wait_for_itself() {
    let cluster = Cluster::shared();
    let mut replicas = Replicas::over(&cluster, "127.65.0.1", 3);
    let pod = [
        ("HOSTNAME", "vpc-cni-exporter-7d9f8b6c5-x2z4q"),
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
    ];
    // Four durations, as for a silent stranger, would be longer than anything waits here.
    let flags = ["--lead.duration=20s"];
    let first = replicas.start_with(&cluster, &pod, &flags);
    assert_eq!(replicas.leader_of(&[first]), first);
    let lease =
        || super::api::wait(cluster.admin.get(&format!("{LEASES}/vpc-cni-exporter"))).unwrap();
    until("a lease without a competitor", || {
        (lease()["metadata"]["annotations"][CONTENDED] == "false").then_some(())
    });
    let annotations = lease()["metadata"]["annotations"].clone();
    assert!(annotations.get("vpc-cni-exporter/address").is_none(), "{annotations}");
    replicas.all[first].process.signal("KILL");
    until("its end", || cluster_page(replicas.all[first].web).is_none().then_some(()));
    let second = replicas.start_with(&cluster, &pod, &flags);
    assert_eq!(replicas.leader_of(&[second]), second);
    assert_eq!(lease()["spec"]["leaseTransitions"], 2);
}

#[test]
fn an_outage_before_the_third_renewal_ends_the_data_and_that_is_told() {
    let cluster = Cluster::shared();
    let mut replicas = Replicas::over(&cluster, "127.66.0.1", 3);
    let one = replicas.start(&cluster, &["--lead.duration=10s"]);
    assert_eq!(replicas.leader_of(&[one]), one);
    let Replica { process, web, relay } = &replicas.all[one];
    relay.cut();
    until("the end of its data", || cluster_page(*web).is_none().then_some(()));
    assert_eq!(served(*web)[LEADS], 0.0);
    let words = "no data is served from now on";
    until("/readyz that says so", || readiness(*web).1.contains(words).then_some(()));
    relay.mend();
    until("data again", || cluster_page(*web));
    until("/readyz without a word of it", || (!readiness(*web).1.contains(words)).then_some(()));
    let page = served(*web);
    assert_eq!((page[LEADS], page["vpccni_exporter_terms_total"]), (1.0, 1.0));
    process.line("line that it goes on", |line| line.contains("serves data again").then_some(()));
    assert_eq!(process.so_far().matches(words).count(), 1, "{}", process.so_far());
}

#[test]
fn a_namespace_that_does_not_exist_is_named_with_its_flag() {
    let cluster = Cluster::shared();
    let replicas = Replicas::over(&cluster, "127.67.0.1", 2);
    // Who may do everything everywhere, or it would be a right that is missing.
    let process =
        service(cluster.kubeconfig(), &["--lead.election=on", LEASE, "--lead.namespace=nowhere"]);
    let words =
        "there is no namespace nowhere for the Lease vpc-cni-exporter; see --lead.namespace";
    process.line("warning that names the flag", |line| line.contains(words).then_some(()));
    let web = process.listening();
    until("/readyz that names it", || readiness(web).1.contains(words).then_some(()));
    assert!(cluster_page(web).is_none());
    assert!(served(web)["vpccni_exporter_lease_attempts_total{result=\"not_found\"}"] > 0.0);
    drop(replicas);
}

#[test]
fn an_api_server_that_is_dead_does_not_stop_a_lone_process_from_serving() {
    let mut cluster = Cluster::own(&[]);
    let mut replicas = Replicas::over(&cluster, "127.62.0.1", 4);
    let one = replicas.start(&cluster, &[]);
    let web = replicas.all[one].web;
    assert_eq!(replicas.leader_of(&[one]), one);
    until("a lease without a competitor", || {
        let lease =
            super::api::wait(cluster.admin.get(&format!("{LEASES}/vpc-cni-exporter"))).ok()?;
        (lease["metadata"]["annotations"][CONTENDED] == "false").then_some(())
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
