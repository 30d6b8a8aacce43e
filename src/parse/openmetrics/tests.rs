//! The strict OpenMetrics reader, rule by rule.

use super::*;
use proptest::prelude::*;

fn taken(body: &str) -> Vec<Type> {
    let page = format!("{body}# EOF\n");
    read(page.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}\n{page}")).families
}

fn refused(body: &str) -> (u32, u32, Rule) {
    let page = format!("{body}# EOF\n");
    let refusal = read(page.as_bytes()).expect_err(&page);
    (refusal.line, refusal.column, refusal.rule)
}

#[test]
fn families_and_samples_are_counted_by_type() {
    let page = "# TYPE c counter\n# HELP c Of \"events\"\nc_total{x=\"1\"} 1\nc_created{x=\"1\"} 2.5\n\
        # TYPE g_seconds gauge\n# UNIT g_seconds seconds\ng_seconds 1\nu 1\n\
        # TYPE i info\ni_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"on\"} 1\ns{s=\"off\"} 0\n\
        # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\n\
        # TYPE gh gaugehistogram\ngh_bucket{le=\"-1\"} 1\ngh_bucket{le=\"+Inf\"} 1\ngh_gcount 1\ngh_gsum -2\n\
        # TYPE q summary\nq{quantile=\"0.5\"} NaN\nq_count 1\nq_sum 2\n# HELP empty \n# UNIT empty \n# EOF";
    let summary = read(page.as_bytes()).unwrap();
    assert_eq!(
        summary.families,
        [
            Type::Counter,
            Type::Gauge,
            Type::Unknown,
            Type::Info,
            Type::StateSet,
            Type::Histogram,
            Type::GaugeHistogram,
            Type::Summary,
            Type::Unknown,
        ]
    );
    assert_eq!(summary.samples, 18);
}

#[test]
fn the_end_must_be_said_once_and_last() {
    assert_eq!(read(b"# EOF").unwrap(), Summary::default());
    assert_eq!(read(b"# EOF\n").unwrap(), Summary::default());
    for (page, line, rule) in [
        (&b""[..], 1, Rule::NoEof),
        (b"a 1\n", 2, Rule::NoEof),
        (b"a 1", 1, Rule::NoEof),
        (b"# EOF\n\n", 2, Rule::AfterEof),
        (b"# EOF\n# EOF\n", 2, Rule::AfterEof),
        (b"# EOF \n", 1, Rule::Metadata),
        (b"# EOF\r\n", 1, Rule::Metadata),
    ] {
        let refusal = read(page).unwrap_err();
        assert_eq!((refusal.line, refusal.rule), (line, rule), "{}", String::from_utf8_lossy(page));
    }
}

#[test]
fn bytes_that_are_not_utf8_are_located() {
    let refusal = read(b"a 1\nb{x=\"\xff\"} 1\n# EOF\n").unwrap_err();
    assert_eq!(refusal, Refusal { line: 2, column: 6, rule: Rule::Utf8 });
}

#[test]
fn lines_must_be_written_to_the_letter() {
    for (body, column, rule) in [
        ("\n", 1, Rule::BlankLine),
        ("# a comment\n", 3, Rule::Metadata),
        ("#TYPE a gauge\n", 1, Rule::Metadata),
        ("# HELP a\n", 9, Rule::Metadata),
        ("# HELP  a b\n", 8, Rule::Name),
        ("# TYPE a.b gauge\n", 9, Rule::Name),
        ("# TYPE a Gauge\n", 10, Rule::Type),
        ("# TYPE a gauge \n", 10, Rule::Type),
        ("# TYPE a untyped\n", 10, Rule::Type),
        (" a 1\n", 1, Rule::Name),
        ("a\n", 2, Rule::Space),
        ("a\t1\n", 2, Rule::Space),
        ("a  1\n", 3, Rule::Value),
        ("a 1\t\n", 3, Rule::Value),
        ("a 0x1\n", 3, Rule::Value),
        ("a{b=\"1\"}2\n", 9, Rule::Space),
        ("a {b=\"1\"} 2\n", 3, Rule::Value),
        ("a{ b=\"1\"} 2\n", 3, Rule::LabelName),
        ("a{b=\"1\",} 2\n", 9, Rule::LabelName),
        ("a{b =\"1\"} 2\n", 4, Rule::Equals),
        ("a{b=1} 2\n", 5, Rule::OpenQuote),
        ("a{b=\"1} 2\n", 10, Rule::CloseQuote),
        ("a{b=\"1\\\n", 8, Rule::CloseQuote),
        ("a{b=\"1\" } 2\n", 8, Rule::CommaOrBrace),
        ("a{b=\"1\",b=\"2\"} 2\n", 3, Rule::DuplicateLabel),
        ("a 1 \n", 5, Rule::Timestamp),
        ("a 1 NaN\n", 5, Rule::Timestamp),
        ("a 1 +Inf\n", 5, Rule::Timestamp),
        ("a 1 2 \n", 7, Rule::Exemplar),
        ("a 1 2 3\n", 7, Rule::Exemplar),
        ("a 1 # {} 1  \n", 12, Rule::Timestamp),
        ("a 1 #{} 1\n", 6, Rule::Exemplar),
        ("a 1 # {}1\n", 9, Rule::Exemplar),
        ("a 1 # {} x\n", 10, Rule::Value),
        ("a 1 # {} 1 Inf\n", 12, Rule::Timestamp),
        ("a 1 # {} 1 2 3\n", 13, Rule::Exemplar),
    ] {
        assert_eq!(refused(body), (1, column, rule), "{body:?}");
    }
}

