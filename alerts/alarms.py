"""CloudWatch alarms on what the mirror sends by cni-metrics-helper's names, as a table. Comes in: nothing. Goes out: a
CloudFormation template. Never: a cluster's name, a threshold that is no parameter.

Missing data, row by row. A counter that stands still is sent as 0, so that a minute without data never means that
nothing happened: no node answered, no exporter ran, or the minute still waits. `missing` shows that as
INSUFFICIENT_DATA, where `notBreaching` would say OK; one alarm, MirrorSilent, treats it as `breaching` and calls. Only
latency is absent on good days, when nothing was called: `notBreaching`.
"""

NOTE = [
    "For clusters that are watched by CloudWatch alone (USE_CLOUDWATCH=true, --mirror.to=put):",
    "  aws cloudformation deploy --stack-name vpc-cni-alarms --template-file alerts/cloudwatch-alarms.yml \\",
    "    --parameter-overrides ClusterName=prod Topic=arn:aws:sns:REGION:ACCOUNT:TOPIC",
    "The helper's names know nothing of refused pods and failed nodes: with --mirror.to=emf+… set EmfNamespace=VpcCni,",
    "too. Where data is missing an alarm shows INSUFFICIENT_DATA; MirrorSilent alone takes that for an alarm.",
]

# Name: (type, default, what it says). No default: it has to be given.
PARAMETERS = {
    "ClusterName": ("String", None, "The cluster's name in CloudWatch, as --cluster.name or AWS_CLUSTER_ID"),
    "Topic": ("String", "", "ARN of the SNS topic that is told; none without it"),
    "Namespace": ("String", "Kubernetes", "--mirror.namespace of put"),
    "EmfNamespace": ("String", "", "--mirror.namespace of EMF, VpcCni by default; empty where EMF is not sent"),
    "UtilizationPercent": ("Number", 90, "Addresses in use, of those that the nodes can have, or of the usable ones"),
    "NodeUtilizationPercent": ("Number", 95, "The same on the fullest tenth of the nodes"),
    "WarmAddresses": ("Number", 1, "Free addresses attached to all nodes together, at least"),
    "Ec2ErrorPercent": ("Number", 10, "Failed EC2 calls of all, where more than ten failed in five minutes"),
    "Ec2LatencyMilliseconds": ("Number", 5000, "Mean time of a call"),
    "IpamdErrors": ("Number", 20, "Errors of ipamd in a quarter of an hour"),
    "RefusedRequests": ("Number", 30, "Pods refused an address in five minutes, twice in a row (EMF only)"),
    "FailedNodes": ("Number", 0, "Nodes without figures (EMF only)"),
}
GIVEN = {"HasTopic": "Topic", "HasEmf": "EmfNamespace"}


def ref(name):
    return {"Ref": name}


def metric(name, statistic, seconds, own=False, **dimensions):
    """One of the helper's metrics, or one that EMF sends."""
    cluster = {"Name": "ClusterName" if own else "CLUSTER_ID", "Value": ref("ClusterName")}
    return {
        "Metric": {
            "Namespace": ref("EmfNamespace" if own else "Namespace"),
            "MetricName": name,
            "Dimensions": [cluster, *({"Name": key, "Value": value} for key, value in dimensions.items())],
        },
        "Period": seconds,
        "Stat": statistic,
    }


