//! Events of the stage `serve`: what happened comes in, one log line and one count go out. Comes
//! in: requests, connections, published bodies. Goes out: families below `vpccni_exporter_http_…`,
//! `…_body_…` and `…_view_…`, and a line where a person should look. Never: a client's address or
//! a request's path as a label value.

use super::limit::Limiter;
use super::{Observe, counters, gauge, registered};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use std::net::SocketAddr;
use std::time::Duration;

/// What a request asked for. The closed set behind the label `path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// The exposition, wherever `--web.telemetry-path` puts it.
    Metrics,
    /// The status page.
    Cluster,
    /// The page of a node.
    Node,
    /// What the pages use.
    Static,
    /// `/api/v1/status`.
    Status,
    /// `/api/v1/nodes`.
    Nodes,
    /// `/healthz`.
    Healthz,
    /// `/livez`.
    Livez,
    /// `/readyz`.
    Readyz,
    /// `/-/healthy`.
    DashHealthy,
    /// `/-/ready`.
    DashReady,
    /// Anything else.
    Other,
}

impl Path {
    /// Every path.
    pub const ALL: [Path; 12] = [
        Path::Metrics,
        Path::Cluster,
        Path::Node,
        Path::Static,
        Path::Status,
        Path::Nodes,
        Path::Healthz,
        Path::Livez,
        Path::Readyz,
        Path::DashHealthy,
        Path::DashReady,
        Path::Other,
    ];

    /// The label value; that of [`Path::Metrics`] does not follow the flag.
    pub fn as_str(self) -> &'static str {
        match self {
            Path::Metrics => "/metrics",
            Path::Cluster => "/",
            Path::Node => "/node/{name}",
            Path::Static => "/static/{file}",
            Path::Status => "/api/v1/status",
            Path::Nodes => "/api/v1/nodes",
            Path::Healthz => "/healthz",
            Path::Livez => "/livez",
            Path::Readyz => "/readyz",
            Path::DashHealthy => "/-/healthy",
            Path::DashReady => "/-/ready",
            Path::Other => "other",
        }
    }

    /// Whether a request's path is this one.
    pub fn is(self, path: &str) -> bool {
        match self.as_str().split_once('{') {
            // One more segment, which is not empty.
            Some((before, _)) => path
                .strip_prefix(before)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
            None => self.as_str() == path,
        }
    }
}

/// Why a connection or a request was turned away. The closed set behind the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `--web.max-connections` are open and all of them are answering.
    MaxConnections,
    /// The process could not take a connection: most often it has no file descriptor left.
    Accept,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Refusal; 2] = [Refusal::MaxConnections, Refusal::Accept];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::MaxConnections => "max_connections",
            Refusal::Accept => "accept",
        }
    }
}

/// How a connection ended. The closed set behind the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// By the client between two requests, or by either side after an answer.
    Done,
    /// By us: no request for the idle time.
    Idle,
    /// By us: it was the longest idle one when `--web.max-connections` was reached.
    Evicted,
    /// By us: no whole request head in time.
    HeadTimeout,
    /// By us: the client did not take an answer in time.
    WriteTimeout,
    /// By the client, while an answer was due or under way.
    ClientGone,
    /// By us: not a request that we read.
    BadRequest,
    /// By us: the process stopped, and `--web.shutdown-timeout` ran out.
    Stopped,
    /// By us: another process may serve the data from now on.
    Lapsed,
    /// By either side: no TLS that both agree to, or a certificate that one of them refuses.
    Handshake,
}

impl Closed {
    /// Every reason.
    pub const ALL: [Closed; 10] = [
        Closed::Done,
        Closed::Idle,
        Closed::Evicted,
        Closed::HeadTimeout,
        Closed::WriteTimeout,
        Closed::ClientGone,
        Closed::BadRequest,
        Closed::Stopped,
        Closed::Lapsed,
        Closed::Handshake,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Closed::Done => "done",
            Closed::Idle => "idle",
            Closed::Evicted => "evicted",
            Closed::HeadTimeout => "head_timeout",
            Closed::WriteTimeout => "write_timeout",
            Closed::ClientGone => "client_gone",
            Closed::BadRequest => "bad_request",
            Closed::Stopped => "stopped",
            Closed::Lapsed => "lapsed",
            Closed::Handshake => "handshake",
        }
    }
}

/// Sizes of one prepared scope, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BodySize {
    /// As text.
    pub identity: u64,
    /// As deflate, without the member's frame.
    pub gzip: u64,
}

/// Identity bytes of the cluster and node scopes together from which on every publishing warns:
/// common scrapers cap a body at 32 MiB, and some drop all of it without a word.
pub const LARGE_BODY: u64 = 16 * 1024 * 1024;

/// Repeated warnings of one cause are this far apart at least.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// From a probe's microseconds to a body that took all of a scraper's patience.
const REQUEST_BUCKETS: [f64; 9] = [0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

/// The metrics of this stage.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    request_seconds: Histogram,
    connections: IntGauge,
    refused: IntCounterVec,
    closed: IntCounterVec,
    renders_refused: IntCounter,
    body_bytes: GaugeVec,
    view_age: Gauge,
    view_publish_seconds: Gauge,
    view_generation: Gauge,
    large_body: Limiter,
    accept: Limiter,
    full: Limiter,
}

