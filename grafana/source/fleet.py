"""Fleet: are pods refused addresses, why, and where. The rows of nodes need series of nodes
(--node.detail=core or full); all others do with the cluster scope alone."""

from panels import (ANY_IS_BAD, ANY_IS_ODD, BAD, CALM, COUNT, FULL, GOOD, PER_MINUTE, PER_SECOND, PROMETHEUS, QUIET,
                    RATIO, SECONDS, WARN, Board, Query, bars, buckets, choice, events, fixed, labels_of,
                    lately, only, per_minute, prometheus_variables, row, series, stat, table)

# Codes of AWS by what an operator does about them.
SUBNET = "InsufficientFreeAddressesInSubnet|InsufficientCidrBlocks"
THROTTLED = (".*Throttl.*|(Client[.])?RequestLimitExceeded|SlowDown|TooManyRequestsException|"
             "BandwidthLimitExceeded|PriorRequestNotComplete")
DENIED = ("AccessDenied.*|UnauthorizedOperation|AuthFailure|Blocked|OptInRequired|ExpiredToken.*|RequestExpired|"
          "InvalidClientTokenId|InvalidIdentityToken|MissingAuthenticationToken|NoCredentialProviders|"
          "SignatureDoesNotMatch|IncompleteSignature|UnrecognizedClientException|WebIdentityErr|IDPCommunicationError")
LIMITS = ("AttachmentLimitExceeded|MaxNetworkInterfaces.+|NetworkInterfaceLimitExceeded|ResourceLimitExceeded|"
          "PrivateIpAddressLimitExceeded|SecurityGroupsPerInterfaceLimitExceeded|TagLimitExceeded")
ERRORS = "vpccni_cluster_aws_api_errors_total"


def because(selector):
    return f"60 * sum(rate({ERRORS}{{{selector}}}[$__rate_interval]))"


# Shards add up; ratios are their sums'. A single exporter's own ratio is the better one: of nodes that tell both.
CLUSTER_USED = """max by (cluster) (vpccni_cluster_ip_utilization_ratio)
or sum by (cluster) (vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"})
  / (sum by (cluster) (vpccni_cluster_ip_addresses_usable{ip_family="ipv4"}) > 0)"""

# A node of these zones and node groups. While one leader follows another a node may have two of every series.
CHOSEN = "and on (cluster, node) vpccni_node_info"


def of_node(metric):
    return f"max by (cluster, node) ({metric})"


NODE_USABLE = of_node("vpccni_node_ip_addresses_usable")
NODE_USED = f'({of_node("awscni_assigned_ip_addresses")} / ({NODE_USABLE} > 0))'
NODE_REFUSED = lately("cluster, node", "awscni_no_available_ip_addresses")
# Whoever refuses pods comes first, then whoever is full.
WORST = f"topk(100, (({NODE_REFUSED} + {NODE_USED}) or {NODE_USED}) {CHOSEN})"
LOST = f"(({of_node('vpccni_node_scrape_success')} == 0) {CHOSEN})"


def known(label):
    """Joins with a label of the nodes; for nodes of IPv4."""
    return (f"* on (cluster, node) group_left ({label}) "
            f'max by (cluster, node, {label}) (vpccni_node_info{{ip_family="ipv4"}})')


def used_by(label):
    return (f'sum by ({label}) ({of_node("awscni_assigned_ip_addresses")} {known(label)})\n'
            f'/ (sum by ({label}) ({NODE_USABLE} {known(label)}) > 0)')


def refused_by(label):
    refused = "sum by (cluster, node) (rate(awscni_no_available_ip_addresses[$__rate_interval]))"
    return f"60 * sum by ({label}) ({refused} {known(label)}) > 0"


def who(labels):
    return f"max by (cluster, node, {labels}) (vpccni_node_info)"


NODE_LINK = [{"title": "Open ${__value.text}", "url": "/d/vpccni-node?${datasource:queryparam}&${job:queryparam}"
              "&${cluster:queryparam}&var-node=${__value.text}&${__url_time_range}"}]
EXPORTER = ("Open the Exporter dashboard", "/d/vpccni-exporter?${datasource:queryparam}&${job:queryparam}"
            "&${cluster:queryparam}&${__url_time_range}")
