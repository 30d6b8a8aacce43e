//! `/api/v1`. Comes in: the newest view and what the app told. Goes out: JSON with fields that stay
//! (they are API, like metric names). Never: a field that is sometimes absent (what is not known is
//! `null`), a page of more than [`PER_PAGE_MAX`] nodes.

use super::Shared;
use super::params::{BadParam, number, pairs};
use crate::mirror::{Drop, Trouble};
use crate::model::{Growth, NodeState, TargetLabels};
use crate::view::NodeView;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes on a page where `per_page` does not say.
pub(crate) const PER_PAGE: u32 = 100;

/// Nodes on a page at most: half a megabyte of JSON.
pub(crate) const PER_PAGE_MAX: u32 = 1000;

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Of the exporter, as `1.2.3`.
    pub version: &'static str,
    /// Seconds since the process began.
    pub uptime_seconds: f64,
    /// What `/readyz` says.
    pub ready: bool,
    /// The same in words.
    pub ready_reason: String,
    /// Targets of the newest list; `null` until discovery has synced.
    pub targets: Option<usize>,
    /// Rounds closed since the process began.
    pub rounds_closed: u64,
    /// Seconds that the last round took; `null` before the first.
    pub last_round_seconds: Option<f64>,
    /// Nodes of the view by state; `null` before the first view.
    pub nodes: Option<NodeCounts>,
    /// The view that is served; `null` before the first.
    pub view: Option<ViewStatus>,
    /// Whether `/metrics` leaves out the scopes cluster and node (`USE_PROMETHEUS=false`).
    pub data_hidden: bool,
    /// Whether this process serves the scopes cluster and node now: not while hidden, before the first
    /// view, or while another process leads.
    pub serves_data: bool,
    /// The CloudWatch mirror.
    pub mirror: Mirror,
    /// Whether data are this process's to serve now, served or not: false while another process may lead.
    pub may_serve: bool,
    /// HTTP connections that are open, this one included.
    pub connections: i64,
}

/// The CloudWatch mirror, as it tells of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Mirror {
    /// The cluster's name in CloudWatch; `null` while it is not known.
    pub cluster: Option<String>,
    /// Where that name is from.
    pub cluster_from: Option<String>,
    /// Metrics that were sent in the last hour.
    pub billed_metrics: usize,
    /// About what that costs in a month; `null` before the first interval.
    pub estimated_monthly_cost_dollars: Option<f64>,
    /// The same in words.
    pub estimate: Option<String>,
    /// Those that were asked for; empty while the mirror is off.
    pub outlets: Vec<MirrorOutlet>,
}

/// One outlet of the mirror.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MirrorOutlet {
    /// `put`, `stdout`, `agent` or `logs`.
    pub outlet: &'static str,
    /// `waiting`, `leading`, `following` or `refused`.
    pub state: &'static str,
    /// While it is refused: why, as the label `reason`.
    pub reason: Option<&'static str>,
    /// The same in words.
    pub reason_text: Option<String>,
    /// Points that it took.
    pub points_sent: u64,
    /// Points that were sent and never answered for.
    pub points_unconfirmed: u64,
    /// Points that were not sent, by reason; only reasons that occurred.
    pub points_dropped: BTreeMap<&'static str, u64>,
    /// Intervals that wait.
    pub queue_intervals: usize,
    /// Their bytes.
    pub queue_bytes: usize,
    /// Unix seconds at which the oldest of them began.
    pub oldest: Option<i64>,
    /// Unix seconds at which points were last taken.
    pub last_success: Option<f64>,
}

