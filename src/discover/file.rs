//! A `file_sd` file of Prometheus, JSON or YAML. Comes in: its bytes. Goes out: targets, or what is
//! wrong where. Never: half a file.

use super::{BadAddress, Defaults, address};
use crate::model::{Source, Target};
use serde::Deserialize;
use std::collections::BTreeMap;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Labels that belong to the scraper of our page (DESIGN §5): a node does not have them.
const RESERVED: [&str; 5] = ["cluster", "instance", "job", "namespace", "pod"];

/// Reads a file; its name tells JSON (`.json`) from YAML (anything else).
///
/// # Errors
/// The first thing that is wrong, with file and group.
pub fn parse(name: &str, content: &[u8], defaults: &Defaults) -> Result<Vec<Target>, FileError> {
    let syntax = |reason: String| FileError::Syntax { file: name.to_owned(), reason };
    let groups: Vec<Group> = if name.ends_with(".json") {
        serde_json::from_slice(content).map_err(|error| syntax(error.to_string()))?
    } else {
        let text = std::str::from_utf8(content).map_err(|error| syntax(error.to_string()))?;
        serde_saphyr::from_str(text).map_err(|error| syntax(first_line(&error.to_string())))?
    };
    let mut targets = Vec::new();
    for (number, group) in (1..).zip(&groups) {
        let place = Place { file: name, group: number };
        let shared = place.labels(group, defaults)?;
        for text in &group.targets {
            let text = group.labels.get("__address__").unwrap_or(text);
            let (host, port) = address(text, defaults.port).map_err(|source| {
                FileError::Address { file: name.to_owned(), group: number, source }
            })?;
            targets.push(Target {
                node: shared.node.clone().unwrap_or_else(|| host.clone()).into(),
                host: host.into(),
                port,
                path: Arc::clone(&shared.path),
                labels: Arc::clone(&shared.labels),
                source: Source::File,
            });
        }
    }
    Ok(targets)
}

/// What the labels of a group say of all its targets.
struct Shared {
    node: Option<String>,
    path: Arc<str>,
    labels: Arc<BTreeMap<String, String>>,
}

struct Place<'a> {
    file: &'a str,
    group: usize,
}

impl Place<'_> {
    fn labels(&self, group: &Group, defaults: &Defaults) -> Result<Shared, FileError> {
        let wrong = |label: &str, value: &str, allowed| FileError::Label {
            file: self.file.to_owned(),
            group: self.group,
            label: label.to_owned(),
            value: value.to_owned(),
            allowed,
        };
        let mut shared =
            Shared { node: None, path: defaults.path.as_str().into(), labels: Arc::default() };
        let mut labels = BTreeMap::new();
        for (label, value) in &group.labels {
            match label.as_str() {
                "node" if value.is_empty() => {
                    return Err(wrong(label, value, "a node's name is not empty"));
                }
                "node" => shared.node = Some(value.clone()),
                "__metrics_path__" => {
                    let path = super::path(value);
                    let path = path
                        .map_err(|_| wrong(label, value, "a path that begins with / is allowed"))?;
                    shared.path = path.into();
                }
                "__scheme__" if value != "http" => {
                    return Err(wrong(
                        label,
                        value,
                        "ipamd speaks plain HTTP: only http is allowed",
                    ));
                }
                name if name.starts_with("__") || RESERVED.contains(&name) => {}
                name if is_label_name(name) => {
                    labels.insert(name.to_owned(), value.clone());
                }
                _ => return Err(wrong(label, value, "a label's name has letters, digits and _")),
            }
        }
        shared.labels = Arc::new(labels);
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
