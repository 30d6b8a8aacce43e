"""Writes JSON schemas that kubeconform can read without the network.

  python schemas.py OUT WHEEL CRDS...

Comes in: the schemas in the wheel of kubernetes-validate, and CustomResourceDefinitions (files of YAML).
Goes out: OUT/vVERSION-strict/KIND-GROUP-VERSION.json of the Kubernetes versions below, OUT/crds/KIND-GROUP-VERSION.json.
Never: a schema that lets an unknown field pass, where the original does not say so.
"""

import json
import sys
import zipfile
from pathlib import Path

import yaml

# The oldest and the newest of Chart.yaml's kubeVersion, and some between; charts/check reads them here.
VERSIONS = ["1.30.0", "1.33.0", "1.35.0", "1.37.0"]


# What the chart renders, and what these refer to.
KINDS = """clusterrole clusterrolebinding configmap deployment networkpolicy poddisruptionbudget role rolebinding secret
service serviceaccount statefulset _definitions""".split()


def kubernetes(out, wheel):
    with zipfile.ZipFile(wheel) as package:
        for version in VERSIONS:
            folder = out / f"v{version}-strict"
            folder.mkdir(parents=True)
            inside = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/"
            for name in package.namelist():
                file = name.removeprefix(inside)
                if file != name and file.split(".")[0].split("-")[0] in KINDS:
                    # It points to itself by a path of the package's.
                    text = package.read(name).decode().replace('"/api/_definitions.json#', '"_definitions.json#')
                    schema = json.loads(text)
                    schema.pop("$id", None)
                    (folder / file).write_text(json.dumps(schema))


def strict(schema):
    """No field that is not named, but where a schema wants them all."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            strict(value)
    elif isinstance(schema, list):
        for value in schema:
            strict(value)
    return schema


def definitions(out, files):
    out.mkdir(parents=True)
    for path in files:
        for crd in yaml.safe_load_all(path.read_text()):
            for version in crd["spec"]["versions"] if crd else []:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                name = f"{crd['spec']['names']['kind']}-{crd['spec']['group']}-{version['name']}.json"
                (out / name.lower()).write_text(json.dumps(schema))


if __name__ == "__main__":
    kubernetes(Path(sys.argv[1]), sys.argv[2])
    definitions(Path(sys.argv[1]) / "crds", [Path(name) for name in sys.argv[3:]])
