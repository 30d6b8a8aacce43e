//! The pages as they are made, without a server. What a browser makes of them is tested in one.

use super::*;
use crate::model::{DaemonSet, Growth, Idle, Moment, NodeState, Outcome, Source, Target};
use crate::serve::api::{Mirror, MirrorOutlet};
use crate::view::{Ended, Layout, NodeView, Page, Recent, Roles};

/// A node whose values stand: addresses assigned, attached, and at most.
pub(super) fn node(name: &str, [assigned, total, max]: [f64; 3]) -> NodeView {
    let roles = Roles { address_rows: [Some(0), Some(1), Some(2)], ..Roles::default() };
    let layout = Layout { roles: Arc::new(roles), ..Layout::default() };
    NodeView {
        target: Arc::new(Target::new(name, "10.0.0.1", 61678, "/metrics", Source::Kubernetes)),
        state: NodeState::Up,
        last_outcome: Some(Outcome::Ok),
        reason: "".into(),
        last_scrape: Some(1000.0),
        last_success: Some(1000.0),
        last_seconds: 0.1,
        recent: Recent::default(),
        samples: 3,
        ipv6: false,
        growth: None,
        page: Some(Arc::new(Page {
            layout: Arc::new(layout),
            values: [assigned, total, max].into(),
        })),
    }
}

/// With these labels besides.
pub(super) fn labelled(mut node: NodeView, labels: &[(&str, &str)]) -> NodeView {
    let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    node.target = Arc::new(Target { labels, ..Target::clone(&node.target) });
    node
}

/// One that cannot be scraped, without values.
pub(super) fn failed(name: &str, outcome: Outcome) -> NodeView {
    NodeView {
        state: NodeState::Failed,
        last_outcome: Some(outcome),
        reason: "no answer in 10 s".into(),
        last_success: None,
        page: None,
        ..node(name, [0.0; 3])
    }
}

pub(super) fn idle(name: &str, why: Idle) -> NodeView {
    let state = if why == Idle::Missing { NodeState::Missing } else { NodeState::Failed };
    let target = Target::idle(name.into(), Source::Kubernetes, why);
    NodeView { state, target: Arc::new(target), last_outcome: None, ..failed(name, Outcome::Ok) }
}

pub(super) fn blocked(name: &str, growth: Growth) -> NodeView {
    NodeView { growth: Some(growth), ..node(name, [30.0, 30.0, 40.0]) }
}

fn view(mut nodes: Vec<NodeView>) -> View {
    nodes.sort_by(|a, b| a.target.node.cmp(&b.target.node));
    View { taken: Moment { unix: 1060.0, uptime: 60.0 }, nodes, ..View::default() }
}

fn site(nodes: Vec<NodeView>) -> Site {
    let published = Published { view: Arc::new(view(nodes)), ..Published::default() };
    Site { published: Some(Arc::new(published)), telemetry_path: "/metrics".to_owned() }
}

fn status() -> Status {
    Status {
        version: "1.2.3",
        uptime_seconds: 100.0,
        ready: true,
        ready_reason: "targets: 2, rounds closed: 3".to_owned(),
        targets: Some(2),
        rounds_closed: 3,
        last_round_seconds: Some(0.5),
        nodes: None,
        view: None,
        data_hidden: false,
        serves_data: true,
        mirror: Mirror::default(),
        may_serve: true,
        connections: 1,
    }
}

fn page(nodes: Vec<NodeView>, query: &str) -> String {
    let ask = Ask::read(&format!("/?{query}").parse().unwrap()).unwrap();
    site(nodes).cluster(&ask, &status()).into_string()
}

/// Names, labels and words that would be markup, an event, an address, a way out of an attribute.
const HOSTILE: &str = r#"</title><script>alert(1)</script>"><img src=x onerror=alert(1)>' onmouseover='x javascript:alert(1) &amp;"#;

fn hostile() -> NodeView {
    let labels = [("zone", HOSTILE), ("instance_type", HOSTILE), ("nodegroup", HOSTILE)];
    let mut node = labelled(failed(HOSTILE, Outcome::Parse), &labels);
    node.reason = HOSTILE.into();
    node
}

/// Whether all markup is ours: nothing begins a tag, and no attribute is closed by what is quoted.
fn is_tame(html: &str) -> bool {
    let lower = html.to_lowercase();
    !lower.contains("<script>") && !lower.contains("<img") && !html.contains("x\" onerror")
}

