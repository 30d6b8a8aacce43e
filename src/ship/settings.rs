//! Flags of the mirror. Comes in: the command line, and the helper's switch. Goes out: a plan, or nothing
//! where no mirror was asked for, or what is wrong. Never: a request: what only AWS can know is found out
//! later.

use super::dialect::Dialect;
use super::emf::{EVENT_BYTES, Heading, STDOUT_EVENT_BYTES};
use super::limits;
use super::names;
use crate::mirror::Sink;
use crate::units;
use clap::Args;
use std::time::Duration;

/// Where the CloudWatch agent listens by default.
const AGENT_PORT: u16 = 25888;

/// Where events go that name no group: this, and the cluster's name.
const LOG_GROUP: &str = "/vpc-cni-exporter/";

/// Dimensions that a metric may have besides the cluster's.
const MOST_LABELS: usize = limits::DIMENSIONS - 1;

/// What is mirrored to CloudWatch, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Mirror")]
#[group(id = "mirror")]
pub struct Settings {
    /// Where to mirror to, repeatable: put (PutMetricData, cni-metrics-helper's names), emf+stdout:,
    /// emf+tcp://HOST:PORT (CloudWatch agent; emf+tcp: alone is $AWS_EMF_AGENT_ENDPOINT or
    /// 127.0.0.1:25888), emf+logs://GROUP/STREAM (CloudWatch Logs)
    #[arg(long = "mirror.to", env = "VPCCNI_MIRROR_TO", value_name = "OUTLET,…", value_delimiter = ',',
          value_parser = to)]
    pub to: Vec<To>,
    /// How often; whole seconds, the scrape interval at least
    #[arg(id = "mirror_interval", long = "mirror.interval", env = "VPCCNI_MIRROR_INTERVAL",
          value_name = "DURATION", default_value = "60s", value_parser = interval)]
    pub interval: Duration,
    /// CloudWatch namespace [default: Kubernetes for put, as the helper's, and VpcCni for the others]
    #[arg(id = "mirror_namespace", long = "mirror.namespace", env = "VPCCNI_MIRROR_NAMESPACE",
          value_name = "NAMESPACE", value_parser = namespace)]
    pub namespace: Option<String>,
    /// Labels of the cluster scope that become dimensions besides ip_family and state, each value a metric
    /// of its own, billed where it is not 0; not for put
    #[arg(long = "mirror.dimensions", env = "VPCCNI_MIRROR_DIMENSIONS", value_name = "LABEL,…",
          value_delimiter = ',', value_parser = label)]
    pub dimensions: Vec<String>,
    /// Gauges of the node scope to mirror for each node, with the dimension NodeName: each is a billed metric
    /// a node; not for put
    #[arg(long = "mirror.node-metrics", env = "VPCCNI_MIRROR_NODE_METRICS", value_name = "NAME,…",
          value_delimiter = ',', value_parser = node_metric)]
    pub node_metrics: Vec<String>,
    /// Metrics that may be billed: more are not sent, the helper's names come first
    #[arg(long = "mirror.max-billed-metrics", env = "VPCCNI_MIRROR_MAX_BILLED_METRICS",
          value_name = "METRICS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_billed_metrics: u32,
    /// Memory for what waits to be sent, for each outlet
    #[arg(long = "mirror.queue", env = "VPCCNI_MIRROR_QUEUE", value_name = "BYTES",
          default_value = "32MiB", value_parser = units::bytes)]
    pub queue: usize,
    /// Bytes of one event of Embedded Metric Format [default: 15KiB for emf+stdout:, so that container
    /// runtimes do not cut it, and 1MiB less 26 bytes for the others]
    #[arg(long = "mirror.emf.max-event-bytes", env = "VPCCNI_MIRROR_EMF_MAX_EVENT_BYTES",
          value_name = "BYTES", value_parser = event_bytes)]
    pub max_event_bytes: Option<usize>,
    /// Days that a log group keeps its events, where we create it
    #[arg(long = "mirror.logs.retention-days", env = "VPCCNI_MIRROR_LOGS_RETENTION_DAYS",
          value_name = "DAYS", default_value_t = 14, value_parser = retention)]
    pub retention_days: u16,
    /// The cluster's name in CloudWatch; also AWS_CLUSTER_ID [default: the nodes' labels, then the tags of
    /// this EC2 instance]
    #[arg(id = "cluster_name", long = "cluster.name", env = "VPCCNI_CLUSTER_NAME", value_name = "NAME",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub cluster: Option<String>,
}

