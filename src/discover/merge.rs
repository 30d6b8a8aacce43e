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
