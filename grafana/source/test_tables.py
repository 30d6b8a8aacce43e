"""What holds for each dashboard by itself: nothing is started, nothing is asked. The rules are, among ours, those
of grafana/dashboard-linter, restated; where ours differs it says why.

Comes in: the four files beside this folder, the README's reference of metrics.
"""

import json
import re
import unittest

import generate
from grafana_foundation_sdk.cog import runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard, FieldConfig

FOLDER = generate.FOLDER
README = FOLDER.parent / "README.md"

# The README names them as the usual ones.
PROCESS = {"process_cpu_seconds_total": "counter", "process_max_fds": "gauge", "process_open_fds": "gauge",
           "process_resident_memory_bytes": "gauge", "process_start_time_seconds": "gauge"}
# Other dashboards and people's bookmarks name these.
UIDS = {"fleet": "vpccni-fleet", "node": "vpccni-node", "exporter": "vpccni-exporter", "cloudwatch": "vpccni-cloudwatch"}
# Transformations of Grafana, which the models do not know.
TRANSFORMATIONS = {"merge", "organize"}
METRIC = re.compile(r"\b(?:vpccni|awscni|process)_\w+")


def boards():
    return {name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in UIDS}


def panels(board):
    """Each panel that shows something, with the title of its row."""
    heading = None
    for panel in board["panels"]:
        if panel["type"] == "row":
            heading = panel["title"]
            yield from ((heading, inner) for inner in panel["panels"])
        else:
            yield heading, panel


def queries(board):
    """Each PromQL: what it belongs to, itself, and whether it is asked for one moment."""
    for heading, panel in panels(board):
        for target in panel["targets"]:
            if "expr" in target:
                yield f"{heading} / {panel['title']} {target['refId']}", target["expr"], target["instant"]
    for note in board["annotations"]["list"]:
        yield f"annotation {note['name']}", note["expr"], False


def metrics():
    """Every metric of the README's reference, samples of histograms and summaries too, and its type."""
    text = README.read_text(encoding="utf-8")
    section = text.split("<!-- metrics:begin -->")[1].split("<!-- metrics:end -->")[0]
    known = dict(PROCESS)
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if not line.startswith("| `"):
            continue
        for name in re.findall(r"`(\w+)`", cells[1]):
            known[name] = cells[2]
            if cells[2] in ("histogram", "summary"):
                suffixes = ("_sum", "_count", "_bucket") if cells[2] == "histogram" else ("_sum", "_count")
                known.update({name + suffix: "counter" for suffix in suffixes})
            if re.search("_(sum|count)$", name) and cells[2] == "summary":
                known[name] = "counter"
    # A picture of each moment, by its own words: its parts are no counters.
    known.update({name: "gauge" for name in known if name.startswith("vpccni_cluster_node_ip_utilization")})
    return known