/// One `--mirror.to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// `put`
    Put,
    /// `emf+stdout:`
    Stdout,
    /// `emf+tcp://host:port`; without them what the environment says.
    Agent(Option<(String, u16)>),
    /// `emf+logs://group/stream`
    Logs {
        /// The log group.
        group: String,
        /// The log stream in it.
        stream: String,
    },
}

impl To {
    /// What kind it is.
    pub fn sink(&self) -> Sink {
        match self {
            To::Put => Sink::Put,
            To::Stdout => Sink::Stdout,
            To::Agent(_) => Sink::Agent,
            To::Logs { .. } => Sink::Logs,
        }
    }
}

fn to(text: &str) -> Result<To, String> {
    const ALLOWED: &str =
        "put, emf+stdout:, emf+tcp://HOST:PORT, emf+tcp: or emf+logs://GROUP/STREAM is allowed";
    let aws = |to: To| {
        if cfg!(feature = "aws") {
            Ok(to)
        } else {
            Err("this build has no AWS API (feature aws): emf+stdout: or emf+tcp: is allowed"
                .to_owned())
        }
    };
    match text {
        "put" => return aws(To::Put),
        "emf+stdout:" | "emf+stdout" => return Ok(To::Stdout),
        "emf+tcp:" => return Ok(To::Agent(None)),
        _ => {}
    }
    if let Some(endpoint) = text.strip_prefix("emf+tcp://") {
        return agent(endpoint).map(|at| To::Agent(Some(at))).ok_or_else(|| ALLOWED.to_owned());
    }
    let logs = text.strip_prefix("emf+logs://").and_then(|rest| rest.rsplit_once('/'));
    match logs {
        Some((group, stream)) if is_group(group) && is_stream(stream) => {
            aws(To::Logs { group: group.to_owned(), stream: stream.to_owned() })
        }
        Some(_) => Err("a log group has 1 to 512 letters, digits and ./_-#, a log stream 1 to 512 characters other than : * and blanks".to_owned()),
        None => Err(ALLOWED.to_owned()),
    }
}

/// `host:port`, or the agent's port.
fn agent(endpoint: &str) -> Option<(String, u16)> {
    let endpoint = endpoint.trim_end_matches('/');
    let (host, port) = match endpoint.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
            (host, port.parse().ok().filter(|port| *port > 0)?)
        }
        _ => (endpoint, AGENT_PORT),
    };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

/// `$AWS_EMF_AGENT_ENDPOINT`, as AWS's own libraries read it.
pub(crate) fn agent_endpoint(value: &str) -> Result<(String, u16), String> {
    let endpoint = value.strip_prefix("tcp://").unwrap_or(value);
    agent(endpoint)
        .filter(|_| !endpoint.contains("//"))
        .ok_or_else(|| "tcp://HOST:PORT is allowed".to_owned())
}

fn is_group(group: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"./_-#".contains(&b);
    (1..=512).contains(&group.len()) && group.bytes().all(plain)
}

fn is_stream(stream: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && b != b':' && b != b'*';
    (1..=512).contains(&stream.len()) && stream.bytes().all(plain)
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    let seconds = interval.as_secs();
    if (1..=86_400).contains(&seconds) && interval.subsec_nanos() == 0 && 86_400 % seconds == 0 {
        Ok(interval)
    } else {
        Err("whole seconds that divide a day are allowed, such as 60s or 5m".to_owned())
    }
}

