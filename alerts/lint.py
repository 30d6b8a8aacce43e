"""Holds alerts, runbooks and alarms against the rest of the repository. Comes in: the tables, docs/runbooks, the
README, the program's sources. Goes out: sentences about what does not fit; a rule file of the runbooks' queries.
Never: Prometheus."""

import re
import sys
from pathlib import Path

import alarms

ROOT = Path(__file__).resolve().parent.parent
BOOKS = ROOT / "docs" / "runbooks"
README = (ROOT / "README.md").read_text()

# Of Prometheus itself, and of the process.
OTHERS = set(
    "up scrape_duration_seconds process_start_time_seconds process_cpu_seconds_total process_open_fds process_max_fds".split()
)
OF_THE_SCRAPER = {"job", "instance", "pod", "cluster", "le", "__name__"}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Remedy"]
LINES = range(20, 46)
PATHS = {"/metrics", "/readyz", "/healthz", "/api/v1/nodes", "/api/v1/status"}
# Flags of kubectl, aws, curl and of alerts/generate.
FLAGS_OF_OTHERS = re.compile(
    r"--(field-selector|query|output|filters|role-name|previous|tail|timeout|ignore-daemonsets|delete-emptydir-data|"
    r"lookup-attributes|network-interface-id|cluster-name|addon-name|addon-version|group-id|protocol|port|source-group|"
    r"as|raw|to|job|shards|scrape-interval|dry-run)\b(?!\.)"
)


def reference():
    """Each metric name of the README, with its labels where the reference tells them."""
    known = {}
    text = README.split("<!-- metrics:begin -->")[1].split("<!-- metrics:end -->")[0]
    for line in text.split("\n"):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`(\w+)`", cells[0])
        if len(cells) < 3 or not names:
            continue
        labels = set(re.findall(r"`([^`]+)`", cells[2])) if len(cells) == 6 else None
        for name in names:
            known[name] = labels
            if cells[1] in ("histogram", "summary"):
                known.update({f"{name}_{part}": labels for part in ("bucket", "sum", "count")})
    return known


