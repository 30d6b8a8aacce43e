//! What differs between text 0.0.4 and OpenMetrics 1.0: headers, suffixes, bounds, the end. Comes in: a
//! family as the catalogue knows it. Goes out: its lines' frame in either dialect. Never: a value, which
//! is written the same in both.
//!
//! In OpenMetrics a family of ipamd that is no gauge is `unknown`, each sample name a family of its own:
//! a counter whose samples do not end in `_total` cannot be one there, and a histogram that lacks a bound
//! or a NaN in a counter would make the whole page invalid.

use super::escape;
use super::negotiate::Format;
use crate::model::Kind;
use crate::number;

/// The last line of an OpenMetrics page.
pub const EOF: &str = "# EOF\n";

/// HELP and TYPE. `name` is the family's name in text 0.0.4.
pub(super) fn header(name: &str, kind: Kind, help: &str, format: Format, out: &mut Vec<u8>) {
    let (name, word) = match format {
        Format::Text004 => (name, kind.as_str()),
        Format::OpenMetrics100 => open_metrics(name, kind),
    };
    for part in ["# HELP ", name, " "] {
        out.extend_from_slice(part.as_bytes());
    }
    escape(help, format == Format::OpenMetrics100, out);
    for part in ["\n# TYPE ", name, " ", word, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Name and type of a family of ours.
fn open_metrics(name: &str, kind: Kind) -> (&str, &'static str) {
    match kind {
        Kind::Counter => match name.strip_suffix("_total") {
            Some(family) => (family, "counter"),
            None => (name, "unknown"),
        },
        Kind::Histogram if name == NODES_NOW => (name, "gaugehistogram"),
        Kind::Gauge | Kind::Histogram | Kind::Summary => (name, kind.as_str()),
        Kind::Untyped => (name, "unknown"),
    }
}

/// The one histogram over the nodes as they are now: it is no counter.
const NODES_NOW: &str = "vpccni_cluster_node_ip_utilization";

/// The suffix of a sample of a family of ours; `suffix` is that of text 0.0.4.
pub(super) fn suffix(family: &str, suffix: &'static str, format: Format) -> &'static str {
    match (format, suffix) {
        (Format::OpenMetrics100, "_sum") if family == NODES_NOW => "_gsum",
        (Format::OpenMetrics100, "_count") if family == NODES_NOW => "_gcount",
        _ => suffix,
    }
}

/// A bound as the value of `le` or `quantile`: OpenMetrics wants whole ones with a decimal.
pub(super) fn bound(bound: f64, format: Format, out: &mut Vec<u8>) {
    let begin = out.len();
    number::write(out, bound);
    let whole = out[begin..].iter().all(|b| b.is_ascii_digit() || *b == b'-');
    if format == Format::OpenMetrics100 && whole {
        out.extend_from_slice(b".0");
    }
}
