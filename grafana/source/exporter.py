"""Exporter: is what we see true and new. Scraping, who serves, discovery, serving, the mirror, the process."""

from panels import (ANY_IS_BAD, BAD, BYTES, BYTES_PER_SECOND, CALM, DOLLARS, GOOD, PER_MINUTE, PER_SECOND, PROMETHEUS, QUIET,
                    RATIO, SECONDS, WARN, Board, Query, choice, events, only, per_minute, prometheus_variables, quantile, row,
                    series, stat, states, table)

FRESH = {GOOD: None, WARN: 45, BAD: 90}
LEADING = "and on (cluster, job, instance) vpccni_exporter_leader == 1"
STATES = {"off": 0, "waiting": 1, "leading": 2, "following": 3, "refused": 4}
# One number for each outlet, by the state of which the metric is 1.
MIRROR = "\nor ".join(f'{number} * (vpccni_exporter_mirror_state{{state="{state}"}} == 1)'
                       for state, number in STATES.items())


def each(metric, legend=""):
    """A line for each replica."""
    return Query(f"max by (instance) ({metric})", f"{legend} {{{{instance}}}}".strip())


def all_of(metric, legend, by=""):
    return Query(f"sum{f' by ({by})' if by else ''} ({metric})", legend)


NOW = row(
    "Now",
    stat(4, "Replicas that serve data", "One, or one for each shard. None: no election can be held, or no replica is "
         "ready; the log and /readyz say why.",
         Query("sum by (cluster) (vpccni_exporter_leader)", "{{cluster}}"), steps={BAD: None, GOOD: 1}),
    stat(3, "Replicas", "Replicas that Prometheus scrapes.",
         Query("count by (cluster) (vpccni_exporter_build_info)", "{{cluster}}")),
    stat(4, "Age of the data", "Of the view that is served. A view that is older than three scrape intervals is not ready.",
         Query(f"max by (cluster) (vpccni_exporter_view_age_seconds {LEADING})", "{{cluster}}"),
         unit=SECONDS, steps=FRESH, decimals=0),
    stat(4, "Scrapes that fail", "Share of the last ten minutes' scrapes of nodes.",
         Query('1 - sum by (cluster) (increase(vpccni_exporter_scrapes_total{outcome="ok"}[10m]))\n'
               "/ (sum by (cluster) (increase(vpccni_exporter_scrapes_total[10m])) > 0)", "{{cluster}}"),
         unit=RATIO, steps={GOOD: None, WARN: 0.01, BAD: 0.1}, decimals=1),
    stat(4, "Rights that are missing", "Resources that the API server refuses to let the exporter read; which, see below.",
         Query("sum by (cluster) (max by (cluster, resource) (vpccni_exporter_kubernetes_missing_rule))", "{{cluster}}"),
         steps=ANY_IS_BAD),
    stat(5, "CloudWatch mirror", "Outlets that would send and cannot, and the age of the oldest interval that waits. Both "
         "are 0 without a mirror.",
         Query('sum(vpccni_exporter_mirror_state{state="refused"})', "refused"),
         Query("max(vpccni_exporter_mirror_lag_seconds)", "lag"), steps=ANY_IS_BAD,
         overrides={"lag": only(SECONDS, {GOOD: None, WARN: 180, BAD: 900}, decimals=0)}),
)

