//! Which nodes are this process's. Comes in: flags, or a StatefulSet's ordinal from the host name. Goes
//! out: yes or no for a node's name. Never: another hash than `?shard=` has.

use crate::model::shard_of;
use clap::Args;

/// How the nodes are divided among processes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Shard")]
#[group(id = "shard")]
pub struct Settings {
    /// Which of the shards this process is, from 0 [default: the number that a StatefulSet's pod is named by,
    /// of $POD_NAME or else of the host name]
    #[arg(
        id = "shard_index",
        long = "shard.index",
        env = "VPCCNI_SHARD_INDEX",
        value_name = "NUMBER"
    )]
    pub index: Option<u32>,
    /// How many shards there are; each node belongs to one of them
    #[arg(id = "shard_count", long = "shard.count", env = "VPCCNI_SHARD_COUNT", value_name = "NUMBER",
          default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
}

/// One of several processes that share the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// 1 where all nodes are one process's.
    pub count: u32,
}

impl Default for Shard {
    fn default() -> Shard {
        Shard { index: 0, count: 1 }
    }
}

impl Shard {
    /// Whether a node is this shard's.
    pub fn owns(self, node: &str) -> bool {
        self.count == 1 || shard_of(node, self.count) == self.index
    }

    /// Whether there are others.
    pub fn is_one_of_several(self) -> bool {
        self.count > 1
    }
}

impl Settings {
    /// The shard that this process is. `host` is the pod's name where it is known, else the host's.
    ///
    /// # Errors
    /// What is allowed as `--shard.index`, when it is none or cannot be known.
    pub fn resolve(&self, host: Option<&str>) -> Result<Shard, String> {
        let allowed = || {
            format!(
                "a number below --shard.count ({}) is allowed, or none where POD_NAME or the host name is that of a StatefulSet's pod, such as vpc-cni-exporter-0; here it is {:?}",
                self.count,
                host.unwrap_or_default()
            )
        };
        let index = match self.index {
            Some(index) => index,
            None if self.count == 1 => 0,
            None => host.and_then(ordinal).ok_or_else(allowed)?,
        };
        if index >= self.count {
            return Err(allowed());
        }
        Ok(Shard { index, count: self.count })
    }
}

/// The number that a StatefulSet's pod is named by: `name-3`. A host's own name (`ip-10-0-0-2`, or one with
/// dots) may end with any number.
fn ordinal(name: &str) -> Option<u32> {
    let (set, number) = name.rsplit_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_address = set.strip_prefix("ip-").is_some_and(|rest| rest.split('-').all(digits));
    let is_ordinal = digits(number) && (number == "0" || !number.starts_with('0'));
    let is_pod = !set.is_empty() && !is_address && !name.contains('.');
    if is_pod && is_ordinal { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(index: Option<u32>, count: u32, host: Option<&str>) -> Option<u32> {
        Settings { index, count }.resolve(host).ok().map(|shard| shard.index)
    }

    #[test]
    fn the_index_is_the_flag_or_else_the_ordinal_of_the_host() {
        assert_eq!(resolve(Some(2), 3, Some("x-1")), Some(2));
        assert_eq!(resolve(None, 3, Some("vpc-cni-exporter-1")), Some(1));
        assert_eq!(resolve(None, 1, Some("vpc-cni-exporter-7d9f8b6c5-abcde")), Some(0));
    }

    #[test]
    fn an_index_that_is_none_is_refused() {
        for (index, count, host) in [
            (Some(3), 3, None),
            (None, 3, None),
            (None, 3, Some("x-3")),
            (None, 3, Some("x-+1")),
            (None, 3, Some("x-abcde")),
            (None, 3, Some("7")),
            (None, 3, Some("-1")),
            (None, 3, Some("x-01")),
            (None, 3, Some("ip-10-0-0-2")),
            (None, 3, Some("ip-10-0-0-2.ec2.internal")),
            (None, 3, Some("vpc-cni-exporter-2.svc.local")),
            (None, 3, Some("vpc-cni-exporter-7d9f8b6c5-24567")),
            (Some(1), 1, None),
        ] {
            let refused = Settings { index, count }.resolve(host).unwrap_err();
            assert!(refused.contains(&format!("--shard.count ({count})")), "{refused}");
        }
    }

    #[test]
    fn each_node_has_one_owner() {
        for count in [1, 2, 3, 7] {
            for node in 0..500 {
                let node = format!("node-{node}");
                let owners = (0..count).filter(|&index| Shard { index, count }.owns(&node));
                assert_eq!(owners.count(), 1);
            }
        }
    }
}