def literals():
    """Every string of the program, for label values."""
    texts = (path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    return {found for text in texts for found in re.findall(r'"([^"\\\n]*)"', text)}


def closed_sets():
    """The values that a cluster counter has from the start: only they are born at 0."""
    return set(re.findall(r'"([^"\n]+)"', (ROOT / "src/catalog/closed.rs").read_text()))


KNOWN, LITERALS, CLOSED = reference(), literals(), closed_sets()


def expression(text, where, records):
    """What an expression names that does not exist."""
    for name, selector in re.findall(r"\b([a-z_]+:[\w:]+|(?:vpccni|awscni|process)_\w+|up)\b(?:\{([^}]*)\})?", text):
        if ":" in name:
            if name not in records:
                yield f"{where}: no rule records {name}"
            continue
        if name not in KNOWN and name not in OTHERS:
            yield f"{where}: no metric is named {name}"
            continue
        labels = KNOWN.get(name)
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', selector):
            if labels is not None and label not in labels | OF_THE_SCRAPER:
                yield f"{where}: {name} has no label {label}"
            if label in OF_THE_SCRAPER or label in ("node", "zone", "cni_version") or value == "":
                continue
            for one in value.split("|"):
                plain = re.fullmatch(r"[\w.]+", one) and "*" not in one
                if plain and one not in LITERALS:
                    yield f"{where}: no {label} is {one}"
                if plain and label in ("error", "fn") and name.startswith("vpccni_cluster") and one not in CLOSED:
                    yield f"{where}: {name} has no {label}={one} from the start"


def of_rules(groups):
    rows = [row for group in groups for row in group["rules"]]
    records = {row["record"] for row in rows if "record" in row}
    for row in rows:
        name = row.get("alert") or row["record"]
        yield from expression(row["expr"], name, records)
        selectors = re.findall(r"(?:\b(?:vpccni|awscni)_\w+|\bup)(\{[^}]*\})?", re.sub(r"\b\w+:[\w:]+", "", row["expr"]))
        if any("job=~" not in selector for selector in selectors):
            yield f"{name}: a selector without a job"
        if "record" in row and not re.fullmatch(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+", name):
            yield f"{name}: is not level:metric:operations"
        if "alert" not in row:
            continue
        if row["labels"] not in [{"severity": one} for one in ("critical", "warning", "info")]:
            yield f"{name}: severity is critical, warning or info"
        for key, text in row["annotations"].items():
            if re.search(r"<[a-z %]+>|\b(JOB|INTERVAL|SHARDS)\b", text):
                yield f"{name}: {key} is not spelled out: {text}"
            for query in re.findall(r"`([^`]*)`", text):
                yield from expression(re.sub(r"%\[\d+\]q", '""', query), name, records)


# The fields of a PrometheusRule (monitoring.coreos.com/v1), and the forms that its schema asks for.
DURATION = r"(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)"


def of_prometheus_rule(groups):
    for group in groups:
        if set(group) != {"name", "rules"} or not group["rules"]:
            yield f"{group['name']}: a group has a name and rules"
        for row in group["rules"]:
            name = row.get("alert") or row.get("record")
            allowed = {"record", "expr"}
            if "alert" in row:
                allowed = {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
            if not set(row) <= allowed:
                yield f"{name}: unknown fields {sorted(set(row) - allowed)}"
            for key in ("for", "keep_firing_for"):
                if key in row and not (row[key] and re.fullmatch(DURATION, row[key])):
                    yield f"{name}: {key} is no duration"
            texts = [*row.get("labels", {}).values(), *row.get("annotations", {}).values()]
            if not all(isinstance(text, str) for text in texts):
                yield f"{name}: labels and annotations are texts"
    if len({group["name"] for group in groups}) != len(groups):
        yield "two groups have one name"


def queries(name):
    """The queries of a runbook: lines of its blocks, those that are indented going on."""
    book = BOOKS / f"{name}.md"
    for block in re.findall(r"^```promql\n(.*?)^```$", book.read_text() if book.exists() else "", re.M | re.S):
        yield from re.sub(r"\n +", " ", block.strip()).split("\n")


def of_runbooks(groups):
    rows = {row["alert"]: row for group in groups for row in group["rules"] if "alert" in row}
    records = {row["record"] for group in groups for row in group["rules"] if "record" in row}
    books = {path.stem for path in BOOKS.glob("*.md")} - {"README"}
    yield from (f"docs/runbooks/{name}.md is missing" for name in sorted(set(rows) - books))
    yield from (f"docs/runbooks/{name}.md: no alert of that name" for name in sorted(books - set(rows)))
    for name in sorted(books & set(rows)):
        text = (BOOKS / f"{name}.md").read_text()
        lines = text.rstrip("\n").split("\n")
        if lines[:3] != [f"# {name}", "", f"{rows[name]['labels']['severity']} · after {rows[name]['for']}"]:
            yield f"{name}.md: begins with its name, severity and time"
        if re.findall(r"^## (.*)$", text, re.M) != SECTIONS:
            yield f"{name}.md: its sections are {', '.join(SECTIONS)}"
        if len(lines) not in LINES:
            yield f"{name}.md: {len(lines)} lines"
        if not list(queries(name)):
            yield f"{name}.md: no query"
        for query in queries(name):
            yield from expression(query, f"{name}.md", records)
        outside = re.sub(r"^```promql\n.*?^```$", "", text, flags=re.M | re.S)
        for code in re.findall(r"`([^`\n]+)`", outside):
            if re.search(r"\b(vpccni|awscni)_\w+", code):
                yield from expression(code, f"{name}.md", records)
        for link in re.findall(r"\]\(([^)]*)\)", text):
            if not (BOOKS / link).exists():
                yield f"{name}.md: {link} is not there"
        for flag in re.findall(r"(?<!\w)--[a-z][\w.-]*\w", outside):
            if f"`{flag}`" not in README and not FLAGS_OF_OTHERS.match(flag):
                yield f"{name}.md: no flag {flag}"
        for path in re.findall(r"(?:EXPORTER|[` ])(/(?:api|readyz|healthz|metrics)[\w/]*)", outside):
            if path not in PATHS and not path.startswith("/api/v1/namespaces"):
                yield f"{name}.md: no path {path}"
        for file in re.findall(r"`((?:deploy|alerts)/[\w.-]+)", outside):
            if not (ROOT / file).exists():
                yield f"{name}.md: no file {file}"


def of_alarms():
    """The template, as AWS::CloudWatch::Alarm wants it; cfn-lint looks closer where it is at hand."""
    template = alarms.template()
    table = (ROOT / "src/catalog/table.rs").read_text()
    names = set(re.findall(r'cloudwatch: Some\("(\w+)"\)', table))
    names |= set(re.findall(r'PerNode \{ name: "(\w+)"', (ROOT / "src/ship/names.rs").read_text()))
    used = set(re.findall(r"'Ref': '(\w+)'", repr(template["Resources"]) + repr(template["Conditions"])))
    used |= set(re.findall(r"\$\{(\w+)\}", repr(template["Resources"])))
    if used != set(template["Parameters"]):
        yield f"cloudwatch-alarms.yml: parameters and their uses differ: {sorted(used ^ set(template['Parameters']))}"
    for name, alarm in template["Resources"].items():
        given = alarm["Properties"]
        if given["DatapointsToAlarm"] > given["EvaluationPeriods"]:
            yield f"{name}: more datapoints than periods"
        if given["TreatMissingData"] not in ("missing", "breaching", "notBreaching", "ignore"):
            yield f"{name}: TreatMissingData"
        if given["ComparisonOperator"] not in ("GreaterThanThreshold", "LessThanThreshold"):
            yield f"{name}: ComparisonOperator"
        if sum(query["ReturnData"] for query in given["Metrics"]) != 1:
            yield f"{name}: one result is compared"
        book = re.search(r"docs/runbooks/(\w+)\.md", given["AlarmDescription"]["Fn::Sub"])
        if not book or not (BOOKS / f"{book[1]}.md").exists():
            yield f"{name}: no runbook"
        periods = set()
        for query in given["Metrics"]:
            if "Expression" in query:
                known = {other["Id"] for other in given["Metrics"]}
                words = re.findall(r"\b[a-z]\w*", query["Expression"])
                yield from (f"{name}: no metric {word}" for word in words if word not in known)
                continue
            metric, period = query["MetricStat"]["Metric"], query["MetricStat"]["Period"]
            periods.add(period)
            if not re.fullmatch(r"Average|Sum|SampleCount|Maximum|Minimum|p\d\d", query["MetricStat"]["Stat"]):
                yield f"{name}: Stat"
            if period % 60 or period * given["EvaluationPeriods"] > 86400:
                yield f"{name}: Period"
            own = metric["Namespace"] == {"Ref": "EmfNamespace"}
            known = metric["MetricName"] in KNOWN if own else metric["MetricName"] in names
            if not known or own != (alarm.get("Condition") == "HasEmf"):
                yield f"{name}: the mirror does not send {metric['MetricName']} there"
            dimensions = [one["Name"] for one in metric["Dimensions"]]
            wanted = {"ClusterName", *(KNOWN.get(metric["MetricName"]) or ())} if own else {"CLUSTER_ID"}
            if set(dimensions) != wanted:
                yield f"{name}: dimensions are {sorted(wanted)}"
        if len(periods) != 1:
            yield f"{name}: periods differ"


def all_of(groups):
    for found in (of_rules(groups), of_prometheus_rule(groups), of_runbooks(groups), of_alarms()):
        yield from found


def queries_as_rules(groups):
    """The runbooks' queries as rules, so that promtool reads them."""
    rows = [row["alert"] for group in groups for row in group["rules"] if "alert" in row]
    rules = [{"record": f"book:{name}:{n}", "expr": query} for name in rows for n, query in enumerate(queries(name))]
    return {"groups": [{"name": "runbooks", "rules": rules}]}


if __name__ == "__main__":
    sys.exit("alerts/check runs this")
