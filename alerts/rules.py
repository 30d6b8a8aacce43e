"""The recording rules and alerts, as a table. Comes in: nothing. Goes out: GROUPS, from which `generate`
writes the files for Prometheus. Never: a job, an address or a URL in a rule; they are settings.

Written short, and spelled out by `generate`:

  in expressions   JOB, INTERVAL, SHARDS   the selector of our job; the scrape interval in seconds; how many shards
                   a name of CODES         its values, joined by |
  in sentences     <n> <%> <time>          the value: rounded, as a share of a hundred, as a duration
                   <ours>                  "of CLUSTER", where series have a label `cluster`
                   <list NAME>             what the query LISTS[NAME] finds when the alert is sent
                   <figure QUERY>          the one value that a query finds then, rounded
                   <anything else>         the alert's label of that name

House rules:

- The series are ours alone: every selector has JOB. A PodMonitor on aws-node beside us serves the same
  names `awscni_*` under another job.
- `sum by (cluster) (increase(x))`, never `increase(sum(x))`: a new leader's counters begin at zero, and shards
  add up. Of the labels only those are left that an alert is about, so that it stays the same alert when
  another replica serves.
- An event that is rare is read from a counter of the cluster or self scope, which is there at 0 from the start: a
  counter that is born at 1 has no increase. A window longer than `for` lets one event fire; a shorter one
  asks that they go on.
- Besides a number a share of nodes or calls, where a large cluster always has some.
"""

# ------------------------------------------------------------------------------------------ closed sets

# Label values by what is to be done. `generate --check` holds them against the program's own.
CODES = {
    # EC2 has no address, or no whole /28, in the subnet.
    "SUBNET_CODES": "InsufficientCidrBlocks InsufficientFreeAddressesInSubnet",
    # A right or a credential is missing.
    "DENIED_CODES": """AccessDenied AccessDeniedException AuthFailure ExpiredToken ExpiredTokenException
        InvalidClientTokenId InvalidIdentityToken MissingAuthenticationToken NoCredentialProviders OptInRequired
        SignatureDoesNotMatch UnauthorizedOperation UnrecognizedClientException WebIdentityErr""",
    "THROTTLED_CODES": """Client.RequestLimitExceeded EC2ThrottledException RequestLimitExceeded RequestThrottled
        RequestThrottledException SlowDown ThrottledException Throttling ThrottlingException
        TooManyRequestsException""",
    # Nothing is wrong with EC2: instance metadata answers 404 in ordinary life, and a full instance is full.
    "USUAL_CODES": """AttachmentLimitExceeded EC2MetadataError EC2MetadataRequestError IMDSRequestError
        PrivateIpAddressLimitExceeded""",
    # ipamd counts here what EC2 refused it; the alerts of EC2 have the reason.
    "POOL_CALLS": """increaseIPPoolAllocAllIPAddressFailed increaseIPPoolAllocENI
        increaseIPPoolAllocIPAddressesFailed retryAllocENIIPAllocAllIPAddressFailed""",
    "LEFT_BEHIND": """AllocENIDeleteErr ENICleanupUponModifyNetworkErr FreeENIDeleteErr cleanUpLeakedENIDeleteErr""",
}

# ------------------------------------------------------------------------------------------ lists

