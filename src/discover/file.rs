//! A `file_sd` file of Prometheus, JSON or YAML. Comes in: its bytes. Goes out: targets, or what is
//! wrong where. Never: half a file.

use super::nodes::capacity_type;
use super::{BadAddress, Defaults, Names, address};
use crate::model::{NodeName, Source, Target, TargetLabels};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Why a file is refused: nothing of it is used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Neither JSON nor YAML of the right shape.
    #[error("{file}: not a list of groups with targets and labels: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// The reader's words, with line and column.
        reason: String,
    },
    /// An address that is none.
    #[error("{file}, group {group}: {source}")]
    Address {
        /// The file.
        file: String,
        /// 1-based.
        group: usize,
        /// The address.
        source: BadAddress,
    },
    /// It has no content at all: it is being written, or was cut off.
    #[error("{file} is empty; no targets are written as []")]
    Empty {
        /// The file.
        file: String,
    },
    /// A label that cannot be honoured.
    #[error("{file}, group {group}: label {label}={value:?}: {allowed}")]
    Label {
        /// The file.
        file: String,
        /// 1-based.
        group: usize,
        /// Its name.
        label: String,
        /// Its value.
        value: String,
        /// What would be right.
        allowed: &'static str,
    },
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// In the file's order.
    pub targets: Vec<Target>,
    /// Labels that belong to the scraper of our page, and were left out; counted once a group.
    pub labels_dropped: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    // As in Prometheus, both may be left out or null.
    #[serde(default)]
    targets: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Labels that belong to the scraper of our page (DESIGN §5): a node does not have them.
const RESERVED: [&str; 5] = ["cluster", "instance", "job", "namespace", "pod"];

/// The label that tells how many pods the node's kubelet takes, as its Node object does where there is one.
pub const ALLOCATABLE_PODS: &str = "__allocatable_pods__";

/// YAML nodes that a file may have: 100,000 targets in a group each, with a dozen labels. Aliases are
/// counted where they are used, so that few bytes do not become many.
const MAX_YAML_NODES: usize = 4_000_000;

/// Reads a file; its name tells JSON (`.json`) from YAML (anything else).
///
/// # Errors
/// The first thing that is wrong, with file and group.
pub fn parse(name: &str, content: &[u8], defaults: &Defaults) -> Result<Parsed, FileError> {
    let syntax = |reason: String| FileError::Syntax { file: name.to_owned(), reason };
    let text = std::str::from_utf8(content).map_err(|error| syntax(error.to_string()))?;
    if text.trim().is_empty() {
        return Err(FileError::Empty { file: name.to_owned() });
    }
    let groups: Vec<Group> = if name.to_ascii_lowercase().ends_with(".json") {
        serde_json::from_str(text).map_err(|error| syntax(error.to_string()))?
    } else {
        yaml(text).map_err(syntax)?
    };
    let mut parsed = Parsed::default();
    let mut texts = Texts::default();
    let mut addresses = Vec::new();
    let mut of_targets = Vec::new();
    for (number, group) in (1..).zip(groups) {
        let place = Place { file: name, group: number };
        let shared =
            Arc::new(place.labels(group.labels.unwrap_or_default(), defaults, &mut texts)?);
        parsed.labels_dropped += shared.dropped;
        for text in group.targets.unwrap_or_default() {
            // The text is the label __address__ of this one target, and so wins over the group's.
            addresses.push(address(&text, defaults.port).map_err(|source| FileError::Address {
                file: name.to_owned(),
                group: number,
                source,
            })?);
            of_targets.push(Arc::clone(&shared));
        }
    }
    let names = Names::of(&addresses);
    parsed.targets = addresses
        .iter()
        .zip(of_targets)
        .map(|((host, port), shared)| Target {
            labels: shared.labels.clone(),
            pod_limit: shared.pod_limit,
            ..Target::new(
                shared.node.clone().unwrap_or_else(|| names.name(host, *port)),
                host.as_str(),
                *port,
                Arc::clone(&shared.path),
                Source::File,
            )
        })
        .collect();
    Ok(parsed)
}

fn yaml(text: &str) -> Result<Vec<Group>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_YAML_NODES,
            max_events: 2 * MAX_YAML_NODES,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| first_line(&error.to_string()))
}

/// What the labels of a group say of all its targets.
struct Shared {
    node: Option<NodeName>,
    path: Arc<str>,
    pod_limit: Option<u32>,
    labels: TargetLabels,
    dropped: usize,
}

/// Names, values and paths of a file, each kept once: most groups have the same.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}

struct Place<'a> {
    file: &'a str,
    group: usize,
}

impl Place<'_> {
    fn labels(
        &self,
        given: BTreeMap<String, String>,
        defaults: &Defaults,
        texts: &mut Texts,
    ) -> Result<Shared, FileError> {
        let mut labels = Vec::new();
        let mut shared = Shared {
            node: None,
            path: texts.shared(&defaults.path),
            pod_limit: None,
            labels: TargetLabels::default(),
            dropped: 0,
        };
        for (label, value) in given {
            let wrong = |allowed| FileError::Label {
                file: self.file.to_owned(),
                group: self.group,
                label: label.clone(),
                value: value.clone(),
                allowed,
            };
            match label.as_str() {
                "node" if value.is_empty() => return Err(wrong("a node's name is not empty")),
                "node" => shared.node = Some(value.into()),
                name if !is_label_name(name) => {
                    return Err(wrong("a label's name has letters, digits and _"));
                }
                // As in Prometheus, a label without a value is none.
                _ if value.is_empty() => {}
                "__metrics_path__" => {
                    let path = super::path(&value);
                    let path = path.map_err(|_| wrong("a path that begins with / is allowed"))?;
                    shared.path = texts.shared(&path);
                }
                ALLOCATABLE_PODS => {
                    let pods: u32 =
                        value.parse().map_err(|_| wrong("a whole number is allowed"))?;
                    shared.pod_limit = Some(pods.saturating_sub(defaults.host_network_pods));
                }
                "__scheme__" if value != "http" => {
                    return Err(wrong("ipamd speaks plain HTTP: only http is allowed"));
                }
                name if name.starts_with("__") => {}
                name if RESERVED.contains(&name) => shared.dropped += 1,
                "capacity_type" => {
                    labels.push((texts.shared(&label), texts.shared(&capacity_type(&value))));
                }
                _ => {
                    labels.push((texts.shared(&label), texts.shared(&value)));
                }
            }
        }
        shared.labels = labels.into_iter().collect();
        Ok(shared)
    }
}

fn is_label_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The YAML reader draws the place over several lines; the first one says it.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
