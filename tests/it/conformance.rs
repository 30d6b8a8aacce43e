//! OpenMetrics cases, through what `check --format openmetrics` calls. A case is a folder with a
//! file `metrics`; a name that begins with `bad_` must be refused, every other accepted. The cases
//! of the project's own always run. A larger set runs where `VPCCNI_CONFORMANCE` names its folder.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking; clippy sees only #[test] functions as tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

use vpc_cni_exporter::check::{Format, report};

/// The folder of a larger set, or one that holds it as `openmetrics`.
const LARGER_SET: &str = "VPCCNI_CONFORMANCE";

/// Cases that every larger set must have at least: an empty folder proves nothing.
const LARGER_SET_AT_LEAST: usize = 100;

#[test]
fn our_own_openmetrics_cases_are_judged_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/openmetrics");
    assert_eq!(judge(&folder), 28);
}

#[test]
fn the_larger_set_of_openmetrics_cases_is_judged_right() {
    let Some(folder) = std::env::var_os(LARGER_SET).map(PathBuf::from) else {
        println!("NOT RUN: the larger set of OpenMetrics cases ({LARGER_SET} names no folder)");
        return;
    };
    let inner = folder.join("openmetrics");
    let count = judge(if inner.is_dir() { &inner } else { &folder });
    assert!(count >= LARGER_SET_AT_LEAST, "only {count} cases in {}", folder.display());
    println!("{count} cases of the larger set judged right");
}

/// Judges each case of a folder; panics with all that were judged wrong. Answers with their number.
fn judge(folder: &Path) -> usize {
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    let wrong: Vec<String> = cases.iter().filter_map(|case| misjudged(case)).collect();
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    cases.len()
}

fn misjudged(case: &Path) -> Option<String> {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let page = fs::read(case.join("metrics")).unwrap();
    match report(&page, Format::OpenMetrics) {
        Ok(_) if name.starts_with("bad_") => Some(format!("{name}: accepted")),
        Err(reason) if !name.starts_with("bad_") => Some(format!("{name}: refused, {reason}")),
        _ => None,
    }
}
