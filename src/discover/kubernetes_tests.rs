//! The watches against a scripted API server: a tower service that answers each request as a test says,
//! half answers and endless ones too. Time is tokio's own, so that no pause is waited for.

use super::*;
use crate::discover::cluster::tests::scope;
use axum::body::Bytes;
use http::{Request, Response};
use http_body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

/// A body as the script says.
enum Step {
    Data(String),
    /// Nothing for so long.
    Wait(Pin<Box<Sleep>>),
    /// Nothing more comes, and no end either.
    Hang,
    /// The connection breaks.
    Cut,
}

struct Script(VecDeque<Step>);

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.0.front_mut() {
            None => Poll::Ready(None),
            Some(Step::Wait(sleep)) => {
                ready!(sleep.as_mut().poll(cx));
                self.0.pop_front();
                self.poll_frame(cx)
            }
            Some(Step::Hang) => Poll::Pending,
            Some(Step::Cut) => {
                self.0.clear();
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
            }
            Some(Step::Data(_)) => {
                let Some(Step::Data(data)) = self.0.pop_front() else { return Poll::Ready(None) };
                Poll::Ready(Some(Ok(Frame::data(data.into()))))
            }
        }
    }
}

struct Answer {
    status: u16,
    steps: Vec<Step>,
}

/// Nobody answers, as where a connection hangs or breaks.
const HANGS: Answer = Answer { status: 0, steps: Vec::new() };
const BREAKS: Answer = Answer { status: 1, steps: Vec::new() };

fn json_answer(status: u16, body: Value) -> Answer {
    Answer { status, steps: vec![Step::Data(body.to_string())] }
}

fn refusal(code: u16, reason: &str) -> Answer {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("scripted: {reason}"), "reason": reason, "code": code });
    json_answer(code, status)
}

/// A page of a listing; `more` continues it.
fn page(items: Vec<Value>, version: &str, more: Option<&str>) -> Answer {
    let metadata = json!({ "resourceVersion": version, "continue": more.unwrap_or_default() });
    json_answer(
        200,
        json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items }),
    )
}

/// A watch with these events that then does as `then` says.
fn events(list: &[(&str, Value)], then: Option<Step>) -> Answer {
    let line =
        |(kind, object): &(&str, Value)| format!("{}\n", json!({ "type": kind, "object": object }));
    let mut steps = vec![Step::Data(list.iter().map(line).collect())];
    steps.extend(then);
    Answer { status: 200, steps }
}

fn quiet() -> Answer {
    events(&[], Some(Step::Hang))
}

fn pod(node: &str, version: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("p-{node}"), "uid": format!("u-{node}"), "resourceVersion": version.to_string() },
        "spec": { "nodeName": node },
        "status": { "phase": "Running", "podIP": format!("10.0.0.{}", node.len()) },
    })
}

/// What was asked.
struct Asked {
    resource: &'static str,
    watch: bool,
    query: BTreeMap<String, String>,
    accept: String,
    at: Instant,
}

