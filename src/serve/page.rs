//! The status pages, for people: `/` and `/node/<name>`, with the style sheet, the script and the icon that
//! they use. Comes in: requests. Goes out: HTML made from the newest view, on threads as narrowed requests
//! have them. Never: a text of the outside that is not escaped (the macro escapes all of them), anything from
//! elsewhere, a page that needs its script to be read.

use super::api::Status;
use super::bodies::{Published, join, segment};
use super::{Shared, text};
use crate::render::gzip::Segment;
use crate::render::negotiate::{self, Encoding};
use crate::view::View;
use ask::Ask;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use std::sync::Arc;

mod ask;
mod cluster;
mod node;
mod parts;
mod picture;

/// All is from ourselves; nothing within a page is run, and no page is framed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// Names of nodes and accounts are in addresses of pages.
const REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// Files that the pages use: name, type, content.
const FILES: [(&str, &str, &str); 3] = [
    ("status.css", "text/css; charset=utf-8", include_str!("page/status.css")),
    ("status.js", "text/javascript; charset=utf-8", include_str!("page/status.js")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// The handler of `/`.
pub(crate) async fn cluster(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let ask = match Ask::read(&uri) {
        Ok(ask) => ask,
        Err(bad) => {
            return text(
                StatusCode::BAD_REQUEST,
                format!(
                    "{bad}
"
                ),
            );
        }
    };
    let site = Site::of(&shared);
    let status = shared.status();
    let make = move || site.cluster(&ask, &status);
    answer(&shared, &headers, StatusCode::OK, make).await
}

/// The handler of `/node/<name>`.
pub(crate) async fn node(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let site = Site::of(&shared);
    let status = if site.has(&name) { StatusCode::OK } else { StatusCode::NOT_FOUND };
    answer(&shared, &headers, status, move || site.node(&name)).await
}

/// The handler of `/static/<file>`.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, kind, content)) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], *content).into_response()
        }
        None => text(StatusCode::NOT_FOUND, "no such file\n"),
    }
}

/// What pages are made from.
struct Site {
    published: Option<Arc<Published>>,
    telemetry_path: String,
}

impl Site {
    fn of(shared: &Shared) -> Site {
        let telemetry_path = shared.telemetry_path.clone();
        Site { published: shared.bodies.newest(), telemetry_path }
    }

    fn view(&self) -> Option<&View> {
        self.published.as_deref().map(|published| &*published.view)
    }

    /// Nodes are sorted by their names.
    fn index(&self, name: &str) -> Option<usize> {
        let nodes = &self.view()?.nodes;
        nodes.binary_search_by(|node| (*node.target.node).cmp(name)).ok()
    }

    fn has(&self, name: &str) -> bool {
        self.index(name).is_some()
    }

    fn cluster(&self, ask: &Ask, status: &Status) -> Markup {
        let (view, telemetry_path) = (self.view(), self.telemetry_path.as_str());
        cluster::render(&cluster::Page { ask, status, telemetry_path, view })
    }

    fn node(&self, name: &str) -> Markup {
        match self.view().zip(self.index(name)) {
            Some((view, at)) => node::render(&view.nodes[at], view, &self.telemetry_path),
            None => node::unknown(name, self.view()),
        }
    }
}

/// A page, made where narrowed requests are.
async fn answer(
    shared: &Shared,
    headers: &HeaderMap,
    status: StatusCode,
    make: impl FnOnce() -> Markup + Send + 'static,
) -> Response {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).into_iter().map(HeaderValue::as_bytes);
    let encoding = negotiate::encoding(accepted);
    let work = move || segment(make().into_string().into_bytes(), encoding);
    let body: Segment = match shared.pages.run(work).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(&shared.observe),
    };
    let mut response = (status, Body::new(join(&[&body], encoding))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::REFERRER_POLICY, REFERRER);
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if encoding == Encoding::Gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
#[path = "page/tests.rs"]
mod tests;
