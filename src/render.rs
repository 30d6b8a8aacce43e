//! A view becomes text 0.0.4 or OpenMetrics 1.0: the cluster scope and the node scope (DESIGN §5). Comes in: a view
//! and what to show of it. Goes out: bytes appended to the caller's buffer, all lines of a family
//! together. Never: a clock, a lock, an allocation per line.

use crate::aggregate::{self, Sample, Value};
use crate::catalog::{self, FAMILIES, Suffix};
use crate::model::{Kind, Outcome, shard_of};
use crate::number;
use crate::view::{FamilyId, NodeView, OtherFamily, View};
use detail::Detail;
use dialect::header;
use negotiate::Format;

pub mod detail;
pub mod dialect;
pub mod gzip;
pub mod negotiate;
pub mod own;
pub mod pieces;

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

    /// Whether samples of a histogram or summary are asked for, but not all: in OpenMetrics what is left
    /// is none.
    fn wants_part(&self, family: &str, kind: Kind) -> bool {
        matches!(kind, Kind::Histogram | Kind::Summary)
            && !self.names.is_empty()
            && !self.names.iter().any(|name| name == family)
    }

    fn wants_node(&self, name: &str) -> bool {
        self.node.as_ref().is_none_or(|node| node == name)
            && self.shard.is_none_or(|(index, count)| shard_of(name, count) == index)
    }
}

/// Appends the cluster scope.
pub fn cluster(view: &View, narrow: &Narrow, format: Format, out: &mut Vec<u8>) {
    for figure in aggregate::figures(view) {
        if format == Format::OpenMetrics100 && narrow.wants_part(figure.name, figure.kind) {
            for suffix in ["_bucket", "_sum", "_count"] {
                let alone: Vec<Sample> = figure
                    .samples
                    .iter()
                    .filter(|sample| sample.suffix == suffix)
                    .cloned()
                    .collect();
                if narrow.wants(figure.name, suffix) && !alone.is_empty() {
                    let name = format!("{}{suffix}", figure.name);
                    header(&name, Kind::Untyped, figure.help, format, out);
                    samples(figure.name, alone, narrow, Format::Text004, out);
                }
            }
            continue;
        }
        let begin = out.len();
        header(figure.name, figure.kind, figure.help, format, out);
        let head = out.len();
        samples(figure.name, figure.samples, narrow, format, out);
        without_lone_header(begin, head, out);
    }
}

