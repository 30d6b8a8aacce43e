//! The answer reader against answers that real servers, broken ones and hostile ones give.

use super::*;
use proptest::prelude::*;
use std::io::Write;

const MAX: usize = 64 * 1024;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn read(answer: &[u8]) -> Result<(Option<Head>, Vec<u8>), AnswerError> {
    let mut body = Vec::new();
    let head = AnswerReader::new(MAX).feed(answer, &mut body)?;
    Ok((head, body))
}

fn whole(answer: &str) -> (Head, String) {
    let (head, body) = read(answer.as_bytes()).unwrap();
    (head.unwrap(), String::from_utf8(body).unwrap())
}

fn refused(answer: &str) -> AnswerError {
    read(answer.as_bytes()).unwrap_err()
}

fn outcome(answer: &str) -> Outcome {
    refused(answer).outcome()
}

#[test]
fn chunks_are_joined_and_the_date_is_read() {
    let (head, body) = whole(&format!(
        "{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n4;ext=\"1\"\r\nb 2\n\r\n0\r\n\r\n"
    ));
    assert_eq!(body, "a 1\nb 2\n");
    assert_eq!(head.date, Some(784_111_777.0));
    assert_eq!(head.encoding, ContentEncoding::Identity);
}

#[test]
fn content_length_ends_the_body_and_what_follows_is_not_looked_at() {
    let (_, body) = whole(&format!("{HEAD}Content-Length: 4\r\n\r\na 1\nHTTP/1.1 500 no"));
    assert_eq!(body, "a 1\n");
    assert_eq!(whole(&format!("{HEAD}Content-Length: 0\r\n\r\n")).1, "");
}

#[test]
fn content_length_with_chunks_is_refused() {
    let answer = format!("{HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(outcome(&answer), Outcome::Encoding);
}

#[test]
fn neither_length_nor_chunks_cannot_be_told_from_a_cut_answer() {
    assert_eq!(outcome(&format!("{HEAD}\r\na 1\n")), Outcome::Truncated);
}

#[test]
fn an_end_before_the_last_chunk_is_truncated_wherever_it_comes() {
    let answer = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\nX: y\r\n\r\n");
    for cut in 0..answer.len() {
        let mut reader = AnswerReader::new(MAX);
        let fed = reader.feed(&answer.as_bytes()[..cut], &mut Vec::new());
        assert_eq!(fed, Ok(None), "cut at {cut}");
        assert_eq!(reader.end().outcome(), Outcome::Truncated);
    }
}

#[test]
fn a_chunk_size_that_overflows_is_refused_and_a_large_one_is_too_large() {
    let sized = |size: &str| format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{size}\r\n");
    assert_eq!(outcome(&sized("fffffffffffffffff")), Outcome::Encoding);
    assert_eq!(outcome(&sized("ffffffffffffffff")), Outcome::TooLarge);
    assert_eq!(outcome(&sized("10001")), Outcome::TooLarge);
    for bad in ["", "-1", "+1", "0x4", "4x", "g", " 4"] {
        assert_eq!(outcome(&sized(bad)), Outcome::Encoding, "{bad:?}");
    }
}

#[test]
fn the_sum_of_the_chunks_is_held_against_the_limit() {
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let answer = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{}1\r\n", chunk.repeat(2));
    assert_eq!(refused(&answer), AnswerError::TooLarge(MAX));
}

#[test]
fn a_chunk_must_end_where_it_says() {
    let answer = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\na 1\n\r\n");
    assert_eq!(outcome(&answer), Outcome::Encoding);
}

#[test]
fn trailers_are_read_over_within_a_limit() {
    let trailed = |trailers: &str| {
        format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n{trailers}\r\n")
    };
    assert_eq!(whole(&trailed("Expires: never\r\nX: \r\n")).1, "a 1\n");
    assert_eq!(outcome(&trailed("no colon\r\n")), Outcome::Encoding);
    assert_eq!(outcome(&trailed(&"X: y\r\n".repeat(6_000))), Outcome::Encoding);
}

#[test]
fn interim_answers_are_passed_over_a_few_times() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let answer = format!("{}{HEAD}Content-Length: 4\r\n\r\na 1\n", interim.repeat(8));
    assert_eq!(whole(&answer).1, "a 1\n");
    assert_eq!(outcome(&interim.repeat(9)), Outcome::Encoding);
    assert_eq!(outcome("HTTP/1.1 101 Switching Protocols\r\n\r\n"), Outcome::HttpStatus);
}