GAUGE = {"type": "gauge", "mode": "basic"}
FILLED = {"type": "color-background", "mode": "basic"}
NODE = {"cluster": ("Cluster", {}), "node": ("Node", only(links=NODE_LINK)), "zone": ("Zone", {}),
        "nodegroup": ("Node group", {}), "instance_type": ("Type", {}), "cni_version": ("CNI", {})}
# Of vpccni_daemonset_config_info, in its order.
SETTINGS = {"cluster": ("Cluster", {}), "daemonset": ("DaemonSet", {}), "version": ("Version", {})} | {
    setting.lower(): (setting, {}) for setting in (
        "WARM_ENI_TARGET", "WARM_IP_TARGET", "WARM_PREFIX_TARGET", "MINIMUM_IP_TARGET", "MAX_ENI", "IP_COOLDOWN_PERIOD",
        "ENABLE_PREFIX_DELEGATION", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "ENABLE_SUBNET_DISCOVERY", "ENABLE_POD_ENI",
        "ENABLE_IPv4", "ENABLE_IPv6")}
NODE_WHERE = {label: NODE[label] for label in ("cluster", "node", "zone", "nodegroup")}
PERCENT_OF_100 = only(RATIO, FULL, custom_cellOptions=GAUGE, min=0, max=1, decimals=0)

NOW = row(
    "What is wrong now",
    stat(4, "Pods refused an address", "Pods that got no address in the last ten minutes, because their node had none. "
         "Each is a pod that did not start. This also sees an empty subnet, of which use of the instances knows nothing.",
         Query(lately("cluster", "vpccni_cluster_ip_requests_refused_total"), "{{cluster}}"),
         steps=ANY_IS_BAD, decimals=0),
    stat(4, "Pod addresses in use", "Addresses in use on IPv4 nodes, of the usable ones: what the instances allow, or the "
         "kubelets' pod limits where these are known and lower. It says nothing about the subnets: these may be empty "
         "long before.",
         Query(CLUSTER_USED, "{{cluster}}"), unit=RATIO, steps=FULL, decimals=1),
    stat(6, "Nodes not up", "stale: the last scrape failed, its figures still stand. failed: no figures that stand. "
         "missing: no aws-node pod on a node that needs one. Figures of failed and missing nodes are in no sum.",
         Query('sum by (state) (vpccni_cluster_nodes{state!="up"})', "{{state}}"), steps=ANY_IS_ODD,
         overrides={name: only(steps=ANY_IS_BAD) for name in ("failed", "missing")}),
    bars(6, "Nodes that cannot grow", "Nodes with an empty warm pool or refused pods, by what is in the way. subnet: free "
         "addresses or a new subnet. max_pods, ceiling: more or larger nodes. throttled: fewer EC2 calls, larger warm "
         "targets. denied: rights of aws-node. api: other EC2 errors.",
         Query("sum by (reason) (vpccni_cluster_nodes_growth_blocked)", "{{reason}}"), steps=ANY_IS_BAD, height=6),
    stat(4, "Exporter", "How many replicas serve data: one, or one for each shard; with none the figures here stand "
         "still or are missing. And how old the data is.",
         Query("sum(vpccni_exporter_leader)", "serve data"),
         Query("max(vpccni_exporter_view_age_seconds and on (cluster, job, instance) vpccni_exporter_leader == 1)",
               "age of the data"),
         steps={BAD: None, GOOD: 1}, link=EXPORTER,
         overrides={"age of the data": only(SECONDS, {GOOD: None, WARN: 45, BAD: 90}, decimals=0)}),
)

