"""A stage for checks that want the real processes: the program, a simulated fleet, a real Prometheus that scrapes
it, all on loopback. Comes in: a folder, the programs. Goes out: what Prometheus answers.

Stopping: every process is ended by its own handle, the last one first. Never: a file outside its folder, a fixed port.
"""

import json
import os
import pathlib
import re
import subprocess
import time
import urllib.parse
import urllib.request

# A hanging start is a failure.
PATIENCE = 60


def get(url, **query):
    if query:
        url += "?" + urllib.parse.urlencode(query)
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def post(url, **query):
    request = urllib.request.Request(f"{url}?{urllib.parse.urlencode(query)}", method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def until(what, ask):
    """Asks again until there is an answer."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = ask()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"no {what} within {PATIENCE} s")


def replace(file, text):
    """Whoever reads it finds the old text or the new one."""
    new = file.with_name(file.name + ".new")
    new.write_text(text)
    new.rename(file)


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


class Stage:
    """Started by `with`; everything ends with it."""

    def __init__(self, folder, program, prometheus, interval):
        self.folder, self.program, self.prometheus = pathlib.Path(folder), program, prometheus
        # Seconds, of nodes by the exporters and of the exporters by Prometheus.
        self.interval = interval
        self.processes = []

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end()

    def begin(self):
        """What stands when the check starts."""

    def start(self, name, *command):
        self.processes.append(Process(self.folder, name, *command))
        return self.processes[-1]

    def start_fleet(self, name, *flags):
        """Simulated nodes: the file of their targets, and the address that takes orders."""
        targets = self.folder / f"{name}.json"
        fleet = self.start(name, self.program, "fleet", "--port", 0, "--truth", "127.0.0.1:0",
                           "--write-targets", targets, *flags)
        truth = fleet.said(r"truth:\s+http://([\d.:]+)/")
        until(f"targets of {name}", targets.exists)
        return targets, truth

    def start_exporter(self, name, targets, *flags):
        """Its process, and its address once it is ready."""
        process = self.start(
            name, self.program, f"--discover.file={targets}", "--discover.kubernetes=off", "--lead.election=off",
            "--web.listen-address=127.0.0.1:0", f"--scrape.interval={self.interval}s", *flags)
        address = process.said(r"listening for HTTP.*address=\"?([\d.:]+)")
        until(f"ready {name}", lambda: self.ready(address))
        return process, address

    @staticmethod
    def ready(address):
        try:
            return get(f"http://{address}/readyz")
        except OSError:
            return None

    def start_prometheus(self, jobs, *flags, **more):
        """`jobs` are its scrape_configs, `more` is what else its file says."""
        every = f"{self.interval}s"
        config = {"global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
                  "scrape_configs": jobs, **more}
        (self.folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        process = self.start("prometheus", self.prometheus, f"--config.file={self.folder / 'prometheus.yml'}",
                             f"--storage.tsdb.path={self.folder / 'data'}", "--web.listen-address=127.0.0.1:0", *flags)
        self.api = "http://" + process.said(r"Listening on.*address=\"?([\d.:]+)") + "/api/v1/"
        until("ready Prometheus", self.answers)
        self.began = time.time()

    def answers(self):
        try:
            return self.ask("query", query="1")
        except OSError:
            return None

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

    def history(self, expr):
        """Labels of each series that an expression had since the beginning, and its moments and values."""
        result = self.ask("query_range", query=expr, start=self.began, end=time.time(), step=self.interval)["result"]
        return [(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in result]

    def values(self, label, selector):
        return self.ask(f"label/{label}/values", **{"match[]": selector})
