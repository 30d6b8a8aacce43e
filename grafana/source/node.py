"""Node: one node, as the exporter last saw it. Needs --node.detail=core; the last row needs full."""

from panels import (ANY_IS_BAD, BAD, COUNT, FULL, GOOD, MILLISECONDS, PER_MINUTE, PROMETHEUS, RATIO, SECONDS, WARN, Board,
                    Query, bars, c, choice, events, labels_of, per_minute, prometheus_variables, row, series, stat, states,
                    table)


def gauge(metric, by="node"):
    """One value, though two leaders may overlap for a moment."""
    return f"max by ({by}) ({metric})"


def errors(width, title, about, metric, by):
    """With core detail there is one total for the node, and the labels are empty."""
    legend = "errors " + " ".join("{{%s}}" % label for label in by.split(", "))
    return events(width, title, about, metric, by, legend=legend)


USED = f'{gauge("awscni_assigned_ip_addresses")} / ({gauge("vpccni_node_ip_addresses_usable")} > 0)'

NOW = row(
    "Now",
    stat(3, "Pods refused an address", "Pods that got no address on this node in the last ten minutes.",
         Query("sum by (node) (increase(awscni_no_available_ip_addresses[10m]))"), steps=ANY_IS_BAD, decimals=0),
    stat(3, "In use", "Share of the usable addresses: what the instance allows, or what the kubelet's pod limit leaves room "
         "for where that is known and lower.", Query(USED), unit=RATIO, steps=FULL, decimals=0),
    stat(3, "Cannot grow because of", "The reason why the node gets no more addresses, while there is one: max_pods, "
         "ceiling, subnet, throttled, denied, api or unknown.",
         Query("max by (reason) (vpccni_node_growth_blocked)", "{{reason}}"), text=c.BigValueTextMode.NAME,
         steps=ANY_IS_BAD, none="no reason"),
    stat(5, "Addresses", "Pod addresses in use, warm (attached and not in use), usable, and the most that the instance allows. "
         "Fewer are usable than the ceiling where the kubelet's pod limit is known and lower.",
         Query(gauge("awscni_assigned_ip_addresses"), "in use"),
         Query(f'{gauge("awscni_total_ip_addresses")} - {gauge("awscni_assigned_ip_addresses")}', "warm"),
         Query(gauge("vpccni_node_ip_addresses_usable"), "usable"), Query(gauge("awscni_ip_max"), "ceiling")),
    stat(4, "Interfaces", "Network interfaces that ipamd manages, and the most that the instance allows.",
         Query(gauge("awscni_eni_allocated"), "attached"), Query(gauge("awscni_eni_max"), "at most")),
    stat(3, "Last scrape", "Whether the exporter's last scrape of this node was good.",
         Query(gauge("vpccni_node_scrape_success")), unit="none", steps={BAD: None, GOOD: 1},
         mappings={0: ("failed", BAD), 1: ("good", GOOD)}),
    stat(3, "Last answer", "How long ago the node last answered; the figures here are as old.",
         Query(f'time() - {gauge("vpccni_node_scrape_last_success_timestamp_seconds")}'), unit=SECONDS, decimals=0,
         steps={GOOD: None, WARN: 45, BAD: 90}),
    table(24, "What it is", "Labels of the node, and the version of its CNI.",
          (None, labels_of("vpccni_node_info"), {}),
          labels={"node": ("Node", {}), "zone": ("Zone", {}), "nodegroup": ("Node group", {}), "nodepool": ("Node pool", {}),
                  "instance_type": ("Type", {}), "capacity_type": ("Capacity", {}), "cni_version": ("CNI", {}),
                  "ip_family": ("IP family", {}), "region": ("Region", {}), "cluster": ("Cluster", {})}, height=4),
)

WHY = row(
    "Why",
    series(8, "Addresses over time", "Warm is what lies between in use and attached. A line usable below the ceiling is the "
           "kubelet's pod limit: at it no more pods come, however many addresses are warm.",
           Query(gauge("awscni_assigned_ip_addresses"), "in use"), Query(gauge("awscni_total_ip_addresses"), "attached"),
           Query(gauge("vpccni_node_ip_addresses_usable"), "usable"), Query(gauge("awscni_ip_max"), "ceiling")),
    series(8, "Interfaces and prefixes", "Attached, and what the instance allows; prefixes with prefix delegation alone.",
           Query(gauge("awscni_eni_allocated"), "interfaces"), Query(gauge("awscni_eni_max"), "interfaces at most"),
           Query(gauge("awscni_total_ipv4_prefixes"), "prefixes")),
    series(8, "Pods that come and go", "Requests a minute to add and to delete a pod's network, and those that were refused "
           "for want of an address.",
           Query(per_minute("node", "awscni_add_ip_req_count"), "add"),
           Query(per_minute("node", "awscni_del_ip_req_count"), "delete"),
           Query(per_minute("node", "awscni_no_available_ip_addresses"), "refused"), unit=PER_MINUTE),
    errors(8, "AWS errors", "Failed AWS calls of this node; call and code with --node.detail=full.",
           "awscni_aws_api_error_count", "api, error"),
    errors(8, "ipamd errors", "What ipamd could not do; functions with --node.detail=full.", "awscni_ipamd_error_count", "fn"),
    errors(8, "Failed EC2 calls", "By call with --node.detail=full.", "awscni_ec2api_error_count", "fn"),
    errors(8, "Errors of AWS helpers", "What ipamd's helper functions for AWS could not do.",
           "awscni_aws_utils_error_count", "fn, error"),
    errors(8, "Errors of pods' own interfaces", "Security groups for pods.", "awscni_pod_eni_error_count", "fn"),
    series(8, "Forced removals", "Interfaces and addresses that were removed although pods used them, a minute.",
           Query(per_minute("node", "awscni_force_removed_enis"), "interfaces"),
           Query(per_minute("node", "awscni_force_removed_ips"), "addresses"), unit=PER_MINUTE),
)

