//! What of the nodes a page shows. Comes in: a query string. Goes out: a filter, an order, a page; and the
//! query of a link that changes one of them. Never: a parameter that is ignored.

use super::super::params::{BadParam, number, pairs};
use crate::model::{Growth, NodeState, Outcome};
use crate::view::{IPV6_TOTAL, NodeView};
use axum::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use std::cmp::Ordering;
use std::collections::HashSet;

/// Rows of a page where nothing is said: with the longest names a page of them stays below 60 KB.
pub(super) const ROWS: u32 = 25;

/// Rows of a page at most.
const ROWS_MAX: u32 = 500;

/// What a link need not escape.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Labels by which nodes are filtered and sorted: the parameter, the label.
pub(super) const LABELS: [(&str, &str); 3] =
    [("zone", "zone"), ("type", "instance_type"), ("nodegroup", "nodegroup")];

/// An order of the nodes. Whatever cannot be compared comes last, and equals are in the order of their
/// names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// What needs somebody first.
    Worst,
    Node,
    State,
    Use,
    Assigned,
    Warm,
    Usable,
    Growth,
    Zone,
    Type,
    Nodegroup,
    Seen,
}

impl Sort {
    pub(super) const ALL: [Sort; 12] = [
        Sort::Worst,
        Sort::Node,
        Sort::State,
        Sort::Use,
        Sort::Assigned,
        Sort::Warm,
        Sort::Usable,
        Sort::Growth,
        Sort::Zone,
        Sort::Type,
        Sort::Nodegroup,
        Sort::Seen,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Sort::Worst => "worst",
            Sort::Node => "node",
            Sort::State => "state",
            Sort::Use => "use",
            Sort::Assigned => "assigned",
            Sort::Warm => "warm",
            Sort::Usable => "usable",
            Sort::Growth => "growth",
            Sort::Zone => "zone",
            Sort::Type => "type",
            Sort::Nodegroup => "nodegroup",
            Sort::Seen => "seen",
        }
    }

    /// Whether the first click on it shows the largest first.
    pub(super) fn descends(self) -> bool {
        matches!(self, Sort::Use | Sort::Assigned | Sort::Usable)
    }

    /// By what a node is compared: made once for each, as a comparison looks at two.
    fn key<'v>(self, node: &'v NodeView) -> Key<'v> {
        let number = |value: Option<f64>| Key { number: value.filter(|n| !n.is_nan()), text: "" };
        let text = |text: &'v str| Key { number: Some(0.0), text };
        let label = |name: &str| node.target.labels.get(name).map_or_else(|| number(None), text);
        match self {
            // The worst first, which is the smallest; a share of 9 is as bad as any above.
            Sort::Worst => {
                let share = share(node).unwrap_or(-1.0).min(9.0);
                number(Some(-(f64::from(urgency(node)) * 20.0 + share)))
            }
            Sort::Node => number(Some(0.0)),
            Sort::State => text(node.state.as_str()),
            Sort::Use => number(share(node)),
            Sort::Assigned => number(node.assigned()),
            Sort::Warm => number(warm(node)),
            Sort::Usable => number(node.usable()),
            Sort::Growth => number(node.growth.map(|reason| f64::from(reason as u8))),
            Sort::Zone => label("zone"),
            Sort::Type => label("instance_type"),
            Sort::Nodegroup => label("nodegroup"),
            // The longest ago first.
            Sort::Seen => number(node.last_success),
        }
    }
}

/// What a node is compared by.
#[derive(Debug, Clone, Copy)]
struct Key<'v> {
    /// `None` comes last in both directions.
    number: Option<f64>,
    text: &'v str,
}

