//! The VPC CNI's releases as far as a scraper can tell them apart: which families they serve, and
//! under which type. Comes in: nothing. Goes out: a table. Never: a node's state.

/// What the declared type of the wavering families is: counters in essence, whatever is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// `# TYPE … counter`
    Counter,
    /// `# TYPE … gauge`
    Gauge,
}

impl Declared {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Declared::Counter => "counter",
            Declared::Gauge => "gauge",
        }
    }
}

/// One release.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// As in awscni_build_info.
    pub(super) version: &'static str,
    /// The compiler's version.
    pub(super) go: &'static str,
    /// Type of add_ip_req_count, aws_api_error_count, force_removed_*, pod_eni_error_count.
    pub(super) wavering: Declared,
    /// Type of no_available_ip_addresses, where it exists.
    pub(super) refused: Option<Declared>,
    /// Latency with quantiles and without `status`: the oldest.
    pub(super) quantiles: bool,
    /// awscni_build_info, ec2api_*, total_ipv4_prefixes, pod_eni_error_count.
    pub(super) modern: bool,
    /// assigned_ip_per_eni.
    pub(super) per_eni: bool,
    /// The two histograms of ipamd's start.
    pub(super) startup: bool,
    /// AWS SDK for Go v2: other error texts, and error codes in `status`.
    pub(super) sdk_v2: bool,
    /// connmark_* and unrecovered_checkpoint_entries.
    pub(super) connmark: bool,
    /// A release that does not exist yet: a family and label values that nobody knows.
    pub(super) future: bool,
}

const BASE: Release = Release {
    version: "",
    go: "",
    wavering: Declared::Counter,
    refused: Some(Declared::Counter),
    quantiles: false,
    modern: true,
    per_eni: true,
    startup: true,
    sdk_v2: true,
    connmark: false,
    future: false,
};

/// All releases, oldest first. The types follow the tags of amazon-vpc-cni-k8s: gauges until v1.18,
/// counters in v1.19.0, gauges again in v1.19.2, counters from v1.20 on.
pub(super) const RELEASES: &[Release] = &[
    Release {
        version: "v1.5.7",
        go: "go1.13.4",
        refused: None,
        quantiles: true,
        modern: false,
        per_eni: false,
        startup: false,
        sdk_v2: false,
        ..BASE
    },
    Release {
        version: "v1.16.4",
        go: "go1.21.7",
        wavering: Declared::Gauge,
        refused: None,
        per_eni: false,
        startup: false,
        sdk_v2: false,
        ..BASE
    },
    Release {
        version: "v1.18.0",
        go: "go1.21.8",
        wavering: Declared::Gauge,
        refused: Some(Declared::Gauge),
        startup: false,
        sdk_v2: false,
        ..BASE
    },
    Release { version: "v1.19.0", go: "go1.22.7", startup: false, sdk_v2: false, ..BASE },
    Release {
        version: "v1.19.2",
        go: "go1.22.9",
        wavering: Declared::Gauge,
        startup: false,
        ..BASE
    },
    Release { version: "v1.20.4", go: "go1.24.6", ..BASE },
    Release { version: "v1.23.1", go: "go1.25.6", connmark: true, ..BASE },
    Release { version: "v1.24.0-rc1", go: "go1.26.0", connmark: true, future: true, ..BASE },
];

/// Position of the release that most nodes run.
pub(super) const CURRENT: usize = 6;
/// Position of the oldest release that knows prefixes and IPv6.
pub(super) const FIRST_MODERN: usize = 1;
