//! `/metrics`. Comes in: what is asked for and accepted. Goes out: the prepared bodies of the
//! newest view, or the part of it that a narrowed request names. Never: a data scope before the
//! first round has closed, rendering on the threads that answer everyone else.
//!
//! # When it cannot keep up
//! Narrowed requests render on [`RENDERS`] threads with at most [`WAITING`] behind them; over that
//! they get 503 with `Retry-After`. A client that leaves the queue is not rendered for.

use super::bodies::{Published, join, segment};
use super::params::{Ask, ask};
use super::{Shared, text};
use crate::observe::Observe;
use crate::render::detail::Detail;
use crate::render::dialect::EOF;
use crate::render::gzip::Segment;
use crate::render::negotiate::{self, Encoding, Format};
use crate::render::{self, own};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tower::limit::ConcurrencyLimit;
use tower::{Service, ServiceBuilder, ServiceExt};

/// Narrowed requests that render at once: they are for people and for shards, and scraping has the
/// first claim on the processor.
pub(crate) const RENDERS: usize = 2;

/// Narrowed requests that may wait: some seconds of work at 10,000 nodes, within every scraper's
/// patience.
pub(crate) const WAITING: usize = 16;

/// Seconds after which a client that met a full queue may come again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The handler of the telemetry path.
pub(crate) async fn metrics(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let ask = match ask(&uri) {
        Ok(ask) => ask,
        Err(bad) => return text(StatusCode::BAD_REQUEST, format!("{bad}\n")),
    };
    let values = |name: HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let prefers_text =
        ask.node && shared.detail.shows_more_than_gauges(|family| ask.narrow.wants(family, ""));
    let format = negotiate::format(values(header::ACCEPT), prefers_text);
    let encoding = negotiate::encoding(values(header::ACCEPT_ENCODING));
    if ask.own {
        shared.observe.view_age(shared.view_age());
        shared.observe.may_serve(shared.bodies.may_serve());
    }
    let (data, right) = shared.bodies.data().filter(|_| ask.cluster || ask.node).unzip();
    // The node scope is prepared as text alone: whoever accepts both gets it so.
    let is_prepared = format == Format::Text004 || !ask.node || !shared.detail.shows_nodes();
    let body = if data.is_some() && (ask.is_narrowed() || !is_prepared) {
        let job = Job {
            ask,
            data,
            detail: Arc::clone(&shared.detail),
            observe: Arc::clone(&shared.observe),
            format,
            encoding,
        };
        match shared.renders.run(move || job.render()).await {
            Ok(segment) => join(&[&segment], encoding),
            Err(refused) => return refused.into_response(&shared.observe),
        }
    } else {
        let rest = rest(&shared.observe, &ask, format);
        let rest = (!rest.is_empty()).then(|| segment(rest, encoding));
        let mut segments: Vec<&Segment> = Vec::new();
        if let Some(data) = &data {
            let cluster = match format {
                Format::Text004 => &data.cluster,
                Format::OpenMetrics100 => &data.cluster_open_metrics,
            };
            segments.extend(ask.cluster.then_some(cluster));
            segments.extend(ask.node.then_some(&data.node));
        }
        segments.extend(&rest);
        join(&segments, encoding)
    };
    let mut response = Response::new(Body::new(body));
    if let Some(right) = right {
        response.extensions_mut().insert(right);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if encoding == Encoding::Gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// What is not of a view: the scope self, if it is asked for, and the page's end.
fn rest(observe: &Observe, ask: &Ask, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    if ask.own {
        own::families(&observe.registry.gather(), &ask.narrow.names, format, &mut out);
    }
    if format == Format::OpenMetrics100 {
        out.extend_from_slice(EOF.as_bytes());
    }
    out
}

/// One narrowed request.
struct Job {
    ask: Ask,
    data: Option<Arc<Published>>,
    detail: Arc<Detail>,
    observe: Arc<Observe>,
    format: Format,
    encoding: Encoding,
}

impl Job {
    fn render(self) -> Segment {
        let mut out = Vec::new();
        if let Some(data) = &self.data {
            if self.ask.cluster {
                render::cluster(&data.view, &self.ask.narrow, self.format, &mut out);
            }
            if self.ask.node {
                render::nodes(&data.view, &self.ask.narrow, &self.detail, self.format, &mut out);
            }
        }
        out.append(&mut rest(&self.observe, &self.ask, self.format));
        segment(out, self.encoding)
    }
}

/// Why a narrowed request has no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full.
    Busy,
    /// The rendering ended without a result.
    Broken,
}

impl Refused {
    pub(crate) fn into_response(self, observe: &Observe) -> Response {
        match self {
            Refused::Busy => {
                observe.render_refused();
                let told = "too many narrowed requests and pages at once; come again\n";
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, told);
                response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
                response
            }
            Refused::Broken => text(StatusCode::INTERNAL_SERVER_ERROR, "cannot render\n"),
        }
    }
}

