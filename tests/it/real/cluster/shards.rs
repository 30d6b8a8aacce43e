//! Shards: what they serve adds up to what one process serves, also while their number changes.

use super::Cluster;
use super::replicas::{Replicas, cluster_page};
use crate::support::until;
use std::collections::BTreeMap;

/// Of the nodes that are known to a process that serves.
const NODES: &str = "vpccni_cluster_nodes_expected";

/// Figures that add up, over these processes; `None` while one of them serves none.
fn union(replicas: &Replicas, of: &[usize]) -> Option<BTreeMap<String, f64>> {
    let mut sum: BTreeMap<String, f64> = BTreeMap::new();
    for &at in of {
        for (key, value) in cluster_page(replicas.all[at].web)? {
            assert!(!key.contains("_ratio") || of.len() == 1, "{key} does not add up");
            *sum.entry(key).or_default() += value;
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
fn the_union_of_shards_is_the_whole_also_after_their_number_changed() {
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
    let two = shards(&mut replicas, 2);
    // As a StatefulSet is rolled: one after another ends, and new ones are there already. No node is
    // ever told of twice.
    for gone in &three {
        for _ in 0..20 {
            // The new ones first: what begins to serve in between is then seen twice, not missed.
            let pages =
                two.iter().chain(&three).filter_map(|&at| cluster_page(replicas.all[at].web));
            let nodes: f64 = pages.map(|page| page[NODES]).sum();
            assert!(nodes <= 30.0, "{nodes} of 30 nodes are served");
        }
        assert!(two.iter().all(|&at| cluster_page(replicas.all[at].web).is_none()));
        replicas.all[*gone].process.signal("TERM");
        until("its end", || cluster_page(replicas.all[*gone].web).is_none().then_some(()));
    }
    equal(&replicas, &two);
}
