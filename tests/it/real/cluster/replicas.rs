//! Several processes of the service with one Lease, each with a way of its own to the API server. Comes in:
//! a fleet, flags. Goes out: who of them serves data, and what all of them ever served. Never: a process
//! that outlives its test.

use super::Cluster;
use super::account::{Account, manifest};
use super::mirror::{Addresses, Mirror};
use super::relay::Relay;
use super::scene::{fleet, service_with};
use crate::support::{Child, figures, post, try_get, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vpc_cni_exporter::demo::fleet::Fleet;

/// The shortest that is allowed, so that no test waits for long.
pub(crate) const LEASE: &str = "--lead.duration=3s";

/// Where the Leases are; those of processes that were killed would be waited for.
pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/vpc-cni-exporter/leases";

pub(crate) struct Replica {
    pub(crate) process: Child,
    pub(crate) web: SocketAddr,
    pub(crate) relay: Relay,
}

/// The order is that of the ends.
pub(crate) struct Replicas {
    pub(crate) all: Vec<Replica>,
    _mirror: Mirror,
    pub(crate) fleet: Fleet,
    pub(crate) account: Account,
}

impl Replicas {
    /// A mirrored fleet, and no process yet.
    pub(crate) fn over(cluster: &Cluster, base: &str, nodes: u32) -> Replicas {
        let (fleet, _) = fleet(base, nodes);
        let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), Addresses::Direct);
        mirror.caught_up();
        let account = cluster.account(&manifest("rbac.yaml"));
        Replicas { all: Vec::new(), _mirror: mirror, fleet, account }
    }

    /// One more process, and its number.
    pub(crate) fn start(&mut self, cluster: &Cluster, flags: &[&str]) -> usize {
        self.start_with(cluster, &[], flags)
    }

    /// One more with variables, such as those of a container.
    pub(crate) fn start_with(
        &mut self,
        cluster: &Cluster,
        variables: &[(&str, &str)],
        flags: &[&str],
    ) -> usize {
        let relay = Relay::to(cluster);
        let server = format!("--kube.api-server={}", relay.url());
        let mut all = vec!["--lead.election=on", &server];
        all.extend_from_slice(flags);
        if !flags.iter().any(|flag| flag.starts_with("--lead.duration")) {
            all.push(LEASE);
        }
        let process = service_with(variables, &self.account.kubeconfig(), &all);
        let web = process.listening();
        self.all.push(Replica { process, web, relay });
        self.all.len() - 1
    }

    /// Waits until exactly one of these serves data, and says which.
    pub(crate) fn leader_of(&self, among: &[usize]) -> usize {
        until("one that serves data", || {
            let serving: Vec<usize> = among
                .iter()
                .copied()
                .filter(|&at| cluster_page(self.all[at].web).is_some())
                .collect();
            match serving[..] {
                [one] => Some(one),
                _ => None,
            }
        })
    }

    /// Story time passes on all nodes.
    pub(crate) fn step(&self, seconds: u32) {
        let answer = post(self.fleet.truth_address().unwrap(), &format!("/step?seconds={seconds}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// What a process serves of the scope cluster, if it serves it.
pub(crate) fn cluster_page(web: SocketAddr) -> Option<BTreeMap<String, f64>> {
    let page = try_get(web, "/metrics?scope=cluster", &[]).ok()?;
    let figures = figures(&page.text());
    (page.status == 200 && !figures.is_empty()).then_some(figures)
}

/// What `/api/v1/status` says.
pub(crate) fn status(web: SocketAddr) -> Value {
    until("status", || serde_json::from_str(&try_get(web, "/api/v1/status", &[]).ok()?.text()).ok())
}

/// Asks all of them for data, all the time, and keeps who answered with some.
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<usize>>>,
    asking: Vec<JoinHandle<()>>,
}

impl Witness {
    pub(crate) fn of(webs: Vec<SocketAddr>) -> Witness {
        let stop = Arc::new(AtomicBool::new(false));
        let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
        let ask = |(at, web): (usize, SocketAddr)| {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            // One thread each: a process that stands still does not hold up the others.
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if cluster_page(web).is_some() {
                        seen.lock().unwrap().push(at);
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            })
        };
        let asking = webs.into_iter().enumerate().map(ask).collect();
        Witness { stop, seen, asking }
    }

    /// Who served in turn. Two that served at once would be there again and again.
    pub(crate) fn end(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        for asking in self.asking {
            asking.join().unwrap();
        }
        let mut turns = std::mem::take(&mut *self.seen.lock().unwrap());
        turns.dedup();
        turns
    }
}
