//! The accept loop. Comes in: connections. Goes out: each of them with the router behind it, under
//! its time limits. Never: more than `--web.max-connections` that are kept, a connection that
//! delays another one's accept.
//!
//! # When it cannot keep up
//! At the cap the connection that has been idle longest makes room. When all are answering, the new
//! one gets a canned 503 and is closed, unread.
//!
//! # Stopping
//! The socket closes first; idle connections end, answers under way have
//! `--web.shutdown-timeout`; the rest is cut and counted.

use super::guard::{BusyBody, Guarded, Limits, Place, Slot, Slots};
use super::settings::{ListenAddress, Settings};
use super::{Shared, router};
use crate::observe::Observe;
use crate::observe::serve::Closed;
use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// The address could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; see --web.listen-address")]
pub struct BindError {
    /// As configured.
    pub address: ListenAddress,
    /// What the system said.
    pub source: io::Error,
}

/// A socket that listens and takes nothing yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

/// Takes the address of `--web.listen-address`. Needs a tokio runtime around it.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    let ListenAddress { host, port } = settings.listen_address;
    let taken = match host {
        Some(host) => listen(SocketAddr::new(host, port)),
        // One IPv6 socket takes IPv4 as well; hosts without IPv6 have IPv4 alone.
        None => match listen(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)) {
            Err(error) if !is_final(&error) => {
                listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
            }
            taken => taken,
        },
    };
    let bound = taken.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) =
        bound.map_err(|source| BindError { address: settings.listen_address, source })?;
    Ok(Bound { listener, address, settings: settings.clone() })
}

impl Bound {
    /// The address taken, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then ends the connections. Returns when all are gone, at
    /// the latest `--web.shutdown-timeout` after the cancelling.
    pub async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        let observe = Arc::clone(&shared.observe);
        observe.listening(self.address, &shared.telemetry_path);
        let server = Server {
            router: router(shared),
            limits: self.settings.limits,
            observe: Arc::clone(&observe),
            stop,
            cut: CancellationToken::new(),
        };
        let cap = self.settings.max_connections.get();
        let slots = Slots::new(cap, server.limits.evict);
        let tasks = TaskTracker::new();
        while let Some(stream) = server.accept(&self.listener).await {
            match slots.take() {
                Some(place) => {
                    tasks.spawn(server.clone().connection(stream, place));
                }
                None => {
                    observe.connection_refused(cap);
                    refuse(stream);
                }
            }
        }
        drop(self.listener);
        tasks.close();
        let mut dropped = 0;
        if tokio::time::timeout(self.settings.shutdown_timeout, tasks.wait()).await.is_err() {
            dropped = tasks.len();
            server.cut.cancel();
            tasks.wait().await;
        }
        observe.serving_stopped(dropped);
    }
}

/// Connections that the kernel keeps for us while the loop is busy.
const BACKLOG: u32 = 1024;

/// What the kernel holds per connection of an answer that is not read, in bytes: it counts against
/// the container's memory, and its own choice goes up to 4 MiB for each.
const SEND_BUFFER: u32 = 256 * 1024;

/// Pause after an accept that failed for want of descriptors or memory: such an error stays until
/// something else ends, and without a pause the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of request line and headers together. A scraper sends some 300.
const HEAD_BYTES: usize = 16 * 1024;

/// hyper's buffer for one connection's reads: room for a head and a little pipelining.
const READ_BUFFER: usize = 2 * HEAD_BYTES;

/// What a connection over the cap is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\n\
    Retry-After: 5\r\nConnection: close\r\n\r\ntoo many connections\n";

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether IPv4 would fare no better.
fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// Best effort: a socket that is new has room for one small packet.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        drop(stream.write(FULL));
    }
}

/// What every connection needs.
#[derive(Debug, Clone)]
struct Server {
    router: Router,
    limits: Limits,
    observe: Arc<Observe>,
    /// Finish what is under way.
    stop: CancellationToken,
    /// Finish nothing.
    cut: CancellationToken,
}

impl Server {
    /// The next connection; `None` once the server has to stop.
    async fn accept(&self, listener: &TcpListener) -> Option<TcpStream> {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Answers are written whole; waiting for more to send would only delay them.
                    // A socket that is gone already says so again when it is read.
                    drop(stream.set_nodelay(true));
                    return Some(stream);
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    self.observe.accept_failed(&error);
                    let pause = tokio::time::timeout(ACCEPT_PAUSE, self.stop.cancelled());
                    drop(pause.await);
                }
            }
        }
    }

    /// One connection from its first byte to its end, over any stream.
    async fn connection<S>(self, stream: S, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.observe.connection_opened();
        let slot = Arc::clone(&place.slot);
        let router = self.router;
        let busy = Arc::clone(&slot);
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let answering = busy.begin();
            let answer = router.clone().oneshot(request.map(Body::new));
            async move {
                let answer = answer.await?;
                answering.under(answer.extensions().get());
                Ok::<_, Infallible>(answer.map(|body| BusyBody::new(body, answering)))
            }
        });
        let guarded = Guarded::new(stream, Arc::clone(&slot), &self.limits);
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                // To hyper the wait for the next request is part of reading its head; the limit for
                // the head itself is the guard's.
                .header_read_timeout(self.limits.idle)
                .max_header_size(HEAD_BYTES)
                .max_buf_size(READ_BUFFER)
                .serve_connection(TokioIo::new(guarded), TowerToHyperService::new(service))
        );
        let mut stopping = false;
        let closed = loop {
            tokio::select! {
                biased;
                () = self.cut.cancelled() => break Closed::Stopped,
                () = slot.evicted() => break Closed::Evicted,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                ended = connection.as_mut() => break reason(ended, &slot),
            }
        };
        self.observe.connection_closed(closed);
        drop(place);
    }
}

/// A connection that was gone before it was taken is no trouble of the listener's.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
    )
}

fn reason(ended: hyper::Result<()>, slot: &Slot) -> Closed {
    match (slot.verdict(), ended) {
        (Some(ours), _) => ours,
        (None, Err(error)) if error.is_timeout() => Closed::Idle,
        (None, Err(error)) if error.is_incomplete_message() => Closed::ClientGone,
        (None, Err(error)) if error.is_parse() => Closed::BadRequest,
        (None, _) if slot.is_busy() => Closed::ClientGone,
        (None, _) => Closed::Done,
    }
}
