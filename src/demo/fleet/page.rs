//! A node's state becomes its page, as client_golang would print it: families sorted by name, HELP and
//! TYPE before the rows, no trace of a label vector without children. Comes in: a node. Goes out:
//! text 0.0.4. Never: a clock, two pages for one state.

use super::figures::BOUNDS;
use super::gofloat;
use super::node::Node;
use super::pool::Mode;

mod runtime;

/// The whole page.
pub(super) fn render(node: &Node) -> Vec<u8> {
    /// The usual page, so that it is written without growing.
    const USUAL: usize = 28 * 1024;
    let mut page = Page { out: Vec::with_capacity(USUAL) };
    page.ipamd(node);
    runtime::families(node, &mut page);
    page.out
}

/// The page so far.
struct Page {
    out: Vec<u8>,
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.out.extend_from_slice(name.as_bytes());
        for (index, (label, text)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { b'{' } else { b',' });
            self.out.extend_from_slice(label.as_bytes());
            self.out.extend_from_slice(b"=\"");
            self.escaped(text);
            self.out.push(b'"');
        }
        if !labels.is_empty() {
            self.out.push(b'}');
        }
        self.out.push(b' ');
        gofloat::write(&mut self.out, value);
        self.out.push(b'\n');
    }

    fn escaped(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                other => self.out.push(other),
            }
        }
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.row(name, &[], value);
    }

    /// A label vector with one label.
    fn vector<'v>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        rows: impl Iterator<Item = (&'v str, f64)>,
    ) {
        let mut begun = false;
        for (value, count) in rows {
            if !begun {
                self.family(name, kind, help);
                begun = true;
            }
            self.row(name, &[(label, value)], count);
        }
    }

    fn ipamd(&mut self, node: &Node) {
        let (release, counters) = (node.release, &node.process.counters);
        let wavering = release.wavering.as_str();
        self.single("awscni_add_ip_req_count", wavering, "ADD requests", node.adds_shown());
        self.single(
            "awscni_assigned_ip_addresses",
            GAUGE,
            "Addresses that pods have",
            node.assigned_shown(),
        );
        let cidrs = node.pool.cidrs.iter().filter(|c| c.seen);
        self.vector(
            ("awscni_assigned_ip_per_cidr", GAUGE, "Addresses that pods have, per range"),
            "cidr",
            cidrs.map(|c| (c.text.as_str(), c.used as f64)),
        );
        if release.per_eni {
            let mut enis: Vec<(&str, f64)> = node
                .pool
                .enis
                .iter()
                .filter(|eni| eni.used > 0)
                .map(|eni| (eni.id.as_str(), eni.used as f64))
                .collect();
            enis.sort_by(|a, b| a.0.cmp(b.0));
            let family = ("awscni_assigned_ip_per_eni", GAUGE, "Addresses that pods have, per ENI");
            self.vector(family, "eni", enis.into_iter());
        }
        if !counters.api_errors.is_empty() {
            let name = "awscni_aws_api_error_count";
            self.family(name, wavering, "Failed calls to AWS");
            for ((api, error), count) in counters.api_errors.iter() {
                self.row(name, &[("api", api), ("error", error)], count as f64);
            }
        }
        self.latency(node);
        if !counters.utils.is_empty() {
            let name = "awscni_aws_utils_error_count";
            self.family(name, COUNTER, "Failures of the AWS helpers");
            for ((function, error), count) in counters.utils.iter() {
                self.row(name, &[("error", error), ("fn", function)], count as f64);
            }
        }
        if release.modern {
            let name = "awscni_build_info";
            self.family(name, GAUGE, "What this is built from");
            self.row(name, &[("goversion", release.go), ("version", release.version)], 1.0);
        }
        if release.connmark {
            let backend = if node.nftables { "nftables" } else { "iptables" };
            let family = ("awscni_connmark_backend", GAUGE, "Active connmark backend");
            self.vector(family, "backend", [(backend, 1.0)].into_iter());
            let family = ("awscni_connmark_reconcile_total", COUNTER, "Connmark reconciliations");
            let rows = [
                ("error", counters.connmark_errors as f64),
                ("success", counters.connmark_successes as f64),
            ];
            self.vector(family, "result", rows.into_iter());
        }
        self.rest_of_ipamd(node);
    }

    fn rest_of_ipamd(&mut self, node: &Node) {
        let (release, process) = (node.release, &node.process);
        let counters = &process.counters;
        let wavering = release.wavering.as_str();
        let counts = |(label, count): (&&'static str, u64)| (*label, count as f64);
        let family = ("awscni_del_ip_req_count", COUNTER, "DEL requests");
        self.vector(family, "reason", counters.dels.iter().map(counts));
        if release.modern {
            let family = ("awscni_ec2api_error_count", COUNTER, "Failed calls to EC2");
            self.vector(family, "fn", counters.ec2_errors.iter().map(counts));
            let family = ("awscni_ec2api_req_count", COUNTER, "Calls to EC2");
            self.vector(family, "fn", counters.ec2_calls.iter().map(counts));
        }
        self.single("awscni_eni_allocated", GAUGE, "ENIs in hand", node.pool.enis.len() as f64);
        self.single("awscni_eni_max", GAUGE, "ENIs possible", node.eni_max() as f64);
        if release.future {
            let family = ("awscni_fleet_future_moves", COUNTER, "Something that is yet to come");
            self.vector(family, "pool", counters.future.iter().map(counts));
        }
        let (enis, ips) = (counters.forced_enis as f64, counters.forced_ips as f64);
        self.single("awscni_force_removed_enis", wavering, "ENIs removed while in use", enis);
        self.single("awscni_force_removed_ips", wavering, "Addresses removed while in use", ips);
        self.single("awscni_ip_max", GAUGE, "Addresses possible", node.ip_max() as f64);
        let growing = f64::from(u8::from(node.growing));
        let actions = [
            ("decreaseDatastorePool", 0.0),
            ("increaseDatastorePool", growing),
            ("nodeIPPoolReconcile", 0.0),
            ("nodeInit", 0.0),
        ];
        let family = ("awscni_ipamd_action_inprogress", GAUGE, "Work under way");
        self.vector(family, "fn", actions.into_iter());
        let family = ("awscni_ipamd_error_count", COUNTER, "Errors of the daemon");
        self.vector(family, "fn", counters.ipamd_errors.iter().map(counts));
        if release.startup {
            let name = "awscni_ipamd_node_initialization_duration_seconds";
            self.family(name, "histogram", "Time of the node's initialisation");
            self.observed_once(name, &[("success", "true")], process.init_seconds);
            let name = "awscni_ipamd_startup_duration_seconds";
            self.family(name, "histogram", "Time from start to service");
            let with = if process.with_api_server { "true" } else { "false" };
            let labels = [("failure_reason", ""), ("success", "true"), ("with_api_server", with)];
            self.observed_once(name, &labels, process.startup_seconds);
        }
        if let Some(declared) = release.refused {
            let refused = counters.refused as f64;
            let name = "awscni_no_available_ip_addresses";
            self.single(name, declared.as_str(), "Requests without an address left", refused);
        }
        if release.modern {
            let family = ("awscni_pod_eni_error_count", wavering, "Errors with pods' own ENIs");
            self.vector(family, "fn", counters.pod_eni_errors.iter().map(counts));
        }
        let family = ("awscni_reconcile_count", COUNTER, "Mismatches put right");
        self.vector(family, "fn", counters.reconciled.iter().map(counts));
        let total = node.pool.total() as f64;
        self.single("awscni_total_ip_addresses", GAUGE, "Addresses in hand", total);
        if release.modern {
            let prefixes = if node.pool.mode == Mode::Prefix { node.pool.prefixes() } else { 0 };
            self.single("awscni_total_ipv4_prefixes", GAUGE, "Prefixes in hand", prefixes as f64);
        }
        if release.connmark {
            let lost = counters.unrecovered as f64;
            let name = "awscni_unrecovered_checkpoint_entries";
            self.single(name, COUNTER, "Entries lost with a checkpoint", lost);
        }
    }

    fn latency(&mut self, node: &Node) {
        let rows = &node.process.counters.latency;
        if rows.is_empty() {
            return;
        }
        self.family("awscni_aws_api_latency_ms", "summary", "Time of calls to AWS, in ms");
        let sum = "awscni_aws_api_latency_ms_sum";
        let count = "awscni_aws_api_latency_ms_count";
        if node.release.quantiles {
            // Without the label status, rows that differ in nothing else are one.
            for group in rows.chunk_by(|a, b| (a.api, a.failed) == (b.api, b.failed)) {
                let error = if group[0].failed { "true" } else { "false" };
                let labels = [("api", group[0].api), ("error", error)];
                for quantile in ["0.5", "0.9", "0.99"] {
                    // Its window of ten minutes has passed: nothing to rank.
                    let labels = [labels[0], labels[1], ("quantile", quantile)];
                    self.row("awscni_aws_api_latency_ms", &labels, f64::NAN);
                }
                self.row(sum, &labels, group.iter().map(|l| l.sum_ms).sum::<u64>() as f64);
                self.row(count, &labels, group.iter().map(|l| l.count).sum::<u64>() as f64);
            }
            return;
        }
        for row in rows {
            let error = if row.failed { "true" } else { "false" };
            let labels = [("api", row.api), ("error", error), ("status", row.status)];
            self.row(sum, &labels, row.sum_ms as f64);
            self.row(count, &labels, row.count as f64);
        }
    }

    /// A histogram with a single observation.
    fn observed_once(&mut self, name: &str, labels: &[(&str, &str)], seconds: f64) {
        let bucket = format!("{name}_bucket");
        let mut with_le = labels.to_vec();
        for (bound, text) in BOUNDS.iter().copied().chain([(f64::INFINITY, "+Inf")]) {
            with_le.push(("le", text));
            self.row(&bucket, &with_le, f64::from(u8::from(seconds <= bound)));
            with_le.pop();
        }
        self.row(&format!("{name}_sum"), labels, seconds);
        self.row(&format!("{name}_count"), labels, 1.0);
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