struct Rig {
    found: watch::Receiver<Arc<Found>>,
    observe: Arc<Observe>,
    asked: Arc<Mutex<Vec<Asked>>>,
    running: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn rig(pods: Vec<Answer>) -> Rig {
    rig_of(scope(), pods, Vec::new())
}

/// Pods and nodes are answered from their lists in turn, the last answer to pods being a quiet watch;
/// DaemonSets are none and stay so, as do nodes once their list has ended.
fn rig_of(scope: Scope, pods: Vec<Answer>, nodes: Vec<Answer>) -> Rig {
    rig_with(scope, pods, nodes, Vec::new())
}

/// Besides, whole Nodes are answered from `kubelets`.
fn rig_with(scope: Scope, pods: Vec<Answer>, nodes: Vec<Answer>, kubelets: Vec<Answer>) -> Rig {
    let kubelets = Arc::new(Mutex::new(VecDeque::from(kubelets)));
    let pods = Arc::new(Mutex::new(VecDeque::from(pods)));
    let nodes = Arc::new(Mutex::new(VecDeque::from(nodes)));
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path();
        let query: BTreeMap<String, String> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let watch = query.contains_key("watch");
        let accept = request.headers().get("accept").map(|accept| accept.to_str().unwrap());
        let accept = accept.unwrap_or_default().to_owned();
        let resource = match ["pods", "nodes", "daemonsets"].into_iter().find(|r| path.ends_with(r))
        {
            Some("nodes") if !accept.contains("as=PartialObjectMetadata") => "kubelets",
            Some(resource) => resource,
            None => "kubelet",
        };
        log.lock().unwrap().push(Asked { resource, watch, query, accept, at: Instant::now() });
        let scripted = match resource {
            "pods" => Some(pods.lock().unwrap().pop_front().unwrap_or_else(quiet)),
            "nodes" => nodes.lock().unwrap().pop_front(),
            "kubelets" | "kubelet" => kubelets.lock().unwrap().pop_front(),
            _ => None,
        };
        let nothing = || if watch { quiet() } else { page(Vec::new(), "1", None) };
        let answer = scripted.unwrap_or_else(nothing);
        async move {
            match answer.status {
                0 => std::future::pending().await,
                1 => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                status => {
                    let head = Response::builder().status(status);
                    let head = head.header("content-type", "application/json");
                    Ok(head.body(Script(answer.steps.into())).unwrap())
                }
            }
        }
    });
    let client = Client::new(service, "default");
    let (tx, found) = watch::channel(Arc::new(Found::default()));
    let observe = Observe::new();
    let running = tokio::spawn(watch(client, scope, tx, Arc::clone(&observe)));
    Rig { found, observe, asked, running }
}

impl Rig {
    /// Waits until these nodes, and no others, are known.
    async fn until(&mut self, nodes: &[&str]) {
        let is = |found: &Arc<Found>| {
            let mut known: Vec<&str> = found.targets.iter().map(|target| &*target.node).collect();
            known.sort_unstable();
            found.unread.is_empty() && known == nodes
        };
        self.when(&format!("nodes {nodes:?}"), is).await;
    }

    /// Waits until what is known is so.
    async fn when(&mut self, what: &str, is: impl FnMut(&Arc<Found>) -> bool) -> Arc<Found> {
        let waited = tokio::time::timeout(Duration::from_secs(600), self.found.wait_for(is)).await;
        let found = waited.map(|found| Arc::clone(&found.unwrap()));
        found.unwrap_or_else(|_| panic!("wanted {what}, has {:?}", self.found.borrow()))
    }

    fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let families = self.observe.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let wanted = |metric: &&prometheus::proto::Metric| {
            labels.iter().all(|label| metric.get_label().iter().any(|l| l.value() == *label))
        };
        let metric = family.get_metric().iter().find(wanted).unwrap();
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    fn errors(&self, reason: &str) -> f64 {
        self.metric("vpccni_exporter_kubernetes_watch_errors_total", &["pods", reason])
    }

    /// The versions that watches of pods began at.
    fn watched_from(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let watches = asked.iter().filter(|asked| asked.resource == "pods" && asked.watch);
        watches.map(|asked| asked.query["resourceVersion"].clone()).collect()
    }

    /// Seconds between one request for pods and the next.
    fn gaps(&self) -> Vec<f64> {
        let asked = self.asked.lock().unwrap();
        let pods: Vec<Instant> =
            asked.iter().filter(|a| a.resource == "pods").map(|a| a.at).collect();
        pods.windows(2).map(|two| two[1].duration_since(two[0]).as_secs_f64()).collect()
    }

    fn missing_rule(&self, resource: &str) -> f64 {
        self.metric("vpccni_exporter_kubernetes_missing_rule", &[resource])
    }
}

