//! The page at `/`. Comes in: the status. Goes out: a small page of HTML that works without a
//! script, a style or anything from elsewhere. Never: a text of the outside that is not escaped.

use super::Shared;
use super::api::Status;
use crate::observe::serve::Path;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use std::sync::Arc;

/// Nothing is loaded, run, framed or sent anywhere from this page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The handler of `/`.
pub(crate) async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let page = render(&shared.status(), &shared.telemetry_path);
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response()
}

fn render(status: &Status, telemetry_path: &str) -> String {
    let state = if status.ready { "Ready" } else { "Not ready" };
    let mut links = String::new();
    for (path, what) in [
        (telemetry_path, "the metrics of the cluster, its nodes and this exporter"),
        (
            &format!("{telemetry_path}?scope=cluster"),
            "the cluster's alone; node and self are the other scopes",
        ),
        (Path::Status.as_str(), "how things stand, as JSON"),
        (Path::Nodes.as_str(), "every node with its state and reason, as JSON"),
        (Path::Readyz.as_str(), "whether the exporter is ready, and why"),
        (Path::Healthz.as_str(), "whether the process lives"),
    ] {
        let path = escape(path);
        links.push_str(&format!("<li><a href=\"{path}\">{path}</a>: {what}</li>\n"));
    }
    let nodes = match &status.nodes {
        Some(n) => format!(
            "<p>Nodes: {} up, {} stale, {} failed, {} missing.</p>\n",
            n.up, n.stale, n.failed, n.missing
        ),
        None => String::new(),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <title>vpc-cni-exporter</title></head>\n<body>\n\
         <h1>vpc-cni-exporter {}</h1>\n<p>{state}: {}.</p>\n{nodes}<ul>\n{links}</ul>\n\
         </body>\n</html>\n",
        escape(status.version),
        escape(&status.ready_reason),
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::api::{Mirror, NodeCounts};
    use super::*;

    fn status(reason: &str) -> Status {
        Status {
            version: "1.2.3",
            uptime_seconds: 1.0,
            ready: false,
            ready_reason: reason.to_owned(),
            targets: None,
            rounds_closed: 0,
            last_round_seconds: None,
            nodes: Some(NodeCounts { up: 4, stale: 3, failed: 2, missing: 1 }),
            view: None,
            data_hidden: false,
            serves_data: true,
            mirror: Mirror::default(),
            may_serve: true,
            connections: 1,
        }
    }

    #[test]
    fn the_page_tells_version_state_nodes_and_where_to_go() {
        let page = render(&status("waiting"), "/cni");
        assert!(page.contains("<h1>vpc-cni-exporter 1.2.3</h1>\n<p>Not ready: waiting.</p>\n"));
        assert!(page.contains("<p>Nodes: 4 up, 3 stale, 2 failed, 1 missing.</p>"));
        assert!(page.contains("<a href=\"/cni\">/cni</a>"));
        assert!(page.contains("<a href=\"/api/v1/nodes\">/api/v1/nodes</a>"));
    }

    #[test]
    fn a_reason_cannot_bring_markup() {
        let page = render(&status("<script>\"a\" & 'b'</script>"), "/metrics");
        assert!(page.contains("&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;"));
        assert!(!page.contains("<script"));
    }
}
