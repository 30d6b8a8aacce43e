//! The loop over real sockets: a store, a plan, nodes that answer and nodes that do not.

use super::*;
use crate::model::{NodeState, Source, Target};
use clap::Parser;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Far over what anything here takes: a test that hangs fails.
const GUARD: Duration = Duration::from_secs(60);

const INTERVAL: Duration = Duration::from_millis(400);

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    scrape: Settings,
}

pub(super) fn flags(given: &[&str]) -> Result<Settings, String> {
    let given = std::iter::once(&"x").chain(given);
    Flags::try_parse_from(given).map(|flags| flags.scrape).map_err(|e| e.to_string())
}

#[test]
fn the_usual_timeout_follows_a_short_interval() {
    let deadline = |given: &[&str]| flags(given).unwrap().deadline();
    let seconds = |s| Ok(Duration::from_secs(s));
    assert_eq!(deadline(&[]), seconds(10));
    assert_eq!(deadline(&["--scrape.interval=5s"]), Ok(Duration::from_millis(4_500)));
    assert_eq!(deadline(&["--scrape.interval=5s", "--scrape.timeout=5s"]), seconds(5));
    assert_eq!(deadline(&["--scrape.timeout=3s"]), seconds(3));
}

#[test]
fn a_scrape_that_hangs_is_over_before_its_next_slot() {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    assert_eq!(before_next_slot(s(10), s(30)), s(10));
    assert_eq!(before_next_slot(s(5), s(5)), ms(4_900));
    assert_eq!(before_next_slot(ms(500), ms(500)), ms(450));
}

#[test]
fn a_timeout_over_the_interval_or_of_nothing_is_refused_in_words() {
    let refused = |given: &[&str]| flags(given).unwrap().deadline().unwrap_err();
    assert_eq!(
        refused(&["--scrape.interval=5s", "--scrape.timeout=6s"]),
        "at most --scrape.interval (5s) is allowed"
    );
    assert!(refused(&["--scrape.timeout=0s"]).contains("more than 0 is needed"));
}

#[test]
fn values_that_make_no_sense_stop_the_start() {
    for bad in [
        "--scrape.interval=199ms",
        "--scrape.interval=30",
        "--scrape.concurrency=0",
        "--scrape.concurrency=10001",
        "--scrape.max-body=0",
    ] {
        let error = flags(&[bad]).unwrap_err();
        assert!(error.contains(bad.split_once('=').unwrap().0), "{bad}: {error}");
    }
}

