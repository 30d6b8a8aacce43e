//! The page at `/`: what is wrong on top, the cluster's figures, the nodes worst first, below them the
//! mirror and the exporter itself. Comes in: a status, a picture, the nodes of a page. Goes out: HTML.
//! Never: more than [`super::ask::ROWS`] nodes unless asked for.

use super::super::api::{MirrorOutlet, Status};
use super::ask::{Ask, LABELS, ROWS, Reason, Sort, can_be_used, share, warm};
use super::parts::{
    CELL, ago, bar, bytes, capital, clip, clock, count, frame, heading, maybe, node_link, nodes,
    number, percent, relative, seconds, stop,
};
use super::picture::{Addresses, Finding, Level, Picture, of_growth};
use crate::model::{DaemonSet, NodeState, Outcome};
use crate::observe::serve::Path;
use crate::view::{NodeView, View};
use maud::{Markup, html};

/// Findings at most: whoever has more begins with these.
const FINDINGS: usize = 10;

/// Rows of the smaller tables.
const FEW: usize = 8;

/// What one page shows.
#[derive(Debug)]
pub(super) struct Page<'v> {
    pub(super) ask: &'v Ask,
    pub(super) status: &'v Status,
    pub(super) telemetry_path: &'v str,
    /// `None` before the first view.
    pub(super) view: Option<&'v View>,
}

pub(super) fn render(page: &Page<'_>) -> Markup {
    let Page { ask, status, view, .. } = page;
    let now = view.map(|view| view.taken.unix);
    let picture = view.map(|view| Picture::of(&view.nodes));
    let cluster = status.mirror.cluster.as_deref();
    let title = cluster.unwrap_or("Pod addresses");
    let main = html! {
        section #findings .live aria-labelledby="findings-title" {
            (findings(status, *view, picture.as_ref()))
        }
        @if let (Some(view), Some(picture)) = (view, &picture) {
            section #figures .live aria-labelledby="figures-title" { (figures(picture)) }
            section #nodes aria-labelledby="nodes-title" {
                h2 #nodes-title { "Nodes" }
                (filter(ask, picture))
                div #rows .live { (rows(ask, &view.nodes, view.taken.unix)) }
            }
            section #fleet .live aria-labelledby="fleet-title" { (fleet(picture, &view.daemonsets)) }
        }
        section #mirror .live aria-labelledby="mirror-title" { (mirror(status, now)) }
        section #exporter .live aria-labelledby="exporter-title" { (exporter(page)) }
    };
    frame("", title, &top(title, status), &main)
}

fn top(title: &str, status: &Status) -> Markup {
    let (class, word) = if status.ready { ("good", "ready") } else { ("critical", "not ready") };
    html! {
        (heading(".", &clip(title, CELL)))
        p #ready .live.pill.(class) { (word) }
        (clock())
    }
}

/// What the exporter itself has to say, before anything about nodes.
fn notices(status: &Status, view: Option<&View>) -> Vec<(Level, String)> {
    let mut notices = Vec::new();
    if !status.ready {
        notices.push((Level::Critical, format!("Not ready: {}.", status.ready_reason)));
    } else if let Some((_, notes)) = status.ready_reason.split_once("; ") {
        notices.push((Level::Notice, format!("Ready, but: {notes}{}", stop(notes))));
    }
    if view.is_some_and(|view| view.is_shard) {
        let told = "This is one of several shards: everything here is about its own nodes.";
        notices.push((Level::Notice, told.to_owned()));
    }
    if status.data_hidden {
        let told = "The scopes cluster and node are hidden from /metrics: USE_PROMETHEUS=false.";
        notices.push((Level::Notice, told.to_owned()));
    } else if !status.may_serve {
        let told = "Another process holds the Lease and serves the metrics; this one stands by, and shows what it scrapes itself.";
        notices.push((Level::Notice, told.to_owned()));
    }
    for outlet in status.mirror.outlets.iter().filter(|outlet| outlet.reason.is_some()) {
        let reason = outlet.reason_text.as_deref().or(outlet.reason).unwrap_or_default();
        let told = format!("CloudWatch gets nothing ({}): {reason}.", outlet.outlet);
        notices.push((Level::Critical, told));
    }
    notices
}

