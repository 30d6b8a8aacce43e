"""What a simulated fleet's episodes call for, as a table. Comes in: nothing. Goes out: EPISODES. Never: an alert that
is here because a rule fires; each row says what its episode means for the operator.

An episode has a cluster of its own, of NODES nodes. Orders are (how many nodes, order, its words): those of the fleet
(src/demo/fleet/truth/http.rs), and `unlist`, `end`, `twin` and `scribble` of alerts/live. Alerts are written by name and
the labels that tell them apart.
"""

NODES = 20


class Episode:
    """`fires`: the alerts that it calls for. `lasts`: of these, what goes on when all is well again. `after`: what its end
    may call for. `prefix`: how many of the first nodes hand out prefixes."""

    def __init__(self, name, orders, fires, lasts=(), after=(), prefix=0):
        self.name, self.orders, self.fires, self.lasts, self.after = name, orders, set(fires), set(lasts), set(after)
        self.prefix = prefix


def strained(count, ec2, crowded=False):
    """So many nodes of which EC2 says that, and which are sent more pods than they can have."""
    return count, "strain", {"ec2": ec2, "crowded": "true" if crowded else "false"}


def answering(count, how):
    return count, "misbehave", {"how": how}


# What makes good again.
GOOD = {"strain": {"ec2": "fine"}, "misbehave": {"how": "ok"}}

# Ordinary life: now and then each simulated node loses an address to EC2, corrects what it believes, fails to set a
# rule, so that every figure has data. Of twenty nodes one does so all the time: these may fire in every cluster.
LIFE = {
    "VpcCniForcedRemovals",
    "VpcCniPodEniErrors fn=nodeInit",
    "VpcCniConnmarkErrors",
    "VpcCniReconcileRepairs fn=eniDataStorePoolReconcileAdd",
}
# On its way in every cluster: the nodes run several versions, as after a rollout that has stopped, but an alert that
# waits for six hours of it is due after the run.
WAITING = {"VpcCniVersionSkew"}

# One refused pod is asked for again and again.
REFUSED = {"VpcCniPodsRefusedAddresses", "VpcCniManyPodsRefusedAddresses"}
# When a crowd leaves a full node, interfaces are given back, and EC2 is not always done with one when it is asked to
# delete it. And that requests were refused is remembered for ten minutes, while the ceiling that was the reason is not
# reached any more: ten minutes are less than the rule waits, but ten hours of the fleet are not.
LEFT = {"VpcCniInterfacesLeftBehind fn=FreeENIDeleteErr", "VpcCniNodesCannotGrow reason=unknown"}