WHY = row(
    "Why",
    series(8, "AWS errors by cause", "Failed AWS calls a minute. subnet full: free addresses, or add subnets. throttled: "
           "EC2 turns calls down. denied: rights or credentials of aws-node. limits: interfaces or addresses of an "
           "instance or account. The next panel has the codes.",
           Query(because(f'error=~"{SUBNET}"'), "subnet full"),
           Query(because(f'error=~"{THROTTLED}"'), "throttled"),
           Query(because(f'error=~"{DENIED}"'), "denied"),
           Query(because(f'error=~"{LIMITS}"'), "limits"),
           Query(because(f'error!~"{SUBNET}|{THROTTLED}|{DENIED}|{LIMITS}"'), "other"), unit=PER_MINUTE),
    events(8, "AWS errors by code", "Failed AWS calls by the code that AWS answered.", ERRORS, "error"),
    events(8, "ipamd errors by function", "What ipamd could not do. increaseIPPool…: it cannot grow. Others: see the log "
           "of aws-node on the node.", "vpccni_cluster_ipamd_errors_total", "fn"),
    series(8, "Pod addresses of IPv4 nodes", "in use, attached to the nodes (in use or warm), usable (what the "
           "kubelets' pod limits leave of the ceiling, where they are known) and the most that the instances allow, the "
           "ceiling. The forecast goes on from the last six hours for a day, once there is an hour of data.",
           Query('sum(vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"})', "in use"),
           Query('sum(vpccni_cluster_ip_addresses_attached{ip_family="ipv4"})', "attached"),
           Query('sum(vpccni_cluster_ip_addresses_usable{ip_family="ipv4"})', "usable"),
           Query('sum(vpccni_cluster_ip_addresses_max{ip_family="ipv4"})', "ceiling"),
           Query('clamp_min(predict_linear(sum(vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"})[6h:5m], 86400), 0)\n'
                 'and sum(vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"} offset 1h)', "in use in 24 h"),
           overrides={"in use in 24 h": only(custom_lineStyle={"fill": "dash", "dash": [8, 8]}, custom_fillOpacity=0)}),
    series(4, "Warm addresses", "Attached and not in use: what the next pods get without a call to EC2. At 0 each pod "
           "waits for EC2; alone it does not prove exhaustion.",
           Query('sum(vpccni_cluster_ip_addresses_attached{ip_family="ipv4"}) '
                 '- sum(vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"})', "warm"),
           steps={BAD: None, CALM: 1}, lines=True),
    series(4, "Network interfaces", "Attached, and what the instances allow. Room here and none in the subnet: the subnet "
           "is what is missing.",
           Query("sum(vpccni_cluster_enis_attached)", "attached"), Query("sum(vpccni_cluster_enis_max)", "at most")),
    series(8, "Nodes by state", "Known nodes. expected: those that should be scraped.",
           *(Query(f'sum(vpccni_cluster_nodes{{state="{state}"}})', state) for state in ("up", "stale", "failed", "missing")),
           Query("sum(vpccni_cluster_nodes_expected)", "expected"), stacked=True,
           overrides={name: only(color=fixed(color)) for name, color in
                      {"up": GOOD, "stale": WARN, "failed": BAD, "missing": "purple"}.items()}
           | {"expected": only(color=fixed(QUIET), custom_fillOpacity=0, custom_stacking={"mode": "none", "group": "B"})}),
    table(24, "Settings of aws-node", "How aws-node's DaemonSets are set: the image's version, warm targets, prefixes, custom "
          "networking. Empty: not set. valueFrom: set by a ConfigMap or Secret. No rows without Kubernetes discovery.",
          (None, labels_of("vpccni_daemonset_config_info"), {}),
          labels=SETTINGS, sort=[("DaemonSet", False)], height=5),
)