#[test]
fn words_of_the_outside_stay_words_on_every_page() {
    let mut fleet = vec![hostile(), idle(HOSTILE, Idle::Pod(HOSTILE.into()))];
    fleet.push(labelled(blocked("b", Growth::Subnet), &[("zone", HOSTILE)]));
    let mut status = status();
    status.ready_reason = HOSTILE.to_owned();
    status.mirror = Mirror {
        cluster: Some(HOSTILE.to_owned()),
        cluster_from: Some(HOSTILE.to_owned()),
        outlets: vec![outlet(Some(HOSTILE))],
        ..Mirror::default()
    };
    let mut site = site(fleet);
    let set = DaemonSet { name: HOSTILE.into(), settings: [("version", HOSTILE.into())].into() };
    let view = View { daemonsets: [set].into(), ..site.view().unwrap().clone() };
    site.published = Some(Arc::new(Published { view: Arc::new(view), ..Published::default() }));
    let ask = Ask { node: HOSTILE.to_owned(), ..Ask::default() };
    let pages = [
        site.cluster(&Ask::default(), &status),
        site.cluster(&ask, &status),
        site.node(HOSTILE),
        site.node(&format!("{HOSTILE}?")),
        site.node("b"),
    ];
    for html in pages.map(Markup::into_string) {
        assert!(is_tame(&html), "{html}");
        assert!(html.contains("&lt;script&gt;"), "it is shown all the same");
    }
}

fn outlet(reason: Option<&str>) -> MirrorOutlet {
    MirrorOutlet {
        outlet: "put",
        state: if reason.is_some() { "refused" } else { "leading" },
        reason: reason.map(|_| "denied"),
        reason_text: reason.map(str::to_owned),
        points_sent: 1234,
        points_unconfirmed: 5,
        points_dropped: [("age", 7)].into(),
        queue_intervals: 2,
        queue_bytes: 3000,
        oldest: None,
        last_success: Some(1000.0),
    }
}

#[test]
fn the_first_page_of_any_fleet_is_small() {
    let typical = |i: usize| {
        let labels = [
            ("zone", ["us-west-2a", "us-west-2b", "us-west-2c"][i % 3]),
            ("instance_type", "m5.2xlarge"),
            ("nodegroup", "workers"),
        ];
        let name =
            format!("ip-10-{}-{}-{}.us-west-2.compute.internal", i >> 16, i >> 8 & 255, i & 255);
        labelled(node(&name, [i as f64 % 30.0, 30.0, 58.0]), &labels)
    };
    let files: usize = FILES.iter().map(|(.., text)| text.len()).sum();
    let small = page((0..100_000).map(typical).collect(), "").len() + files;
    assert!(small < 60_000, "{small} bytes, with style, script and icon");
    // Names and labels as long as Kubernetes allows, everything wrong that can be.
    let long = |i: usize, length: usize| format!("{i:06}{}", "n".repeat(length - 6));
    let worst = |i: usize| {
        let (zone, kind, group) = (long(i % 40, 63), long(i % 39, 63), long(i % 38, 63));
        let labels = [("zone", &*zone), ("instance_type", &*kind), ("nodegroup", &*group)];
        let mut node = labelled(blocked(&long(i, 253), Growth::ALL[i % 7]), &labels);
        (node.last_outcome, node.reason) = (Some(Outcome::ALL[1 + i % 10]), long(i, 300).into());
        node.state = NodeState::Stale;
        node
    };
    let large = page((0..500).map(worst).collect(), "").len();
    assert!(large < 60_000, "{large} bytes");
}

#[test]
fn what_is_wrong_stands_above_the_figures_and_links_to_the_nodes() {
    let html = page(vec![blocked("b", Growth::Subnet), failed("f", Outcome::Timeout)], "");
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("no {text:?} in {html}"));
    assert!(at("no more addresses (subnet)") < at("id=\"figures\""));
    assert!(at("The subnet has no free addresses") < at("id=\"figures\""));
    assert!(at("cannot be scraped (timeout); no values") < at("id=\"figures\""));
    assert!(html.contains("href=\"?reason=subnet#nodes\""));
    assert!(html.contains("href=\"?reason=timeout#nodes\""));
    assert!(html.contains("href=\"node/b\""));
}

