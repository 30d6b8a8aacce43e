"""Reads an exposition from standard input as PyPI's prometheus-client does, and prints its samples as
JSON: {"name{labels sorted by name}": "value"}. The argument is the dialect, text or openmetrics.

Ends with a traceback where the client refuses the page, and with a message where a series comes twice.
"""

import json
import re
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics


def main(dialect: str) -> None:
    page = sys.stdin.buffer.read().decode("utf-8")
    read = {"text": parser, "openmetrics": openmetrics}[dialect].text_string_to_metric_families
    declared = set(re.findall(r"^# TYPE (\S+) counter$", page, re.MULTILINE))
    samples = {}
    for family in read(page):
        # In text, the client gives every counter the suffix of OpenMetrics; we want what was served.
        added = dialect == "text" and family.type == "counter" and family.name in declared
        for sample in family.samples:
            name = sample.name.removesuffix("_total") if added else sample.name
            labels = ",".join(f'{k}="{escape(v)}"' for k, v in sorted(sample.labels.items()))
            key = f"{name}{{{labels}}}" if labels else name
            if key in samples:
                sys.exit(f"a series comes twice: {key}")
            # As text: JSON has no infinities.
            samples[key] = repr(float(sample.value))
    json.dump(samples, sys.stdout)


def escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


if __name__ == "__main__":
    main(sys.argv[1])