fn findings(status: &Status, view: Option<&View>, picture: Option<&Picture<'_>>) -> Markup {
    let notices = notices(status, view);
    let found = picture.map(|picture| &picture.findings[..]).unwrap_or_default();
    html! {
        h2 #findings-title { "What needs attention" }
        ul.findings {
            @for (level, told) in &notices {
                li.finding.(level.as_str()) { (mark(*level)) p { (clip(told, 600)) } }
            }
            @for finding in found.iter().take(FINDINGS) { (one(finding)) }
            @if found.len() > FINDINGS {
                li.finding.notice { (mark(Level::Notice)) p { "And " (found.len() - FINDINGS) " lesser findings." } }
            }
            @match picture {
                None => li.finding.notice {
                    (mark(Level::Notice))
                    p { "No figures yet: they come when every node has been asked once." }
                },
                Some(picture) if found.is_empty() => li.finding.good {
                    (mark(Level::Good))
                    p {
                        @if picture.nodes == 0 { "No node is known." }
                        @else {
                            strong { (nodes(picture.nodes)) }
                            " answer, and none lacks addresses as far as can be seen."
                        }
                    }
                },
                Some(_) => {},
            }
        }
    }
}

/// A word beside the colour, which not everybody sees.
fn mark(level: Level) -> Markup {
    html! { span.mark { (level.as_str()) } }
}

fn one(finding: &Finding<'_>) -> Markup {
    let rest = finding.nodes - finding.named.len();
    html! {
        li.finding.(finding.level.as_str()) {
            (mark(finding.level))
            div {
                p {
                    strong { (nodes(finding.nodes)) ": " (finding.what) }
                    @if let Some(common) = &finding.common { ", " (clip(common, 200)) }
                    "."
                }
                p.advice { (capital(finding.advice)) (stop(finding.advice)) }
                @if let Some(example) = finding.example { p.words { "“" (clip(example, 200)) "”" } }
                p.names {
                    @for (at, node) in finding.named.iter().enumerate() {
                        @if at > 0 { ", " }
                        (node_link(node))
                    }
                    @if rest > 0 { " and " (count(rest)) " more" }
                    @if let Some(show) = &finding.show {
                        " · " a href={ (show.link(|_| ())) "#nodes" } { "show in the table" }
                    }
                }
            }
        }
    }
}

fn figures(picture: &Picture<'_>) -> Markup {
    let [ipv4, ipv6] = &picture.addresses;
    html! {
        h2 #figures-title { "Pod addresses" }
        @if ipv4.nodes > 0 { (addresses(ipv4)) }
        @else if ipv6.nodes == 0 { p { "No node's values stand: nothing is known of addresses." } }
        @if ipv6.nodes > 0 {
            p {
                strong { (number(ipv6.assigned)) } " IPv6 addresses are in use on " (nodes(ipv6.nodes))
                "; prefixes give more than can be used."
            }
        }
        div.pair {
            @if ipv4.nodes > 0 { (chart(&picture.bars)) }
            table.small {
                caption { "Nodes by state" }
                tbody {
                    @for (state, n) in NodeState::ALL.into_iter().zip(picture.states) {
                        @let (name, words) = (state.as_str(), meaning(state));
                        tr {
                            th scope="row" { a href={ "?state=" (name) "#nodes" } { (name) } }
                            td.number { (count(n)) }
                            td { (words) }
                        }
                    }
                    tr { th scope="row" { "expected" } td.number { (count(picture.expected)) }
                         td { "should run aws-node" } }
                }
            }
        }
    }
}

fn meaning(state: NodeState) -> &'static str {
    match state {
        NodeState::Up => "last scrape good",
        NodeState::Stale => "last scrape failed, older values stand",
        NodeState::Failed => "no values",
        NodeState::Missing => "no aws-node pod",
    }
}

fn addresses(sum: &Addresses) -> Markup {
    let share = sum.share.map_or_else(|| "–".to_owned(), percent);
    html! {
        div.whole { (bar(&[("assigned", sum.assigned), ("warm", sum.warm)], sum.usable)) }
        dl.cards {
            div { dt { i.key.assigned {} "in use" } dd { (number(sum.assigned)) } dd.more { (share) " of usable" } }
            div { dt { i.key.warm {} "warm" } dd { (number(sum.warm)) } dd.more { "attached, no pod has them" } }
            div { dt { i.key.growth {} "to grow" } dd { (number(sum.growth)) } dd.more { "not attached yet" } }
            div { dt { "usable" } dd { (number(sum.usable)) } dd.more { "at most, on " @if sum.counted < sum.nodes { (count(sum.counted)) " of " } (nodes(sum.nodes)) } }
        }
    }
}

