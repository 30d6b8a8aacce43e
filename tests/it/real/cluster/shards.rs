//! Shards: what they serve adds up to what one process serves. While their number changes no node is served
//! twice, and what is missing is told.

use super::Cluster;
use super::replicas::{Replicas, cluster_page};
use super::scene::readiness;
use crate::support::{figures, try_get, until};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Of the nodes that are known to a process that serves.
const NODES: &str = "vpccni_cluster_nodes_expected";

/// Figures that add up, over these processes; `None` while one of them serves none.
fn union(replicas: &Replicas, of: &[usize]) -> Option<BTreeMap<String, f64>> {
    let mut sum: BTreeMap<String, f64> = BTreeMap::new();
    for &at in of {
        for (key, value) in cluster_page(replicas.all[at].web)? {
            assert!(!key.contains("_ratio") || of.len() == 1, "{key} does not add up");
            // What all of them tell alike is no figure.
            let told = if key.contains("_info{") { 0.0 } else { value };
            *sum.entry(key).or_default() += told;
        }
    }
    Some(sum)
}

/// Counters begin when a process does; everything else is the same whoever tells it.
fn gauges(mut figures: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let counts = ["_total", "_seconds_sum", "_seconds_count", "duration_seconds"];
    figures.retain(|key, _| {
        let name = key.split('{').next().unwrap_or_default();
        !counts.iter().any(|part| name.contains(part)) && !name.contains("_ratio")
    });
    figures
}

/// Whether two have the same figures: whole ones exactly, sums of shares but for their last digits.
fn same(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> bool {
    let close = |(a, b): (f64, f64)| a == b || (a.fract() != 0.0 && (a - b).abs() < 1e-9 * a.abs());
    a.len() == b.len()
        && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| close((*value, *other))))
}

/// What counters gained since an earlier page.
fn gains(now: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let gained = now.iter().filter(|(key, _)| key.contains("_total") && !key.contains("_bucket"));
    let gained = gained.map(|(key, value)| (key.clone(), value - before[key]));
    gained.filter(|(_, gain)| *gain != 0.0).collect()
}

#[test]
fn the_union_of_shards_is_the_whole_and_while_their_number_changes_lacks_what_has_ended() {
    let cluster = Cluster::shared();
    let mut replicas = Replicas::over(&cluster, "127.64.0.1", 30);
    let whole = replicas.start(&cluster, &["--lead.name=whole"]);
    let shards = |replicas: &mut Replicas, count: usize| -> Vec<usize> {
        let flags =
            |index: usize| [format!("--shard.index={index}"), format!("--shard.count={count}")];
        let start = |index| {
            let flags = flags(index);
            replicas.start(&cluster, &[&flags[0], &flags[1]])
        };
        (0..count).map(start).collect()
    };
    let equal = |replicas: &Replicas, of: &[usize]| {
        until("shards that serve what the whole does", || {
            let (sum, one) = (union(replicas, of)?, union(replicas, &[whole])?);
            same(&gauges(sum), &gauges(one)).then_some(())
        });
        // Increases, too.
        let before = (union(replicas, of).unwrap(), union(replicas, &[whole]).unwrap());
        replicas.step(3600);
        until("shards that counted what the whole did", || {
            let (sum, one) = (union(replicas, of)?, union(replicas, &[whole])?);
            let gained = gains(&one, &before.1);
            let counted = !gained.is_empty() && same(&gains(&sum, &before.0), &gained);
            (counted && same(&gauges(sum), &gauges(one))).then_some(())
        });
    };
    let three = shards(&mut replicas, 3);
    equal(&replicas, &three);
    let web = |at: usize| replicas.all[at].web;
    let owned = |count: usize| -> Vec<BTreeSet<String>> {
        (0..count).map(|index| nodes(web(whole), &format!("shard={index}/{count}"))).collect()
    };
    let (of_three, of_two) = (owned(3), owned(2));
    for owned in [&of_three, &of_two] {
        assert_eq!(owned.iter().map(BTreeSet::len).sum::<usize>(), 30);
        assert!(owned.iter().all(|nodes| nodes.len() > 4), "{owned:?}");
    }
    let two = shards(&mut replicas, 2);
    let web = |at: usize| replicas.all[at].web;
    // As a StatefulSet is rolled: one after another ends, and new ones are there already. What is missing
    // meanwhile is what those had that ended, and that is told.
    let none = BTreeSet::new();
    for (ended, gone) in three.iter().enumerate() {
        let left = 3 - ended;
        let told = match left {
            3 => "still serves as one of 3 shards".to_owned(),
            left => format!("{left} of these are left, and nobody serves the nodes of the others"),
        };
        for &at in &two {
            until(&told, || readiness(web(at)).1.contains(&told).then_some(()));
        }
        for _ in 0..20 {
            // The new ones first: what begins to serve in between is then seen twice, not missed.
            for &at in &two {
                assert_eq!(nodes(web(at), "scope=node"), none);
            }
            for (index, &at) in three.iter().enumerate() {
                let expected = if index < ended { &none } else { &of_three[index] };
                assert_eq!(nodes(web(at), "scope=node"), *expected, "shard {index} of 3");
            }
        }
        let expected: f64 =
            three[ended..].iter().map(|&at| cluster_page(web(at)).unwrap()[NODES]).sum();
        let known: usize = of_three[ended..].iter().map(BTreeSet::len).sum();
        assert_eq!(expected, known as f64, "{left} shards");
        replicas.all[*gone].process.signal("TERM");
        until("its end", || cluster_page(web(*gone)).is_none().then_some(()));
    }
    until("both new shards", || {
        let served: Vec<_> = two.iter().map(|&at| nodes(web(at), "scope=node")).collect();
        for (index, nodes) in served.iter().enumerate() {
            assert!(nodes.is_empty() || *nodes == of_two[index], "shard {index} of 2: {nodes:?}");
        }
        (served == of_two).then_some(())
    });
    equal(&replicas, &two);
}

/// The nodes whose figures a process serves; none where it is gone.
fn nodes(web: SocketAddr, query: &str) -> BTreeSet<String> {
    let Ok(page) = try_get(web, &format!("/metrics?{query}"), &[]) else {
        return BTreeSet::new();
    };
    let name = |key: String| Some(key.split_once("node=\"")?.1.split_once('"')?.0.to_owned());
    figures(&page.text()).into_keys().filter_map(name).collect()
}
