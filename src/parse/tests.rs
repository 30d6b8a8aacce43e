//! The text parser: what it takes, what it refuses and where, and that it never panics.

use std::borrow::Cow;

use super::labels::MAX_LABELS;
use super::*;
use proptest::prelude::*;

/// One line in a form that can be compared; timestamps and offsets apart.
#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Sample(String, Vec<(String, String)>, u64, Option<i64>),
    Type(String, Kind),
    Help(String, String),
}

fn plain(line: Line<'_>) -> Plain {
    match line {
        Line::Sample(s) => Plain::Sample(
            s.name.to_owned(),
            s.labels.iter().map(|(n, v)| (n.to_owned(), unescape(v).into_owned())).collect(),
            s.value.to_bits(),
            s.timestamp,
        ),
        Line::Type { name, kind } => Plain::Type(name.to_owned(), kind),
        Line::Help { name, text } => Plain::Help(name.to_owned(), text.to_owned()),
    }
}

fn read(page: &[u8]) -> Result<Vec<Plain>, ParseError> {
    let mut reader = Reader::new(page);
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line()? {
        lines.push(plain(line));
    }
    assert_eq!(reader.offset(), page.len());
    Ok(lines)
}

fn sample(name: &str, labels: &[(&str, &str)], value: f64, timestamp: Option<i64>) -> Plain {
    let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Plain::Sample(name.to_owned(), labels, value.to_bits(), timestamp)
}

fn refused(page: &[u8]) -> (u32, u32, Reason) {
    let error = read(page).expect_err(&String::from_utf8_lossy(page));
    (error.line, error.column, error.reason)
}

#[test]
fn a_page_is_read_line_by_line() {
    let page = b"# HELP a What \\n it is\n# TYPE a counter\na 1\n\n# a comment\na{x=\"y\",z=\"\"} 2.5 -17\n";
    assert_eq!(
        read(page).unwrap(),
        [
            Plain::Help("a".to_owned(), "What \\n it is".to_owned()),
            Plain::Type("a".to_owned(), Kind::Counter),
            sample("a", &[], 1.0, None),
            sample("a", &[("x", "y"), ("z", "")], 2.5, Some(-17)),
        ]
    );
}

#[test]
fn an_empty_page_has_no_lines() {
    assert_eq!(read(b"").unwrap(), []);
    assert_eq!(read(b"\n \t\n#\n").unwrap(), []);
}

#[test]
fn blanks_and_tabs_may_stand_around_every_token() {
    let expected = [sample("a:b", &[("x", "1"), ("y", "2")], -3.0, Some(4))];
    assert_eq!(read(b" \ta:b\t{ x = \"1\" ,\ty=\"2\" , } -3  4 \t\n").unwrap(), expected);
    assert_eq!(read(b"a:b{x=\"1\",y=\"2\"}-3 4\n").unwrap(), expected);
    assert_eq!(
        read(b"a{} 1\na{ } 1\n").unwrap(),
        [sample("a", &[], 1.0, None), sample("a", &[], 1.0, None)]
    );
}

#[test]
fn metadata_may_have_wide_gaps_but_needs_one_after_the_hash() {
    assert_eq!(
        read(b" #\tTYPE\t a  gauge \t\n#  HELP a\n# HELP a   \n# HELP a  b  c \n").unwrap(),
        [
            Plain::Type("a".to_owned(), Kind::Gauge),
            Plain::Help("a".to_owned(), String::new()),
            Plain::Help("a".to_owned(), String::new()),
            Plain::Help("a".to_owned(), "b  c ".to_owned()),
        ]
    );
    assert_eq!(
        read(b"#TYPE a gauge\n# TYPES a b\n# HELPa b\n# type a x\n#\n# UNIT a x\n# EOF\n").unwrap(),
        []
    );
}

#[test]
fn all_five_types_are_known_by_their_own_words() {
    for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary, Kind::Untyped] {
        let page = format!("# TYPE a {}\n", kind.as_str());
        assert_eq!(read(page.as_bytes()).unwrap(), [Plain::Type("a".to_owned(), kind)]);
    }
}

#[test]
fn a_longer_or_shorter_name_than_the_line_before_is_read_whole() {
    let names = |page: &[u8]| -> Vec<String> {
        let mut reader = Reader::new(page);
        let mut names = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            if let Line::Sample(s) = line {
                names.push(s.name.to_owned());
            }
        }
        names
    };
    assert_eq!(
        names(b"# TYPE ab summary\nab 1\nab_sum 1\nab_sum{x=\"1\"} 1\nab{x=\"1\"} 1\na 1\nabc 1\n"),
        ["ab", "ab_sum", "ab_sum", "ab", "a", "abc"]
    );
}