impl Mirror {
    fn of(board: crate::observe::ship::Board) -> Mirror {
        let (cluster, cluster_from) = board.cluster.unzip();
        let (dollars, estimate) = board.cost.unzip();
        let outlets = board.outlets.into_iter().map(|(sink, standing)| {
            let (reason, reason_text) = standing.reason.unzip();
            let dropped = Drop::ALL.into_iter().zip(standing.tally.dropped);
            MirrorOutlet {
                outlet: sink.as_str(),
                state: standing.state.as_str(),
                reason: reason.map(Trouble::as_str),
                reason_text,
                points_sent: standing.tally.sent,
                points_unconfirmed: standing.tally.unconfirmed,
                points_dropped: dropped
                    .filter(|(_, n)| *n > 0)
                    .map(|(r, n)| (r.as_str(), n))
                    .collect(),
                queue_intervals: standing.waiting,
                queue_bytes: standing.waiting_bytes,
                oldest: standing.oldest,
                last_success: standing.last_success,
            }
        });
        Mirror {
            cluster,
            cluster_from,
            billed_metrics: board.billed,
            estimated_monthly_cost_dollars: dollars,
            estimate,
            outlets: outlets.collect(),
        }
    }
}

/// Nodes by state: disjoint, and together all that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct NodeCounts {
    /// Last scrape good.
    pub up: usize,
    /// Last scrape failed, the values before it stand.
    pub stale: usize,
    /// No values that stand.
    pub failed: usize,
    /// Eligible, but without an aws-node pod.
    pub missing: usize,
}

/// The view that is served.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ViewStatus {
    /// Grows with every view.
    pub generation: u64,
    /// Unix seconds when it was taken.
    pub taken: f64,
    /// Seconds since it was published.
    pub age_seconds: f64,
    /// Seconds that it took to make it and its bodies.
    pub publish_seconds: f64,
    /// Bytes of the scope cluster as text.
    pub cluster_bytes: u64,
    /// Bytes of the scope node as text.
    pub node_bytes: u64,
    /// Bytes of both, compressed.
    pub gzip_bytes: u64,
}

/// `GET /api/v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Nodes<'a> {
    /// As asked for; the first is 1.
    pub page: u32,
    /// As asked for, 1 to 1000.
    pub per_page: u32,
    /// Nodes on all pages, after the filters.
    pub total: usize,
    /// False before the first view: then there are no nodes to show, and that says nothing.
    pub complete: bool,
    /// Sorted by name.
    pub nodes: Vec<Node<'a>>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node<'a> {
    /// The value of the label `node`.
    pub node: &'a str,
    /// `host:port`; `null` while the node cannot be scraped.
    pub address: Option<String>,
    /// How it was discovered: `static`, `file` or `kubernetes`.
    pub source: &'static str,
    /// `up`, `stale`, `failed` or `missing`.
    pub state: &'static str,
    /// An outcome of DESIGN §4; `null` before the first scrape.
    pub last_outcome: Option<&'static str>,
    /// The last failure in words; empty while the last scrape is good.
    pub reason: &'a str,
    /// Unix seconds of the last scrape's end; `null` before the first.
    pub last_scrape: Option<f64>,
    /// Unix seconds of the last good scrape's end; `null` before the first.
    pub last_success: Option<f64>,
    /// Seconds that the last scrape took; `null` before the first.
    pub scrape_seconds: Option<f64>,
    /// Samples on the last good page.
    pub samples: usize,
    /// `ipv4` or `ipv6`: the family of its pods' addresses.
    pub ip_family: &'static str,
    /// Of the CNI, while values stand and if it tells.
    pub cni_version: Option<&'a str>,
    /// Addresses assigned to pods, while values stand.
    pub assigned: Option<f64>,
    /// Addresses attached, while values stand.
    pub total: Option<f64>,
    /// Addresses that could be attached, while values stand.
    pub max: Option<f64>,
    /// Addresses that it can put to use, while values stand: the lower of `max` and what the kubelet's pod
    /// limit leaves room for, where that is known.
    pub usable: Option<f64>,
    /// Why it gets no more addresses, and what can be done: `null` where it can grow as far as is known.
    pub growth_blocked: Option<&'static str>,
    /// The same in a sentence.
    pub growth_advice: Option<&'static str>,
    /// Those of its info metric that discovery found.
    #[serde(serialize_with = "labels")]
    pub labels: &'a TargetLabels,
}

fn labels<S: Serializer>(labels: &TargetLabels, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter())
}

