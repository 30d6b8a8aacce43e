//! Two pages of one node through the shape path: it finds on the second what a full parse finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpc_cni_exporter::store::{PageReader, Settings};

fuzz_target!(|pages: (&[u8], &[u8])| {
    let settings = Settings::default();
    let mut warm = PageReader::new(&settings);
    let first = warm.read(pages.0);
    let fast = warm.read(pages.1);
    let mut cold = PageReader::new(&settings);
    let full = cold.read(pages.1);
    match (full, fast) {
        (Ok(full), Ok(fast)) => {
            assert_eq!((full.samples, full.kept, full.rows), (fast.samples, fast.kept, fast.rows));
            assert_eq!(cold.rows(), warm.rows());
        }
        (Err(full), Err(fast)) => assert_eq!(full, fast),
        (full, fast) => panic!("{full:?} but {fast:?} after {first:?}"),
    }
});
