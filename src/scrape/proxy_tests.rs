//! The pod proxy's answers, scripted: each becomes the outcome that the direct route would have had.

use super::super::tests::{Rig, flags, rig_of};
use super::*;
use crate::model::{Route, Source, Targets};
use axum::body::Bytes;
use http::Response;
use http_body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// A body that comes in these parts, and then ends or breaks.
struct Parts(VecDeque<&'static str>, bool);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.0.pop_front() {
            Some(part) => Some(Ok(Frame::data(part.into()))),
            None => std::mem::take(&mut self.1).then(|| Err(io::ErrorKind::ConnectionReset.into())),
        })
    }
}

const PATH: &str = "/api/v1/namespaces/kube-system/pods/aws-node-a:61678/proxy/metrics";

fn proxied(node: &str) -> Target {
    Target { route: Route::Proxy, ..Target::new(node, node, 61678, PATH, Source::Kubernetes) }
}

/// What becomes of an answer with this status, these headers, this body: outcome, reason, denied.
async fn fetched(
    status: u16,
    headers: &'static [(&str, &str)],
    body: &[&'static str],
    breaks: bool,
) -> Result<String, Failure> {
    let body = VecDeque::from(body.to_vec());
    let service = tower::service_fn(move |request: http::Request<Body>| {
        assert_eq!(request.uri(), PATH);
        assert_eq!(request.headers()["accept"], "text/plain;version=0.0.4");
        let mut head = Response::builder().status(status);
        for (name, value) in headers {
            head = head.header(*name, *value);
        }
        let response = head.body(Parts(body.clone(), breaks)).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let client = Client::new(service, "default");
    let mut buffers = Buffers::new(false, 20);
    let fetched = fetch(&client, &proxied("a"), &mut buffers).await?;
    Ok(String::from_utf8(buffers.page(&fetched).to_vec()).unwrap())
}

#[tokio::test]
async fn a_page_comes_whole_in_however_many_parts() {
    let page = fetched(200, &[], &["awscni_a 1\n", "", "b 2\n"], false).await;
    assert_eq!(page, Ok("awscni_a 1\nb 2\n".to_owned()));
}

#[tokio::test]
async fn what_is_no_page_has_the_outcome_of_the_direct_route() {
    let outcome = |result: Result<String, Failure>| {
        let failure = result.unwrap_err();
        assert!(!failure.denied, "{}", failure.reason);
        failure.outcome
    };
    let broken = fetched(200, &[], &["awscni_a 1\n"], true).await;
    assert_eq!(outcome(broken), Outcome::Truncated);
    let large = fetched(200, &[], &["awscni_a 1\n", "awscni_a 1\n"], false).await;
    assert_eq!(outcome(large), Outcome::TooLarge);
    let gzip = fetched(200, &[("content-encoding", "gzip")], &[], false).await;
    assert_eq!(outcome(gzip), Outcome::Encoding);
    let html = fetched(200, &[("content-type", "text/html")], &["<html>"], false).await;
    assert_eq!(outcome(html), Outcome::Encoding);
}

#[tokio::test]
async fn what_the_api_server_says_of_a_node_that_it_cannot_reach_is_that_node_s_outcome() {
    // As kube-apiserver writes them.
    for (status, text, outcome) in [
        (
            503,
            "error trying to reach service: dial tcp 10.0.0.1:61678: connect: connection refused",
            Outcome::Refused,
        ),
        (
            503,
            "error trying to reach service: dial tcp 10.0.0.1:61678: i/o timeout",
            Outcome::Timeout,
        ),
        (
            504,
            "error trying to reach service: net/http: request canceled (context deadline exceeded)",
            Outcome::Timeout,
        ),
        (
            503,
            "error trying to reach service: dial tcp 10.0.0.1:61678: connect: no route to host",
            Outcome::Unreachable,
        ),
        (404, "connection refused, says a page", Outcome::HttpStatus),
        (500, "out of memory", Outcome::HttpStatus),
    ] {
        let failure = fetched(status, &[], &[text], false).await.unwrap_err();
        assert_eq!((failure.outcome, failure.denied), (outcome, false), "{text}");
        assert!(failure.reason.contains(text), "{}", failure.reason);
    }
}

const REFUSAL: &str = r#"{"kind": "Status", "code": 403, "reason": "Forbidden",
    "message": "pods \"a:61678\" is forbidden: User \"x\" cannot get resource \"pods/proxy\""}"#;

#[tokio::test]
async fn a_missing_right_is_told_from_a_pod_that_says_403() {
    let denied = fetched(403, &[], &[REFUSAL], false).await.unwrap_err();
    assert_eq!((denied.outcome, denied.denied), (Outcome::HttpStatus, true));
    assert!(denied.reason.contains("get pods/proxy (Role)"), "{}", denied.reason);
    let pod = fetched(403, &[], &["go away"], false).await.unwrap_err();
    assert_eq!((pod.outcome, pod.denied), (Outcome::HttpStatus, false));
    assert!(!pod.reason.contains("right"), "{}", pod.reason);
}

/// Twice as many nodes as places, through an API server that answers as `answer` says.
fn rig_through<F>(answer: impl Fn() -> F + Send + 'static) -> Rig
where
    F: Future<Output = (u16, &'static str)> + Send + 'static,
{
    let service = tower::service_fn(move |_: http::Request<Body>| {
        let answer = answer();
        async move {
            let (status, text) = answer.await;
            let body = Parts(VecDeque::from([text]), false);
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    });
    let rig = rig_of(flags(&[]).unwrap(), Some(Client::new(service, "default")));
    let list = (0..32).map(|i| proxied(&format!("n{i:02}"))).collect();
    rig.targets.send_replace(Arc::new(Targets { list, synced: true, ..Targets::default() }));
    rig
}

#[tokio::test]
async fn sixteen_scrapes_at_most_are_under_way_through_the_api_server() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let reached = Arc::clone(&most);
    let mut rig = rig_through(move || {
        let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&most));
        async move {
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            (200, "awscni_a 1\n")
        }
    });
    let first = rig.closed(1).await;
    assert_eq!((first.ok, first.failed), (32, 0));
    assert_eq!(reached.load(Ordering::SeqCst), 16);
}

#[tokio::test]
async fn a_missing_right_to_the_proxy_is_known_until_it_is_given() {
    let given = Arc::new(AtomicUsize::new(0));
    let later = Arc::clone(&given);
    let mut rig = rig_through(move || {
        let given = given.load(Ordering::SeqCst) > 0;
        async move { if given { (200, "awscni_a 1\n") } else { (403, REFUSAL) } }
    });
    let missing = |rig: &Rig| {
        let families = rig.observe.registry.gather();
        let name = "vpccni_exporter_kubernetes_missing_rule";
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metrics = family.get_metric().iter();
        let mut of_proxy = metrics.filter(|m| m.get_label()[0].value() == "pods/proxy");
        of_proxy.next().unwrap().get_gauge().get_value()
    };
    let first = rig.closed(1).await;
    assert_eq!((first.failed, first.proxy_denied, missing(&rig)), (32, true, 1.0));
    later.store(1, Ordering::SeqCst);
    let closed = first.closed + 2;
    let then = rig.closed(closed).await;
    assert_eq!((then.proxy_denied, missing(&rig)), (false, 0.0));
}
