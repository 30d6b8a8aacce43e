//! One exchange with one node through the API server's pod proxy. Comes in: a target whose path is the
//! proxy's, buffers. Goes out: the page in the buffers, or the outcome that the direct route would have
//! had, as far as the API server tells it. Never: a second try.
//!
//! The client speaks HTTP/1.1: each scrape under way is a connection to the API server, which is why
//! they are few (`--scrape.proxy-concurrency`).

use super::answer::{content_type, date};
use super::fetch::{Buffers, Failure, Fetched};
use crate::model::{Outcome, Target, short};
use http_body::Body as _;
use kube::Client;
use kube::client::Body;
use std::future::poll_fn;
use std::pin::Pin;

/// Of an error's text so much is read; the API server's are shorter.
const ERROR_TEXT: usize = 16 * 1024;

/// What the API server's words say about the node, where its proxy could not reach it.
const WORDS: [(&str, Outcome); 4] = [
    ("connection refused", Outcome::Refused),
    ("i/o timeout", Outcome::Timeout),
    ("deadline exceeded", Outcome::Timeout),
    ("error trying to reach service", Outcome::Unreachable),
];

/// Fetches a target's page into the buffers. The caller sets the deadline.
pub(super) async fn fetch(
    client: &Client,
    target: &Target,
    buffers: &mut Buffers,
) -> Result<Fetched, Failure> {
    let request = http::Request::get(&*target.path)
        .header(http::header::ACCEPT, "text/plain;version=0.0.4")
        .body(Body::empty())
        .map_err(|error| Failure::new(Outcome::Unreachable, error.to_string()))?;
    let sent = client.send(request).await;
    let response = sent.map_err(|error| {
        Failure::new(Outcome::Unreachable, format!("the API server does not answer: {error}"))
    })?;
    let (head, mut body) = response.into_parts();
    if head.status != http::StatusCode::OK {
        let mut text = Vec::new();
        // What was read before the end or the limit will do.
        drop(read(&mut body, ERROR_TEXT, &mut text).await);
        return Err(refused(head.status, &text));
    }
    let header = |name| head.headers.get(name).map(http::HeaderValue::as_bytes);
    if let Some(kind) = header(http::header::CONTENT_TYPE) {
        content_type(kind).map_err(|error| Failure::new(error.outcome(), error.to_string()))?;
    }
    if let Some(encoding) = header(http::header::CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case(b"identity")
    {
        let told = String::from_utf8_lossy(encoding);
        let reason = format!("the Content-Encoding {told} was not asked for");
        return Err(Failure::new(Outcome::Encoding, reason));
    }
    let date = header(http::header::DATE).and_then(date);
    let limit = buffers.max_body();
    read(&mut body, limit, buffers.begin()).await?;
    Ok(buffers.whole(date))
}

/// Reads a body to its end.
async fn read(body: &mut Body, limit: usize, into: &mut Vec<u8>) -> Result<(), Failure> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| {
            Failure::new(Outcome::Truncated, format!("the answer ended before its end: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - into.len() {
            let room = limit - into.len();
            into.extend_from_slice(&data[..room]);
            let reason = format!("the body is over {limit} bytes (--scrape.max-body)");
            return Err(Failure::new(Outcome::TooLarge, reason));
        }
        into.extend_from_slice(&data);
    }
    Ok(())
}

fn refused(status: http::StatusCode, text: &[u8]) -> Failure {
    #[derive(serde::Deserialize)]
    struct Status {
        kind: String,
        message: String,
    }
    let told = serde_json::from_slice::<Status>(text).ok().filter(|told| told.kind == "Status");
    // Whatever answers behind the proxy may say 403 as well, but not in the API server's words.
    let denied = status == http::StatusCode::FORBIDDEN && told.is_some();
    let words =
        told.map_or_else(|| String::from_utf8_lossy(text).into_owned(), |told| told.message);
    let outcome = WORDS.iter().find(|(word, _)| status.is_server_error() && words.contains(word));
    let outcome = outcome.map_or(Outcome::HttpStatus, |(_, outcome)| *outcome);
    let hint = if denied {
        "; the right is missing to get pods/proxy (Role), or see --discover.route"
    } else {
        ""
    };
    let reason = format!("through the API server's proxy: {status}{hint}: {}", short(&words));
    Failure { outcome, reason, denied }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