/// The shortest interval that divides a day and is no shorter than this.
pub fn interval_of(least: Duration) -> Duration {
    let least = least.as_secs_f64().ceil() as u64;
    let fits = (least.max(1)..=86_400).find(|seconds| 86_400 % seconds == 0);
    Duration::from_secs(fits.unwrap_or(86_400))
}

fn namespace(text: &str) -> Result<String, String> {
    let plain = limits::name(text).is_ok();
    if plain && !text.starts_with("AWS/") && !text.starts_with("ContainerInsights") {
        Ok(text.to_owned())
    } else {
        Err("1 to 255 ASCII characters are allowed, not beginning with : or AWS/ or ContainerInsights".to_owned())
    }
}

fn label(text: &str) -> Result<String, String> {
    let labels = names::labels();
    if labels.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("labels of the cluster scope are allowed: {}", labels.join(", ")))
    }
}

fn node_metric(text: &str) -> Result<String, String> {
    if names::node_metrics().any(|name| name == text) {
        Ok(text.to_owned())
    } else {
        let all: Vec<&str> = names::node_metrics().collect();
        Err(format!("gauges of the node scope are allowed: {}", all.join(", ")))
    }
}

fn event_bytes(text: &str) -> Result<usize, String> {
    let size = units::bytes(text)?;
    if (1024..=EVENT_BYTES).contains(&size) {
        Ok(size)
    } else {
        Err(format!("1KiB to {} bytes are allowed", EVENT_BYTES))
    }
}

fn retention(text: &str) -> Result<u16, String> {
    let days = text.parse().ok().filter(|days| limits::RETENTION_DAYS.contains(days));
    days.ok_or_else(|| {
        let all = limits::RETENTION_DAYS.map(|days| days.to_string());
        format!("one of CloudWatch's is allowed: {}", all.join(", "))
    })
}

/// What the stage is to do, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to, each kind once.
    pub(super) to: Vec<To>,
    pub(super) interval: Duration,
    pub(super) namespace: Option<String>,
    pub(super) dimensions: Vec<String>,
    pub(super) node_metrics: Vec<String>,
    pub(super) most_billed: usize,
    pub(super) queue: usize,
    pub(super) max_event_bytes: Option<usize>,
    #[cfg_attr(not(feature = "aws"), allow(dead_code, reason = "of AWS's API"))]
    pub(super) retention_days: u16,
    pub(super) cluster: Option<String>,
    /// One of several: the helper's names are the whole cluster's, and not sent.
    pub(super) is_shard: bool,
}

impl Plan {
    /// The namespace of points with these names.
    pub(super) fn namespace(&self, dialect: Dialect) -> String {
        self.namespace.clone().unwrap_or_else(|| dialect.namespace().to_owned())
    }

    /// What an outlet's events have in common.
    pub(super) fn heading(&self, to: &To, cluster: &str) -> Heading {
        let dialect = Dialect::of(to.sink(), self.is_shard);
        let usual = if *to == To::Stdout { STDOUT_EVENT_BYTES } else { EVENT_BYTES };
        let log_group = match to {
            To::Logs { group, .. } => group.clone(),
            _ => format!("{LOG_GROUP}{cluster}"),
        };
        Heading {
            namespace: self.namespace(dialect),
            cluster: (dialect.dimension().to_owned(), cluster.to_owned()),
            log_group,
            log_stream: None,
            max_event_bytes: self.max_event_bytes.unwrap_or(usual),
        }
    }

    /// Seconds of an interval.
    pub(super) fn seconds(&self) -> i64 {
        i64::try_from(self.interval.as_secs()).unwrap_or(i64::MAX)
    }
}

impl Settings {
    /// Whether anything is to be mirrored.
    pub fn is_on(&self) -> bool {
        !self.to.is_empty()
    }

