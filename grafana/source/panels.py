"""What our dashboards are made of: panels, queries, variables. Comes in: rows of a table, with PromQL that
names no job. Goes out: a dashboard of Grafana's own models. Never: a query without the selectors of its
board, a panel without description, unit and thresholds.

PromQL in the tables is short: `select` adds the board's selectors to every metric that a query names.
"""

import re
import zlib
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import bargauge, cloudwatch, common, dashboard, heatmap, prometheus
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import statetimeline, table as tables, timeseries
from grafana_foundation_sdk.models import cloudwatch as cw
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

# Units, as Grafana calls them.
COUNT, RATIO, PERCENT, SECONDS, MILLISECONDS = "short", "percentunit", "percent", "s", "ms"
BYTES, BYTES_PER_SECOND, PER_MINUTE, PER_SECOND, DOLLARS = "bytes", "Bps", "cpm", "cps", "currencyUSD"

# Colours, by what they mean.
GOOD, WARN, BAD, CALM, QUIET = "green", "orange", "red", "blue", "text"

# Thresholds: from which value a colour holds; None is the lowest.
PLAIN = {CALM: None}
ANY_IS_BAD = {GOOD: None, BAD: 0.5}  # counts that are extrapolated may be a little below 1
ANY_IS_ODD = {GOOD: None, WARN: 0.5}
FULL = {GOOD: None, WARN: 0.8, BAD: 0.9}

# The longest side of Grafana's grid.
GRID = 24
# As the README recommends to scrape. $__rate_interval is four of these at least.
SCRAPE_INTERVAL = "30s"
# What all our dashboards carry, by which they find each other.
TAG = "vpc-cni-exporter"

_METRIC = re.compile(r"\b((?:vpccni|awscni|process)_\w+)(?:\{([^{}]*)\})?")


# What a scraper adds to each series: a table of labels has no use for it.
_SCRAPERS = "instance, pod, job, namespace, service, endpoint, container"


def labels_of(info):
    """An info metric without what the scraper adds."""
    return f"max without ({_SCRAPERS}) ({info})"


def per_minute(by, metric):
    """A counter as events a minute. Increases are taken per series, and only then added up, so that neither
    shards nor a change of leaders distort them."""
    return f"60 * sum by ({by}) (rate({metric}[$__rate_interval]))"


def lately(by, metric):
    """How much a counter grew in ten minutes."""
    return f"sum by ({by}) (increase({metric}[10m]))"


def quantile(share, bucket, by="le"):
    """A quantile of a histogram that is a counter."""
    return f"histogram_quantile({share}, sum by ({by}) (rate({bucket}[$__rate_interval])))"


@dataclass
class Query:
    """PromQL, and what a series is called by."""

    expr: str
    legend: str = ""
    ref: str = ""

    def build(self, board, ref, instant, shape):
        query = prometheus.Dataquery().expr(board.select(self.expr)).ref_id(ref).datasource(board.source)
        query = query.legend_format(self.legend).format(shape)
        return query.instant() if instant else query.range().interval(SCRAPE_INTERVAL)


@dataclass
class Metric:
    """A metric of CloudWatch: the namespace is the board's for the dimension that names the cluster."""

    name: str
    statistic: str
    legend: str = ""
    dimensions: dict = field(default_factory=dict)
    period: str = ""
    id: str = ""
    hide: bool = False

    def build(self, board, ref, _instant, _shape):
        query = _cloudwatch(board, ref, self.id or ref.lower(), self.legend or self.name)
        query = query.metric_editor_mode(cw.MetricEditorMode.BUILDER).metric_name(self.name)
        namespace, named = board.metrics[self.name.startswith("vpccni_")]
        query = query.namespace(namespace).dimensions({**named, **self.dimensions}).match_exact(True)
        return query.statistic(self.statistic).period(self.period).hide(self.hide)


@dataclass
class Math:
    """An expression of CloudWatch over the ids of other metrics."""

    expression: str
    legend: str

    def build(self, board, ref, _instant, _shape):
        query = _cloudwatch(board, ref, ref.lower(), self.legend)
        return query.metric_editor_mode(cw.MetricEditorMode.CODE).expression(self.expression)