#[test]
fn escapes_are_kept_on_the_page_and_undone_on_demand() {
    let page = r#"a{x="q\"b\\n\nl",y="\z\"} ü"} 1
"#;
    let mut reader = Reader::new(page.as_bytes());
    let Some(Line::Sample(s)) = reader.next_line().unwrap() else { panic!("a sample") };
    let labels: Vec<_> = s.labels.iter().collect();
    assert_eq!(labels, [("x", r#"q\"b\\n\nl"#), ("y", r#"\z\"} ü"#)]);
    assert_eq!(unescape(labels[0].1), "q\"b\\n\nl");
    assert_eq!(unescape(labels[1].1), "\\z\"} ü");
    assert!(matches!(unescape("plain"), Cow::Borrowed("plain")));
    assert_eq!(unescape("end\\"), "end\\");
}

#[test]
fn value_at_points_at_the_value() {
    for page in [&b"a{x=\"1\"}  12 3\n"[..], b"a 12 3\n", b" a{}12 3\n"] {
        let Some(Line::Sample(s)) = Reader::new(page).next_line().unwrap() else {
            panic!("a sample")
        };
        assert!(page[s.value_at..].starts_with(b"12 3"));
    }
}

#[test]
fn each_fault_is_named_and_located() {
    for (page, line, column, reason) in [
        (&b"a 1\n0a 1\n"[..], 2, 1, Reason::Name),
        (b"{x=\"1\"} 1\n", 1, 1, Reason::Name),
        (b"a\n", 1, 2, Reason::AfterName),
        (b"a-b 1\n", 1, 2, Reason::AfterName),
        (b"a.b 1\n", 1, 2, Reason::AfterName),
        (b"a\xc3\xa9 1\n", 1, 2, Reason::AfterName),
        (b"a{1=\"x\"} 1\n", 1, 3, Reason::LabelName),
        (b"a{,} 1\n", 1, 3, Reason::LabelName),
        (b"a{x=\"1\",,} 1\n", 1, 9, Reason::LabelName),
        (b"a{\"x\"=\"1\"} 1\n", 1, 3, Reason::LabelName),
        (b"a{x:y=\"1\"} 1\n", 1, 4, Reason::Equals),
        (b"a{x} 1\n", 1, 4, Reason::Equals),
        (b"a{x=1} 1\n", 1, 5, Reason::OpenQuote),
        (b"a{x='1'} 1\n", 1, 5, Reason::OpenQuote),
        (b"a{x=\"1} 1\n", 1, 10, Reason::CloseQuote),
        (b"a{x=\"1\\\n\"} 1\n", 1, 7, Reason::CloseQuote),
        (b"a{x=\"1\"y=\"2\"} 1\n", 1, 8, Reason::CommaOrBrace),
        (b"a{x=\"1\" 1\n", 1, 9, Reason::CommaOrBrace),
        (b"a{x=\"1\",y=\"\",x=\"2\"} 1\n", 1, 14, Reason::DuplicateLabel),
        (b"a{__name__=\"b\"} 1\n", 1, 3, Reason::DuplicateLabel),
        (b"a{x=\"ab\xff\"} 1\n", 1, 8, Reason::Utf8),
        (b"a{x=\"\\\xff\"} 1\n", 1, 7, Reason::Utf8),
        (b"# HELP a b\xc3\n", 1, 11, Reason::Utf8),
        (b"a{}\n", 1, 4, Reason::Value),
        (b"a \n", 1, 3, Reason::Value),
        (b"a 1x\n", 1, 3, Reason::Value),
        (b"a 1\r\n", 1, 3, Reason::Value),
        (b"a 1 1.5\n", 1, 5, Reason::Timestamp),
        (b"a 1 9223372036854775808\n", 1, 5, Reason::Timestamp),
        (b"a 1 2 # {} 3\n", 1, 7, Reason::Trailing),
        (b"# TYPE\n", 1, 7, Reason::MetadataName),
        (b"# HELP \n", 1, 8, Reason::MetadataName),
        (b"# TYPE 1a gauge\n", 1, 8, Reason::MetadataName),
        (b"# HELP a.b x\n", 1, 9, Reason::MetadataName),
        (b"# TYPE a\n", 1, 9, Reason::Type),
        (b"# TYPE a Gauge\n", 1, 10, Reason::Type),
        (b"# TYPE a gauge x\n", 1, 10, Reason::Type),
        (b"# TYPE a gauge\r\n", 1, 10, Reason::Type),
        (b"# TYPE a info\n", 1, 10, Reason::Type),
    ] {
        assert_eq!(refused(page), (line, column, reason), "{}", String::from_utf8_lossy(page));
    }
}

#[test]
fn a_page_cut_anywhere_inside_a_line_is_unfinished() {
    let page: &[u8] = b"# HELP a b\n# TYPE a counter\na{x=\"\\\"1\",} 1.5 3\n";
    for cut in 1..page.len() {
        let whole_lines = page[..cut].ends_with(b"\n");
        match read(&page[..cut]) {
            Ok(_) => assert!(whole_lines, "cut at {cut}"),
            Err(error) => {
                assert!(!whole_lines, "cut at {cut}");
                assert_eq!(error.reason, Reason::Unfinished, "cut at {cut}");
            }
        }
    }
    assert_eq!(refused(b"a 1\n# c"), (2, 4, Reason::Unfinished));
    assert_eq!(refused(b"a 1\n  "), (2, 3, Reason::Unfinished));
}

#[test]
fn as_many_labels_as_the_cap_are_taken_and_one_more_is_not() {
    let page = |count: usize| {
        let labels: Vec<String> = (0..count).map(|i| format!("l{i}=\"\"")).collect();
        format!("a{{{}}} 1\n", labels.join(","))
    };
    assert_eq!(read(page(MAX_LABELS).as_bytes()).unwrap().len(), 1);
    assert_eq!(refused(page(MAX_LABELS + 1).as_bytes()).2, Reason::TooManyLabels);
}

#[test]
fn a_reader_stays_before_the_line_that_it_refused() {
    let mut reader = Reader::new(b"a 1\nb x\nc 1\n");
    reader.next_line().unwrap();
    let error = reader.next_line().unwrap_err();
    assert_eq!((reader.offset(), reader.line()), (4, 2));
    assert_eq!(reader.next_line().unwrap_err(), error);
    assert_eq!(error.to_string(), "2:3: a number is expected as the value");
}

#[test]
fn a_resumed_reader_goes_on_where_it_was_put() {
    let page = b"a 1\nb 2\nc x\n";
    let mut reader = Reader::resume(page, 4, 2);
    assert_eq!(reader.next_line().unwrap().map(plain), Some(sample("b", &[], 2.0, None)));
    assert_eq!(reader.offset(), 8);
    assert_eq!(reader.next_line().unwrap_err().line, 3);
    assert!(Reader::resume(page, 99, 9).next_line().unwrap().is_none());
}

#[test]
fn a_value_line_is_a_number_and_its_line_feed_and_nothing_else() {
    assert_eq!(value_line(b"a 12\nb", 2), Some((12.0, 5)));
    assert_eq!(value_line(b"1.5562085013141422e+09\n", 0), Some((1_556_208_501.314_142_2, 23)));
    assert!(value_line(b"NaN\n", 0).is_some_and(|(value, end)| value.is_nan() && end == 4));
    for page in ["12", "12 \n", "12 3\n", " 12\n", "\n", "x\n", "", "1.5562085013141422e+09 1\n"] {
        assert_eq!(value_line(page.as_bytes(), 0), None, "{page:?}");
    }
    assert_eq!(value_line(b"1\n", 7), None);
}

#[test]
fn real_pages_are_read_to_their_ends() {
    let head = read(include_bytes!("../../tests/data/head.prom")).unwrap();
    let old = read(include_bytes!("../../tests/data/aws-node-old-quantiles.prom")).unwrap();
    let samples = |lines: &[Plain]| lines.iter().filter(|l| matches!(l, Plain::Sample(..))).count();
    assert_eq!((head.len(), samples(&head)), (347, 213));
    assert_eq!((old.len(), samples(&old)), (198, 114));
    assert!(old.contains(&sample("awscni_total_ip_addresses", &[], 10.0, None)));
}

/// A writer of the format, as plain as can be.
fn written(lines: &[Plain], gap: &str) -> String {
    let mut out = String::new();
    for line in lines {
        match line {
            Plain::Help(name, text) => out.push_str(&format!("# HELP {name} {text}\n")),
            Plain::Type(name, kind) => out.push_str(&format!("# TYPE {name} {}\n", kind.as_str())),
            Plain::Sample(name, labels, value, timestamp) => {
                out.push_str(name);
                if !labels.is_empty() {
                    let list: Vec<String> = labels
                        .iter()
                        .map(|(n, v)| {
                            let v =
                                v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                            format!("{n}{gap}={gap}\"{v}\"")
                        })
                        .collect();
                    out.push_str(&format!("{gap}{{{}}}", list.join(&format!("{gap},"))));
                }
                let mut number = Vec::new();
                number::write(&mut number, f64::from_bits(*value));
                out.push_str(&format!(" {gap}{}", String::from_utf8(number).unwrap()));
                if let Some(timestamp) = timestamp {
                    out.push_str(&format!(" {gap}{timestamp}"));
                }
                out.push_str(gap);
                out.push('\n');
            }
        }
    }
    out
}

fn any_line() -> impl Strategy<Value = Plain> {
    let name = "[a-z_:][a-z0-9_:]{0,12}";
    let labels = proptest::collection::btree_map(
        "[a-zA-Z_][a-zA-Z0-9_]{0,6}",
        "([ -~\n\\\\\"é€]|\\PC){0,20}",
        0..6,
    );
    let value = any::<f64>().prop_filter("one NaN only", |value| !value.is_nan());
    let kind = prop::sample::select(vec![
        Kind::Counter,
        Kind::Gauge,
        Kind::Histogram,
        Kind::Summary,
        Kind::Untyped,
    ]);
    prop_oneof![
        4 => (name, labels, value, any::<Option<i64>>()).prop_map(|(name, labels, value, timestamp)| {
            Plain::Sample(name, labels.into_iter().collect(), value.to_bits(), timestamp)
        }),
        1 => (name, kind).prop_map(|(name, kind)| Plain::Type(name, kind)),
        1 => (name, "[!-~é]?[ -~é]{0,20}").prop_map(|(name, text)| Plain::Help(name, text.trim_start().to_owned())),
    ]
}

/// Bytes that look like a page often enough to get deep into the reader.
fn page_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "a", "b_sum", "{", "}", "x=", "\"", "\\", ",", " ", "\t", "\n", "1", "-2.5e3", "NaN", "# ", "HELP ",
            "TYPE ", "counter", "le=\"+Inf\"", "# EOF", "\u{e9}", "123456789012345678", "__name__=\"\"",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        lines in proptest::collection::vec(any_line(), 0..12),
        gap in prop::sample::select(vec!["", " ", "\t "]),
    ) {
        prop_assert_eq!(read(written(&lines, gap).as_bytes()).unwrap(), lines);
    }

    #[test]
    fn on_any_page_a_reader_advances_or_refuses(page in page_like()) {
        let mut reader = Reader::new(&page);
        loop {
            let before = reader.offset();
            match reader.next_line() {
                Ok(Some(line)) => {
                    prop_assert!(reader.offset() > before && reader.offset() <= page.len());
                    prop_assert_eq!(page[reader.offset() - 1], b'\n');
                    if let Line::Sample(s) = line {
                        prop_assert!(s.value_at > before && s.value_at < reader.offset());
                        prop_assert!(s.labels.iter().count() <= MAX_LABELS);
                        if let Some((value, end)) = value_line(&page, s.value_at) {
                            prop_assert_eq!((value.to_bits(), end), (s.value.to_bits(), reader.offset()));
                            prop_assert_eq!(s.timestamp, None);
                        }
                    }
                }
                Ok(None) => {
                    prop_assert_eq!(reader.offset(), page.len());
                    break;
                }
                Err(error) => {
                    prop_assert_eq!(reader.offset(), before.max(reader.offset()));
                    let line_feeds = page[..reader.offset()].iter().filter(|b| **b == b'\n').count();
                    prop_assert_eq!(error.line as usize, line_feeds + 1);
                    prop_assert!(reader.offset() + error.column as usize <= page.len() + 1);
                    break;
                }
            }
        }
    }

    #[test]
    fn a_reader_resumed_at_any_line_reads_the_same_rest(lines in proptest::collection::vec(any_line(), 1..8), at in 0_usize..8) {
        let page = written(&lines, "").into_bytes();
        let mut reader = Reader::new(&page);
        for _ in 0..at.min(lines.len()) {
            reader.next_line().unwrap();
        }
        let mut resumed = Reader::resume(&page, reader.offset(), reader.line());
        while let Some(line) = reader.next_line().unwrap() {
            prop_assert_eq!(resumed.next_line().unwrap().map(plain), Some(plain(line)));
            prop_assert_eq!(resumed.offset(), reader.offset());
        }
    }

    #[test]
    fn unescape_undoes_escaping(value in "([ -~\n\\\\\"é]){0,20}") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        prop_assert_eq!(unescape(&escaped), value);
    }
}