fn body_bytes(registry: &Registry) -> GaugeVec {
    let opts = Opts::new(
        "vpccni_exporter_body_bytes",
        "Size of the prepared bodies in bytes, by scope and encoding; 0 before the first view.",
    );
    let sizes = registered(registry, GaugeVec::new(opts, &["scope", "encoding"]));
    for scope in ["cluster", "node"] {
        for encoding in ["identity", "gzip"] {
            sizes.with_label_values(&[scope, encoding]);
        }
    }
    sizes
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Metrics {
        let float = |name, help| registered(registry, Gauge::with_opts(Opts::new(name, help)));
        let warnings = || Limiter::new(1, WARN_EVERY);
        let metrics = Metrics {
            requests: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "vpccni_exporter_http_requests_total",
                        "Requests answered, by path and status code.",
                    ),
                    &["path", "code"],
                ),
            ),
            request_seconds: registered(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "vpccni_exporter_http_request_duration_seconds",
                        "Seconds from a request's head to the head of its answer.",
                    )
                    .buckets(REQUEST_BUCKETS.to_vec()),
                ),
            ),
            connections: gauge(
                registry,
                "vpccni_exporter_http_connections",
                "Connections that are open; the cap is --web.max-connections.",
            ),
            refused: counters(
                registry,
                "vpccni_exporter_http_connections_refused_total",
                "Connections that were turned away, by reason.",
                "reason",
            ),
            closed: counters(
                registry,
                "vpccni_exporter_http_connections_closed_total",
                "Connections that ended, by reason.",
                "reason",
            ),
            renders_refused: registered(
                registry,
                IntCounter::new(
                    "vpccni_exporter_http_renders_refused_total",
                    "Narrowed requests answered with 503 because too many were waiting.",
                ),
            ),
            body_bytes: body_bytes(registry),
            view_age: float(
                "vpccni_exporter_view_age_seconds",
                "Seconds since the served view was published; NaN before the first.",
            ),
            view_publish_seconds: float(
                "vpccni_exporter_view_publish_duration_seconds",
                "Seconds that the last publishing took: view, bodies and compression.",
            ),
            view_generation: float(
                "vpccni_exporter_view_generation",
                "Changes (scrapes, targets) that went into the served view; 0 before the first.",
            ),
            large_body: warnings(),
            accept: warnings(),
            full: warnings(),
        };
        // A counter that is born at 1 never shows an increase: the children exist from the start.
        for path in Path::ALL {
            let usual = if path == Path::Other { "404" } else { "200" };
            metrics.requests.with_label_values(&[path.as_str(), usual]);
        }
        for reason in Refusal::ALL {
            metrics.refused.with_label_values(&[reason.as_str()]);
        }
        for reason in Closed::ALL {
            metrics.closed.with_label_values(&[reason.as_str()]);
        }
        metrics.view_age.set(f64::NAN);
        metrics
    }
}

impl Observe {
    /// The server listens.
    pub fn listening(&self, address: SocketAddr, telemetry_path: &str) {
        tracing::info!(%address, telemetry_path, "listening for HTTP");
    }

    /// A request was answered. `seconds` from its head to the answer's head.
    pub fn request(&self, path: Path, code: u16, seconds: f64) {
        tracing::debug!(path = path.as_str(), code, seconds, "request answered");
        let metrics = &self.serve;
        metrics
            .requests
            .with_label_values(&[path.as_str(), itoa::Buffer::new().format(code)])
            .inc();
        metrics.request_seconds.observe(seconds);
    }

    /// A connection was taken.
    pub fn connection_opened(&self) {
        self.serve.connections.inc();
    }

    /// A connection that was taken ended.
    pub fn connection_closed(&self, reason: Closed) {
        if !matches!(reason, Closed::Done | Closed::Idle) {
            tracing::debug!(reason = reason.as_str(), "HTTP connection ended early");
        }
        self.serve.connections.dec();
        self.serve.closed.with_label_values(&[reason.as_str()]).inc();
    }

    /// Connections that are open.
    pub fn connections(&self) -> i64 {
        self.serve.connections.get()
    }

    /// A connection was turned away at the cap.
    pub fn connection_refused(&self, cap: usize) {
        self.serve.refused.with_label_values(&[Refusal::MaxConnections.as_str()]).inc();
        if let Some(unsaid) = self.serve.full.allow() {
            tracing::warn!(
                cap,
                unsaid,
                "connection refused: all connections of --web.max-connections are answering"
            );
        }
    }

    /// The listener had an error that is not one connection's own.
    pub fn accept_failed(&self, error: &std::io::Error) {
        self.serve.refused.with_label_values(&[Refusal::Accept.as_str()]).inc();
        if let Some(unsaid) = self.serve.accept.allow() {
            tracing::warn!(%error, unsaid, "cannot accept connections; is the limit of open files reached?");
        }
    }