def _cloudwatch(board, ref, id, label):
    query = cloudwatch.CloudWatchMetricsQuery().ref_id(ref).id(id).label(label).datasource(board.source)
    return query.query_mode(cw.CloudWatchQueryMode.METRICS).metric_query_type(cw.MetricQueryType.SEARCH).region("$region")


class Panel:
    """One panel: its shape, and the queries that the board is yet to complete."""

    def __init__(self, shape, width, title, about, queries, unit, steps, height=8, instant=False,
                 format=PromQueryFormat.TIME_SERIES, overrides=None, decimals=None, range=None, link=None):
        self.width, self.height, self.title = width, height, title
        self.queries, self.instant, self.format = queries, instant, format
        self.shape = shape.title(title).description(about).unit(unit).thresholds(thresholds(steps))
        for name, values in (overrides or {}).items():
            shape.override_by_name(name, [d.DynamicConfigValue(id, value) for id, value in values.items()])
        if decimals is not None:
            shape.decimals(decimals)
        if range:
            shape.min(range[0])
            if range[1] is not None:
                shape.max(range[1])
        if link:
            shape.links([dashboard.DashboardLink(link[0]).type(d.DashboardLinkType.LINK).url(link[1])])

    def build(self, board, x, y):
        self.shape.id(board.id(self.title)).datasource(board.source)
        self.shape.grid_pos(d.GridPos(h=self.height, w=self.width, x=x, y=y))
        for ref, query in zip("ABCDEFGHIJKL", self.queries, strict=False):
            self.shape.with_target(query.build(board, ref, self.instant, self.format))
        return self.shape


def thresholds(steps):
    """Colours from values on; every panel has them."""
    return dashboard.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(
        [d.Threshold(value=value, color=color) for color, value in steps.items()])


def _steps(steps):
    """The same within an override, which the models do not know the inside of."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps.items()]}


def only(unit=None, steps=None, **more):
    """What one series or column has for itself: `override_by_name`'s values."""
    values = {id.replace("_", "."): value for id, value in more.items()}
    if unit:
        values["unit"] = unit
    if steps:
        values["thresholds"] = _steps(steps)
    return values


def fixed(color):
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": color}


def words(values):
    """Words, and their colours, in place of numbers."""
    options = {str(value): d.ValueMappingResult(text=text, color=color, index=at)
               for at, (value, (text, color)) in enumerate(values.items())}
    return [d.ValueMap(options=options)]


# ------------------------------------------------------------------------------------------- kinds of panels


def stat(width, title, about, *queries, unit=COUNT, steps=PLAIN, text=c.BigValueTextMode.AUTO, mappings=None,
         none="no data", **more):
    """Figures of this moment. They are asked for by instant queries: the last value of a range may be old."""
    shape = stats.Panel().graph_mode(c.BigValueGraphMode.NONE).text_mode(text).reduce_options(_last())
    shape = shape.color_mode(c.BigValueColorMode.BACKGROUND if steps is not PLAIN else c.BigValueColorMode.NONE)
    if mappings:
        shape.mappings(words(mappings))
    more = {"height": 6, **more}
    return Panel(shape.no_value(none), width, title, about, queries, unit, steps, instant=True, **more)


def bars(width, title, about, *queries, unit=COUNT, steps=PLAIN, **more):
    """Figures of this moment as bars, one below the other."""
    shape = bargauge.Panel().orientation(c.VizOrientation.HORIZONTAL).display_mode(c.BarGaugeDisplayMode.BASIC)
    shape = shape.reduce_options(_last()).min_viz_height(12).no_value("no data")
    return Panel(shape, width, title, about, queries, unit, steps, instant=True, range=(0, None), **more)


def _last():
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def series(width, title, about, *queries, unit=COUNT, steps=PLAIN, stacked=False, lines=False, range=(0, None), **more):
    """Figures over time. `lines` draws the thresholds."""
    shape = _lines(20 if stacked else 8)
    if stacked:
        shape.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    if lines:
        shape.thresholds_style(common.GraphThresholdsStyleConfig().mode(c.GraphThresholdsStyleMode.DASHED))
    return Panel(shape, width, title, about, queries, unit, steps, range=range, **more)


