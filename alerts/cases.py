"""The unit tests of the alerts, as a table. Comes in: the rules as they were made. Goes out: files for
`promtool test rules`. Never: an expected sentence that was taken from a rule.

Each alert has a case in which it fires (not before its time is over, and with the whole sentence that somebody
reads), one at least in which it must be silent, close to the threshold, and where an event is rare a birth: the
exporter has just begun, its counters are at 0, and the event comes. Where it fires the figures come from two shards,
and it fires as well where the processes restart meanwhile. Besides, whole clusters in which nothing is wrong go
through what must call nobody.

Series are written short: labels `cluster`, `job`, `instance` and `pod` of replica `a` are added, those of `b` where
a line begins with `b:`, those of a PodMonitor on aws-node where it begins with `aws-node:`. One sample a minute,
in promtool's notation: `0x4` is five zeros, `0+2x3` is 0 2 4 6, `_x3` are three without a sample. The cases of
an alert are clusters of one test; each is named by what it shows.
"""

import re

LONG = 200
NODE_INFO = f"""
vpccni_node_info{{node="n1",zone="us-west-2a",nodegroup="web",ip_family="ipv4"}} 1x{LONG}
vpccni_node_info{{node="n2",zone="us-west-2b",nodegroup="web",ip_family="ipv4"}} 1x{LONG}
"""


