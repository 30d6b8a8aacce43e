//! Exchanges over real sockets with a server that misbehaves byte by byte.

use super::*;
use crate::model::Source;
use std::io::Write;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const MAX: usize = 64 * 1024;

/// Far over what anything here takes: a test that hangs fails.
const GUARD: Duration = Duration::from_secs(30);

/// What the server does once it has said its piece.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Reset,
    /// Waits for the client's end and tells how it ended.
    Wait,
}

/// How the client's side ended, seen from the server, and what it had asked.
#[derive(Debug, PartialEq)]
struct Seen {
    request: String,
    reset: bool,
}

/// Answers one request: each piece in a write of its own.
async fn server(pieces: Vec<Vec<u8>>, then: Then) -> (Target, JoinHandle<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target("127.0.0.1", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "{request:?}");
        }
        for piece in pieces {
            // The client may have had enough.
            if stream.write_all(&piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut reset = false;
        match then {
            Then::Close => {}
            Then::Reset => stream.set_zero_linger().unwrap(),
            Then::Wait => {
                reset = stream.read_u8().await.unwrap_err().kind() == ErrorKind::ConnectionReset
            }
        }
        Seen { request: String::from_utf8(request).unwrap(), reset }
    });
    (target, serving)
}

fn target(host: &str, port: u16) -> Target {
    Target::new("n", host, port, "/metrics", Source::Static)
}

async fn exchange(pieces: Vec<Vec<u8>>, then: Then) -> (Result<Vec<u8>, Failure>, Seen) {
    let (target, serving) = server(pieces, then).await;
    let mut buffers = Buffers::new(false, MAX);
    let fetched = timeout(GUARD, fetch(&target, &mut buffers)).await.unwrap();
    let page = fetched.map(|fetched| buffers.page(&fetched).to_vec());
    (page, timeout(GUARD, serving).await.unwrap().unwrap())
}

async fn answered(answer: &str, then: Then) -> Result<String, (Outcome, String)> {
    let (page, _) = exchange(vec![answer.as_bytes().to_vec()], then).await;
    page.map(|page| String::from_utf8(page).unwrap()).map_err(|f| (f.outcome, f.reason))
}

async fn outcome(answer: &str, then: Then) -> Outcome {
    answered(answer, then).await.unwrap_err().0
}

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_whole_answer_is_one_get_and_ends_in_a_reset_that_leaves_no_time_wait() {
    let answer = format!("{CHUNKED}4\r\na 1\n\r\n0\r\n\r\n");
    let (page, seen) = exchange(vec![answer.into_bytes()], Then::Wait).await;
    assert_eq!(page.unwrap(), b"a 1\n");
    assert!(seen.reset);
    let lines: Vec<&str> = seen.request.split("\r\n").collect();
    assert_eq!(lines[0], "GET /metrics HTTP/1.1");
    assert!(lines[1].starts_with("Host: 127.0.0.1:"), "{}", lines[1]);
    assert_eq!(
        lines[2..],
        [
            concat!("User-Agent: vpc-cni-exporter/", env!("CARGO_PKG_VERSION")),
            "Accept: text/plain;version=0.0.4",
            "Connection: close",
            "",
            ""
        ]
    );
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_read_whole() {
    let answer = format!("{CHUNKED}4\r\na 1\n\r\n4\r\nb 2\n\r\n0\r\nTrailer: x\r\n\r\n");
    let pieces = answer.bytes().map(|b| vec![b]).collect();
    let (page, _) = exchange(pieces, Then::Close).await;
    assert_eq!(page.unwrap(), b"a 1\nb 2\n");
}

#[tokio::test]
async fn a_page_larger_than_the_read_buffer_is_read_whole() {
    let body = "a 1\n".repeat(15_000);
    assert!(body.len() > READ_BUFFER);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(answered(&answer, Then::Close).await, Ok(body));
}

#[tokio::test]
async fn an_answer_that_ends_mid_line_is_whole_and_for_the_parser_to_refuse() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na 1";
    assert_eq!(answered(answer, Then::Close).await, Ok("a 1".to_owned()));
}

#[tokio::test]
async fn an_end_before_the_end_is_truncated() {
    let cut = format!("{CHUNKED}4\r\na 1\n\r\n");
    assert_eq!(outcome(&cut, Then::Close).await, Outcome::Truncated);
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n";
    assert_eq!(outcome(short, Then::Close).await, Outcome::Truncated);
    let endless = "HTTP/1.1 200 OK\r\n\r\na 1\n";
    assert_eq!(outcome(endless, Then::Close).await, Outcome::Truncated);
    let (kind, reason) = answered("", Then::Close).await.unwrap_err();
    assert_eq!(kind, Outcome::Truncated);
    assert_eq!(reason, "the answer was cut off: the connection ended without one");
}