impl<'a> Node<'a> {
    fn of(view: &'a NodeView) -> Node<'a> {
        Node {
            node: &view.target.node,
            address: view.target.idle.is_none().then(|| view.target.address()),
            source: view.target.source.as_str(),
            state: view.state.as_str(),
            last_outcome: view.last_outcome.map(|outcome| outcome.as_str()),
            reason: &view.reason,
            last_scrape: view.last_scrape,
            last_success: view.last_success,
            scrape_seconds: view.last_scrape.map(|_| view.last_seconds),
            samples: view.samples,
            ip_family: if view.ipv6 { "ipv6" } else { "ipv4" },
            cni_version: view.cni_version(),
            assigned: view.assigned(),
            total: view.total(),
            max: view.max(),
            usable: view.usable(),
            growth_blocked: view.growth.map(Growth::as_str),
            growth_advice: view.growth.map(Growth::advice),
            labels: &view.target.labels,
        }
    }
}

impl NodeCounts {
    fn of(nodes: &[NodeView]) -> NodeCounts {
        nodes.iter().fold(NodeCounts::default(), |mut counts, node| {
            match node.state {
                NodeState::Up => counts.up += 1,
                NodeState::Stale => counts.stale += 1,
                NodeState::Failed => counts.failed += 1,
                NodeState::Missing => counts.missing += 1,
            }
            counts
        })
    }
}

impl Shared {
    /// Everything in one piece, as of now.
    pub(crate) fn status(&self) -> Status {
        let verdict = self.verdict();
        let published = self.bodies.newest();
        let view = published.as_deref().map(|published| ViewStatus {
            generation: published.view.generation,
            taken: published.view.taken.unix,
            age_seconds: self.view_age().unwrap_or(0.0),
            publish_seconds: published.seconds,
            cluster_bytes: published.cluster.len,
            node_bytes: published.node.len,
            gzip_bytes: (published.cluster.deflate.len() + published.node.deflate.len()) as u64,
        });
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.uptime(),
            ready: verdict.ready,
            ready_reason: verdict.reason,
            targets: self.readiness.targets(),
            rounds_closed: self.readiness.rounds(),
            last_round_seconds: self.readiness.last_round(),
            nodes: published.as_deref().map(|published| NodeCounts::of(&published.view.nodes)),
            view,
            data_hidden: self.bodies.hidden(),
            serves_data: self.bodies.serves(),
            mirror: Mirror::of(self.observe.mirror()),
            may_serve: self.bodies.may_serve(),
            connections: self.observe.connections(),
        }
    }
}

/// The handler of `/api/v1/status`, which knows no parameters.
pub(crate) async fn status(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    match pairs(&uri).map(|pairs| pairs.into_iter().next()) {
        Ok(None) => Json(shared.status()).into_response(),
        Ok(Some((key, value))) => refused(&BadParam::new(&key, &value, "no parameters here")),
        Err(bad) => refused(&bad),
    }
}

/// The handler of `/api/v1/nodes`.
pub(crate) async fn nodes(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let ask = match NodesAsk::read(&uri) {
        Ok(ask) => ask,
        Err(bad) => return refused(&bad),
    };
    let published = shared.bodies.newest();
    let all = published.as_deref().map(|published| &published.view.nodes[..]);
    Json(ask.answer(all)).into_response()
}

fn refused(bad: &BadParam) -> Response {
    (StatusCode::BAD_REQUEST, Json(bad)).into_response()
}

/// What of the nodes is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodesAsk {
    page: u32,
    per_page: u32,
    state: Option<NodeState>,
    node: Option<String>,
}

