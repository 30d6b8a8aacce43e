//! The CloudWatch mirror of several replicas: one ships at a time, its note in the Lease tells the next how
//! far it has come. Three processes whose leader stops, is killed, paused and cut off, and moto, which has
//! all that any of them sent. What it has is held against the nodes' own counts.

use super::Cluster;
use super::leaders::{adds_of_nodes, settled};
use super::replicas::{LEASES, Replicas, cluster_page};
use crate::real::aws::double::Double;
use crate::real::aws::mirrored::{all_is_sent, outlet, sums_of_helper};
use crate::support::until;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CLUSTER: &str = "blue";
/// Of an interval: all replicas have time to scrape all nodes in one.
const SECONDS: u64 = 5;
const FLAGS: [&str; 3] = ["--mirror.to=put", "--mirror.interval=5s", "--cluster.name=blue"];

/// Replicas of a fleet that mirror to one AWS.
struct Scene {
    double: Double,
    replicas: Replicas,
    /// Those that live and are not held up.
    left: Vec<usize>,
}

impl Scene {
    fn of(cluster: &Cluster, base: &str) -> Scene {
        let double = Double::start();
        let mut replicas = Replicas::over(cluster, base, 12);
        let environment = double.environment();
        let own = environment.iter().map(|(name, value)| (*name, value.as_str()));
        let variables: Vec<(&str, &str)> = own.chain(Double::keys()).collect();
        let left = (0..3).map(|_| replicas.start_with(cluster, &variables, &FLAGS)).collect();
        Scene { double, replicas, left }
    }

    fn leader(&self) -> usize {
        self.replicas.leader_of(&self.left)
    }

    fn web(&self, at: usize) -> SocketAddr {
        self.replicas.all[at].web
    }

    /// All that CloudWatch has of the nodes' ADD requests.
    fn stored(&self) -> f64 {
        sums_of_helper(&self.double, CLUSTER).get("addReqCount").copied().unwrap_or(0.0)
    }

    /// Something happens to the leader. Who leads then.
    fn hand_over(&mut self, trouble: &str) -> usize {
        let leader = self.leader();
        let old = &self.replicas.all[leader];
        match trouble {
            "cut" => old.relay.cut(),
            signal => old.process.signal(signal),
        }
        self.left.retain(|&at| at != leader);
        let next = self.leader();
        let old = &self.replicas.all[leader];
        match trouble {
            "STOP" => old.process.signal("CONT"),
            "cut" => old.relay.mend(),
            _ => return next,
        }
        // It wakes up while another ships.
        until("a former leader that knows it", || {
            let follows = outlet(old.web, "put")["state"] == "following";
            (follows && cluster_page(old.web).is_none()).then_some(())
        });
        self.left.push(leader);
        next
    }

    fn unconfirmed(&self) -> u64 {
        let of = |&at: &usize| outlet(self.web(at), "put")["points_unconfirmed"].as_u64().unwrap();
        self.left.iter().map(of).sum()
    }
}

#[test]
fn an_interval_whose_leader_ends_in_it_is_sent_by_the_next_once_and_whole() {
    let cluster = Cluster::shared();
    let mut scene = Scene::of(&cluster, "127.68.0.1");
    let began = adds_of_nodes(scene.web(scene.leader()));
    for trouble in ["STOP", "cut", "TERM", "KILL"] {
        let web = scene.web(scene.leader());
        // All replicas count the same in one interval, which its leader does not live to send.
        until("a step that all saw in one interval", || {
            let interval = interval_under_way();
            until("the next interval", || (interval_under_way() > interval).then_some(()));
            scene.replicas.step(900);
            scene.left.iter().for_each(|&at| settled(scene.web(at)));
            (interval_under_way() == interval + 1).then_some(())
        });
        let counted = adds_of_nodes(web) - began;
        let before = scene.stored();
        let leader = scene.hand_over(trouble);
        all_is_sent(scene.web(leader), &["put"]);
        assert_eq!(scene.stored(), counted, "after {trouble}; {before} before");
        assert!(before < counted, "{before}: the interval had ended");
    }
    let lease = super::api::wait(cluster.admin.get(&format!("{LEASES}/vpc-cni-exporter"))).unwrap();
    let note = lease["metadata"]["annotations"]["vpc-cni-exporter/mirror"].as_str().unwrap();
    assert!(note.starts_with("put:") && note.contains('/'), "{note}");
}

/// The number of the mirror's interval under way.
#[allow(clippy::disallowed_methods, reason = "the test is an edge: intervals are the wall clock's")]
fn interval_under_way() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / SECONDS
}

#[test]
fn at_a_take_over_the_error_is_what_nodes_count_between_two_scrapes_and_what_is_unconfirmed() {
    let cluster = Cluster::shared();
    let mut scene = Scene::of(&cluster, "127.69.0.1");
    let began = adds_of_nodes(scene.web(scene.leader()));
    // The largest increase of all steps: what nodes count in a scrape interval is no more than three of
    // them, as each is a request to the fleet and a pause of a third of it.
    let (mut most, mut takes) = (0.0f64, 0);
    for trouble in ["STOP", "KILL"] {
        let leader = scene.leader();
        let web = scene.web(leader);
        for _ in 0..8 {
            let before = adds_of_nodes(web);
            scene.replicas.step(300);
            thread::sleep(Duration::from_millis(170));
            most = most.max(adds_of_nodes(web) - before);
        }
        scene.hand_over(trouble);
        takes += 1;
    }
    let web = scene.web(scene.leader());
    scene.replicas.step(300);
    settled(web);
    all_is_sent(web, &["put"]);
    let counted = adds_of_nodes(web) - began;
    let error = (scene.stored() - counted).abs();
    // Every interval has 23 points; what was counted in one is no more than six steps.
    let unsure = scene.unconfirmed().div_ceil(20) as f64 * 6.0 * most;
    println!(
        "{error} of {counted} ADD requests too many or few after {takes} take-overs; {most} a step"
    );
    assert!(most > 0.0 && counted > 8.0 * most, "{counted} requests are no test");
    assert!(error <= f64::from(takes) * 3.0 * most + unsure, "{error}, {most} a step, {unsure}");
}
