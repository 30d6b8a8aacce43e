#!/usr/bin/env python3
"""Runs the service with the rights of rbac.yaml, against a real API server and a simulated fleet.

    cargo build --release && ./test        # builds the program, and once the API server
    deploy/try.py                          # Ctrl-C ends it
    deploy/try.py --nodes 500 -- --scrape.interval=10s

What comes after -- are flags of the service. The fleet's nodes stand at the API server as Nodes and as
running pods of aws-node, and follow the fleet. To compare figures with the truth let the story stand still:
POST /pause to the truth's address, wait for one scrape interval; /resume goes on. --discover.route=proxy does
not work here: the API server connects to no loopback address for others.

Needs Linux (each node has a loopback address of its own) and nothing but Python's standard library. Never:
anything outside of loopback, a file outside of its own folder and the API server's, both in the system's
temporary folder and gone with them.
"""

import argparse
import ctypes
import glob
import http.client
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

DEPLOY = pathlib.Path(__file__).resolve().parent
NAME = "vpc-cni-exporter"
PODS = "/api/v1/namespaces/kube-system/pods"
NODES = "/api/v1/nodes"
# The labels of a Node that the labels of the info metric come from.
LABELS = {
    "instance_type": "node.kubernetes.io/instance-type",
    "zone": "topology.kubernetes.io/zone",
    "region": "topology.kubernetes.io/region",
    "nodegroup": "eks.amazonaws.com/nodegroup",
    "capacity_type": "eks.amazonaws.com/capacityType",
}
# Requests under way at the same time.
AT_ONCE = 8


class Api:
    """The API server, as its administrator: one connection a thread."""

    def __init__(self, ready):
        self.address = urllib.parse.urlsplit(ready["url"]).netloc
        self.token = ready["token"]
        self.tls = ssl.create_default_context(cafile=ready["ca"])
        self.own = threading.local()

    def ask(self, method, path, body=None, content="application/json", fine=()):
        """The object that is answered; a refusal ends the script, but for codes that are fine."""
        body = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content}
        try:
            answer, text = self.send(method, path, body, headers)
        except (http.client.HTTPException, OSError):
            # A connection that was idle may have been closed; a new one has not.
            self.own.connection = None
            answer, text = self.send(method, path, body, headers)
        if answer.status >= 300 and answer.status not in fine:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def send(self, method, path, body, headers):
        if getattr(self.own, "connection", None) is None:
            self.own.connection = http.client.HTTPSConnection(self.address, context=self.tls, timeout=30)
        self.own.connection.request(method, path, body, headers)
        answer = self.own.connection.getresponse()
        return answer, answer.read()

    def apply(self, manifest):
        """As kubectl apply --server-side does; the API server itself reads the YAML."""
        for document in manifest.read_text().split("\n---\n"):
            metadata = re.search(r"^metadata:\n((?:  .*\n?)+)", document, re.M)[1]
            field = lambda name, text: (re.findall(rf"^ *{name}: (\S+)", text, re.M) or [""])[0]
            version, namespace = field("apiVersion", document), field("namespace", metadata)
            path = f"/{'apis' if '/' in version else 'api'}/{version}"
            path += f"/namespaces/{namespace}" if namespace else ""
            path += f"/{field('kind', document).lower()}s/{field('name', metadata)}?fieldManager=try&force=true"
            self.ask("PATCH", path, document.encode(), "application/apply-patch+yaml")