# (query, label of each answer, with its value or a label besides, what is said when there is none). Queries
# know the alert's labels as <label>.
LISTS = {
    "refused": ("increase(awscni_no_available_ip_addresses{JOB,cluster=<cluster>}[15m]) > 0", "node", "zone", None),
    "ec2 errors": ("increase(awscni_aws_api_error_count{JOB,cluster=<cluster>}[15m]) > 0", "node", "zone", None),
    "ipamd errors": ("increase(awscni_ipamd_error_count{JOB,cluster=<cluster>}[15m]) > 0", "node", "zone", None),
    "pod eni": ("increase(awscni_pod_eni_error_count{JOB,cluster=<cluster>}[30m]) > 0", "node", "zone", None),
    "removed": (
        "increase(awscni_force_removed_ips{JOB,cluster=<cluster>}[30m])"
        " + increase(awscni_force_removed_enis{JOB,cluster=<cluster>}[30m]) > 0",
        "node", "zone", None,
    ),
    "subnet": ('vpccni_node_growth_blocked{JOB,reason="subnet",cluster=<cluster>} == 1', "node", "zone", None),
    "denied": ('vpccni_node_growth_blocked{JOB,reason="denied",cluster=<cluster>} == 1', "node", "zone", None),
    "blocked": ("vpccni_node_growth_blocked{JOB,reason=<reason>,cluster=<cluster>} == 1", "node", "zone", None),
    "not answering": ("vpccni_node_scrape_success{JOB,cluster=<cluster>} == 0", "node", "zone", None),
    "why": (
        "sort_desc(sum by (reason) (vpccni_cluster_nodes_growth_blocked{JOB,cluster=<cluster>}) > 0)",
        "reason", "value", "not known",
    ),
    "why full": (
        "sort_desc(sum by (reason)"
        ' (vpccni_cluster_nodes_growth_blocked{JOB,reason=~"max_pods|ceiling",cluster=<cluster>}) > 0)',
        "reason", "value", "not known",
    ),
    "calls": (
        "sort_desc(topk(3, sum by (fn) (increase(vpccni_cluster_ec2_api_requests_total{JOB,cluster=<cluster>}[15m])) > 0))",
        "fn", "value", "not known",
    ),
    "failed calls": (
        "sort_desc(topk(3, sum by (fn) (increase(vpccni_cluster_ec2_api_errors_total{JOB,cluster=<cluster>}[15m])) > 0))",
        "fn", "value", "not known",
    ),
    "versions": (
        'sort_desc(sum by (version) (vpccni_cluster_nodes_by_cni_version{JOB,version!="unknown",cluster=<cluster>}) > 0)',
        "version", "value", "not known",
    ),
    "outcomes": (
        "sort_desc(topk(3, sum by (outcome)"
        ' (increase(vpccni_exporter_scrapes_total{JOB,outcome!="ok",cluster=<cluster>}[10m])) > 0))',
        "outcome", "value", "none",
    ),
    "mirror failures": (
        "sort_desc(sum by (reason)"
        " (increase(vpccni_exporter_mirror_failures_total{JOB,outlet=<outlet>,cluster=<cluster>}[15m])) > 0)",
        "reason", "value", "none",
    ),
}

# ------------------------------------------------------------------------------------------ rows


def record(name, expr):
    return {"record": name, "expr": expr}


def critical(*row):
    """Somebody is called: pods are hurt or about to be, or nobody would hear of it."""
    return alert("critical", *row)


def warning(*row):
    """Somebody looks on the same working day."""
    return alert("warning", *row)


def info(*row):
    """It is read by who looks for something else."""
    return alert("info", *row)