#[test]
fn escapes_numbers_and_timestamps_have_many_legal_forms() {
    taken(
        "a{x=\"q\\\"b\\\\n\\nz\\z # }\",y=\"\"} -Inf\na{y=\"\u{e9}\"} nan -00.5e1\na{} .5 12345678901234567890.1\n",
    );
}

#[test]
fn metadata_stands_once_and_before_the_samples() {
    assert_eq!(refused("a 1\n# TYPE a gauge\n"), (2, 10, Rule::MetadataLate));
    assert_eq!(refused("# TYPE a gauge\na 1\n# HELP a x\n"), (3, 10, Rule::MetadataLate));
    assert_eq!(refused("# HELP a \n# HELP a \n"), (2, 10, Rule::MetadataTwice));
    assert_eq!(refused("# TYPE a gauge\n# TYPE a gauge\n"), (2, 10, Rule::MetadataTwice));
    assert_eq!(refused("# UNIT a_s s\n# UNIT a_s s\n"), (2, 12, Rule::MetadataTwice));
}

#[test]
fn a_unit_is_the_end_of_the_name_and_not_of_every_type() {
    assert_eq!(refused("# UNIT a seconds\n").2, Rule::Unit);
    assert_eq!(refused("# UNIT aseconds seconds\n").2, Rule::Unit);
    assert_eq!(refused("# TYPE a_s info\n# UNIT a_s s\n"), (1, 1, Rule::UnitType));
    assert_eq!(refused("# TYPE a_s stateset\n# UNIT a_s s\n").2, Rule::UnitType);
    assert_eq!(taken("# TYPE a_s_t counter\n# UNIT a_s_t s_t\na_s_t_total 1\n"), [Type::Counter]);
}

#[test]
fn a_name_belongs_to_one_family() {
    assert_eq!(refused("# TYPE a counter\na_total 1\na 1\n"), (3, 1, Rule::Clash));
    assert_eq!(refused("a 1\nb 1\na 2\n"), (3, 1, Rule::Clash));
    assert_eq!(refused("# TYPE a_created gauge\n# TYPE a counter\n"), (2, 1, Rule::Clash));
    assert_eq!(refused("# TYPE a summary\n# TYPE a_count gauge\n").2, Rule::Clash);
    assert_eq!(taken("# TYPE a gauge\n# TYPE a_count gauge\n").len(), 2);
}

#[test]
fn the_samples_of_a_label_set_stand_together() {
    assert_eq!(
        refused("# TYPE a summary\na_count{x=\"1\"} 1\na_count{x=\"2\"} 1\na_sum{x=\"1\"} 1\n"),
        (4, 1, Rule::Grouping)
    );
    assert_eq!(refused("a{x=\"1\"} 1\na{x=\"2\"} 1\na{x=\"1\"} 1\n"), (3, 1, Rule::Grouping));
    assert_eq!(
        refused("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\n"),
        (2, 1, Rule::DuplicateSeries)
    );
    assert_eq!(
        refused("# TYPE i info\ni_info{x=\"1\"} 1\ni_info{x=\"1\"} 1\n").2,
        Rule::DuplicateSeries
    );
    taken("# TYPE i info\ni_info{x=\"1\"} 1\ni_info{x=\"2\"} 1\n");
    taken("# TYPE s stateset\ns{s=\"a\"} 1\ns{s=\"b\"} 1\n");
}