SCRAPING = row(
    "Scraping",
    events(8, "Scrapes that failed, by outcome", "timeout: security group (TCP 61678) or a busy node. refused: aws-node "
           "restarts, or DISABLE_METRICS. The README's table has all.",
           'vpccni_exporter_scrapes_total{outcome!="ok"}', "outcome"),
    series(8, "Good scrapes", "Scrapes of nodes that were stored, and samples on their pages.",
           all_of('rate(vpccni_exporter_scrapes_total{outcome="ok"}[$__rate_interval])', "scrapes {{instance}}", "instance"),
           unit=PER_SECOND),
    series(8, "Time of a round", "To the last outcome, and to the last one that was no timeout: the second must not grow "
           "with nodes that hang.",
           each("vpccni_exporter_round_duration_seconds", "round"),
           each("vpccni_exporter_round_answered_duration_seconds", "answered"), unit=SECONDS),
    series(8, "Time of a scrape", "From connecting to the last byte.",
           *(Query(quantile(share, "vpccni_exporter_scrape_duration_seconds_bucket"), name)
             for share, name in ((0.5, "half are faster"), (0.99, "99 of 100 are faster"))), unit=SECONDS),
    series(8, "Delay of scrapes", "How long scrapes waited for a place; if this grows raise --scrape.concurrency.",
           *(Query(quantile(share, "vpccni_exporter_scrape_delay_seconds_bucket"), name)
             for share, name in ((0.5, "half wait less"), (0.99, "99 of 100 wait less"))), unit=SECONDS),
    series(8, "Under way and hanging", "Scrapes under way, and nodes whose last scrape timed out: they share a quarter of "
           "the places.",
           all_of("vpccni_exporter_scrapes_in_flight", "under way {{instance}}", "instance"),
           all_of("vpccni_exporter_targets_hanging", "hanging {{instance}}", "instance")),
    series(6, "Rounds", "Rounds a minute that were completed: 60 s divided by the scrape interval.",
           Query(per_minute("instance", "vpccni_exporter_rounds_total"), "{{instance}}"), unit=PER_MINUTE),
    series(6, "Bytes of pages", "Of nodes, as they were sent and as they were decoded.",
           all_of("rate(vpccni_exporter_scrape_wire_bytes_total[$__rate_interval])", "sent"),
           all_of("rate(vpccni_exporter_scrape_body_bytes_total[$__rate_interval])", "decoded"), unit=BYTES_PER_SECOND),
    series(6, "Samples and lines", "Samples of pages, lines that were not as on the page before, and samples that are no "
           "row of their own.",
           all_of("rate(vpccni_exporter_scrape_samples_total[$__rate_interval])", "samples"),
           all_of('rate(vpccni_exporter_shape_lines_total{result="miss"}[$__rate_interval])', "new lines"),
           all_of("rate(vpccni_exporter_dropped_samples_total[$__rate_interval])", "{{rule}}", "rule"), unit=PER_SECOND),
    events(6, "Processes of nodes", "What pages said about the processes that served them: first seen, restarted, or one "
           "series that fell.", "vpccni_exporter_baseline_events_total", "event"),
)

LEAD = row(
    "Who serves",
    states(12, "Leader", "Which replica serves the cluster's and the nodes' figures. The others stand by.",
           each("vpccni_exporter_leader"), values={0: ("stands by", CALM), 1: ("serves", GOOD)}),
    series(6, "Age of the view", "Of each replica; those that stand by make views as well.",
           each("vpccni_exporter_view_age_seconds"), unit=SECONDS, steps=FRESH, lines=True),
    series(6, "Time to publish", "View, bodies and compression.",
           each("vpccni_exporter_view_publish_duration_seconds"), unit=SECONDS),
    series(8, "Changes in the served view", "Scrapes and changes of targets that went into it; where it stands still the "
           "view is not made anew.", each("vpccni_exporter_view_generation")),
    series(8, "Attempts at the Lease", "Attempts a minute to read and renew or take it, by result. forbidden: rights. "
           "unreachable, server: the API server. Without an election there are none.",
           Query(per_minute("result", "vpccni_exporter_lease_attempts_total"), "{{result}}"), unit=PER_MINUTE),
    series(8, "Beginnings to serve", "How often a replica began to serve in the last hour; the cluster's counters began "
           "at 0 each time.",
           Query("sum by (instance) (increase(vpccni_exporter_terms_total[1h]))", "{{instance}}")),
)