def events(width, title, about, metric, by, legend=None, per=PER_MINUTE, only_if="", **more):
    """A counter that should stand still: bars of what happened, by a label, and a line of all of it, so that
    a day on which nothing happened shows zero, and an empty panel means that nobody counted."""
    sum_of, every = per_minute(by, metric), "all"
    shape = _lines(70).draw_style(c.GraphDrawStyle.BARS)
    shape = shape.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    total = only(color=fixed(QUIET), custom_drawStyle="line", custom_fillOpacity=0,
                 custom_stacking={"mode": "none", "group": "B"})
    queries = (Query(f"{sum_of} > 0", legend or "{{" + by.split(", ")[-1] + "}}"),
               Query(f"60 * sum(rate({metric}[$__rate_interval]))", every))
    return Panel(shape, width, title, f"{about} Events a minute; only what happened has bars.", queries, per,
                 {CALM: None}, range=(0, None), overrides={every: total}, **more)


def _lines(fill):
    legend = common.VizLegendOptions().display_mode(c.LegendDisplayMode.LIST).placement(c.LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING)
    shape = timeseries.Panel().legend(legend.show_legend(True)).tooltip(tooltip).fill_opacity(fill).line_width(1)
    # By name, so that a code has one colour whatever else happens.
    shape = shape.color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    return shape.show_points(c.VisibilityMode.NEVER)


def buckets(width, title, about, query, unit, **more):
    """A histogram that is a picture of each moment, over time."""
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("YlOrRd").steps(64)
    shape = heatmap.Panel().calculate(False).color(color).y_axis(heatmap.YAxisConfig().unit(unit))
    return Panel(shape, width, title, about, (query,), unit, PLAIN, format=PromQueryFormat.HEATMAP, **more)


def states(width, title, about, *queries, values, **more):
    """States over time, each value a word and a colour."""
    shape = statetimeline.Panel().mappings(words(values)).fill_opacity(80).show_value(c.VisibilityMode.AUTO)
    shape = shape.color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.THRESHOLDS))
    return Panel(shape, width, title, about, queries, "none", {QUIET: None}, **more)


def table(width, title, about, *columns, labels, sort=(), unit="none", **more):
    """Rows by label. A column is a name, a query and what the column has for itself; the labels are
    renamed. A column of the name None shows no value: its query has the labels."""
    shape, rename, order, hide, overrides = tables.Panel().no_value(""), {}, {}, {"Time": True}, {}
    for at, (label, (name, values)) in enumerate(labels.items()):
        rename[label], order[label] = name, at
        overrides[name] = values
    for at, (ref, (name, _, values)) in enumerate(zip("ABCDEFGHIJKL", columns, strict=False)):
        # The one value of one query is called Value.
        for value in [f"Value #{ref}"] + ["Value"] * (len(columns) == 1):
            if name is None:
                hide[value] = True
            else:
                rename[value], order[value] = name, len(labels) + at
        if name is not None:
            overrides[name] = values
    if len(columns) > 1:
        shape.with_transformation(d.DataTransformerConfig(id_val="merge", options={}))
    organize = {"excludeByName": hide, "indexByName": order, "renameByName": rename, "includeByName": {}}
    shape.with_transformation(d.DataTransformerConfig(id_val="organize", options=organize))
    shape.sort_by([common.TableSortByFieldState().display_name(name).desc(desc) for name, desc in sort])
    overrides = {name: values for name, values in overrides.items() if values}
    queries = tuple(Query(expr) for _, expr, _ in columns)
    return Panel(shape, width, title, about, queries, unit, PLAIN, instant=True, format=PromQueryFormat.TABLE,
                 overrides=overrides, **more)


# ---------------------------------------------------------------------------------------------------- boards


@dataclass
class Row:
    """A heading and its panels, which fill the grid from left to right."""

    title: str
    panels: tuple
    collapsed: bool = False


def row(title, *panels, collapsed=False):
    return Row(title, panels, collapsed)