    /// The plan. `agent` is `$AWS_EMF_AGENT_ENDPOINT`, `cluster` the helper's `AWS_CLUSTER_ID`.
    ///
    /// # Errors
    /// Key, value and what is allowed.
    pub fn plan(
        &self,
        scrape_interval: Duration,
        is_shard: bool,
        agent: Option<String>,
        cluster: Option<String>,
    ) -> Result<Plan, (&'static str, String, String)> {
        let wrong =
            |key, value: &str, allowed: &str| Err((key, value.to_owned(), allowed.to_owned()));
        let mut to: Vec<To> = Vec::new();
        for one in &self.to {
            if to.iter().any(|known| known.sink() == one.sink()) {
                return wrong(
                    "--mirror.to",
                    one.sink().as_str(),
                    "each kind of outlet is allowed once",
                );
            }
            let one = match one {
                To::Agent(None) => {
                    let given = agent.as_deref().filter(|endpoint| !endpoint.is_empty());
                    let at = match given.map(|value| (value, agent_endpoint(value))) {
                        None => ("127.0.0.1".to_owned(), AGENT_PORT),
                        Some((_, Ok(at))) => at,
                        Some((value, Err(allowed))) => {
                            return wrong("AWS_EMF_AGENT_ENDPOINT", value, &allowed);
                        }
                    };
                    To::Agent(Some(at))
                }
                other => other.clone(),
            };
            to.push(one);
        }
        if self.interval < scrape_interval {
            let allowed = format!(
                "--scrape.interval ({}) at least is allowed",
                units::format_duration(scrape_interval)
            );
            return wrong("--mirror.interval", &units::format_duration(self.interval), &allowed);
        }
        if self.dimensions.len() > MOST_LABELS {
            let allowed = format!("at most {MOST_LABELS} labels are allowed");
            return wrong("--mirror.dimensions", &self.dimensions.join(","), &allowed);
        }
        Ok(Plan {
            to,
            interval: self.interval,
            namespace: self.namespace.clone(),
            dimensions: self.dimensions.clone(),
            node_metrics: self.node_metrics.clone(),
            most_billed: self.max_billed_metrics as usize,
            queue: self.queue,
            max_event_bytes: self.max_event_bytes,
            retention_days: self.retention_days,
            cluster: self.cluster.clone().or_else(|| cluster.filter(|name| !name.is_empty())),
            is_shard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlets_are_read_as_they_are_written() {
        assert_eq!(to("emf+stdout:"), Ok(To::Stdout));
        assert_eq!(to("emf+tcp://agent.local:1"), Ok(To::Agent(Some(("agent.local".into(), 1)))));
        assert_eq!(to("emf+tcp://[::1]:1"), Ok(To::Agent(Some(("::1".into(), 1)))));
        assert_eq!(to("emf+tcp://agent"), Ok(To::Agent(Some(("agent".into(), 25888)))));
        assert_eq!(to("emf+tcp:"), Ok(To::Agent(None)));
        assert_eq!(agent_endpoint("tcp://127.0.0.1:25888"), Ok(("127.0.0.1".into(), 25888)));
        for bad in
            ["", "cloudwatch", "emf+tcp://", "emf+tcp://a:0", "emf+tcp://a b:1", "emf+udp://a:1"]
        {
            assert!(to(bad).is_err(), "{bad}");
        }
        assert!(agent_endpoint("udp://127.0.0.1:25888").is_err());
    }

    #[cfg(feature = "aws")]
    #[test]
    fn a_log_group_may_have_slashes_and_a_stream_has_none() {
        let logs = |group: &str, stream: &str| {
            Ok(To::Logs { group: group.to_owned(), stream: stream.to_owned() })
        };
        assert_eq!(to("emf+logs://a/b"), logs("a", "b"));
        assert_eq!(
            to("emf+logs:///aws/eks/prod/vpc-cni/node"),
            logs("/aws/eks/prod/vpc-cni", "node")
        );
        assert_eq!(to("put"), Ok(To::Put));
        for bad in [
            "emf+logs://a",
            "emf+logs://a/",
            "emf+logs:///b",
            "emf+logs://a b/c",
            "emf+logs://a/b:c",
        ] {
            assert!(to(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn intervals_divide_a_day_so_that_they_begin_at_midnight() {
        assert_eq!(interval("60s"), Ok(Duration::from_secs(60)));
        for bad in ["7s", "1500ms", "0", "2d"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