def alarm(says, runbook, watched, comparison, threshold, periods, missing="missing", condition=None):
    """`watched` is one metric, or an expression and the metrics by the names that it uses. `periods`: so many of so
    many."""
    datapoints, evaluated = periods
    description = f"{says} See docs/runbooks/{runbook}.md."
    properties = {
        "AlarmDescription": {"Fn::Sub": description},
        "ComparisonOperator": comparison,
        "Threshold": threshold,
        "EvaluationPeriods": evaluated,
        "DatapointsToAlarm": datapoints,
        "TreatMissingData": missing,
        "AlarmActions": {"Fn::If": ["HasTopic", [ref("Topic")], ref("AWS::NoValue")]},
        "OKActions": {"Fn::If": ["HasTopic", [ref("Topic")], ref("AWS::NoValue")]},
    }
    if isinstance(watched, tuple):
        expression, metrics = watched
        queries = [{"Id": "watched", "Expression": expression, "Label": says.split("${")[0].strip(), "ReturnData": True}]
        queries += [{"Id": key, "MetricStat": one, "ReturnData": False} for key, one in metrics.items()]
    else:
        queries = [{"Id": "watched", "MetricStat": watched, "ReturnData": True}]
    properties["Metrics"] = queries
    made = {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}
    return {"Condition": condition, **made} if condition else made


OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"

ALARMS = {
    # Nobody hears of anything else, so this one comes first.
    "MirrorSilent": alarm(
        "Nothing arrived from the exporter of ${ClusterName} for ten minutes: no other alarm watches.",
        "VpcCniMirrorRefused",
        metric("assignIPAddresses", "SampleCount", 60), UNDER, 1, (10, 10), missing="breaching",
    ),
    "AddressesNearCeiling": alarm(
        "Pods use nearly all addresses that the nodes can have in ${ClusterName}.",
        "VpcCniAddressesNearCeiling",
        ("IF(most > 0, 100 * used / most, 0)", {
            "used": metric("assignIPAddresses", "Average", 60),
            "most": metric("maxIPAddresses", "Average", 60),
        }),
        OVER, ref("UtilizationPercent"), (12, 15),
    ),
    # The helper's names know nothing of pod limits, but for the figures of single nodes.
    "UsableAddressesNearlyUsed": alarm(
        "Pods use nearly all addresses that the nodes can put to use in ${ClusterName}.",
        "VpcCniAddressesNearCeiling",
        ("IF(usable > 0, 100 * used / usable, 0)", {
            "used": metric("vpccni_cluster_ip_addresses_assigned", "Average", 60, own=True, ip_family="ipv4"),
            "usable": metric("vpccni_cluster_ip_addresses_usable", "Average", 60, own=True, ip_family="ipv4"),
        }),
        OVER, ref("UtilizationPercent"), (12, 15), condition="HasEmf",
    ),
    "NodesNearCeiling": alarm(
        "Pods use nearly all addresses that the fullest tenth of the nodes can put to use in ${ClusterName}.",
        "VpcCniNodesFull",
        metric("ipUtilizationPerNode", "p90", 60), OVER, ref("NodeUtilizationPercent"), (12, 15),
    ),
    "NoWarmAddresses": alarm(
        "No node has a free address left for the next pod in ${ClusterName}: subnet, rights or throttling.",
        "VpcCniNodesCannotGrow",
        ("attached - used", {
            "attached": metric("totalIPAddresses", "Average", 60),
            "used": metric("assignIPAddresses", "Average", 60),
        }),
        UNDER, ref("WarmAddresses"), (8, 10),
    ),
    "Ec2CallsFail": alarm(
        "EC2 fails or refuses many of ipamd's calls in ${ClusterName}: subnet, rights or throttling.",
        "VpcCniEc2CallsFail",
        ("IF(failed > 10, 100 * failed / calls, 0)", {
            "failed": metric("ec2ApiErrCount", "Sum", 300),
            "calls": metric("ec2ApiReqCount", "Sum", 300),
        }),
        OVER, ref("Ec2ErrorPercent"), (3, 4),
    ),
    "Ec2CallsSlow": alarm(
        "AWS answers ipamd slowly in ${ClusterName}: nodes get addresses late.",
        "VpcCniEc2Throttled",
        metric("awsAPILatency", "Average", 300), OVER, ref("Ec2LatencyMilliseconds"), (3, 3), missing="notBreaching",
    ),
    "IpamdFails": alarm(
        "ipamd counts many errors in ${ClusterName}.",
        "VpcCniIpamdErrors",
        metric("ipamdErr", "Sum", 900), OVER, ref("IpamdErrors"), (2, 2),
    ),
    "ForcedRemovals": alarm(
        "Running pods have lost their addresses in ${ClusterName}.",
        "VpcCniForcedRemovals",
        ("addresses + interfaces", {
            "addresses": metric("forceRemoveIPs", "Sum", 300),
            "interfaces": metric("forceRemoveENI", "Sum", 300),
        }),
        OVER, 0, (1, 1),
    ),
    "PodInterfacesFail": alarm(
        "ipamd cannot prepare nodes for pods with security groups of their own in ${ClusterName}.",
        "VpcCniPodEniErrors",
        metric("podENIErr", "Sum", 900), OVER, 0, (1, 1),
    ),
    "PodsRefused": alarm(
        "Pods do not start in ${ClusterName}: their nodes have no address for them.",
        "VpcCniManyPodsRefusedAddresses",
        metric("vpccni_cluster_ip_requests_refused_total", "Sum", 300, own=True), OVER, ref("RefusedRequests"), (2, 2),
        condition="HasEmf",
    ),
    "NodesFailed": alarm(
        "Nodes have no figures in ${ClusterName}: their aws-node cannot be scraped.",
        "VpcCniNodesFailed",
        metric("vpccni_cluster_nodes", "Average", 60, own=True, state="failed"), OVER, ref("FailedNodes"), (15, 15),
        condition="HasEmf",
    ),
}


