//! The page of one node: its state and why, its addresses, its interfaces, its last scrapes, every series.
//! Comes in: a node of a view. Goes out: HTML. Never: a series that the node did not serve.

use super::ask::{can_be_used, escaped, share, warm};
use super::cluster::state;
use super::parts::{
    CELL, address, ago, bar, capital, clip, clock, count, frame, heading, maybe, number, percent,
    relative, seconds, stop,
};
use super::picture::{is_no_number, of_growth};
use crate::catalog;
use crate::model::{NodeState, Outcome};
use crate::view::{FamilyId, NodeView, Page, Series, View, family_name};
use maud::{Markup, html};

/// The way to `/` from here.
const ROOT: &str = "../";

/// Pod addresses in use, by interface.
const PER_ENI: &str = "awscni_assigned_ip_per_eni";

/// Series at most: a page may have tens of thousands, which no person reads.
const SERIES: usize = 2000;

/// Characters of a label set or a reason.
const LONG: usize = 300;

/// The page of a node that there is.
pub(super) fn render(node: &NodeView, view: &View, telemetry_path: &str) -> Markup {
    let name = &node.target.node;
    let now = view.taken.unix;
    let main = html! {
        section #state .live aria-labelledby="state-title" { (standing(node, now)) }
        @if let Some(page) = &node.page {
            section #figures .live aria-labelledby="figures-title" { (figures(node)) (interfaces(view, page)) }
        }
        section #scrapes .live aria-labelledby="scrapes-title" { (scrapes(node, now)) }
        section #labels .live aria-labelledby="labels-title" { (labels(node)) }
        @if let Some(page) = &node.page {
            section #series .live aria-labelledby="series-title" { (series(view, page)) }
        }
    };
    let top = html! {
        (heading(ROOT, &clip(name, 2 * CELL)))
        p #state-pill .live { (state(node)) }
        (clock())
        p.links {
            a href=(ROOT) { "All nodes" } " · "
            a href={ (ROOT) (relative(telemetry_path)) "?node=" (escaped(name)) } { "its metrics" }
        }
    };
    frame(ROOT, name, &top, &main)
}

/// The page of a name that no node has.
pub(super) fn unknown(name: &str, view: Option<&View>) -> Markup {
    let main = html! {
        p {
            @if let Some(view) = view {
                "No node of this name is known now. It may have left, or never been"
                @if view.is_shard { ", or be another shard's" }
                "."
            } @else { "No node is known yet: every node must have been asked once." }
        }
        p { a href=(ROOT) { "All nodes" } }
    };
    let top = html! {
        (heading(ROOT, &clip(name, 2 * CELL)))
        (clock())
    };
    frame(ROOT, name, &top, &main)
}

fn standing(node: &NodeView, now: f64) -> Markup {
    let failing = node.target.idle.is_none().then_some(node.last_outcome).flatten();
    let advice = failing.map(|outcome| outcome.advice()).unwrap_or_default();
    let has_said = node.growth.is_some() || !node.reason.is_empty();
    html! {
        h2 #state-title { "State" }
        ul.findings {
            @if let Some(reason) = node.growth {
                li.finding.(of_growth(reason).as_str()) {
                    span.mark { (reason.as_str()) }
                    div { p { "It gets no more addresses." } p.advice { (capital(reason.advice())) "." } }
                }
            }
            @if !node.reason.is_empty() {
                li.finding.warning {
                    span.mark { (node.state.as_str()) }
                    div {
                        p.words { "“" (clip(&node.reason, LONG)) "”" }
                        @if !advice.is_empty() { p.advice { (capital(advice)) (stop(advice)) } }
                    }
                }
            }
            @if is_no_number(node) {
                li.finding.warning { span.mark { "NaN" } p { "It serves NaN or infinity instead of addresses; they enter no sum." } }
            }
            @if !has_said && node.state != NodeState::Up {
                li.finding.warning { span.mark { (node.state.as_str()) } p { "It was not scraped since aws-node came back." } }
            }
            @if !has_said && node.state == NodeState::Up && !is_no_number(node) {
                li.finding.good { span.mark { "good" } p { "It answers, and lacks no addresses as far as can be seen." } }
            }
        }
        dl.cards {
            div { dt { "scraped at" } dd.text { (clip(&address(node), 2 * CELL)) } }
            div { dt { "last good scrape" } dd.text { (ago(now, node.last_success)) } }
            div { dt { "VPC CNI" } dd.text { (clip(node.cni_version().unwrap_or("unknown"), CELL)) } }
            div { dt { "found by" } dd.text { (node.target.source.as_str()) } }
        }
    }
}

