//! The strict OpenMetrics reader on any bytes. Comes in: a page. Never: a panic, a refusal that
//! points outside the page, a judgement that changes when it is asked again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_cni_exporter::parse::openmetrics::read;

fuzz_target!(|page: &[u8]| {
    let judgement = read(page);
    assert_eq!(judgement, read(page));
    if let Err(refusal) = judgement {
        let lines = page.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!(refusal.line >= 1 && refusal.line as usize <= lines);
        assert!(refusal.column >= 1 && refusal.column as usize <= page.len() + 1);
    }
});
