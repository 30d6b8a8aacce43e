"""Whether rules as rendered are those that alerts/generate makes of the same settings.

  python same_rules.py RENDERED JOB INTERVAL SHARDS RULES

Comes in: rendered objects, and the settings that they were rendered with. Goes out: RULES, a rule file for promtool;
exit code 1 and the first rule that differs. Never: a look at wording: that is alerts/check's.
"""

import importlib.util
import re
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import yaml

ALERTS = Path(__file__).resolve().parents[2] / "alerts"
sys.dont_write_bytecode = True


def product(found):
    return f"{float(found[1]) * float(found[2]):g}"


def plain(rules):
    """The chart leaves products to PromQL, alerts/generate makes them; where the runbooks are is a value."""
    for rule in rules:
        rule["expr"] = re.sub(r"([\d.]+) \* (\d+)\b", product, str(rule["expr"]))
        (rule.get("annotations") or {}).pop("runbook_url", None)
    return rules


def main():
    rendered, job, interval, shards, out = sys.argv[1:]
    sys.path.insert(0, str(ALERTS))
    loader = SourceFileLoader("generate_alerts", str(ALERTS / "generate"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    objects = [object for object in yaml.safe_load_all(Path(rendered).read_text()) if object]
    (found,) = [object for object in objects if object["kind"] == "PrometheusRule"]
    Path(out).write_text(yaml.safe_dump(found["spec"]))
    wanted = list(module.Settings(job, "", int(interval), int(shards)).groups())
    groups = found["spec"]["groups"]
    names = [group["name"] for group in groups], [group["name"] for group in wanted]
    if names[0] != names[1]:
        return f"groups {names[0]} are rendered, and should be {names[1]}"
    for ours, theirs in zip(groups, wanted):
        for one, other in zip(plain(ours["rules"]), plain(theirs["rules"]), strict=True):
            if one != other:
                return f"rendered is\n{one}\nand should be\n{other}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
