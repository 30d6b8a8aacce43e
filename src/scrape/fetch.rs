//! One exchange with one node: connect, one GET, the whole answer. Comes in: a target, buffers. Goes
//! out: the page in the buffers, or the outcome with its reason. Never: a second try, a redirect, a
//! connection that is kept: ipamd closes idle ones after 5 s, before the next scrape.
//!
//! After a whole answer the connection is reset instead of closed in order (zero linger): nothing is
//! in flight any more, and neither side keeps a TIME_WAIT entry, nor the exporter's node a tracked
//! connection for two minutes. At 100,000 nodes and 30 s these would be 400,000 entries.

use super::answer::{AnswerError, AnswerReader, ContentEncoding, inflate};
use crate::model::{Outcome, Target};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// Bytes asked for at once: a page of 25 KB comes in one or two reads.
const READ_BUFFER: usize = 32 * 1024;

/// What a scrape works in; kept from scrape to scrape.
#[derive(Debug)]
pub(super) struct Buffers {
    reader: AnswerReader,
    request: Vec<u8>,
    sent: Vec<u8>,
    inflated: Vec<u8>,
    gzip: bool,
    max_body: usize,
}

/// A whole answer; its page is in the buffers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetched {
    /// The answer's `Date` in seconds since 1970.
    pub(super) date: Option<f64>,
    /// Bytes of the body as sent.
    pub(super) wire_bytes: usize,
    encoding: ContentEncoding,
}

/// A scrape that brought no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    /// The API server refuses us its pod proxy.
    pub(super) denied: bool,
}

impl Failure {
    pub(super) fn new(outcome: Outcome, reason: String) -> Failure {
        Failure { outcome, reason, denied: false }
    }
}

impl Buffers {
    pub(super) fn new(gzip: bool, max_body: usize) -> Buffers {
        Buffers {
            reader: AnswerReader::new(max_body),
            request: Vec::new(),
            sent: Vec::new(),
            inflated: Vec::new(),
            gzip,
            max_body,
        }
    }

    /// The page of the answer just fetched.
    pub(super) fn page(&self, fetched: &Fetched) -> &[u8] {
        match fetched.encoding {
            ContentEncoding::Identity => &self.sent,
            ContentEncoding::Gzip => &self.inflated,
        }
    }

    /// Where a page is put that another route brings.
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.sent.clear();
        &mut self.sent
    }

    /// The answer whose page was put at [`Buffers::begin`].
    pub(super) fn whole(&self, date: Option<f64>) -> Fetched {
        Fetched { date, wire_bytes: self.sent.len(), encoding: ContentEncoding::Identity }
    }

    /// Bytes that a page may have.
    pub(super) fn max_body(&self) -> usize {
        self.max_body
    }

    /// Gives back what one giant page made the buffers grow to.
    pub(super) fn trim(&mut self) {
        /// Ten times a usual page.
        const KEPT: usize = 256 * 1024;
        for buffer in [&mut self.sent, &mut self.inflated] {
            if buffer.capacity() > KEPT {
                buffer.clear();
                buffer.shrink_to(KEPT);
            }
        }
    }
}

/// Fetches a target's page into the buffers. The caller sets the deadline.
pub(super) async fn fetch(target: &Target, buffers: &mut Buffers) -> Result<Fetched, Failure> {
    let mut stream = connect(target).await?;
    write_request(target, buffers);
    stream.write_all(&buffers.request).await.map_err(|e| broken(&e, "while sending"))?;
    let Buffers { reader, sent, inflated, max_body, .. } = buffers;
    reader.reset();
    sent.clear();
    loop {
        let fed = poll_fn(|cx| {
            // On the stack: hundreds of scrapes wait for their nodes, and one at a time reads.
            let mut input = [const { MaybeUninit::uninit() }; READ_BUFFER];
            let mut input = ReadBuf::uninit(&mut input);
            let read = ready!(Pin::new(&mut stream).poll_read(cx, &mut input));
            Poll::Ready(match (read, input.filled()) {
                (Ok(()), []) => Err(refused(&reader.end())),
                (Ok(()), read) => reader.feed(read, sent).map_err(|error| refused(&error)),
                (Err(error), _) if reader.has_begun() => {
                    let reason = format!("{}: {error}", reader.end());
                    Err(Failure::new(Outcome::Truncated, reason))
                }
                (Err(error), _) => Err(broken(&error, "before an answer")),
            })
        });
        if let Some(head) = fed.await? {
            // Fails only on a dead socket, which is closed anyway.
            drop(stream.set_zero_linger());
            drop(stream);
            if head.encoding == ContentEncoding::Gzip {
                inflate(sent, *max_body, inflated).map_err(|e| refused(&e))?;
            }
            let wire_bytes = sent.len();
            return Ok(Fetched { date: head.date, wire_bytes, encoding: head.encoding });
        }
    }
}

async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let connected = match target.host.parse::<IpAddr>() {
        Ok(ip) => TcpStream::connect(SocketAddr::new(ip, target.port)).await,
        Err(_) => TcpStream::connect((&*target.host, target.port)).await,
    };
    connected.map_err(|error| broken(&error, "while connecting"))
}

fn write_request(target: &Target, buffers: &mut Buffers) {
    let request = &mut buffers.request;
    request.clear();
    request.extend_from_slice(b"GET ");
    request.extend_from_slice(target.path.as_bytes());
    request.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    request.extend_from_slice(target.address().as_bytes());
    request.extend_from_slice(
        concat!("\r\nUser-Agent: vpc-cni-exporter/", env!("CARGO_PKG_VERSION")).as_bytes(),
    );
    request.extend_from_slice(b"\r\nAccept: text/plain;version=0.0.4\r\nConnection: close\r\n");
    if buffers.gzip {
        request.extend_from_slice(b"Accept-Encoding: gzip\r\n");
    }
    request.extend_from_slice(b"\r\n");
}

fn refused(error: &AnswerError) -> Failure {
    Failure::new(error.outcome(), error.to_string())
}

fn broken(error: &std::io::Error, when: &str) -> Failure {
    let outcome = match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::TimedOut => Outcome::Timeout,
        _ => Outcome::Unreachable,
    };
    /// EMFILE and ENFILE: the exporter's own trouble, not the node's.
    const NO_FILE: [i32; 2] = [24, 23];
    let hint = match error.raw_os_error() {
        Some(code) if NO_FILE.contains(&code) => {
            "; raise the limit of open files or lower --scrape.concurrency"
        }
        _ => "",
    };
    Failure::new(outcome, format!("{when}: {error}{hint}"))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