class Mirror:
    """The fleet's list as Nodes and pods, as kubelets and the DaemonSet's controller would write them."""

    def __init__(self, api):
        self.api, self.known, self.made, self.ending = api, {}, 0, False
        self.pool = ThreadPoolExecutor(AT_ONCE)
        labels = {"k8s-app": "aws-node"}
        template = {"metadata": {"labels": labels}, "spec": {"hostNetwork": True, "containers": [{"name": "aws-node", "image": "aws-node"}]}}
        spec = {"selector": {"matchLabels": labels}, "template": template}
        self.daemonset = "/apis/apps/v1/namespaces/kube-system/daemonsets"
        self.uid = api.ask("POST", self.daemonset, {"metadata": {"name": "aws-node", "labels": labels}, "spec": spec})["metadata"]["uid"]

    def become(self, groups):
        """Does what a changed list asks for: first what goes, as an address may be taken over."""
        listed = {group["labels"]["node"]: group for group in groups}
        gone = [node for node, (group, _) in self.known.items() if listed.get(node) != group]
        list(self.pool.map(self.unmake, gone))
        for node in gone:
            del self.known[node]
        new = [group for node, group in listed.items() if node not in self.known]
        for group in new:
            self.made += 1
            self.known[group["labels"]["node"]] = (group, f"aws-node-{self.made:05}")
        list(self.pool.map(self.make, new))
        counts = dict.fromkeys(["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable"], len(listed))
        self.merge(f"{self.daemonset}/aws-node/status", {"status": counts | {"numberMisscheduled": 0}})

    def make(self, group):
        node = group["labels"]["node"]
        labels = {theirs: group["labels"][ours] for ours, theirs in LABELS.items() if ours in group["labels"]}
        if kind := labels.get(LABELS["capacity_type"]):
            labels[LABELS["capacity_type"]] = kind.upper().replace("-", "_")
        labels |= {"kubernetes.io/hostname": node, "kubernetes.io/os": "linux"}
        pods = group["labels"].get("__allocatable_pods__")
        status = {"allocatable": {"pods": pods}} if pods else {}
        self.api.ask("POST", NODES, {"metadata": {"name": node, "labels": labels}, "status": status})
        address, port = group["targets"][0].rsplit(":", 1)
        pod = self.known[node][1]
        owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "aws-node", "uid": self.uid, "controller": True}
        ports = [{"name": "metrics", "containerPort": int(port), "hostPort": int(port)}]
        container = {"name": "aws-node", "image": "aws-node", "ports": ports}
        metadata = {"name": pod, "labels": {"k8s-app": "aws-node"}, "ownerReferences": [owner]}
        self.api.ask("POST", PODS, {"metadata": metadata, "spec": {"nodeName": node, "hostNetwork": True, "containers": [container]}})
        ready = [{"type": "Ready", "status": "True"}]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": address, "conditions": ready}
        self.merge(f"{PODS}/{pod}/status", {"status": status})

    def unmake(self, node):
        self.api.ask("DELETE", f"{PODS}/{self.known[node][1]}?gracePeriodSeconds=0", fine=[404])
        self.api.ask("DELETE", f"{NODES}/{node}", fine=[404])

    def merge(self, path, fields):
        self.api.ask("PATCH", path, fields, "application/merge-patch+json")

    def follow(self, file):
        """Until the script ends, which it does with this."""
        last = None
        try:
            while not self.ending:
                text = file.read_text()
                if text != last:
                    self.become(json.loads(text))
                    last = text
                time.sleep(0.1)
        except BaseException:
            if not self.ending:
                traceback.print_exc()
                os.kill(os.getpid(), signal.SIGTERM)


def start(command, **more):
    """A child that ends with this script, however that ends."""
    end_with_me = lambda: ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    return subprocess.Popen(command, text=True, preexec_fn=end_with_me, **more)


def wait_for(process, pattern, stream):
    """The first group of the first line that matches; the lines before it are passed on."""
    for line in stream:
        if found := re.search(pattern, line):
            # Read to its end, so that the process is not held up.
            threading.Thread(target=pass_on, args=(stream,), daemon=True).start()
            return found[1]
        sys.stderr.write(line)
    raise SystemExit(f"{process.args[0]} ended ({process.wait()})")


def pass_on(stream):
    for line in stream:
        sys.stderr.write(line)


