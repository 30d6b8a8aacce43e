//! Finds the nodes to scrape. Comes in: addresses on the command line, `file_sd` files, and what the API
//! server tells. Goes out: the list of targets, whenever it changed. Never: a target lost because its
//! file is broken or the API server does not answer.
//!
//! *Flow*: static targets are read once, files at the start, when they change, and on an interval; the
//! API server is watched. *When it cannot keep up*: the list is a watch: whoever reads it late reads
//! the newest. *Stopping*: on cancel.

use crate::clock::Clock;
use crate::model::{DaemonSet, NodeName, Route, Source, Target, Targets, host_port};
use crate::observe::Observe;
use crate::units;
use clap::{Args, ValueEnum};
use files::Known;
use kube::Client;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod cluster;
mod daemonset;
pub mod file;
mod files;
mod guarded;
mod index;
mod kubernetes;
mod limits;
mod merge;
mod nodes;
mod notice;
mod pods;
pub mod shard;
mod spaced;
mod trouble;
mod watched;

pub use cluster::Scope;

/// Where targets come from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Discover")]
#[group(id = "discover")]
pub struct Settings {
    /// Nodes to scrape; a node without a port is scraped at --discover.port. Its name is its host,
    /// or host:port where one host is given with several ports
    #[arg(
        long = "discover.targets",
        env = "VPCCNI_DISCOVER_TARGETS",
        value_name = "HOST[:PORT],…",
        value_delimiter = ','
    )]
    pub targets: Vec<String>,
    /// Prometheus file_sd files, JSON (.json) or YAML; paths may have the wildcards * ? [] and **
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
    /// Whether the API server is asked for nodes and aws-node pods: auto does it in a pod, and where
    /// --kube.config or --kube.api-server is given
    #[arg(long = "discover.kubernetes", env = "VPCCNI_DISCOVER_KUBERNETES", value_name = "MODE",
          value_enum, default_value_t = Mode::Auto)]
    pub kubernetes: Mode,
    /// Namespace of aws-node
    #[arg(long = "discover.namespace", env = "VPCCNI_DISCOVER_NAMESPACE", value_name = "NAMESPACE",
          default_value = "kube-system", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub namespace: String,
    /// Labels of aws-node's pods and DaemonSet
    #[arg(long = "discover.selector", env = "VPCCNI_DISCOVER_SELECTOR", value_name = "SELECTOR",
          default_value = "k8s-app=aws-node", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub selector: String,
    /// Whether Node objects are watched: without them nodes have no labels, and one without an
    /// aws-node pod is not noticed
    #[arg(long = "discover.nodes", env = "VPCCNI_DISCOVER_NODES", value_name = "BOOL",
          default_value_t = true, action = clap::ArgAction::Set)]
    pub nodes: bool,
    /// How pods are reached: at their address, or through the API server's pod proxy, which needs the
    /// right to get pods/proxy and is slow
    #[arg(long = "discover.route", env = "VPCCNI_DISCOVER_ROUTE", value_name = "ROUTE", value_enum,
          default_value_t = Route::Direct)]
    pub route: Route,
    /// Pods of each node that use the host's network, and so no pod address: they fill the kubelet's pod
    /// limit all the same. 2 is what EKS counts for its own limits: aws-node and kube-proxy
    #[arg(long = "discover.host-network-pods", env = "VPCCNI_DISCOVER_HOST_NETWORK_PODS",
          default_value_t = 2, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub host_network_pods: u32,
    /// Port of targets that name none; pods name it by their container port metrics
    #[arg(long = "discover.port", env = "VPCCNI_DISCOVER_PORT", default_value_t = 61678,
          value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Path of targets that name none
    #[arg(long = "discover.path", env = "VPCCNI_DISCOVER_PATH", default_value = "/metrics",
          value_name = "PATH", value_parser = path)]
    pub path: String,
}

/// `--discover.kubernetes`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Where there is a cluster.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Settings {
    /// What is to be watched. `labels` is `--node.labels`.
    pub fn scope(&self, labels: Vec<String>, shard: shard::Shard) -> Scope {
        Scope {
            namespace: self.namespace.clone(),
            selector: self.selector.clone(),
            nodes: self.nodes,
            labels,
            route: self.route,
            port: self.port,
            path: self.path.as_str().into(),
            shard,
            host_network_pods: self.host_network_pods,
        }
    }
}

fn file_interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    if interval < Duration::from_secs(1) {
        Err("1s at least is allowed".to_owned())
    } else {
        Ok(interval)
    }
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
    /// `--discover.host-network-pods`
    pub host_network_pods: u32,
}

/// Reads `HOST`, `HOST:PORT`, `[IPV6]:PORT` or a bare IPv6 address.
///
/// # Errors
/// When it is none of these, or its port is not a number from 1 to 65535.
pub fn address(text: &str, port: u16) -> Result<(String, u16), BadAddress> {
    let bad = || BadAddress(text.to_owned());
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Ok((ip.to_string(), port));
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
        // Numbers of Rust may have a sign.
        Some(given) if !given.bytes().all(|b| b.is_ascii_digit()) => return Err(bad()),
        Some(given) => given.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?,
    };
    // An underscore is in no host name of DNS, but in many of container networks.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return Err(bad());
    }
    // One address has one spelling, so that the same one is found again.
    let host =
        host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string());
    Ok((host, port))
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
    let names = Names::of(&parsed);
    let target = |(host, port): &(String, u16)| {
        Target::new(
            names.name(host, *port),
            Arc::from(host.as_str()),
            *port,
            settings.path.as_str(),
            Source::Static,
        )
    };
    Ok(parsed.iter().map(target).collect())
}

