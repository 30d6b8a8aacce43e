//! The truth's own small HTTP endpoint. Comes in: questions, and orders for scripted tests. Goes out:
//! JSON. Never: what a page holds byte by byte.
//!
//! `GET /truth?since=UNIX[&stale_after=SECONDS]`, `GET /nodes`; `POST /pause`, `/resume`,
//! `/step?seconds=S`, `/misbehave?node=NAME&how=WORD`, `/strain?node=NAME&ec2=WORD[&crowded=true]`,
//! `/restart?node=`, `/leave?node=`, `/join?old=true`.

use super::object;
use crate::demo::fleet::counters::Fault;
use crate::demo::fleet::node::{Age, Behaviour, Ec2};
use crate::demo::fleet::{Control, TargetsError};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves until the fleet stops.
pub(in crate::demo::fleet) async fn serve(
    listener: TcpListener,
    control: Arc<Control>,
) -> std::io::Result<()> {
    let stop = control.stopped();
    let router = Router::new()
        .route("/truth", get(truth))
        .route("/nodes", get(nodes))
        .route("/pause", post(|State(c): State<Arc<Control>>| pause(c, true)))
        .route("/resume", post(|State(c): State<Arc<Control>>| pause(c, false)))
        .route("/step", post(step))
        .route("/misbehave", post(misbehave))
        .route("/strain", post(strain))
        .route("/restart", post(restart))
        .route("/leave", post(leave))
        .route("/join", post(join))
        .with_state(control);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

#[derive(Deserialize)]
struct Since {
    since: Option<f64>,
    stale_after: Option<f64>,
}

async fn truth(State(control): State<Arc<Control>>, Query(ask): Query<Since>) -> Response {
    let since = ask.since.unwrap_or(0.0);
    let told = match control.shared.truth.tell(since, ask.stale_after, control.now()) {
        Ok(told) => told,
        Err(forgotten) => return refuse(StatusCode::GONE, &forgotten.to_string()),
    };
    let [known, standing, stale, never] = told.nodes;
    Json(json!({
        "sequence": told.sequence,
        "story_seconds": control.shared.world.seconds(),
        "paused": control.paused(),
        "gauges": object(told.gauges),
        "increase": object(told.increase),
        "nodes": {
            "known": known,
            "by_last_serve": { "standing": standing, "stale": stale, "never": never },
        },
    }))
    .into_response()
}

async fn nodes(State(control): State<Arc<Control>>) -> Json<Value> {
    let world = &control.shared.world;
    let list: Vec<Value> = (0..world.slots())
        .filter_map(|slot| {
            let address = control.address(slot).to_string();
            world.with(slot, |node| {
                json!({
                    "name": &*node.name,
                    "address": address,
                    "mode": node.pool.mode.as_str(),
                    "version": node.release.version,
                    "misbehaviour": if node.down { "down" } else { node.behaviour.as_str() },
                    "listed": node.listed,
                    "process_start": node.process.start,
                })
            })
        })
        .collect();
    Json(Value::Array(list))
}

async fn pause(control: Arc<Control>, paused: bool) -> Json<Value> {
    control.pause(paused);
    Json(json!({ "paused": paused }))
}

#[derive(Deserialize)]
struct Step {
    seconds: f64,
}

async fn step(State(control): State<Arc<Control>>, Query(step): Query<Step>) -> Response {
    /// A month at once is a mistake.
    const MOST: f64 = 31.0 * 86_400.0;
    if !(0.0..=MOST).contains(&step.seconds) {
        return refuse(StatusCode::BAD_REQUEST, "seconds: 0 to 2678400 are allowed");
    }
    let done = control.step(step.seconds).await;
    after(done, json!({ "story_seconds": control.shared.world.seconds() }))
}

#[derive(Deserialize)]
struct OfNode {
    node: String,
    how: Option<String>,
}

async fn misbehave(State(control): State<Arc<Control>>, Query(ask): Query<OfNode>) -> Response {
    let how = ask.how.unwrap_or_default();
    let Some(behaviour) = Behaviour::ALL.into_iter().find(|b| b.as_str() == how) else {
        let words = Behaviour::ALL.map(Behaviour::as_str).join(", ");
        return refuse(StatusCode::BAD_REQUEST, &format!("how: {words} are allowed"));
    };
    match control.misbehave(&ask.node, behaviour).await {
        Some(done) => after(done, json!({ "node": ask.node, "misbehaviour": how })),
        None => unknown(&ask.node),
    }
}

/// What EC2 can be told to say, by the words of `POST /strain?ec2=`.
const EC2: [(&str, Ec2); 4] = [
    ("fine", Ec2::Fine),
    ("subnet", Ec2::Refuses(Fault::SubnetFull)),
    ("throttled", Ec2::Refuses(Fault::Throttled)),
    ("denied", Ec2::Refuses(Fault::Denied)),
];

#[derive(Deserialize)]
struct Strain {
    node: String,
    ec2: String,
    #[serde(default)]
    crowded: bool,
}

async fn strain(State(control): State<Arc<Control>>, Query(ask): Query<Strain>) -> Response {
    let Some((word, ec2)) = EC2.into_iter().find(|(word, _)| *word == ask.ec2) else {
        let words = EC2.map(|(word, _)| word).join(", ");
        return refuse(StatusCode::BAD_REQUEST, &format!("ec2: {words} are allowed"));
    };
    match control.strain(&ask.node, ec2, ask.crowded) {
        Some(()) => {
            Json(json!({ "node": ask.node, "ec2": word, "crowded": ask.crowded })).into_response()
        }
        None => unknown(&ask.node),
    }
}

async fn restart(State(control): State<Arc<Control>>, Query(ask): Query<OfNode>) -> Response {
    match control.restart(&ask.node) {
        Some(start) => Json(json!({ "node": ask.node, "process_start": start })).into_response(),
        None => unknown(&ask.node),
    }
}

async fn leave(State(control): State<Arc<Control>>, Query(ask): Query<OfNode>) -> Response {
    match control.leave(&ask.node).await {
        Some(done) => after(done, json!({ "node": ask.node })),
        None => unknown(&ask.node),
    }
}

#[derive(Deserialize)]
struct Join {
    #[serde(default)]
    old: bool,
}

async fn join(State(control): State<Arc<Control>>, Query(ask): Query<Join>) -> Response {
    match control.join(if ask.old { Age::Old } else { Age::Young }).await {
        Some((name, done)) => after(done, json!({ "node": &*name })),
        None => refuse(StatusCode::CONFLICT, "no free address: let a node leave first"),
    }
}

fn after(done: Result<(), TargetsError>, answer: Value) -> Response {
    match done {
        Ok(()) => Json(answer).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn unknown(node: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("no node {node:?}: GET /nodes lists them"))
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