def every(minutes, begins=0, samples=LONG):
    """A counter that gains one every so many minutes."""
    return " ".join(str(max(0, at - begins) // minutes) for at in range(samples))


class Case:
    """Where the alert fires: series, a time when it is pending, one when it fires, and the description; where need be its
    labels besides `cluster` and `severity`, and for an event a time up to which it fires, and one when that is over.
    Where it is silent: what that shows, series, a time. `birth`: series, a time. `also`: as `silent`, but it fires.
    `hours`: evaluated every ten minutes. `alone`: the alert knows no cluster."""

    def __init__(
        self, series, pending, fires, says, silent,
        labels=None, until=(), birth=None, also=(), hours=False, alone=False,
    ):
        self.series, self.pending, self.fires, self.says = series, pending, fires, says
        self.labels, self.until, self.silent, self.birth, self.also = labels or {}, until, silent, birth, also
        self.hours, self.alone = hours, alone


CASES = {
    # ------------------------------------------------------------------------------------ capacity
    "VpcCniManyPodsRefusedAddresses": Case(
        NODE_INFO + """
        vpccni_cluster_ip_requests_refused_total 0x10 0+6.4x60
        vpccni_cluster_cni_add_requests_total 0+60x70
        awscni_no_available_ip_addresses{node="n1"} 0x10 0+2x60
        awscni_no_available_ip_addresses{node="n2"} 0x10 0+4.4x60
        awscni_no_available_ip_addresses{node="n3"} 0x70
        vpccni_cluster_nodes_growth_blocked{reason="subnet"} 2x70
        vpccni_cluster_nodes_growth_blocked{reason="max_pods"} 1x70
        vpccni_cluster_nodes_growth_blocked{reason="api"} 0x70
        aws-node: awscni_no_available_ip_addresses{node="n3"} 0+50x70
        """,
        "22m", "30m",
        "ipamd refused an address 32 times in five minutes, more than one request in ten, and has for ten minutes."
        " Most at: n2 (us-west-2b), n1 (us-west-2a). Why nodes cannot grow: subnet (2), max_pods (1).",
        silent=[
            ("one pod that asks again and again", """
            vpccni_cluster_ip_requests_refused_total 0+5.6x60
            vpccni_cluster_cni_add_requests_total 0+5.6x60
            """, "40m"),
            ("few among many requests", """
            vpccni_cluster_ip_requests_refused_total 0+6.4x60
            vpccni_cluster_cni_add_requests_total 0+68x60
            """, "40m"),
            ("a burst of new pods that found their addresses", """
            vpccni_cluster_ip_requests_refused_total 0x20 100 200 200x60
            vpccni_cluster_cni_add_requests_total 0x20 150 300 300x60
            """, "29m"),
        ],
    ),
    "VpcCniPodsRefusedAddresses": Case(
        NODE_INFO + f"""
        vpccni_cluster_ip_requests_refused_total {every(4, 10)}
        awscni_no_available_ip_addresses{{node="n1"}} {every(4, 10)}
        """,
        "28m", "40m",
        "ipamd refused an address 1 times in five minutes, and has in every five minutes of the last quarter of an"
        " hour. Most at: n1 (us-west-2a). Why nodes cannot grow: not known.",
        silent=[
            ("a burst", "vpccni_cluster_ip_requests_refused_total 0x20 100 200 200x60", "36m"),
            ("now and then", f"vpccni_cluster_ip_requests_refused_total {every(8)}", "60m"),
        ],
        birth=(f"vpccni_cluster_ip_requests_refused_total _x10 {every(3)}", "40m"),
    ),
    "VpcCniSubnetExhausted": Case(
        NODE_INFO + """
        vpccni_cluster_nodes_growth_blocked{reason="subnet"} 0x9 2x60
        vpccni_cluster_nodes{state="up"} 18x70
        vpccni_cluster_nodes{state="stale"} 1x70
        vpccni_cluster_nodes{state="failed"} 9x70
        vpccni_node_growth_blocked{node="n1",reason="max_pods"} 1x70
        vpccni_node_growth_blocked{node="n2",reason="subnet"} 1x70
        """,
        "18m", "21m",
        "2 nodes get no further address: EC2 has none in their subnets. The next pod there does not start, and new"
        " nodes in these subnets do not help. Among them: n2 (us-west-2b).",
        silent=[
            ("a tenth is not more than a tenth", """
            vpccni_cluster_nodes_growth_blocked{reason="subnet"} 2x60
            vpccni_cluster_nodes{state="up"} 20x60
            """, "40m"),
            ("other reasons", """
            vpccni_cluster_nodes_growth_blocked{reason="subnet"} 1x60
            vpccni_cluster_nodes_growth_blocked{reason="ceiling"} 9x60
            vpccni_cluster_nodes{state="up"} 18x60
            vpccni_cluster_nodes{state="missing"} 9x60
            """, "40m"),
            ("for nine minutes", """
            vpccni_cluster_nodes_growth_blocked{reason="subnet"} 0x9 9x8 0x60
            vpccni_cluster_nodes{state="up"} 18x80
            """, "20m"),
        ],
        also=[
            ("goes on while another replica takes over", """
            vpccni_cluster_nodes_growth_blocked{reason="subnet"} 3x30 stale
            vpccni_cluster_nodes{state="up"} 18x30 stale
            b: vpccni_cluster_nodes_growth_blocked{reason="subnet"} _x33 3x30
            b: vpccni_cluster_nodes{state="up"} _x33 18x30
            """, ("30m", "32m", "34m")),
        ],
    ),
    "VpcCniSubnetRefusesAddresses": Case(
        NODE_INFO + """
        vpccni_cluster_aws_api_errors_total{error="InsufficientCidrBlocks"} 0x70
        vpccni_cluster_aws_api_errors_total{error="InsufficientFreeAddressesInSubnet"} 0x9 1x60
        awscni_aws_api_error_count{node="n1"} 3x9 4x60
        """,
        "14m", "16m",
        "EC2 answered InsufficientFreeAddressesInSubnet 1 times in a quarter of an hour. Pods go on starting where"
        " nodes have warm addresses. Most EC2 errors at: n1 (us-west-2a).",
        labels={"error": "InsufficientFreeAddressesInSubnet"},
        until=("23m", "31m"),
        silent=[
            ("a full instance", 'vpccni_cluster_aws_api_errors_total{error="PrivateIpAddressLimitExceeded"} 0+1x60', "30m"),
            ("a restart with errors behind it",
             'vpccni_cluster_aws_api_errors_total{error="InsufficientCidrBlocks"} 70x20 0x60', "30m"),
            ("errors of aws-node that another job scrapes",
             'aws-node: vpccni_cluster_aws_api_errors_total{error="InsufficientCidrBlocks"} 0+1x60', "30m"),
        ],
        birth=('vpccni_cluster_aws_api_errors_total{error="InsufficientFreeAddressesInSubnet"} _x9 0 1x60', "17m"),
    ),
    "VpcCniGrowthDenied": Case(
        NODE_INFO + """
        vpccni_cluster_nodes_growth_blocked{reason="denied"} 0x9 2x60
        vpccni_cluster_nodes{state="up"} 18x70
        vpccni_cluster_nodes{state="stale"} 1x70
        vpccni_cluster_nodes{state="failed"} 9x70
        vpccni_node_growth_blocked{node="n1",reason="denied"} 1x70
        """,
        "18m", "21m",
        "2 nodes may not ask EC2 for addresses: a right is missing at the role of aws-node or of the nodes. The"
        " next pod there does not start. Among them: n1 (us-west-2a).",
        silent=[
            ("a tenth is not more than a tenth", """
            vpccni_cluster_nodes_growth_blocked{reason="denied"} 2x60
            vpccni_cluster_nodes{state="up"} 20x60
            """, "40m"),
            ("another reason", """
            vpccni_cluster_nodes_growth_blocked{reason="throttled"} 9x60
            vpccni_cluster_nodes{state="up"} 18x60
            """, "40m"),
        ],
    ),
    "VpcCniNodesCannotGrow": Case(
        NODE_INFO + """
        vpccni_cluster_nodes_growth_blocked{reason="throttled"} 0x9 1x60
        vpccni_cluster_nodes_growth_blocked{reason="subnet"} 0x70
        vpccni_node_growth_blocked{node="n1",reason="ceiling"} 1x70
        vpccni_node_growth_blocked{node="n2",reason="throttled"} _x10 1x60
        """,
        "23m", "26m",
        "1 nodes have no free address and do not grow, for the reason throttled. The runbook says what to do for each"
        " reason. Among them: n2 (us-west-2b).",
        labels={"reason": "throttled"},
        silent=[
            ("full nodes", """
            vpccni_cluster_nodes_growth_blocked{reason="max_pods"} 50x60
            vpccni_cluster_nodes_growth_blocked{reason="ceiling"} 50x60
            """, "40m"),
            ("for a moment", 'vpccni_cluster_nodes_growth_blocked{reason="api"} 0x9 5x13 0x30', "25m"),
        ],
    ),
    "VpcCniNodesFull": Case(
        """
        vpccni_cluster_nodes_growth_blocked{reason="max_pods"} 0x9 6x90
        vpccni_cluster_nodes_growth_blocked{reason="ceiling"} 0x9 5x90
        vpccni_cluster_nodes_growth_blocked{reason="subnet"} 3x99
        vpccni_cluster_nodes{state="up"} 21x99
        vpccni_cluster_nodes{state="failed"} 9x99
        """,
        "60m", "70m",
        "11 nodes have as many pods or addresses as they can have (max_pods (6), ceiling (5)). New pods need new"
        " nodes, of which the autoscaler has to take care.",
        silent=[
            ("a half is not more than a half", """
            vpccni_cluster_nodes_growth_blocked{reason="max_pods"} 10x90
            vpccni_cluster_nodes_growth_blocked{reason="subnet"} 9x90
            vpccni_cluster_nodes{state="up"} 20x90
            """, "80m"),
        ],
        hours=True,
    ),
    "VpcCniAddressesNearCeiling": Case(
        """
        vpccni_cluster_ip_utilization_ratio 0.5x9 0.91x60
        vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"} 910x70
        vpccni_cluster_ip_addresses_assigned{ip_family="ipv6"} 7x70
        """,
        "39m", "41m",
        "91% of the usable addresses of the nodes are in use, 910 in all. Without more nodes new pods will wait.",
        silent=[
            ("nearly", "vpccni_cluster_ip_utilization_ratio 0.89x60", "50m"),
            ("for a while", "vpccni_cluster_ip_utilization_ratio 0.5x9 0.95x28 0.5x30", "42m"),
            ("of nodes with IPv6", """
            vpccni_cluster_ip_addresses_assigned{ip_family="ipv6"} 100x60
            vpccni_cluster_ip_addresses_usable{ip_family="ipv6"} 100x60
            vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"} 0x60
            vpccni_cluster_ip_addresses_usable{ip_family="ipv4"} 0x60
            """, "50m"),
        ],
        also=[
            ("shards have no ratio", """
            vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"} 100x60
            vpccni_cluster_ip_addresses_usable{ip_family="ipv4"} 100x60
            b: vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"} 84x60
            b: vpccni_cluster_ip_addresses_usable{ip_family="ipv4"} 100x60
            """, ("40m",)),
        ],
    ),
    "VpcCniZoneNearCeiling": Case(
        NODE_INFO + """
        awscni_assigned_ip_addresses{node="n1"} 91x60
        vpccni_node_ip_addresses_usable{node="n1"} 100x60
        awscni_assigned_ip_addresses{node="n2"} 20x60
        vpccni_node_ip_addresses_usable{node="n2"} 100x60
        vpccni_cluster_ip_utilization_ratio 0.55x60
        """,
        "28m", "32m",
        "91% of the usable addresses of the nodes in us-west-2a are in use; other zones have room. Pods that"
        " have to run in this one (volumes, spread constraints) will wait.",
        labels={"zone": "us-west-2a"},
        silent=[
            ("nearly", NODE_INFO + """
            awscni_assigned_ip_addresses{node="n1"} 89x60
            vpccni_node_ip_addresses_usable{node="n1"} 100x60
            vpccni_cluster_ip_utilization_ratio 0.5x60
            """, "40m"),
            ("the whole cluster, which has an alert of its own", NODE_INFO + """
            awscni_assigned_ip_addresses{node="n1"} 95x60
            vpccni_node_ip_addresses_usable{node="n1"} 100x60
            vpccni_cluster_ip_utilization_ratio 0.95x60
            """, "40m"),
            ("pages of aws-node that another job scrapes", NODE_INFO + """
            aws-node: awscni_assigned_ip_addresses{node="n1"} 100x60
            aws-node: awscni_ip_max{node="n1"} 100x60
            awscni_assigned_ip_addresses{node="n1"} 10x60
            vpccni_node_ip_addresses_usable{node="n1"} 100x60
            vpccni_cluster_ip_utilization_ratio 0.1x60
            """, "40m"),
        ],
    ),
    "VpcCniAddressesRunOutWithinADay": Case(
        "vpccni_cluster_ip_utilization_ratio 0.4+0.0005x900",
        "760m", "810m",
        "80.5% of the usable addresses of the nodes are in use. Drawn on from the last six hours, and from the last"
        " day, this reaches all of them within 24 hours, unless nodes are added.",
        silent=[
            ("a history of some hours", "vpccni_cluster_ip_utilization_ratio 0.6+0.0005x700", "650m"),
            ("much and steady", "vpccni_cluster_ip_utilization_ratio 0.95x850", "840m"),
            ("little that grows", "vpccni_cluster_ip_utilization_ratio 0.3+0.00045x850", "840m"),
            ("a morning", "vpccni_cluster_ip_utilization_ratio 0.62x850 0.62+0.0006x310", "1150m"),
            ("an evening", "vpccni_cluster_ip_utilization_ratio 0.2+0.0007x650 0.655x310 0.71x100", "1030m"),
            ("a day too slow", "vpccni_cluster_ip_utilization_ratio 0.6+0.0001x1500", "1340m"),
            ("growth that stopped seven hours ago", "vpccni_cluster_ip_utilization_ratio 0.1+0.002x399 0.9x520", "800m"),
            ("growth of four hours", "vpccni_cluster_ip_utilization_ratio 0.1+0.0017x389 0.76x450 0.76+0.00025x250", "1090m"),
            ("back to where it was a day ago",
             "vpccni_cluster_ip_utilization_ratio 0.95-0.0009x359 0.62+0.00018x1100", "1440m"),
            ("growth of yesterday, and a morning",
             "vpccni_cluster_ip_utilization_ratio 0.1+0.0004x1439 0.68x1000 0.68+0.0004x300", "2680m"),
        ],
        also=[("just in a day", "vpccni_cluster_ip_utilization_ratio 0.6+0.00015x1500", ("1340m",))],
        hours=True,
    ),
    # ------------------------------------------------------------------------------------ EC2
    "VpcCniEc2Denied": Case(
        NODE_INFO + """
        vpccni_cluster_aws_api_errors_total{error="UnauthorizedOperation"} 0x9 2x60
        vpccni_cluster_aws_api_errors_total{error="AccessDenied"} 9x70
        vpccni_cluster_ec2_api_errors_total{fn="CreateNetworkInterface"} 0x9 2x60
        vpccni_cluster_ec2_api_errors_total{fn="DescribeSubnets"} 3x70
        awscni_aws_api_error_count{node="n2"} 1x9 2x60
        """,
        "14m", "16m",
        "EC2 answered UnauthorizedOperation 2 times in a quarter of an hour. Nodes get no addresses once their warm"
        " ones are used, and new nodes may not become ready. Calls that failed: CreateNetworkInterface (2). Most EC2"
        " errors at: n2 (us-west-2b).",
        labels={"error": "UnauthorizedOperation"},
        until=("23m", "31m"),
        silent=[
            ("another error", 'vpccni_cluster_aws_api_errors_total{error="RequestLimitExceeded"} 0+1x60', "30m"),
        ],
        birth=('vpccni_cluster_aws_api_errors_total{error="UnauthorizedOperation"} _x9 0 1x60', "17m"),
    ),
    "VpcCniEc2Throttled": Case(
        """
        vpccni_cluster_aws_api_errors_total{error="RequestLimitExceeded"} 0+0.5x80
        vpccni_cluster_aws_api_errors_total{error="ThrottlingException"} 0+0.3x80
        vpccni_cluster_aws_api_errors_total{error="InternalError"} 0+0.1x80
        vpccni_cluster_ec2_api_requests_total{fn="AssignPrivateIpAddresses"} 0+9x80
        vpccni_cluster_ec2_api_requests_total{fn="DescribeNetworkInterfaces"} 0+6x80
        """,
        "30m", "40m",
        "12 calls were throttled in a quarter of an hour, more than one in twenty: nodes get addresses late. What ipamd"
        " calls most: AssignPrivateIpAddresses (135), DescribeNetworkInterfaces (90).",
        silent=[
            ("few", """
            vpccni_cluster_aws_api_errors_total{error="RequestLimitExceeded"} 0+0.6x80
            vpccni_cluster_ec2_api_requests_total{fn="AssignPrivateIpAddresses"} 0+1x80
            """, "45m"),
            ("few among many calls", """
            vpccni_cluster_aws_api_errors_total{error="RequestLimitExceeded"} 0+0.8x80
            vpccni_cluster_ec2_api_requests_total{fn="AssignPrivateIpAddresses"} 0+17x80
            """, "45m"),
            ("other errors", """
            vpccni_cluster_aws_api_errors_total{error="InternalError"} 0+5x80
            vpccni_cluster_ec2_api_requests_total{fn="AssignPrivateIpAddresses"} 0+20x80
            """, "45m"),
            ("a burst", """
            vpccni_cluster_aws_api_errors_total{error="RequestLimitExceeded"} 0x20 50 100 100x60
            vpccni_cluster_ec2_api_requests_total{fn="AssignPrivateIpAddresses"} 0+1x80
            """, "36m"),
        ],
    ),
    "VpcCniEc2CallsFail": Case(
        NODE_INFO + """
        vpccni_cluster_aws_api_errors_total{error="InternalError"} 0+0.8x80
        vpccni_cluster_ec2_api_requests_total{fn="AttachNetworkInterface"} 0+7x80
        vpccni_cluster_ec2_api_errors_total{fn="AttachNetworkInterface"} 0+0.8x80
        awscni_aws_api_error_count{node="n1"} 0+0.8x80
        """,
        "30m", "40m",
        "12 calls ended with InternalError in a quarter of an hour, more than one in ten. Calls that failed:"
        " AttachNetworkInterface (12). Most EC2 errors at: n1 (us-west-2a).",
        labels={"error": "InternalError"},
        silent=[
            ("few", """
            vpccni_cluster_aws_api_errors_total{error="InternalError"} 0+0.6x80
            vpccni_cluster_ec2_api_requests_total{fn="AttachNetworkInterface"} 0+1x80
            """, "45m"),
            ("few among many calls", """
            vpccni_cluster_aws_api_errors_total{error="InternalError"} 0+0.8x80
            vpccni_cluster_ec2_api_requests_total{fn="AttachNetworkInterface"} 0+8.2x80
            """, "45m"),
            ("what has an alert of its own, or is usual", """
            vpccni_cluster_aws_api_errors_total{error="InsufficientCidrBlocks"} 0+5x80
            vpccni_cluster_aws_api_errors_total{error="UnauthorizedOperation"} 0+5x80
            vpccni_cluster_aws_api_errors_total{error="RequestLimitExceeded"} 0+5x80
            vpccni_cluster_aws_api_errors_total{error="EC2MetadataError"} 0+5x80
            vpccni_cluster_aws_api_errors_total{error="PrivateIpAddressLimitExceeded"} 0+5x80
            vpccni_cluster_ec2_api_requests_total{fn="AttachNetworkInterface"} 0+8x80
            """, "45m"),
            ("a burst", """
            vpccni_cluster_aws_api_errors_total{error="InternalError"} 0x20 50 100 100x60
            vpccni_cluster_ec2_api_requests_total{fn="AttachNetworkInterface"} 0+1x80
            """, "36m"),
        ],
    ),
    # ------------------------------------------------------------------------------------ ipamd
    "VpcCniIpamdErrors": Case(
        NODE_INFO + """
        vpccni_cluster_ipamd_errors_total{fn="unExpectedMaxENIAttached"} 0+0.8x80
        vpccni_cluster_nodes{state="up"} 200x80
        vpccni_cluster_nodes{state="failed"} 10x80
        awscni_ipamd_error_count{node="n1"} 0+0.1x80
        awscni_ipamd_error_count{node="n2"} 0+0.7x80
        """,
        "30m", "40m",
        "12 errors in unExpectedMaxENIAttached in a quarter of an hour, and they go on. Most errors of ipamd at:"
        " n2 (us-west-2b), n1 (us-west-2a).",
        labels={"fn": "unExpectedMaxENIAttached"},
        silent=[
            ("few", """
            vpccni_cluster_ipamd_errors_total{fn="unExpectedMaxENIAttached"} 0+0.6x80
            vpccni_cluster_nodes{state="up"} 3x80
            """, "45m"),
            ("few for so many nodes", """
            vpccni_cluster_ipamd_errors_total{fn="unExpectedMaxENIAttached"} 0+0.8x80
            vpccni_cluster_nodes{state="up"} 260x80
            """, "45m"),
            ("what EC2 refused", """
            vpccni_cluster_ipamd_errors_total{fn="increaseIPPoolAllocIPAddressesFailed"} 0+9x80
            vpccni_cluster_nodes{state="up"} 3x80
            """, "45m"),
        ],
    ),
    "VpcCniForcedRemovals": Case(
        NODE_INFO + """
        vpccni_cluster_forced_ip_removals_total 0x9 4x60
        vpccni_cluster_forced_eni_removals_total 0x9 1x60
        awscni_force_removed_ips{node="n1"} 0x9 4x60
        awscni_force_removed_enis{node="n1"} 0x9 1x60
        awscni_force_removed_ips{node="n2"} 30x70
        awscni_force_removed_enis{node="n2"} 3x70
        """,
        "10m", "11m",
        "EC2 no longer had what pods used, and ipamd let go of 4 addresses and 1 network interfaces in half an"
        " hour. These pods have no network until they are deleted. At: n1 (us-west-2a).",
        until=("38m", "46m"),
        silent=[
            ("a take-over: another process counts from zero", """
            vpccni_cluster_forced_ip_removals_total 40x20 stale
            vpccni_cluster_forced_eni_removals_total 7x20 stale
            b: vpccni_cluster_forced_ip_removals_total _x20 0x60
            b: vpccni_cluster_forced_eni_removals_total _x20 0x60
            """, "25m"),
        ],
        birth=("""
        vpccni_cluster_forced_ip_removals_total _x9 0 1x60
        vpccni_cluster_forced_eni_removals_total _x9 0 0x60
        """, "13m"),
    ),
    "VpcCniReconcileRepairs": Case(
        """
        vpccni_cluster_reconcile_repairs_total{fn="eniReconcileDel"} 0+0.4x150
        vpccni_cluster_nodes{state="up"} 40x150
        """,
        "80m", "100m",
        "24 corrections by eniReconcileDel in an hour, more than one for every two nodes; none is healthy."
        " Something else changes the nodes' interfaces or addresses, or EC2 answers late.",
        labels={"fn": "eniReconcileDel"},
        silent=[
            ("few", """
            vpccni_cluster_reconcile_repairs_total{fn="eniReconcileDel"} 0+0.3x150
            vpccni_cluster_nodes{state="up"} 10x150
            """, "110m"),
            ("few for so many nodes", """
            vpccni_cluster_reconcile_repairs_total{fn="eniReconcileDel"} 0+0.4x150
            vpccni_cluster_nodes{state="up"} 52x150
            """, "110m"),
        ],
        hours=True,
    ),
    "VpcCniPodEniErrors": Case(
        NODE_INFO + """
        vpccni_cluster_pod_eni_errors_total{fn="askForTrunkENIIfNeeded"} 3x70
        vpccni_cluster_pod_eni_errors_total{fn="nodeInit"} 0x9 2x60
        awscni_pod_eni_error_count{node="n1"} 3x9 5x60
        """,
        "10m", "11m",
        "2 errors in nodeInit in half an hour. Pods that a SecurityGroupPolicy selects stay pending on these nodes:"
        " n1 (us-west-2a).",
        labels={"fn": "nodeInit"},
        until=("38m", "46m"),
        silent=[("a restart with errors behind it", 'vpccni_cluster_pod_eni_errors_total{fn="nodeInit"} 70x20 0x60', "25m")],
        birth=('vpccni_cluster_pod_eni_errors_total{fn="nodeInit"} _x9 0 1x60', "13m"),
    ),
    "VpcCniConnmarkErrors": Case(
        f"""
        vpccni_cluster_connmark_reconciliations_total{{result="error"}} {every(10, 5)}
        vpccni_cluster_connmark_reconciliations_total{{result="success"}} 0+9x90
        """,
        "30m", "60m",
        "1 times in a quarter of an hour the rules that mark connections could not be set, and it goes on. On such"
        " nodes pods may not reach what is outside the VPC.",
        silent=[
            ("once", 'vpccni_cluster_connmark_reconciliations_total{result="error"} 0x9 5x60', "24m"),
            ("those that succeed", 'vpccni_cluster_connmark_reconciliations_total{result="success"} 0+9x60', "40m"),
        ],
        birth=(f'vpccni_cluster_connmark_reconciliations_total{{result="error"}} _x9 {every(5)}', "50m"),
    ),
    "VpcCniInterfacesLeftBehind": Case(
        'vpccni_cluster_aws_utils_errors_total{fn="cleanUpLeakedENIDeleteErr"} 0x9 0+0.1x150',
        "70m", "80m",
        "6 errors in cleanUpLeakedENIDeleteErr in an hour. Interfaces that are left behind keep addresses of their"
        " subnet.",
        labels={"fn": "cleanUpLeakedENIDeleteErr"},
        silent=[
            ("few", 'vpccni_cluster_aws_utils_errors_total{fn="FreeENIDeleteErr"} 0+0.08x150', "90m"),
            ("another error", 'vpccni_cluster_aws_utils_errors_total{fn="UnknownInstanceType"} 0+1x150', "90m"),
        ],
        hours=True,
    ),
    "VpcCniVersionSkew": Case(
        """
        vpccni_cluster_nodes_by_cni_version{version="v1.20.4"} 3x9 1x400
        vpccni_cluster_nodes_by_cni_version{version="v1.23.1"} 0x9 2x400
        vpccni_cluster_nodes_by_cni_version{version="other"} 0x410
        vpccni_cluster_nodes_by_cni_version{version="unknown"} 1x410
        """,
        "360m", "380m",
        "2 versions: v1.23.1 (2), v1.20.4 (1). A rollout has stopped on the way.",
        silent=[
            ("one version, and nodes that do not tell theirs", """
            vpccni_cluster_nodes_by_cni_version{version="v1.23.1"} 2x400
            vpccni_cluster_nodes_by_cni_version{version="v1.20.4"} 0x400
            vpccni_cluster_nodes_by_cni_version{version="unknown"} 3x400
            """, "390m"),
            ("a rollout of five hours", """
            vpccni_cluster_nodes_by_cni_version{version="v1.20.4"} 3x9 1x300 0x60
            vpccni_cluster_nodes_by_cni_version{version="v1.23.1"} 0x9 2x300 3x60
            """, "370m"),
        ],
        hours=True,
    ),
    # ------------------------------------------------------------------------------------ nodes
    "VpcCniNodesFailed": Case(
        NODE_INFO + """
        vpccni_cluster_nodes{state="failed"} 0x9 1x60
        vpccni_cluster_nodes{state="up"} 20x70
        vpccni_node_scrape_success{node="n1"} 1x70
        vpccni_node_scrape_success{node="n2"} 1x9 0x60
        """,
        "24m", "26m",
        "1 nodes are in no sum; where aws-node itself is down no pod starts. Among those that do not answer:"
        " n2 (us-west-2b). Each one's reason in words: /api/v1/nodes?state=failed.",
        silent=[
            ("a reboot", 'vpccni_cluster_nodes{state="failed"} 0x9 1x13 0x60', "26m"),
            ("other states", """
            vpccni_cluster_nodes{state="failed"} 0x60
            vpccni_cluster_nodes{state="stale"} 2x60
            vpccni_cluster_nodes{state="missing"} 2x60
            """, "30m"),
        ],
    ),
    "VpcCniManyNodesFailed": Case(
        NODE_INFO + """
        vpccni_cluster_nodes{state="up"} 9x9 7x60
        vpccni_cluster_nodes{state="failed"} 0x9 1x60
        vpccni_cluster_nodes{state="missing"} 0x9 1x60
        vpccni_exporter_scrapes_total{outcome="ok"} 0+9x70
        vpccni_exporter_scrapes_total{outcome="refused"} 0+2x70
        vpccni_exporter_scrapes_total{outcome="timeout"} 0+1x70
        vpccni_node_scrape_success{node="n1"} 0x70
        """,
        "19m", "22m",
        "22.22% of the nodes have no figures. Either aws-node is down there, and no pod starts, or the exporter"
        " cannot reach it. Scrapes that failed in ten minutes: refused (20), timeout (10). Among the nodes: n1"
        " (us-west-2a).",
        silent=[
            ("a fifth is not more than a fifth", """
            vpccni_cluster_nodes{state="up"} 12x60
            vpccni_cluster_nodes{state="failed"} 2x60
            vpccni_cluster_nodes{state="missing"} 1x60
            """, "30m"),
            ("one of a few", """
            vpccni_cluster_nodes{state="up"} 1x60
            vpccni_cluster_nodes{state="failed"} 1x60
            """, "30m"),
            ("values that stand", """
            vpccni_cluster_nodes{state="up"} 1x60
            vpccni_cluster_nodes{state="stale"} 9x60
            vpccni_cluster_nodes{state="failed"} 0x60
            """, "30m"),
        ],
    ),
    "VpcCniNodesStale": Case(
        """
        vpccni_cluster_nodes{state="stale"} 0x9 1x60
        vpccni_cluster_nodes{state="up"} 18x70
        """,
        "23m", "26m",
        "1 nodes at a time stand with their last good values, because their newest scrape failed: see"
        " /api/v1/nodes. They recover, and fail again or others do.",
        silent=[
            ("one in twenty", """
            vpccni_cluster_nodes{state="stale"} 1x60
            vpccni_cluster_nodes{state="up"} 19x60
            """, "30m"),
        ],
    ),
    "VpcCniNodesMissing": Case(
        """
        vpccni_cluster_nodes{state="missing"} 0x9 1x60
        vpccni_cluster_nodes{state="up"} 18x70
        """,
        "23m", "26m",
        "1 nodes should run aws-node and do not: pods that need an address do not start there. Which ones:"
        " /api/v1/nodes?state=missing.",
        silent=[("a node that joins", 'vpccni_cluster_nodes{state="missing"} 0x9 2x13 0x60', "26m")],
    ),
    "VpcCniScrapesTimeOut": Case(
        """
        vpccni_exporter_scrapes_total{outcome="ok"} 0+26x40 1040x9 1075+35x60
        vpccni_exporter_scrapes_total{outcome="timeout"} 0+8x40 355+35x9 670x60
        vpccni_exporter_scrapes_total{outcome="unreachable"} 0+1x40 40x70
        """,
        "9m", "13m",
        "25.71% of the scrapes time out or have no route. The nodes' security groups have to allow TCP 61678 from where"
        " the exporter runs. Among the nodes: see /api/v1/nodes.",
        # All time out for ten minutes, and none afterwards: three of them are left after seven, and the alert stays for five.
        until=("61m", "63m"),
        silent=[
            ("nearly", """
            vpccni_exporter_scrapes_total{outcome="ok"} 0+28x60
            vpccni_exporter_scrapes_total{outcome="timeout"} 0+8x60
            vpccni_exporter_scrapes_total{outcome="unreachable"} 0+1x60
            """, "30m"),
            ("nobody listens, which is no security group's fault", """
            vpccni_exporter_scrapes_total{outcome="ok"} 0+1x60
            vpccni_exporter_scrapes_total{outcome="refused"} 0+9x60
            """, "30m"),
        ],
    ),
    # ------------------------------------------------------------------------------------ exporter
    "VpcCniExporterAbsent": Case(
        """
        up 1x9 0x60
        b: up 1x9 stale
        aws-node: up{node="n1"} 1x70
        """,
        "24m", "26m",
        "For a quarter of an hour no exporter with the job of these rules has answered. No other alert about pod"
        " addresses can fire.",
        silent=[
            ("one answers", "up 0x60\nb: up 1x60", "30m"),
            ("a restart", "up 1x9 0x13 1x30", "26m"),
        ],
        alone=True,
    ),
    "VpcCniExporterDown": Case(
        "up 1x9 0x60\nb: up 1x70",
        "18m", "21m",
        "Prometheus cannot scrape a:61681. Where it is the only one there are no figures; where there are several,"
        " one less can take over.",
        labels={"instance": "a:61681"},
        silent=[("a restart", "up 1x9 0x8 1x30", "20m"), ("another job", "aws-node: up 0x60", "30m")],
    ),
    "VpcCniNobodyServesData": Case(
        "vpccni_exporter_leader 1x9 0x60\nb: vpccni_exporter_leader 0x70",
        # Two minutes without a leader, and five more.
        "15m", "16m",
        "Exporters run, but 0 of 1 may serve. Figures of the cluster or of a part of its nodes are absent, and no alert"
        " about them can fire. /readyz of each exporter says why.",
        silent=[
            ("one leads", "vpccni_exporter_leader 0x60\nb: vpccni_exporter_leader 1x60", "30m"),
            ("a take-over that takes minutes", "vpccni_exporter_leader 1x9 0x60\nb: vpccni_exporter_leader 0x13 1x30", "17m"),
            ("one that loses the API server again and again", f"vpccni_exporter_leader {'1 0 ' * 25}", "30m"),
            ("a take-over", "vpccni_exporter_leader 1x9 stale\nb: vpccni_exporter_leader 0x11 1x30", "18m"),
        ],
    ),
    "VpcCniSeveralServeData": Case(
        "vpccni_exporter_leader 1x60\nb: vpccni_exporter_leader 0x9 1x60",
        "23m", "26m",
        "2 processes serve data where 1 should. Either the election is off with several replicas, or Prometheus"
        " scrapes one exporter by several jobs.",
        silent=[
            ("one leads", "vpccni_exporter_leader 1x60\nb: vpccni_exporter_leader 0x60", "30m"),
            ("take-overs", "vpccni_exporter_leader 1x9 0x3 1x60\nb: vpccni_exporter_leader 0x9 1x3 0x60", "25m"),
        ],
    ),
    "VpcCniLeaderChangesOften": Case(
        """
        vpccni_exporter_leader 1x15 0x7 1x23 0x9 1x60
        b: vpccni_exporter_leader 0x15 1x7 0x23 1x9 0x60
        """,
        "62m", "70m",
        "The right to serve was taken or lost 8 times in an hour. With each take-over figures are absent for some"
        " seconds and counters begin at zero; what happened in between is in none.",
        # An hour after the first take-over the other three are left.
        until=("74m", "76m"),
        silent=[
            ("three take-overs in an hour", """
            vpccni_exporter_leader 1x15 0x7 1x23 0x60
            b: vpccni_exporter_leader 0x15 1x7 0x23 1x60
            """, "62m"),
        ],
    ),
    "VpcCniNoView": Case(
        """
        vpccni_exporter_view_generation 0x60
        vpccni_exporter_leader 1x60
        b: vpccni_exporter_view_generation 0x60
        b: vpccni_exporter_leader 0x60
        """,
        "14m", "16m",
        "It leads, but it has not read all sources of nodes once, or its first round has not closed. There are no"
        " figures of the cluster, and no alert about them can fire. /readyz says what it waits for.",
        labels={"instance": "a:61681"},
        silent=[
            ("a start", "vpccni_exporter_view_generation 0x13 5+3x60\nvpccni_exporter_leader 1x60", "16m"),
            ("one that stands by", "vpccni_exporter_view_generation 0x60\nvpccni_exporter_leader 0x60", "30m"),
        ],
    ),
    "VpcCniViewStale": Case(
        "vpccni_exporter_view_age_seconds 3x9 95x60\nb: vpccni_exporter_view_age_seconds 5x70",
        "13m", "16m",
        "What it serves was made 1m 35s ago, and a new view is due every 30 s. The process has too little CPU, or a"
        " part of it has stopped.",
        labels={"instance": "a:61681"},
        silent=[
            ("nearly", "vpccni_exporter_view_age_seconds 85x60", "30m"),
            ("no view yet", f"vpccni_exporter_view_age_seconds {' '.join(['NaN'] * 60)}", "30m"),
        ],
    ),
    "VpcCniNoTargets": Case(
        "vpccni_exporter_targets 5x9 0x60\nb: vpccni_exporter_targets 5x9 0x60",
        "23m", "26m",
        "It finds no aws-node that can be scraped: another namespace or other labels, an empty file of targets, or a"
        " cluster whose nodes run none (EKS Auto Mode, Fargate).",
        silent=[
            ("one shard has none", "vpccni_exporter_targets 0x60\nb: vpccni_exporter_targets 1x60", "30m"),
            ("a start", "vpccni_exporter_targets 0x13 5x60", "16m"),
        ],
    ),
    "VpcCniRoundsSlow": Case(
        "vpccni_exporter_round_answered_duration_seconds 30x9 46x60",
        "23m", "26m",
        "It took 46s until the last node of a round had answered; a round begins every 30 s. Figures are older than"
        " they seem.",
        labels={"instance": "a:61681"},
        silent=[
            ("nearly", "vpccni_exporter_round_answered_duration_seconds 44x60", "30m"),
            ("the first round", "vpccni_exporter_round_answered_duration_seconds 90x3 30x60", "16m"),
        ],
    ),
    "VpcCniScrapesDelayed": Case(
        """
        vpccni_exporter_scrape_delay_seconds_bucket{le="0.5"} 0+985x30 30500+950x9 40050+1000x60
        vpccni_exporter_scrape_delay_seconds_bucket{le="1"} 0+989x30 30620+950x9 40170+1000x60
        vpccni_exporter_scrape_delay_seconds_bucket{le="5"} 0+1000x100
        vpccni_exporter_scrape_delay_seconds_bucket{le="+Inf"} 0+1000x100
        """,
        "14m", "30m",
        "One scrape in a hundred begins 1.364s or more behind its slot: too few may be under way at once, or the"
        " process has too little CPU.",
        labels={"instance": "a:61681"},
        # One in twenty for ten minutes, and none afterwards: two of these minutes have to be left.
        until=("47m", "48m"),
        silent=[
            ("nearly", """
            vpccni_exporter_scrape_delay_seconds_bucket{le="0.5"} 0+985x60
            vpccni_exporter_scrape_delay_seconds_bucket{le="1"} 0+991x60
            vpccni_exporter_scrape_delay_seconds_bucket{le="5"} 0+1000x60
            vpccni_exporter_scrape_delay_seconds_bucket{le="+Inf"} 0+1000x60
            """, "30m"),
            ("a start: all at once", """
            vpccni_exporter_scrape_delay_seconds_bucket{le="0.5"} 0+100x60
            vpccni_exporter_scrape_delay_seconds_bucket{le="1"} 0+100x60
            vpccni_exporter_scrape_delay_seconds_bucket{le="5"} 0 500+100x59
            vpccni_exporter_scrape_delay_seconds_bucket{le="+Inf"} 0 500+100x59
            """, "18m"),
        ],
    ),
    "VpcCniKubernetesRightsMissing": Case(
        """
        vpccni_exporter_kubernetes_missing_rule{resource="nodes"} 0x9 1x60
        vpccni_exporter_kubernetes_missing_rule{resource="pods"} 0x70
        b: vpccni_exporter_kubernetes_missing_rule{resource="nodes"} 0x9 1x60
        """,
        "13m", "16m",
        "Without pods or nodes it does not notice which come and go, without daemonsets it cannot tell an empty"
        " cluster from a wrong selector, without leases nobody serves, without pods/proxy nothing is scraped by that"
        " route.",
        labels={"resource": "nodes"},
        silent=[("mended at once", 'vpccni_exporter_kubernetes_missing_rule{resource="nodes"} 0x9 1x3 0x60', "16m")],
    ),
    "VpcCniKubernetesWatchFails": Case(
        """
        vpccni_exporter_kubernetes_watch_errors_total{resource="pods",reason="unreachable"} 0+0.4x60
        b: vpccni_exporter_kubernetes_watch_errors_total{resource="pods",reason="unreachable"} 0+0.2x60
        """,
        "14m", "30m",
        "6 watches or listings of pods failed in ten minutes as unreachable. What was known stays; nodes that join"
        " are not scraped until it works.",
        labels={"resource": "pods", "reason": "unreachable"},
        silent=[
            ("few", 'vpccni_exporter_kubernetes_watch_errors_total{resource="pods",reason="server"} 0+0.4x60', "30m"),
            ("what is usual or has an alert of its own", """
            vpccni_exporter_kubernetes_watch_errors_total{resource="pods",reason="gone"} 0+9x60
            vpccni_exporter_kubernetes_watch_errors_total{resource="pods",reason="forbidden"} 0+9x60
            """, "30m"),
        ],
    ),
    "VpcCniDiscoveryFileBroken": Case(
        """
        vpccni_exporter_discovery_file_reads_total{result="error"} 0x9 0+0.25x60
        vpccni_exporter_discovery_file_reads_total{result="ok"} 0+2x70
        """,
        "19m", "30m",
        "1 readings failed in five minutes, and they go on failing. The file's last good targets stay; what it says"
        " now is not scraped. The log names the file and the reason.",
        labels={"instance": "a:61681"},
        silent=[
            ("half written, once", 'vpccni_exporter_discovery_file_reads_total{result="error"} 0x9 1x60', "20m"),
            ("good ones", 'vpccni_exporter_discovery_file_reads_total{result="ok"} 0+2x60', "30m"),
        ],
        birth=('vpccni_exporter_discovery_file_reads_total{result="error"} _x9 0+1x60', "30m"),
    ),
    "VpcCniTargetsDropped": Case(
        "vpccni_exporter_discovery_targets_dropped 0x9 1x60\nb: vpccni_exporter_discovery_targets_dropped 0x9 1x60",
        "38m", "41m",
        "1 targets have the name or the address of another one, and are not scraped. The log names the first of them.",
        silent=[("a node that was replaced", "vpccni_exporter_discovery_targets_dropped 0x9 1x25 0x60", "30m")],
    ),
    "VpcCniConnectionsRefused": Case(
        f'vpccni_exporter_http_connections_refused_total{{reason="max_connections"}} {every(8)}',
        "20m", "44m",
        "1 connections were turned away in ten minutes, and it goes on: Prometheus or probes may be among them.",
        labels={"instance": "a:61681", "reason": "max_connections"},
        silent=[
            ("a burst", 'vpccni_exporter_http_connections_refused_total{reason="max_connections"} 0x9 40x60', "19m"),
            ("seldom", f'vpccni_exporter_http_connections_refused_total{{reason="accept"}} {every(14)}', "60m"),
        ],
        birth=(f'vpccni_exporter_http_connections_refused_total{{reason="accept"}} _x9 {every(3)}', "30m"),
    ),
    "VpcCniSamplesNotFinite": Case(
        f'vpccni_exporter_dropped_samples_total{{rule="non_finite"}} {every(8)}',
        "20m", "28m",
        "1 samples in ten minutes were NaN, infinite or negative counters. They are in no sum, so that sums may be"
        " too low by them.",
        silent=[
            ("once", 'vpccni_exporter_dropped_samples_total{rule="non_finite"} 0x9 4x60', "19m"),
            ("rows that were added up", 'vpccni_exporter_dropped_samples_total{rule="folded"} 0+40x60', "30m"),
        ],
        birth=('vpccni_exporter_dropped_samples_total{rule="non_finite"} _x9 0+1x60', "30m"),
    ),
    # ------------------------------------------------------------------------------------ mirror
    "VpcCniMirrorRefused": Case(
        """
        vpccni_exporter_mirror_state{outlet="put",state="refused"} 0x9 1x60
        vpccni_exporter_mirror_state{outlet="put",state="leading"} 1x9 0x60
        b: vpccni_exporter_mirror_state{outlet="put",state="refused"} 0x9 1x60
        vpccni_exporter_mirror_state{outlet="logs",state="off"} 1x70
        vpccni_exporter_mirror_failures_total{outlet="put",reason="forbidden"} 0+1x70
        vpccni_exporter_mirror_failures_total{outlet="logs",reason="throttled"} 0+1x70
        """,
        "18m", "21m",
        "CloudWatch has no data, and its alarms do not watch. Failures in a quarter of an hour: forbidden (15)."
        " What waits is sent later under its own time, as far as --mirror.queue reaches. /api/v1/status has the"
        " reason in words.",
        labels={"outlet": "put"},
        silent=[
            ("states that are right", """
            vpccni_exporter_mirror_state{outlet="put",state="refused"} 0x60
            vpccni_exporter_mirror_state{outlet="put",state="leading"} 1x60
            b: vpccni_exporter_mirror_state{outlet="put",state="following"} 1x60
            """, "30m"),
            ("throttled for some minutes", 'vpccni_exporter_mirror_state{outlet="put",state="refused"} 0x9 1x8 0x60', "20m"),
        ],
    ),
    "VpcCniMirrorLags": Case(
        """
        vpccni_exporter_mirror_lag_seconds{outlet="put"} 60+60x60
        b: vpccni_exporter_mirror_lag_seconds{outlet="put"} 90x60
        """,
        "18m", "24m",
        "The oldest interval that waits to be sent began 25m 0s ago. CloudWatch has no data since then, and its"
        " alarms do not watch.",
        labels={"outlet": "put"},
        silent=[
            ("minutes behind", 'vpccni_exporter_mirror_lag_seconds{outlet="put"} 590x60', "30m"),
            ("an outage that is over", 'vpccni_exporter_mirror_lag_seconds{outlet="put"} 60+60x17 0x60', "20m"),
        ],
    ),
    "VpcCniMirrorDropsPoints": Case(
        """
        vpccni_exporter_mirror_points_dropped_total{outlet="put",reason="queue_full"} 0x9 20x60
        vpccni_exporter_mirror_points_dropped_total{outlet="put",reason="too_old"} 5x70
        """,
        "10m", "11m",
        "20 points of a quarter of an hour will never be in CloudWatch, for the reason queue_full.",
        labels={"outlet": "put", "reason": "queue_full"},
        until=("23m", "26m"),
        silent=[
            ("left out for their price", 'vpccni_exporter_mirror_points_dropped_total{outlet="put",reason="cap"} 0+9x60', "30m"),
        ],
        birth=('vpccni_exporter_mirror_points_dropped_total{outlet="put",reason="rejected"} _x9 0 1x60', "13m"),
    ),
    "VpcCniMirrorCapped": Case(
        'vpccni_exporter_mirror_points_dropped_total{outlet="logs",reason="cap"} 0+2x60',
        "9m", "40m",
        "60 points in half an hour were over --mirror.max-billed-metrics. The metrics that came first are still sent.",
        labels={"outlet": "logs"},
        silent=[
            ("lost for another reason",
             'vpccni_exporter_mirror_points_dropped_total{outlet="logs",reason="rejected"} 0+2x60', "30m"),
        ],
        birth=('vpccni_exporter_mirror_points_dropped_total{outlet="logs",reason="cap"} _x9 0 1x60', "25m"),
    ),
}

# ------------------------------------------------------------------------------------------ whole clusters

# Every series that an alert reads, where nothing is wrong. `=` is a gauge, `+` a counter and what it gains a minute,
# besides what it has had from before. Data is served by one replica, self by each.
DATA = """
vpccni_cluster_ip_requests_refused_total +0
vpccni_cluster_cni_add_requests_total +12
vpccni_cluster_nodes_growth_blocked{reason="subnet"} =0
vpccni_cluster_nodes_growth_blocked{reason="denied"} =0
vpccni_cluster_nodes_growth_blocked{reason="throttled"} =0
vpccni_cluster_nodes_growth_blocked{reason="api"} =0
vpccni_cluster_nodes_growth_blocked{reason="unknown"} =0
vpccni_cluster_nodes_growth_blocked{reason="ceiling"} =0
vpccni_cluster_nodes_growth_blocked{reason="max_pods"} =2
vpccni_cluster_nodes{state="up"} =19
vpccni_cluster_nodes{state="stale"} =1
vpccni_cluster_nodes{state="failed"} =0
vpccni_cluster_nodes{state="missing"} =0
vpccni_cluster_ip_utilization_ratio =0.72
vpccni_cluster_ip_addresses_assigned{ip_family="ipv4"} =720
vpccni_cluster_ip_addresses_usable{ip_family="ipv4"} =1000
vpccni_cluster_aws_api_errors_total{error="InsufficientFreeAddressesInSubnet"} +0
vpccni_cluster_aws_api_errors_total{error="InsufficientCidrBlocks"} +0
vpccni_cluster_aws_api_errors_total{error="UnauthorizedOperation"} +0
vpccni_cluster_aws_api_errors_total{error="RequestLimitExceeded"} +0.2
vpccni_cluster_aws_api_errors_total{error="EC2MetadataError"} +4
vpccni_cluster_aws_api_errors_total{error="InternalError"} +0.1
vpccni_cluster_ec2_api_requests_total{fn="AssignPrivateIpAddresses"} +10
vpccni_cluster_ec2_api_errors_total{fn="AssignPrivateIpAddresses"} +0.3
vpccni_cluster_aws_api_latency_seconds_sum{api="AssignPrivateIpAddresses",error="false"} +2
vpccni_cluster_aws_api_latency_seconds_count{api="AssignPrivateIpAddresses",error="false"} +10
vpccni_cluster_ipamd_errors_total{fn="unExpectedMaxENIAttached"} +0.1
vpccni_cluster_ipamd_errors_total{fn="increaseIPPoolAllocIPAddressesFailed"} +2
vpccni_cluster_forced_ip_removals_total +0
vpccni_cluster_forced_eni_removals_total +0
vpccni_cluster_reconcile_repairs_total{fn="eniReconcileAdd"} +0.1
vpccni_cluster_pod_eni_errors_total{fn="nodeInit"} +0
vpccni_cluster_connmark_reconciliations_total{result="error"} +0
vpccni_cluster_connmark_reconciliations_total{result="success"} +40
vpccni_cluster_aws_utils_errors_total{fn="FreeENIDeleteErr"} +0
vpccni_cluster_nodes_by_cni_version{version="v1.23.1"} =20
vpccni_cluster_nodes_by_cni_version{version="other"} =0
vpccni_node_info{node="n1",zone="us-west-2a",nodegroup="web",ip_family="ipv4"} =1
vpccni_node_info{node="n2",zone="us-west-2b",nodegroup="batch",ip_family="ipv4"} =1
vpccni_node_scrape_success{node="n1"} =1
vpccni_node_scrape_success{node="n2"} =0
awscni_assigned_ip_addresses{node="n1"} =70
awscni_assigned_ip_addresses{node="n2"} =74
vpccni_node_ip_addresses_usable{node="n1"} =100
vpccni_node_ip_addresses_usable{node="n2"} =100
awscni_no_available_ip_addresses{node="n1"} +0
awscni_aws_api_error_count{node="n1"} +1
awscni_ipamd_error_count{node="n1"} +1
awscni_pod_eni_error_count{node="n1"} +0
awscni_force_removed_ips{node="n1"} +0
awscni_force_removed_enis{node="n1"} +0
"""
SELF = """
up =1
vpccni_exporter_view_generation +400
vpccni_exporter_view_age_seconds =4
vpccni_exporter_targets =20
vpccni_exporter_round_answered_duration_seconds =31
vpccni_exporter_scrape_delay_seconds_bucket{le="0.5"} +40
vpccni_exporter_scrape_delay_seconds_bucket{le="1"} +40
vpccni_exporter_scrape_delay_seconds_bucket{le="5"} +40
vpccni_exporter_scrape_delay_seconds_bucket{le="+Inf"} +40
vpccni_exporter_scrapes_total{outcome="ok"} +38
vpccni_exporter_scrapes_total{outcome="timeout"} +2
vpccni_exporter_scrapes_total{outcome="unreachable"} +0
vpccni_exporter_kubernetes_missing_rule{resource="nodes"} =0
vpccni_exporter_kubernetes_missing_rule{resource="pods"} =0
vpccni_exporter_kubernetes_watch_errors_total{resource="pods",reason="gone"} +1
vpccni_exporter_kubernetes_watch_errors_total{resource="pods",reason="server"} +0.1
vpccni_exporter_discovery_file_reads_total{result="error"} +0
vpccni_exporter_discovery_targets_dropped =0
vpccni_exporter_http_connections_refused_total{reason="max_connections"} +0
vpccni_exporter_dropped_samples_total{rule="non_finite"} +0
vpccni_exporter_dropped_samples_total{rule="folded"} +90
vpccni_exporter_mirror_state{outlet="put",state="refused"} =0
vpccni_exporter_mirror_lag_seconds{outlet="put"} =70
vpccni_exporter_mirror_failures_total{outlet="put",reason="throttled"} +0.1
vpccni_exporter_mirror_points_dropped_total{outlet="put",reason="rejected"} +0
vpccni_exporter_mirror_points_dropped_total{outlet="put",reason="cap"} +0
"""
# What another job scrapes at the pods: the worst of pages.
PAGES = """
awscni_no_available_ip_addresses{node="n1"} +50
awscni_assigned_ip_addresses{node="n1"} =100
vpccni_node_ip_addresses_usable{node="n1"} =100
awscni_aws_api_error_count{node="n1",api="CreateNetworkInterface",error="InsufficientCidrBlocks"} +50
awscni_ec2api_error_count{node="n1",fn="CreateNetworkInterface"} +50
awscni_ipamd_error_count{node="n1",fn="unExpectedMaxENIAttached"} +50
awscni_pod_eni_error_count{node="n1",fn="nodeInit"} +50
awscni_force_removed_ips{node="n1"} +50
awscni_force_removed_enis{node="n1"} +50
up{node="n1"} =0
"""
HOUR = 60
BEFORE = 5000


def lines(table, whose, counter, gauge):
    """The series of a table, by how a counter that gains so much runs, and a gauge of that value."""
    for line in table.split("\n"):
        found = re.fullmatch(r"(\S+) ([=+])([\d.]+)", line)
        if found:
            values = gauge(found[3]) if found[2] == "=" else counter(found[3])
            yield f"{whose}{found[1]} {values}"


def steady(table, whose=""):
    return lines(table, whose, lambda gains: f"{BEFORE}+{gains}x{2 * HOUR}", lambda value: f"{value}x{2 * HOUR}")


def anew(table, whose=""):
    """The process restarts after an hour: counters begin at zero."""
    counter = lambda gains: f"{BEFORE}+{gains}x{HOUR} 0+{gains}x{HOUR}"
    return lines(table, whose, counter, lambda value: f"{value}x{2 * HOUR}")


def ends(table, whose="", at=HOUR):
    return lines(table, whose, lambda gains: f"{BEFORE}+{gains}x{at} stale", lambda value: f"{value}x{at} stale")


def begins(table, whose="", at=HOUR):
    return lines(table, whose, lambda gains: f"_x{at} 0+{gains}x{2 * HOUR}", lambda value: f"_x{at} {value}x{2 * HOUR}")


def leads(whose, *values):
    return [f"{whose}vpccni_exporter_leader {' '.join(values)}"]


QUIET = {
    "two replicas, one of which leads": [
        *steady(DATA), *steady(SELF), *steady(SELF, "b: "), *leads("", "1x120"), *leads("b: ", "0x120"),
    ],
    "the pages of aws-node beside us, as bad as can be": [
        *steady(DATA), *steady(SELF), *leads("", "1x120"), *steady(PAGES, "aws-node: "),
    ],
    "one process restarts": [*anew(DATA), *anew(SELF), *leads("", "1x120")],
    "a take-over; both were seen for two minutes": [
        *ends(DATA), *begins(DATA, "b: ", HOUR - 1), *steady(SELF), *steady(SELF, "b: "),
        *leads("", "1x60", "0x60"), *leads("b: ", "0x59", "1x60"),
    ],
    "a take-over from a process that was killed, with two minutes without data": [
        *ends(DATA), *begins(DATA, "b: ", HOUR + 3), *ends(SELF), *steady(SELF, "b: "),
        *leads("", "1x60", "stale"), *leads("b: ", "0x62", "1x60"),
    ],
    "a rollout: both replicas are other pods afterwards": [
        *ends(DATA), *ends(SELF), *ends(SELF, "b: "), *leads("", "1x60", "stale"), *leads("b: ", "0x60", "stale"),
        *begins(DATA, "c: ", HOUR + 1), *begins(SELF, "c: "), *begins(SELF, "d: "),
        *leads("c: ", "_x61", "1x60"), *leads("d: ", "_x61", "0x60"),
    ],
    "the first hour of an installation": [*begins(DATA, at=9), *begins(SELF, at=9), *leads("", "_x9", "1x120")],
}

# ------------------------------------------------------------------------------------------ files

PROD = "prod"


def series(short, cluster=PROD):
    """promtool's series of the short lines."""
    made = []
    for line in short if isinstance(short, list) else short.strip().split("\n"):
        line = line.strip()
        if not line:
            continue
        found = re.fullmatch(r"(?:([\w-]+): )?([\w:]+)(?:\{(.*)\})? (.*)", line)
        assert found, line
        whose, name, labels, values = found[1] or "a", found[2], found[3], found[4]
        target = f'cluster="{cluster}",job="vpc-cni-exporter",instance="{whose}:61681",pod="exporter-{whose}"'
        if whose == "aws-node":
            target = f'cluster="{cluster}",job="kube-system/aws-node",instance="10.0.0.1:61678",pod="aws-node-x"'
        made.append({"series": f"{name}{{{target}{',' + labels if labels else ''}}}", "values": values})
    return made


def tests(groups, rules):
    """(name of a file, its content), one for each group of rules, and one for whole clusters."""
    alerts = {row["alert"]: (group["name"], row) for group in groups for row in group["rules"] if "alert" in row}
    lacking = set(alerts) ^ set(CASES)
    assert not lacking, f"rules.py and cases.py differ: {sorted(lacking)}"
    for group in groups:
        named = [name for name, (of, _) in alerts.items() if of == group["name"] and not CASES[name].hours]
        if named:
            yield group["name"].removeprefix("vpc-cni."), test_file(of_alerts(alerts, named), groups, rules)
    yield "hours", test_file(of_alerts(alerts, [name for name in CASES if CASES[name].hours]), groups, rules, "10m")
    read = {name for _, row in alerts.values() for name in re.findall(r"\b(?:vpccni|awscni)_\w+|\bup\b", row["expr"])}
    there = {re.match(r"\w+", line)[0] for line in (DATA + SELF).split("\n") if line} | {"vpccni_exporter_leader"}
    records = {row["record"].split(":")[1] for group in groups for row in group["rules"] if "record" in row}
    lacking = read - there - records
    assert not lacking, f"the whole clusters of cases.py lack {sorted(lacking)}"
    yield "clusters", test_file([whole_clusters()], groups, rules)


def test_file(made, groups, rules, interval="1m"):
    # Else promtool evaluates the groups in any order, and some figures are those of the evaluation before.
    order = [group["name"] for group in groups]
    return {"rule_files": [rules], "evaluation_interval": interval, "group_eval_order": order, "tests": made}


def whole_clusters():
    times = ("30m", "61m", "64m", "75m", "90m", "115m")
    return {
        "name": "nobody is called",
        "interval": "1m",
        "input_series": [one for name, lines in QUIET.items() for one in series(lines, name)],
        "promql_expr_test": [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": at, "exp_samples": []} for at in times],
    }


def of_alerts(alerts, names):
    return [test for name in names for test in of_alert(alerts[name][1], CASES[name])]


def of_alert(row, case):
    name = row["alert"]
    assert case.silent, f"{name} has no case in which it is silent"
    rare = re.search(r"increase\((.|\n)*> 0$", row["expr"])
    assert bool(rare) == bool(case.birth), f"{name}: an alert on any increase needs a birth, and no other one"

    def test(what, given, alert_tests=(), state_tests=()):
        made = {"name": f"{name}: {what}", "interval": "1m", "input_series": given}
        if alert_tests:
            made["alert_rule_test"] = [
                {"eval_time": at, "alertname": name, "exp_alerts": expected} for at, expected in alert_tests
            ]
        if state_tests:
            made["promql_expr_test"] = list(state_tests)
        return made

    def state(at, state, cluster, number):
        """So many of the alert are in a state, of one cluster or of all but one."""
        labels = f'alertname="{name}",alertstate="{state}"' + (f",cluster{cluster}" if not case.alone else "")
        expected = [{"labels": "{}", "value": number}] if number else []
        return {"expr": f"count(ALERTS{{{labels}}})", "eval_time": at, "exp_samples": expected}

    told = expected_alert(row, case)
    if case.alone:
        yield test("fires", series(case.series), [(case.pending, []), (case.fires, told)])
        for what, short, at in case.silent:
            yield test(what, series(short), [(at, [])])
        return
    given = series(halves(case.series)) + [one for what, short, _ in case.silent for one in series(short, what)]
    silent = [state(at, "firing", f'!="{PROD}"', 0) for at in dict.fromkeys(at for _, _, at in case.silent)]
    goes_on = [state(at, "firing", f'="{PROD}"', number) for at, number in zip(case.until, (1, 0))]
    pending = [state(case.pending, "pending", f'="{PROD}"', 1)]
    yield test("fires and is silent", given, [(case.fires, told)], [*pending, *goes_on, *silent])
    given, firing = [], []
    if case.birth:
        given += series(case.birth[0], "birth")
        firing.append(state(case.birth[1], "firing", '="birth"', 1))
    for what, short, times in case.also:
        given += series(short, what)
        firing += [state(at, "firing", f'="{what}"', 1) for at in times]
    restarted = restarts(case.series, minutes(case.pending) + 1)
    if restarted:
        given += series(restarted, "a restart")
        firing.append(state(case.fires, "firing", '="a restart"', 1))
    if given:
        yield test("fires as well", given, (), firing)


def expected_alert(row, case):
    """As Prometheus sends it: the summary's labels, and the sentence of the case."""
    named = {**({} if case.alone else {"cluster": PROD}), **case.labels}
    summary = row["annotations"]["summary"].replace("{{ with $labels.cluster }} of {{ . }}{{ end }}", f" of {PROD}")
    for label, value in case.labels.items():
        summary = summary.replace("{{ $labels." + label + " }}", value)
    told = {"summary": summary, "description": case.says, "runbook_url": row["annotations"]["runbook_url"]}
    return [{"exp_labels": {"severity": row["labels"]["severity"], **named}, "exp_annotations": told}]


def minutes(time):
    return int(time.removesuffix("m"))


def changed(short, wanted, change):
    """The series, and of those whose name is wanted what becomes of their samples."""
    made = []
    for line in filter(None, map(str.strip, short.split("\n"))):
        name, values = re.fullmatch(r"((?:[\w-]+: )?\w+(?:\{.*\})?) (.*)", line).groups()
        made += [f"{name} {values}"] if not re.match(wanted, name) else change(name, expanded(values))
    return made


def halves(short):
    """The figures of the cluster, from two shards."""

    def half(name, samples):
        values = written([None if v is None else v / 2 for v in samples])
        return [f"{name} {values}", f"b: {name} {values}"]

    return changed(short, r"vpccni_cluster_(?!\w+_ratio)", half)


def restarts(short, at):
    """With counters that begin at zero at a minute; nothing where there is no counter."""

    def restarted(name, samples):
        then = samples[at - 1] or 0
        anew = [v if v is None else v + BEFORE if n < at else v - then for n, v in enumerate(samples)]
        return [f"{name} {written(anew)}"]

    counters = r"(?:\w: )?(?:vpccni_cluster|vpccni_exporter)_\w+_(?:total|count|sum|bucket)\b"
    return changed(short, counters, restarted) if re.search(counters, short) else []


def written(samples):
    return " ".join("_" if v is None else f"{v:g}" for v in samples)


def expanded(values):
    """The samples of promtool's notation; None where there is none."""
    made = []
    for word in values.split():
        found = re.fullmatch(r"(_|stale|-?[\d.]+)(?:([+-][\d.]+))?(?:x(\d+))?", word)
        first, step, times = found[1], float(found[2] or 0), int(found[3] or 0)
        if first in ("_", "stale"):
            made += [None] * max(1, times)
        else:
            made += [float(first) + step * n for n in range(times + 1)]
    return made