SCRAPES = row(
    "Scrapes of this node",
    states(8, "Scrapes", "Whether scrapes were good.", Query(gauge("vpccni_node_scrape_success"), "scrape"),
           values={0: ("failed", BAD), 1: ("good", GOOD)}),
    series(8, "Time of a scrape", "From connecting to the last byte. A node that is slow here is busy.",
           Query(gauge("vpccni_node_scrape_duration_seconds"), "scrape"), unit=SECONDS),
    series(8, "Samples", "Samples on the node's page.", Query(gauge("vpccni_node_scrape_samples"), "samples")),
)

DETAIL = row(
    "Detail (--node.detail=full)",
    bars(8, "In use per interface", "Pod addresses in use on each network interface.",
         Query(gauge("awscni_assigned_ip_per_eni", "eni"), "{{eni}}")),
    bars(8, "In use per prefix", "Pod addresses in use in each prefix; single secondary addresses are /32. At most 20.",
         Query(f'topk(20, {gauge("awscni_assigned_ip_per_cidr", "cidr")})', "{{cidr}}")),
    series(8, "Work of ipamd", "Work under way, by kind.", Query(gauge("awscni_ipamd_action_inprogress", "fn"), "{{fn}}")),
    series(8, "EC2 calls", "By call.", Query(per_minute("fn", "awscni_ec2api_req_count") + " > 0", "{{fn}}"), unit=PER_MINUTE,
           stacked=True),
    series(8, "Time of AWS calls", "Mean time of a call, by call.",
           Query("sum by (api) (rate(awscni_aws_api_latency_ms_sum[$__rate_interval]))\n"
                 "/ (sum by (api) (rate(awscni_aws_api_latency_ms_count[$__rate_interval])) > 0)", "{{api}}"),
           unit=MILLISECONDS),
    errors(8, "Repairs", "Differences between ipamd's records and EC2 that were repaired.", "awscni_reconcile_count", "fn"),
    errors(8, "Connection marks", "Reconciliations of connection marks, by result.", "awscni_connmark_reconcile_total", "result"),
    stat(4, "Lost entries of the checkpoint", "Entries of ipamd's checkpoint that it could not take over when it started.",
         Query("sum by (node) (increase(awscni_unrecovered_checkpoint_entries[1h]))"), steps=ANY_IS_BAD, decimals=0, height=8),
    table(12, "Starts of ipamd", "How often ipamd on this node started since its process began, by success and reason, and "
          "the mean time that it took.",
          ("Starts", "sum by (success, with_api_server, failure_reason) (awscni_ipamd_startup_duration_seconds_count)",
           {"unit": COUNT}),
          ("Mean time", "sum by (success, with_api_server, failure_reason) (awscni_ipamd_startup_duration_seconds_sum)\n"
           "/ (sum by (success, with_api_server, failure_reason) (awscni_ipamd_startup_duration_seconds_count) > 0)",
           {"unit": SECONDS}),
          labels={"success": ("Succeeded", {}), "with_api_server": ("With the API server", {}),
                  "failure_reason": ("Reason", {})}),
    collapsed=True,
)


def board():
    of = '{__name__=~"vpccni_node_info", job=~"$job", cluster=~"$cluster"%s}'
    chosen = ', zone=~"$zone", nodegroup=~"$nodegroup"'
    narrows = "Narrows the choice of nodes."
    return Board(
        "vpccni-node", "VPC CNI / Node",
        "One node: its addresses, errors and scrapes. Needs series of nodes (--node.detail=core or full).",
        prometheus_variables(
            choice("zone", "Zone", narrows, f'label_values({of % ""}, zone)', PROMETHEUS),
            choice("nodegroup", "Node group", narrows, f'label_values({of % ""}, nodegroup)', PROMETHEUS),
            choice("node", "Node", "The node that is shown.", f"label_values({of % chosen}, node)", PROMETHEUS, every="")),
        [NOW, WHY, SCRAPES, DETAIL],
        selectors={"": 'job=~"$job", cluster=~"$cluster"', "awscni_": 'node="$node"', "vpccni_node_": 'node="$node"'},
    )
