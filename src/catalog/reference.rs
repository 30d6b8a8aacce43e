//! The metric reference as Markdown. Comes in: the catalogue, and the exporter's own families as
//! they are registered. Goes out: text for the README and the subcommand `catalog`. Never: a value.

use super::{Cluster, FAMILIES, PUBLISHED, Rule};
use crate::model::Kind;

/// A family of the exporter's own, as its registry knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnFamily {
    /// Its name.
    pub name: String,
    /// Its type's word.
    pub kind: &'static str,
    /// Its HELP text.
    pub help: String,
}

/// The whole reference.
pub fn markdown(own: &[OwnFamily]) -> String {
    let mut out = String::new();
    scope(&mut out, "Cluster scope", "cluster", CLUSTER_NOTE);
    scope(&mut out, "Node scope", "node", NODE_NOTE);
    out.push_str("### Self scope\n\nBesides these, on Linux, the usual `process_*`.\n\n");
    out.push_str("| metric | type | meaning |\n|---|---|---|\n");
    for family in own {
        row(&mut out, &[&code(&family.name), family.kind, &family.help]);
    }
    out
}

const CLUSTER_NOTE: &str = "Every child exists at 0 from the first view, and label values outside the listed sets count under `other`. Counters are sums of the nodes' increases since this process began to count.";
const NODE_NOTE: &str = "The label `node` is added; names are ipamd's own. `core` families are shown as one total per node with `--node.detail=core`; `full` shows every row. Types are canonical, whatever a node's version declares.";

fn scope(out: &mut String, title: &str, scope: &str, note: &str) {
    out.push_str(&format!("### {title}\n\n{note}\n\n"));
    out.push_str(
        "| metric | type | labels | unit | made from | meaning |\n|---|---|---|---|---|---|\n",
    );
    let mut rows: Vec<[String; 6]> = PUBLISHED
        .iter()
        .filter(|entry| entry.scope == scope)
        .map(|entry| {
            let labels: Vec<String> = entry.labels.iter().map(|l| code(l)).collect();
            [
                code(entry.name),
                entry.kind.as_str().to_owned(),
                labels.join(" "),
                entry.unit.as_str().to_owned(),
                String::new(),
                entry.help.to_owned(),
            ]
        })
        .collect();
    for family in FAMILIES {
        if scope == "node" {
            let labels = ["node"].iter().chain(family.labels).map(|l| code(l));
            rows.push([
                code(family.name),
                family.kind.as_str().to_owned(),
                labels.collect::<Vec<_>>().join(" "),
                family.unit.as_str().to_owned(),
                if family.core { "core" } else { "full" }.to_owned(),
                family.help.to_owned(),
            ]);
        } else if let Some(cluster) = &family.cluster {
            rows.push(of_cluster(cluster, family.name, family.unit.as_str()));
        }
    }
    rows.sort();
    for cells in rows {
        row(out, &cells.each_ref().map(String::as_str));
    }
    out.push('\n');
}

fn of_cluster(cluster: &Cluster, source: &str, unit: &str) -> [String; 6] {
    let mut labels: Vec<String> = cluster.labels.iter().map(|l| code(l.name)).collect();
    if cluster.rule == Rule::SumByIpFamily {
        labels.push(code("ip_family"));
    }
    let unit = match cluster.rule {
        Rule::Summary { .. } => "seconds",
        _ => unit,
    };
    let unit = if unit == "info" { "count" } else { unit };
    let made = match cluster.rule {
        Rule::Sum | Rule::SumByIpFamily => "sum of",
        Rule::Increase => "increases of",
        Rule::Summary { .. } => "increases of sum and count of",
        Rule::Histogram => "increases of the buckets of",
    };
    let name = match cluster.kind {
        Kind::Summary => format!("`{0}_sum` `{0}_count`", cluster.name),
        _ => code(cluster.name),
    };
    [
        name,
        cluster.kind.as_str().to_owned(),
        labels.join(" "),
        unit.to_owned(),
        format!("{made} {}", code(source)),
        cluster.help.to_owned(),
    ]
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn row(out: &mut String, cells: &[&str]) {
    out.push('|');
    for cell in cells {
        out.push(' ');
        out.push_str(&cell.replace('|', "\\|"));
        out.push_str(" |");
    }
    out.push('\n');
}
