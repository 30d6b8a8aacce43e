//! The HTTP side: published views in, answers out. Comes in: connections, and what the app tells
//! about rounds and views. Goes out: `/metrics` from bodies that were made beforehand, probes from
//! atomics, status as JSON and as pages for people. Never: a scrape, a wait for one, a lock that another
//! client holds, a body built while its client waits (narrowed requests and pages apart).
//!
//! # Flow
//! The publisher calls [`Shared::publish`]; requests take whatever is published at that moment.
//!
//! # When it cannot keep up
//! Connections are capped; at the cap the longest idle one makes room, and if all are answering the
//! new one gets 503 ([`listener`]). Narrowed requests and pages render two at a time behind a short
//! queue; over it they get 503 ([`exposition`]). A client that stalls loses its connection ([`guard`]).
//! Passwords are checked one at a time behind a short queue ([`basic_auth`]).
//!
//! # Stopping
//! The listener closes at once, idle connections with it; answers under way get
//! `--web.shutdown-timeout`, then they are cut.

use crate::clock::Clock;
use crate::observe::Observe;
use crate::observe::serve::{BodySize, Path};
use crate::promise::Promise;
use crate::render::detail::Detail;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod api;
mod basic_auth;
mod bodies;
mod exposition;
mod gate;
mod guard;
mod listener;
mod page;
mod params;
mod probes;
mod rate_limit;
mod settings;
mod web_config;

pub use api::{Node, NodeCounts, Nodes, Status, ViewStatus};
pub use bodies::Published;
pub use guard::Limits;
pub use listener::{BindError, Bound, bind};
pub use probes::{Readiness, Verdict};
pub use settings::{ListenAddress, Settings, TelemetryPath};
pub use web_config::{WebConfigError, check as check_web_config};

/// What the app and the requests share.
#[derive(Debug)]
pub struct Shared {
    /// Told by the app, asked by the probes.
    pub readiness: Readiness,
    bodies: bodies::Bodies,
    renders: exposition::Renders,
    /// Apart: whoever looks on must not cost a scraper its answer.
    pages: exposition::Renders,
    /// For narrowed requests, which must show what the prepared bodies show.
    detail: Arc<Detail>,
    observe: Arc<Observe>,
    clock: Clock,
    telemetry_path: String,
}

impl Shared {
    /// Nothing discovered, nothing published. `scrape_interval` is `--scrape.interval`;
    /// `hide_data` is true with `USE_PROMETHEUS=false` and leaves of `/metrics` the exporter's own
    /// families; `clock` is the one that the uptimes given to [`Readiness`] are of;
    /// `detail` is what the publisher renders the scope node with; `promise` says when data is ours to
    /// serve.
    pub fn new(
        settings: &Settings,
        observe: Arc<Observe>,
        scrape_interval: Duration,
        hide_data: bool,
        clock: Clock,
        detail: Arc<Detail>,
        promise: Arc<Promise>,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            readiness: Readiness::new(scrape_interval),
            bodies: bodies::Bodies::new(hide_data, promise, clock),
            renders: exposition::Renders::new(),
            pages: exposition::Renders::new(),
            detail,
            observe,
            clock,
            telemetry_path: settings.telemetry_path.as_str().to_owned(),
        })
    }

    /// From now on requests are answered from this view. To be called only once the first round
    /// has closed: what is published is served as the whole truth.
    pub fn publish(&self, published: Published) {
        let size = |identity, gzip| BodySize { identity, gzip };
        let cluster = size(published.cluster.len, published.cluster.deflate.len() as u64);
        let node = size(published.node.len, published.node.deflate.len() as u64);
        let (seconds, generation) = (published.seconds, published.view.generation);
        self.bodies.publish(published);
        self.readiness.published(self.uptime());
        self.observe.published(seconds, cluster, node, generation);
    }

    /// Seconds since the process began.
    fn uptime(&self) -> f64 {
        self.clock.uptime()
    }

    /// Whether the probes say ready, now.
    fn verdict(&self) -> Verdict {
        self.readiness.verdict(self.uptime())
    }

    /// Seconds since the last publishing, now.
    fn view_age(&self) -> Option<f64> {
        self.readiness.last_published().map(|then| (self.uptime() - then).max(0.0))
    }

    fn path_of(&self, path: &str) -> Path {
        if path == self.telemetry_path {
            return Path::Metrics;
        }
        // Only what is routed is ours, so that the labels of two routes cannot mix.
        let known = Path::ALL.into_iter().find(|known| known.is(path));
        known.filter(|known| *known != Path::Metrics).unwrap_or(Path::Other)
    }
}

/// All routes, counted and with the headers that every answer has.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(&shared.telemetry_path, get(exposition::metrics))
        .route(Path::Cluster.as_str(), get(page::cluster))
        .route(Path::Node.as_str(), get(page::node))
        .route(Path::Static.as_str(), get(page::file))
        .route(Path::Status.as_str(), get(api::status))
        .route(Path::Nodes.as_str(), get(api::nodes))
        .route(Path::Healthz.as_str(), get(probes::healthy))
        .route(Path::Livez.as_str(), get(probes::healthy))
        .route(Path::DashHealthy.as_str(), get(probes::healthy))
        .route(Path::Readyz.as_str(), get(probes::ready))
        .route(Path::DashReady.as_str(), get(probes::ready))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), account))
        .with_state(shared)
}

/// Around every request: bodies are refused, the answer gets its common headers and is counted.
async fn account(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = shared.path_of(request.uri().path());
    let began = Instant::now();
    let response = if request.body().is_end_stream() {
        next.run(request).await
    } else {
        // Nothing here reads a body; taking one would be work at the client's choice.
        let mut refused = text(StatusCode::PAYLOAD_TOO_LARGE, "requests have no body here\n");
        refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        refused
    };
    let response = with_usual_headers(response);
    shared.observe.request(path, response.status().as_u16(), began.elapsed().as_secs_f64());
    response
}

/// What every answer has.
fn with_usual_headers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

async fn not_found(State(shared): State<Arc<Shared>>) -> Response {
    let mut body = format!("not found; there are: {}", shared.telemetry_path);
    for path in Path::ALL {
        if !matches!(path, Path::Metrics | Path::Other) {
            body.push(' ');
            body.push_str(path.as_str());
        }
    }
    body.push('\n');
    text(StatusCode::NOT_FOUND, body)
}

async fn method_not_allowed() -> Response {
    text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD here\n")
}

/// A plain text answer.
fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    (status, [kind], body.into()).into_response()
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the values are exact")]
mod tests;
