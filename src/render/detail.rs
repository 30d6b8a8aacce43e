//! How much of each node is shown. Comes in: the flags `--node.…`. Goes out: yes or no for a family
//! or a label. Never: a node's values.

use crate::catalog::{FAMILIES, Family};
use crate::model::{Kind, label_name};
use clap::{Args, ValueEnum};
use regex::Regex;

/// What is shown of each node.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
#[group(id = "node")]
pub struct Settings {
    /// Series per node: core (at most 16 of ipamd's: capacity, use, refusals, error totals), full
    /// (all of them) or none (no series with the label node)
    #[arg(long = "node.detail", env = "VPCCNI_NODE_DETAIL", value_name = "LEVEL",
          value_enum, default_value_t = Level::Core)]
    pub detail: Level,
    /// Labels that vpccni_node_info shows as label_NAME, besides the well-known ones: keys of Node
    /// labels, or labels of file targets. When unset none of the former and all of the latter
    #[arg(
        long = "node.labels",
        env = "VPCCNI_NODE_LABELS",
        value_name = "NAME,…",
        value_delimiter = ','
    )]
    pub labels: Vec<String>,
    /// Show only node families whose whole name matches
    #[arg(long = "node.allow", env = "VPCCNI_NODE_ALLOW", value_name = "REGEX", value_parser = anchored)]
    pub allow: Option<Regex>,
    /// Show no node family whose whole name matches; wins over --node.allow
    #[arg(long = "node.deny", env = "VPCCNI_NODE_DENY", value_name = "REGEX", value_parser = anchored)]
    pub deny: Option<Regex>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { detail: Level::Core, labels: Vec::new(), allow: None, deny: None }
    }
}

/// `--node.detail`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// At most 16 series of ipamd's.
    Core,
    /// All of ipamd's series.
    Full,
    /// No series with the label `node`.
    None,
}

/// A pattern that must match a whole name, as Prometheus reads its own.
fn anchored(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())
}

/// The settings, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    settings: Settings,
}

impl Detail {
    /// As the flags say.
    pub fn new(mut settings: Settings) -> Detail {
        for label in &mut settings.labels {
            *label = label_name(label);
        }
        Detail { settings }
    }

    /// Whether anything with the label `node` is shown.
    pub fn shows_nodes(&self) -> bool {
        self.settings.detail != Level::None
    }

    /// Whether each row is shown, not only totals of core families.
    pub fn is_full(&self) -> bool {
        self.settings.detail == Level::Full
    }

    /// Whether a family is shown; `core` says whether it belongs to level core.
    pub fn shows(&self, family: &str, core: bool) -> bool {
        (core || self.is_full())
            && self.settings.allow.as_ref().is_none_or(|allow| allow.is_match(family))
            && self.settings.deny.as_ref().is_none_or(|deny| !deny.is_match(family))
    }

    /// Whether the node scope holds families of ipamd that are no gauges: in OpenMetrics they lose their
    /// type. So it is with every family that the catalogue does not know.
    pub fn shows_more_than_gauges(&self, wanted: impl Fn(&str) -> bool) -> bool {
        let shown =
            |family: &&Family| family.kind != Kind::Gauge && self.shows(family.name, family.core);
        self.shows_nodes()
            && (self.is_full() || FAMILIES.iter().filter(shown).any(|family| wanted(family.name)))
    }

    /// Whether a label of a target is shown as `label_…`.
    pub fn shows_label(&self, name: &str) -> bool {
        self.settings.labels.is_empty() || self.settings.labels.iter().any(|l| l == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names_and_deny_wins() {
        let detail = Detail::new(Settings {
            detail: Level::Full,
            allow: Some(anchored("awscni_.*").unwrap()),
            deny: Some(anchored("awscni_ip_max|awscni_eni").unwrap()),
            ..Settings::default()
        });
        assert!(detail.shows("awscni_eni_max", true));
        assert!(!detail.shows("awscni_ip_max", true));
        assert!(!detail.shows("vpccni_node_info", true));
    }

    #[test]
    fn core_hides_what_is_not_core() {
        let detail = Detail::new(Settings::default());
        assert!(detail.shows("awscni_ip_max", true));
        assert!(!detail.shows("awscni_assigned_ip_per_eni", false));
    }
}