@dataclass
class Board:
    """A dashboard: who it is, and what its queries are narrowed to."""

    uid: str
    title: str
    about: str
    variables: list
    rows: list
    # Selectors by the beginning of a metric's name; all that match are added.
    selectors: dict = field(default_factory=dict)
    # CloudWatch: namespace and dimension of cni-metrics-helper's names (False) and of ours (True).
    metrics: dict = field(default_factory=dict)
    annotations: list = field(default_factory=list)
    kind: str = "prometheus"
    ids: dict = field(default_factory=dict)

    @property
    def source(self):
        return d.DataSourceRef(type_val=self.kind, uid="${" + self.variables[0].build().name + "}")

    def select(self, expr):
        """The query with this board's selectors in every metric that it names."""

        def narrowed(found):
            name, own = found.group(1), found.group(2)
            added = [selector for prefix, selector in self.selectors.items() if name.startswith(prefix)]
            return name + "{" + ", ".join([*added, *([own] if own else [])]) + "}"

        return _METRIC.sub(narrowed, expr)

    def id(self, title):
        """By the title, so that a link to a panel survives its neighbours."""
        number = zlib.crc32(title.encode()) % 1_000_000 + 1
        if number in self.ids:
            raise ValueError(f"{self.uid}: {title!r} and {self.ids[number]!r} have one id: rename one of them")
        self.ids[number] = title
        return number

    def build(self):
        """Grafana's model of it."""
        self.ids = {}
        board = dashboard.Dashboard(self.title).uid(self.uid).description(self.about).tags([TAG, "kubernetes", "aws"])
        board.readonly().time("now-3h", "now").refresh("1m").timezone(c.TimeZoneBrowser)
        board.tooltip(d.DashboardCursorSync.CROSSHAIR)
        link = dashboard.DashboardLink(TAG).type(d.DashboardLinkType.DASHBOARDS).tags([TAG])
        board.link(link.include_vars(True).keep_time(True))
        for variable in self.variables:
            board.with_variable(variable)
        notes = [dashboard.AnnotationQuery().name(name).expr(self.select(expr)).icon_color(color).enable(True)
                 for name, expr, color in self.annotations]
        board.annotations([note.datasource(self.source) for note in notes])
        y = 0
        for line in self.rows:
            heading = dashboard.Row(line.title).id(self.id(f"row {line.title}")).collapsed(line.collapsed)
            heading.grid_pos(d.GridPos(h=1, w=GRID, x=0, y=y))
            y += 1
            placed, below = [], y
            x = tallest = 0
            for panel in line.panels:
                if x + panel.width > GRID:
                    below, x, tallest = below + tallest, 0, 0
                placed.append(panel.build(self, x, below))
                x, tallest = x + panel.width, max(tallest, panel.height)
            if line.collapsed:
                for panel in placed:
                    heading.with_panel(panel)
                board.with_row(heading)
            else:
                board.with_row(heading)
                for panel in placed:
                    board.with_panel(panel)
                y = below + tallest
        return board.build()


# ------------------------------------------------------------------------------------------------- variables


def source(name, label, kind):
    """The data source."""
    return dashboard.DatasourceVariable(name).label(label).type(kind)


def choice(name, label, about, query, board_source, every=".*", multi=True):
    """A choice of label values. `every` is what All means: .* is also for series without the label, None
    for exactly the values that were found. Without All one value is chosen."""
    variable = dashboard.QueryVariable(name).label(label).description(about).datasource(board_source).query(query)
    variable = variable.refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(d.VariableSort.ALPHABETICAL_ASC)
    if every == "":
        return variable
    variable = variable.multi(multi).include_all(True)
    variable = variable.current(d.VariableOption(selected=True, text="All", value="$__all"))
    return variable if every is None else variable.all_value(every)


PROMETHEUS = d.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Every job of ours has one of these, whichever scopes it scrapes and whatever detail nodes have.
_OURS = "vpccni_exporter_build_info|vpccni_cluster_nodes|vpccni_node_info"


def prometheus_variables(*more):
    """What all dashboards on Prometheus can be narrowed by."""
    return [
        source("datasource", "Data source", "prometheus"),
        choice("job", "Job", "The jobs that scrape vpc-cni-exporter. All means these, and never a job that scrapes "
               "aws-node itself beside us: its series would be counted twice.",
               f'label_values({{__name__=~"{_OURS}"}}, job)', PROMETHEUS, every=None),
        choice("cluster", "Cluster", "The label cluster, where whoever scrapes or stores adds one.",
               'label_values({__name__=~"%s", job=~"$job"}, cluster)' % _OURS, PROMETHEUS, multi=False),
        *more,
    ]