/// Nodes by the share of their addresses that is in use.
fn chart(bars: &[usize]) -> Markup {
    /// Units of the drawing: a bar, and the height of the tallest.
    const WIDTH: usize = 44;
    const HEIGHT: f64 = 90.0;
    let most = bars.iter().copied().max().unwrap_or(0).max(1) as f64;
    let name = |at: usize| match at {
        10 => "full".to_owned(),
        _ => format!("{}%", at * 10),
    };
    let spoken: Vec<String> = bars
        .iter()
        .enumerate()
        .filter(|(_, n)| **n > 0)
        .map(|(at, n)| {
            format!("{}: {n}", if at == 10 { name(at) } else { format!("from {}", name(at)) })
        })
        .collect();
    html! {
        figure {
            figcaption { "IPv4 nodes by the share of usable addresses in use" }
            svg.chart role="img" viewBox={ "0 0 " (bars.len() * WIDTH) " 130" }
                aria-label={ "Nodes by share in use. " (spoken.join(", ")) } {
                @for (at, n) in bars.iter().enumerate() {
                    @let height = *n as f64 / most * HEIGHT;
                    @let height = if *n > 0 { height.max(2.0) } else { 0.0 };
                    rect class=(if at >= 9 { "near" } else { "assigned" })
                        x=(at * WIDTH + 3) y=(format!("{:.1}", 108.0 - height))
                        width=(WIDTH - 6) height=(format!("{height:.1}")) {}
                    @if *n > 0 {
                        text x=(at * WIDTH + WIDTH / 2) y=(format!("{:.1}", 103.0 - height)) { (count(*n)) }
                    }
                    text.axis x=(at * WIDTH + WIDTH / 2) y="124" { (name(at)) }
                }
            }
        }
    }
}

fn filter(ask: &Ask, picture: &Picture<'_>) -> Markup {
    html! {
        form #filter method="get" action="." role="search" aria-label="Filter nodes" {
            @if ask.sort != Sort::Worst { input type="hidden" name="sort" value=(ask.sort.as_str()); }
            @if ask.descending { input type="hidden" name="order" value="desc"; }
            @if ask.rows != ROWS { input type="hidden" name="rows" value=(ask.rows); }
            label { "Name contains" input type="search" name="node" value=(ask.node) autocomplete="off"; }
            @for (at, (name, _)) in LABELS.iter().enumerate() {
                label {
                    (capital(name))
                    select name=(name) {
                        option value="" { "any" }
                        @let chosen = &ask.labels[at];
                        @if !chosen.is_empty() && !picture.choices[at].contains(&chosen.as_str()) {
                            option value=(chosen) selected { (clip(chosen, CELL)) }
                        }
                        @for value in &picture.choices[at] {
                            option value=(value) selected[value == chosen] { (clip(value, CELL)) }
                        }
                    }
                }
            }
            label {
                "State"
                select name="state" {
                    option value="" { "any" }
                    @for state in NodeState::ALL {
                        option selected[ask.state == Some(state)] { (state.as_str()) }
                    }
                }
            }
            label {
                "Reason"
                select name="reason" {
                    option value="" { "any" }
                    optgroup label="gets no more addresses" { (reasons(ask, true)) }
                    optgroup label="cannot be scraped" { (reasons(ask, false)) }
                }
            }
            button type="submit" { "Filter" }
        }
    }
}

fn reasons(ask: &Ask, of_growth: bool) -> Markup {
    html! {
        @for reason in Reason::all().filter(|r| matches!(r, Reason::Growth(_)) == of_growth) {
            option selected[ask.reason == Some(reason)] { (reason.as_str()) }
        }
    }
}

/// Columns of the table of nodes: heading, order, whether it holds numbers.
const COLUMNS: [(&str, Sort, bool); 11] = [
    ("Node", Sort::Node, false),
    ("State", Sort::State, false),
    ("In use", Sort::Use, true),
    ("Assigned", Sort::Assigned, true),
    ("Warm", Sort::Warm, true),
    ("Usable", Sort::Usable, true),
    ("No growth", Sort::Growth, false),
    ("Zone", Sort::Zone, false),
    ("Type", Sort::Type, false),
    ("Nodegroup", Sort::Nodegroup, false),
    ("Last good", Sort::Seen, true),
];