WHERE = row(
    "Where (series of nodes: empty with --node.detail=none)",
    series(8, "In use by zone", "Share of the usable addresses of a zone's nodes; subnets belong to zones.",
           Query(used_by("zone"), "{{zone}}"), unit=RATIO, steps=FULL, lines=True),
    series(8, "In use by node group", "Share of the usable addresses of a node group's nodes.",
           Query(used_by("nodegroup"), "{{nodegroup}}"), unit=RATIO, steps=FULL, lines=True),
    series(4, "Refused by zone", "Pods that got no address, a minute, by the zone of their node. Empty while none is "
           "refused.", Query(refused_by("zone"), "{{zone}}"), unit=PER_MINUTE),
    series(4, "Refused by node group", "Pods that got no address, a minute, by node group. Empty while none is refused.",
           Query(refused_by("nodegroup"), "{{nodegroup}}"), unit=PER_MINUTE),
    table(24, "Worst nodes", "The 100 worst nodes of the chosen zones and node groups: those that refuse pods first, then "
          "the fullest. Warm: attached and not in use. Usable: the instance's ceiling, or what the kubelet's pod limit leaves "
          "of it. A click on a name opens the node.",
          ("Refused, 10 min", f"({NODE_REFUSED}) and on (cluster, node) {WORST}",
           only(COUNT, {QUIET: None, BAD: 0.5}, custom_cellOptions=FILLED, decimals=0)),
          ("In use", f"{NODE_USED} and on (cluster, node) {WORST}", PERCENT_OF_100),
          ("Addresses", f'{of_node("awscni_assigned_ip_addresses")} and on (cluster, node) {WORST}', only(COUNT)),
          ("Warm", f'({of_node("awscni_total_ip_addresses")} - {of_node("awscni_assigned_ip_addresses")}) '
           f"and on (cluster, node) {WORST}", only(COUNT)),
          ("Usable", f'{NODE_USABLE} and on (cluster, node) {WORST}', only(COUNT)),
          ("Interfaces", f'{of_node("awscni_eni_allocated")} and on (cluster, node) {WORST}', only(COUNT)),
          ("At most", f'{of_node("awscni_eni_max")} and on (cluster, node) {WORST}', only(COUNT)),
          (None, f'{who("zone, nodegroup, instance_type, cni_version")} and on (cluster, node) {WORST}', {}),
          labels=NODE, sort=[("Refused, 10 min", True), ("In use", True)], height=10),
    table(12, "Nodes that cannot grow, and why", "Every node for which a reason holds.",
          (None, f"max by (cluster, node, reason) (vpccni_node_growth_blocked) {CHOSEN}", {}),
          (None, f'{who("zone, nodegroup")} and on (cluster, node) vpccni_node_growth_blocked', {}),
          labels={**NODE_WHERE, "reason": ("Reason", only(color=fixed(BAD), custom_cellOptions={"type": "color-text"}))},
          sort=[("Node", False)]),
    table(12, "Nodes that do not answer", "Nodes whose last scrape failed. The reason in words: /api/v1/nodes of the "
          "exporter. Nodes without an aws-node pod are not here: they have no series.",
          ("Silent for", f'(time() - {of_node("vpccni_node_scrape_last_success_timestamp_seconds")}) '
           f"and on (cluster, node) {LOST}", only(SECONDS, {WARN: None, BAD: 90}, custom_cellOptions={"type": "color-text"})),
          (None, f'{who("zone, nodegroup")} and on (cluster, node) {LOST}', {}),
          labels=NODE_WHERE, sort=[("Silent for", True)]),
)

USE = row(
    "Use and calls",
    events(8, "Refused pods", "Pods that got no address.", "vpccni_cluster_ip_requests_refused_total", "cluster",
           legend="refused {{cluster}}"),
    series(8, "Pods that come and go", "Requests of the kubelet to add and to delete a pod's network.",
           Query("sum(rate(vpccni_cluster_cni_add_requests_total[$__rate_interval]))", "add"),
           Query("sum by (reason) (rate(vpccni_cluster_cni_del_requests_total[$__rate_interval]))", "delete: {{reason}}"),
           unit=PER_SECOND),
    buckets(8, "How full nodes are", "IPv4 nodes by the share of their usable addresses that is in use: the darker, the more "
            "nodes. A single full node is seen here, and not in the cluster's average.",
            Query("sum by (le) (vpccni_cluster_node_ip_utilization_bucket)", "{{le}}"), unit=RATIO),
    series(8, "EC2 calls", "Calls of ipamd to EC2, by call. Many calls of few nodes are throttled together with all "
           "others of the account.",
           Query(per_minute("fn", "vpccni_cluster_ec2_api_requests_total") + " > 0", "{{fn}}"), unit=PER_MINUTE, stacked=True),
    events(8, "Failed EC2 calls", "Calls to EC2 that failed, by call.", "vpccni_cluster_ec2_api_errors_total", "fn"),
    series(8, "Time of AWS calls", "Mean time of a call to AWS or to the instance's metadata, by call. It grows before "
           "calls are throttled.",
           Query("sum by (api) (rate(vpccni_cluster_aws_api_latency_seconds_sum[$__rate_interval]))\n"
                 "/ (sum by (api) (rate(vpccni_cluster_aws_api_latency_seconds_count[$__rate_interval])) > 0)", "{{api}}"),
           unit=SECONDS),
    series(8, "Prefixes", "IPv4 prefixes of 16 addresses that are attached, with prefix delegation.",
           Query("sum(vpccni_cluster_ipv4_prefixes_attached)", "prefixes")),
    series(8, "Pod addresses of IPv6 nodes", "In use. A prefix of an IPv6 node has 2^48 addresses: they do not run out.",
           Query('sum(vpccni_cluster_ip_addresses_assigned{ip_family="ipv6"})', "in use")),
    series(8, "Work of ipamd", "Work under way, by kind. Work that does not end is a call to EC2 that hangs.",
           Query("sum by (fn) (vpccni_cluster_ipamd_actions_in_progress)", "{{fn}}")),
    collapsed=True,
)

