//! One listener a node. Comes in: connections. Goes out: pages as ipamd serves them, or whatever the
//! node's trouble makes of them; and, to the truth, each page that was served completely. Never: a
//! lock held across a wait, a connection that outlives its node.
//!
//! *When it cannot keep up*: connections wait in the kernel's queue, as they do on a node.

use super::node::Behaviour;
use super::truth::Truth;
use super::wire::{self, Framing, What};
use super::world::{Answer, World};
use crate::clock::Clock;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// ipamd's server closes a connection that is idle for so long.
const IDLE: Duration = Duration::from_secs(5);
/// A request's head; Go's limit is larger, scrapers send a few hundred bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// A node that never answers holds a connection for so long; every scraper has given up by then.
const NEVER: Duration = Duration::from_secs(120);
/// Bytes a second of a node that answers slowly: no page is through within a minute.
const DRIP: usize = 64;
/// Between two tries to listen again on an address that somebody else took.
const REBIND: Duration = Duration::from_millis(200);

/// What all listeners share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) world: World,
    pub(super) truth: Truth,
    pub(super) clock: Clock,
    /// Time that a node takes before it answers.
    pub(super) delay: Duration,
    pub(super) stop: CancellationToken,
}

/// Serves one place until the fleet stops; `open` says whether connections are accepted.
pub(super) async fn door(
    shared: Arc<Shared>,
    slot: usize,
    address: SocketAddr,
    mut listener: Option<TcpListener>,
    mut open: watch::Receiver<bool>,
) {
    let stop = shared.stop.clone();
    let mut stopped = std::pin::pin!(stop.cancelled());
    loop {
        let wanted = *open.borrow_and_update();
        if !wanted {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        tokio::select! {
            () = &mut stopped => return,
            changed = open.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = accept(listener.as_ref(), wanted) => {
                if let Some(stream) = accepted {
                    tokio::spawn(connection(shared.clone(), slot, stream));
                }
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>, wanted: bool) -> Option<TcpStream> {
    match listener {
        Some(listener) => match listener.accept().await {
            Ok((stream, _)) => Some(stream),
            // Out of files, most likely: others will close theirs.
            Err(_) => {
                tokio::time::sleep(REBIND).await;
                None
            }
        },
        None if wanted => {
            tokio::time::sleep(REBIND).await;
            None
        }
        None => std::future::pending().await,
    }
}

async fn connection(shared: Arc<Shared>, slot: usize, mut stream: TcpStream) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        // A connection that breaks is the scraper's affair.
        _ = serve(&shared, slot, &mut stream) => {}
    }
}

async fn serve(shared: &Shared, slot: usize, stream: &mut TcpStream) -> io::Result<()> {
    // Go's servers do so, too; the answer is written at once anyway.
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let Some(head) = read_head(stream, &mut buffer).await? else { return Ok(()) };
        if !shared.delay.is_zero() {
            tokio::time::sleep(shared.delay).await;
        }
        // The node may have left while the connection stood open.
        let Some(answer) = shared.world.answer(slot) else { return Ok(()) };
        let request = wire::request(&head);
        let unix = shared.clock.now().unix + answer.clock_offset;
        let plain = |status: &str, body: &str| {
            let mut out = wire::head(status, Framing::Length(body.len()), request.close, unix);
            out.extend_from_slice(body.as_bytes());
            out
        };
        match request.what {
            What::Malformed => {
                return stream.write_all(&plain("400 Bad Request", "400 Bad Request\n")).await;
            }
            What::NotFound => {
                stream.write_all(&plain("404 Not Found", "404 page not found\n")).await?;
            }
            What::Head => {
                let head = wire::head("200 OK", Framing::Chunked, request.close, unix);
                stream.write_all(&head).await?;
            }
            What::Metrics => {
                if !metrics(shared, stream, &answer, request.gzip, request.close, unix).await? {
                    return Ok(());
                }
            }
        }
        if request.close {
            return stream.shutdown().await;
        }
    }
}

/// Answers with the page, or as the node's trouble has it; false when the connection is to end.
async fn metrics(
    shared: &Shared,
    stream: &mut TcpStream,
    answer: &Answer,
    gzip: bool,
    close: bool,
    unix: f64,
) -> io::Result<bool> {
    let page = &answer.page;
    let chunked = |body: &[u8]| {
        let mut out = wire::head("200 OK", Framing::Chunked, close, unix);
        out.extend_from_slice(&wire::chunked(body));
        out
    };
    match answer.behaviour {
        Behaviour::Timeout => {
            tokio::time::sleep(NEVER).await;
            return Ok(false);
        }
        Behaviour::Http503 => {
            let body = "no metrics today\n";
            let mut out =
                wire::head("503 Service Unavailable", Framing::Length(body.len()), close, unix);
            out.extend_from_slice(body.as_bytes());
            stream.write_all(&out).await?;
            return Ok(true);
        }
        Behaviour::Garbage => {
            stream.write_all(&chunked(garbage(page.version))).await?;
            return Ok(true);
        }
        Behaviour::Truncate => {
            let whole = chunked(&page.body);
            // Every other time only the last chunk is missing: the hardest cut to notice.
            let keep = whole.len() - wire::LAST_CHUNK.len();
            let keep = if page.version.is_multiple_of(2) { keep } else { keep / 2 };
            stream.write_all(&whole[..keep]).await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        Behaviour::Slow => {
            for piece in chunked(&page.body).chunks(DRIP) {
                stream.write_all(piece).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        // A connection that came in before the door closed is served still.
        Behaviour::Ok | Behaviour::Nan | Behaviour::Refuse => {
            let out = if gzip { compressed(&page.body, close, unix)? } else { chunked(&page.body) };
            stream.write_all(&out).await?;
        }
    }
    shared.truth.served(page, shared.clock.now().unix);
    Ok(true)
}

fn compressed(body: &[u8], close: bool, unix: f64) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    let body = encoder.finish()?;
    let mut out = wire::head("200 OK", Framing::Gzip(body.len()), close, unix);
    out.extend_from_slice(&body);
    Ok(out)
}

fn garbage(version: u64) -> &'static [u8] {
    const KINDS: [&[u8]; 4] = [
        b"<html><body><h1>It works!</h1></body></html>\n",
        b"awscni_total_ip_addresses ten\n",
        b"\x00\xff\xfe\x80 binary \x01\x02\n",
        b"awscni_aws_api_error_count{api=\"CreateNetworkInterface\",error=\"Thro",
    ];
    KINDS[(version % KINDS.len() as u64) as usize]
}

/// The next request's head; `None` when the client is done, idle for too long, or asks too much.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            return Ok(Some(std::mem::replace(buffer, rest)));
        }
        if buffer.len() > HEAD_LIMIT {
            return Ok(None);
        }
        match tokio::time::timeout(IDLE, stream.read_buf(buffer)).await {
            Ok(Ok(0)) | Err(_) => return Ok(None),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}
