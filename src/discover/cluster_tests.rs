//! What the three watches add up to, from objects made by hand.

use super::*;
use crate::discover::guarded::Guarded;
use crate::discover::nodes::Reader;
use crate::discover::pods::Pod;
use kube::runtime::watcher::Event;
use serde_json::json;

struct Known {
    pods: Index<pods::Known>,
    nodes: Index<nodes::Known>,
    sets: Index<Set>,
    limits: Limits,
}

type Object = Guarded<Pod>;

fn object(value: serde_json::Value) -> Object {
    serde_json::from_value(value).unwrap()
}

fn index<V: Clone + PartialEq>(objects: Vec<Object>, keep: impl Fn(Pod) -> Option<V>) -> Index<V> {
    let mut index = Index::default();
    index.take(Event::Init, &keep);
    for object in objects {
        index.take(Event::InitApply(object), &keep);
    }
    index.take(Event::InitDone, &keep);
    index
}

fn named(name: &str) -> Object {
    object(json!({ "metadata": { "name": name } }))
}

/// Nodes by kind, pods on these nodes, a DaemonSet that wants as many.
fn known(nodes: &[(&str, &str)], pods: &[(&str, &str)]) -> Known {
    let pod = |(at, (node, phase)): (usize, &(&str, &str))| {
        object(json!({
            "metadata": { "name": format!("aws-node-{node}"), "uid": format!("u-{node}") },
            "spec": { "nodeName": node },
            "status": { "phase": phase, "podIP": format!("10.0.0.{}", at + 1) },
        }))
    };
    let mut reader = Reader::new(&[]);
    let mut of_nodes = Index::default();
    of_nodes.take(Event::Init, |_: Pod| None);
    for (name, kind) in nodes {
        let labels = [("eks.amazonaws.com/compute-type", *kind), ("karpenter.sh/nodepool", "p")];
        let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let kept = reader.keep(Some(&labels));
        of_nodes.take(Event::InitApply(named(name)), |_| Some(kept.clone()));
    }
    of_nodes.take(Event::InitDone, |_: Pod| None);
    Known {
        pods: index(pods.iter().enumerate().map(pod).collect(), |pod| pod.keep(61678)),
        nodes: of_nodes,
        sets: index(vec![named("aws-node")], |_| {
            Some(Set { desired: 2, settings: [("version", "v1.20.4".into())].into() })
        }),
        limits: Limits::default(),
    }
}

impl Known {
    fn cluster(&self) -> Cluster<'_> {
        Cluster {
            pods: &self.pods,
            pods_trouble: None,
            nodes: &self.nodes,
            nodes_trouble: None,
            limits: &self.limits,
            sets: &self.sets,
            sets_trouble: None,
        }
    }
}

pub(in crate::discover) fn scope() -> Scope {
    Scope {
        namespace: "kube-system".to_owned(),
        selector: "k8s-app=aws-node".to_owned(),
        nodes: true,
        labels: Vec::new(),
        route: Route::Direct,
        port: 61678,
        path: "/metrics".into(),
        shard: Shard::default(),
        host_network_pods: 2,
    }
}

