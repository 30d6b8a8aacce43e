//! The CloudWatch mirror of several replicas: one ships at a time, its note in the Lease tells the next how
//! far it has come. Three processes whose leader stops, is killed, paused and cut off, and moto, which has
//! all that any of them sent. What it has is held against the nodes' own counts.

use super::Cluster;
use super::leaders::{adds_of_nodes, settled};
use super::replicas::{LEASES, Replicas, cluster_page};
use crate::real::aws::double::Double;
use crate::real::aws::mirrored::{all_is_sent, outlet, sums_of_helper};
use crate::support::{key, post, until};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CLUSTER: &str = "blue";
/// Of an interval: all replicas have time to scrape all nodes in one.
const SECONDS: u64 = 8;
/// Between two scrapes of a node.
const SCRAPE: Duration = Duration::from_millis(500);
const FLAGS: [&str; 3] = ["--mirror.to=put", "--mirror.interval=8s", "--cluster.name=blue"];

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

    /// All replicas count the same in one interval, which ends no sooner than a signal is sent.
    fn step_within_an_interval(&self) {
        let webs: Vec<SocketAddr> = self.left.iter().map(|&at| self.web(at)).collect();
        until("a step that all saw in one interval", || {
            let (before, _) = interval_under_way();
            until("the next interval", || (interval_under_way().0 > before).then_some(()));
            self.replicas.step(900);
            settled(&webs);
            let (now, age) = interval_under_way();
            (now == before + 1 && age + 2 < SECONDS).then_some(())
        });
    }

    /// Waits until nothing is begun that is not settled, and the Lease says so.
    fn is_noted(&self, cluster: &Cluster) {
        until("a note of all that was sent", || {
            let note = note(cluster)?;
            let (settled, begun) = note.strip_prefix("put:")?.split_once('/')?;
            (settled == begun).then_some(())
        });
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
    for trouble in ["cut", "KILL"] {
        // The story stands still, and all is sent: this is what is left when the leader ends.
        let before = scene.stored();
        scene.step_within_an_interval();
        let leader = scene.hand_over(trouble);
        let web = scene.web(leader);
        all_is_sent(web, &["put"]);
        let counted = adds_of_nodes(web) - began;
        assert_eq!(scene.stored(), counted, "after {trouble}; {before} before");
        assert!(before < counted, "no request is no test");
    }
    scene.is_noted(&cluster);
}

#[test]
fn what_a_leader_could_not_send_its_successor_does_and_a_lapse_loses_nothing() {
    let cluster = Cluster::shared();
    let mut scene = Scene::of(&cluster, "127.71.0.1");
    let began = adds_of_nodes(scene.web(scene.leader()));
    scene.double.tell("/away");
    scene.step_within_an_interval();
    // Tried and refused, more than once: noted as begun each time, and as not begun afterwards.
    let web = scene.web(scene.leader());
    let waiting = || outlet(web, "put")["queue_intervals"].as_u64().unwrap();
    until("two intervals that wait", || (waiting() >= 2).then_some(()));
    let failures = key(
        "vpccni_exporter_mirror_failures_total",
        vec![("outlet", "put"), ("reason", "unreachable")],
    );
    until("two tries", || (super::scene::served(web)[&failures] >= 2.0).then_some(()));
    let counted = adds_of_nodes(web) - began;
    // Nobody can renew: all of them are cut off. The promise of the leader ends, and what waits stays.
    scene.left.iter().for_each(|&at| scene.replicas.all[at].relay.cut());
    until("a leader without a promise", || cluster_page(web).is_none().then_some(()));
    let words = |outlet: &Value| outlet["reason_text"].as_str().unwrap_or_default().to_owned();
    until("a mirror that says so", || {
        let put = outlet(web, "put");
        (put["reason"] == "lease" && words(&put).contains("--lead.election")).then_some(())
    });
    assert!(waiting() >= 2);
    scene.left.iter().for_each(|&at| scene.replicas.all[at].relay.mend());
    // Ended in peace while CloudWatch is away: its queue dies with it, its successor's does not.
    let leader = scene.hand_over("TERM");
    scene.double.tell("/back");
    all_is_sent(scene.web(leader), &["put"]);
    assert_eq!(scene.stored(), counted);
    assert_eq!(scene.unconfirmed(), 0);
}

/// What the Lease says of the mirror.
fn note(cluster: &Cluster) -> Option<String> {
    let lease = super::api::wait(cluster.admin.get(&format!("{LEASES}/vpc-cni-exporter"))).ok()?;
    Some(lease["metadata"]["annotations"]["vpc-cni-exporter/mirror"].as_str()?.to_owned())
}

/// Stops what steps when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The number of the mirror's interval under way, and how many seconds it is old.
#[allow(clippy::disallowed_methods, reason = "the test is an edge: intervals are the wall clock's")]
fn interval_under_way() -> (u64, u64) {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (unix / SECONDS, unix % SECONDS)
}

#[test]
fn at_a_take_over_the_error_is_what_nodes_count_between_two_scrapes() {
    let cluster = Cluster::shared();
    let mut scene = Scene::of(&cluster, "127.69.0.1");
    let began = adds_of_nodes(scene.web(scene.leader()));
    // The nodes count all the time, as much in each step; and they step as often as they are scraped.
    let (truth, stop) = (scene.replicas.fleet.truth_address().unwrap(), AtomicBool::new(false));
    let steps = thread::scope(|scope| {
        // However this ends: the scope waits for it.
        let _stop = Stop(&stop);
        let stepping = scope.spawn(|| {
            let mut steps = 0.0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(post(truth, "/step?seconds=120").status, 200);
                steps += 1.0;
                thread::sleep(SCRAPE);
            }
            steps
        });
        for trouble in ["STOP", "KILL"] {
            all_is_sent(scene.web(scene.leader()), &["put"]);
            scene.is_noted(&cluster);
            scene.hand_over(trouble);
        }
        stop.store(true, Ordering::Relaxed);
        stepping.join().unwrap()
    });
    let web = scene.web(scene.leader());
    settled(&[web]);
    all_is_sent(web, &["put"]);
    let counted = adds_of_nodes(web) - began;
    let error = (scene.stored() - counted).abs();
    let step = counted / steps;
    // At each take-over what is counted in a scrape interval; three times that, as the machine may be busy.
    // One interval too many or too few would be more than twice as much.
    let bound = 2.0 * 3.0 * step;
    let interval = SECONDS as f64 / SCRAPE.as_secs_f64() * step;
    println!("{error} of {counted} ADD requests too many or few after 2 take-overs; {step} a step");
    assert!(interval > 2.0 * bound && step > 5.0, "{step} a step is no test");
    assert_eq!(scene.unconfirmed(), 0);
    assert!(error <= bound, "{error}: over {bound}");
}
