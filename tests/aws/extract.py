"""Turns events of Embedded Metric Format into series, as CloudWatch does by its specification.

    extract.py [SCHEMA] <events, one a line

Prints one JSON object: a series' name and dimensions as in an exposition, without the cluster's dimension;
its values in the order of their events as [timestamp, sum, minimum, maximum, samples]. Every event is held
against the JSON schema, where one is given, and against what the specification says besides. Knows nothing of
the program that wrote the events.
"""

import json
import math
import sys

CLUSTER = "ClusterName"
UNITS = {"Seconds", "Milliseconds", "Bytes", "Percent", "Count", "None"}


def whole(pairs):
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), f"a member twice: {names}"
    return dict(pairs)


def values(member):
    """Values and how often each occurs."""
    if isinstance(member, dict):
        assert set(member) == {"Values", "Counts"}, member
        assert 1 <= len(member["Values"]) == len(member["Counts"]) <= 100, member
        assert all(count >= 1 for count in member["Counts"]), member
        return list(zip(member["Values"], member["Counts"]))
    assert not isinstance(member, list), "no list is written"
    return [(member, 1)]


def extract(line, series, validate):
    assert len(line.encode()) <= 1024 * 1024 - 26, "an event is too long"
    event = json.loads(line, object_pairs_hook=whole)
    validate(event)
    aws = event["_aws"]
    assert aws["LogGroupName"], "no log group"
    assert isinstance(aws["Timestamp"], int) and aws["Timestamp"] % 1000 == 0, aws["Timestamp"]
    for directive in aws["CloudWatchMetrics"]:
        assert 1 <= len(directive["Namespace"]) <= 256 and not directive["Namespace"].startswith("AWS/")
        assert len(directive["Metrics"]) <= 100, len(directive["Metrics"])
        for dimensions in directive["Dimensions"]:
            assert CLUSTER in dimensions and len(dimensions) <= 30, dimensions
            told = {name: event[name] for name in dimensions}
            assert all(isinstance(value, str) and 1 <= len(value) <= 1024 for value in told.values()), told
            cluster = told.pop(CLUSTER)
            for metric in directive["Metrics"]:
                assert metric["Unit"] in UNITS, metric
                assert metric["Name"] not in dimensions
                told_values = values(event[metric["Name"]])
                assert all(math.isfinite(v) and abs(v) <= 2**360 for v, _ in told_values), metric
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(told.items()))
                name = metric["Name"] + (f"{{{labels}}}" if labels else "")
                only = [value for value, _ in told_values]
                samples = sum(count for _, count in told_values)
                total = math.fsum(value * count for value, count in told_values)
                point = [aws["Timestamp"] // 1000, total, min(only), max(only), samples]
                series.setdefault(cluster, {}).setdefault(name, []).append(point)


def main():
    validate = lambda _event: None
    if len(sys.argv) > 1:
        import jsonschema

        with open(sys.argv[1], encoding="utf-8") as file:
            schema = json.load(file)
        validate = jsonschema.validators.validator_for(schema)(schema).validate
    series = {}
    for line in sys.stdin:
        extract(line, series, validate)
    for cluster in series.values():
        for name, points in cluster.items():
            times = [point[0] for point in points]
            assert len(set(times)) == len(times), f"{name} twice in one interval: {times}"
    json.dump(series, sys.stdout)


main()
