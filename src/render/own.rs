//! The exporter's own families in, text 0.0.4 or OpenMetrics 1.0 out. Comes in: what the registry gathered, sorted by
//! name. Goes out: their lines, by the same number writer as every other line of ours. Never: a
//! header without a sample, a scraped value.

use super::dialect::{self, header};
use super::escape;
use super::negotiate::Format;
use crate::model::Kind;
use crate::number;
use prometheus::proto::{Metric, MetricFamily, MetricType};

/// Appends the families. `names` keeps those families and samples whose name equals one of them;
/// empty keeps all.
pub fn families(list: &[MetricFamily], names: &[String], format: Format, out: &mut Vec<u8>) {
    let mut page = Page { out, names, format, whole_family: true, sample: String::new() };
    for family in list {
        let start = page.out.len();
        page.whole_family = names.is_empty() || names.iter().any(|name| name == family.name());
        if format == Format::OpenMetrics100 && !page.whole_family && is_compound(family) {
            page.parts(family);
            continue;
        }
        header(family.name(), kind(family.get_field_type()), family.help(), format, page.out);
        let samples = page.out.len();
        for metric in family.get_metric() {
            page.metric(family, metric);
        }
        if page.out.len() == samples {
            page.out.truncate(start);
        }
    }
}

struct Page<'a> {
    out: &'a mut Vec<u8>,
    names: &'a [String],
    format: Format,
    /// Whether the family's own name was asked for, or nothing was.
    whole_family: bool,
    /// The sample's name, kept for its allocation.
    sample: String,
}

/// Whether its samples are not all of one name.
fn is_compound(family: &MetricFamily) -> bool {
    matches!(family.get_field_type(), MetricType::HISTOGRAM | MetricType::SUMMARY)
}

