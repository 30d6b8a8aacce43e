//! Plain data that the stages hand to each other: targets, outcomes, node states, moments.
//! Never: a clock, a socket, a stage.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A node's name: cheap to clone, compared by text. It is the value of the label `node`.
pub type NodeName = Arc<str>;

/// A Prometheus metric type, as text 0.0.4 knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Only ever grows within one process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets with `_sum` and `_count`.
    Histogram,
    /// Quantiles with `_sum` and `_count`.
    Summary,
    /// No type declared, or nodes disagree about it.
    Untyped,
}

impl Kind {
    /// The word of a `# TYPE` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
            Kind::Untyped => "untyped",
        }
    }
}

/// One instant on both clocks. Edges read the clocks; everything below is given the value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moment {
    /// Seconds since 1970 by the wall clock; it may step.
    pub unix: f64,
    /// Seconds since this process began, by a clock that never steps.
    pub uptime: f64,
}

/// Where a target was found. The order is the precedence: a later source wins a contested name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `--discover.targets`.
    Static,
    /// `--discover.file`.
    File,
    /// The API server: `--discover.kubernetes`.
    Kubernetes,
}

impl Source {
    /// All sources, in order of precedence.
    pub const ALL: [Source; 3] = [Source::Static, Source::File, Source::Kubernetes];

    /// The label value of this source.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Static => "static",
            Source::File => "file",
            Source::Kubernetes => "kubernetes",
        }
    }
}

/// One node, and where it is scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Unique among the targets of a process.
    pub node: NodeName,
    /// Host or IP address; IPv6 without brackets. While the node is idle, its name.
    pub host: Arc<str>,
    /// TCP port; 0 while the node is idle.
    pub port: u16,
    /// HTTP path, beginning with a slash; behind a proxy the whole path there.
    pub path: Arc<str>,
    /// Labels for the node's info metric, by name; never `node`, never `__…`.
    pub labels: TargetLabels,
    /// Where it was found.
    pub source: Source,
    /// The pod behind the address, where one is known.
    pub pod: Option<Pod>,
    /// How it is reached.
    pub route: Route,
    /// Why it cannot be scraped now.
    pub idle: Option<Idle>,
    /// Whether an aws-node pod belongs there: not on Fargate, hybrid, Auto Mode and Windows nodes.
    pub expected: bool,
    /// Pods with an address of their own that the kubelet's pod limit leaves room for, where the limit
    /// is known.
    pub pod_limit: Option<u32>,
}

/// The pod behind an address: another pod is another process (truth rule 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: Arc<str>,
    /// When the API server made it, in seconds since 1970.
    pub created: i64,
}

/// How a target is reached: `--discover.route`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Route {
    /// At its address.
    #[default]
    Direct,
    /// Through the API server's pod proxy.
    Proxy,
}

/// Why a node cannot be scraped though it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idle {
    /// It has no aws-node pod.
    Missing,
    /// Its aws-node pod does not run or has no address; in words.
    Pod(Arc<str>),
}

impl Idle {
    /// In words, for people.
    pub fn reason(&self) -> &str {
        match self {
            Idle::Missing => "there is no aws-node pod on this node",
            Idle::Pod(reason) => reason,
        }
    }
}

/// Labels of a target, sorted by name, each name once; cheap to clone. Names and values that many
/// targets share may be shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetLabels(Arc<[(Arc<str>, Arc<str>)]>);

impl TargetLabels {
    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by_key(&name, |(name, _)| name).ok()?;
        Some(&self.0[at].1)
    }

    /// Name and value of each, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// A Kubernetes label's key as a Prometheus label name: what does not belong into one becomes an
/// underscore, as kube-state-metrics does it.
pub fn label_name(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for TargetLabels {
    /// Of several values for a name the first stays.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> TargetLabels {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, first| later.0 == first.0);
        TargetLabels(pairs.into())
    }
}

impl Target {
    /// A target at an address, with nothing else known of it.
    pub fn new(
        node: impl Into<NodeName>,
        host: impl Into<Arc<str>>,
        port: u16,
        path: impl Into<Arc<str>>,
        source: Source,
    ) -> Target {
        Target {
            node: node.into(),
            host: host.into(),
            port,
            path: path.into(),
            labels: TargetLabels::default(),
            source,
            pod: None,
            route: Route::Direct,
            idle: None,
            expected: true,
            pod_limit: None,
        }
    }

