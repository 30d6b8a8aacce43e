//! Leases of other numbers of shards, which hold the same nodes. Comes in: Leases as they were read, what
//! their holders answer. Goes out: what each of them allows, and in words why this process stands by.
//! Never: a request; a Lease taken for dead while its holder says that it serves.

use super::lease::Read;
use super::term::{Knock, Step, Watch};
use std::collections::HashMap;

/// What is known of them.
#[derive(Debug)]
pub(super) struct Others {
    /// Number of our shard, and of all.
    shard: (u32, u32),
    duration: f64,
    /// By the Lease's name.
    watches: HashMap<String, Watch>,
}

impl Others {
    pub(super) fn new(shard: (u32, u32), duration: f64) -> Others {
        Others { shard, duration, watches: HashMap::new() }
    }

    /// Those that somebody holds.
    pub(super) fn held<'a>(&self, leases: &'a [Read]) -> Vec<&'a Read> {
        let (_, count) = self.shard;
        let held = |read: &&Read| read.shards != count && !read.record.holder.is_empty();
        leases.iter().filter(held).collect()
    }

    /// What each of them allows at `now`, but for the one named `ours`, which shards of several numbers share.
    pub(super) fn look<'a>(
        &mut self,
        leases: &'a [Read],
        ours: &str,
        now: f64,
    ) -> Vec<(&'a Read, Step)> {
        let mut held = self.held(leases);
        held.retain(|read| read.name != ours);
        // Those that are no more are forgotten.
        self.watches.retain(|name, _| held.iter().any(|read| read.name == *name));
        let look = |read: &'a Read| {
            let watch = self.watches.entry(read.name.clone()).or_default();
            (read, watch.look(&read.record, self.duration, now))
        };
        held.into_iter().map(look).collect()
    }

    /// What a holder's answer allows.
    pub(super) fn asked(&self, read: &Read, knock: Knock, now: f64) -> Step {
        let watch = self.watches.get(&read.name);
        watch.map_or(Step::Wait, |watch| watch.asked(&read.record, self.duration, knock, now))
    }

    /// Why we stand by, where these are held.
    pub(super) fn words(&self, held: &[&Read]) -> Option<String> {
        let first = held.first()?;
        let (index, count) = self.shard;
        let all = first.shards;
        let left = held.iter().filter(|read| read.shards == all).count();
        let mut words = format!(
            "stands by as shard {index} of {count}: {} still serves as one of {all} shards",
            first.record.holder
        );
        if usize::try_from(all).is_ok_and(|all| left < all) {
            words.push_str(&format!(
                "; {left} of these are left, and nobody serves the nodes of the others until the last has gone"
            ));
        }
        Some(words)
    }
}