#[test]
fn timestamps_stand_on_all_samples_of_a_label_set_and_do_not_go_back() {
    assert_eq!(refused("a 1\na 1 1\n"), (2, 1, Rule::TimestampMix));
    assert_eq!(refused("a 1 1\na 1\n"), (2, 1, Rule::TimestampMix));
    assert_eq!(refused("a 1 -1\na 1 -1.5\n"), (2, 1, Rule::TimestampOrder));
    taken("a 1 -2\na 2 -1\na 3 -1\na 4 0.5\na{x=\"1\"} 1\n");
    taken("# TYPE i info\ni_info{x=\"1\"} 1 2\ni_info{x=\"2\"} 1 1\n");
}

#[test]
fn counts_are_whole_and_not_negative() {
    for (body, rule) in [
        ("# TYPE a counter\na_total NaN\n", Rule::CountNaN),
        ("# TYPE a counter\na_total -1\n", Rule::CountNegative),
        ("# TYPE a summary\na_sum NaN\n", Rule::CountNaN),
        ("# TYPE a summary\na_sum -1\n", Rule::CountNegative),
        ("# TYPE a summary\na_count 1.5\n", Rule::CountFraction),
        ("# TYPE a summary\na_count +Inf\n", Rule::CountFraction),
        ("# TYPE a summary\na{quantile=\"1\"} -1\n", Rule::QuantileNegative),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 0.5\n", Rule::CountFraction),
        ("# TYPE a gaugehistogram\na_gcount -1\n", Rule::CountNegative),
        ("# TYPE a gaugehistogram\na_gcount 0.5\n", Rule::CountFraction),
        ("# TYPE a gaugehistogram\na_gsum NaN\n", Rule::CountNaN),
        ("# TYPE a stateset\na{a=\"x\"} 2\n", Rule::StateValue),
        ("# TYPE a stateset\na{a=\"x\"} NaN\n", Rule::StateValue),
        ("# TYPE a info\na_info 0\n", Rule::InfoValue),
    ] {
        let (line, column, found) = refused(body);
        assert_eq!((line, found), (2, rule), "{body}");
        assert!(column > 1, "the column is the value's: {body}");
    }
    taken("# TYPE a counter\na_total 1.5\n# TYPE b gauge\nb -1.5\n");
}

#[test]
fn each_type_has_the_labels_and_samples_that_it_needs() {
    for (body, rule) in [
        ("# TYPE a summary\na 1\n", Rule::QuantileLabel),
        ("# TYPE a summary\na{quantile=\"1.1\"} 1\n", Rule::QuantileLabel),
        ("# TYPE a summary\na{quantile=\"NaN\"} 1\n", Rule::QuantileLabel),
        ("# TYPE a stateset\na{b=\"x\"} 1\n", Rule::StateLabel),
        ("# TYPE a histogram\na_bucket 1\n", Rule::BucketLabel),
        ("# TYPE a histogram\na_bucket{le=\"NaN\"} 1\n", Rule::BucketLabel),
        ("# TYPE a histogram\na_bucket{le=\"inf\"} 1\n", Rule::BucketLabel),
        ("# TYPE a gaugehistogram\na_bucket{le=\"-Inf\"} 1\n", Rule::BucketLabel),
        ("# TYPE a counter\na_created 1\n", Rule::NoTotal),
        ("# TYPE a counter\na_created{x=\"1\"} 1\na_total{x=\"2\"} 1\n", Rule::NoTotal),
    ] {
        let (line, _, found) = refused(body);
        assert_eq!((line, found), (2, rule), "{body}");
    }
}