    /// A node that cannot be scraped now. In the place of an address it has its name: unique, too.
    pub fn idle(node: NodeName, source: Source, idle: Idle) -> Target {
        Target { idle: Some(idle), ..Target::new(Arc::clone(&node), node, 0, "/", source) }
    }

    /// `host:port` as one writes it in a URL.
    pub fn address(&self) -> String {
        host_port(&self.host, self.port)
    }

    /// Whether the address is a literal IPv6 address (truth rule 7).
    pub fn is_ipv6(&self) -> bool {
        let ip = self.host.parse::<std::net::Ipv6Addr>();
        ip.is_ok_and(|ip| ip.to_ipv4_mapped().is_none())
    }
}

/// `host:port` as one writes it in a URL, with brackets around IPv6.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What discovery knows at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Sorted by node name; names are unique.
    pub list: Vec<Target>,
    /// Targets that lost a contested name or address.
    pub losers: usize,
    /// False until every source has been read once.
    pub synced: bool,
    /// Sources without a good reading so far, while not synced, each with its flag and, where it is
    /// known, the reason.
    pub unread: Vec<String>,
    /// What an operator should know of discovery besides, in words.
    pub note: Option<String>,
    /// The cluster's name, where labels of Nodes tell it and agree.
    pub cluster: Option<Arc<str>>,
    /// aws-node's, sorted by name; more than one where the selector finds more.
    pub daemonsets: Arc<[DaemonSet]>,
}

/// A DaemonSet of aws-node, as far as it tells how ipamd is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSet {
    /// Its name.
    pub name: Arc<str>,
    /// Labels of `vpccni_daemonset_config_info`, in the order of the catalogue; what is not set is not
    /// there.
    pub settings: Arc<[(&'static str, Arc<str>)]>,
}

/// How a scrape ended. The closed set behind the label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// A whole, well-formed page was stored.
    Ok,
    /// `--scrape.timeout` ran out.
    Timeout,
    /// The node refused the connection.
    Refused,
    /// No route, no such host, connection reset.
    Unreachable,
    /// The answer's status was not 200.
    HttpStatus,
    /// The answer ended before its end was seen.
    Truncated,
    /// The answer's framing, content encoding or content type is not one we read.
    Encoding,
    /// The body is over `--scrape.max-body`.
    TooLarge,
    /// The body is not a Prometheus text exposition.
    Parse,
    /// The page is over `--scrape.max-samples` or `--scrape.max-label-length`.
    Limit,
    /// The slot came while the scrape before was still under way, or no place was free in the whole interval.
    Overrun,
}

impl Outcome {
    /// Every outcome, in the order of DESIGN §4.
    pub const ALL: [Outcome; 11] = [
        Outcome::Ok,
        Outcome::Timeout,
        Outcome::Refused,
        Outcome::Unreachable,
        Outcome::HttpStatus,
        Outcome::Truncated,
        Outcome::Encoding,
        Outcome::TooLarge,
        Outcome::Parse,
        Outcome::Limit,
        Outcome::Overrun,
    ];

    /// The label value of this outcome.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Timeout => "timeout",
            Outcome::Refused => "refused",
            Outcome::Unreachable => "unreachable",
            Outcome::HttpStatus => "http_status",
            Outcome::Truncated => "truncated",
            Outcome::Encoding => "encoding",
            Outcome::TooLarge => "too_large",
            Outcome::Parse => "parse",
            Outcome::Limit => "limit",
            Outcome::Overrun => "overrun",
        }
    }

    /// What a failed scrape says, and what an operator can do; empty for a good one.
    pub fn advice(self) -> &'static str {
        match self {
            Outcome::Ok => "",
            Outcome::Timeout => {
                "no whole answer in time: does the nodes' security group allow ipamd's port (TCP 61678) from node to node? does aws-node hang?"
            }
            Outcome::Refused => {
                "nothing listens there: aws-node restarts, or its DISABLE_METRICS is true"
            }
            Outcome::Unreachable => {
                "no way to the node: it may have gone, or a route or network ACL is missing"
            }
            Outcome::HttpStatus => {
                "the answer is an error: see aws-node's log, --discover.path, or with --discover.route=proxy the right to get pods/proxy"
            }
            Outcome::Truncated => {
                "the answer breaks off: see aws-node's log, and whatever stands between"
            }
            Outcome::Encoding => {
                "the answer is not one that ipamd gives: does something else listen there? see --discover.port"
            }
            Outcome::TooLarge => "the page is larger than --scrape.max-body",
            Outcome::Parse => {
                "the answer is not a page of Prometheus: does something else listen there? see --discover.port"
            }
            Outcome::Limit => "the page is over --scrape.max-samples or --scrape.max-label-length",
            Outcome::Overrun => {
                "the scrape before was still under way: see --scrape.concurrency and --scrape.timeout"
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason as it is kept and told: what a node sent may be quoted in it, at any length.
pub fn short(reason: &str) -> Cow<'_, str> {
    /// Two lines of a log.
    const LONGEST: usize = 300;
    if reason.len() <= LONGEST {
        return reason.into();
    }
    let cut = reason.get(..reason.floor_char_boundary(LONGEST)).unwrap_or(reason);
    // At the end of a word, where there is one.
    let end = cut.rfind(' ').unwrap_or(cut.len());
    format!("{}…", cut.get(..end).unwrap_or(cut).trim_end()).into()
}

/// Why a node gets no more pod addresses. The closed set behind the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Growth {
    /// The kubelet takes no more pods.
    MaxPods,
    /// Its instance can have no more.
    Ceiling,
    /// The subnet has no free addresses.
    Subnet,
    /// AWS refuses calls for lack of a right.
    Denied,
    /// AWS throttles its calls.
    Throttled,
    /// Other errors of AWS calls.
    Api,
    /// No error tells why.
    Unknown,
}

