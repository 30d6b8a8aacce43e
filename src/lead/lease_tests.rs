//! The Lease against a scripted API server, which misbehaves.

use super::*;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// Requests with their bodies, as they came.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers in turn; one that is missing never comes.
fn client(answers: Vec<(u16, Value)>) -> (Client, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let script = Arc::new(Mutex::new(VecDeque::from(answers)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (log, script) = (Arc::clone(&log), Arc::clone(&script));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            log.lock().unwrap().push((format!("{} {}", head.method, head.uri), body));
            let next = script.lock().unwrap().pop_front();
            let Some((status, body)) = next else { return std::future::pending().await };
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    });
    let client = Client {
        api: Api::namespaced(kube::Client::new(service, "ours"), "ours"),
        form: Form {
            family: "exporter".to_owned(),
            name: "exporter-1".to_owned(),
            shards: 3,
            duration: Duration::from_secs(15),
            address: Some("10.0.0.7:61681".to_owned()),
        },
        patience: Duration::from_millis(50),
    };
    (client, asked)
}

fn lease(spec: Value, annotations: Value) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "exporter-1", "resourceVersion": "41", "annotations": annotations },
        "spec": spec,
    })
}

fn list(leases: &[Value]) -> Value {
    json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList", "metadata": {}, "items": leases })
}

fn claim(holder: &str) -> Claim<'_> {
    Claim { holder, contended: false, unix: 1_800_000_000.25, renewal: 7, note: "put:0/60" }
}

#[tokio::test]
async fn a_lease_is_read_with_what_it_says_of_its_holder() {
    let spec = json!({ "holderIdentity": "a_1", "leaseDurationSeconds": 15,
        "renewTime": "2026-11-23T10:00:00.000000Z", "leaseTransitions": 4 });
    let notes = json!({ "vpc-cni-exporter/contender": "b", "vpc-cni-exporter/contended": "false",
        "vpc-cni-exporter/shards": "3", "vpc-cni-exporter/address": "10.0.0.7:1" });
    let other = lease(json!({ "holderIdentity": null }), json!({}));
    let (client, asked) = client(vec![(200, list(&[lease(spec, notes), other]))]);
    let leases = client.list().await.unwrap();
    let (ours, other) = (&leases[0], &leases[1]);
    assert_eq!((&*ours.record.holder, ours.record.duration, ours.shards), ("a_1", 15.0, 3));
    assert!(ours.record.contender && !ours.record.contended);
    assert_eq!(ours.address.as_deref(), Some("10.0.0.7:1"));
    // Another program's, or one that is half there: nothing is promised about it.
    assert_eq!((&*other.record.holder, other.shards), ("", 1));
    assert!(other.record.contended && !other.record.contender);
    let uri = &asked.lock().unwrap()[0].0;
    assert!(uri.contains("/namespaces/ours/leases") && uri.contains("labelSelector"), "{uri}");
}

#[tokio::test]
async fn what_is_written_goes_over_the_version_that_was_read_and_clears_the_contender() {
    let spec = json!({ "holderIdentity": "old", "leaseTransitions": 4, "acquireTime": "2026-11-01T00:00:00.000000Z" });
    let notes = json!({ "vpc-cni-exporter/contender": "me" });
    let answer = lease(spec, notes);
    let (client, asked) = client(vec![
        (200, list(std::slice::from_ref(&answer))),
        (200, answer.clone()),
        (200, answer),
    ]);
    let read = client.list().await.unwrap().remove(0);
    client.replace(&read, &claim("me")).await.unwrap();
    client.replace(&read, &claim("")).await.unwrap();
    let asked = asked.lock().unwrap();
    let (taken, released) = (&asked[1].1, &asked[2].1);
    assert!(asked[1].0.starts_with("PUT ") && asked[1].0.contains("/leases/exporter-1"));
    assert_eq!(taken["metadata"]["resourceVersion"], "41");
    assert_eq!(
        taken["metadata"]["annotations"],
        json!({
            "vpc-cni-exporter/contended": "false", "vpc-cni-exporter/shards": "3",
            "vpc-cni-exporter/address": "10.0.0.7:61681", "vpc-cni-exporter/renewal": "7",
            "vpc-cni-exporter/mirror": "put:0/60",
        })
    );
    assert_eq!(taken["spec"]["leaseTransitions"], 5);
    assert_eq!(taken["spec"]["renewTime"], "2027-01-15T08:00:00.250000Z");
    assert_eq!(taken["spec"]["acquireTime"], taken["spec"]["renewTime"]);
    assert_eq!(released["spec"]["holderIdentity"], "");
    assert_eq!(released["spec"]["leaseTransitions"], 4);
}