def lost(before, after, path=""):
    """What a model did not keep, besides what it writes another way when it is empty."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{path}/{key}")
            elif value not in (None, [], {}, "", False, 0):
                yield f"{path}/{key}"
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{path}: {len(before)} became {len(after)}"
        for at, pair in enumerate(zip(before, after)):
            yield from lost(*pair, f"{path}/{at}")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


def through(model, value):
    return json.loads(JSONEncoder().encode(model(value)))


class Tables(unittest.TestCase):
    """A failure names the dashboard and the panel."""

    @classmethod
    def setUpClass(cls):
        register_default_plugins()
        cls.boards = boards()
        cls.prometheus = {name: board for name, board in cls.boards.items() if name != "cloudwatch"}

    def each_panel(self):
        """Every panel, and what to say of it when something does not hold."""
        for name, board in self.boards.items():
            for heading, panel in panels(board):
                yield f"{name}: {heading} / {panel['title']}", board, panel

    def test_the_files_are_what_the_tables_say(self):
        for name, module in generate.BOARDS.items():
            with self.subTest(name):
                written = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
                self.assertTrue(written == generate.text(module), f"{name}.json is old: grafana/check --write")

    # ------------------------------------------------------------------------------------------ Grafana's models

    def test_grafanas_models_keep_every_field(self):
        for name, board in self.boards.items():
            self.assertEqual(list(lost(board, through(Dashboard.from_json, board))), [], name)

    def test_every_kind_of_panel_and_query_is_one_that_the_models_know(self):
        # What they do not know they pass through as it is: the test above would prove nothing.
        known = runtime.Runtime()
        for where, _, panel in self.each_panel():
            self.assertIn(panel["type"], known.panelcfg_variants, where)
            for target in panel["targets"]:
                self.assertIn(target["datasource"]["type"], known.dataquery_variants, where)
            for step in panel.get("transformations", []):
                self.assertIn(step["id"], TRANSFORMATIONS, where)

    def test_what_an_override_sets_is_a_field_of_the_models(self):
        for where, _, panel in self.each_panel():
            own = runtime.panelcfg_config(panel["type"]).field_config_from_json_hook
            for override in panel["fieldConfig"]["overrides"]:
                for each in override["properties"]:
                    id, value = each["id"], each["value"]
                    field = {id.removeprefix("custom."): value}
                    model = own if id.startswith("custom.") else FieldConfig.from_json
                    self.assertEqual(list(lost(field, through(model, field))), [], where)

    def test_an_override_names_a_column_or_series_that_exists(self):
        for where, _, panel in self.each_panel():
            names = {target.get("legendFormat") or target.get("label") for target in panel["targets"]}
            for step in panel.get("transformations", []):
                names |= set(step["options"].get("renameByName", {}).values())
            names |= {state for state in ("stale", "failed", "missing") if "{{state}}" in names}
            for override in panel["fieldConfig"]["overrides"]:
                self.assertEqual(override["matcher"]["id"], "byName", where)
                self.assertIn(override["matcher"]["options"], names, where)
            for sort in panel["options"].get("sortBy", []):
                self.assertIn(sort["displayName"], names, where)

    # -------------------------------------------------------------------------------------------------- metrics

    def test_every_metric_that_is_named_is_in_the_readme(self):
        known = metrics()
        for name, board in self.prometheus.items():
            texts = [(where, expr) for where, expr, _ in queries(board)]
            texts += [(v["name"], v["query"]) for v in board["templating"]["list"] if v["type"] == "query"]
            for where, text in texts:
                for metric in METRIC.findall(text):
                    self.assertIn(metric, known, f"{name}: {where}")

    def test_the_settings_of_aws_node_have_a_column_for_each_label(self):
        row = next(line for line in README.read_text(encoding="utf-8").splitlines()
                   if line.startswith("| `vpccni_daemonset_config_info`"))
        panel = next(panel for _, panel in panels(self.boards["fleet"]) if panel["title"] == "Settings of aws-node")
        shown = panel["transformations"][-1]["options"]["renameByName"]
        self.assertEqual(set(shown), {"cluster", *re.findall(r"`(\w+)`", row.split("|")[3])})

    def test_fleet_needs_series_of_nodes_in_one_row_alone(self):
        board = self.boards["fleet"]
        rows = {where.split(" / ")[0] for where, expr, _ in queries(board) if re.search(r"\b(awscni|vpccni_node)_", expr)}
        self.assertEqual(rows, {"Where (series of nodes: empty with --node.detail=none)"})
        for where, expr, _ in queries(board):
            narrowed = re.search(r"\$(zone|nodegroup|node)\b", expr)
            self.assertEqual(bool(narrowed), where.startswith("Where "), where)

    # ------------------------------------------------------------------------- the rules of dashboard-linter

    def test_the_data_source_is_a_variable(self):
        for name, board in self.boards.items():
            kind = "cloudwatch" if name == "cloudwatch" else "prometheus"
            sources = [v for v in board["templating"]["list"] if v["type"] == "datasource"]
            # Of its own for CloudWatch: links hand variables over, and one of Prometheus would be no use there.
            expected = {"prometheus": ("datasource", "Data source"),
                        "cloudwatch": ("cloudwatch_datasource", "Cloudwatch data source")}[kind]
            self.assertEqual([(v["name"], v["label"], v["query"]) for v in sources], [(*expected, kind)])
            uid = "${" + expected[0] + "}"
            for v in board["templating"]["list"]:
                if v["type"] == "query":
                    self.assertEqual(v["datasource"], {"type": kind, "uid": uid}, f"{name}: {v['name']}")
        for where, board, panel in self.each_panel():
            uid = "${" + board["templating"]["list"][0]["name"] + "}"
            for owner in (panel, *panel["targets"]):
                self.assertEqual(owner["datasource"]["uid"], uid, where)

    def test_the_job_is_a_variable_and_all_means_our_jobs_alone(self):
        # The linter wants .+ for All. That would be every job, and a PodMonitor on aws-node would count twice.
        for name, board in self.prometheus.items():
            job = next(v for v in board["templating"]["list"] if v["name"] == "job")
            self.assertEqual((job["label"], job["multi"], job["includeAll"]), ("Job", True, True), name)
            self.assertNotIn("allValue", job, name)
            self.assertRegex(job["query"], r"^label_values\(\{__name__=~\"vpccni_[\w|]+\"\}, job\)$")

    def test_the_replica_is_a_variable_where_replicas_are_shown(self):
        # The linter wants it everywhere; but whichever replica leads, the cluster's figures are one.
        for name, board in self.prometheus.items():
            found = [v for v in board["templating"]["list"] if v["name"] == "instance"]
            self.assertEqual(len(found), name == "exporter", name)
            for v in found:
                self.assertEqual((v["label"], v["multi"], v["allValue"]), ("Instance", True, ".+"))

    def test_variables_follow_the_time_range_and_are_used(self):
        for name, board in self.boards.items():
            text = json.dumps([board["panels"], board["templating"], board["annotations"]])
            for v in board["templating"]["list"]:
                with self.subTest(f"{name}: {v['name']}"):
                    self.assertTrue(v["label"])
                    if v["type"] == "query":
                        self.assertEqual(v["refresh"], 2)
                        self.assertRegex(v["query"], r"^(label_values\(.+, \w+\)|regions\(\)|dimension_values\(.+\))$")
                    if v["type"] != "datasource":
                        self.assertTrue(v["description"])
                    self.assertRegex(text, r"\$\{?" + v["name"] + r"\b")
            declared = {v["name"] for v in board["templating"]["list"]}
            used = set(re.findall(r"\$\{?([a-z]\w*)", text))
            self.assertEqual(used - declared, set(), name)

    def test_each_panel_says_what_it_is(self):
        known = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
        for where, _, panel in self.each_panel():
            self.assertTrue(panel["title"] and panel["description"].endswith("."), where)
            defaults = panel["fieldConfig"]["defaults"]
            self.assertIn(defaults["unit"], known, where)
            self.assertIsNone(defaults["thresholds"]["steps"][0]["value"], where)
            for override in panel["fieldConfig"]["overrides"]:
                for each in override["properties"]:
                    if each["id"] == "unit":
                        self.assertIn(each["value"], known, where)

    def test_each_panel_asks_something(self):
        for where, _, panel in self.each_panel():
            refs = [target["refId"] for target in panel["targets"]]
            self.assertTrue(refs, where)
            self.assertEqual(len(refs), len(set(refs)), where)

    def test_several_series_have_names(self):
        for where, _, panel in self.each_panel():
            if panel["type"] != "table" and len(panel["targets"]) > 1:
                shown = [target for target in panel["targets"] if not target.get("hide")]
                names = [target.get("legendFormat") or target.get("label") for target in shown]
                self.assertEqual(len(names), len(set(names)), where)
                self.assertTrue(all(names), where)

    def test_a_figure_of_this_moment_is_asked_for_this_moment(self):
        # The last value of a range is old where a series has ended.
        for name, board in self.prometheus.items():
            for _, panel in panels(board):
                for target in panel["targets"]:
                    self.assertEqual(target["instant"], panel["type"] in ("stat", "bargauge", "table"), panel["title"])

    def test_dashboards_cannot_be_edited_in_place_and_have_steady_names(self):
        for name, board in self.boards.items():
            self.assertFalse(board["editable"], name)
            self.assertEqual(board["uid"], UIDS[name])
            self.assertNotIn("id", board)
            self.assertIn("vpc-cni-exporter", board["tags"])

    def test_panels_have_ids_and_places_of_their_own(self):
        for name, board in self.boards.items():
            ids = [panel["id"] for panel in board["panels"]] + [
                inner["id"] for panel in board["panels"] for inner in panel.get("panels", [])]
            self.assertEqual(len(ids), len(set(ids)), name)
            shown = [panel for panel in board["panels"]]
            for group in [shown, *(panel["panels"] for panel in shown if panel["type"] == "row")]:
                taken = set()
                for panel in group:
                    at = panel["gridPos"]
                    self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
                    cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                    self.assertFalse(taken & cells, panel["title"])
                    taken |= cells

    def test_links_lead_to_dashboards_and_variables_that_exist(self):
        for name, board in self.boards.items():
            self.assertEqual([link["tags"] for link in board["links"]], [["vpc-cni-exporter"]], name)
            declared = {v["name"] for v in board["templating"]["list"]}
            by_uid = {other["uid"]: {v["name"] for v in other["templating"]["list"]} for other in self.boards.values()}
            for url in re.findall(r'"url": "([^"]+)"', json.dumps(board)):
                uid, variables = re.fullmatch(r"/d/([\w-]+)\?(.+)", url).groups()
                for part in variables.split("&"):
                    handed = re.fullmatch(
                        r"\$\{(\w+):queryparam\}|var-(\w+)=\$\{__value\.text\}|\$\{__url_time_range\}", part)
                    self.assertTrue(handed, url)
                    if handed.group(1):
                        self.assertIn(handed.group(1), declared & by_uid[uid])
                    if handed.group(2):
                        self.assertIn(handed.group(2), by_uid[uid])


if __name__ == "__main__":
    unittest.main()