RARE = row(
    "Repairs and starts",
    events(8, "Repairs", "Differences between ipamd's records and EC2 that were repaired. 0 is healthy.",
           "vpccni_cluster_reconcile_repairs_total", "fn"),
    series(8, "Forced removals", "Interfaces and addresses that were removed although pods used them, a minute: those "
           "pods lost their network.",
           Query("60 * sum(rate(vpccni_cluster_forced_eni_removals_total[$__rate_interval]))", "interfaces"),
           Query("60 * sum(rate(vpccni_cluster_forced_ip_removals_total[$__rate_interval]))", "addresses"),
           unit=PER_MINUTE),
    events(8, "Errors of pods' own interfaces", "Security groups for pods.", "vpccni_cluster_pod_eni_errors_total", "fn"),
    events(8, "Errors of AWS helpers", "What ipamd's helper functions for AWS could not do.",
           "vpccni_cluster_aws_utils_errors_total", "fn"),
    events(8, "Connection marks that failed", "Reconciliations of connection marks that failed: traffic of pods to the "
           "outside may be lost.", 'vpccni_cluster_connmark_reconciliations_total{result="error"}', "result"),
    series(8, "Backends of connection marks", "Nodes by the backend that sets connection marks.",
           Query("sum by (backend) (vpccni_cluster_nodes_by_connmark_backend)", "{{backend}}"), stacked=True),
    events(8, "Starts of ipamd that failed", "By reason.",
           'vpccni_cluster_ipamd_startup_duration_seconds_count{success="false"}', "failure_reason"),
    series(8, "Time of starts", "From the start of ipamd until it served, over the last hour; empty without starts.",
           *(Query(f"histogram_quantile({share}, sum by (le) "
                   "(increase(vpccni_cluster_ipamd_startup_duration_seconds_bucket[1h])))", name)
             for share, name in ((0.5, "start: half are faster"), (0.99, "start: 99 of 100 are faster"))),
           Query("histogram_quantile(0.99, sum by (le) "
                 "(increase(vpccni_cluster_ipamd_node_initialization_duration_seconds_bucket[1h])))",
                 "initialisation of the node: 99 of 100 are faster"), unit=SECONDS),
    series(8, "Versions of the CNI", "Nodes by version; a rollout is seen here.",
           Query("sum by (version) (vpccni_cluster_nodes_by_cni_version) > 0", "{{version}}"), stacked=True),
    collapsed=True,
)


def board():
    narrowed = '{__name__=~"vpccni_node_info", job=~"$job", cluster=~"$cluster"%s}'
    needs = "Narrows the row Where, and nothing else."
    return Board(
        "vpccni-fleet", "VPC CNI / Fleet",
        "Pod addresses of the whole cluster: what is wrong, why, where. Figures are those of vpc-cni-exporter.",
        prometheus_variables(
            choice("zone", "Zone", needs, f'label_values({narrowed % ""}, zone)', PROMETHEUS),
            choice("nodegroup", "Node group", needs, f'label_values({narrowed % ""}, nodegroup)', PROMETHEUS),
            choice("node", "Node", needs, "label_values(%s, node)" % (
                narrowed % ', zone=~"$zone", nodegroup=~"$nodegroup"'), PROMETHEUS)),
        [NOW, WHY, WHERE, USE, RARE],
        selectors={"": 'job=~"$job", cluster=~"$cluster"', "awscni_": 'node=~"$node"', "vpccni_node_": 'node=~"$node"',
                   "vpccni_node_info": 'zone=~"$zone", nodegroup=~"$nodegroup"'},
        annotations=[("Another replica serves", "sum by (instance) (increase(vpccni_exporter_terms_total[2m])) > 0", CALM)],
    )
