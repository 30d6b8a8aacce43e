//! A mirrored fleet and the real program, which finds it through the API server. Comes in: a cluster, how
//! many nodes, flags. Goes out: both, to be compared. Never: a target that the program is told otherwise.

use super::Cluster;
use super::account::Account;
use super::api::wait;
use super::mirror::{Addresses, Mirror};
use crate::support::{Child, figures, get, program, try_get, until, until_ok};
use crate::truth::Pair;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use vpc_cni_exporter::demo::fleet::{Fleet, Settings};
use vpc_cni_exporter::model::NodeName;

/// Fleet, mirror and service. The order is that of their ends.
pub(crate) struct Scene {
    pub(crate) pair: Pair,
    pub(crate) mirror: Mirror,
    pub(crate) fleet: Fleet,
    pub(crate) port: u16,
    account: Account,
}

/// What a scene is made of, besides its cluster.
pub(crate) struct Plan<'a> {
    /// The first node's address.
    pub(crate) base: &'a str,
    pub(crate) nodes: u32,
    pub(crate) addresses: Addresses,
    pub(crate) manifest: Vec<Value>,
    /// Of the service, besides those that every scene has.
    pub(crate) flags: Vec<String>,
    /// Seconds between scrapes of a node.
    pub(crate) interval: f64,
}

impl Plan<'_> {
    /// All nodes are there and mirrored before the service starts.
    pub(crate) fn play(self, cluster: &Cluster) -> Scene {
        let (fleet, port) = fleet(self.base, self.nodes);
        let mirror = self.mirror(cluster, &fleet);
        let (account, service, began) = self.start(cluster);
        let pair = Pair::over(fleet.truth_address().unwrap(), service, began, self.interval);
        Scene { pair, mirror, fleet, port, account }
    }

    /// The service is ready before there is any node; then all come at once.
    pub(crate) fn play_before_the_nodes_come(self, cluster: &Cluster) -> Scene {
        let (fleet, port) = fleet(self.base, self.nodes);
        let (account, service, began) = self.start(cluster);
        until_ok(service.listening(), "/readyz");
        let mirror = self.mirror(cluster, &fleet);
        let pair = Pair::over(fleet.truth_address().unwrap(), service, began, self.interval);
        Scene { pair, mirror, fleet, port, account }
    }

    fn mirror(&self, cluster: &Cluster, fleet: &Fleet) -> Mirror {
        let mirror = Mirror::follow(&cluster.admin, fleet.watch_targets(), self.addresses);
        mirror.caught_up();
        mirror
    }

    /// The service as its account, and the time before.
    #[allow(
        clippy::disallowed_methods,
        reason = "the test is an edge: it tells the fleet since when"
    )]
    fn start(&self, cluster: &Cluster) -> (Account, Child, f64) {
        let account = cluster.account(&self.manifest);
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let service = service_every(self.interval, &account.kubeconfig(), &flags);
        (account, service, began)
    }
}

impl Scene {
    /// Lets story time pass, and the API server hear of it.
    pub(crate) fn step(&self, seconds: u32) {
        self.pair.control(&format!("/step?seconds={seconds}"));
        self.mirror.caught_up();
    }

    /// Waits until all has been scraped since, and compares.
    pub(crate) fn compare(&mut self, when: &str) {
        self.pair.settle();
        self.limits_are_known();
        self.pair.compare(when);
    }

    /// Waits until what the kubelets take is known of all nodes: new ones are asked for one by one.
    fn limits_are_known(&self) {
        until("pod limits of all nodes", || {
            let served = served(self.pair.web);
            let targets = self.fleet.targets();
            let mut limits = targets.iter().filter_map(|t| Some((&t.node, t.pod_limit?)));
            let is_known = |(node, limit): (&NodeName, u32)| {
                let key = format!("vpccni_node_ip_addresses_usable{{node=\"{node}\"}}");
                served.get(&key).is_none_or(|usable| *usable <= f64::from(limit))
            };
            limits.all(is_known).then_some(())
        });
    }

    /// The service's account.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }
}

/// The program, with a kubeconfig and without any other source of targets.
pub(crate) fn service(kubeconfig: &Path, flags: &[&str]) -> Child {
    service_every(0.5, kubeconfig, flags)
}

fn service_every(seconds: f64, kubeconfig: &Path, flags: &[&str]) -> Child {
    Child::start(command(seconds, kubeconfig, flags))
}

/// The program with variables besides, such as those of a container.
pub(crate) fn service_with(variables: &[(&str, &str)], kubeconfig: &Path, flags: &[&str]) -> Child {
    let mut command = command(0.5, kubeconfig, flags);
    command.envs(variables.iter().copied());
    Child::start(command)
}

fn command(seconds: f64, kubeconfig: &Path, flags: &[&str]) -> Command {
    let args = [
        "--discover.kubernetes=on",
        &format!("--kube.config={}", kubeconfig.display()),
        "--web.listen-address=127.0.0.1:0",
        &format!("--scrape.interval={}ms", seconds * 1000.0),
        "--publish.interval=100ms",
    ];
    let mut command = program();
    command.args(args.iter().chain(flags));
    command
}

/// A fleet with one port on addresses of its own, whose story stands still. Its port.
pub(crate) fn fleet(base: &str, nodes: u32) -> (Fleet, u16) {
    let base: Ipv4Addr = base.parse().unwrap();
    let port = TcpListener::bind((base, 0)).unwrap().local_addr().unwrap().port();
    let truth = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let still = Settings { speed: 0.0, calm: true, ..Settings::default() };
    let settings = Settings { nodes, address_base: base, port, truth, ..still };
    (wait(Fleet::start(settings)).unwrap(), port)
}

/// All figures that are served.
pub(crate) fn served(web: SocketAddr) -> BTreeMap<String, f64> {
    figures(&get(web, "/metrics", &[]).text())
}

/// Waits until a figure has a value.
pub(crate) fn until_served(web: SocketAddr, key: &str, value: f64) {
    until(&format!("{key} {value} at {web}"), || {
        (served(web).get(key) == Some(&value)).then_some(())
    });
}

/// What `/readyz` says, ready or not.
pub(crate) fn readiness(web: SocketAddr) -> (u16, String) {
    until("answer of /readyz", || {
        try_get(web, "/readyz", &[]).ok().map(|answer| (answer.status, answer.text()))
    })
}
