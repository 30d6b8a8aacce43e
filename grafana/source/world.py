"""A small world for the queries: a simulated fleet, several exporters that scrape it, and a real Prometheus
that scrapes all of them (tests/stage.py).

Jobs: OURS shows everything (--node.detail=full, a mirror); `bare` shows no nodes; `shards` are two halves, of
another cluster by their label; `heirs` are two processes, the second of which began when the first had ended;
`aws-node` is the fleet itself, as by a PodMonitor beside us. All exporters see the same nodes.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from stage import PATIENCE, Stage, post, replace

OURS, BARE, SHARDS, HEIRS, BESIDE = "vpc-cni-exporter", "bare", "shards", "heirs", "aws-node"
# The shards' cluster; the others have no such label.
CLUSTER = "east"
NODES = 40
# Story seconds in a second: an hour of the fleet passes in half a minute.
SPEED = 120
INTERVAL = 2


class World(Stage):
    def __init__(self, folder, program, prometheus):
        super().__init__(folder, program, prometheus, INTERVAL)
        self.jobs = {}

    def run(self, name, *command):
        """What the program writes until it ends by itself."""
        process = self.start(name, self.program, *command)
        if process.child.wait(PATIENCE):
            raise RuntimeError(f"{name} failed:\n{process.log.read_text()[-2000:]}")
        return process.log.read_text()

    def simulate(self, *flags):
        """The nodes."""
        self.targets, self.truth = self.start_fleet("nodes", "--nodes", NODES, "--speed", SPEED, *flags)

    def exporter(self, job, name, *flags):
        process, address = self.start_exporter(name, self.targets, "--cluster.name=check", *flags)
        self.jobs.setdefault(job, []).append(address)
        self.publish()
        return process

    def publish(self):
        """Prometheus follows this file. Whoever is gone stays a target, as a pod that is not there yet."""
        groups = [{"targets": addresses, "labels": {"job": job, **({"cluster": CLUSTER} if job == SHARDS else {})}}
                  for job, addresses in self.jobs.items()]
        replace(self.folder / "exporters.json", json.dumps(groups))

    def begin(self):
        self.simulate()
        self.exporter(OURS, "ours", "--node.detail=full", "--mirror.to=emf+stdout:", f"--mirror.interval={INTERVAL}s")
        self.exporter(BARE, "bare", "--node.detail=none")
        for index in (0, 1):
            self.exporter(SHARDS, f"shard-{index}", "--shard.count=2", f"--shard.index={index}")
        self.first = self.exporter(HEIRS, "first")
        self.start_prometheus([
            {"job_name": "exporters", "honor_labels": True,
             "file_sd_configs": [{"files": [str(self.folder / "exporters.json")], "refresh_interval": "1s"}]},
            # The file of the fleet has the label node, as a PodMonitor's relabelling would.
            {"job_name": BESIDE, "scrape_interval": "5s", "scrape_timeout": "5s",
             "file_sd_configs": [{"files": [str(self.targets)], "refresh_interval": "5s"}]},
        ])

    def live(self, seconds):
        time.sleep(seconds)

    def succeed(self):
        """The first of the heirs ends, and another process begins: a change of leaders."""
        self.first.end()
        self.exporter(HEIRS, "second")

    def stand_still(self):
        """The fleet stops changing, and everyone has seen that: hanging nodes have failed long enough."""
        post(f"http://{self.truth}/pause")
        time.sleep(8 * INTERVAL)

    def ever(self, expr):
        """All values that an expression had since the beginning."""
        return [value for _, values in self.history(expr) for _, value in values]
