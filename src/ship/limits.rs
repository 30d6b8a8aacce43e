//! What CloudWatch takes (`PutMetricData`, Embedded Metric Format, CloudWatch Logs; facts as of 2026).
//! Comes in: names, values, numbers. Goes out: whether they may leave, and why not. Never: a request.

use crate::mirror::Drop;
use std::borrow::Cow;

/// Largest magnitude of a value: 2^360.
pub(crate) const LARGEST: f64 = 2.348_542_582_773_833_2e108;
/// Characters of a metric's name, of a dimension's name, of a namespace.
pub(crate) const NAME_LENGTH: usize = 255;
/// Characters of a dimension's value.
pub(crate) const DIMENSION_LENGTH: usize = 1024;
/// Dimensions of a metric.
pub(crate) const DIMENSIONS: usize = 30;
/// Metrics in a directive of the Embedded Metric Format.
pub(crate) const EMF_METRICS: usize = 100;
/// Distinct values of a distribution in the Embedded Metric Format.
pub(crate) const EMF_VALUES: usize = 100;
/// Distinct values of a distribution in PutMetricData.
pub(crate) const PUT_VALUES: usize = 150;
/// Metrics in a request of PutMetricData.
pub(crate) const PUT_METRICS: usize = 1000;
/// Bytes of a request of PutMetricData, before compression.
#[cfg_attr(not(feature = "aws"), allow(dead_code, reason = "of AWS's API"))]
pub(crate) const PUT_BYTES: usize = 1_000_000;
/// Seconds for which a point may be late: two weeks.
#[cfg_attr(not(feature = "aws"), allow(dead_code, reason = "of AWS's API"))]
pub(crate) const OLDEST_SECONDS: i64 = 14 * 86_400;

/// What `--mirror.logs.retention-days` may be: CloudWatch's closed list.
pub(crate) const RETENTION_DAYS: [u16; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// Whether a number may leave.
///
/// # Errors
/// [`Drop::Value`] for NaN, infinities and what is beyond [`LARGEST`].
pub(crate) fn number(value: f64) -> Result<f64, Drop> {
    if value.abs() <= LARGEST { Ok(value) } else { Err(Drop::Value) }
}

/// A metric's or dimension's name that may leave: 1 to 255 visible ASCII characters (inner blanks are
/// allowed), and a dimension's not beginning with a colon.
///
/// # Errors
/// [`Drop::Name`] for anything else.
pub(crate) fn name(name: &str) -> Result<&str, Drop> {
    let plain = name.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    let solid = name.bytes().any(|b| b != b' ') && !name.starts_with(':');
    if plain && solid && name.len() <= NAME_LENGTH { Ok(name) } else { Err(Drop::Name) }
}

/// A dimension's value as it may leave: control characters and what is not ASCII become `?`, the end of
/// one that is too long is cut off, and one that is empty or blank becomes `none`, as CloudWatch takes no
/// empty value, and a metric without the dimension would be another one.
pub(crate) fn dimension(value: &str) -> Cow<'_, str> {
    let plain = |b: u8| b == b' ' || b.is_ascii_graphic();
    if value.bytes().all(|b| b == b' ') {
        Cow::Borrowed("none")
    } else if value.len() <= DIMENSION_LENGTH && value.bytes().all(plain) {
        Cow::Borrowed(value)
    } else {
        let kept = value.chars().take(DIMENSION_LENGTH);
        Cow::Owned(kept.map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cloudwatch_refuses_do_not_leave() {
        assert_eq!(number(LARGEST), Ok(LARGEST));
        assert_eq!(LARGEST.to_bits(), 2f64.powi(360).to_bits());
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, LARGEST * 1.000_001] {
            assert_eq!(number(bad), Err(Drop::Value), "{bad}");
        }
    }

    #[test]
    fn a_dimension_is_made_fit() {
        assert_eq!(dimension("a b"), "a b");
        assert_eq!(dimension("a\nb\u{e4}"), "a?b?");
        assert_eq!(dimension(&"x".repeat(2000)).len(), DIMENSION_LENGTH);
        assert_eq!(dimension(""), "none");
        assert_eq!(dimension("  "), "none");
        // What is cut and replaced may be blank again, which is no value either.
        assert_eq!(dimension("\u{3000}"), "?");
    }

    #[test]
    fn names_are_visible_ascii() {
        assert_eq!(name("addReqCount"), Ok("addReqCount"));
        for bad in ["", " ", ":a", "a\u{7}", "\u{e4}", &*"n".repeat(256)] {
            assert_eq!(name(bad), Err(Drop::Name), "{bad:?}");
        }
    }
}