/// Names of targets that have none of their own: the host, and the port where a host has several.
struct Names<'a> {
    shared: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(addresses: &'a [(String, u16)]) -> Names<'a> {
        let mut ports: HashMap<&str, u16> = HashMap::new();
        let several = |(host, port): &'a (String, u16)| {
            (*ports.entry(host).or_insert(*port) != *port).then_some(host.as_str())
        };
        Names { shared: addresses.iter().filter_map(several).collect() }
    }

    fn name(&self, host: &str, port: u16) -> NodeName {
        if self.shared.contains(host) { host_port(host, port).into() } else { host.into() }
    }
}

/// What one kind of source knows at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    targets: Vec<Target>,
    /// Targets that lost their node to another of the same source.
    losers: usize,
    /// What has not been read well yet: until then the targets are not all of them.
    unread: Vec<String>,
    note: Option<String>,
    cluster: Option<Arc<str>>,
    daemonsets: Arc<[DaemonSet]>,
}

/// Publishes the targets until it is cancelled. `fixed` are [`static_targets`]; `cluster` is the API
/// server to be watched, and for what; `shard` is which nodes are ours.
pub async fn run(
    settings: Settings,
    fixed: Vec<Target>,
    cluster: Option<(Client, Scope)>,
    shard: shard::Shard,
    targets: watch::Sender<Arc<Targets>>,
    observe: Arc<Observe>,
    cancel: CancellationToken,
) {
    let clock = Clock::start();
    let awaited = |there: bool, what: &str| Found {
        unread: if there { vec![what.to_owned()] } else { Vec::new() },
        ..Found::default()
    };
    let of_files = awaited(!settings.files.is_empty(), "--discover.file");
    let of_cluster = awaited(cluster.is_some(), "--discover.kubernetes");
    let (files_tx, mut files) = watch::channel(Arc::new(of_files));
    let (cluster_tx, mut kubernetes) = watch::channel(Arc::new(of_cluster));
    let mut reading = std::pin::pin!(read_files(&settings, files_tx, &observe));
    let of_observe = Arc::clone(&observe);
    let mut watching = std::pin::pin!(async move {
        match cluster {
            Some((client, scope)) => kubernetes::watch(client, scope, cluster_tx, of_observe).await,
            // Its sender stays, or the receiver would think that the watch has ended.
            None => {
                cluster_tx.closed().await;
            }
        }
    });
    loop {
        let (from_files, from_cluster) =
            (Arc::clone(&files.borrow_and_update()), Arc::clone(&kubernetes.borrow_and_update()));
        let ours = |target: &&Target| shard.owns(&target.node);
        let sources = [&from_cluster.targets, &from_files.targets, &fixed];
        let (list, lost) = merge::merge(sources.into_iter().flatten().filter(ours).cloned());
        let unread = [&from_files.unread[..], &from_cluster.unread].concat();
        let next = Targets {
            list,
            losers: lost.len() + from_cluster.losers,
            synced: unread.is_empty(),
            unread,
            note: from_cluster.note.clone(),
            cluster: from_cluster.cluster.clone(),
            daemonsets: Arc::clone(&from_cluster.daemonsets),
        };
        targets.send_if_modified(|current| {
            let changed = **current != next;
            if changed {
                observe.targets_changed(&next, &lost, clock.now().unix);
                *current = Arc::new(next);
            }
            changed
        });
        tokio::select! {
            () = cancel.cancelled() => return,
            // A stage's part that ends, ends the stage.
            () = &mut reading => return,
            () = &mut watching => return,
            changed = files.changed() => if changed.is_err() { return },
            changed = kubernetes.changed() => if changed.is_err() { return },
        }
    }
}

/// Reads the files at the start, when they change, and on the interval.
async fn read_files(settings: &Settings, found: watch::Sender<Arc<Found>>, observe: &Arc<Observe>) {
    let defaults = Defaults {
        port: settings.port,
        path: settings.path.clone(),
        host_network_pods: settings.host_network_pods,
    };
    let patterns: Arc<[String]> = settings.files.as_slice().into();
    if patterns.is_empty() {
        return found.closed().await;
    }
    let mut known = Known::default();
    let (mut watching, mut notices) = notice::start(observe);
    loop {
        let of_task = Arc::clone(&patterns);
        let reading = tokio::task::spawn_blocking(move || {
            let reading = files::read_all(&of_task, &mut watching);
            (watching, reading)
        });
        let Ok((back, reading)) = reading.await else {
            // It panicked, and that was told. The stage ends, and the process with it.
            return;
        };
        watching = back;
        known.take(reading, &defaults, observe);
        let (unread, targets) = (known.unread(), known.targets().collect());
        found.send_replace(Arc::new(Found { targets, unread, ..Found::default() }));
        tokio::select! {
            () = tokio::time::sleep(settings.file_interval) => {}
            () = notices.changed() => {}
        }
    }
}

#[cfg(test)]
#[path = "discover/tests.rs"]
mod tests;
