//! A view becomes text 0.0.4: the cluster scope and the node scope (DESIGN §5). Comes in: a view
//! and what to show of it. Goes out: bytes appended to the caller's buffer, all lines of a family
//! together. Never: a clock, a lock, an allocation per line.

use crate::aggregate::{self, Value};
use crate::catalog::{self, FAMILIES, Suffix};
use crate::model::{Kind, Outcome, shard_of};
use crate::number;
use crate::view::{FamilyId, NodeView, OtherFamily, View};
use detail::Detail;

pub mod detail;
pub mod gzip;
pub mod negotiate;
pub mod own;

/// What a request narrows a scope to; filters intersect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrow {
    /// Only this node.
    pub node: Option<String>,
    /// Only these family or sample names; empty means all.
    pub names: Vec<String>,
    /// Only nodes of shard `.0` of `.1`.
    pub shard: Option<(u32, u32)>,
}

impl Narrow {
    /// Whether a sample is asked for, by its own name or its family's.
    pub fn wants(&self, family: &str, suffix: &str) -> bool {
        self.names.is_empty()
            || self.names.iter().any(|name| {
                name == family || name.strip_prefix(family).is_some_and(|rest| rest == suffix)
            })
    }

    fn wants_node(&self, name: &str) -> bool {
        self.node.as_ref().is_none_or(|node| node == name)
            && self.shard.is_none_or(|(index, count)| shard_of(name, count) == index)
    }
}

/// Appends the cluster scope.
pub fn cluster(view: &View, narrow: &Narrow, out: &mut Vec<u8>) {
    for figure in aggregate::figures(view) {
        let mut header = Header::new(figure.name, figure.kind, figure.help);
        for sample in figure.samples {
            if !narrow.wants(figure.name, sample.suffix) {
                continue;
            }
            header.once(out);
            out.extend_from_slice(figure.name.as_bytes());
            out.extend_from_slice(sample.suffix.as_bytes());
            let mut labels = LabelWriter::default();
            for (name, value) in &sample.labels {
                labels.add(name, value, out);
            }
            labels.end(out);
            match sample.value {
                Value::Total(total, divisor) => total.write(divisor, out),
                Value::Float(value) => number::write(out, value),
                Value::Count(count) => number::write_i128(out, count.into()),
            }
            out.push(b'\n');
        }
    }
}

/// Appends the node scope.
pub fn nodes(view: &View, narrow: &Narrow, detail: &Detail, out: &mut Vec<u8>) {
    if !detail.shows_nodes() {
        return;
    }
    let nodes: Vec<Row<'_>> = view
        .nodes
        .iter()
        .filter(|node| narrow.wants_node(&node.target.node))
        .map(|node| Row { label: node_label(&node.target.node), node })
        .collect();
    for (index, family) in (0u16..).zip(FAMILIES) {
        if !detail.shows(family.name, family.core) {
            continue;
        }
        let header = Header::new(family.name, family.kind, family.help);
        if detail.is_full() {
            rows(view, header, &[(FamilyId::Known(index), "")], narrow, &nodes, out);
        } else {
            totals(FamilyId::Known(index), header, narrow, &nodes, out);
        }
    }
    if detail.is_full() {
        let mut others: Vec<(u32, &OtherFamily)> = (0u32..).zip(view.others.iter()).collect();
        others.sort_by(|a, b| (&a.1.family, &a.1.name).cmp(&(&b.1.family, &b.1.name)));
        for group in others.chunk_by(|a, b| a.1.family == b.1.family) {
            let Some((_, OtherFamily { family, kind, .. })) = group.first() else { continue };
            if detail.shows(family, false) {
                let suffix = |name| str::strip_prefix(name, &**family).unwrap_or_default();
                let parts: Vec<(FamilyId, &str)> = group
                    .iter()
                    .map(|(index, other)| (FamilyId::Other(*index), suffix(&other.name)))
                    .collect();
                rows(view, Header::new(family, *kind, OTHER_HELP), &parts, narrow, &nodes, out);
            }
        }
    }
    of_scrapes(narrow, detail, &nodes, out);
}

const OTHER_HELP: &str = "A family of ipamd that this exporter's catalogue does not know.";

struct Row<'v> {
    /// `node="…"`, escaped.
    label: String,
    node: &'v NodeView,
}

