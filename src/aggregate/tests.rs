//! The cluster's figures from views made by hand. Rules that need whole pages are in the store's tests.

use super::*;
use crate::model::{DaemonSet, Outcome, Source, Target};
use crate::view::{Layout, Page, Roles};
use std::sync::Arc;

fn node(name: &str, page: Option<[f64; 3]>, version: Option<&str>) -> NodeView {
    let roles = Roles {
        version: version.map(Into::into),
        address_rows: [Some(0), Some(1), Some(2)],
        ..Roles::default()
    };
    let layout = Layout { roles: Arc::new(roles), ..Layout::default() };
    NodeView {
        growth: None,
        target: Arc::new(Target::new(name, "10.0.0.1", 61678, "/metrics", Source::File)),
        state: if page.is_some() { NodeState::Up } else { NodeState::Failed },
        last_outcome: Some(Outcome::Ok),
        reason: "".into(),
        last_scrape: None,
        last_success: None,
        last_seconds: 0.0,
        recent: Default::default(),
        samples: 0,
        ipv6: false,
        page: page.map(|values| Arc::new(Page { layout: Arc::new(layout), values: values.into() })),
    }
}

fn samples(view: &View, name: &str) -> Vec<(String, f64)> {
    let figure = figures(view).into_iter().find(|figure| figure.name == name);
    let of = |figure: Figure| {
        let row = |s: &Sample| {
            let labels: Vec<_> = s.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
            (format!("{}{}", s.suffix, labels.join(",")), s.value.as_f64())
        };
        figure.samples.iter().map(row).collect()
    };
    figure.map(of).unwrap_or_default()
}

fn view(nodes: Vec<NodeView>) -> View {
    View {
        nodes,
        counters: vec![Total::default(); SLOTS.counters()],
        lost_bounds: vec![0; FAMILIES.len()],
        ..View::default()
    }
}

#[test]
fn every_child_exists_at_zero_from_the_first_view() {
    let empty = figures(&view(Vec::new()));
    let clusters = FAMILIES.iter().filter(|f| f.cluster.is_some()).count();
    let names: Vec<_> = empty.iter().map(|figure| figure.name).collect();
    assert_eq!(names.len(), clusters + 7, "{names:?}: all but the ratio, which nobody knows yet");
    assert!(names.windows(2).all(|w| w[0] < w[1]), "sorted by name");
    let zero = |s: &Sample| s.value.as_f64().abs() < f64::MIN_POSITIVE;
    assert!(empty.iter().flat_map(|figure| &figure.samples).all(zero));
    let (family, _) = catalog::lookup("awscni_ec2api_error_count").unwrap();
    let errors = samples(&view(Vec::new()), "vpccni_cluster_ec2_api_errors_total");
    assert_eq!(errors.len(), SLOTS.children(family).count());
    assert!(errors.iter().any(|(labels, _)| labels == "fn=other"));
}

#[test]
fn the_ratio_is_of_the_sums_and_absent_while_it_has_no_meaning() {
    let none = view(vec![node("a", Some([0.0, 0.0, 0.0]), None)]);
    assert_eq!(samples(&none, "vpccni_cluster_ip_utilization_ratio"), []);
    let two = [Some([10.0, 10.0, 10.0]), Some([0.0, 0.0, 30.0])];
    let two = view(two.into_iter().map(|page| node("n", page, None)).collect());
    let ratio = samples(&two, "vpccni_cluster_ip_utilization_ratio");
    assert_eq!(ratio, [(String::new(), 0.25)]);
}

/// A node whose kubelet leaves room for so many pods.
fn limited(mut node: NodeView, pod_limit: u32) -> NodeView {
    node.target = Arc::new(Target { pod_limit: Some(pod_limit), ..Target::clone(&node.target) });
    node
}