#[test]
fn a_fleet_without_trouble_says_so_and_one_that_is_not_known_yet_says_that() {
    assert!(
        page(vec![node("a", [1.0, 5.0, 10.0])], "").contains("answer, and none lacks addresses")
    );
    assert!(page(Vec::new(), "").contains("No node is known."));
    let none = Site { published: None, telemetry_path: "/metrics".to_owned() };
    let mut waiting = status();
    (waiting.ready, waiting.ready_reason) =
        (false, "the first round has not closed yet".to_owned());
    let html = none.cluster(&Ask::default(), &waiting).into_string();
    assert!(html.contains("No figures yet") && html.contains("Not ready: the first round"));
    assert!(!html.contains("id=\"figures\"") && !html.contains("none lacks"));
    assert!(none.node("a").into_string().contains("No node is known yet"));
}

#[test]
fn the_exporter_says_of_itself_what_an_operator_must_know() {
    let told = |change: fn(&mut Status)| {
        let mut status = status();
        change(&mut status);
        site(vec![node("a", [1.0, 5.0, 10.0])]).cluster(&Ask::default(), &status).into_string()
    };
    assert!(told(|s| s.may_serve = false).contains("Another process holds the Lease"));
    assert!(told(|s| s.data_hidden = true).contains("USE_PROMETHEUS=false"));
    assert!(told(|s| s.ready_reason = "targets: 1; is it?".into()).contains("Ready, but: is it?<"));
    assert!(!told(|_| ()).contains("Ready, but: "));
    let refused = told(|s| s.mirror.outlets.push(outlet(Some("AccessDenied"))));
    assert!(refused.contains("CloudWatch gets nothing (put): AccessDenied."));
    let sends = told(|s| s.mirror.outlets.push(outlet(None)));
    assert!(!sends.contains("gets nothing") && sends.contains("1,234") && sends.contains("7 age"));
    let shard = View { is_shard: true, ..view(Vec::new()) };
    let published = Published { view: Arc::new(shard), ..Published::default() };
    let site = Site { published: Some(Arc::new(published)), telemetry_path: "/m".to_owned() };
    assert!(
        site.cluster(&Ask::default(), &status()).into_string().contains("one of several shards")
    );
}

#[test]
fn addresses_are_summed_and_what_is_not_known_is_not_zero() {
    let mut six = node("six", [7.0, 2.8e14, 2.8e14]);
    six.ipv6 = true;
    let nodes = vec![node("a", [900.0, 1000.0, 2000.0]), six, failed("f", Outcome::Refused)];
    let html = page(nodes, "");
    let card = |name: &str, value: &str, more: &str| {
        let text = format!("{name}</dt><dd>{value}</dd><dd class=\"more\">{more}");
        assert!(html.contains(&text), "no {text} in {html}");
    };
    card("in use", "900", "45.0% of usable");
    card("warm", "100", "attached");
    card("to grow", "1,000", "not attached yet");
    card("usable", "2,000", "at most, on 1 node");
    assert!(html.contains("<strong>7</strong> IPv6 addresses are in use on 1 node;"), "{html}");
    let none = page(vec![failed("f", Outcome::Refused)], "");
    assert!(none.contains("nothing is known of addresses"), "{none}");
    let row = html
        .split("<tr>")
        .find(|row| row.starts_with("<th scope=\"row\"><a href=\"node/f\""))
        .unwrap();
    assert!(row.matches("–").count() >= 4 && !row.contains(">0<"), "{row}");
}

#[test]
fn a_node_has_a_page_with_its_trouble_its_scrapes_and_its_limit() {
    let mut node = blocked("b", Growth::MaxPods);
    node.target = Arc::new(Target { pod_limit: Some(28), ..Target::clone(&node.target) });
    node.last_success = Some(460.0);
    for (unix, outcome) in [(1000, Outcome::Timeout), (1030, Outcome::Ok)] {
        node.recent.push(Ended { unix, millis: 120, outcome });
    }
    let site = site(vec![node]);
    let html = site.node("b").into_string();
    assert!(html.contains("The kubelet takes no more pods"), "{html}");
    assert!(html.contains("<dt>pod limit</dt><dd>28</dd>"), "{html}");
    let (ok, timeout) = (html.find("30 s ago"), html.find("60 s ago"));
    assert!(ok.is_some() && ok < timeout, "the newest first");
    assert!(
        html.contains("href=\"../metrics?node=b\"")
            && html.contains("href=\"../static/status.css\"")
    );
    assert!(!site.has("a") && site.has("b"));
}
