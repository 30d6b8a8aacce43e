//! HTTP/1.1 as a Go server with promhttp speaks it, in bytes. Comes in: request bytes, a page. Goes
//! out: what was asked, an answer's head and framed body. Never: a socket, a clock.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

/// Sizes of chunks, as a buffered writer of Go makes them when families do not fit; repeated.
const CHUNKS: [usize; 5] = [2108, 4096, 3585, 2048, 1770];
/// What follows the last chunk of data.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) what: What,
    pub(super) gzip: bool,
    /// The connection ends after the answer.
    pub(super) close: bool,
}

/// The kinds of request that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Metrics,
    Head,
    NotFound,
    Malformed,
}

/// Reads a request's head, up to and with the empty line.
pub(super) fn request(head: &[u8]) -> Request {
    let malformed = Request { what: What::Malformed, gzip: false, close: true };
    let Ok(text) = std::str::from_utf8(head) else { return malformed };
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or("").split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return malformed;
    };
    let path = target.split('?').next().unwrap_or("");
    let what = match (method, path) {
        ("GET", "/metrics") => What::Metrics,
        ("HEAD", "/metrics") => What::Head,
        _ => What::NotFound,
    };
    let mut request = Request { what, gzip: false, close: version != "HTTP/1.1" };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let has =
            |word: &str| value.split(',').any(|v| v.split(';').next().unwrap_or("").trim() == word);
        if name.eq_ignore_ascii_case("connection") {
            request.close |= has("close") || has("Close");
        } else if name.eq_ignore_ascii_case("accept-encoding") {
            request.gzip |= has("gzip");
        }
    }
    request
}

/// How an answer's body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    /// Of so many bytes, compressed.
    Gzip(usize),
    /// Of so many bytes.
    Length(usize),
}

/// An answer's head. `unix`: the node's clock, in seconds.
pub(super) fn head(status: &str, framing: Framing, close: bool, unix: f64) -> Vec<u8> {
    let mut out = String::with_capacity(256);
    let content = if status.starts_with("200") {
        "text/plain; version=0.0.4; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    };
    let since = Duration::try_from_secs_f64(unix).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ignored = write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: {content}\r\nDate: {}\r\n",
        httpdate::fmt_http_date(UNIX_EPOCH + since)
    );
    if close {
        out.push_str("Connection: close\r\n");
    }
    let _ignored = match framing {
        Framing::Chunked => write!(out, "Transfer-Encoding: chunked\r\n\r\n"),
        Framing::Gzip(length) => {
            write!(out, "Content-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n")
        }
        Framing::Length(length) => write!(out, "Content-Length: {length}\r\n\r\n"),
    };
    out.into_bytes()
}

/// A body in uneven chunks, the last one included.
pub(super) fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 128 + 64);
    let mut rest = body;
    for size in CHUNKS.iter().cycle() {
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        if chunk.is_empty() {
            break;
        }
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_for_what_makes_a_difference() {
        let asked = |text: &str| request(text.as_bytes());
        let plain = Request { what: What::Metrics, gzip: false, close: false };
        assert_eq!(asked("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), plain);
        assert_eq!(
            asked(
                "GET /metrics?a=b HTTP/1.1\r\nAccept-Encoding: br, gzip;q=1\r\nconnection: close\r\n\r\n"
            ),
            Request { gzip: true, close: true, ..plain }
        );
        assert!(asked("GET /metrics HTTP/1.0\r\n\r\n").close);
        assert_eq!(asked("GET / HTTP/1.1\r\n\r\n").what, What::NotFound);
        assert_eq!(asked("HEAD /metrics HTTP/1.1\r\n\r\n").what, What::Head);
        assert_eq!(asked("\r\n\r\n").what, What::Malformed);
    }

    #[test]
    fn chunks_are_uneven_and_end_with_the_last_one() {
        let framed = chunked(&[b'x'; 10_000]);
        let sizes: Vec<&[u8]> = framed.split(|b| *b == b'\n').filter(|l| l.len() < 10).collect();
        let sizes: Vec<_> = sizes.iter().map(|s| std::str::from_utf8(s).unwrap().trim()).collect();
        assert_eq!(sizes, ["83c", "1000", "e01", "d3", "0", "", ""]);
        assert_eq!(chunked(b""), LAST_CHUNK);
    }

    #[test]
    fn a_head_carries_the_date_of_its_node() {
        let head =
            String::from_utf8(head("200 OK", Framing::Gzip(7), true, 784_111_777.9)).unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\n"
        );
    }
}
