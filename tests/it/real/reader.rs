//! An exposition as PyPI's prometheus-client reads it: an independent reader of what we serve. Comes
//! in: a page. Goes out: its samples. Never: the crate's own parser.

use super::part;
use crate::support::{figures, run};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A dialect of the exposition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialect {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0 text, by the client's strict reader.
    OpenMetrics,
}

/// The samples of a page, by keys as `support::figures` writes them. Panics with the reader's reason
/// where it refuses the page. The Python is that of `VPCCNI_PYTHON`.
pub(crate) fn read(page: &str, dialect: Dialect) -> BTreeMap<String, f64> {
    let samples = try_read(page, dialect).unwrap_or_else(|why| panic!("refused: {why}\n{page}"));
    samples.into_iter().map(|(key, value)| (key, value.parse().unwrap())).collect()
}

fn try_read(page: &str, dialect: Dialect) -> Result<BTreeMap<String, String>, String> {
    let mut command = Command::new(part("VPCCNI_PYTHON"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader.py")).arg(match dialect {
        Dialect::Text => "text",
        Dialect::OpenMetrics => "openmetrics",
    });
    let ended = run(command, page.as_bytes());
    if !ended.status.success() {
        return Err(ended.stderr);
    }
    Ok(serde_json::from_str(&ended.stdout).unwrap())
}

/// All that the text format knows: counters with and without `_total`, escapes, values.
const PAGE: &str = "# HELP awscni_add_ip_req_count Passed through.\n\
    # TYPE awscni_add_ip_req_count counter\nawscni_add_ip_req_count{node=\"n\"} 3\n\
    # TYPE a_total counter\na_total{z=\"\\\"\\\\\\n\",b=\"{}, \"} 1.5e9\n\
    # TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.75\nh_count 2\n\
    # TYPE s summary\ns{quantile=\"0.99\"} -Inf\ns_sum 1\ns_count 4\n\
    # TYPE g gauge\ng 0.1\nuntyped{x=\"\"} +Inf\n";

#[test]
fn the_client_library_and_our_own_small_reader_agree_on_a_page() {
    assert_eq!(read(PAGE, Dialect::Text), figures(PAGE));
    let open = "# TYPE a counter\na_total{b=\"c\"} 2\n# TYPE g gauge\ng 1\n# EOF\n";
    assert_eq!(read(open, Dialect::OpenMetrics), figures(open));
}

#[test]
fn the_client_library_refuses_what_is_no_page() {
    assert!(try_read("a{b=\"c\" 1\n", Dialect::Text).is_err());
    let unfinished = try_read("a 1\n", Dialect::OpenMetrics).unwrap_err();
    assert!(unfinished.contains("Missing # EOF"), "{unfinished}");
}
