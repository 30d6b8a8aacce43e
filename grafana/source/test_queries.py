"""What a real Prometheus says to every query of the dashboards, in a small world of exporters (world.py).

Needs VPCCNI_PROGRAM, VPCCNI_PROMETHEUS and VPCCNI_PROMTOOL, and takes about two minutes, of which it waits most.
"""

import json
import math
import os
import re
import subprocess
import tempfile
import time
import unittest

from test_tables import METRIC, boards, metrics, panels, queries
from world import BARE, BESIDE, CLUSTER, HEIRS, INTERVAL, OURS, SHARDS, World

# Before and after the change of leaders.
SECONDS = (45, 45)
# How Prometheus calls the places where a query names a metric: for one moment, and for a range.
SELECTORS = ("vectorSelector", "matrixSelector")
# Families of nodes that begin with their first event, which need not happen within two minutes.
SELDOM = {"awscni_aws_utils_error_count", "vpccni_node_growth_blocked"}
# Of Kubernetes, which this world has not: Prometheus reads the query, and no series answers it.
ELSEWHERE = {"vpccni_daemonset_config_info"}
# What only a rule may find in the place of $__rate_interval.
MARK = 17 * 60


def filled(expr, job=OURS, node=".*", window=f"{4 * INTERVAL}s"):
    """A query as Grafana would send it, with everything chosen. A forecast of minutes stands for one of hours."""
    values = {"job": job, "cluster": ".*", "zone": ".*", "nodegroup": ".*", "node": node, "instance": ".+",
              "__rate_interval": window}
    expr = re.sub(r"\$(\w+)", lambda found: values[found.group(1)], expr)
    return expr.replace("[6h:5m]", f"[6h:{INTERVAL}s]").replace("offset 1h", "offset 20s")


def program(variable):
    path = os.environ.get(variable)
    if not path or not os.access(path, os.X_OK):
        raise FileNotFoundError(f"{variable} names no program: see grafana/check --help")
    return path


def walk(tree, above=()):
    """Every part of a parsed query with what it stands in."""
    if isinstance(tree, dict):
        yield tree, above
        for value in tree.values():
            yield from walk(value, (*above, tree))
    elif isinstance(tree, list):
        for value in tree:
            yield from walk(value, above)


