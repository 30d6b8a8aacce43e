//! Finds the nodes to scrape. Comes in: addresses on the command line, and `file_sd` files. Goes out:
//! the list of targets, whenever it changed. Never: a target lost because its file is broken.
//!
//! *Flow*: static targets are read once, files at the start, when they change, and on an interval.
//! *When it cannot keep up*: the list is a watch: whoever reads it late reads the newest.
//! *Stopping*: on cancel.

use crate::model::{Source, Target, Targets};
use crate::observe::Observe;
use crate::units;
use clap::Args;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub mod file;
mod merge;
mod notice;

/// Where targets come from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Discover")]
#[group(id = "discover")]
pub struct Settings {
    /// Nodes to scrape; a node without a port is scraped at --discover.port. Its name is its host
    #[arg(
        long = "discover.targets",
        env = "VPCCNI_DISCOVER_TARGETS",
        value_name = "HOST[:PORT],…",
        value_delimiter = ','
    )]
    pub targets: Vec<String>,
    /// Prometheus file_sd files, JSON or YAML; the last part of the path may have wildcards
    #[arg(
        long = "discover.file",
        env = "VPCCNI_DISCOVER_FILE",
        value_name = "GLOB,…",
        value_delimiter = ','
    )]
    pub files: Vec<String>,
    /// How often files are read anew, besides whenever they change
    #[arg(long = "discover.file-interval", env = "VPCCNI_DISCOVER_FILE_INTERVAL",
          default_value = "30s", value_name = "DURATION", value_parser = file_interval)]
    pub file_interval: Duration,
    /// Port of targets that name none
    #[arg(long = "discover.port", env = "VPCCNI_DISCOVER_PORT", default_value_t = 61678,
          value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Path of targets that name none
    #[arg(long = "discover.path", env = "VPCCNI_DISCOVER_PATH", default_value = "/metrics",
          value_name = "PATH", value_parser = path)]
    pub path: String,
}

fn file_interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    if interval < Duration::from_secs(1) { Err("1s at least".to_owned()) } else { Ok(interval) }
}

/// Checks an HTTP path: what goes into the request line as it is.
fn path(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    if text.starts_with('/') && plain {
        Ok(text.to_owned())
    } else {
        Err("a path that begins with / and has no blanks is allowed".to_owned())
    }
}

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address; HOST, HOST:PORT or [IPV6]:PORT is allowed")]
pub struct BadAddress(pub String);

/// The defaults that fill up an address.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// `--discover.port`
    pub port: u16,
    /// `--discover.path`
    pub path: String,
}

/// Reads `HOST`, `HOST:PORT`, `[IPV6]:PORT` or a bare IPv6 address.
///
/// # Errors
/// When it is none of these, or its port is not a number from 1 to 65535.
pub fn address(text: &str, port: u16) -> Result<(String, u16), BadAddress> {
    let bad = || BadAddress(text.to_owned());
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), port));
    }
    let (host, given) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            host.parse::<Ipv6Addr>().map_err(|_| bad())?;
            (host, (!rest.is_empty()).then(|| rest.strip_prefix(':').unwrap_or("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match given {
        None => port,
        Some(given) => given.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return Err(bad());
    }
    Ok((host.to_owned(), port))
}

/// The targets of `--discover.targets`. A node is named by its host; where a host is given with
/// several ports, by host and port.
///
/// # Errors
/// The first address that is none.
pub fn static_targets(settings: &Settings) -> Result<Vec<Target>, BadAddress> {
    let given = settings.targets.iter().map(|t| t.trim()).filter(|t| !t.is_empty());
    let parsed: Vec<(String, u16)> =
        given.map(|text| address(text, settings.port)).collect::<Result<_, _>>()?;
    let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
    parsed.iter().for_each(|(host, _)| *hosts.entry(host).or_default() += 1);
    let target = |(host, port): &(String, u16)| {
        let mut target = Target {
            node: Arc::from(host.as_str()),
            host: Arc::from(host.as_str()),
            port: *port,
            path: settings.path.as_str().into(),
            labels: Arc::default(),
            source: Source::Static,
        };
        if hosts.get(host.as_str()).is_some_and(|count| *count > 1) {
            target.node = target.address().into();
        }
        target
    };
    Ok(parsed.iter().map(target).collect())
}

/// Publishes the targets until it is cancelled. `fixed` are [`static_targets`].
pub async fn run(
    settings: Settings,
    fixed: Vec<Target>,
    targets: watch::Sender<Arc<Targets>>,
    observe: Arc<Observe>,
    cancel: CancellationToken,
) {
    let defaults = Defaults { port: settings.port, path: settings.path.clone() };
    let mut known = Known::default();
    let notices = notice::Notices::new(&settings.files, &observe);
    let mut interval = tokio::time::interval(settings.file_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // The first tick comes at once.
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = interval.tick(), if !settings.files.is_empty() || !targets.borrow().synced => {}
            () = notices.changed() => {}
        }
        let patterns = settings.files.clone();
        let read = tokio::task::spawn_blocking(move || read_all(&patterns)).await;
        // The closure does not panic; were it to, the files stay as they were known.
        for (path, content) in read.unwrap_or_default() {
            known.take(path, content, &defaults, &observe);
        }
        known.forget_vanished(&observe);
        let next = merge::merge(fixed.iter().cloned(), known.targets());
        targets.send_if_modified(|current| {
            let changed = **current != next;
            if changed {
                observe.targets_changed(&next);
                *current = Arc::new(next);
            }
            changed
        });
    }
}

/// Every file that the patterns match, with its content.
fn read_all(patterns: &[String]) -> Vec<(PathBuf, Result<Vec<u8>, String>)> {
    let mut found = BTreeMap::new();
    for pattern in patterns {
        // Checked when the configuration was resolved.
        let Ok(paths) = glob::glob(pattern) else { continue };
        for path in paths.flatten() {
            found
                .entry(path.clone())
                .or_insert_with(|| std::fs::read(&path).map_err(|error| error.to_string()));
        }
    }
    found.into_iter().collect()
}

/// The files as they are known: their last good targets.
#[derive(Debug, Default)]
struct Known {
    files: BTreeMap<PathBuf, KnownFile>,
}

#[derive(Debug, Default)]
struct KnownFile {
    content: Vec<u8>,
    targets: Vec<Target>,
    seen: bool,
}

impl Known {
    fn take(
        &mut self,
        path: PathBuf,
        content: Result<Vec<u8>, String>,
        defaults: &Defaults,
        observe: &Observe,
    ) {
        let name = path.display().to_string();
        let entry = self.files.entry(path).or_default();
        entry.seen = true;
        let content = match content {
            Ok(content) => content,
            Err(error) => return observe.file_broken(&name, &error, entry.targets.len()),
        };
        if content == entry.content && !entry.targets.is_empty() {
            return;
        }
        match file::parse(&name, &content, defaults) {
            Ok(targets) => {
                observe.file_read(&name, targets.len());
                *entry = KnownFile { content, targets, seen: true };
            }
            Err(error) => observe.file_broken(&name, &error.to_string(), entry.targets.len()),
        }
    }

    /// A file that is not there any more takes its targets along.
    fn forget_vanished(&mut self, observe: &Observe) {
        self.files.retain(|path, file| {
            if !file.seen {
                observe.file_vanished(&path.display().to_string(), file.targets.len());
            }
            std::mem::take(&mut file.seen)
        });
    }

    fn targets(&self) -> impl Iterator<Item = Target> {
        self.files.values().flat_map(|file| file.targets.iter().cloned())
    }
}

#[cfg(test)]
#[path = "discover/tests.rs"]
mod tests;