DISCOVERY = row(
    "Discovery",
    series(8, "Targets", "By source, and those that lost their name or address to another.",
           Query("max by (instance, source) (vpccni_exporter_discovery_targets) > 0", "{{source}} {{instance}}"),
           each("vpccni_exporter_targets", "scraped"), each("vpccni_exporter_discovery_targets_dropped", "dropped")),
    series(8, "Objects of Kubernetes", "Known aws-node pods and nodes, and the pods that the DaemonSet wants: -1 while that "
           "is not known. Pods below it: nodes without aws-node.",
           Query("max by (resource) (vpccni_exporter_kubernetes_objects)", "{{resource}}"),
           Query("max(vpccni_exporter_kubernetes_daemonset_desired_pods)", "wanted pods"), range=(None, None)),
    events(8, "Listings and watches that failed", "Each is tried again; what is known stays. forbidden: rights.",
           "vpccni_exporter_kubernetes_watch_errors_total", "resource, reason", legend="{{resource}}: {{reason}}"),
    table(8, "Rights", "1: the API server refuses the resource. pods/proxy is needed for --discover.route=proxy alone, "
          "leases for an election.",
          ("Missing", "max by (cluster, resource) (vpccni_exporter_kubernetes_missing_rule)",
           only("none", {GOOD: None, BAD: 1}, custom_cellOptions={"type": "color-background", "mode": "basic"})),
          labels={"cluster": ("Cluster", {}), "resource": ("Resource", {})}, sort=[("Missing", True)]),
    events(8, "Objects that could not be read", "What was known of them stays.",
           "vpccni_exporter_kubernetes_unreadable_objects_total", "resource"),
    events(8, "Files that could not be read", "Their last good targets stay.",
           'vpccni_exporter_discovery_file_reads_total{result="error"}', "result"),
    stat(12, "Last change of targets", "How long ago the list of targets changed.",
         Query("time() - max(vpccni_exporter_discovery_last_change_timestamp_seconds)"), unit=SECONDS, decimals=0, height=4),
    stat(12, "Labels that are not passed on", "Labels in files that belong to whoever scrapes the exporter: cluster, instance, "
         "job, namespace, pod.", Query("max(vpccni_exporter_discovery_labels_dropped)"), height=4),
    collapsed=True,
)

SERVING = row(
    "Serving",
    series(8, "Requests", "Answers by path and code.",
           Query("sum by (path, code) (rate(vpccni_exporter_http_requests_total[$__rate_interval])) > 0", "{{path}} {{code}}"),
           unit="reqps"),
    series(8, "Time of an answer", "From a request's head to the head of its answer.",
           Query(quantile(0.99, "vpccni_exporter_http_request_duration_seconds_bucket"), "99 of 100 are faster"),
           unit=SECONDS),
    series(8, "Bodies", "Prepared bodies by scope and encoding. Over 16 MiB split the node scope.",
           Query("max by (scope, encoding) (vpccni_exporter_body_bytes)", "{{scope}} {{encoding}}"), unit=BYTES),
    series(6, "Connections", "Open ones; the cap is --web.max-connections.", each("vpccni_exporter_http_connections")),
    events(6, "Connections that were turned away", "By reason.", "vpccni_exporter_http_connections_refused_total", "reason"),
    events(6, "Connections that ended otherwise", "By reason; done and idle are the usual ones.",
           'vpccni_exporter_http_connections_closed_total{reason!~"done|idle"}', "reason"),
    series(6, "Narrowed requests refused", "Answered with 503, as too many were waiting, a minute.",
           Query("60 * sum(rate(vpccni_exporter_http_renders_refused_total[$__rate_interval]))", "refused"), unit=PER_MINUTE),
    collapsed=True,
)