class Queries(unittest.TestCase):
    """A failure names the dashboard and the panel."""

    @classmethod
    def setUpClass(cls):
        cls.boards = {name: board for name, board in boards().items() if name != "cloudwatch"}
        cls.queries = [(f"{name}: {where}", expr, instant)
                       for name, board in cls.boards.items() for where, expr, instant in queries(board)]
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="vpccni-grafana-"))
        cls.world = cls.enterClassContext(World(folder, program("VPCCNI_PROGRAM"), program("VPCCNI_PROMETHEUS")))
        cls.world.live(SECONDS[0])
        cls.world.succeed()
        cls.world.live(SECONDS[1])
        cls.world.stand_still()
        # The node of which most is known stands for those that somebody looks at.
        shown = cls.world.now(f'count by (node) (count by (node, __name__) ({{job="{OURS}", node=~".+"}}))')
        cls.node = max(shown, key=shown.get)[0][1]

    def shown(self, where):
        """Fleet shows all nodes, the dashboard Node one."""
        return self.node if where.startswith("node: ") else ".*"

    def parsed(self, expr):
        return self.world.ask("parse_query", query=filled(expr, window=f"{MARK}s"))

    # ------------------------------------------------------------------------------------------------------ rules

    def test_promtool_reads_every_query(self):
        rules = [{"record": f"query:{at}", "expr": filled(expr)} for at, (_, expr, _) in enumerate(self.queries)]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "queries", "rules": rules}]}, file)  # JSON is YAML
            file.flush()
            done = subprocess.run([program("VPCCNI_PROMTOOL"), "check", "rules", "--lint=none", file.name],
                                  capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(rules)} rules found", done.stdout)

    def test_every_selector_names_our_job_and_cluster(self):
        # As written, so that the variables stand in the matchers.
        for where, expr, _ in self.queries:
            expr = expr.replace("$__rate_interval", f"{MARK}s")
            tree = self.world.ask("parse_query", query=expr)
            selectors = [part for part, _ in walk(tree) if part.get("type") in SELECTORS]
            self.assertTrue(selectors, where)
            for selector in selectors:
                matchers = {(m["name"], m["type"], m["value"]) for m in selector["matchers"]}
                self.assertIn(("job", "=~", "$job"), matchers, where)
                self.assertIn(("cluster", "=~", "$cluster"), matchers, where)
                if where.startswith("exporter"):
                    self.assertIn(("instance", "=~", "$instance"), matchers, where)

    def test_counters_grow_per_series_before_they_are_added_up(self):
        kinds, counted = metrics(), 0
        for where, expr, _ in self.queries:
            for part, above in walk(self.parsed(expr)):
                if part.get("type") not in SELECTORS:
                    continue
                ranged = part["type"] == "matrixSelector"
                grown = ranged and above[-1].get("func", {}).get("name") in ("rate", "increase")
                counter = kinds[part["name"]] == "counter"
                # How often and how long a node's own ipamd started: a figure of one process.
                lifetime = part["name"].startswith("awscni_ipamd_startup_duration_seconds_")
                self.assertEqual(grown, counter and not lifetime, f"{where}: {part['name']}")
                if grown:
                    counted += 1
                    self.assertEqual([outer.get("op") for outer in above[-2:-1]], ["sum"], where)
                    if above[-1]["func"]["name"] == "rate":
                        self.assertEqual(part["range"], MARK * 1000, f"{where}: rate without $__rate_interval")
                    if part["name"].endswith("_bucket"):
                        self.assertIn("histogram_quantile", [p["func"]["name"] for p in above if p["type"] == "call"], where)
        self.assertGreater(counted, 50)

    def test_no_series_keeps_the_names_of_replicas_but_on_the_exporters_own_dashboard(self):
        # Whoever serves, a line goes on.
        for where, expr, _ in self.queries:
            if not where.startswith("exporter") and "annotation" not in where:
                for labels in self.world.now(filled(expr, node=self.shown(where))):
                    self.assertFalse({"instance", "pod", "job", "__name__"} & {name for name, _ in labels}, where)

    # ------------------------------------------------------------------------------------------------------- data

    def verdict(self, where, expr, job):
        """Whether there was data, at any moment of the world's life. Not all happens to one node."""
        as_sent = filled(expr, job, self.shown(where))
        for tried in (as_sent, filled(expr.replace('node="$node"', 'node=~"$node"'), job, ".+")):
            values = self.world.ever(tried)
            if any(not math.isnan(value) for value in values):
                return "data"
            if values:
                return "not a number"
        # Queries that show only what happened.
        if re.search(r" (> 0|== 0)$", expr) and self.world.ever(re.sub(r" (> 0|== 0)$", "", tried)):
            return "nothing happened"
        return "no data"

    def unseen(self):
        """Metrics that cannot have data: nothing of theirs happened to any node yet, or can happen here."""
        known = set(self.world.values("__name__", f'{{job="{OURS}"}}'))
        return (SELDOM | ELSEWHERE) - known

    def judge(self, queries, job):
        found = {}
        for where, expr, _ in queries:
            found.setdefault(self.verdict(where, expr, job), []).append(where)
        for verdict, places in sorted(found.items()):
            shown = [] if verdict == "data" else places
            print(f"\n{job}: {verdict}: {len(places)}", *shown, sep="\n    ", end="", flush=True)
        return found

    def test_every_query_has_data(self):
        found = self.judge(self.queries, OURS)
        awaited = {where for where, expr, _ in self.queries if set(METRIC.findall(expr)) & self.unseen()}
        self.assertEqual(set(found.get("no data", [])), awaited)
        self.assertEqual(found.get("not a number", []), [])

    def test_fleet_has_data_without_series_of_nodes(self):
        fleet = [(where, expr, instant) for where, expr, instant in self.queries
                 if where.startswith("fleet: ") and not where.startswith("fleet: Where ")]
        found = self.judge(fleet, BARE)
        awaited = {where for where, expr, _ in fleet if set(METRIC.findall(expr)) & self.unseen()}
        self.assertEqual(set(found.get("no data", [])), awaited)

    def test_prometheus_has_every_metric_that_is_named(self):
        known = set(self.world.values("__name__", f'{{job="{OURS}"}}'))
        named = {metric for _, expr, _ in self.queries for metric in METRIC.findall(expr)}
        self.assertEqual(named - known, named & self.unseen())

    # -------------------------------------------------------------------- whoever serves, and whoever else scrapes

    def test_the_variables_find_our_jobs_and_no_podmonitor(self):
        self.assertTrue(self.world.now(f'awscni_assigned_ip_addresses{{job="{BESIDE}", node!=""}}'))
        for name, board in self.boards.items():
            variables = {v["name"]: v for v in board["templating"]["list"] if v["type"] == "query"}
            for variable in variables.values():
                selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
                found = set(self.world.values(label, filled(selector, OURS if variable["name"] != "cluster" else ".+")))
                expected = {"job": {OURS, BARE, SHARDS, HEIRS}, "cluster": {CLUSTER}}.get(variable["name"], found)
                self.assertEqual(found, expected, name)
                self.assertTrue(found, f"{name}: {variable['name']}")

    def gauges(self, names=("fleet", "node")):
        """Queries of figures of the cluster and its nodes that change with the fleet alone."""
        for where, expr, _ in self.queries:
            # Why a node cannot grow each process says by what it has seen happen.
            own = r"vpccni_exporter_|vpccni_node_scrape_duration_seconds|growth_blocked|time\(\)|\["
            if where.split(":")[0] in names and not re.search(own, expr) and "--node.detail=full" not in where:
                yield where, expr

    def differences(self, where, expr):
        results = (self.world.now(filled(expr, job, self.shown(where))) for job in (OURS, SHARDS, HEIRS))
        one, *others = ({tuple(pair for pair in labels if pair[0] != "cluster"): value for labels, value in result.items()}
                        for result in results)
        return one, [other for other in others if set(one) != set(other) or not all(
            math.isclose(value, other[labels], rel_tol=1e-9) or math.isnan(value) for labels, value in one.items())]

    def test_shards_and_heirs_show_what_one_exporter_shows(self):
        compared = 0
        for where, expr in self.gauges():
            # A node that is slow may answer the one in time and not the other.
            for _ in range(8):
                one, differ = self.differences(where, expr)
                if not differ:
                    break
                time.sleep(INTERVAL)
            self.assertFalse(differ, f"{where}: {one}")
            compared += bool(one)
        print(f"\nthe same for one exporter, two shards and two heirs: {compared} queries", end="", flush=True)
        self.assertGreater(compared, 30)

    def test_clusters_whose_nodes_have_the_same_names_are_kept_apart(self):
        both = f"({OURS}|{SHARDS})"
        for where, expr, _ in self.queries:
            with self.subTest(where):  # Prometheus refuses to join what has two partners
                self.world.now(filled(expr, both, self.shown(where)))
        _, used, _ = next(query for query in self.queries if "Pod addresses in use" in query[0])
        clusters = {dict(labels).get("cluster") for labels in self.world.now(filled(used, both))}
        self.assertEqual(clusters, {None, CLUSTER})

    def test_a_change_of_leaders_bursts_no_counter(self):
        # What happened between the two nobody counted; more than happened nobody may count.
        compared = 0
        for where, expr, _ in self.queries:
            if "[10m]" in expr and where.startswith("fleet") and "vpccni_cluster" in expr:
                one, heirs, shards = (sum(self.world.now(filled(expr, job)).values()) for job in (OURS, HEIRS, SHARDS))
                self.assertLessEqual(heirs, one * 1.1 + 1, where)
                self.assertAlmostEqual(shards, one, delta=one * 0.1 + 1, msg=where)
                compared += 1
        self.assertGreater(compared, 0)

    def test_series_of_a_podmonitor_beside_us_add_nothing(self):
        total = f'sum(awscni_assigned_ip_addresses{{job="{OURS}"}})'
        doubled = 'sum(awscni_assigned_ip_addresses{job=~".+", node!=""})'
        self.assertGreater(sum(self.world.now(doubled).values()), sum(self.world.now(total).values()) * 1.5)
        where, expr = next((where, expr) for where, expr in self.gauges() if "In use by zone" in where)
        self.assertTrue(all(0 < value <= 1 for value in self.world.now(filled(expr)).values()), where)


