//! The text reader on any bytes. Comes in: a page. Never: a panic, a reader that stands still, a
//! place outside the page, a value that the quick and the thorough way read differently.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_cni_exporter::parse::{Line, Reader, unescape, value_line};

fuzz_target!(|page: &[u8]| {
    let mut reader = Reader::new(page);
    loop {
        let before = reader.offset();
        match reader.next_line() {
            Ok(Some(line)) => {
                let after = reader.offset();
                assert!(before < after && after <= page.len());
                assert_eq!(page[after - 1], b'\n');
                if let Line::Sample(sample) = line {
                    assert!(before < sample.value_at && sample.value_at < after);
                    for (_, value) in sample.labels.iter() {
                        assert!(unescape(value).len() <= value.len());
                    }
                    if let Some((value, end)) = value_line(page, sample.value_at) {
                        assert_eq!(value.to_bits(), sample.value.to_bits());
                        assert_eq!((end, sample.timestamp), (after, None));
                    }
                }
            }
            Ok(None) => {
                assert_eq!(reader.offset(), page.len());
                break;
            }
            Err(error) => {
                assert!(reader.offset() + error.column as usize <= page.len() + 1);
                break;
            }
        }
    }
});
