"""CloudWatch: the same questions for those who have the mirror and no Prometheus. Names of cni-metrics-helper
(--mirror.to put) above, those of /metrics (EMF) below."""

from panels import (ANY_IS_BAD, BAD, FULL, GOOD, MILLISECONDS, PERCENT, RATIO, SECONDS, WARN, Board, Math, Metric, choice, d,
                    dashboard, row, series, source, stat)

CLOUDWATCH = d.DataSourceRef(type_val="cloudwatch", uid="${cloudwatch_datasource}")
IPV4 = {"ip_family": "ipv4"}
SUMS = "Each point is the sum of its period."


def total(name, legend="", dimensions=None):
    """A counter: what happened in the period."""
    return Metric(name, "Sum", legend, dimensions or {})


def gauge(name, legend="", dimensions=None, **more):
    """cni-metrics-helper's names are never sent by shards. Those of EMF may be: then their points of one
    minute are to be added up, which the board's variable says."""
    if name.startswith("vpccni_"):
        return Metric(name, "$gauges", legend, dimensions or {}, period="60", **more)
    return Metric(name, "Average", legend, dimensions or {}, **more)


def lately(name, legend="", **more):
    return Metric(name, "Sum", legend, period="600", **more)


NOW = row(
    "What is wrong now (names of cni-metrics-helper)",
    stat(4, "Failed AWS calls", "In ten minutes. More: a subnet without addresses, throttling or missing rights; the "
         "mirror sends no codes under these names.", lately("awsAPIErr"), steps=ANY_IS_BAD),
    stat(4, "Errors of ipamd", "In ten minutes.", lately("ipamdErr"), steps=ANY_IS_BAD),
    stat(4, "Addresses in use now", "Of those that the instances of IPv4 nodes allow; pod limits of the kubelets are not in "
         "these names.",
         Metric("assignIPAddresses", "Average", id="used", hide=True),
         Metric("maxIPAddresses", "Average", id="ceiling", hide=True),
         Math("used / ceiling", "in use"), unit=RATIO, steps=FULL, decimals=1),
    stat(4, "Fullest node", "Share of its usable addresses that is in use: the kubelets' pod limits count where they "
         "are known.", Metric("ipUtilizationPerNode", "Maximum"),
         unit=PERCENT, steps={GOOD: None, WARN: 80, BAD: 90}, decimals=0),
    stat(4, "One node in ten is fuller than", "The 90th percentile over the nodes.", Metric("ipUtilizationPerNode", "p90"),
         unit=PERCENT, steps={GOOD: None, WARN: 80, BAD: 90}, decimals=0),
    stat(4, "Minutes with data", "Of the last ten minutes or so. None: no node answers, no exporter runs, or the mirror "
         "cannot send; its log says why.", Metric("assignIPAddresses", "SampleCount", period="600"),
         steps={BAD: None, GOOD: 1}),
)

ADDRESSES = row(
    "Addresses",
    series(8, "Pod addresses", "IPv4: in use, attached to the nodes (in use or warm), the most that the instances allow.",
           gauge("assignIPAddresses", "in use"), gauge("totalIPAddresses", "attached"), gauge("maxIPAddresses", "ceiling")),
    series(8, "How full nodes are", "Share of usable addresses in use, over the nodes: mean, median, one in ten, the "
           "fullest.",
           Metric("ipUtilizationPerNode", "Average", "mean"), Metric("ipUtilizationPerNode", "p50", "half are fuller"),
           Metric("ipUtilizationPerNode", "p90", "one in ten is fuller"), Metric("ipUtilizationPerNode", "Maximum", "fullest"),
           unit=PERCENT, steps={GOOD: None, WARN: 80, BAD: 90}, lines=True),
    series(8, "Network interfaces", "Attached, and what the instances allow.",
           gauge("eniAllocated", "attached"), gauge("eniMaxAvailable", "at most")),
    series(8, "In use and attached on a node", "The mean node, and the one with the most.",
           Metric("assignIPAddressesPerNode", "Average", "in use, mean"),
           Metric("assignIPAddressesPerNode", "Maximum", "in use, most"),
           Metric("totalIPAddressesPerNode", "Average", "attached, mean"),
           Metric("totalIPAddressesPerNode", "Maximum", "attached, most")),
    series(8, "Prefixes", "IPv4 prefixes of 16 addresses, with prefix delegation.", gauge("totalIPv4Prefixes", "prefixes")),
    series(8, "In use by prefix rows", "The sum over all prefixes and single addresses: it equals the addresses in use.",
           gauge("totalAssignedIPv4sPerCidr", "in use")),
)

CALLS = row(
    "Calls and errors",
    series(8, "Errors", SUMS, total("awsAPIErr", "AWS"), total("ec2ApiErrCount", "EC2"), total("ipamdErr", "ipamd"),
           total("awsUtilErr", "helpers"), total("podENIErr", "pods' own interfaces")),
    series(8, "EC2 calls", SUMS, total("ec2ApiReqCount", "calls"), total("ec2ApiErrCount", "failed")),
    series(8, "Time of AWS calls", "Mean; absent without calls.", Metric("awsAPILatency", "Average", "mean"),
           unit=MILLISECONDS),
    series(8, "Pods that come and go", f"Requests to add and to delete a pod's network. {SUMS}",
           total("addReqCount", "add"), total("delReqCount", "delete")),
    series(8, "Repairs and forced removals", f"Forced removals took something away that pods used. {SUMS}",
           total("reconcileCount", "repairs"), total("forceRemoveENI", "interfaces by force"),
           total("forceRemoveIPs", "addresses by force")),
    series(8, "Work of ipamd", "Work under way.", gauge("ipamdActionInProgress", "under way")),
)