fn rows(ask: &Ask, all: &[NodeView], now: f64) -> Markup {
    let (shown, total) = ask.choose(all);
    let first = (ask.page as usize - 1).saturating_mul(ask.rows as usize);
    html! {
        p #count {
            @if ask.filters() { (nodes(total)) " of " (count(all.len())) " · " a href=".#nodes" { "show all" } }
            @else { (nodes(total)) }
            @if !shown.is_empty() {
                ", " (count(first + 1)) " to " (count(first + shown.len()))
                @if ask.sort == Sort::Worst { ", worst " (if ask.descending { "last" } else { "first" }) }
                @else { " · " a href={ (ask.link(|ask| (ask.sort, ask.descending) = (Sort::Worst, false))) "#nodes" } { "worst first" } }
            }
        }
        div.scroll role="region" aria-label="Table of nodes" tabindex="0" {
            table.nodes {
                thead { tr { @for of in COLUMNS { (column(ask, of)) } } }
                tbody { @for node in &shown { (row(node, now)) } }
            }
        }
        (pages(ask, total))
    }
}

fn column(ask: &Ask, (name, sort, is_number): (&str, Sort, bool)) -> Markup {
    let sorted = ask.sort == sort;
    let descending = if sorted { !ask.descending } else { sort.descends() };
    let link = ask.link(|ask| (ask.sort, ask.descending) = (sort, descending));
    let order = sorted.then_some(if ask.descending { "descending" } else { "ascending" });
    html! {
        th scope="col" class=[is_number.then_some("number")] aria-sort=[order] {
            a href={ (link) "#nodes" } { (name) @if sorted { span aria-hidden="true" { (if ask.descending { " ▼" } else { " ▲" }) } } }
        }
    }
}

fn row(node: &NodeView, now: f64) -> Markup {
    let label = |name: &str| clip(node.target.labels.get(name).unwrap_or("–"), CELL);
    let share = share(node);
    let near = share.is_some_and(|share| share >= super::picture::NEAR);
    // Of IPv6 nodes more addresses are attached than anybody can use.
    let room = |value: Option<f64>| maybe(value.filter(|value| can_be_used(*value)));
    html! {
        tr {
            th scope="row" { (node_link(&node.target.node)) }
            td { (state(node)) }
            td.number {
                @match share {
                    Some(share) => {
                        (bar(&[(if near { "near" } else { "assigned" }, share)], 1.0))
                        span.share { (percent(share)) }
                    },
                    None => "–",
                }
            }
            td.number { (maybe(node.assigned())) }
            td.number { (room(warm(node))) }
            td.number { (room(node.usable())) }
            td { @if let Some(reason) = node.growth { span.tag.(of_growth(reason).as_str()) { (reason.as_str()) } } }
            td { (label("zone")) }
            td { (label("instance_type")) }
            td { (label("nodegroup")) }
            td.number { (ago(now, node.last_success)) }
        }
    }
}

/// A node's state, and why it is not up.
pub(super) fn state(node: &NodeView) -> Markup {
    let class = match node.state {
        NodeState::Up => "good",
        NodeState::Stale => "warning",
        NodeState::Failed | NodeState::Missing => "critical",
    };
    let failed = |outcome: &Outcome| node.target.idle.is_none() && *outcome != Outcome::Ok;
    let outcome = node.last_outcome.filter(failed);
    html! {
        span.tag.(class) { (node.state.as_str()) }
        @if let Some(outcome) = outcome { " " (outcome.as_str()) }
    }
}

fn pages(ask: &Ask, total: usize) -> Markup {
    let last = u32::try_from(total.div_ceil(ask.rows as usize)).unwrap_or(u32::MAX).max(1);
    let to = |page: u32, word: &str| {
        html! { a.button href={ (ask.link(|ask| ask.page = page)) "#nodes" } { (word) } }
    };
    html! {
        @if last > 1 {
            nav.pages aria-label="Pages of nodes" {
                @if ask.page > 1 { (to((ask.page - 1).min(last), "Previous")) }
                span { "Page " (count(ask.page as usize)) " of " (count(last as usize)) }
                @if ask.page < last { (to(ask.page + 1, "Next")) }
            }
        }
    }
}