    /// A narrowed request was turned away because too many were waiting.
    pub fn render_refused(&self) {
        tracing::debug!("narrowed request answered with 503: too many are waiting");
        self.serve.renders_refused.inc();
    }

    /// The bodies of a view are served from now on.
    pub fn published(&self, seconds: f64, cluster: BodySize, node: BodySize, generation: u64) {
        let metrics = &self.serve;
        metrics.view_publish_seconds.set(seconds);
        metrics.view_generation.set(generation as f64);
        for (scope, size) in [("cluster", cluster), ("node", node)] {
            for (encoding, bytes) in [("identity", size.identity), ("gzip", size.gzip)] {
                metrics.body_bytes.with_label_values(&[scope, encoding]).set(bytes as f64);
            }
        }
        let bytes = cluster.identity + node.identity;
        tracing::debug!(generation, seconds, bytes, "view published");
        if bytes > LARGE_BODY && metrics.large_body.allow().is_some() {
            tracing::warn!(
                bytes,
                warned_from = LARGE_BODY,
                "the body of /metrics is large, and some scrapers drop such a body whole: choose \
                 less with --node.detail or --node.deny, or scrape it in parts with ?shard=i/N"
            );
        }
    }

    /// Called before the registry is gathered: the view's age as of now, `None` before the first.
    pub fn view_age(&self, seconds: Option<f64>) {
        self.serve.view_age.set(seconds.unwrap_or(f64::NAN));
    }

    /// The server has stopped; `dropped` connections were still answering.
    pub fn serving_stopped(&self, dropped: usize) {
        if dropped == 0 {
            tracing::info!("HTTP server stopped");
        } else {
            tracing::warn!(
                dropped,
                "HTTP server stopped; requests were cut after --web.shutdown-timeout"
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the values are exact")]
mod tests {
    use super::*;

    /// The value of the one sample with these label values, in the order of label names.
    fn value(observe: &Observe, name: &str, labels: &[&str]) -> f64 {
        let families = observe.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = family
            .get_metric()
            .iter()
            .find(|m| m.get_label().iter().map(|l| l.value()).eq(labels.iter().copied()))
            .unwrap();
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    #[test]
    fn every_reason_and_path_is_there_before_it_happens() {
        let observe = Observe::new();
        for path in Path::ALL {
            let code = if path == Path::Other { "404" } else { "200" };
            let labels = [code, path.as_str()];
            assert_eq!(value(&observe, "vpccni_exporter_http_requests_total", &labels), 0.0);
        }
        for reason in Closed::ALL {
            let name = "vpccni_exporter_http_connections_closed_total";
            assert_eq!(value(&observe, name, &[reason.as_str()]), 0.0);
        }
        for reason in Refusal::ALL {
            let name = "vpccni_exporter_http_connections_refused_total";
            assert_eq!(value(&observe, name, &[reason.as_str()]), 0.0);
        }
    }

    #[test]
    fn events_move_their_own_counters() {
        let observe = Observe::new();
        observe.request(Path::Readyz, 503, 0.001);
        assert_eq!(
            value(&observe, "vpccni_exporter_http_requests_total", &["503", "/readyz"]),
            1.0
        );
        observe.connection_opened();
        observe.connection_opened();
        observe.connection_closed(Closed::ClientGone);
        assert_eq!(observe.connections(), 1);
        let closed = "vpccni_exporter_http_connections_closed_total";
        assert_eq!(value(&observe, closed, &["client_gone"]), 1.0);
        observe.connection_refused(512);
        let refused = "vpccni_exporter_http_connections_refused_total";
        assert_eq!(value(&observe, refused, &["max_connections"]), 1.0);
        observe.render_refused();
        assert_eq!(value(&observe, "vpccni_exporter_http_renders_refused_total", &[]), 1.0);
    }

    #[test]
    fn published_sizes_are_told_by_scope_and_encoding() {
        let observe = Observe::new();
        let cluster = BodySize { identity: 10, gzip: 4 };
        let node = BodySize { identity: LARGE_BODY, gzip: 7 };
        observe.published(0.25, cluster, node, 3);
        let bytes =
            |encoding, scope| value(&observe, "vpccni_exporter_body_bytes", &[encoding, scope]);
        assert_eq!(bytes("identity", "cluster"), 10.0);
        assert_eq!(bytes("gzip", "cluster"), 4.0);
        assert_eq!(bytes("identity", "node"), LARGE_BODY as f64);
        assert_eq!(bytes("gzip", "node"), 7.0);
        assert_eq!(value(&observe, "vpccni_exporter_view_generation", &[]), 3.0);
        assert_eq!(value(&observe, "vpccni_exporter_view_publish_duration_seconds", &[]), 0.25);
        assert!(
            observe.serve.large_body.allow().is_none(),
            "over 16 MiB is warned of, once a minute"
        );
    }

    #[test]
    fn the_age_of_the_view_is_nan_until_there_is_one() {
        let observe = Observe::new();
        assert!(value(&observe, "vpccni_exporter_view_age_seconds", &[]).is_nan());
        observe.view_age(Some(4.5));
        assert_eq!(value(&observe, "vpccni_exporter_view_age_seconds", &[]), 4.5);
    }
}
