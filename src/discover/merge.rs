//! One target per node name and per address. Comes in: targets of all sources. Goes out: the sorted
//! list and those that lost their name or address to another. Never: two targets of one name, nor one
//! process under two names: it would count twice.

use crate::model::{NodeName, Target};
use std::collections::{BTreeMap, HashSet};

/// The first of a name or an address stays: the caller gives the sources in order of precedence. A node
/// that is idle yields to one that can be scraped, whatever its source.
pub(super) fn merge(targets: impl Iterator<Item = Target>) -> (Vec<Target>, Vec<Target>) {
    let mut by_name: BTreeMap<NodeName, Target> = BTreeMap::new();
    let mut places = HashSet::new();
    let (mut losers, mut idle) = (Vec::new(), Vec::new());
    for target in targets {
        if target.idle.is_some() {
            idle.push(target);
            continue;
        }
        let place = (target.host.clone(), target.port);
        if by_name.contains_key(&target.node) || places.contains(&place) {
            losers.push(target);
        } else {
            places.insert(place);
            by_name.insert(target.node.clone(), target);
        }
    }
    for target in idle {
        by_name.entry(target.node.clone()).or_insert(target);
    }
    (by_name.into_values().collect(), losers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Source;
    use proptest::prelude::*;

    fn target(node: &str, port: u16, source: Source) -> Target {
        Target::new(node, "10.0.0.1", port, "/metrics", source)
    }

    #[test]
    fn a_file_wins_over_the_command_line_and_within_files_the_first_wins() {
        let fixed = [target("b", 1, Source::Static), target("a", 2, Source::Static)];
        let files = [target("b", 3, Source::File), target("b", 4, Source::File)];
        let merged = merge(files.into_iter().chain(fixed));
        let list = vec![target("a", 2, Source::Static), target("b", 3, Source::File)];
        let losers = vec![target("b", 4, Source::File), target("b", 1, Source::Static)];
        assert_eq!(merged, (list, losers));
    }

    #[test]
    fn one_address_under_two_names_is_one_node() {
        let fixed = [target("10.0.0.1", 61678, Source::Static)];
        let files = [target("ip-10-0-0-1", 61678, Source::File)];
        let merged = merge(files.into_iter().chain(fixed));
        let list = vec![target("ip-10-0-0-1", 61678, Source::File)];
        assert_eq!(merged, (list, vec![target("10.0.0.1", 61678, Source::Static)]));
    }

    proptest! {
        #[test]
        fn prop_names_and_addresses_are_there_once_in_order_and_nobody_loses_without_a_winner(
            fixed in prop::collection::vec(("[a-d]", 1u16..5), 0..8),
            files in prop::collection::vec(("[a-d]", 1u16..5), 0..8),
        ) {
            let of = |pairs: &[(String, u16)], source| -> Vec<Target> {
                pairs.iter().map(|(node, port)| target(node, *port, source)).collect()
            };
            let (fixed, files) = (of(&fixed, Source::Static), of(&files, Source::File));
            let (list, losers) = merge(files.iter().chain(&fixed).cloned());
            prop_assert_eq!(list.len() + losers.len(), fixed.len() + files.len());
            prop_assert!(list.windows(2).all(|pair| pair[0].node < pair[1].node));
            let ports: HashSet<u16> = list.iter().map(|kept| kept.port).collect();
            prop_assert_eq!(ports.len(), list.len());
            // Whoever is not there lost to one that came before it.
            let order: Vec<&Target> = files.iter().chain(&fixed).collect();
            for (at, lost) in order.iter().enumerate() {
                let kept = list.iter().any(|kept| kept == *lost);
                let winner = |w: &&Target| (w.node == lost.node || w.port == lost.port) && list.contains(w);
                prop_assert!(kept || order[..at].iter().any(winner));
            }
        }
    }
}