fn fleet(picture: &Picture<'_>, daemonsets: &[DaemonSet]) -> Markup {
    let rest: usize = picture.versions.iter().skip(FEW).map(|(_, n)| n).sum();
    html! {
        h2 #fleet-title { "VPC CNI" }
        div.pair {
            @if picture.versions.is_empty() { p { "No node's values stand." } }
            @else {
                table.small {
                    caption { "Nodes by version" }
                    tbody {
                        @for (version, n) in picture.versions.iter().take(FEW) {
                            tr { th scope="row" { (clip(version, CELL)) } td.number { (count(*n)) } }
                        }
                        @if rest > 0 { tr { th scope="row" { "others" } td.number { (count(rest)) } } }
                    }
                }
            }
            @for set in daemonsets.iter().take(FEW) {
                table.small {
                    caption { "DaemonSet " (clip(&set.name, CELL)) }
                    tbody {
                        @for (name, value) in set.settings.iter() {
                            tr { th scope="row" { (name) } td { (clip(value, CELL)) } }
                        }
                    }
                }
            }
        }
    }
}

fn mirror(status: &Status, now: Option<f64>) -> Markup {
    let mirror = &status.mirror;
    html! {
        h2 #mirror-title { "CloudWatch" }
        @if mirror.outlets.is_empty() { p { "The mirror is off." } }
        @else {
            p {
                "Cluster " strong { (clip(mirror.cluster.as_deref().unwrap_or("not known yet"), CELL)) }
                @if let Some(from) = &mirror.cluster_from { ", from " (clip(from, CELL)) }
                @if let Some(estimate) = &mirror.estimate { ". " (clip(estimate, 300)) }
            }
            div.scroll role="region" aria-label="Outlets of the mirror" tabindex="0" {
                table {
                    thead { tr {
                        th scope="col" { "Outlet" } th scope="col" { "State" }
                        th.number scope="col" { "Points sent" } th.number scope="col" { "Unconfirmed" }
                        th.number scope="col" { "Dropped" } th.number scope="col" { "Waiting" }
                        th.number scope="col" { "Last success" }
                    } }
                    tbody { @for outlet in &mirror.outlets { (of_outlet(outlet, now)) } }
                }
            }
        }
    }
}

fn of_outlet(outlet: &MirrorOutlet, now: Option<f64>) -> Markup {
    let dropped: Vec<String> =
        outlet.points_dropped.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    let class = if outlet.reason.is_some() { "critical" } else { "good" };
    html! {
        tr {
            th scope="row" { (outlet.outlet) }
            td { span.tag.(class) { (outlet.state) } @if let Some(reason) = outlet.reason { " " (reason) } }
            td.number { (number(outlet.points_sent as f64)) }
            td.number { (number(outlet.points_unconfirmed as f64)) }
            td.number { @if dropped.is_empty() { "0" } @else { (dropped.join(", ")) } }
            td.number { (count(outlet.queue_intervals)) " intervals, " (bytes(outlet.queue_bytes as u64)) }
            td.number { @match now { Some(now) => (ago(now, outlet.last_success)), None => "–" } }
        }
    }
}

fn exporter(page: &Page<'_>) -> Markup {
    let Page { status, telemetry_path, .. } = page;
    html! {
        h2 #exporter-title { "This exporter" }
        table.small {
            caption.hidden { "This exporter" }
            tbody {
                tr { th scope="row" { "version" } td { (status.version) } }
                tr { th scope="row" { "says" } td { (clip(&status.ready_reason, 600)) } }
                tr { th scope="row" { "up for" } td { (seconds(status.uptime_seconds)) } }
                @if let Some(round) = status.last_round_seconds {
                    tr { th scope="row" { "last round" } td { (seconds(round)) } }
                }
                @if let Some(view) = &status.view {
                    tr { th scope="row" { "view" } td { (seconds(view.age_seconds)) " old, made in " (seconds(view.publish_seconds)) } }
                    tr { th scope="row" { "page for Prometheus" } td {
                        (bytes(view.cluster_bytes + view.node_bytes)) ", compressed " (bytes(view.gzip_bytes))
                    } }
                }
                tr { th scope="row" { "connections" } td { (number(status.connections as f64)) } }
            }
        }
        p.links {
            a href=(relative(telemetry_path)) { (telemetry_path) } " · "
            a href={ (relative(telemetry_path)) "?scope=cluster" } { "cluster figures" } " · "
            @for path in [Path::Status, Path::Nodes, Path::Readyz] {
                a href=(relative(path.as_str())) { (path.as_str()) } " "
            }
        }
    }
}