/// A node; it counts the requests under way and ever made.
struct Node {
    target: Target,
    asked: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers every request with `page`; `None` hangs.
async fn node(name: &str, page: Option<&'static str>) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (all, most) = (Arc::clone(&asked), Arc::clone(&at_once));
    let serving = tokio::spawn(async move {
        let under_way = Arc::new(AtomicUsize::new(0));
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            all.fetch_add(1, Ordering::SeqCst);
            let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
            tokio::spawn(async move {
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let mut bytes = [0; 1024];
                let mut open = stream.read(&mut bytes).await.is_ok_and(|n| n > 0);
                if let Some(page) = page {
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
                    drop(stream.write_all((head + page).as_bytes()).await);
                    return;
                }
                while open {
                    open = stream.read(&mut bytes).await.is_ok_and(|n| n > 0);
                }
                under_way.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let target = Target::new(name, "127.0.0.1", port, "/metrics", Source::Static);
    Node { target, asked, at_once, serving }
}

pub(super) struct Rig {
    pub(super) targets: watch::Sender<Arc<Targets>>,
    rounds: watch::Receiver<Rounds>,
    store: Arc<Store>,
    clock: Clock,
    pub(super) observe: Arc<Observe>,
    cancel: CancellationToken,
    running: JoinHandle<()>,
}

fn list(nodes: &[&Node]) -> Arc<Targets> {
    let mut list: Vec<Target> = nodes.iter().map(|node| node.target.clone()).collect();
    list.sort_by(|a, b| a.node.cmp(&b.node));
    Arc::new(Targets { list, synced: true, ..Targets::default() })
}

fn rig(concurrency: u32) -> Rig {
    rig_of(flags(&[&format!("--scrape.concurrency={concurrency}")]).unwrap(), None)
}

/// With other flags, and with an API server whose pod proxy is the route.
pub(super) fn rig_of(mut settings: Settings, proxy: Option<Client>) -> Rig {
    settings.interval = INTERVAL;
    let deadline = settings.deadline().unwrap();
    let (targets, watched) = watch::channel(Arc::default());
    let (told, rounds) = watch::channel(Rounds::default());
    let (clock, observe, cancel) = (Clock::start(), Observe::new(), CancellationToken::new());
    let store = crate::store::Settings::default();
    let store = Arc::new(Store::new(&store, INTERVAL.as_secs_f64(), Arc::clone(&observe)));
    let running = tokio::spawn(run(
        settings,
        deadline,
        proxy,
        watched,
        Arc::clone(&store),
        clock,
        Arc::clone(&observe),
        told,
        cancel.clone(),
    ));
    Rig { targets, rounds, store, clock, observe, cancel, running }
}

impl Rig {
    pub(super) async fn closed(&mut self, rounds: u64) -> Rounds {
        let waiting = self.rounds.wait_for(|now| now.closed >= rounds);
        *tokio::time::timeout(GUARD, waiting).await.unwrap().unwrap()
    }

    fn states(&self) -> Vec<(String, NodeState, Option<Outcome>)> {
        let view = self.store.view(self.clock.now());
        let state = |node: &crate::view::NodeView| {
            (node.target.node.to_string(), node.state, node.last_outcome)
        };
        view.nodes.iter().map(state).collect()
    }

    fn scrapes(&self, outcome: &str) -> f64 {
        let families = self.observe.registry.gather();
        let family = families.iter().find(|f| f.name() == "vpccni_exporter_scrapes_total");
        let metrics = family.unwrap().get_metric();
        let one = metrics.iter().find(|m| m.get_label()[0].value() == outcome);
        one.unwrap().get_counter().get_value()
    }
}

#[tokio::test]
async fn the_first_round_brings_every_node_an_outcome_and_the_store_its_pages() {
    let good = node("a", Some("awscni_a 1\n")).await;
    let broken = node("b", Some("awscni_a\n")).await;
    let mut gone = node("c", None).await;
    gone.serving.abort();
    while !gone.serving.is_finished() {
        tokio::task::yield_now().await;
    }
    gone.serving = tokio::spawn(async {});
    let mut rig = rig(16);
    rig.targets.send_replace(list(&[&good, &broken, &gone]));
    let first = rig.closed(1).await;
    assert_eq!((first.closed, first.ok, first.failed, first.most_timed_out), (1, 1, 2, false));
    assert!(first.last_answered_seconds <= first.last_seconds);
    let expected = [
        ("a".to_owned(), NodeState::Up, Some(Outcome::Ok)),
        ("b".to_owned(), NodeState::Failed, Some(Outcome::Parse)),
        ("c".to_owned(), NodeState::Failed, Some(Outcome::Refused)),
    ];
    assert_eq!(rig.states(), expected);
    assert!(rig.scrapes("ok") >= 1.0);
    assert!(rig.scrapes("refused") >= 1.0);
    assert_eq!(rig.scrapes("timeout").to_bits(), 0f64.to_bits());
}

#[tokio::test]
async fn no_targets_are_a_first_round_too() {
    let mut rig = rig(16);
    rig.targets.send_replace(list(&[]));
    let first = rig.closed(1).await;
    assert_eq!((first.ok, first.failed), (0, 0));
}

#[tokio::test]
async fn nodes_are_scraped_round_after_round_with_one_request_at_a_time() {
    let good = node("a", Some("awscni_a 1\n")).await;
    let hangs = node("b", None).await;
    let mut rig = rig(4);
    rig.targets.send_replace(list(&[&good, &hangs]));
    let later = rig.closed(5).await;
    assert_eq!((later.ok, later.failed), (1, 1));
    assert!(good.asked.load(Ordering::SeqCst) >= 5);
    assert!(hangs.asked.load(Ordering::SeqCst) >= 2);
    assert_eq!(good.at_once.load(Ordering::SeqCst), 1);
    assert_eq!(hangs.at_once.load(Ordering::SeqCst), 1);
    assert!(rig.scrapes("timeout") >= 1.0);
}

#[tokio::test]
async fn many_nodes_share_few_places_without_waiting_for_ticks() {
    let mut nodes = Vec::new();
    for number in 0..60 {
        nodes.push(node(&format!("n{number:02}"), Some("awscni_a 1\n")).await);
    }
    let mut rig = rig(2);
    rig.targets.send_replace(list(&nodes.iter().collect::<Vec<_>>()));
    let first = rig.closed(1).await;
    assert_eq!((first.ok, first.failed), (60, 0));
    // Two for each tick of 40 ms would take 1.2 s.
    assert!(nodes.iter().all(|node| node.asked.load(Ordering::SeqCst) >= 1));
}

#[tokio::test]
async fn most_nodes_timing_out_is_told_of() {
    let hangs = node("a", None).await;
    let mut rig = rig(4);
    rig.targets.send_replace(list(&[&hangs]));
    let first = rig.closed(1).await;
    assert_eq!((first.ok, first.failed, first.most_timed_out), (0, 1, true));
    assert!(first.last_answered_seconds < first.last_seconds);
}

#[tokio::test]
async fn who_leaves_while_it_is_scraped_is_forgotten_and_who_joins_is_scraped() {
    let hangs = node("a", None).await;
    let good = node("b", Some("awscni_a 1\n")).await;
    let mut rig = rig(4);
    rig.targets.send_replace(list(&[&hangs]));
    while hangs.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    rig.targets.send_replace(list(&[&good]));
    let waiting = async {
        while good.asked.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(GUARD, waiting).await.unwrap();
    rig.closed(2).await;
    assert_eq!(rig.states(), [("b".to_owned(), NodeState::Up, Some(Outcome::Ok))]);
    assert_eq!(rig.scrapes("timeout").to_bits(), 0f64.to_bits());
}

#[tokio::test]
async fn it_stops_when_it_is_cancelled_though_a_scrape_is_under_way() {
    let hangs = node("a", None).await;
    let rig = rig(4);
    rig.targets.send_replace(list(&[&hangs]));
    while hangs.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    rig.cancel.cancel();
    tokio::time::timeout(GUARD, rig.running).await.unwrap().unwrap();
}