#[tokio::test(start_paused = true)]
async fn pages_are_put_together_and_then_followed() {
    let later = events(&[("ADDED", pod("ccc", 8)), ("DELETED", pod("a", 9))], Some(Step::Hang));
    let mut rig = rig(vec![
        page(vec![pod("a", 1)], "", Some("next")),
        page(vec![pod("bb", 2)], "7", None),
        later,
    ]);
    rig.until(&["bb", "ccc"]).await;
    let asked = rig.asked.lock().unwrap();
    let pods: Vec<&Asked> = asked.iter().filter(|asked| asked.resource == "pods").collect();
    assert_eq!(pods[0].query["limit"], "500");
    assert_eq!(pods[0].query["labelSelector"], "k8s-app%3Daws-node");
    assert_eq!(pods[1].query["continue"], "next");
    assert_eq!(pods[2].query["allowWatchBookmarks"], "true");
    assert!(
        !pods[2].query.contains_key("sendInitialEvents"),
        "many API servers refuse streaming lists"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_or_breaks_goes_on_from_the_last_version() {
    let mut rig = rig(vec![
        page(vec![pod("a", 1)], "7", None),
        events(&[("ADDED", pod("bb", 8))], None),
        events(&[("ADDED", pod("ccc", 9))], Some(Step::Cut)),
        events(&[("MODIFIED", pod("dddd", 12))], Some(Step::Hang)),
    ]);
    rig.until(&["a", "bb", "ccc", "dddd"]).await;
    assert_eq!(rig.watched_from(), ["7", "8", "9"]);
    assert_eq!(rig.errors("unreachable"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn after_410_everything_is_listed_anew_and_what_vanished_is_dropped() {
    let gone = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410 });
    for answer in [events(&[("ERROR", gone)], Some(Step::Hang)), refusal(410, "Expired")] {
        let mut rig = rig(vec![
            page(vec![pod("a", 1), pod("bb", 2)], "7", None),
            answer,
            page(vec![pod("bb", 2), pod("ccc", 20)], "21", None),
        ]);
        rig.until(&["bb", "ccc"]).await;
        assert_eq!(rig.errors("gone"), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_whose_versions_are_forgotten_between_two_pages_begins_anew() {
    let mut rig = rig(vec![
        page(vec![pod("a", 1)], "", Some("next")),
        refusal(410, "Expired"),
        page(vec![pod("bb", 2)], "", Some("later")),
        page(vec![pod("ccc", 3)], "9", None),
    ]);
    rig.until(&["bb", "ccc"]).await;
    assert_eq!(rig.errors("gone"), 1.0);
    assert_eq!(rig.watched_from(), ["9"]);
    let asked = rig.asked.lock().unwrap();
    let pods = asked.iter().filter(|asked| asked.resource == "pods");
    let continued: Vec<Option<&str>> =
        pods.map(|asked| asked.query.get("continue").map(String::as_str)).collect();
    assert_eq!(continued, [None, Some("next"), None, Some("later"), None]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_each_watch_at_once_is_asked_ever_more_seldom() {
    let mut answers = vec![page(vec![pod("a", 1)], "7", None)];
    answers.extend((0..1000).map(|_| events(&[], None)));
    let mut rig = rig(answers);
    rig.until(&["a"]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let watches = rig.watched_from().len();
    // Half a second, one, two, four, eight, ten and ten, or up to twice as long.
    assert!((6..=11).contains(&watches), "{watches} watches in a minute");
}

#[tokio::test(start_paused = true)]
async fn what_a_watch_tells_before_it_is_closed_is_heard_of_though_each_is_closed_at_once() {
    let mut rig = rig(vec![
        page(vec![pod("a", 1)], "7", None),
        events(&[], None),
        events(&[], None),
        events(&[("ADDED", pod("bb", 8))], None),
        events(&[], None),
        events(&[("ADDED", pod("ccc", 9))], None),
    ]);
    rig.until(&["a", "bb", "ccc"]).await;
    assert_eq!(rig.watched_from(), ["7", "7", "7", "8", "8"]);
}

#[tokio::test(start_paused = true)]
async fn pauses_after_failures_grow_and_are_short_again_after_a_watch_that_stood() {
    let stood = Step::Wait(Box::pin(tokio::time::sleep(Duration::from_secs(60))));
    let mut answers = vec![page(vec![pod("a", 1)], "7", None)];
    answers.extend((0..6).map(|_| refusal(503, "ServiceUnavailable")));
    // It is answered after 25 to 51 seconds, and lives on for more than five.
    answers.push(Answer { status: 200, steps: vec![stood, Step::Cut] });
    answers.extend([refusal(503, "ServiceUnavailable"), quiet()]);
    let mut rig = rig(answers);
    rig.until(&["a"]).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let gaps = rig.gaps();
    assert_eq!(gaps.len(), 9, "{gaps:?}");
    let grown = [0.5, 1.0, 2.0, 4.0, 8.0, 10.0];
    for (gap, at_least) in gaps[1..7].iter().zip(grown).chain([(&gaps[8], 1.0)]) {
        assert!((at_least..=2.0 * at_least + 0.1).contains(gap), "{gap} s, {at_least}: {gaps:?}");
    }
    let until_cut = gaps[1..7].iter().sum::<f64>() + gaps[7];
    assert!((60.5..=61.1).contains(&until_cut), "half a second to one after it broke: {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_counted_and_the_others_live_on() {
    let broken = json!({ "metadata": { "name": "p-x", "resourceVersion": "9" }, "spec": { "containers": 7 } });
    let mut rig = rig(vec![
        page(vec![pod("a", 1), broken.clone()], "7", None),
        events(&[("ADDED", broken), ("ADDED", pod("bb", 10))], Some(Step::Hang)),
    ]);
    rig.until(&["a", "bb"]).await;
    let unreadable = "vpccni_exporter_kubernetes_unreadable_objects_total";
    assert_eq!(rig.metric(unreadable, &["pods"]), 2.0);
}

#[tokio::test(start_paused = true)]
async fn trouble_is_counted_by_its_reason_and_what_is_known_stays() {
    let garbage = Answer { status: 200, steps: vec![Step::Data("<html>".to_owned())] };
    let half =
        Answer { status: 200, steps: vec![Step::Data("{\"items\": [".to_owned()), Step::Cut] };
    let mut rig = rig(vec![
        refusal(500, "InternalError"),
        refusal(429, "TooManyRequests"),
        refusal(401, "Unauthorized"),
        garbage,
        half,
        page(vec![pod("a", 1)], "7", None),
        refusal(503, "503"),
        refusal(503, "503"),
        events(&[("ADDED", pod("bb", 8))], Some(Step::Hang)),
    ]);
    let troubled = |found: &Arc<Found>| found.note.as_ref().is_some_and(|n| n.contains("503"));
    let found = rig.when("trouble", troubled).await;
    assert_eq!((found.targets.len(), &*found.targets[0].node), (1, "a"));
    rig.until(&["a", "bb"]).await;
    for (reason, count) in [
        ("server", 3.0),
        ("throttled", 1.0),
        ("unauthorized", 1.0),
        ("undecodable", 1.0),
        ("unreachable", 1.0),
    ] {
        assert_eq!(rig.errors(reason), count, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_until_it_is_given() {
    let mut rig = rig(vec![
        refusal(403, "Forbidden"),
        refusal(403, "Forbidden"),
        page(vec![pod("a", 1)], "7", None),
    ]);
    let names_it = |found: &Arc<Found>| {
        found
            .unread
            .first()
            .is_some_and(|why| why.contains("get, list, watch on pods in namespace kube-system"))
    };
    rig.when("the rule", names_it).await;
    assert_eq!(rig.missing_rule("pods"), 1.0);
    rig.until(&["a"]).await;
    assert_eq!(rig.missing_rule("pods"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn trouble_of_a_quiet_watch_is_over_when_it_is_not_repeated() {
    let mut rig = rig(vec![page(vec![pod("a", 1)], "7", None), refusal(403, "Forbidden"), quiet()]);
    rig.when("a note", |found| found.note.is_some()).await;
    rig.when("no note", |found| found.note.is_none()).await;
    assert_eq!(rig.missing_rule("pods"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_answers_trouble_is_not_over() {
    let listed = || page(vec![pod("a", 1)], "7", None);
    for answers in [
        vec![listed(), refusal(403, "Forbidden"), HANGS],
        vec![listed(), refusal(410, "Expired"), refusal(403, "Forbidden"), HANGS],
        vec![listed(), refusal(410, "Expired"), refusal(403, "Forbidden"), BREAKS, HANGS],
    ] {
        let mut rig = rig(answers);
        let denied = |found: &Arc<Found>| found.note.as_ref().is_some_and(|n| n.contains("right"));
        rig.when("the rule", denied).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(denied(&rig.found.borrow()), "{:?}", rig.found.borrow().note);
        assert_eq!(rig.missing_rule("pods"), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_listing_does_not_end_trouble_nor_the_growth_of_pauses() {
    let half = || [page(vec![pod("a", 1)], "", Some("next")), refusal(500, "InternalError")];
    let rig = rig((0..100).flat_map(|_| half()).collect());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let tries = rig.errors("server");
    assert!((6.0..=11.0).contains(&tries), "{tries} tries in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_so_though_then_nobody_answers_and_the_pods_do_without() {
    let nodes = vec![refusal(403, "Forbidden"), BREAKS, BREAKS, HANGS];
    let mut rig = rig_of(scope(), vec![page(vec![pod("a", 1)], "7", None)], nodes);
    rig.until(&["a"]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let errors = "vpccni_exporter_kubernetes_watch_errors_total";
    assert_eq!(rig.metric(errors, &["nodes", "unreachable"]), 2.0);
    rig.until(&["a"]).await;
    assert_eq!(rig.missing_rule("nodes"), 1.0);
    let note = rig.found.borrow().note.clone().unwrap();
    assert!(note.contains("get, list, watch on nodes (ClusterRole)"), "{note}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_read_is_counted_and_the_others_are_known() {
    let node = |name: &str| json!({ "metadata": { "name": name, "resourceVersion": "5" } });
    let mut broken = node("x");
    broken["metadata"]["labels"] = json!(7);
    let nodes = vec![
        page(vec![node("a"), broken.clone()], "7", None),
        events(&[("MODIFIED", broken), ("ADDED", node("bb"))], Some(Step::Hang)),
    ];
    let mut rig = rig_of(scope(), vec![page(Vec::new(), "7", None)], nodes);
    rig.until(&["a", "bb"]).await;
    let unreadable = "vpccni_exporter_kubernetes_unreadable_objects_total";
    assert_eq!(rig.metric(unreadable, &["nodes"]), 2.0);
    let asked = rig.asked.lock().unwrap();
    let of_nodes: Vec<&str> =
        asked.iter().filter(|a| a.resource == "nodes").map(|a| &*a.accept).collect();
    assert_eq!(of_nodes.len(), 2);
    assert!(of_nodes.iter().all(|accept| accept.contains("as=PartialObjectMetadata")));
}

#[tokio::test(start_paused = true)]
async fn what_kubelets_take_is_listed_by_pages_and_asked_of_new_nodes_alone() {
    let node = |name: &str, pods: Value| {
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "resourceVersion": "5" },
                "status": { "allocatable": { "pods": pods } } })
    };
    let nodes = vec![
        page(vec![node("a", json!(null)), node("bb", json!(null))], "7", None),
        events(&[("ADDED", node("ccc", json!(null)))], Some(Step::Hang)),
    ];
    let kubelets = vec![
        page(vec![node("a", json!("110"))], "7", Some("next")),
        page(vec![node("bb", json!("29"))], "7", None),
        json_answer(200, node("ccc", json!("17"))),
        // The next listing fails, and takes nothing away.
        page(vec![node("a", json!("58"))], "9", Some("next")),
        refusal(410, "Expired"),
        page(vec![node("a", json!("58"))], "11", None),
    ];
    let mut rig = rig_with(scope(), vec![page(Vec::new(), "7", None)], nodes, kubelets);
    let limits = |found: &Arc<Found>| -> Vec<Option<u32>> {
        found.targets.iter().map(|target| target.pod_limit).collect()
    };
    rig.when("all limits", |f| limits(f) == [Some(108), Some(27), Some(15)]).await;
    {
        let asked = rig.asked.lock().unwrap();
        let lists: Vec<&Asked> = asked.iter().filter(|a| a.resource == "kubelets").collect();
        assert_eq!(lists[0].query["limit"], "100");
        assert_eq!(lists[1].query["continue"], "next");
        assert_eq!(asked.iter().filter(|a| a.resource == "kubelet").count(), 1);
    }
    rig.when("a new limit", |f| limits(f) == [Some(56), None, None]).await;
    let errors = "vpccni_exporter_kubernetes_watch_errors_total";
    assert_eq!(rig.metric(errors, &["nodes", "gone"]), 1.0);
    let asked = rig.asked.lock().unwrap();
    let begun: Vec<Instant> = asked
        .iter()
        .filter(|a| a.resource == "kubelets" && !a.query.contains_key("continue"))
        .map(|a| a.at)
        .collect();
    let gaps = begun.windows(2).map(|two| two[1] - two[0]);
    assert!(
        gaps.clone().all(|gap| gap >= Duration::from_secs(30)),
        "{:?}",
        gaps.collect::<Vec<_>>()
    );
}

/// Nodes of these numbers, as the API server tells their metadata or all of them.
fn numbered(numbers: std::ops::Range<u32>) -> Vec<Value> {
    let node = |n: u32| {
        json!({ "apiVersion": "v1", "kind": "Node", "status": { "allocatable": { "pods": "29" } },
                "metadata": { "name": format!("n{n:05}"), "resourceVersion": "5" } })
    };
    numbers.map(node).collect()
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_half_way_is_paid_for_before_the_next() {
    let kubelets = vec![
        page(numbered(0..1000), "7", None),
        page(numbered(0..1000), "8", Some("next")),
        refusal(504, "Timeout"),
        page(numbered(0..1000), "9", None),
        page(numbered(0..1000), "10", None),
    ];
    let nodes = vec![page(numbered(0..1000), "7", None)];
    let mut rig = rig_with(scope(), vec![page(Vec::new(), "7", None)], nodes, kubelets);
    let all_known = |found: &Arc<Found>| {
        found.targets.len() == 1000 && found.targets.iter().all(|t| t.pod_limit == Some(27))
    };
    rig.when("all limits", all_known).await;
    tokio::time::sleep(Duration::from_secs(330)).await;
    let asked = rig.asked.lock().unwrap();
    let begun =
        asked.iter().filter(|a| a.resource == "kubelets" && !a.query.contains_key("continue"));
    let begun: Vec<Instant> = begun.map(|a| a.at).collect();
    assert!((3..=4).contains(&begun.len()), "{} listings in 330 s", begun.len());
    let hundred = |two: &[Instant]| two[1] - two[0] >= Duration::from_secs(100);
    assert!(begun.windows(2).all(hundred), "ten Nodes a second");
}

#[tokio::test(start_paused = true)]
async fn many_new_nodes_are_listed_and_a_name_that_comes_back_is_asked_anew() {
    let later = |kind: &'static str, numbers| {
        numbered(numbers).into_iter().map(|node| (kind, node)).collect::<Vec<_>>()
    };
    let mut told = later("ADDED", 0..200);
    told.extend(later("DELETED", 0..1));
    let nodes = vec![page(Vec::new(), "7", None), events(&told, Some(Step::Hang))];
    let kubelets = vec![page(Vec::new(), "7", None), page(numbered(1..200), "9", None)];
    let mut rig = rig_with(scope(), vec![page(Vec::new(), "7", None)], nodes, kubelets);
    let known = |found: &Arc<Found>| {
        found.targets.iter().filter(|target| target.pod_limit == Some(27)).count()
    };
    rig.when("limits of all", |found| known(found) == 199).await;
    let asked = rig.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|a| a.resource == "kubelet").count(), 0, "not one by one");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_not_wanted_are_not_asked_for() {
    let off = Scope { nodes: false, ..scope() };
    let mut rig = rig_of(off, vec![page(vec![pod("a", 1)], "7", None)], Vec::new());
    rig.until(&["a"]).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(
        rig.asked
            .lock()
            .unwrap()
            .iter()
            .all(|asked| ["pods", "daemonsets"].contains(&asked.resource))
    );
}
