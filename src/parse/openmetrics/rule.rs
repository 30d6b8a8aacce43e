//! The rules of OpenMetrics 1.0 that a page can break, and their words. Comes in: nothing. Goes
//! out: one sentence for each rule. Never: a part of the page in the text.

use std::fmt;

/// A rule that a page breaks: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Invalid UTF-8.
    Utf8,
    /// No `# EOF`.
    NoEof,
    /// Something after `# EOF`.
    AfterEof,
    /// An empty line.
    BlankLine,
    /// A `#` line of another form.
    Metadata,
    /// A bad metric name.
    Name,
    /// No single space where one must stand.
    Space,
    /// A bad label name.
    LabelName,
    /// No `=` after a label name.
    Equals,
    /// No quote before a label value.
    OpenQuote,
    /// No quote after a label value.
    CloseQuote,
    /// Neither comma nor brace after a label.
    CommaOrBrace,
    /// A label name twice.
    DuplicateLabel,
    /// A bad value.
    Value,
    /// A bad timestamp.
    Timestamp,
    /// A malformed exemplar.
    Exemplar,
    /// An exemplar with too long labels.
    ExemplarLength,
    /// An exemplar where none may stand.
    ExemplarPlace,
    /// Metadata after the family's samples.
    MetadataLate,
    /// HELP, TYPE or UNIT twice.
    MetadataTwice,
    /// An unknown type.
    Type,
    /// A unit that is not the name's end.
    Unit,
    /// A unit for a type that has none.
    UnitType,
    /// A name in use by another family.
    Clash,
    /// A group that comes back after another.
    Grouping,
    /// Timestamps on some samples of a group only.
    TimestampMix,
    /// Timestamps that run backwards.
    TimestampOrder,
    /// The same series twice without timestamps.
    DuplicateSeries,
    /// NaN where events are counted.
    CountNaN,
    /// A negative count.
    CountNegative,
    /// A fractional count.
    CountFraction,
    /// A negative quantile value.
    QuantileNegative,
    /// No or a bad `quantile` label.
    QuantileLabel,
    /// A state set's sample without its label.
    StateLabel,
    /// A state that is neither 0 nor 1.
    StateValue,
    /// An info sample that is not 1.
    InfoValue,
    /// A counter without `_total`.
    NoTotal,
    /// No or a bad `le` label.
    BucketLabel,
    /// Buckets in wrong order.
    BucketOrder,
    /// A cumulative bucket that falls.
    BucketFalls,
    /// No `+Inf` bucket.
    NoInfBucket,
    /// The count is not the `+Inf` bucket.
    CountMismatch,
    /// A sum without a count or a count without a sum.
    SumAndCount,
    /// A sum beside negative buckets.
    SumOfNegatives,
    /// A negative gauge sum without negative buckets.
    NegativeGsum,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Utf8 => "the text is not valid UTF-8",
            Rule::NoEof => "the page must end in a line `# EOF`",
            Rule::AfterEof => "nothing may follow the line `# EOF`",
            Rule::BlankLine => "blank lines are not allowed",
            Rule::Metadata => {
                "a line that begins with # must be `# TYPE name type`, `# HELP name text`, \
                 `# UNIT name unit` or `# EOF`, with single spaces"
            }
            Rule::Name => "a metric name is expected here",
            Rule::Space => "a single space is expected here",
            Rule::LabelName => "a label name is expected here",
            Rule::Equals => "an equals sign is expected after the label name",
            Rule::OpenQuote => "a double quote is expected before the label value",
            Rule::CloseQuote => "the line ends inside a label value",
            Rule::CommaOrBrace => "a comma or a closing brace is expected after the label value",
            Rule::DuplicateLabel => "a label name stands twice",
            Rule::Value => "a number is expected here, with nothing around it",
            Rule::Timestamp => "a finite number of seconds is expected as the timestamp",
            Rule::Exemplar => "an exemplar must be ` # {labels} value` with an optional timestamp",
            Rule::ExemplarLength => "the labels of an exemplar may have 128 characters together",
            Rule::ExemplarPlace => "only `_total` of counters and `_bucket` may have an exemplar",
            Rule::MetadataLate => "metadata must stand before the samples of its family",
            Rule::MetadataTwice => "a family may have one HELP, one TYPE and one UNIT",
            Rule::Type => {
                "the type must be counter, gauge, gaugehistogram, histogram, info, stateset, \
                 summary or unknown"
            }
            Rule::Unit => "the family's name must end in an underscore and its unit",
            Rule::UnitType => "info and stateset families have no unit",
            Rule::Clash => "the family, or a name that its type reserves, stands elsewhere already",
            Rule::Grouping => "the samples of one label set must stand together",
            Rule::TimestampMix => "either all samples of a label set have a timestamp or none",
            Rule::TimestampOrder => "timestamps of one label set must not go backwards",
            Rule::DuplicateSeries => "the same series stands twice without timestamps",
            Rule::CountNaN => "counts and sums must not be NaN",
            Rule::CountNegative => "counts and sums must not be negative",
            Rule::CountFraction => "counts and buckets must be whole numbers",
            Rule::QuantileNegative => "quantiles must not be negative",
            Rule::QuantileLabel => "a quantile needs a label `quantile` from 0 to 1",
            Rule::StateLabel => "a state needs a label with the family's name",
            Rule::StateValue => "a state must be 0 or 1",
            Rule::InfoValue => "an info sample must be 1",
            Rule::NoTotal => "a counter must have a sample `_total`",
            Rule::BucketLabel => "a bucket needs a label `le` with a number; infinity is `+Inf`",
            Rule::BucketOrder => "buckets must stand in ascending order of `le`",
            Rule::BucketFalls => "buckets are cumulative and must not fall",
            Rule::NoInfBucket => "the bucket `+Inf` is missing",
            Rule::CountMismatch => "the count must equal the bucket `+Inf`",
            Rule::SumAndCount => "sum and count must stand together",
            Rule::SumOfNegatives => "a histogram with negative buckets must not have a sum",
            Rule::NegativeGsum => "a negative sum needs a bucket below zero",
        })
    }
}