EMF = row(
    "Names of /metrics (--mirror.to emf…)",
    series(8, "Refused pods", f"Pods that got no address: the symptom of exhaustion. {SUMS}",
           total("vpccni_cluster_ip_requests_refused_total", "refused")),
    series(8, "Nodes by state", "stale: the last scrape failed, the figures stand. failed, missing: no figures.",
           *(gauge("vpccni_cluster_nodes", state, {"state": state}) for state in ("up", "stale", "failed", "missing")),
           gauge("vpccni_cluster_nodes_expected", "expected")),
    series(8, "Nodes that cannot grow, in all", "Nodes with an empty warm pool or refused pods; reasons are on the exporter's "
           "own page.", gauge("vpccni_cluster_nodes_growth_blocked", "nodes")),
    series(8, "Pod addresses of IPv4 nodes", "In use, attached (in use or warm), usable (the kubelets' pod limits count where they "
           "are known), the most that the instances allow.",
           gauge("vpccni_cluster_ip_addresses_assigned", "in use", IPV4),
           gauge("vpccni_cluster_ip_addresses_attached", "attached", IPV4),
           gauge("vpccni_cluster_ip_addresses_usable", "usable", IPV4),
           gauge("vpccni_cluster_ip_addresses_max", "ceiling", IPV4)),
    series(8, "How full nodes are, over all shards", "Share of usable addresses in use, over the nodes: mean, one in "
           "ten, the fullest.",
           Metric("vpccni_cluster_node_ip_utilization", "Average", "mean"),
           Metric("vpccni_cluster_node_ip_utilization", "p90", "one in ten is fuller"),
           Metric("vpccni_cluster_node_ip_utilization", "Maximum", "fullest"), unit=RATIO, steps=FULL, lines=True),
    series(8, "All errors", SUMS, total("vpccni_cluster_aws_api_errors_total", "AWS"),
           total("vpccni_cluster_ec2_api_errors_total", "EC2"), total("vpccni_cluster_ipamd_errors_total", "ipamd"),
           total("vpccni_cluster_pod_eni_errors_total", "pods' own interfaces"),
           total("vpccni_cluster_aws_utils_errors_total", "helpers")),
    series(8, "Interfaces", "Attached, and what the instances allow.",
           gauge("vpccni_cluster_enis_attached", "attached"), gauge("vpccni_cluster_enis_max", "at most")),
    series(8, "Mean time of AWS calls", "Sum of times by number of calls.",
           Metric("vpccni_cluster_aws_api_latency_seconds_sum", "Sum", id="time", hide=True),
           Metric("vpccni_cluster_aws_api_latency_seconds_count", "Sum", id="calls", hide=True),
           Math("time / calls", "mean"), unit=SECONDS),
    series(8, "Requests of pods", f"To add and to delete a pod's network. {SUMS}",
           total("vpccni_cluster_cni_add_requests_total", "add"), total("vpccni_cluster_cni_del_requests_total", "delete")),
)


def board():
    def values(namespace, metric, dimension):
        return f"dimension_values($region, {namespace}, {metric}, {dimension})"

    def text(name, label, about, value):
        return dashboard.TextBoxVariable(name).label(label).description(about).default_value(value).current(
            d.VariableOption(text=value, value=value))

    gauges = dashboard.CustomVariable("gauges").label("Gauges by").values("Average,Sum").description(
        "How gauges of EMF are read: Average, or with several shards Sum, which adds up the points of one minute.")
    gauges = gauges.current(d.VariableOption(selected=True, text="Average", value="Average"))
    return Board(
        "vpccni-cloudwatch", "VPC CNI / CloudWatch",
        "Pod addresses of a cluster from CloudWatch, as the mirror of vpc-cni-exporter sends them.",
        [
            source("cloudwatch_datasource", "Cloudwatch data source", "cloudwatch"),
            choice("region", "Region", "Where the mirror sends to.", "regions()", CLOUDWATCH, every=""),
            text("namespace", "Namespace", "Of cni-metrics-helper's names: --mirror.namespace.", "Kubernetes"),
            choice("cluster_id", "CLUSTER_ID", "The cluster, under cni-metrics-helper's names.",
                   values("$namespace", "assignIPAddresses", "CLUSTER_ID"), CLOUDWATCH, every=""),
            text("emf_namespace", "EMF namespace", "Of the names of /metrics: --mirror.namespace.", "VpcCni"),
            choice("cluster_name", "ClusterName", "The cluster, under the names of /metrics.",
                   values("$emf_namespace", "vpccni_cluster_nodes_expected", "ClusterName"), CLOUDWATCH, every=""),
            gauges,
        ],
        [NOW, ADDRESSES, CALLS, EMF],
        metrics={False: ("$namespace", {"CLUSTER_ID": "$cluster_id"}),
                 True: ("$emf_namespace", {"ClusterName": "$cluster_name"})},
        kind="cloudwatch",
    )