fn figures(node: &NodeView) -> Markup {
    let parts = node.assigned().zip(warm(node));
    let usable = node.usable().filter(|usable| can_be_used(*usable));
    html! {
        h2 #figures-title { "Pod addresses" }
        @if let (Some((assigned, warm)), Some(usable)) = (parts, usable) {
            div.whole { (bar(&[("assigned", assigned), ("warm", warm)], usable)) }
        }
        dl.cards {
            div { dt { i.key.assigned {} "in use" } dd { (maybe(node.assigned())) }
                dd.more { @if let Some(share) = share(node) { (percent(share)) " of usable" } } }
            div { dt { i.key.warm {} "warm" } dd { (maybe(warm(node).filter(|warm| can_be_used(*warm)))) } dd.more { "attached, no pod has them" } }
            div { dt { "usable" } dd { (maybe(usable)) } dd.more { "at most" } }
            div { dt { "ceiling" } dd { (maybe(node.max().filter(|max| can_be_used(*max)))) } dd.more { "of the instance (awscni_ip_max)" } }
            div {
                dt { "pod limit" } dd { (maybe(node.target.pod_limit.map(f64::from))) }
                dd.more { @if node.target.pod_limit.is_some() { "pods with an address that the kubelet takes" } @else { "not known of this node" } }
            }
        }
    }
}

/// Series of a page with their values.
fn rows<'v>(view: &'v View, page: &'v Page) -> impl Iterator<Item = (&'v Series, f64)> {
    let values = page.layout.rows.iter().zip(&page.values);
    values.filter_map(|(row, value)| Some((view.series_at(*row)?, *value)))
}

fn interfaces(view: &View, page: &Page) -> Markup {
    let of_enis = |series: &Series| family_name(view, series.family) == PER_ENI;
    let enis: Vec<(&Series, f64)> = rows(view, page).filter(|(s, _)| of_enis(s)).collect();
    let most = enis.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    html! {
        @if !enis.is_empty() {
            table.small {
                caption { "Addresses in use by interface" }
                tbody {
                    @for (series, value) in &enis {
                        tr {
                            th scope="row" { code { (clip(&series.labels, LONG)) } }
                            td.number { (bar(&[("assigned", *value)], most)) (number(*value)) }
                        }
                    }
                }
            }
        }
    }
}

fn scrapes(node: &NodeView, now: f64) -> Markup {
    html! {
        h2 #scrapes-title { "Last scrapes" }
        @if node.recent.iter().next().is_none() { p { "It was not scraped yet." } }
        @else {
            table.small {
                caption.hidden { "Last scrapes" }
                thead { tr {
                    th scope="col" { "Ended" } th scope="col" { "Outcome" } th.number scope="col" { "Took" }
                } }
                tbody {
                    @for ended in node.recent.iter() {
                        @let class = if ended.outcome == Outcome::Ok { "good" } else { "critical" };
                        tr {
                            td { (ago(now, Some(ended.unix.into()))) }
                            td { span.tag.(class) { (ended.outcome.as_str()) } }
                            td.number { (seconds(f64::from(ended.millis) / 1000.0)) }
                        }
                    }
                }
            }
            p { (count(node.samples)) " samples on the last good page." }
        }
    }
}

fn labels(node: &NodeView) -> Markup {
    html! {
        h2 #labels-title { "Labels" }
        @if node.target.labels.iter().next().is_none() { p { "None are known." } }
        @else {
            table.small {
                caption.hidden { "Labels" }
                tbody {
                    @for (name, value) in node.target.labels.iter() {
                        tr { th scope="row" { (clip(name, CELL)) } td { (clip(value, LONG)) } }
                    }
                }
            }
        }
    }
}

fn series(view: &View, page: &Page) -> Markup {
    let total = page.values.len();
    let mut family = None;
    html! {
        h2 #series-title { "Series" }
        p {
            (count(total)) " series, as its last good page had them"
            @if total > SERIES { ", of which the first " (count(SERIES)) " are shown; the rest is in " code { "/metrics" } }
            "; rows that tell nothing apart are added up."
        }
        div.scroll role="region" aria-label="Series of the node" tabindex="0" {
            table.series {
                caption.hidden { "Series of the node" }
                tbody {
                    @for (series, value) in rows(view, page).take(SERIES) {
                        @if family != Some(series.family) {
                            @let () = family = Some(series.family);
                            tr.family { th scope="rowgroup" colspan="2" {
                                code { (family_name(view, series.family)) }
                                @if let FamilyId::Known(index) = series.family { span.help { (catalog::FAMILIES[usize::from(index)].help) } }
                            } }
                        }
                        tr {
                            td { code { (series.suffix.as_str()) @if !series.labels.is_empty() { "{" (clip(&series.labels, LONG)) "}" } } }
                            td.number { (number(value)) }
                        }
                    }
                }
            }
        }
    }
}