impl Key<'_> {
    fn compare(&self, other: &Key<'_>, descending: bool) -> Ordering {
        match (self.number, other.number) {
            (Some(a), Some(b)) => {
                let order = a.total_cmp(&b).then_with(|| self.text.cmp(other.text));
                if descending { order.reverse() } else { order }
            }
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

/// How badly a node needs somebody: first those that get no addresses for a reason that can be mended, then
/// those of which nothing is known, then full ones.
fn urgency(node: &NodeView) -> u8 {
    match (node.state, node.growth) {
        (_, Some(Growth::Ceiling | Growth::MaxPods)) => 2,
        (_, Some(_)) => 4,
        (NodeState::Failed | NodeState::Missing, None) => 3,
        (NodeState::Stale, None) => 1,
        (NodeState::Up, None) => 0,
    }
}

/// Addresses assigned as a share of those that can be used; `None` where that says nothing.
pub(super) fn share(node: &NodeView) -> Option<f64> {
    let (assigned, usable) = (node.assigned()?, node.usable()?);
    let share = assigned / usable;
    (usable > 0.0 && can_be_used(usable) && share.is_finite()).then_some(share)
}

/// Whether so many addresses can be put to use by anybody: those of an IPv6 prefix cannot.
pub(super) fn can_be_used(addresses: f64) -> bool {
    addresses < IPV6_TOTAL
}

/// Addresses attached that no pod has.
pub(super) fn warm(node: &NodeView) -> Option<f64> {
    let warm = node.total()? - node.assigned()?;
    warm.is_finite().then_some(warm)
}

/// Why a node is in a list: one of two closed sets that share no word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Growth(Growth),
    Outcome(Outcome),
}

impl Reason {
    pub(super) fn all() -> impl Iterator<Item = Reason> {
        let growth = Growth::ALL.into_iter().map(Reason::Growth);
        growth.chain(Outcome::ALL.into_iter().skip(1).map(Reason::Outcome))
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Reason::Growth(reason) => reason.as_str(),
            Reason::Outcome(outcome) => outcome.as_str(),
        }
    }

    fn is(self, node: &NodeView) -> bool {
        match self {
            Reason::Growth(reason) => node.growth == Some(reason),
            // While it is idle, its last outcome is not why.
            Reason::Outcome(outcome) => {
                node.target.idle.is_none() && node.last_outcome == Some(outcome)
            }
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) sort: Sort,
    pub(super) descending: bool,
    /// From 1.
    pub(super) page: u32,
    pub(super) rows: u32,
    /// Part of a node's name, in any case; empty for all.
    pub(super) node: String,
    /// Values of [`LABELS`]; empty for all.
    pub(super) labels: [String; LABELS.len()],
    pub(super) state: Option<NodeState>,
    pub(super) reason: Option<Reason>,
}

impl Default for Ask {
    fn default() -> Ask {
        Ask {
            sort: Sort::Worst,
            descending: false,
            page: 1,
            rows: ROWS,
            node: String::new(),
            labels: Default::default(),
            state: None,
            reason: None,
        }
    }
}

impl Ask {
    /// Reads a query. A parameter without a value is as good as none: forms send them.
    pub(super) fn read(uri: &Uri) -> Result<Ask, BadParam> {
        let (mut ask, mut seen) = (Ask::default(), HashSet::new());
        for (key, value) in pairs(uri)? {
            let bad = |allowed| Err(BadParam::new(&key, &value, allowed));
            if !seen.insert(key.clone()) {
                return bad("each parameter once");
            }
            let label = LABELS.iter().position(|(name, _)| *name == key);
            match (key.as_str(), value.as_str()) {
                ("sort" | "order" | "page" | "rows" | "state" | "reason", "") => {}
                ("sort", _) => match Sort::ALL.into_iter().find(|sort| sort.as_str() == value) {
                    Some(sort) => ask.sort = sort,
                    None => return bad("worst, or the name of a column in small letters"),
                },
                ("order", "asc") => ask.descending = false,
                ("order", "desc") => ask.descending = true,
                ("order", _) => return bad("asc or desc"),
                ("page", _) => match number(&value).filter(|page| *page > 0) {
                    Some(page) => ask.page = page,
                    None => return bad("a whole number from 1"),
                },
                ("rows", _) => match number(&value).filter(|n| (1..=ROWS_MAX).contains(n)) {
                    Some(rows) => ask.rows = rows,
                    None => return bad("a whole number from 1 to 500"),
                },
                ("state", _) => match NodeState::ALL.into_iter().find(|s| s.as_str() == value) {
                    Some(state) => ask.state = Some(state),
                    None => return bad("up, stale, failed or missing"),
                },
                ("reason", _) => match Reason::all().find(|reason| reason.as_str() == value) {
                    Some(reason) => ask.reason = Some(reason),
                    None => {
                        return bad(
                            "a reason of vpccni_node_growth_blocked, or an outcome of a failed scrape",
                        );
                    }
                },
                ("node", _) => ask.node = value,
                _ => match label {
                    Some(at) => ask.labels[at] = value,
                    None => {
                        return bad(
                            "the parameters sort, order, page, rows, node, zone, type, nodegroup, state and reason",
                        );
                    }
                },
            }
        }
        Ok(ask)
    }

    /// Whether only some nodes are asked for.
    pub(super) fn filters(&self) -> bool {
        let Ask { node, labels, state, reason, .. } = self;
        !node.is_empty()
            || labels.iter().any(|l| !l.is_empty())
            || state.is_some()
            || reason.is_some()
    }

    /// Whether a node is one of them. `part` is [`Ask::node`] in small letters.
    fn wants(&self, node: &NodeView, part: &str) -> bool {
        let labels = self.labels.iter().zip(LABELS);
        (part.is_empty() || node.target.node.to_lowercase().contains(part))
            && self.state.is_none_or(|state| node.state == state)
            && self.reason.is_none_or(|reason| reason.is(node))
            && labels
                .filter(|(value, _)| !value.is_empty())
                .all(|(value, (_, label))| node.target.labels.get(label) == Some(value.as_str()))
    }

    /// The nodes of the page, and how many there are on all pages.
    pub(super) fn choose<'v>(&self, all: &'v [NodeView]) -> (Vec<&'v NodeView>, usize) {
        let part = self.node.to_lowercase();
        let wanted = all.iter().filter(|node| self.wants(node, &part));
        let mut kept: Vec<(Key<'v>, &NodeView)> =
            wanted.map(|node| (self.sort.key(node), node)).collect();
        let total = kept.len();
        let begin = (self.page as usize - 1).saturating_mul(self.rows as usize).min(total);
        let end = begin.saturating_add(self.rows as usize).min(total);
        let order = |(a, left): &(Key<'v>, &NodeView), (b, right): &(Key<'v>, &NodeView)| {
            a.compare(b, self.descending).then_with(|| {
                let names = left.target.node.cmp(&right.target.node);
                if self.sort == Sort::Node && self.descending { names.reverse() } else { names }
            })
        };
        // The page alone must be in order, what comes before it only before it.
        if begin > 0 {
            kept.select_nth_unstable_by(begin - 1, order);
        }
        let mut rest = kept.split_off(begin);
        if end < total {
            rest.select_nth_unstable_by(end - begin, order);
        }
        rest.truncate(end - begin);
        rest.sort_unstable_by(order);
        (rest.into_iter().map(|(_, node)| node).collect(), total)
    }

    /// The query of a link to the same with a change; it leads to the first page but where the change
    /// says another.
    pub(super) fn link(&self, change: impl FnOnce(&mut Ask)) -> String {
        let mut ask = Ask { page: 1, ..self.clone() };
        change(&mut ask);
        ask.query()
    }

    fn query(&self) -> String {
        let plain = Ask::default();
        let mut query = String::from("?");
        let mut add = |key: &str, value: &str| {
            if query.len() > 1 {
                query.push('&');
            }
            query.push_str(key);
            query.push('=');
            query.extend(escaped(value));
        };
        if self.sort != plain.sort {
            add("sort", self.sort.as_str());
        }
        if self.descending {
            add("order", "desc");
        }
        if self.page != plain.page {
            add("page", &self.page.to_string());
        }
        if self.rows != plain.rows {
            add("rows", &self.rows.to_string());
        }
        if !self.node.is_empty() {
            add("node", &self.node);
        }
        for ((key, _), value) in LABELS.iter().zip(&self.labels).filter(|(_, v)| !v.is_empty()) {
            add(key, value);
        }
        if let Some(state) = self.state {
            add("state", state.as_str());
        }
        if let Some(reason) = self.reason {
            add("reason", reason.as_str());
        }
        query
    }
}

/// A text as part of a link.
pub(super) fn escaped(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, PLAIN)
}

/// A node's page, as a link of the first page. `None` for a name that no Kubernetes node can have: one
/// that is too long, or that a browser would take for a folder.
pub(super) fn page_of(node: &str) -> Option<String> {
    /// Of a DNS subdomain, which names of Kubernetes objects are.
    const LONGEST: usize = 253;
    let fits = node.len() <= LONGEST && !matches!(node, "." | "..");
    fits.then(|| format!("node/{}", escaped(node)))
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
