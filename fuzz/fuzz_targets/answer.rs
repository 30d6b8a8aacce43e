//! The answer reader on any bytes, cut anywhere: fed in pieces it judges as it does fed at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_cni_exporter::scrape::answer::{AnswerReader, inflate};

const MAX_BODY: usize = 4096;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let mut whole = Vec::new();
    let at_once = AnswerReader::new(MAX_BODY).feed(bytes, &mut whole);
    let mut reader = AnswerReader::new(MAX_BODY);
    let mut pieces = Vec::new();
    let mut in_pieces = Ok(None);
    for piece in bytes.chunks(usize::from(step.max(1))) {
        in_pieces = reader.feed(piece, &mut pieces);
        if !matches!(in_pieces, Ok(None)) {
            break;
        }
    }
    assert_eq!(at_once, in_pieces);
    if matches!(at_once, Ok(Some(_))) {
        assert_eq!(whole, pieces);
    }
    assert!(whole.len() <= MAX_BODY);
    let mut out = Vec::new();
    if inflate(bytes, MAX_BODY, &mut out).is_ok() {
        assert!(out.len() <= MAX_BODY);
    }
});