def api_server():
    """What ./test built, the newest first."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    built = glob.glob(f"{cache}/vpc-cni-exporter/parts/kube-test-server-*/kube-test-server")
    if found := os.environ.get("VPCCNI_KUBE_API") or max(built, key=os.path.getmtime, default=None):
        return found
    raise SystemExit("no API server: ./test builds it once, or VPCCNI_KUBE_API names one")


def credentials(api, ready, folder):
    """A kubeconfig of the service's account. Its token stands in a file of its own, as in a pod."""
    path = f"/api/v1/namespaces/{NAME}/serviceaccounts/{NAME}/token"
    made = api.ask("POST", path, {"spec": {"expirationSeconds": 24 * 3600}})
    (folder / "token").write_text(made["status"]["token"])
    cluster = {"server": ready["url"], "certificate-authority": ready["ca"]}
    user = {"tokenFile": str(folder / "token")}
    context = {"cluster": NAME, "user": NAME, "namespace": NAME}
    whole = {"apiVersion": "v1", "kind": "Config", "current-context": NAME}
    for kinds, kind, value in [("clusters", "cluster", cluster), ("users", "user", user), ("contexts", "context", context)]:
        whole[kinds] = [{"name": NAME, kind: value}]
    (folder / "kubeconfig").write_text(json.dumps(whole))
    return folder / "kubeconfig"


def main():
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="50", help="of the fleet [50]")
    parser.add_argument("--calm", action="store_true", help="no trouble, no joins, no restarts")
    parser.add_argument("--base", default="127.61.0.1", help="address of the first node [127.61.0.1]")
    parser.add_argument("--program", default=f"{target}/release/{NAME}", help="[%(default)s]")
    parser.add_argument("flags", nargs="*", help="of the service")
    asked = parser.parse_args()
    if not os.access(asked.program, os.X_OK):
        raise SystemExit(f"no {asked.program}: cargo build --release, with the same CARGO_TARGET_DIR if one is set, or see --program")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as name:
        folder = pathlib.Path(name)
        server = start([api_server(), "-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(folder / "api-server.log", "w"))
        ready = json.loads(wait_for(server, r"^(\{.*\"ready\":true.*\})", server.stdout))
        api = Api(ready)
        api.apply(DEPLOY / "rbac.yaml")

        with socket.create_server((asked.base, 0)) as free:
            port = str(free.getsockname()[1])
        file = folder / "targets.json"
        fleet = start([asked.program, "fleet", "--nodes", asked.nodes, "--address-base", asked.base, "--port", port, "--truth", "127.0.0.1:0", "--write-targets", str(file), *(["--calm"] if asked.calm else [])], stdout=subprocess.PIPE)
        truth = wait_for(fleet, r"^truth: +(\S+)", fleet.stdout)
        mirror = Mirror(api)
        mirror.become(json.loads(file.read_text()))

        kubeconfig = credentials(api, ready, folder)
        own = [flag for flag in ["--web.listen-address=127.0.0.1:0", "--lead.election=on"] if not any(given.startswith(flag.split("=")[0]) for given in asked.flags)]
        command = [asked.program, "--discover.kubernetes=on", f"--kube.config={kubeconfig}", *own, *asked.flags]
        print(f"service  {shlex.join(command)}")
        # Counters begin with the service; values stand for three intervals of 30 s, unless flags say otherwise.
        since, stale = time.time(), 90
        service = start(command, stderr=subprocess.PIPE)
        web = wait_for(service, r"listening for HTTP.*address=\"?([0-9.:]+)", service.stderr)
        print(f"figures  http://{web}/metrics?scope=cluster")
        print(f"nodes    http://{web}/api/v1/nodes")
        print(f"truth    {truth}?since={since:.3f}&stale_after={stale} (what the fleet knows of itself)")
        print(f"cluster  kubectl --kubeconfig {ready['kubeconfig']} -n kube-system get pods")
        print("Ctrl-C ends it", flush=True)
        threading.Thread(target=mirror.follow, args=(file,), daemon=True).start()
        code = 1
        try:
            code = service.wait()
            print(f"the service ended ({code})")
        except KeyboardInterrupt:
            code = 0
        finally:
            mirror.ending = True
            for process in (service, fleet, server):
                process.terminate()
            for process in (service, fleet, server):
                process.wait()
        return code


if __name__ == "__main__":
    sys.exit(main())