#[tokio::test]
async fn a_reset_is_truncated_within_an_answer_and_unreachable_before_one() {
    // The server resets only once the client has its bytes: it is the client's next read that fails.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target("127.0.0.1", listener.local_addr().unwrap().port());
    for (said, expected) in [(CHUNKED, Outcome::Truncated), ("", Outcome::Unreachable)] {
        let mut buffers = Buffers::new(false, MAX);
        let fetching = fetch(&target, &mut buffers);
        let breaking = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(said.as_bytes()).await.unwrap();
            // One thread: the client reads what is there before it is reset.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.set_zero_linger().unwrap();
        };
        let (fetched, ()) =
            timeout(GUARD, async { tokio::join!(fetching, breaking) }).await.unwrap();
        let failure = fetched.unwrap_err();
        assert_eq!(failure.outcome, expected, "{}", failure.reason);
    }
    assert_ne!(outcome("", Then::Reset).await, Outcome::Ok);
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target("127.0.0.1", listener.local_addr().unwrap().port());
    drop(listener);
    let failure = fetch(&target, &mut Buffers::new(false, MAX)).await.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Refused);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_unreachable() {
    let target = target("no-such-node.invalid", 61678);
    let fetched =
        timeout(GUARD, async { fetch(&target, &mut Buffers::new(false, MAX)).await }).await;
    assert_eq!(fetched.unwrap().unwrap_err().outcome, Outcome::Unreachable);
}

#[tokio::test]
async fn a_name_that_does_exist_is_looked_up() {
    let (mut target, _serving) =
        server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()], Then::Close).await;
    target.host = "localhost".into();
    let mut buffers = Buffers::new(false, MAX);
    assert!(timeout(GUARD, fetch(&target, &mut buffers)).await.unwrap().is_ok());
}

#[tokio::test]
async fn answers_that_are_no_pages_are_refused_without_waiting_for_their_end() {
    for (answer, expected) in [
        ("HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", Outcome::HttpStatus),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n", Outcome::HttpStatus),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            Outcome::Encoding,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\n", Outcome::Encoding),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", Outcome::Encoding),
        ("HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", Outcome::TooLarge),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n", Outcome::TooLarge),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            Outcome::Encoding,
        ),
        ("\x16\x03\x01\r\n\r\n", Outcome::Encoding),
    ] {
        // The server keeps the connection: only the client can end this.
        assert_eq!(outcome(answer, Then::Wait).await, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn endless_headers_end_the_exchange() {
    let pieces = std::iter::once(b"HTTP/1.1 200 OK\r\n".to_vec());
    let endless = std::iter::repeat_n(b"X-Filler: yes\r\n".repeat(100), 2_000);
    let (page, _) = exchange(pieces.chain(endless).collect(), Then::Close).await;
    assert_eq!(page.unwrap_err().outcome, Outcome::Encoding);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_asked_for_and_inflated_and_both_sizes_are_known() {
    let packed = gzip(b"a 1\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    let (target, serving) = server(vec![[head.as_bytes(), &packed].concat()], Then::Wait).await;
    let mut buffers = Buffers::new(true, MAX);
    let fetched = timeout(GUARD, fetch(&target, &mut buffers)).await.unwrap().unwrap();
    assert_eq!(buffers.page(&fetched), b"a 1\n");
    assert_eq!(fetched.wire_bytes, packed.len());
    let seen = timeout(GUARD, serving).await.unwrap().unwrap();
    assert!(seen.request.contains("\r\nAccept-Encoding: gzip\r\n"), "{}", seen.request);
}

#[tokio::test]
async fn a_gzip_bomb_is_too_large_and_broken_gzip_an_encoding_error() {
    let bomb = gzip(&vec![b'x'; 10_000_000]);
    for (packed, expected) in [(bomb, Outcome::TooLarge), (b"a 1\n".to_vec(), Outcome::Encoding)] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        );
        let (page, _) = exchange(vec![head.into_bytes(), packed], Then::Close).await;
        assert_eq!(page.unwrap_err().outcome, expected);
    }
}

#[tokio::test]
async fn buffers_that_held_one_answer_hold_the_next_and_give_back_what_a_giant_took() {
    let mut buffers = Buffers::new(false, 4 << 20);
    for body in ["x".repeat(1 << 20), "a 1\n".to_owned()] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let (target, _serving) = server(vec![answer.into_bytes()], Then::Close).await;
        let fetched = timeout(GUARD, fetch(&target, &mut buffers)).await.unwrap().unwrap();
        assert_eq!(buffers.page(&fetched), body.as_bytes());
        buffers.trim();
        assert!(buffers.sent.capacity() <= 256 * 1024);
    }
}