fn summary(found: &Found) -> Vec<String> {
    let mut lines: Vec<String> = found
        .targets
        .iter()
        .map(|target| {
            let at = match &target.idle {
                Some(idle) => idle.reason().to_owned(),
                None => format!("{} {}", target.address(), target.path),
            };
            format!("{} {} {at}", target.node, if target.expected { "expected" } else { "extra" })
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn nodes_have_an_address_or_a_reason_and_only_linux_nodes_miss_a_pod() {
    let nodes =
        [("a", ""), ("bb", ""), ("ccc", ""), ("f", "fargate"), ("h", "hybrid"), ("u", "auto")];
    let pods = [("a", "Running"), ("bb", "Pending"), ("h", "Running"), ("unknown", "Running")];
    let known = known(&nodes, &pods);
    let found = known.cluster().found(&scope());
    assert_eq!(
        summary(&found),
        [
            "a expected 10.0.0.1:61678 /metrics",
            "bb expected the pod aws-node-bb is Pending",
            "ccc expected there is no aws-node pod on this node",
            "h extra 10.0.0.3:61678 /metrics",
            "unknown expected 10.0.0.4:61678 /metrics",
        ]
    );
    assert_eq!((found.unread.len(), found.note), (0, None));
    let labels = found.targets.iter().find(|t| &*t.node == "ccc").unwrap().labels.clone();
    assert_eq!(labels.get("nodepool"), Some("p"));
    let pod = found.targets.iter().find(|t| &*t.node == "a").unwrap().pod.clone().unwrap();
    assert_eq!(&*pod.uid, "u-a");
    assert_eq!(known.cluster().desired(), Some(2));
}

/// Pods of nodes, all at one address, made in these seconds.
fn at_one_address(pods: &[(&str, i64)]) -> Index<pods::Known> {
    let pod = |(node, created): &(&str, i64)| {
        let created = k8s_openapi::jiff::Timestamp::from_second(*created).unwrap();
        object(json!({
            "metadata": { "name": format!("p-{node}"), "creationTimestamp": created.to_string() },
            "spec": { "nodeName": node },
            "status": { "phase": "Running", "podIP": "10.0.0.1" },
        }))
    };
    index(pods.iter().map(pod).collect(), |pod| pod.keep(61678))
}

#[test]
fn of_two_nodes_with_one_address_the_newer_pod_s_has_it_and_the_other_is_known_and_expected() {
    let known = known(&[("a", ""), ("b", ""), ("c", "")], &[]);
    let summary_of = |pods: &[(&str, i64)]| {
        let pods = at_one_address(pods);
        let found = Cluster { pods: &pods, ..known.cluster() }.found(&scope());
        let order: Vec<String> = found.targets.iter().map(|t| t.node.to_string()).collect();
        assert_eq!(order, ["a", "b", "c"], "one order, whatever that of the index");
        (summary(&found), found.losers)
    };
    let lost = |node: &str| {
        format!(
            "{node} expected the pod p-{node} is not at its address any more: the newer p-c on c has it"
        )
    };
    let has = |node: &str| format!("{node} expected 10.0.0.1:61678 /metrics");
    // Each index has an order of its own.
    for _ in 0..20 {
        let newest_last = summary_of(&[("a", 100), ("b", 200), ("c", 300)]);
        assert_eq!(newest_last, (vec![lost("a"), lost("b"), has("c")], 2));
        // Of the same second: the name decides.
        let (same, losers) = summary_of(&[("c", 300), ("b", 300), ("a", 300)]);
        assert_eq!((&same[0], losers), (&has("a"), 2));
    }
}

#[test]
fn an_address_that_a_node_of_another_shard_has_taken_over_is_not_scraped_in_this_one() {
    let known = known(&[], &[]);
    let of = |index| move |node: &&str| Shard { index, count: 2 }.owns(node);
    let names = ["a", "b", "c", "d", "e", "f"];
    let older = names.into_iter().find(of(0)).unwrap();
    let newer = names.into_iter().find(of(1)).unwrap();
    let pods = at_one_address(&[(older, 100), (newer, 200)]);
    let cluster = Cluster { pods: &pods, ..known.cluster() };
    let mut all = Vec::new();
    for index in 0..2 {
        let shard = Shard { index, count: 2 };
        let found = cluster.found(&Scope { shard, ..scope() });
        assert!(found.targets.iter().all(|target| shard.owns(&target.node)));
        assert_eq!((found.targets.len(), found.losers), (1, usize::from(index == 0)));
        all.extend(found.targets.into_iter().filter(|target| target.idle.is_none()));
    }
    let nodes: Vec<&str> = all.iter().map(|target| &*target.node).collect();
    assert_eq!(nodes, [newer]);
}

#[test]
fn until_pods_and_nodes_are_listed_the_list_is_not_complete_and_says_what_it_waits_for() {
    let known = known(&[("a", "")], &[("a", "Running")]);
    let nothing = (Index::default(), Index::default());
    let half = Cluster { nodes: &nothing.0, ..known.cluster() };
    assert_eq!(half.found(&scope()).unread, ["--discover.kubernetes: nodes"]);
    let off = Scope { nodes: false, ..scope() };
    assert!(half.found(&off).unread.is_empty());
    let half = Cluster { pods: &nothing.1, ..known.cluster() };
    assert_eq!(half.found(&scope()).unread, ["--discover.kubernetes: pods"]);
    let cut = Cluster { pods_trouble: Some((Trouble::Unreachable, "refused")), ..half };
    assert_eq!(cut.found(&scope()).unread, ["--discover.kubernetes: pods: refused"]);
    let denied = Cluster { pods_trouble: Some((Trouble::Forbidden, "no")), ..half };
    let rule = "the right is missing to get, list, watch on pods in namespace kube-system (Role; or see --discover.namespace): no";
    assert_eq!(denied.found(&scope()).unread, [rule]);
}

#[test]
fn without_the_right_to_watch_nodes_the_pods_alone_do_and_the_rule_is_named() {
    let known = known(&[], &[("a", "Running")]);
    let none = Index::default();
    let denied = Cluster {
        nodes: &none,
        nodes_trouble: Some((Trouble::Forbidden, "no")),
        ..known.cluster()
    };
    let found = denied.found(&scope());
    assert!(found.unread.is_empty());
    let rule = "the right is missing to get, list, watch on nodes (ClusterRole): no";
    assert_eq!(found.note.as_deref(), Some(rule));
    // Later trouble leaves the list as it is, and is told.
    let cut = Cluster { pods_trouble: Some((Trouble::Server, "500")), ..known.cluster() };
    let found = cut.found(&scope());
    assert_eq!((found.unread.len(), found.targets.len()), (0, 1));
    assert_eq!(found.note.as_deref(), Some("pods are not followed at present: 500"));
}

#[test]
fn a_cluster_of_auto_mode_alone_has_nothing_to_scrape_and_says_so() {
    let known = known(&[("a", "auto"), ("b", "auto"), ("c", "fargate")], &[]);
    let found = known.cluster().found(&scope());
    let note = "nothing to scrape: none of the 3 nodes runs aws-node (2 EKS Auto Mode, 1 Fargate)";
    assert_eq!((found.targets.len(), found.note.as_deref()), (0, Some(note)));
}

#[test]
fn where_aws_node_is_not_found_at_all_the_flags_are_named() {
    let known = known(&[("a", "")], &[]);
    let none = Cluster { sets: &index(Vec::new(), |_| None), ..known.cluster() };
    let note = none.found(&scope()).note.unwrap();
    assert!(
        note.contains("--discover.selector") && note.contains("namespace kube-system"),
        "{note}"
    );
    assert_eq!(known.cluster().found(&scope()).note, None, "a DaemonSet that is not there yet");
}

#[test]
fn what_the_kubelet_takes_is_told_of_nodes_with_a_pod_and_the_settings_of_each_daemonset() {
    let mut known = known(&[("a", ""), ("b", "")], &[("a", "Running"), ("b", "Running")]);
    known.limits = Limits::known(&[("a", 110)]);
    let found = known.cluster().found(&scope());
    let limits: Vec<Option<u32>> = found.targets.iter().map(|target| target.pod_limit).collect();
    assert_eq!(limits, [Some(108), None]);
    let sets: Vec<&str> = found.daemonsets.iter().map(|set| &*set.name).collect();
    assert_eq!(sets, ["aws-node"]);
    assert_eq!(*found.daemonsets[0].settings, [("version", Arc::from("v1.20.4"))]);
}

#[test]
fn through_the_proxy_a_pod_is_at_a_path_of_the_api_server() {
    let known = known(&[("a", "")], &[("a", "Running")]);
    let found = known.cluster().found(&Scope { route: Route::Proxy, ..scope() });
    let target = &found.targets[0];
    let path = "/api/v1/namespaces/kube-system/pods/aws-node-a:61678/proxy/metrics";
    assert_eq!((&*target.path, target.route), (path, Route::Proxy));
    assert_eq!(target.address(), "10.0.0.1:61678", "it is still known by its own address");
}

#[test]
fn the_cluster_has_the_name_on_which_the_labels_of_its_nodes_agree() {
    let mut known = known(&[("a", ""), ("b", ""), ("c", "")], &[]);
    let name = |known: &Known| known.cluster().found(&scope()).cluster;
    assert_eq!(name(&known), None);
    let mut label = |node: &str, cluster: &str| {
        let labels = [("alpha.eksctl.io/cluster-name".to_owned(), cluster.to_owned())].into();
        let kept = Reader::new(&[]).keep(Some(&labels));
        known.nodes.take(Event::Apply(named(node)), |_| Some(kept.clone()));
        name(&known)
    };
    assert_eq!(label("a", "blue").as_deref(), Some("blue"));
    assert_eq!(label("b", "blue").as_deref(), Some("blue"));
    assert_eq!(label("c", "green"), None, "none is right for all");
}