#[test]
fn the_kubelets_limit_counts_where_it_is_known_and_lower() {
    let page = Some([10.0, 20.0, 40.0]);
    let mut six = limited(node("six", Some([5.0, 1e15, 1e15]), None), 100);
    six.ipv6 = true;
    let nodes = vec![
        node("unknown", page, None),
        limited(node("lower", page, None), 20),
        limited(node("higher", page, None), 50),
        limited(node("nan", Some([1.0, 1.0, f64::NAN]), None), 5),
        limited(node("down", None, None), 7),
        six,
    ];
    let view = view(nodes);
    let usable = samples(&view, "vpccni_cluster_ip_addresses_usable");
    assert_eq!(
        usable,
        [("ip_family=ipv4".to_owned(), 100.0), ("ip_family=ipv6".to_owned(), 100.0)]
    );
    assert_eq!(samples(&view, "vpccni_cluster_ip_utilization_ratio"), [(String::new(), 0.3)]);
    let half = samples(&view, "vpccni_cluster_node_ip_utilization");
    assert!(half.contains(&("_bucketle=0.5".to_owned(), 3.0)), "{half:?}");
    assert!(half.contains(&("_bucketle=0.25".to_owned(), 2.0)), "{half:?}");
}

#[test]
fn each_daemonset_tells_its_settings() {
    let settings = [("version", "v1".into()), ("warm_ip_target", "5".into())].into();
    let set = DaemonSet { name: "aws-node".into(), settings };
    let view = View { daemonsets: [set].into(), ..view(Vec::new()) };
    let told = samples(&view, "vpccni_daemonset_config_info");
    let labels = "daemonset=aws-node,version=v1,warm_ip_target=5";
    assert_eq!(told, [(labels.to_owned(), 1.0)]);
}

#[test]
fn utilization_counts_nodes_now_and_leaves_out_what_is_unknown() {
    let mut six = node("six", Some([1.0, 1e15, 10.0]), None);
    six.ipv6 = true;
    let nodes = vec![
        node("half", Some([5.0, 5.0, 10.0]), None),
        node("full", Some([10.0, 10.0, 10.0]), None),
        node("over", Some([11.0, 10.0, 10.0]), None),
        node("nan", Some([f64::NAN, 10.0, 10.0]), None),
        node("none", Some([0.0, 0.0, 0.0]), None),
        node("down", None, None),
        six,
    ];
    let buckets = samples(&view(nodes), "vpccni_cluster_node_ip_utilization");
    let expected = [
        ("_bucketle=0.1", 0.0),
        ("_bucketle=0.25", 0.0),
        ("_bucketle=0.5", 1.0),
        ("_bucketle=0.75", 1.0),
        ("_bucketle=0.8", 1.0),
        ("_bucketle=0.9", 1.0),
        ("_bucketle=0.95", 1.0),
        ("_bucketle=1", 2.0),
        ("_bucketle=+Inf", 3.0),
        ("_sum", 2.6),
        ("_count", 3.0),
    ];
    assert_eq!(buckets, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn versions_beyond_twenty_and_odd_ones_count_under_other() {
    let mut nodes: Vec<NodeView> = (0..25)
        .flat_map(|i| vec![node("n", Some([0.0; 3]), Some(&format!("v1.{i:02}.0"))); 30 - i])
        .collect();
    nodes.push(node("odd", Some([0.0; 3]), Some("v1 <script>")));
    nodes.push(node("silent", Some([0.0; 3]), None));
    nodes.push(node("down", None, Some("v9.9.9")));
    let versions = samples(&view(nodes), "vpccni_cluster_nodes_by_cni_version");
    assert_eq!(versions.len(), 22);
    let of = |name: &str| versions.iter().find(|(labels, _)| labels == name).map(|(_, n)| *n);
    assert_eq!(of("version=v1.00.0"), Some(30.0));
    assert_eq!(of("version=v1.19.0"), Some(11.0));
    // v1.20 to v1.24 with 10 to 6 nodes, and the odd one.
    assert_eq!(of("version=other"), Some(10.0 + 9.0 + 8.0 + 7.0 + 6.0 + 1.0));
    assert_eq!(of("version=unknown"), Some(1.0));
}