/// Makes one body.
type Work = Box<dyn FnOnce() -> Segment + Send>;

/// Where narrowed requests and pages are rendered.
#[derive(Debug)]
pub(crate) struct Renders {
    /// One for each request that renders or waits.
    places: Arc<Semaphore>,
    /// Its clones share the limit.
    render: ConcurrencyLimit<Render>,
}

impl Renders {
    pub(crate) fn new() -> Renders {
        Renders {
            places: Arc::new(Semaphore::new(RENDERS + WAITING)),
            render: ServiceBuilder::new().concurrency_limit(RENDERS).service(Render),
        }
    }

    /// What `work` makes, when its turn has come.
    ///
    /// # Errors
    /// When there are too many, or it panicked.
    pub(crate) async fn run(
        &self,
        work: impl FnOnce() -> Segment + Send + 'static,
    ) -> Result<Segment, Refused> {
        let work: Work = Box::new(work);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(Refused::Busy);
        };
        let mut render = self.render.clone();
        let (result, wanted) = oneshot::channel();
        // A task of its own: when the client leaves, a rendering that runs still holds its place
        // until it has ended, so that coming and leaving cannot pile up threads.
        tokio::spawn(async move {
            if let Ok(render) = render.ready().await
                && !result.is_closed()
                && let Ok(segment) = render.call(work).await
            {
                // Whoever asked may have left meanwhile.
                drop(result.send(segment));
            }
            drop(place);
        });
        wanted.await.map_err(|_| Refused::Broken)
    }
}

/// Renders on the threads for blocking work.
#[derive(Debug, Clone, Copy)]
struct Render;

impl Service<Work> for Render {
    type Response = Segment;
    type Error = tokio::task::JoinError;
    type Future = JoinHandle<Segment>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, work: Work) -> Self::Future {
        tokio::task::spawn_blocking(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Condvar, Mutex};

    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static RAN: AtomicUsize = AtomicUsize::new(0);
    static OPEN: Mutex<bool> = Mutex::new(false);
    static OPENED: Condvar = Condvar::new();

    /// Runs until the gate opens; fails when more run than may.
    fn gated() -> Segment {
        assert!(RUNNING.fetch_add(1, SeqCst) < RENDERS);
        let gate = OPENED.wait_while(OPEN.lock().unwrap(), |open| !*open).unwrap();
        drop(gate);
        RUNNING.fetch_sub(1, SeqCst);
        RAN.fetch_add(1, SeqCst);
        Segment { len: 1, ..Segment::default() }
    }

    #[tokio::test]
    async fn two_render_sixteen_wait_the_next_is_refused_and_who_leaves_is_not_rendered_for() {
        let renders = Arc::new(Renders::new());
        let ask = || {
            let renders = Arc::clone(&renders);
            tokio::spawn(async move { renders.run(gated).await.map(|segment| segment.len) })
        };
        let asked: Vec<_> = (0..RENDERS + WAITING).map(|_| ask()).collect();
        while renders.places.available_permits() > 0 || RUNNING.load(SeqCst) < RENDERS {
            tokio::task::yield_now().await;
        }
        assert_eq!(renders.run(gated).await.map(|s| s.len), Err(Refused::Busy));
        for waiting in &asked {
            waiting.abort();
        }
        let mut left = 0;
        for asked in asked {
            left += usize::from(asked.await.is_err_and(|error| error.is_cancelled()));
        }
        assert_eq!(left, RENDERS + WAITING);
        assert_eq!(renders.places.available_permits(), 0, "who leaves gives no place back");
        *OPEN.lock().unwrap() = true;
        OPENED.notify_all();
        while renders.places.available_permits() < RENDERS + WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(RAN.load(SeqCst), RENDERS, "only those that ran already");
        assert_eq!(ask().await.unwrap(), Ok(1));
    }

    #[tokio::test]
    async fn a_rendering_that_panics_is_an_answer_too() {
        let renders = Renders::new();
        assert_eq!(renders.run(|| panic!("on purpose")).await.map(|s| s.len), Err(Refused::Broken));
        assert_eq!(renders.places.available_permits(), RENDERS + WAITING);
    }
}