class CloudWatch(unittest.TestCase):
    """The metrics of the CloudWatch dashboard are those that the mirror sends, with these dimensions."""

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="vpccni-grafana-"))
        cls.world = World(folder, program("VPCCNI_PROGRAM"), None)
        cls.addClassCleanup(cls.world.__exit__)
        cls.world.simulate("--calm")

    def sent(self):
        """Namespace, name and dimensions of what one interval of the mirror would send."""
        points = self.world.run("mirror", "mirror", "--dry-run", "--discover.kubernetes=off", "--cluster.name=check",
                                f"--discover.file={self.world.targets}", "--scrape.interval=1s",
                                "--mirror.to=put,emf+stdout:", "--mirror.interval=5s")
        for point in (json.loads(line) for line in points.splitlines() if line.startswith("{")):
            if "MetricName" in point:
                yield point["Namespace"], point["MetricName"], frozenset(point["Dimensions"].items())
                continue
            for directive in point["_aws"]["CloudWatchMetrics"]:
                for dimensions in directive["Dimensions"]:
                    values = frozenset((name, point[name]) for name in dimensions)
                    yield from ((directive["Namespace"], metric["Name"], values) for metric in directive["Metrics"])

    def test_the_mirror_sends_what_the_dashboard_asks_for(self):
        known = set(self.sent())
        self.assertGreater(len(known), 40)
        values = {"$namespace": "Kubernetes", "$emf_namespace": "VpcCni", "$cluster_id": "check",
                  "$cluster_name": "check"}
        asked = set()
        for heading, panel in panels(boards()["cloudwatch"]):
            ids = {target["id"] for target in panel["targets"]}
            for target in panel["targets"]:
                if "expression" in target:
                    self.assertLessEqual(set(re.findall(r"[a-z]\w*", target["expression"])), ids, panel["title"])
                    continue
                dimensions = frozenset((name, values.get(value, value)) for name, value in target["dimensions"].items())
                asked.add((values[target["namespace"]], target["metricName"], dimensions))
        if asked - known:
            # Latency is absent from an interval without calls.
            known |= set(self.sent())
        self.assertEqual(asked - known, set())
        # Nothing of cni-metrics-helper's that somebody may look for is left out.
        self.assertEqual({one[1] for one in known if one[0] == "Kubernetes"} - {one[1] for one in asked}, set())


if __name__ == "__main__":
    unittest.main()
