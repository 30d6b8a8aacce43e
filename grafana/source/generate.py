#!/usr/bin/env python3
"""Writes the dashboards of grafana/ from their tables here; --check writes nothing and fails where one is old.

Needs the package that requirements.txt names: grafana/check brings it.
"""

import argparse
import json
import pathlib
import sys

import cloudwatch
import exporter
import fleet
import node
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = pathlib.Path(__file__).resolve().parent.parent
BOARDS = {"fleet": fleet, "node": node, "exporter": exporter, "cloudwatch": cloudwatch}


def text(module):
    """A dashboard as Grafana stores it, with keys in an order that does not change."""
    plain = json.loads(JSONEncoder().encode(module.board().build()))
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a dashboard is old")
    check = parser.parse_args().check
    old = []
    for name, module in BOARDS.items():
        path, new = FOLDER / f"{name}.json", text(module)
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            old.append(path.name)
            if not check:
                path.write_text(new, encoding="utf-8")
    if check and old:
        sys.exit(f"old: {', '.join(old)}; grafana/check --write makes them anew")
    if not check:
        print(f"written: {', '.join(old) or 'nothing, all were up to date'}")


if __name__ == "__main__":
    main()