def alert(severity, name, wait, expr, summary, description):
    return {
        "alert": name,
        "expr": expr,
        "for": wait,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


FIGURES = [
    record(
        "cluster:vpccni_ip_addresses_assigned:sum",
        'sum by (cluster) (vpccni_cluster_ip_addresses_assigned{JOB,ip_family="ipv4"})',
    ),
    record(
        "cluster:vpccni_ip_addresses_usable:sum",
        'sum by (cluster) (vpccni_cluster_ip_addresses_usable{JOB,ip_family="ipv4"})',
    ),
    # The exporter's own ratio, which shards have not.
    record(
        "cluster:vpccni_ip_utilization:ratio",
        """
        max by (cluster) (vpccni_cluster_ip_utilization_ratio{JOB})
        or
        cluster:vpccni_ip_addresses_assigned:sum / (cluster:vpccni_ip_addresses_usable:sum > 0)
        """,
    ),
    *(
        record(
            f"cluster_{place}:vpccni_ip_addresses_{what}:sum",
            f"""
            sum by (cluster, {place}) (
              max by (cluster, job, node) ({family}{{JOB}})
              * on (cluster, job, node) group_left ({place})
              max by (cluster, job, node, {place}) (vpccni_node_info{{JOB,ip_family="ipv4",{place}!=""}})
            )
            """,
        )
        for place in ("zone", "nodegroup")
        for what, family in (("assigned", "awscni_assigned_ip_addresses"), ("usable", "vpccni_node_ip_addresses_usable"))
    ),
    *(
        record(
            f"cluster_{place}:vpccni_ip_utilization:ratio",
            f"cluster_{place}:vpccni_ip_addresses_assigned:sum / (cluster_{place}:vpccni_ip_addresses_usable:sum > 0)",
        )
        for place in ("zone", "nodegroup")
    ),
    record(
        "cluster:vpccni_ip_requests_refused:rate5m",
        "sum by (cluster) (rate(vpccni_cluster_ip_requests_refused_total{JOB}[5m]))",
    ),
    record(
        "cluster_error:vpccni_aws_api_errors:rate5m",
        "sum by (cluster, error) (rate(vpccni_cluster_aws_api_errors_total{JOB}[5m]))",
    ),
    record(
        "cluster_fn:vpccni_ec2_api_errors:ratio_rate15m",
        """
        sum by (cluster, fn) (rate(vpccni_cluster_ec2_api_errors_total{JOB}[15m]))
        / (sum by (cluster, fn) (rate(vpccni_cluster_ec2_api_requests_total{JOB}[15m])) > 0)
        """,
    ),
    record(
        "cluster_api:vpccni_aws_api_latency_seconds:mean5m",
        """
        sum by (cluster, api) (rate(vpccni_cluster_aws_api_latency_seconds_sum{JOB}[5m]))
        / (sum by (cluster, api) (rate(vpccni_cluster_aws_api_latency_seconds_count{JOB}[5m])) > 0)
        """,
    ),
    record(
        "cluster:vpccni_nodes_without_values:ratio",
        """
        sum by (cluster) (vpccni_cluster_nodes{JOB,state=~"failed|missing"})
        / (sum by (cluster) (vpccni_cluster_nodes{JOB}) > 0)
        """,
    ),
]

CAPACITY = [
    # The kubelet asks again for each pod every 10 to 15 s: 30 in five minutes are more than one pod.
    critical(
        "VpcCniManyPodsRefusedAddresses", "10m",
        """
        sum by (cluster) (increase(vpccni_cluster_ip_requests_refused_total{JOB}[5m])) > 30
        and
        sum by (cluster) (increase(vpccni_cluster_ip_requests_refused_total{JOB}[5m]))
          > 0.1 * sum by (cluster) (increase(vpccni_cluster_cni_add_requests_total{JOB}[5m]))
        """,
        "Pods<ours> do not start: their nodes have no address for them.",
        """ipamd refused an address <n> times in five minutes, more than one request in ten, and has for ten minutes.
        Most at: <list refused>. Why nodes cannot grow: <list why>.""",
    ),
    warning(
        "VpcCniPodsRefusedAddresses", "15m",
        # A burst of new pods, which heals by itself, ends within the window.
        "sum by (cluster) (increase(vpccni_cluster_ip_requests_refused_total{JOB}[5m])) > 0",
        "Some pods<ours> go on being refused an address.",
        """ipamd refused an address <n> times in five minutes, and has in every five minutes of the last quarter of an
        hour. Most at: <list refused>. Why nodes cannot grow: <list why>.""",
    ),
    critical(
        "VpcCniSubnetExhausted", "10m",
        """
        sum by (cluster) (vpccni_cluster_nodes_growth_blocked{JOB,reason="subnet"})
          > 0.1 * sum by (cluster) (vpccni_cluster_nodes{JOB,state=~"up|stale"})
        """,
        "More than a tenth of the nodes<ours> have used up their addresses, and their subnets have none left.",
        """<n> nodes get no further address: EC2 has none in their subnets. The next pod there does not start, and new
        nodes in these subnets do not help. Among them: <list subnet>.""",
    ),
    warning(
        "VpcCniSubnetRefusesAddresses", "5m",
        """
        sum by (cluster, error) (
          increase(vpccni_cluster_aws_api_errors_total{JOB,error=~"SUBNET_CODES"}[15m])
        ) > 0
        """,
        "A subnet of the pods<ours> has no address to give (<error>).",
        """EC2 answered <error> <n> times in a quarter of an hour. Pods go on starting where nodes have warm addresses.
        Most EC2 errors at: <list ec2 errors>.""",
    ),
    critical(
        "VpcCniGrowthDenied", "10m",
        """
        sum by (cluster) (vpccni_cluster_nodes_growth_blocked{JOB,reason="denied"})
          > 0.1 * sum by (cluster) (vpccni_cluster_nodes{JOB,state=~"up|stale"})
        """,
        "More than a tenth of the nodes<ours> have used up their addresses, and EC2 denies them more.",
        """<n> nodes may not ask EC2 for addresses: a right is missing at the role of aws-node or of the nodes. The
        next pod there does not start. Among them: <list denied>.""",
    ),
    warning(
        "VpcCniNodesCannotGrow", "15m",
        'sum by (cluster, reason) (vpccni_cluster_nodes_growth_blocked{JOB,reason!~"max_pods|ceiling"}) > 0',
        "Nodes<ours> have used up their addresses and get no more (reason: <reason>).",
        """<n> nodes have no free address and do not grow, for the reason <reason>. The runbook says what to do for
        each reason. Among them: <list blocked>.""",
    ),
    info(
        "VpcCniNodesFull", "1h",
        """
        sum by (cluster) (vpccni_cluster_nodes_growth_blocked{JOB,reason=~"max_pods|ceiling"})
          > 0.5 * sum by (cluster) (vpccni_cluster_nodes{JOB,state=~"up|stale"})
        """,
        "More than half of the nodes<ours> are full.",
        """<n> nodes have as many pods or addresses as they can have (<list why full>). New pods need new nodes, of
        which the autoscaler has to take care.""",
    ),
    warning(
        "VpcCniAddressesNearCeiling", "30m",
        "cluster:vpccni_ip_utilization:ratio > 0.9",
        "Pods<ours> use more than nine tenths of the usable addresses of the nodes.",
        """<%> of the usable addresses of the nodes are in use, <figure
        cluster:vpccni_ip_addresses_assigned:sum{cluster=<cluster>}> in all. Without more nodes new pods will wait.""",
    ),
    warning(
        "VpcCniZoneNearCeiling", "30m",
        """
        cluster_zone:vpccni_ip_utilization:ratio > 0.9
        unless on (cluster)
        cluster:vpccni_ip_utilization:ratio > 0.9
        """,
        "Pods<ours> in <zone> use more than nine tenths of the usable addresses of the nodes there.",
        """<%> of the usable addresses of the nodes in <zone> are in use; other zones have room. Pods that have to run in
        this one (volumes, spread constraints) will wait.""",
    ),
    # By both windows: six hours of any morning lead to the sky. `offset`: not by an hour of history.
    warning(
        "VpcCniAddressesRunOutWithinADay", "1h",
        """
        cluster:vpccni_ip_utilization:ratio > 0.7
        and predict_linear(cluster:vpccni_ip_utilization:ratio[6h], 86400) > 1
        and predict_linear(cluster:vpccni_ip_utilization:ratio[1d], 86400) > 1
        and cluster:vpccni_ip_utilization:ratio offset 12h
        """,
        "At this pace pods<ours> use up all usable addresses of the nodes within a day.",
        """<%> of the usable addresses of the nodes are in use. Drawn on from the last six hours, and from the last day,
        this reaches all of them within 24 hours, unless nodes are added.""",
    ),
]

EC2 = [
    warning(
        "VpcCniEc2Denied", "5m",
        """
        sum by (cluster, error) (
          increase(vpccni_cluster_aws_api_errors_total{JOB,error=~"DENIED_CODES"}[15m])
        ) > 0
        """,
        "EC2 denies ipamd<ours> what it asks for (<error>).",
        """EC2 answered <error> <n> times in a quarter of an hour. Nodes get no addresses once their warm ones are
        used, and new nodes may not become ready. Calls that failed: <list failed calls>. Most EC2 errors at: <list
        ec2 errors>.""",
    ),
    warning(
        "VpcCniEc2Throttled", "20m",
        """
        sum by (cluster) (increase(vpccni_cluster_aws_api_errors_total{JOB,error=~"THROTTLED_CODES"}[15m])) > 10
        and
        sum by (cluster) (increase(vpccni_cluster_aws_api_errors_total{JOB,error=~"THROTTLED_CODES"}[15m]))
          > 0.05 * sum by (cluster) (increase(vpccni_cluster_ec2_api_requests_total{JOB}[15m]))
        """,
        "EC2 throttles ipamd<ours>.",
        """<n> calls were throttled in a quarter of an hour, more than one in twenty: nodes get addresses late. What
        ipamd calls most: <list calls>.""",
    ),
    warning(
        "VpcCniEc2CallsFail", "20m",
        """
        sum by (cluster, error) (
          increase(vpccni_cluster_aws_api_errors_total{JOB,error!~"SUBNET_CODES|DENIED_CODES|THROTTLED_CODES|USUAL_CODES"}[15m])
        ) > 10
        and
        sum by (cluster, error) (increase(vpccni_cluster_aws_api_errors_total{JOB}[15m]))
          > on (cluster) group_left ()
        0.1 * sum by (cluster) (increase(vpccni_cluster_ec2_api_requests_total{JOB}[15m]))
        """,
        "EC2 fails ipamd<ours> with <error>.",
        """<n> calls ended with <error> in a quarter of an hour, more than one in ten. Calls that failed: <list failed
        calls>. Most EC2 errors at: <list ec2 errors>.""",
    ),
]

IPAMD = [
    warning(
        "VpcCniIpamdErrors", "20m",
        """
        sum by (cluster, fn) (increase(vpccni_cluster_ipamd_errors_total{JOB,fn!~"POOL_CALLS"}[15m])) > 10
        and
        sum by (cluster, fn) (increase(vpccni_cluster_ipamd_errors_total{JOB}[15m]))
          > on (cluster) group_left ()
        0.05 * sum by (cluster) (vpccni_cluster_nodes{JOB})
        """,
        "ipamd<ours> keeps failing in <fn>.",
        """<n> errors in <fn> in a quarter of an hour, and they go on. Most errors of ipamd at: <list ipamd errors>.""",
    ),
    warning(
        "VpcCniForcedRemovals", "1m",
        """
        sum by (cluster) (increase(vpccni_cluster_forced_ip_removals_total{JOB}[30m]))
        + sum by (cluster) (increase(vpccni_cluster_forced_eni_removals_total{JOB}[30m]))
        > 0
        """,
        "Running pods<ours> have lost their addresses.",
        """EC2 no longer had what pods used, and ipamd let go of <figure
        sum(increase(vpccni_cluster_forced_ip_removals_total{JOB,cluster=<cluster>}[30m]))> addresses and <figure
        sum(increase(vpccni_cluster_forced_eni_removals_total{JOB,cluster=<cluster>}[30m]))> network interfaces in
        half an hour. These pods have no network until they are deleted. At: <list removed>.""",
    ),
    info(
        "VpcCniReconcileRepairs", "30m",
        """
        sum by (cluster, fn) (increase(vpccni_cluster_reconcile_repairs_total{JOB}[1h])) > 20
        and
        sum by (cluster, fn) (increase(vpccni_cluster_reconcile_repairs_total{JOB}[1h]))
          > on (cluster) group_left ()
        0.5 * sum by (cluster) (vpccni_cluster_nodes{JOB})
        """,
        "ipamd<ours> keeps correcting what it believes about EC2 (<fn>).",
        """<n> corrections by <fn> in an hour, more than one for every two nodes; none is healthy. Something else
        changes the nodes' interfaces or addresses, or EC2 answers late.""",
    ),
    warning(
        "VpcCniPodEniErrors", "1m",
        "sum by (cluster, fn) (increase(vpccni_cluster_pod_eni_errors_total{JOB}[30m])) > 0",
        "ipamd<ours> cannot prepare nodes for pods with security groups of their own.",
        """<n> errors in <fn> in half an hour. Pods that a SecurityGroupPolicy selects stay pending on these nodes:
        <list pod eni>.""",
    ),
    warning(
        "VpcCniConnmarkErrors", "20m",
        'sum by (cluster) (increase(vpccni_cluster_connmark_reconciliations_total{JOB,result="error"}[15m])) > 0',
        "ipamd<ours> cannot set the rules by which pods of some nodes reach the outside.",
        """<n> times in a quarter of an hour the rules that mark connections could not be set, and it goes on. On such
        nodes pods may not reach what is outside the VPC.""",
    ),
    info(
        "VpcCniInterfacesLeftBehind", "10m",
        'sum by (cluster, fn) (increase(vpccni_cluster_aws_utils_errors_total{JOB,fn=~"LEFT_BEHIND"}[1h])) > 5',
        "ipamd<ours> cannot delete network interfaces that nobody uses (<fn>).",
        """<n> errors in <fn> in an hour. Interfaces that are left behind keep addresses of their subnet.""",
    ),
    info(
        "VpcCniVersionSkew", "6h",
        """
        count by (cluster) (
          sum by (cluster, version) (vpccni_cluster_nodes_by_cni_version{JOB,version!="unknown"}) > 0
        ) > 1
        """,
        "Nodes<ours> have run several versions of the VPC CNI for six hours.",
        """<n> versions: <list versions>. A rollout has stopped on the way.""",
    ),
]

NODES = [
    warning(
        "VpcCniNodesFailed", "15m",
        'sum by (cluster) (vpccni_cluster_nodes{JOB,state="failed"}) > 0',
        "Nodes<ours> have no figures: their aws-node cannot be scraped.",
        """<n> nodes are in no sum; where aws-node itself is down no pod starts. Among those that do not answer: <list
        not answering>. Each one's reason in words: /api/v1/nodes?state=failed.""",
    ),
    critical(
        "VpcCniManyNodesFailed", "10m",
        """
        cluster:vpccni_nodes_without_values:ratio > 0.2
        and
        sum by (cluster) (vpccni_cluster_nodes{JOB,state=~"failed|missing"}) > 1
        """,
        "On more than a fifth of the nodes<ours> aws-node cannot be scraped, or is not there.",
        """<%> of the nodes have no figures. Either aws-node is down there, and no pod starts, or the exporter cannot
        reach it. Scrapes that failed in ten minutes: <list outcomes>. Among the nodes: <list not answering>.""",
    ),
    info(
        "VpcCniNodesStale", "15m",
        """
        sum by (cluster) (vpccni_cluster_nodes{JOB,state="stale"})
          > 0.05 * sum by (cluster) (vpccni_cluster_nodes{JOB})
        """,
        "Scrapes of nodes<ours> fail now and then.",
        """<n> nodes at a time stand with their last good values, because their newest scrape failed: <list not
        answering>. They recover, and fail again or others do.""",
    ),
    warning(
        "VpcCniNodesMissing", "15m",
        'sum by (cluster) (vpccni_cluster_nodes{JOB,state="missing"}) > 0',
        "Nodes<ours> have no aws-node pod.",
        """<n> nodes should run aws-node and do not: pods that need an address do not start there. Which ones:
        /api/v1/nodes?state=missing.""",
    ),
    warning(
        "VpcCniScrapesTimeOut", "10m",
        """
        sum by (cluster) (rate(vpccni_exporter_scrapes_total{JOB,outcome=~"timeout|unreachable"}[10m]))
        / (sum by (cluster) (rate(vpccni_exporter_scrapes_total{JOB}[10m])) > 0)
        > 0.25
        """,
        "More than every fourth scrape of a node<ours> finds nobody: look at the security group first.",
        """<%> of the scrapes time out or have no route. The nodes' security groups have to allow TCP 61678 from where
        the exporter runs. Among the nodes: <list not answering>.""",
    ),
]

EXPORTER = [
    critical(
        "VpcCniExporterAbsent", "15m",
        "absent(up{JOB} == 1)",
        "Prometheus has no vpc-cni-exporter that answers.",
        """For a quarter of an hour no exporter with the job of these rules has answered. No other alert about pod
        addresses can fire.""",
    ),
    warning(
        "VpcCniExporterDown", "10m",
        "max by (cluster, instance) (up{JOB}) == 0",
        "The exporter at <instance><ours> does not answer.",
        """Prometheus cannot scrape <instance>. Where it is the only one there are no figures; where there are several,
        one less can take over.""",
    ),
    critical(
        "VpcCniNobodyServesData", "5m",
        "sum by (cluster) (max_over_time(vpccni_exporter_leader{JOB}[2m])) < SHARDS",
        "No exporter<ours> serves the figures of the cluster.",
        """Exporters run, but <n> of SHARDS may serve. Figures of the cluster or of a part of its nodes are absent, and
        no alert about them can fire. /readyz of each exporter says why.""",
    ),
    warning(
        "VpcCniSeveralServeData", "10m",
        "sum by (cluster) (min_over_time(vpccni_exporter_leader{JOB}[5m])) > SHARDS",
        "Several exporters<ours> serve the same figures: sums are too high.",
        """<n> processes serve data where SHARDS should. Either the election is off with several replicas, or
        Prometheus scrapes one exporter by several jobs.""",
    ),
    warning(
        "VpcCniLeaderChangesOften", "10m",
        "sum by (cluster) (changes(vpccni_exporter_leader{JOB}[1h])) > 6 * SHARDS",
        "Exporters<ours> take over from one another again and again.",
        """The right to serve was taken or lost <n> times in an hour. With each take-over figures are absent for some
        seconds and counters begin at zero; what happened in between is in none.""",
    ),
    critical(
        "VpcCniNoView", "15m",
        """
        max by (cluster, instance) (vpccni_exporter_view_generation{JOB}) == 0
        and
        max by (cluster, instance) (vpccni_exporter_leader{JOB}) == 1
        """,
        "The exporter at <instance><ours> has had nothing to serve since it started.",
        """It leads, but it has not read all sources of nodes once, or its first round has not closed. There are no
        figures of the cluster, and no alert about them can fire. /readyz says what it waits for.""",
    ),
    warning(
        "VpcCniViewStale", "5m",
        "max by (cluster, instance) (vpccni_exporter_view_age_seconds{JOB}) > 3 * INTERVAL",
        "The exporter at <instance><ours> serves old figures.",
        """What it serves was made <time> ago, and a new view is due every INTERVAL s. The process has too little CPU,
        or a part of it has stopped.""",
    ),
    warning(
        "VpcCniNoTargets", "15m",
        "sum by (cluster) (vpccni_exporter_targets{JOB}) == 0",
        "The exporter<ours> knows no node to scrape.",
        """It finds no aws-node that can be scraped: another namespace or other labels, an empty file of targets, or a
        cluster whose nodes run none (EKS Auto Mode, Fargate).""",
    ),
    warning(
        "VpcCniRoundsSlow", "15m",
        "max by (cluster, instance) (vpccni_exporter_round_answered_duration_seconds{JOB}) > 1.5 * INTERVAL",
        "The exporter at <instance><ours> does not get through its nodes in time.",
        """It took <time> until the last node of a round had answered; a round begins every INTERVAL s. Figures are
        older than they seem.""",
    ),
    warning(
        "VpcCniScrapesDelayed", "15m",
        """
        histogram_quantile(0.99,
          sum by (cluster, instance, le) (rate(vpccni_exporter_scrape_delay_seconds_bucket{JOB}[10m]))
        ) > 1
        """,
        "Scrapes of the exporter at <instance><ours> wait for their turn.",
        """One scrape in a hundred begins <time> or more behind its slot: too few may be under way at once, or the
        process has too little CPU.""",
    ),
    warning(
        "VpcCniKubernetesRightsMissing", "5m",
        "max by (cluster, resource) (vpccni_exporter_kubernetes_missing_rule{JOB}) == 1",
        "The API server does not let the exporter<ours> use <resource>.",
        """Without pods or nodes it does not notice which come and go, without daemonsets it cannot tell an empty
        cluster from a wrong selector, without leases nobody serves, without pods/proxy nothing is scraped by that
        route.""",
    ),
    warning(
        "VpcCniKubernetesWatchFails", "15m",
        """
        sum by (cluster, resource, reason) (
          increase(vpccni_exporter_kubernetes_watch_errors_total{JOB,reason!~"gone|forbidden"}[10m])
        ) > 5
        """,
        "The exporter<ours> cannot follow <resource> (<reason>).",
        """<n> watches or listings of <resource> failed in ten minutes as <reason>. What was known stays; nodes that
        join are not scraped until it works.""",
    ),
    warning(
        "VpcCniDiscoveryFileBroken", "10m",
        """
        sum by (cluster, instance) (
          increase(vpccni_exporter_discovery_file_reads_total{JOB,result="error"}[5m])
        ) > 0
        """,
        "A file of targets of the exporter at <instance><ours> cannot be used.",
        """<n> readings failed in five minutes, and they go on failing. The file's last good targets stay; what it says
        now is not scraped. The log names the file and the reason.""",
    ),
    info(
        "VpcCniTargetsDropped", "30m",
        "max by (cluster) (vpccni_exporter_discovery_targets_dropped{JOB}) > 0",
        "Targets of the exporter<ours> are left out.",
        """<n> targets have the name or the address of another one, and are not scraped. The log names the first of
        them.""",
    ),
    warning(
        "VpcCniConnectionsRefused", "15m",
        """
        sum by (cluster, instance, reason) (
          increase(vpccni_exporter_http_connections_refused_total{JOB}[10m])
        ) > 0
        """,
        "The exporter at <instance><ours> turns clients away (<reason>).",
        """<n> connections were turned away in ten minutes, and it goes on: Prometheus or probes may be among them.""",
    ),
    info(
        "VpcCniSamplesNotFinite", "15m",
        'sum by (cluster) (increase(vpccni_exporter_dropped_samples_total{JOB,rule="non_finite"}[10m])) > 0',
        "Nodes<ours> serve values that are no numbers.",
        """<n> samples in ten minutes were NaN, infinite or negative counters. They are in no sum, so that sums may be
        too low by them.""",
    ),
]

MIRROR = [
    warning(
        "VpcCniMirrorRefused", "10m",
        'max by (cluster, outlet) (vpccni_exporter_mirror_state{JOB,state="refused"}) == 1',
        "The mirror<ours> cannot send to CloudWatch (outlet <outlet>).",
        """CloudWatch has no data, and its alarms do not watch. Failures in a quarter of an hour: <list mirror
        failures>. What waits is sent later under its own time, as far as --mirror.queue reaches. /api/v1/status has
        the reason in words.""",
    ),
    warning(
        "VpcCniMirrorLags", "10m",
        "max by (cluster, outlet) (vpccni_exporter_mirror_lag_seconds{JOB}) > 600",
        "The mirror<ours> is behind (outlet <outlet>).",
        """The oldest interval that waits to be sent began <time> ago. CloudWatch has no data since then, and its
        alarms do not watch.""",
    ),
    warning(
        "VpcCniMirrorDropsPoints", "1m",
        """
        sum by (cluster, outlet, reason) (
          increase(vpccni_exporter_mirror_points_dropped_total{JOB,reason!="cap"}[15m])
        ) > 0
        """,
        "The mirror<ours> has lost points (outlet <outlet>, reason: <reason>).",
        """<n> points of a quarter of an hour will never be in CloudWatch, for the reason <reason>.""",
    ),
    info(
        "VpcCniMirrorCapped", "10m",
        """
        sum by (cluster, outlet) (
          increase(vpccni_exporter_mirror_points_dropped_total{JOB,reason="cap"}[30m])
        ) > 0
        """,
        "The mirror<ours> leaves metrics out, as they would cost too much (outlet <outlet>).",
        """<n> points in half an hour were over --mirror.max-billed-metrics. The metrics that came first are still
        sent.""",
    ),
]

# While one replica takes over from another, figures of the cluster are absent for some seconds. What fires goes on
# for so long, so that nobody is called twice.
TAKE_OVER = "5m"

# Name, keep_firing_for, rules. The order is that of evaluation.
GROUPS = [
    ("vpc-cni.figures", None, FIGURES),
    ("vpc-cni.capacity", TAKE_OVER, CAPACITY),
    ("vpc-cni.ec2", TAKE_OVER, EC2),
    ("vpc-cni.ipamd", TAKE_OVER, IPAMD),
    ("vpc-cni.nodes", TAKE_OVER, NODES),
    ("vpc-cni.exporter", None, EXPORTER),
    ("vpc-cni.mirror", None, MIRROR),
]
