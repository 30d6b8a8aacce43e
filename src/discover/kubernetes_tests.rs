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
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

/// A body as the script says.
enum Step {
    Data(String),
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
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.0.front() {
            None => Poll::Ready(None),
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

/// What was asked: the resource, whether it is a watch, and its query.
type Asked = (&'static str, bool, BTreeMap<String, String>);

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

/// Pods are answered from the list in turn, its last answer being a quiet watch; nodes and DaemonSets
/// are none and stay so.
fn rig(pods: Vec<Answer>) -> Rig {
    let script = Arc::new(Mutex::new(VecDeque::from(pods)));
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path();
        let resource =
            ["pods", "nodes", "daemonsets"].into_iter().find(|r| path.ends_with(r)).unwrap();
        let query: BTreeMap<String, String> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let is_watch = query.contains_key("watch");
        log.lock().unwrap().push((resource, is_watch, query));
        let answer = match resource {
            "pods" => script.lock().unwrap().pop_front().unwrap_or_else(quiet),
            _ if is_watch => quiet(),
            _ => page(Vec::new(), "1", None),
        };
        let response = Response::builder()
            .status(answer.status)
            .header("content-type", "application/json")
            .body(Script(answer.steps.into()));
        async move { Ok::<_, Infallible>(response.unwrap()) }
    });
    let client = Client::new(service, "default");
    let (tx, found) = watch::channel(Arc::new(Found::default()));
    let observe = Observe::new();
    let running = tokio::spawn(watch(client, scope(), tx, Arc::clone(&observe)));
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
        let waited = tokio::time::timeout(Duration::from_secs(600), self.found.wait_for(is)).await;
        let known = waited.map(|found| drop(found.unwrap()));
        known.unwrap_or_else(|_| panic!("wanted {nodes:?}, has {:?}", self.found.borrow()));
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
        let watches = asked.iter().filter(|(resource, watch, _)| *resource == "pods" && *watch);
        watches.map(|(_, _, query)| query["resourceVersion"].clone()).collect()
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
    let pods: Vec<&Asked> = asked.iter().filter(|(resource, ..)| *resource == "pods").collect();
    assert_eq!(pods[0].2["limit"], "500");
    assert_eq!(pods[0].2["labelSelector"], "k8s-app%3Daws-node");
    assert_eq!(pods[1].2["continue"], "next");
    assert_eq!(pods[2].2["allowWatchBookmarks"], "true");
    assert!(
        !pods[2].2.contains_key("sendInitialEvents"),
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
        rig.until(&["bb", "ccc"]).await;
    }
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
        refusal(503, "ServiceUnavailable"),
        events(&[("ADDED", pod("bb", 8))], Some(Step::Hang)),
    ]);
    assert!(!rig.found.borrow().targets.iter().any(|_| true));
    rig.until(&["a", "bb"]).await;
    for (reason, count) in [
        ("server", 2.0),
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
    drop(rig.found.wait_for(names_it).await.unwrap());
    let missing = "vpccni_exporter_kubernetes_missing_rule";
    assert_eq!(rig.metric(missing, &["pods"]), 1.0);
    rig.until(&["a"]).await;
    assert_eq!(rig.metric(missing, &["pods"]), 0.0);
}

#[tokio::test(start_paused = true)]
async fn trouble_of_a_quiet_watch_is_over_when_it_is_not_repeated() {
    let mut rig = rig(vec![page(vec![pod("a", 1)], "7", None), refusal(403, "Forbidden"), quiet()]);
    drop(rig.found.wait_for(|found| found.note.is_some()).await.unwrap());
    drop(rig.found.wait_for(|found| found.note.is_none()).await.unwrap());
    assert_eq!(rig.metric("vpccni_exporter_kubernetes_missing_rule", &["pods"]), 0.0);
}