#[test]
fn histograms_add_up() {
    let bucket = |le: &str, value: i32| format!("a_bucket{{le=\"{le}\"}} {value}\n");
    let histogram = |body: String| refused(&format!("# TYPE a histogram\n{body}")).2;
    let gauges = |body: String| refused(&format!("# TYPE a gaugehistogram\n{body}")).2;
    assert_eq!(histogram("a_sum 1\na_count 1\n".into()), Rule::NoInfBucket);
    assert_eq!(histogram(bucket("1", 1)), Rule::NoInfBucket);
    assert_eq!(histogram(bucket("2", 1) + &bucket("1", 1)), Rule::BucketOrder);
    assert_eq!(histogram(bucket("1", 1) + &bucket("1.0", 1)), Rule::BucketOrder);
    assert_eq!(histogram(bucket("1", 2) + &bucket("+Inf", 1)), Rule::BucketFalls);
    assert_eq!(histogram(bucket("+Inf", 1) + "a_count 2\na_sum 1\n"), Rule::CountMismatch);
    assert_eq!(histogram(bucket("+Inf", 1) + "a_count 1\n"), Rule::SumAndCount);
    assert_eq!(histogram(bucket("+Inf", 1) + "a_sum 1\n"), Rule::SumAndCount);
    assert_eq!(gauges(bucket("+Inf", 1) + "a_gsum 1\n"), Rule::SumAndCount);
    assert_eq!(
        histogram(bucket("-1", 1) + &bucket("+Inf", 1) + "a_count 1\na_sum 1\n"),
        Rule::SumOfNegatives
    );
    assert_eq!(gauges(bucket("+Inf", 1) + "a_gcount 1\na_gsum -1\n"), Rule::NegativeGsum);
    taken(&format!("# TYPE a histogram\na_count 0\na_sum 0\n{}", bucket("+Inf", 0)));
    taken(&format!("# TYPE a histogram\n{}{}", bucket("-1", 0), bucket("+Inf", 0)));
}

#[test]
fn each_point_of_a_histogram_is_judged_by_itself() {
    let point = |at: u32, last: u32| {
        format!(
            "a_bucket{{le=\"1\"}} 1 {at}\na_bucket{{le=\"+Inf\"}} {last} {at}\na_count 2 {at}\na_sum 2 {at}\n"
        )
    };
    taken(&format!("# TYPE a histogram\n{}{}", point(1, 2), point(2, 2)));
    let (line, _, rule) = refused(&format!("# TYPE a histogram\n{}{}", point(1, 3), point(2, 2)));
    assert_eq!((line, rule), (6, Rule::CountMismatch));
}

#[test]
fn exemplars_stand_on_totals_and_buckets_and_are_short() {
    taken(
        "# TYPE a counter\na_total 1 # {} 0.5\n# TYPE b histogram\nb_bucket{le=\"+Inf\"} 1 5 # {id=\"x\"} 1 1.5\n",
    );
    for body in [
        "a 1 # {} 1\n",
        "# TYPE a gauge\na 1 # {} 1\n",
        "# TYPE a counter\na_total 1\na_created 1 # {} 1\n",
        "# TYPE a summary\na_count 1 # {} 1\n",
        "# TYPE a_bucket gauge\na_bucket 1 # {} 1\n",
    ] {
        assert_eq!(refused(body).2, Rule::ExemplarPlace, "{body}");
    }
    let sized = |length: usize| {
        format!("# TYPE a counter\na_total 1 # {{b=\"{}\"}} 1\n", "\u{e9}".repeat(length))
    };
    taken(&sized(127));
    assert_eq!(refused(&sized(128)), (2, 14, Rule::ExemplarLength));
}

#[test]
fn a_refusal_reads_line_column_reason() {
    let refusal = read(b"a 1\nb x\n# EOF\n").unwrap_err();
    assert_eq!(refusal.to_string(), "2:3: a number is expected here, with nothing around it");
}

proptest! {
    #[test]
    fn any_page_is_judged_without_a_panic(pieces in proptest::collection::vec(prop_oneof![
        8 => prop::sample::select(vec![
            "# TYPE a histogram\n", "# TYPE a counter\n", "# HELP a b\n", "# UNIT a_s s\n", "a_bucket{le=\"", "+Inf\"} ",
            "a_total", "a_count", "a_sum", "{x=\"1\"", "}", " 1", " -2.5", " # {", "\n", "\\", "\"", "\u{e9}", "# EOF\n",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ], 0..40)) {
        let page = pieces.concat();
        if let Err(refusal) = read(&page) {
            let lines = page.iter().filter(|byte| **byte == b'\n').count() + 1;
            prop_assert!(refusal.line >= 1 && refusal.line as usize <= lines);
            prop_assert!(refusal.column >= 1 && refusal.column as usize <= page.len() + 1);
        }
    }
}