fn node_label(name: &str) -> String {
    let mut bytes = Vec::new();
    LabelWriter::default().pair("node", name, &mut bytes);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Each row of a family on each node. Parts: where its rows are, with the suffix that they do not
/// have themselves.
fn rows(
    view: &View,
    mut header: Header<'_>,
    parts: &[(FamilyId, &str)],
    narrow: &Narrow,
    nodes: &[Row<'_>],
    out: &mut Vec<u8>,
) {
    for Row { label, node } in nodes {
        let Some(page) = &node.page else { continue };
        let of_part = |part: &(FamilyId, &'_ str)| page.layout.rows_of(part.0);
        for (part, row) in parts.iter().flat_map(|part| of_part(part).map(move |row| (part, row))) {
            let Some(series) = view.series_at(page.layout.rows[row]) else { continue };
            let suffix = if part.1.is_empty() { series.suffix.as_str() } else { part.1 };
            if !narrow.wants(header.name, suffix) {
                continue;
            }
            header.once(out);
            out.extend_from_slice(header.name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
            out.push(b'{');
            out.extend_from_slice(label.as_bytes());
            if !series.labels.is_empty() {
                out.push(b',');
                out.extend_from_slice(series.labels.as_bytes());
            }
            out.extend_from_slice(b"} ");
            number::write(out, page.values[row]);
            out.push(b'\n');
        }
    }
}

/// A family's total on each node: its rows without their labels.
fn totals(
    id: FamilyId,
    mut header: Header<'_>,
    narrow: &Narrow,
    nodes: &[Row<'_>],
    out: &mut Vec<u8>,
) {
    if !narrow.wants(header.name, Suffix::None.as_str()) {
        return;
    }
    for Row { label, node } in nodes {
        let Some(page) = &node.page else { continue };
        let rows = page.layout.rows_of(id);
        if rows.is_empty() {
            continue;
        }
        header.once(out);
        out.extend_from_slice(header.name.as_bytes());
        out.push(b'{');
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(b"} ");
        // A lone row keeps its bits: -0.0 changes no addend.
        number::write(out, page.values[rows].iter().fold(-0.0, |sum, value| sum + value));
        out.push(b'\n');
    }
}

/// What we know of each node ourselves.
fn of_scrapes(narrow: &Narrow, detail: &Detail, nodes: &[Row<'_>], out: &mut Vec<u8>) {
    type Of = fn(&NodeView) -> Option<f64>;
    const FAMILIES: [(&str, Of); 4] = [
        ("vpccni_node_scrape_duration_seconds", |n| n.last_outcome.map(|_| n.last_seconds)),
        ("vpccni_node_scrape_last_success_timestamp_seconds", |n| n.last_success),
        ("vpccni_node_scrape_samples", |n| n.last_success.map(|_| n.samples as f64)),
        ("vpccni_node_scrape_success", |n| {
            Some(f64::from(u8::from(n.last_outcome == Some(Outcome::Ok))))
        }),
    ];
    info(narrow, detail, nodes, out);
    for (name, value) in FAMILIES {
        let Some(entry) = catalog::published(name) else { continue };
        if !detail.shows(name, true) || !narrow.wants(name, "") {
            continue;
        }
        let mut header = Header::new(entry.name, entry.kind, entry.help);
        for Row { label, node } in nodes {
            let Some(value) = value(node) else { continue };
            header.once(out);
            out.extend_from_slice(name.as_bytes());
            out.push(b'{');
            out.extend_from_slice(label.as_bytes());
            out.extend_from_slice(b"} ");
            number::write(out, value);
            out.push(b'\n');
        }
    }
}

/// Labels of a target that are the node's under their own names.
const NODE_LABELS: [&str; 6] =
    ["instance_type", "zone", "region", "nodegroup", "nodepool", "capacity_type"];

fn info(narrow: &Narrow, detail: &Detail, nodes: &[Row<'_>], out: &mut Vec<u8>) {
    const NAME: &str = "vpccni_node_info";
    let Some(entry) = catalog::published(NAME) else { return };
    if !detail.shows(NAME, true) || !narrow.wants(NAME, "") {
        return;
    }
    let mut header = Header::new(NAME, entry.kind, entry.help);
    for Row { label, node } in nodes {
        header.once(out);
        out.extend_from_slice(NAME.as_bytes());
        out.push(b'{');
        out.extend_from_slice(label.as_bytes());
        let mut labels = LabelWriter { any: true };
        let of_target = |name: &str| node.target.labels.get(name).filter(|v| !v.is_empty());
        for name in NODE_LABELS {
            if let Some(value) = of_target(name) {
                labels.add(name, value, out);
            }
        }
        if let Some(version) = node.cni_version() {
            labels.add("cni_version", version, out);
        }
        // An IPv4 address is no proof before the node has told its total (truth rule 7).
        if node.ipv6 || node.last_success.is_some() {
            labels.add("ip_family", if node.ipv6 { "ipv6" } else { "ipv4" }, out);
        }
        for (name, value) in node.target.labels.iter() {
            if !NODE_LABELS.contains(&name) && !value.is_empty() && detail.shows_label(name) {
                out.extend_from_slice(b",label_");
                labels.pair(name, value, out);
            }
        }
        out.extend_from_slice(b"} 1\n");
    }
}

/// HELP and TYPE, written before the first sample of a family and only then.
struct Header<'a> {
    name: &'a str,
    kind: Kind,
    help: &'a str,
    written: bool,
}

impl<'a> Header<'a> {
    fn new(name: &'a str, kind: Kind, help: &'a str) -> Header<'a> {
        Header { name, kind, help, written: false }
    }

    fn once(&mut self, out: &mut Vec<u8>) {
        if self.written {
            return;
        }
        self.written = true;
        for part in ["# HELP ", self.name, " "] {
            out.extend_from_slice(part.as_bytes());
        }
        escape(self.help, false, out);
        for part in ["\n# TYPE ", self.name, " ", self.kind.as_str(), "\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// Writes `{a="x",b="y"} `; nothing but the blank where there is no label.
#[derive(Default)]
struct LabelWriter {
    any: bool,
}

impl LabelWriter {
    fn add(&mut self, name: &str, value: &str, out: &mut Vec<u8>) {
        out.push(if self.any { b',' } else { b'{' });
        self.any = true;
        self.pair(name, value, out);
    }

    fn pair(&self, name: &str, value: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(value, true, out);
        out.push(b'"');
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.any { b"} " } else { b" " });
    }
}

/// Escapes as text 0.0.4 wants it: quotes only within label values.
pub(crate) fn escape(text: &str, quotes: bool, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
#[path = "render/tests.rs"]
mod tests;