impl NodesAsk {
    fn read(uri: &Uri) -> Result<NodesAsk, BadParam> {
        let mut ask = NodesAsk { page: 1, per_page: PER_PAGE, state: None, node: None };
        let pairs = pairs(uri)?;
        for (at, (key, value)) in pairs.iter().enumerate() {
            let bad = |allowed| Err(BadParam::new(key, value, allowed));
            if pairs[..at].iter().any(|(before, _)| before == key) {
                return bad("each parameter once");
            }
            match key.as_str() {
                "page" => match number(value) {
                    Some(page) if page >= 1 => ask.page = page,
                    _ => return bad("a whole number from 1"),
                },
                "per_page" => match number(value) {
                    Some(count) if (1..=PER_PAGE_MAX).contains(&count) => ask.per_page = count,
                    _ => return bad("a whole number from 1 to 1000"),
                },
                "state" => match NodeState::ALL.into_iter().find(|s| s.as_str() == *value) {
                    Some(state) => ask.state = Some(state),
                    None => return bad("up, stale, failed or missing"),
                },
                "node" => ask.node = Some(value.clone()),
                _ => return bad("the parameters page, per_page, state and node"),
            }
        }
        Ok(ask)
    }

    fn answer<'a>(&self, all: Option<&'a [NodeView]>) -> Nodes<'a> {
        let wanted = |node: &&NodeView| {
            self.state.is_none_or(|state| node.state == state)
                && self.node.as_deref().is_none_or(|name| *node.target.node == *name)
        };
        let kept: Vec<&NodeView> = all.unwrap_or_default().iter().filter(wanted).collect();
        let per_page = self.per_page as usize;
        let skipped = (self.page as usize - 1).saturating_mul(per_page);
        Nodes {
            page: self.page,
            per_page: self.per_page,
            total: kept.len(),
            complete: all.is_some(),
            nodes: kept.into_iter().skip(skipped).take(per_page).map(Node::of).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Outcome, Source, Target};
    use crate::view::{Layout, Page, Roles};
    use serde_json::json;

    /// As the store makes it for a node that answers, or that did once.
    fn node(name: &str, state: NodeState) -> NodeView {
        let labels = [("zone".to_owned(), "us-west-2b".to_owned())];
        let good = state == NodeState::Up;
        NodeView {
            growth: None,
            target: Arc::new(Target {
                labels: labels.into_iter().collect(),
                ..Target::new(name, "fd00::7", 61678, "/metrics", Source::File)
            }),
            state,
            last_outcome: Some(if good { Outcome::Ok } else { Outcome::Timeout }),
            reason: if good { "" } else { "no answer in 10 s" }.into(),
            last_scrape: Some(1_800_000_000.5),
            last_success: good.then_some(1_800_000_000.5),
            last_seconds: 0.25,
            recent: Default::default(),
            samples: if good { 77 } else { 0 },
            ipv6: good,
            page: good.then(|| {
                let roles = Roles {
                    version: Some("v1.20.0".into()),
                    address_rows: [Some(2), Some(1), Some(0)],
                    ..Roles::default()
                };
                let layout = Layout { roles: Arc::new(roles), ..Layout::default() };
                Arc::new(Page { layout: Arc::new(layout), values: [58.0, 14.0, 5.0].into() })
            }),
        }
    }

    fn answer(query: &str, all: Option<&[NodeView]>) -> serde_json::Value {
        let uri = format!("/api/v1/nodes?{query}").parse().unwrap();
        serde_json::to_value(NodesAsk::read(&uri).unwrap().answer(all)).unwrap()
    }

    #[test]
    fn every_field_of_a_node_is_there_under_its_name() {
        let mut all = [node("ip-1", NodeState::Up), node("ip-2", NodeState::Failed)];
        all[0].growth = Some(Growth::Ceiling);
        let advice = Growth::Ceiling.advice();
        let expected = json!({
            "page": 1, "per_page": 100, "total": 2, "complete": true,
            "nodes": [
                {
                    "node": "ip-1", "address": "[fd00::7]:61678", "source": "file", "state": "up",
                    "last_outcome": "ok", "reason": "", "last_scrape": 1_800_000_000.5,
                    "last_success": 1_800_000_000.5, "scrape_seconds": 0.25, "samples": 77,
                    "ip_family": "ipv6", "cni_version": "v1.20.0", "assigned": 5.0, "total": 14.0,
                    "max": 58.0, "usable": 58.0, "growth_blocked": "ceiling", "growth_advice": advice,
                    "labels": {"zone": "us-west-2b"}
                },
                {
                    "node": "ip-2", "address": "[fd00::7]:61678", "source": "file",
                    "state": "failed", "last_outcome": "timeout", "reason": "no answer in 10 s",
                    "last_scrape": 1_800_000_000.5, "last_success": null, "scrape_seconds": 0.25,
                    "samples": 0, "ip_family": "ipv4", "cni_version": null, "assigned": null,
                    "total": null, "max": null, "usable": null, "growth_blocked": null, "growth_advice": null,
                    "labels": {"zone": "us-west-2b"}
                }
            ]
        });
        assert_eq!(answer("", Some(&all)), expected);
    }

    #[test]
    fn a_node_before_its_first_scrape_has_no_duration() {
        let mut fresh = node("ip-1", NodeState::Failed);
        (fresh.last_scrape, fresh.last_outcome) = (None, None);
        let answer = answer("", Some(&[fresh]));
        assert_eq!(answer["nodes"][0]["scrape_seconds"], json!(null));
        assert_eq!(answer["nodes"][0]["last_outcome"], json!(null));
    }

    #[test]
    fn pages_cut_the_list_without_loss() {
        let all: Vec<NodeView> = (0..7).map(|i| node(&format!("n{i}"), NodeState::Up)).collect();
        let names = |page: u32| -> Vec<String> {
            let page = answer(&format!("per_page=3&page={page}"), Some(&all));
            assert_eq!((&page["total"], &page["complete"]), (&json!(7), &json!(true)));
            let nodes = page["nodes"].as_array().unwrap();
            nodes.iter().map(|node| node["node"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(1), ["n0", "n1", "n2"]);
        assert_eq!(names(2), ["n3", "n4", "n5"]);
        assert_eq!(names(3), ["n6"]);
        assert_eq!(names(4), [""; 0]);
        assert_eq!(names(u32::MAX), [""; 0]);
    }

    #[test]
    fn filters_intersect_and_the_total_follows_them() {
        let all =
            [node("a", NodeState::Up), node("b", NodeState::Stale), node("c", NodeState::Stale)];
        assert_eq!(answer("state=stale", Some(&all))["total"], json!(2));
        assert_eq!(answer("state=stale&node=c", Some(&all))["nodes"][0]["node"], json!("c"));
        assert_eq!(answer("state=up&node=c", Some(&all))["total"], json!(0));
        assert_eq!(answer("node=c%20", Some(&all))["total"], json!(0));
    }

    #[test]
    fn before_the_first_view_the_list_is_empty_and_says_that_it_is_not_complete() {
        let expected =
            json!({"page": 2, "per_page": 5, "total": 0, "complete": false, "nodes": []});
        assert_eq!(answer("page=2&per_page=5", None), expected);
    }

    #[test]
    fn a_bad_parameter_is_named_with_what_is_allowed() {
        let read = |query: &str| {
            let uri = format!("/api/v1/nodes?{query}").parse().unwrap();
            NodesAsk::read(&uri).unwrap_err()
        };
        let numbers = "a whole number from 1 to 1000";
        assert_eq!(read("per_page=1001"), BadParam::new("per_page", "1001", numbers));
        assert_eq!(read("per_page=0"), BadParam::new("per_page", "0", numbers));
        assert_eq!(read("page=0"), BadParam::new("page", "0", "a whole number from 1"));
        assert_eq!(read("page="), BadParam::new("page", "", "a whole number from 1"));
        assert_eq!(read("state=UP"), BadParam::new("state", "UP", "up, stale, failed or missing"));
        assert_eq!(
            read("limit=5"),
            BadParam::new("limit", "5", "the parameters page, per_page, state and node")
        );
    }

    #[test]
    fn states_are_counted_apart() {
        let nodes = [
            node("a", NodeState::Up),
            node("b", NodeState::Stale),
            node("c", NodeState::Stale),
            node("d", NodeState::Missing),
        ];
        let counts = NodeCounts { up: 1, stale: 2, failed: 0, missing: 1 };
        assert_eq!(NodeCounts::of(&nodes), counts);
    }
}