MIRROR_ROW = row(
    "CloudWatch mirror",
    states(12, "State of outlets", "waiting: nothing to send yet. leading: it sends. following: another process sends. "
           "refused: it would send and cannot; /api/v1/status says why.",
           Query(f"max by (instance, outlet) ({MIRROR})", "{{outlet}} {{instance}}"),
           values={STATES[state]: (state, color) for state, color in
                   {"off": QUIET, "waiting": CALM, "leading": GOOD, "following": CALM, "refused": BAD}.items()}),
    series(6, "Lag", "Age of the oldest interval that waits.",
           Query("max by (outlet) (vpccni_exporter_mirror_lag_seconds)", "{{outlet}}"), unit=SECONDS),
    series(6, "Since the last success", "Since an outlet last took points; outlets that never did are left out.",
           Query("time() - max by (outlet) (vpccni_exporter_mirror_last_success_timestamp_seconds > 0)", "{{outlet}}"),
           unit=SECONDS),
    events(8, "Tries that failed", "Each is made again. What to do: README, When the mirror does not send.",
           "vpccni_exporter_mirror_failures_total", "outlet, reason", legend="{{outlet}}: {{reason}}"),
    series(8, "Points", "Points a minute that an outlet took.",
           Query(per_minute("outlet", "vpccni_exporter_mirror_points_total") + " > 0", "{{outlet}}"), unit=PER_MINUTE),
    events(8, "Points that are lost", "Points that were not sent, by reason. cap: raise --mirror.max-billed-metrics.",
           "vpccni_exporter_mirror_points_dropped_total", "outlet, reason", legend="{{outlet}}: {{reason}}"),
    events(6, "Points that may be lost", "Sent and never answered for.",
           "vpccni_exporter_mirror_points_unconfirmed_total", "outlet"),
    series(6, "Queue", "Bytes that wait; the cap is --mirror.queue.",
           Query("max by (outlet) (vpccni_exporter_mirror_queue_bytes)", "{{outlet}}"), unit=BYTES),
    series(6, "Intervals that wait", "In the queue of each outlet.",
           Query("max by (outlet) (vpccni_exporter_mirror_queue_intervals)", "{{outlet}}")),
    stat(3, "Billed metrics", "Sent in the last hour; the cap is --mirror.max-billed-metrics.",
         all_of("vpccni_exporter_mirror_billed_metrics", ""), height=8),
    stat(3, "Cost a month", "Estimate by the list prices of us-east-1, without free tier.",
         all_of("vpccni_exporter_mirror_estimated_monthly_cost_dollars", ""), unit=DOLLARS, decimals=2, height=8),
    collapsed=True,
)

PROCESS = row(
    "Process",
    series(8, "CPU", "Cores in use; the process counts whole seconds.",
           all_of("rate(process_cpu_seconds_total[$__rate_interval])", "{{instance}}", "instance")),
    series(8, "Memory", "Resident.", each("process_resident_memory_bytes"), unit=BYTES),
    series(8, "File descriptors", "Open, and the most that are allowed.",
           each("process_open_fds", "open"), each("process_max_fds", "at most")),
    series(8, "What is kept of pages", "Distinct lines and series of nodes' pages.",
           each("vpccni_exporter_interned_lines", "lines"), each("vpccni_exporter_interned_series", "series")),
    table(16, "Versions", "Replicas, their version and when they started.",
          ("Started", "1000 * max by (cluster, instance) (process_start_time_seconds)", {"unit": "dateTimeFromNow"}),
          (None, "max by (cluster, instance, version, revision) (vpccni_exporter_build_info)", {}),
          labels={"cluster": ("Cluster", {}), "instance": ("Replica", {}), "version": ("Version", {}),
                  "revision": ("Revision", {})}, sort=[("Replica", False)]),
    collapsed=True,
)


def board():
    build = 'vpccni_exporter_build_info{job=~"$job", cluster=~"$cluster"}'
    return Board(
        "vpccni-exporter", "VPC CNI / Exporter",
        "vpc-cni-exporter itself: whether its figures are whole and new, and what it does.",
        prometheus_variables(choice("instance", "Instance", "Replicas and shards.",
                                    f"label_values({build}, instance)", PROMETHEUS, every=".+")),
        [NOW, SCRAPING, LEAD, DISCOVERY, SERVING, MIRROR_ROW, PROCESS],
        selectors={"": 'job=~"$job", cluster=~"$cluster", instance=~"$instance"'},
    )