def template():
    parameters = {}
    for name, (kind, default, says) in PARAMETERS.items():
        parameters[name] = {"Type": kind, "Description": says}
        if default is None:
            parameters[name]["MinLength"] = 1
        else:
            parameters[name]["Default"] = default
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Alarms on what vpc-cni-exporter mirrors to CloudWatch",
        "Parameters": parameters,
        "Conditions": {name: {"Fn::Not": [{"Fn::Equals": [ref(given), ""]}]} for name, given in GIVEN.items()},
        "Resources": ALARMS,
    }


def resolved(value, given):
    """What CloudFormation makes of the intrinsic functions that are used here."""
    if isinstance(value, list):
        return [one for one in (resolved(each, given) for each in value) if one is not None]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return given.get(value["Ref"])
    if "Fn::Sub" in value:
        return value["Fn::Sub"].replace("${ClusterName}", given["ClusterName"])
    if "Fn::If" in value:
        condition, there, otherwise = value["Fn::If"]
        return resolved(there if given[GIVEN[condition]] else otherwise, given)
    made = {key: resolved(one, given) for key, one in value.items()}
    return {key: one for key, one in made.items() if one is not None}


def put():
    """Puts each alarm: boto3 holds it against CloudWatch's own model of the call, moto keeps it. The file says the
    same to another reader."""
    import os
    from pathlib import Path

    import boto3
    import yaml
    from moto import mock_aws

    assert yaml.safe_load(Path(__file__).with_name("cloudwatch-alarms.yml").read_text()) == template()

    os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    defaults = {name: default for name, (_, default, _) in PARAMETERS.items()}
    topic = "arn:aws:sns:us-east-1:123456789012:topic"
    for more in ({}, {"Topic": topic, "EmfNamespace": "VpcCni"}):
        given = {**defaults, "ClusterName": "prod", **more}
        with mock_aws():
            cloudwatch = boto3.client("cloudwatch")
            conditions = {name: alarm.get("Condition") for name, alarm in ALARMS.items()}
            wanted = [name for name, asks in conditions.items() if not asks or given[GIVEN[asks]]]
            for name in wanted:
                cloudwatch.put_metric_alarm(AlarmName=name, **resolved(ALARMS[name]["Properties"], given))
            kept = cloudwatch.describe_alarms()["MetricAlarms"]
            assert sorted(alarm["AlarmName"] for alarm in kept) == sorted(wanted), kept
            assert all(bool(alarm["AlarmActions"]) == bool(more) for alarm in kept), kept


if __name__ == "__main__":
    put()
