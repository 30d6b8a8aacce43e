//! What stands before the routes where there is a `--web.config.file`. Comes in: requests. Goes out: those
//! that the rate limit and a password let through, and every answer with the headers of the file. Never: a
//! probe that needs a password or finds a limit; anything but a probe that does not.
//!
//! The format knows no exception from a password, and whoever probes a pod (the kubelet, a load balancer)
//! has none. So the probes answer everyone, but where there are users they say yes or no alone: no name, no
//! number, no reason. A client certificate that is required is required of them, too: it is asked for before
//! there is a path.

use super::basic_auth::Login;
use super::web_config::{Loaded, Web};
use super::{Shared, text, with_usual_headers};
use crate::observe::serve::Path;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use std::sync::Arc;
use std::time::Instant;

/// The router behind the gate; itself where there is no file.
pub(crate) fn around(router: Router, web: Arc<Web>, shared: Arc<Shared>) -> Router {
    if web.is_configured() {
        router.layer(middleware::from_fn_with_state(Gate { web, shared }, pass))
    } else {
        router
    }
}

#[derive(Debug, Clone)]
struct Gate {
    web: Arc<Web>,
    shared: Arc<Shared>,
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = gate.shared.path_of(request.uri().path());
    let current = gate.web.current();
    let mut response = if is_probe(path) {
        let answer = next.run(request).await;
        if current.users.is_some() { without_words(answer) } else { answer }
    } else {
        let given = request.headers().get(header::AUTHORIZATION).cloned();
        match gate.refusal(&current, given.as_ref()).await {
            None => next.run(request).await,
            Some(refused) => {
                let seconds = began.elapsed().as_secs_f64();
                gate.shared.observe.request(path, refused.status().as_u16(), seconds);
                refused
            }
        }
    };
    for (name, value) in &current.headers {
        let headers = response.headers_mut();
        if name == header::CONTENT_SECURITY_POLICY {
            // Of two policies both hold: the pages' own stays.
            headers.append(name, value.clone());
        } else {
            headers.insert(name, value.clone());
        }
    }
    response
}

fn is_probe(path: Path) -> bool {
    match path {
        Path::Healthz | Path::Livez | Path::Readyz | Path::DashHealthy | Path::DashReady => true,
        Path::Metrics
        | Path::Cluster
        | Path::Node
        | Path::Static
        | Path::Status
        | Path::Nodes
        | Path::Other => false,
    }
}

/// A probe's answer without what only users may read.
fn without_words(answer: Response) -> Response {
    let status = answer.status();
    let words =
        if status.is_success() { "yes\n" } else { "no; users find why in /api/v1/status\n" };
    with_usual_headers(text(status, words))
}

impl Gate {
    /// The answer to a request that is not let through.
    async fn refusal(&self, current: &Loaded, given: Option<&HeaderValue>) -> Option<Response> {
        if let Some(rate) = current.rate.as_ref().filter(|rate| !rate.allows()) {
            let mut refused = text(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
            refused.headers_mut().insert(header::RETRY_AFTER, rate.retry_after().into());
            return Some(with_usual_headers(refused));
        }
        let users = current.users.as_ref()?;
        let refused = match users.login(given, &self.web.checks, &self.shared.observe).await {
            Login::Known => return None,
            Login::Unknown => {
                const REALM: HeaderValue =
                    HeaderValue::from_static("Basic realm=\"vpc-cni-exporter\", charset=\"UTF-8\"");
                let mut refused = text(StatusCode::UNAUTHORIZED, "user and password, please\n");
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, REALM);
                refused
            }
            Login::Busy => {
                let told = "too many passwords are being checked; come again\n";
                let mut refused = text(StatusCode::SERVICE_UNAVAILABLE, told);
                refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                refused
            }
        };
        Some(with_usual_headers(refused))
    }
}