#[tokio::test]
async fn a_lease_that_was_made_beforehand_is_found_by_its_name() {
    let (client, asked) = client(vec![(200, list(&[])), (200, lease(json!({}), json!({})))]);
    assert_eq!(client.list().await.unwrap().len(), 1);
    assert!(asked.lock().unwrap()[1].0.ends_with("/leases/exporter-1"), "{asked:?}");
}

#[tokio::test]
async fn a_dead_lease_is_emptied_only_as_it_was_read() {
    let old = lease(json!({ "holderIdentity": "dead" }), json!({}));
    let (client, asked) = client(vec![(200, list(std::slice::from_ref(&old))), (200, old)]);
    let read = client.list().await.unwrap().remove(0);
    client.retire(&read).await.unwrap();
    let patch =
        json!({ "metadata": { "resourceVersion": "41" }, "spec": { "holderIdentity": "" } });
    assert_eq!(asked.lock().unwrap()[1].1, patch);
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code });
    (code, status)
}

#[tokio::test]
async fn what_is_not_there_is_a_namespace_or_was_taken_away_meanwhile() {
    let gone = || status(404, "NotFound");
    let found = (200, list(&[lease(json!({}), json!({}))]));
    let (client, _) = client(vec![found, gone(), gone(), gone(), gone()]);
    let read = client.list().await.unwrap().remove(0);
    assert_eq!(client.create(&claim("me")).await.unwrap_err().0, Answer::NotFound);
    assert_eq!(client.replace(&read, &claim("me")).await.unwrap_err().0, Answer::Conflict);
    assert_eq!(client.retire(&read).await.unwrap_err().0, Answer::Conflict);
    assert_eq!(client.announce("x", "me").await.unwrap_err().0, Answer::Conflict);
}

#[tokio::test]
async fn the_count_of_holders_ends_where_its_type_does() {
    let most = lease(json!({ "holderIdentity": "a", "leaseTransitions": i32::MAX }), json!({}));
    let (client, asked) = client(vec![(200, list(std::slice::from_ref(&most))), (200, most)]);
    let read = client.list().await.unwrap().remove(0);
    client.replace(&read, &claim("me")).await.unwrap();
    assert_eq!(asked.lock().unwrap()[1].1["spec"]["leaseTransitions"], i32::MAX);
}

#[tokio::test]
async fn every_refusal_has_its_kind() {
    let (client, _) = client(vec![
        status(409, "AlreadyExists"),
        status(403, "Forbidden"),
        status(401, "Unauthorized"),
        status(500, "InternalError"),
        (200, json!("garbage")),
    ]);
    let mut kinds = Vec::new();
    for _ in 0..6 {
        kinds.push(client.create(&claim("me")).await.unwrap_err().0);
    }
    use Answer::{Conflict, Forbidden, Server, Unauthorized, Unreachable};
    // The last one has no answer at all.
    assert_eq!(kinds, [Conflict, Forbidden, Unauthorized, Server, Unreachable, Unreachable]);
}

#[tokio::test]
async fn a_follower_announces_itself_and_touches_nothing_else() {
    let (client, asked) = client(vec![(200, lease(json!({}), json!({})))]);
    client.announce("exporter-0", "me").await.unwrap();
    let asked = asked.lock().unwrap();
    assert!(asked[0].0.starts_with("PATCH ") && asked[0].0.contains("/leases/exporter-0"));
    let patch = json!({ "metadata": { "annotations": { "vpc-cni-exporter/contender": "me" } } });
    assert_eq!(asked[0].1, patch);
}