#[test]
fn endless_headers_end_at_16_kib() {
    let answer = format!("{HEAD}{}", "X-Filler: yes\r\n".repeat(2_000));
    assert_eq!(outcome(&answer), Outcome::Encoding);
    let one = format!("{HEAD}X: {}", "y".repeat(20_000));
    assert_eq!(outcome(&one), Outcome::Encoding);
}

#[test]
fn redirects_and_other_statuses_are_not_pages() {
    for status in ["301 Moved", "204 No Content", "503 Service Unavailable", "404"] {
        let answer =
            format!("HTTP/1.1 {status}\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(outcome(&answer), Outcome::HttpStatus, "{status}");
    }
    assert!(refused("HTTP/1.1 302 Found\r\n\r\n").to_string().contains("redirects"));
}

#[test]
fn encodings_and_types_that_we_do_not_read_are_refused() {
    for header in [
        "Content-Encoding: br",
        "Content-Encoding: gzip\r\nContent-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Type: text/html",
        "Content-Type: application/openmetrics-text; version=1.0.0",
        "Content-Type: text/plain; version=1.0.0",
    ] {
        let plain = "HTTP/1.1 200 OK\r\n";
        let answer = format!("{plain}{header}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(outcome(&answer), Outcome::Encoding, "{header}");
    }
    whole("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    whole("HTTP/1.0 200 OK\r\ncontent-type: TEXT/PLAIN\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn what_is_not_http_or_malformed_is_refused() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n Folded: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(outcome(answer), Outcome::Encoding, "{answer:?}");
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_the_body_comes() {
    let answer = format!("{HEAD}Content-Length: 65537\r\n\r\n");
    assert_eq!(refused(&answer), AnswerError::TooLarge(MAX));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

#[test]
fn gzip_is_inflated_within_the_limit_and_a_bomb_is_too_large() {
    let mut out = Vec::new();
    inflate(&gzip(b"a 1\n"), MAX, &mut out).unwrap();
    assert_eq!(out, b"a 1\n");
    let bomb = gzip(&vec![b'x'; 50_000_000]);
    assert!(bomb.len() < 1_000_000);
    assert_eq!(inflate(&bomb, MAX, &mut out), Err(AnswerError::TooLarge(MAX)));
}

#[test]
fn broken_gzip_is_an_encoding_error() {
    let packed = gzip(b"a 1\n");
    let trailed = [&packed[..], b"rubbish"].concat();
    for bad in [&b""[..], b"a 1\n", &packed[..packed.len() - 1], &trailed] {
        let result = inflate(bad, MAX, &mut Vec::new());
        assert_eq!(result.map_err(|e| e.outcome()), Err(Outcome::Encoding), "{bad:?}");
    }
}

#[test]
fn a_reader_that_was_reset_reads_as_a_new_one() {
    let mut reader = AnswerReader::new(MAX);
    drop(reader.feed(b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 2", &mut Vec::new()));
    assert!(reader.has_begun());
    reader.reset();
    assert!(!reader.has_begun());
    let mut body = Vec::new();
    let answer = format!("{HEAD}Content-Length: 4\r\n\r\na 1\n");
    assert!(reader.feed(answer.as_bytes(), &mut body).unwrap().is_some());
    assert_eq!(body, b"a 1\n");
}

/// Answers that are nearly right: pieces of real ones in any order.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        HEAD,
        "HTTP/1.1 100 Continue\r\n\r\n",
        "Content-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "4\r\n",
        "a 1\n",
        "0\r\n",
        "4;x=y\r\na 1\n\r\n",
        "\n",
        "\r",
        "ffff\r\n",
        "X: y\r\n",
        "\0",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn prop_an_answer_in_pieces_is_read_as_it_is_at_once(answer in nearly(), cuts in prop::collection::vec(1usize..9, 1..64)) {
        let mut whole = Vec::new();
        let at_once = AnswerReader::new(MAX).feed(&answer, &mut whole);
        let mut reader = AnswerReader::new(MAX);
        let (mut rest, mut pieces, mut result) = (&answer[..], Vec::new(), Ok(None));
        for cut in cuts.iter().cycle() {
            let (piece, next) = rest.split_at((*cut).min(rest.len()));
            result = reader.feed(piece, &mut pieces);
            rest = next;
            if rest.is_empty() || !matches!(result, Ok(None)) {
                break;
            }
        }
        prop_assert_eq!(&at_once, &result);
        if matches!(at_once, Ok(Some(_))) {
            prop_assert_eq!(whole, pieces);
        }
    }
}
