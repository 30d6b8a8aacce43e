//! Two pages of one node through the shape path: it finds on the second what a full parse finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_cni_exporter::store::{PageReader, Settings};

fuzz_target!(|pages: (&[u8], &[u8])| {
    let settings = Settings::default();
    let mut warm = PageReader::new(&settings);
    let first = warm.read(pages.0);
    let fast = warm.read(pages.1);
    let full = PageReader::new(&settings).read(pages.1);
    match (full, fast) {
        (Ok(full), Ok(fast)) => {
            // The first page may have declared a family that changes how the second one's rows group.
            assert_eq!((full.samples, full.kept), (fast.samples, fast.kept));
        }
        (Err(_), Err(_)) => {}
        (full, fast) => panic!("{full:?} but {fast:?} after {first:?}"),
    }
});
