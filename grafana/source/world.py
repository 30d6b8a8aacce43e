"""A small world for the queries: a simulated fleet, several exporters that scrape it, and a real Prometheus
that scrapes all of them, on loopback.

Jobs: OURS shows everything (--node.detail=full, a mirror); `bare` shows no nodes; `shards` are two halves, of
another cluster by their label; `heirs` are two processes, the second of which began when the first had ended;
`aws-node` is the fleet itself, as by a PodMonitor beside us. All exporters see the same nodes.

Stopping: every process is ended by its own handle, the last one first. Never: a file outside its folder.
"""

import json
import os
import pathlib
import re
import subprocess
import time
import urllib.parse
import urllib.request

OURS, BARE, SHARDS, HEIRS, BESIDE = "vpc-cni-exporter", "bare", "shards", "heirs", "aws-node"
# The shards' cluster; the others have no such label.
CLUSTER = "east"
NODES = 40
# Story seconds in a second: an hour of the fleet passes in half a minute.
SPEED = 120
# Of nodes by the exporters, and of the exporters by Prometheus.
INTERVAL = 2
# A hanging start is a failure.
PATIENCE = 60


def get(url, **query):
    if query:
        url += "?" + urllib.parse.urlencode(query)
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def until(what, ask):
    """Asks again until there is an answer."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = ask()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"no {what} within {PATIENCE} s")


class Process:
    """A child whose output is kept in a file."""

    def __init__(self, folder, name, *command):
        self.log = folder / f"{name}.log"
        # No variable of ours or of AWS may reach in.
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("VPCCNI_", "AWS_", "KUBE"))}
        with self.log.open("w") as log:
            self.child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT,
                                          stdin=subprocess.DEVNULL, env=clean, cwd=folder)

    def said(self, pattern):
        """The first group of what it wrote."""

        def look():
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.log.name} ended by itself:\n{self.log.read_text()[-2000:]}")
            found = re.search(pattern, self.log.read_text())
            return found and found.group(1)

        return until(f"{pattern} of {self.log.name}", look)

    def end(self):
        self.child.terminate()
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class World:
    """Started by `with`; everything ends with it."""

    def __init__(self, folder, program, prometheus):
        self.folder, self.program, self.prometheus = pathlib.Path(folder), program, prometheus
        self.processes, self.jobs = [], {}

    def start(self, name, *command):
        self.processes.append(Process(self.folder, name, *command))
        return self.processes[-1]

    def run(self, name, *command):
        """What the program writes until it ends by itself."""
        process = self.start(name, self.program, *command)
        if process.child.wait(PATIENCE):
            raise RuntimeError(f"{name} failed:\n{process.log.read_text()[-2000:]}")
        return process.log.read_text()

    def simulate(self, *flags):
        """The nodes."""
        self.targets = self.folder / "nodes.json"
        fleet = self.start("fleet", self.program, "fleet", "--nodes", NODES, "--speed", SPEED, "--port", 0,
                           "--truth", "127.0.0.1:0", "--write-targets", self.targets, *flags)
        self.truth = fleet.said(r"truth:\s+http://([\d.:]+)/")
        until("targets of the fleet", self.targets.exists)

    def exporter(self, job, name, *flags):
        process = self.start(
            name, self.program, f"--discover.file={self.targets}", "--discover.kubernetes=off", "--lead.election=off",
            "--web.listen-address=127.0.0.1:0", f"--scrape.interval={INTERVAL}s", "--cluster.name=check", *flags)
        address = process.said(r"listening for HTTP.*address=\"?([\d.:]+)")
        until(f"ready {name}", lambda: self.ready(address))
        self.jobs.setdefault(job, []).append(address)
        self.publish()
        return process

    @staticmethod
    def ready(address):
        try:
            return get(f"http://{address}/readyz")
        except OSError:
            return None

    def publish(self):
        """Prometheus follows this file. Whoever is gone stays a target, as a pod that is not there yet."""
        groups = [{"targets": addresses, "labels": {"job": job, **({"cluster": CLUSTER} if job == SHARDS else {})}}
                  for job, addresses in self.jobs.items()]
        new = self.folder / "exporters.json.new"
        new.write_text(json.dumps(groups))
        new.rename(self.folder / "exporters.json")

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self):
        self.simulate()
        self.exporter(OURS, "ours", "--node.detail=full", "--mirror.to=emf+stdout:", f"--mirror.interval={INTERVAL}s")
        self.exporter(BARE, "bare", "--node.detail=none")
        for index in (0, 1):
            self.exporter(SHARDS, f"shard-{index}", "--shard.count=2", f"--shard.index={index}")
        self.first = self.exporter(HEIRS, "first")
        config = {
            "global": {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": f"{INTERVAL}s"},
            "scrape_configs": [
                {"job_name": "exporters", "honor_labels": True,
                 "file_sd_configs": [{"files": [str(self.folder / "exporters.json")], "refresh_interval": "1s"}]},
                # The file of the fleet has the label node, as a PodMonitor's relabelling would.
                {"job_name": BESIDE, "scrape_interval": "5s", "scrape_timeout": "5s",
                 "file_sd_configs": [{"files": [str(self.targets)], "refresh_interval": "5s"}]},
            ],
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        process = self.start("prometheus", self.prometheus, f"--config.file={self.folder / 'prometheus.yml'}",
                             f"--storage.tsdb.path={self.folder / 'data'}", "--web.listen-address=127.0.0.1:0")
        self.api = "http://" + process.said(r"Listening on.*address=\"?([\d.:]+)") + "/api/v1/"
        until("ready Prometheus", self.answers)
        self.began = time.time()

    def answers(self):
        try:
            return self.ask("query", query="1")
        except OSError:
            return None

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end()

    def live(self, seconds):
        time.sleep(seconds)

    def succeed(self):
        """The first of the heirs ends, and another process begins: a change of leaders."""
        self.first.end()
        self.exporter(HEIRS, "second")

    def stand_still(self):
        """The fleet stops changing, and everyone has seen that: hanging nodes have failed long enough."""
        request = urllib.request.Request(f"http://{self.truth}/pause", method="POST")
        urllib.request.urlopen(request, timeout=10).close()
        time.sleep(8 * INTERVAL)

    # ------------------------------------------------------------------------------------------- Prometheus's API

    def ask(self, path, **query):
        answer = json.loads(get(self.api + path, **query))
        if answer["status"] != "success":
            raise ValueError(f"{path} {query}: {answer}")
        return answer["data"]

    def now(self, expr):
        """The series of an expression, by their labels, at this moment."""
        result = self.ask("query", query=expr)["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in result}

    def ever(self, expr):
        """All values that an expression had since the beginning."""
        result = self.ask("query_range", query=expr, start=self.began, end=time.time(), step=INTERVAL)["result"]
        return [float(value) for one in result for _, value in one["values"]]

    def values(self, label, selector):
        return self.ask(f"label/{label}/values", **{"match[]": selector})
