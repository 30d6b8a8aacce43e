//! The accept loop. Comes in: connections. Goes out: each of them with the router behind it, under
//! its time limits, and within TLS where `--web.config.file` says so. Never: more than
//! `--web.max-connections` that are kept, a connection that delays another one's accept.
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
use super::web_config::{Web, WebConfigError};
use super::{Shared, gate, router};
use crate::observe::Observe;
use crate::observe::serve::Closed;
use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address could not be taken.
    #[error("cannot listen on {address}; see --web.listen-address")]
    Listen {
        /// As configured.
        address: ListenAddress,
        /// What the system said.
        source: io::Error,
    },
    /// The file is wrong by now: it was checked with the other flags.
    #[error("cannot serve by --web.config.file {}", file.display())]
    WebConfig {
        /// As configured.
        file: PathBuf,
        /// What is wrong.
        source: WebConfigError,
    },
}

/// A socket that listens and takes nothing yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
    web: Arc<Web>,
}

/// Reads `--web.config.file` and takes the address of `--web.listen-address`. Needs a tokio runtime around it.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    let file = settings.config_file.as_deref();
    let web = Web::open(file).map_err(|source| BindError::WebConfig {
        file: file.map(ToOwned::to_owned).unwrap_or_default(),
        source,
    })?;
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
        bound.map_err(|source| BindError::Listen { address: settings.listen_address, source })?;
    Ok(Bound { listener, address, settings: settings.clone(), web: Arc::new(web) })
}

impl Bound {
    /// The address taken, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a plain request without a password is answered.
    pub fn is_open(&self) -> bool {
        let web = self.web.current();
        web.tls.is_none() && web.users.is_none()
    }

    /// Serves until `stop` is cancelled, then ends the connections. Returns when all are gone, at
    /// the latest `--web.shutdown-timeout` after the cancelling.
    pub async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        let observe = Arc::clone(&shared.observe);
        observe.listening(self.address, &shared.telemetry_path);
        let routes = router(Arc::clone(&shared));
        let following =
            Arc::clone(&self.web).follow(Arc::clone(&observe), shared.clock, stop.clone());
        tokio::spawn(following);
        let server = Server {
            router: gate::around(routes, Arc::clone(&self.web), shared),
            web: self.web,
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
                    // Within TLS it could only be said after a handshake.
                    if server.web.current().tls.is_none() {
                        refuse(stream);
                    }
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
    web: Arc<Web>,
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
        let observe = Arc::clone(&self.observe);
        let slot = Arc::clone(&place.slot);
        // Below TLS, so that the limits hold for the handshake, and what may no longer be sent does not
        // leave a buffer either.
        let guarded = Guarded::new(stream, Arc::clone(&slot), &self.limits);
        let tls = self.web.current().tls.clone();
        let closed = match tls {
            None => self.http(guarded, slot).await,
            Some(tls) => match self.handshake(guarded, tls, &slot).await {
                Ok(stream) => self.http(stream, slot).await,
                Err(closed) => closed,
            },
        };
        observe.connection_closed(closed);
        drop(place);
    }

    /// TLS, or why there is none. The time for it is that of a request's head.
    async fn handshake<S>(
        &self,
        stream: Guarded<S>,
        tls: Arc<ServerConfig>,
        slot: &Slot,
    ) -> Result<TlsStream<Guarded<S>>, Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaking = async {
            let (error, mut stream) =
                match TlsAcceptor::from(tls).accept(stream).into_fallible().await {
                    Ok(stream) => return Ok(stream),
                    Err(failed) => failed,
                };
            if let Some(ours) = slot.verdict() {
                return Err(ours);
            }
            if has_left(&error) {
                return Err(Closed::ClientGone);
            }
            self.observe.handshake_failed(&error);
            // What the client sent meanwhile is read: closed with it unread, the connection would be reset,
            // and the client might not hear why.
            let rest = async {
                stream.shutdown().await?;
                tokio::io::copy(&mut stream.take(LONGEST_REST), &mut tokio::io::sink()).await
            };
            drop(tokio::time::timeout(LINGER, rest).await);
            Err(Closed::Handshake)
        };
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Err(Closed::Stopped),
            () = slot.evicted() => Err(Closed::Evicted),
            // No answer is under way.
            () = self.stop.cancelled() => Err(Closed::Done),
            shaken = shaking => shaken,
        }
    }

    /// Requests and answers, until either side ends.
    async fn http<S>(self, stream: S, slot: Arc<Slot>) -> Closed
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
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
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                // To hyper the wait for the next request is part of reading its head; the limit for
                // the head itself is the guard's.
                .header_read_timeout(self.limits.idle)
                .max_header_size(HEAD_BYTES)
                .max_buf_size(READ_BUFFER)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        );
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                () = self.cut.cancelled() => return Closed::Stopped,
                () = slot.evicted() => return Closed::Evicted,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                ended = connection.as_mut() => return reason(ended, &slot),
            }
        }
    }
}

/// How long a client whose handshake failed has to hear why.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that are read of such a client.
const LONGEST_REST: u64 = 64 * 1024;

/// Whether the other side just went, as what only looks whether the port is open does.
fn has_left(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe)
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