impl Growth {
    /// Every reason, in the order in which they explain.
    pub const ALL: [Growth; 7] = [
        Growth::MaxPods,
        Growth::Ceiling,
        Growth::Subnet,
        Growth::Denied,
        Growth::Throttled,
        Growth::Api,
        Growth::Unknown,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Growth::MaxPods => "max_pods",
            Growth::Ceiling => "ceiling",
            Growth::Subnet => "subnet",
            Growth::Denied => "denied",
            Growth::Throttled => "throttled",
            Growth::Api => "api",
            Growth::Unknown => "unknown",
        }
    }

    /// What an operator can do.
    pub fn advice(self) -> &'static str {
        match self {
            Growth::MaxPods => {
                "the kubelet takes no more pods, whatever addresses are left, where as many use the host's network as --discover.host-network-pods says: add nodes, or raise maxPods"
            }
            Growth::Ceiling => {
                "the instance has as many addresses as it can: add nodes, take a larger type, or turn prefix delegation on"
            }
            Growth::Subnet => {
                "the subnet has no free addresses or no free /28: free some, add a subnet or a CIDR, or use custom networking"
            }
            Growth::Denied => {
                "AWS refuses calls: compare the role of aws-node with AmazonEKS_CNI_Policy, and look at its token"
            }
            Growth::Throttled => {
                "AWS throttles calls: fewer nodes at once, a larger WARM_IP_TARGET step or prefix delegation, or a higher quota"
            }
            Growth::Api => {
                "AWS calls fail: aws_api_errors_total tells the codes, and aws-node's log the calls"
            }
            Growth::Unknown => {
                "no AWS error tells why: look at aws-node's log (/var/log/aws-routed-eni/ipamd.log) and at WARM_* and MINIMUM_IP_TARGET"
            }
        }
    }
}

/// A node's state (truth rule 5). The states are disjoint and sum to all known nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeState {
    /// The last scrape was good.
    Up,
    /// The last scrape failed; the values before it still stand.
    Stale,
    /// No values that stand.
    Failed,
    /// An eligible Node without an aws-node pod. Only Kubernetes discovery can know that.
    Missing,
}

impl NodeState {
    /// Every state, in the order of DESIGN §5.
    pub const ALL: [NodeState; 4] =
        [NodeState::Up, NodeState::Stale, NodeState::Failed, NodeState::Missing];

    /// The label value of this state.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Up => "up",
            NodeState::Stale => "stale",
            NodeState::Failed => "failed",
            NodeState::Missing => "missing",
        }
    }
}

/// The stable hash of a node's name: FNV-1a, 64 bit. Scrape slots and shards are cut by it, so it
/// must never change between releases.
pub fn stable_hash(node: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let fnv = node.bytes().fold(OFFSET, |h, b| (h ^ u64::from(b)).wrapping_mul(PRIME));
    // FNV's high bits are weak on short names that differ in their last byte: one avalanche step.
    let mixed = (fnv ^ (fnv >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

/// The shard, of `count`, that a node belongs to. `count` of 0 counts as 1.
pub fn shard_of(node: &str, count: u32) -> u32 {
    let count = u64::from(count.max(1));
    u32::try_from(stable_hash(node) % count).unwrap_or(0)
}