fn samples(family: &str, list: Vec<Sample>, narrow: &Narrow, format: Format, out: &mut Vec<u8>) {
    for sample in list {
        if !narrow.wants(family, sample.suffix) {
            continue;
        }
        out.extend_from_slice(family.as_bytes());
        out.extend_from_slice(dialect::suffix(family, sample.suffix, format).as_bytes());
        let mut labels = LabelWriter::default();
        for (name, value) in &sample.labels {
            match value.parse() {
                Ok(bound) if *name == "le" => labels.add_bound(name, bound, format, out),
                _ => labels.add(name, value, out),
            }
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

/// Appends the node scope.
pub fn nodes(view: &View, narrow: &Narrow, detail: &Detail, format: Format, out: &mut Vec<u8>) {
    let wanted = view.nodes.iter().filter(|node| narrow.wants_node(&node.target.node));
    let rows: Vec<Row<'_>> = wanted.map(Row::of).collect();
    for family in node_families(view, detail) {
        if format == Format::OpenMetrics100 && family.kind != Kind::Gauge {
            family.apart(view, narrow, &rows, out);
            continue;
        }
        let begin = out.len();
        family.header(format, out);
        let head = out.len();
        family.rows(view, narrow, detail, &rows, out);
        without_lone_header(begin, head, out);
    }
}

/// A family without samples has no header either.
fn without_lone_header(begin: usize, head: usize, out: &mut Vec<u8>) {
    if out.len() == head {
        out.truncate(begin);
    }
}

/// A family of the node scope.
struct NodeFamily<'v> {
    name: &'v str,
    kind: Kind,
    help: &'v str,
    shows: Shows<'v>,
}

/// Where its samples come from.
enum Shows<'v> {
    /// Each row of these, with the suffix that the rows do not have themselves.
    Rows(Vec<(FamilyId, &'v str)>),
    /// The sum of its rows, without their labels.
    Total(FamilyId),
    /// What we know of a node ourselves; nothing before there is something to know.
    Node(OfNode),
    /// Why it gets no more addresses, where it does not.
    Growth,
    /// The labels of the target.
    Info,
}

/// A figure of our own about a node.
type OfNode = fn(&NodeView) -> Option<f64>;

/// What we know of each node ourselves.
const OF_NODES: [(&str, OfNode); 5] = [
    ("vpccni_node_ip_addresses_usable", NodeView::usable),
    ("vpccni_node_scrape_duration_seconds", |n| n.last_outcome.map(|_| n.last_seconds)),
    ("vpccni_node_scrape_last_success_timestamp_seconds", |n| n.last_success),
    ("vpccni_node_scrape_samples", |n| n.last_success.map(|_| n.samples as f64)),
    ("vpccni_node_scrape_success", |n| {
        let scraped = n.target.idle.is_none() && n.last_outcome == Some(Outcome::Ok);
        Some(f64::from(u8::from(scraped)))
    }),
];

/// The families of the node scope, in page order.
fn node_families<'v>(view: &'v View, detail: &Detail) -> Vec<NodeFamily<'v>> {
    if !detail.shows_nodes() {
        return Vec::new();
    }
    let mut list = Vec::new();
    for (index, family) in (0u16..).zip(FAMILIES) {
        let id = FamilyId::Known(index);
        if detail.shows(family.name, family.core) {
            let shows =
                if detail.is_full() { Shows::Rows(vec![(id, "")]) } else { Shows::Total(id) };
            let (name, kind, help) = (family.name, family.kind, family.help);
            list.push(NodeFamily { name, kind, help, shows });
        }
    }
    let mut others: Vec<(u32, &OtherFamily)> = (0u32..).zip(view.others.iter()).collect();
    others.sort_by(|a, b| (&a.1.family, &a.1.name).cmp(&(&b.1.family, &b.1.name)));
    for group in others.chunk_by(|a, b| a.1.family == b.1.family) {
        let Some((_, OtherFamily { family, kind, .. })) = group.first() else { continue };
        if detail.shows(family, false) {
            let part = |(index, other): &(u32, &'v OtherFamily)| {
                let suffix = other.name.strip_prefix(&**family).unwrap_or_default();
                (FamilyId::Other(*index), suffix)
            };
            let shows = Shows::Rows(group.iter().map(part).collect());
            list.push(NodeFamily { name: family, kind: *kind, help: OTHER_HELP, shows });
        }
    }
    let own = [("vpccni_node_growth_blocked", Shows::Growth), ("vpccni_node_info", Shows::Info)];
    for (name, shows) in own.into_iter().chain(OF_NODES.map(|(name, of)| (name, Shows::Node(of)))) {
        if let Some(entry) = catalog::published(name).filter(|_| detail.shows(name, true)) {
            list.push(NodeFamily { name, kind: entry.kind, help: entry.help, shows });
        }
    }
    list
}

impl NodeFamily<'_> {
    fn header(&self, format: Format, out: &mut Vec<u8>) {
        header(self.name, self.kind, self.help, format, out);
    }

    /// In OpenMetrics: each sample name as a family of type `unknown`.
    fn apart(&self, view: &View, narrow: &Narrow, nodes: &[Row<'_>], out: &mut Vec<u8>) {
        let alone = |suffix: &str, write: &mut dyn FnMut(&mut Vec<u8>), out: &mut Vec<u8>| {
            if !narrow.wants(self.name, suffix) {
                return;
            }
            let begin = out.len();
            let name = format!("{}{suffix}", self.name);
            header(&name, Kind::Untyped, self.help, Format::OpenMetrics100, out);
            let head = out.len();
            write(out);
            without_lone_header(begin, head, out);
        };
        let all = Narrow::default();
        match &self.shows {
            Shows::Rows(parts) => {
                // The suffix of a row that has one itself, or that of its part.
                for suffix in [Suffix::None, Suffix::Bucket, Suffix::Sum, Suffix::Count] {
                    let suffix = suffix.as_str();
                    let mut write = |out: &mut Vec<u8>| {
                        rows(view, self.name, parts, &all, Some(suffix), nodes, out)
                    };
                    alone(suffix, &mut write, out);
                }
            }
            Shows::Total(id) => {
                alone("", &mut |out: &mut Vec<u8>| totals(*id, self.name, nodes, out), out);
            }
            // Ours are all gauges.
            Shows::Node(_) | Shows::Growth | Shows::Info => {}
        }
    }

    /// Its samples on these nodes.
    fn rows(
        &self,
        view: &View,
        narrow: &Narrow,
        detail: &Detail,
        nodes: &[Row<'_>],
        out: &mut Vec<u8>,
    ) {
        let whole = narrow.wants(self.name, Suffix::None.as_str());
        match &self.shows {
            Shows::Rows(parts) => rows(view, self.name, parts, narrow, None, nodes, out),
            _ if !whole => {}
            Shows::Total(id) => totals(*id, self.name, nodes, out),
            Shows::Node(value) => of_nodes(*value, self.name, nodes, out),
            Shows::Growth => growth(self.name, nodes, out),
            Shows::Info => info(self.name, detail, nodes, out),
        }
    }
}

const OTHER_HELP: &str = "A family of ipamd that this exporter's catalogue does not know.";

struct Row<'v> {
    /// `node="…"`, escaped.
    label: String,
    node: &'v NodeView,
}

impl<'v> Row<'v> {
    fn of(node: &'v NodeView) -> Row<'v> {
        let mut bytes = Vec::new();
        LabelWriter::default().pair("node", &node.target.node, &mut bytes);
        Row { label: String::from_utf8(bytes).unwrap_or_default(), node }
    }

    /// Name and labels of a sample that has no others.
    fn begin(&self, name: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(name.as_bytes());
        out.push(b'{');
        out.extend_from_slice(self.label.as_bytes());
    }
}

fn rows(
    view: &View,
    name: &str,
    parts: &[(FamilyId, &str)],
    narrow: &Narrow,
    only: Option<&str>,
    nodes: &[Row<'_>],
    out: &mut Vec<u8>,
) {
    for Row { label, node } in nodes {
        let Some(page) = &node.page else { continue };
        let of_part = |part: &(FamilyId, &'_ str)| page.layout.rows_of(part.0);
        for (part, row) in parts.iter().flat_map(|part| of_part(part).map(move |row| (part, row))) {
            let Some(series) = view.series_at(page.layout.rows[row]) else { continue };
            let suffix = if part.1.is_empty() { series.suffix.as_str() } else { part.1 };
            if !narrow.wants(name, suffix) || only.is_some_and(|only| only != suffix) {
                continue;
            }
            out.extend_from_slice(name.as_bytes());
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

fn totals(id: FamilyId, name: &str, nodes: &[Row<'_>], out: &mut Vec<u8>) {
    for row in nodes {
        let Some(page) = &row.node.page else { continue };
        let rows = page.layout.rows_of(id);
        if rows.is_empty() {
            continue;
        }
        row.begin(name, out);
        out.extend_from_slice(b"} ");
        // A lone row keeps its bits: -0.0 changes no addend.
        number::write(out, page.values[rows].iter().fold(-0.0, |sum, value| sum + value));
        out.push(b'\n');
    }
}

fn of_nodes(value: OfNode, name: &str, nodes: &[Row<'_>], out: &mut Vec<u8>) {
    for row in nodes {
        if let Some(value) = value(row.node) {
            row.begin(name, out);
            out.extend_from_slice(b"} ");
            number::write(out, value);
            out.push(b'\n');
        }
    }
}

fn growth(name: &str, nodes: &[Row<'_>], out: &mut Vec<u8>) {
    for row in nodes {
        if let Some(reason) = row.node.growth {
            row.begin(name, out);
            LabelWriter { any: true }.add("reason", reason.as_str(), out);
            out.extend_from_slice(b"} 1\n");
        }
    }
}

/// Labels of a target that are the node's under their own names.
const NODE_LABELS: [&str; 6] =
    ["instance_type", "zone", "region", "nodegroup", "nodepool", "capacity_type"];

fn info(name: &str, detail: &Detail, nodes: &[Row<'_>], out: &mut Vec<u8>) {
    for row in nodes {
        let node = row.node;
        row.begin(name, out);
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

    fn add_bound(&mut self, name: &str, bound: f64, format: Format, out: &mut Vec<u8>) {
        self.add(name, "", out);
        // Between the quotes that stand there.
        out.pop();
        dialect::bound(bound, format, out);
        out.push(b'"');
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

/// Escapes as both formats want it: in text 0.0.4 quotes only within label values.
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
