#!/usr/bin/env python3
"""The service against a simulated fleet, as two processes; prints the table of benches/README.md.

Figures come from the service's own metrics and from /proc, so Linux is needed. Everything is on
loopback addresses and stops by itself.

    cargo build --release && benches/speed.py [--nodes 10000] [--interval 30] [--only none,core,first,hang]
"""

import argparse
import gzip
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
HANG_GUARD = 300  # seconds; nothing here takes so long unless it hangs


def get(address, path, headers=None):
    """GET on a connection of its own: (seconds, bytes on the wire, text)."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    seconds = time.perf_counter() - began
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"GET {path}: {answer.status} {body[:200]!r}")
    size = len(body)
    if answer.getheader("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return seconds, size, body.decode()


def post(address, path):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("POST", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status >= 300:
        raise SystemExit(f"POST {path}: {answer.status}")


def cpu_seconds(pid, thread=None):
    """CPU of a process, or of its thread of that name."""
    paths = [f"/proc/{pid}/stat"]
    if thread:
        tasks = [f"/proc/{pid}/task/{task}" for task in os.listdir(f"/proc/{pid}/task")]
        paths = [f"{t}/stat" for t in tasks if open(f"{t}/comm").read().strip() == thread]
    total = 0
    for path in paths:
        fields = open(path).read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def rss_mb(pid):
    status = open(f"/proc/{pid}/status").read()
    found = {key: int(re.search(key + r":\s+(\d+) kB", status)[1]) / 1000 for key in ("VmRSS", "VmHWM")}
    return found["VmRSS"], found["VmHWM"]


class Process:
    """A child whose standard error goes to a file; killed at the end."""

    def __init__(self, args, ready):
        self.log = tempfile.NamedTemporaryFile("r", prefix="speed-", suffix=".log")
        self.child = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=open(self.log.name, "w"),
                                      stderr=subprocess.STDOUT)
        self.pid = self.child.pid
        self.ready = self.wait(ready)

    def wait(self, pattern):
        for _ in range(HANG_GUARD * 20):
            found = re.search(pattern, open(self.log.name).read())
            if found:
                return found
            if self.child.poll() is not None:
                raise SystemExit(open(self.log.name).read())
            time.sleep(0.05)
        raise SystemExit(f"no {pattern}:\n" + open(self.log.name).read())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Service(Process):
    def __init__(self, options, targets, *flags):
        super().__init__([options.program, "--discover.file", targets, "--web.listen-address", "127.0.0.1:0",
                          "--scrape.interval", f"{options.interval}s", *flags],
                         r"listening.*?address=\"?(127\.0\.0\.1:\d+)")
        self.address = self.ready[1]

    def own(self):
        """The exporter's own samples."""
        text = get(self.address, "/metrics?scope=self")[2]
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in samples}

    def until_rounds(self, count):
        for _ in range(HANG_GUARD * 10):
            if self.own()["vpccni_exporter_rounds_total"] >= count:
                return
            time.sleep(0.1)
        raise SystemExit(f"no {count} rounds")


def fleet(options, targets, *flags):
    return Process([options.program, "fleet", "--nodes", str(options.nodes), "--seed", "1", "--calm",
                    "--write-targets", targets, "--truth", "127.0.0.1:0", *flags],
                   r"(?i)truth.*?(127\.0\.0\.1:\d+)")


def scrapes(own):
    return sum(value for name, value in own.items() if name.startswith("vpccni_exporter_scrapes_total"))


