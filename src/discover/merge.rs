//! One target per node name. Comes in: targets of all sources. Goes out: the sorted list and how many
//! lost their name to another. Never: two targets of one name.

use crate::model::{NodeName, Target, Targets};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A later source wins over an earlier one (`Source`'s order); within a source the first one does.
pub(super) fn merge(
    fixed: impl Iterator<Item = Target>,
    files: impl Iterator<Item = Target>,
) -> Targets {
    let mut by_name: BTreeMap<NodeName, Target> = BTreeMap::new();
    let mut losers = 0;
    for target in fixed.chain(files) {
        match by_name.entry(target.node.clone()) {
            Entry::Vacant(place) => {
                place.insert(target);
            }
            Entry::Occupied(mut place) => {
                losers += 1;
                if target.source > place.get().source {
                    place.insert(target);
                }
            }
        }
    }
    Targets { list: by_name.into_values().collect(), losers, synced: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Source;
    use proptest::prelude::*;

    fn target(node: &str, port: u16, source: Source) -> Target {
        Target {
            node: node.into(),
            host: node.into(),
            port,
            path: "/metrics".into(),
            labels: Default::default(),
            source,
        }
    }

    #[test]
    fn a_file_wins_over_the_command_line_and_within_files_the_first_wins() {
        let fixed = [target("b", 1, Source::Static), target("a", 2, Source::Static)];
        let files = [target("b", 3, Source::File), target("b", 4, Source::File)];
        let merged = merge(fixed.into_iter(), files.into_iter());
        let list = vec![target("a", 2, Source::Static), target("b", 3, Source::File)];
        assert_eq!(merged, Targets { list, losers: 2, synced: true });
    }

    proptest! {
        #[test]
        fn prop_each_name_is_there_once_in_order_with_its_first_target_of_the_highest_source(
            fixed in prop::collection::vec(("[a-d]", 1u16..), 0..8),
            files in prop::collection::vec(("[a-d]", 1u16..), 0..8),
        ) {
            let of = |pairs: &[(String, u16)], source| -> Vec<Target> {
                pairs.iter().map(|(node, port)| target(node, *port, source)).collect()
            };
            let (fixed, files) = (of(&fixed, Source::Static), of(&files, Source::File));
            let merged = merge(fixed.iter().cloned(), files.iter().cloned());
            prop_assert_eq!(merged.list.len() + merged.losers, fixed.len() + files.len());
            prop_assert!(merged.list.windows(2).all(|pair| pair[0].node < pair[1].node));
            for lost in fixed.iter().chain(&files) {
                prop_assert!(merged.list.iter().any(|kept| kept.node == lost.node));
            }
            for kept in &merged.list {
                let mut best = files.iter().chain(&fixed).filter(|t| t.node == kept.node);
                prop_assert_eq!(Some(kept), best.next());
            }
        }
    }
}
