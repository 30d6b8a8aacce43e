//! Any bytes as `Accept` and `Accept-Encoding`: never a panic, and gzip only where it was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_cni_exporter::render::negotiate::{self, Encoding, Format};

fuzz_target!(|data: &[u8]| {
    let asks = |what: &[u8]| data.windows(what.len()).any(|w| w.eq_ignore_ascii_case(what));
    for prefers_text in [false, true] {
        let chosen = negotiate::format([data], prefers_text);
        assert!(chosen == Format::Text004 || asks(b"openmetrics-text") || asks(b"application/*"));
    }
    // A line feed stands between header lines: it cannot be part of one.
    let lines = || data.split(|&byte| byte == b'\n');
    let chosen = negotiate::encoding(lines());
    let asked =
        data.contains(&b'*') || data.windows(4).any(|four| four.eq_ignore_ascii_case(b"gzip"));
    assert!(asked || chosen == Encoding::Identity);
    let backwards: Vec<&[u8]> = lines().collect();
    assert_eq!(negotiate::encoding(backwards.into_iter().rev()), chosen);
});