def delay(before, after):
    """Mean seconds that scrapes waited behind their slot between two readings."""
    name = "vpccni_exporter_scrape_delay_seconds"
    count = after[name + "_count"] - before[name + "_count"]
    return (after[name + "_sum"] - before[name + "_sum"]) / max(count, 1)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def steady(options, targets, detail, rows):
    with Service(options, targets, "--node.detail", detail) as service:
        service.until_rounds(3)
        before, cpu, publishing = service.own(), cpu_seconds(service.pid), cpu_seconds(service.pid, "publish")
        cluster = []
        until = time.monotonic() + 2 * options.interval
        while time.monotonic() < until:
            cluster.append(get(service.address, "/metrics?scope=cluster", {"Accept-Encoding": "gzip"})[0])
            time.sleep(0.2)
        after = service.own()
        done = scrapes(after) - scrapes(before)
        spent = cpu_seconds(service.pid) - cpu
        views = after["vpccni_exporter_view_generation"] - before["vpccni_exporter_view_generation"]
        made = 2 * options.interval / min(5, options.interval)
        per_view = (cpu_seconds(service.pid, "publish") - publishing) / max(made, 1)
        rss, peak = rss_mb(service.pid)
        rows.append((f"{detail}: CPU-s per 10,000 scrapes ({done:.0f} scrapes, probes included)", f"{spent / done * 1e4:.2f}"))
        rows.append((f"{detail}: RSS, peak", f"{rss:.0f} MB, {peak:.0f} MB"))
        rows.append((f"{detail}: refresh, CPU per view", f"{per_view * 1000:.0f} ms ({views:.0f} changes)"))
        rows.append((f"{detail}: cluster page while rounds run, p50, p99 of {len(cluster)}",
                     f"{percentile(cluster, 0.5) * 1000:.2f} ms, {percentile(cluster, 0.99) * 1000:.2f} ms"))
        answers = [get(service.address, "/metrics", {"Accept-Encoding": "gzip"}) for _ in range(20)]
        times = []
        for _ in range(50):
            began = time.perf_counter()
            connection = http.client.HTTPConnection(service.address, timeout=60)
            connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            connection.getresponse().read()
            times.append(time.perf_counter() - began)
            connection.close()
        rows.append((f"{detail}: whole gzip answer, p50, p99",
                     f"{percentile(times, 0.5) * 1000:.1f} ms, {percentile(times, 0.99) * 1000:.1f} ms "
                     f"({answers[-1][1] / 1e6:.2f} MB for {len(answers[-1][2]) / 1e6:.1f} MB)"))
        hits = {r: after[f'vpccni_exporter_shape_lines_total{{result="{r}"}}'] - before[f'vpccni_exporter_shape_lines_total{{result="{r}"}}'] for r in ("hit", "miss")}
        rows.append((f"{detail}: lines tokenised anew", f"{hits['miss'] / max(sum(hits.values()), 1):.2%}"))


def first_round(options, rows, folder):
    targets = os.path.join(folder, "delayed.json")
    with fleet(options, targets, "--answer-delay", "20ms"):
        with Service(options, targets, "--node.detail", "none") as service:
            found = service.wait(r"first round: (\d+) nodes answered, (\d+) did not, in ([\d.]+) s")
            rows.append(("first round, each node answering after 20 ms", f"{found[3]} s ({found[1]} answered, {found[2]} did not)"))
            service.until_rounds(1)
            rows.append(("CPU of the first round", f"{cpu_seconds(service.pid):.2f} s"))


def hanging(options, targets, control, rows):
    with Service(options, targets, "--node.detail", "none") as service:
        service.until_rounds(2)
        before = service.own()
        service.until_rounds(3)
        quiet = service.own()
        names = [group["labels"]["node"] for group in json.load(open(targets))][:100]
        for name in names:
            post(control, f"/misbehave?node={name}&how=timeout")
        rounds = quiet["vpccni_exporter_rounds_total"]
        service.until_rounds(rounds + 2)
        begun = service.own()
        service.until_rounds(rounds + 3)
        busy = service.own()
        ok = 'vpccni_exporter_scrapes_total{outcome="ok"}'
        rows.append(("mean wait behind the slot, no node hanging", f"{delay(before, quiet) * 1000:.1f} ms"))
        rows.append((f"the same with {len(names)} nodes hanging (their own waits included)", f"{delay(begun, busy) * 1000:.1f} ms"))
        rows.append(("good scrapes a round, before and with them",
                     f"{quiet[ok] - before[ok]:.0f}, {busy[ok] - begun[ok]:.0f}"))
        for name in names:
            post(control, f"/misbehave?node={name}&how=ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(os.path.dirname(__file__), "..", "target")), "release/vpc-cni-exporter"))
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--interval", type=int, default=30)
    parser.add_argument("--only", default="none,core,first,hang")
    options = parser.parse_args()
    only = options.only.split(",")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        targets = os.path.join(folder, "targets.json")
        if {"none", "core", "hang"} & set(only):
            with fleet(options, targets) as nodes:
                for detail in ("none", "core"):
                    if detail in only:
                        steady(options, targets, detail, rows)
                if "hang" in only:
                    hanging(options, targets, nodes.ready[1], rows)
        if "first" in only:
            first_round(options, rows, folder)
    print(f"{options.nodes} nodes, every {options.interval} s\n")
    print("| what | measured |\n|---|---|")
    for what, figure in rows:
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