EPISODES = [
    # Not even life: a rule that fires here fires always.
    Episode("still", [], []),
    # Life alone. Some of these nodes have IPv6 or a CNI that is years old.
    Episode("quiet", [], []),
    # EC2 has no address in a subnet, six nodes of twenty are in it, and three of them need more than they have: their
    # pods are refused (12 requests a minute each), and three nodes are more than a tenth. One of them hands out
    # prefixes, for which EC2 has another code.
    Episode(
        "subnet",
        [strained(3, "subnet", crowded=True), strained(3, "subnet")],
        REFUSED | {
            "VpcCniSubnetExhausted",
            "VpcCniNodesCannotGrow reason=subnet",
            "VpcCniSubnetRefusesAddresses error=InsufficientFreeAddressesInSubnet",
            "VpcCniSubnetRefusesAddresses error=InsufficientCidrBlocks",
        },
        lasts={"VpcCniSubnetExhausted", "VpcCniNodesCannotGrow reason=subnet"},
        prefix=1,
    ),
    # A right is missing: the same by another reason. ipamd may not delete either the interface that it could not use,
    # and says so each time, more than five times in an hour; that hour does not end within the run.
    Episode(
        "denied",
        [strained(3, "denied", crowded=True), strained(3, "denied")],
        REFUSED | {
            "VpcCniGrowthDenied",
            "VpcCniNodesCannotGrow reason=denied",
            "VpcCniEc2Denied error=UnauthorizedOperation",
            "VpcCniInterfacesLeftBehind fn=AllocENIDeleteErr",
        },
        lasts={
            "VpcCniGrowthDenied",
            "VpcCniNodesCannotGrow reason=denied",
            "VpcCniInterfacesLeftBehind fn=AllocENIDeleteErr",
        },
    ),
    # EC2 throttles eight nodes. Besides, each asks every five minutes which interfaces it has, and that fails as an
    # error of ipamd's own: 24 in a quarter of an hour, which more than one node in twenty has.
    Episode(
        "throttled",
        [strained(3, "throttled", crowded=True), strained(5, "throttled")],
        REFUSED | {
            "VpcCniEc2Throttled",
            "VpcCniNodesCannotGrow reason=throttled",
            "VpcCniIpamdErrors fn=reconcileFailedGetENIs",
        },
        lasts={"VpcCniNodesCannotGrow reason=throttled"},
    ),
    # One node is sent more pods than it can have addresses for. Three are refused a minute, fifteen in five: some, not
    # many; and one full node of twenty needs nobody.
    Episode("crowd", [strained(1, "fine", crowded=True)], {"VpcCniPodsRefusedAddresses"}, after=LEFT),
    # So is every node of a zone: many are refused, and the zone is full while others have room.
    Episode("zone", [strained("zone", "fine", crowded=True)], REFUSED | {"VpcCniZoneNearCeiling zone"}, after=LEFT),
    # So is every node: the cluster is full. That each zone is, too, is said by the same alert.
    Episode(
        "full",
        [strained(NODES, "fine", crowded=True)],
        REFUSED | {"VpcCniNodesFull", "VpcCniAddressesNearCeiling"},
        lasts={"VpcCniNodesFull"},
        after=LEFT,
    ),
    # Every node hands out prefixes, of which it can have far more than the pods that its kubelet takes: the kubelets
    # refuse, ipamd does not, and the cluster is full.
    Episode(
        "pod-limits",
        [strained(NODES, "fine", crowded=True)],
        {"VpcCniNodesFull", "VpcCniAddressesNearCeiling"},
        prefix=NODES,
    ),
    # A node does not answer as it should, in one way or the other: it has no figures. One to three of twenty are not
    # many.
    Episode("timeout", [answering(1, "timeout")], {"VpcCniNodesFailed"}),
    Episode("slow", [answering(1, "slow")], {"VpcCniNodesFailed"}),
    Episode("refuse", [answering(1, "refuse")], {"VpcCniNodesFailed"}),
    Episode(
        "rubbish",
        [answering(1, "truncate"), answering(1, "garbage"), answering(1, "http_503")],
        {"VpcCniNodesFailed"},
    ),
    # Seven of twenty are many. Where nobody answers at all a security group may be the reason; where connections are
    # refused it is not.
    Episode(
        "many-timeout",
        [answering(7, "timeout")],
        {"VpcCniNodesFailed", "VpcCniManyNodesFailed", "VpcCniScrapesTimeOut"},
    ),
    Episode("many-refuse", [answering(7, "refuse")], {"VpcCniNodesFailed", "VpcCniManyNodesFailed"}),
    # A node answers, and some of its values are no numbers.
    Episode("nan", [answering(1, "nan")], {"VpcCniSamplesNotFinite"}),
    # Ten ipamd restart, as in a rollout; nodes leave and join; some drop out of discovery and live on: all of it ordinary.
    Episode(
        "comings-and-goings",
        [
            (10, "restart", {}),
            (5, "leave", {}),
            (2, "unlist", {}),
            (2, "join", {"old": "true"}),
            (2, "join", {"old": "false"}),
        ],
        [],
    ),
    # Of the exporter itself. It ends; a second one serves the same; no node is left in its file; its file is no file of
    # targets.
    Episode("end", [(1, "end", {})], {"VpcCniExporterDown"}, lasts={"VpcCniExporterDown"}),
    Episode("twin", [(1, "twin", {})], {"VpcCniSeveralServeData"}, lasts={"VpcCniSeveralServeData"}),
    Episode("no-targets", [(NODES, "unlist", {})], {"VpcCniNoTargets"}),
    Episode("scribble", [(1, "scribble", {})], {"VpcCniDiscoveryFileBroken"}),
]