impl Page<'_> {
    /// Of a histogram or summary only what is asked for, each sample name as a family of its own: without
    /// the rest OpenMetrics knows neither.
    fn parts(&mut self, family: &MetricFamily) {
        let all = self.names;
        for (at, name) in all.iter().enumerate() {
            if all[..at].contains(name) {
                continue;
            }
            self.names = std::slice::from_ref(name);
            let start = self.out.len();
            header(name, Kind::Untyped, family.help(), self.format, self.out);
            let samples = self.out.len();
            for metric in family.get_metric() {
                self.metric(family, metric);
            }
            if self.out.len() == samples {
                self.out.truncate(start);
            }
        }
        self.names = all;
    }

    fn metric(&mut self, family: &MetricFamily, metric: &Metric) {
        let name = family.name();
        match family.get_field_type() {
            MetricType::COUNTER => {
                self.line(name, "", metric, None, metric.get_counter().get_value())
            }
            MetricType::GAUGE => self.line(name, "", metric, None, metric.get_gauge().get_value()),
            // The crate keeps an untyped family's value to itself, and the registry makes none.
            MetricType::UNTYPED => {}
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                for bucket in histogram.get_bucket() {
                    // The last bucket is ours to write, once.
                    if bucket.upper_bound().is_finite() {
                        let le = Some(("le", bucket.upper_bound()));
                        self.line(name, "_bucket", metric, le, count(bucket.cumulative_count()));
                    }
                }
                let total = count(histogram.get_sample_count());
                self.line(name, "_bucket", metric, Some(("le", f64::INFINITY)), total);
                self.line(name, "_sum", metric, None, histogram.get_sample_sum());
                self.line(name, "_count", metric, None, total);
            }
            MetricType::SUMMARY => {
                let summary = metric.get_summary();
                for quantile in summary.get_quantile() {
                    let label = Some(("quantile", quantile.quantile()));
                    self.line(name, "", metric, label, quantile.value());
                }
                self.line(name, "_sum", metric, None, summary.sample_sum());
                self.line(name, "_count", metric, None, count(summary.sample_count()));
            }
        }
    }

    fn line(
        &mut self,
        family: &str,
        suffix: &str,
        metric: &Metric,
        bound: Option<(&str, f64)>,
        value: f64,
    ) {
        self.sample.clear();
        self.sample.push_str(family);
        self.sample.push_str(suffix);
        if !self.whole_family && !self.names.contains(&self.sample) {
            return;
        }
        self.out.extend_from_slice(self.sample.as_bytes());
        let mut separator = "{";
        for label in metric.get_label() {
            self.text(separator);
            self.text(label.name());
            self.text("=\"");
            escape(label.value(), true, self.out);
            self.text("\"");
            separator = ",";
        }
        if let Some((label, bound)) = bound {
            self.text(separator);
            self.text(label);
            self.text("=\"");
            dialect::bound(bound, self.format, self.out);
            self.text("\"");
            separator = ",";
        }
        self.text(if separator == "," { "} " } else { " " });
        number::write(self.out, value);
        self.text("\n");
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Counts above 2^53 round to the nearest f64, as every reader of the format does.
fn count(count: u64) -> f64 {
    count as f64
}

/// The type of a family of the registry.
pub fn kind(of: MetricType) -> Kind {
    match of {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE => Kind::Gauge,
        MetricType::SUMMARY => Kind::Summary,
        MetricType::UNTYPED => Kind::Untyped,
        MetricType::HISTOGRAM => Kind::Histogram,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

    fn registry() -> Registry {
        let registry = Registry::new();
        let counter =
            IntCounterVec::new(Opts::new("b_total", "Line one\nback\\slash \"q\""), &["x", "y"])
                .unwrap();
        counter.with_label_values(&["a\"b\\c\nd", ""]).inc_by(3);
        let gauge = Gauge::with_opts(Opts::new("a_ratio", "A gauge.")).unwrap();
        gauge.set(0.5);
        let histogram = HistogramVec::new(
            HistogramOpts::new("c_seconds", "A histogram.").buckets(vec![0.5, 2.0]),
            &["path"],
        )
        .unwrap();
        histogram.with_label_values(&["/"]).observe(1.0);
        histogram.with_label_values(&["/"]).observe(9.0);
        let empty = IntCounterVec::new(Opts::new("d_total", "No child."), &["x"]).unwrap();
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(gauge)).unwrap();
        registry.register(Box::new(histogram)).unwrap();
        registry.register(Box::new(empty)).unwrap();
        registry
    }

    fn page(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut out = Vec::new();
        families(&registry().gather(), &names, Format::Text004, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_kind_of_family_is_written_whole() {
        assert_eq!(
            page(&[]),
            r#"# HELP a_ratio A gauge.
# TYPE a_ratio gauge
a_ratio 0.5
# HELP b_total Line one\nback\\slash "q"
# TYPE b_total counter
b_total{x="a\"b\\c\nd",y=""} 3
# HELP c_seconds A histogram.
# TYPE c_seconds histogram
c_seconds_bucket{path="/",le="0.5"} 0
c_seconds_bucket{path="/",le="2"} 1
c_seconds_bucket{path="/",le="+Inf"} 2
c_seconds_sum{path="/"} 10
c_seconds_count{path="/"} 2
"#
        );
    }

    #[test]
    fn a_family_name_keeps_its_samples_and_a_sample_name_keeps_itself() {
        assert_eq!(page(&["c_seconds"]).lines().count(), 2 + 5);
        assert_eq!(
            page(&["c_seconds_sum", "a_ratio"]),
            "# HELP a_ratio A gauge.\n# TYPE a_ratio gauge\na_ratio 0.5\n\
             # HELP c_seconds A histogram.\n# TYPE c_seconds histogram\nc_seconds_sum{path=\"/\"} 10\n"
        );
    }

    #[test]
    fn a_name_that_nothing_has_leaves_an_empty_page() {
        assert_eq!(page(&["c_second", "d_total", ""]), "");
    }

    #[test]
    fn as_openmetrics_the_families_are_valid_and_counters_lose_their_suffix_in_the_header() {
        let mut open = Vec::new();
        families(&registry().gather(), &[], Format::OpenMetrics100, &mut open);
        open.extend_from_slice(dialect::EOF.as_bytes());
        crate::parse::openmetrics::read(&open).unwrap();
        let open = String::from_utf8(open).unwrap();
        assert!(open.contains("# TYPE b counter\n") && open.contains("\nb_total{"), "{open}");
        assert!(open.contains("\\\"q\\\""), "{open}");
    }
}
