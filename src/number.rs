//! Numbers as Prometheus reads and writes them. Comes in: the bytes of one number, or an `f64`.
//! Goes out: the same value, bit for bit, in the other form. Never: a panic, a locale, a number
//! that is rounded twice.
//!
//! What is read is what Prometheus' text parser takes: Go's `strconv.ParseFloat` in its form of
//! before Go 1.13. So decimal digits with optional fraction and exponent, one leading `+` or `-`,
//! `inf` and `infinity` in any case with or without a sign, `nan` in any case without one. Hex
//! floats and underscores are refused (Prometheus refuses every number with `p`, `P` or `_` in it,
//! and Go wants a `p` in each hex float), and so is what lies beyond the largest finite number:
//! `1e400` is an error in Go, not an infinity.

/// Reads one whole number; `None` where Prometheus refuses it.
#[inline]
pub fn parse(text: &[u8]) -> Option<f64> {
    match short(text) {
        Some((value, length)) if length == text.len() => Some(value),
        _ => general(text),
    }
}

/// Reads a number at the beginning of `text` if it is one of the common short ones: digits, with
/// an optional minus, fraction and exponent, at most 15 digits in all. Answers with the value and
/// the bytes read; what follows them is the caller's to judge. `None` says nothing about the text.
///
/// At most 15 digits fit a double's 53 bits exactly, and so do the powers of ten up to 22. One
/// multiplication or division of two exact doubles rounds once: the result is the nearest double,
/// the same that any correct reader finds.
#[inline]
pub fn short(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let begin = usize::from(negative);
    let (mut mantissa, mut at) = digits(text, begin, 0);
    let mut count = at - begin;
    if count == 0 || count > SHORT_DIGITS {
        return None;
    }
    let mut exponent = 0;
    if let Some(b'.' | b'e' | b'E') = text.get(at) {
        let fraction = usize::from(text[at] == b'.');
        if fraction == 1 {
            let point = at + 1;
            (mantissa, at) = digits(text, point, mantissa);
            count += at - point;
            if count > SHORT_DIGITS {
                return None;
            }
            exponent -= (at - point) as i32;
        }
        if let Some(b'e' | b'E') = text.get(at) {
            let (shift, end) = short_exponent(text, at + 1)?;
            exponent += shift;
            at = end;
        }
    }
    let mut value = mantissa as f64;
    if exponent != 0 {
        let power = *POWERS.get(exponent.unsigned_abs() as usize)?;
        value = if exponent < 0 { value / power } else { value * power };
    }
    Some((if negative { -value } else { value }, at))
}

/// Appends one float: the shortest text that reads back as the same bits. Whole numbers below
/// 1e21 stand in plain digits, `-0` keeps its sign, the rest are `NaN`, `+Inf` and `-Inf`.
#[inline]
pub fn write(out: &mut Vec<u8>, value: f64) {
    if value.fract() == 0.0 && value.abs() < PLAIN_BELOW {
        if value == 0.0 && value.is_sign_negative() {
            out.extend_from_slice(b"-0");
        } else if value.abs() < I64_BELOW {
            out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            write_i128(out, value as i128);
        }
    } else if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        let word: &[u8] = match value {
            f64::INFINITY => b"+Inf",
            f64::NEG_INFINITY => b"-Inf",
            _ => b"NaN",
        };
        out.extend_from_slice(word);
    }
}

/// Appends one whole number in plain digits, however large: exact sums of counters.
#[inline]
pub fn write_i128(out: &mut Vec<u8>, value: i128) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Digits that always fit 53 bits.
const SHORT_DIGITS: usize = 15;

/// Go and Python print whole floats in plain digits up to here, so readers are used to it.
const PLAIN_BELOW: f64 = 1e21;

/// 2^63: whole floats below it fit an `i64`, which prints several times faster than an `i128`.
const I64_BELOW: f64 = 9_223_372_036_854_775_808.0;

/// The powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Adds the digits from `at` on to `mantissa`, never more than one beyond `SHORT_DIGITS` of them.
#[inline]
fn digits(text: &[u8], mut at: usize, mut mantissa: u64) -> (u64, usize) {
    let limit = at + SHORT_DIGITS + 1;
    while at < limit {
        let Some(&byte) = text.get(at) else { break };
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // Two runs of 16 digits overflow; the caller drops every result of more than 15 digits.
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (mantissa, at)
}

/// An exponent of one or two digits after its `e`; longer ones are not short numbers.
#[inline]
fn short_exponent(text: &[u8], at: usize) -> Option<(i32, usize)> {
    let (negative, begin) = match text.get(at) {
        Some(b'-') => (true, at + 1),
        Some(b'+') => (false, at + 1),
        _ => (false, at),
    };
    let (value, end) = digits(text, begin, 0);
    if !(1..=2).contains(&(end - begin)) {
        return None;
    }
    let value = value as i32;
    Some((if negative { -value } else { value }, end))
}

/// Everything that is not short: long mantissas, far exponents, names.
#[inline(never)]
fn general(text: &[u8]) -> Option<f64> {
    let (sign, rest) = match text {
        [b'-', rest @ ..] => (Some(-1.0), rest),
        [b'+', rest @ ..] => (Some(1.0), rest),
        _ => (None, text),
    };
    let value = match rest.first()? {
        // The sign is taken off above and a digit or point stands here, so the reader below meets
        // neither a second sign nor a name.
        b'0'..=b'9' | b'.' => {
            fast_float2::parse::<f64, _>(rest).ok().filter(|value| value.is_finite())?
        }
        b'i' | b'I' if is_word(rest, b"inf") || is_word(rest, b"infinity") => f64::INFINITY,
        b'n' | b'N' if sign.is_none() && is_word(rest, b"nan") => f64::NAN,
        _ => return None,
    };
    Some(value * sign.unwrap_or(1.0))
}

fn is_word(text: &[u8], word: &[u8]) -> bool {
    text.eq_ignore_ascii_case(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(text: &str) -> Option<u64> {
        parse(text.as_bytes()).map(f64::to_bits)
    }

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_go_reads_is_read_to_the_bit() {
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("+7", 7.0),
            ("007", 7.0),
            ("5.", 5.0),
            (".5", 0.5),
            ("-.5e1", -5.0),
            ("1.e2", 100.0),
            ("1e22", 1e22),
            ("1e23", 1e23),
            ("7.710456e+06", 7_710_456.0),
            ("1.7901e-05", 1.7901e-05),
            ("1.5562085013141422e+09", 1_556_208_501.314_142_2),
            ("999999999999999", 999_999_999_999_999.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("0.1234567890123456789", 0.123_456_789_012_345_68),
            ("281474976710656", 281_474_976_710_656.0),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("1e-400", 0.0),
            ("-1e-400", -0.0),
            ("0e999999999999", 0.0),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
        ] {
            assert_eq!(bits(text), Some(value.to_bits()), "{text}");
        }
    }

    #[test]
    fn infinities_and_nan_are_read_in_any_case() {
        for text in ["Inf", "+Inf", "inf", "INF", "infinity", "+Infinity"] {
            assert_eq!(bits(text), Some(f64::INFINITY.to_bits()), "{text}");
        }
        for text in ["-Inf", "-inf", "-INFINITY"] {
            assert_eq!(bits(text), Some(f64::NEG_INFINITY.to_bits()), "{text}");
        }
        for text in ["NaN", "nan", "NAN"] {
            assert!(parse(text.as_bytes()).unwrap().is_nan(), "{text}");
        }
    }

    #[test]
    fn what_prometheus_refuses_is_refused() {
        for text in [
            "",
            "+",
            "-",
            ".",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "1e-",
            "--1",
            "+-1",
            "-+1",
            "1 ",
            " 1",
            "1_2",
            "0x1",
            "0x1p-3",
            "0X1P4",
            "0b1",
            "0o1",
            "1e400",
            "-1e400",
            "1.8e308",
            "+nan",
            "-NaN",
            "infin",
            "in",
            "na",
            "nano",
            "infinityy",
            "1.2.3",
            "1e5.5",
            "1f",
            "1\r",
            "\u{661}",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_short_number_ends_where_its_text_ends() {
        assert_eq!(short(b"12\n34"), Some((12.0, 2)));
        assert_eq!(short(b"-1.5e+03 7"), Some((-1500.0, 8)));
        assert_eq!(short(b"123456789012345}"), Some((123_456_789_012_345.0, 15)));
        assert_eq!(short(b"1234567890123456\n"), None);
        assert_eq!(short(b"12345678.12345678\n"), None);
        assert_eq!(short(b"1e100"), None);
        assert_eq!(short(b"NaN"), None);
        assert_eq!(short(b""), None);
    }

    #[test]
    fn whole_numbers_are_written_in_plain_digits_below_1e21() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (42.0, "42"),
            (-7.0, "-7"),
            (1e15, "1000000000000000"),
            (281_474_976_710_656.0, "281474976710656"),
            (9_223_372_036_854_775_808.0, "9223372036854775808"),
            (-9_223_372_036_854_775_808.0, "-9223372036854775808"),
            (1e20, "100000000000000000000"),
        ] {
            assert_eq!(written(value), text);
        }
        assert!(written(1e21).contains('e'));
    }

    #[test]
    fn other_values_are_written_shortest_and_by_their_prometheus_names() {
        for (value, text) in [
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1.7901e-05, "0.000017901"),
            (1.5e-7, "1.5e-7"),
            (1.25e22, "1.25e22"),
            (1_556_208_501.314_142_2, "1556208501.3141422"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(value), text);
        }
    }

    #[test]
    fn large_whole_numbers_are_written_exactly() {
        let mut out = Vec::new();
        write_i128(&mut out, i128::MAX);
        out.push(b' ');
        write_i128(&mut out, -1);
        assert_eq!(out, b"170141183460469231731687303715884105727 -1");
    }

    proptest! {
        #[test]
        fn every_double_is_read_back_bit_for_bit(raw in any::<u64>()) {
            let value = f64::from_bits(raw);
            let back = parse(written(value).as_bytes()).unwrap();
            prop_assert!(back.to_bits() == raw || (value.is_nan() && back.is_nan()));
        }

        #[test]
        fn every_whole_double_is_read_back(value in any::<i64>()) {
            let value = value as f64;
            prop_assert_eq!(bits(&written(value)), Some(value.to_bits()));
        }

        #[test]
        fn numerals_agree_with_std(text in "[+-]?[0-9]{0,18}(\\.[0-9]{0,18})?([eE][+-]?[0-9]{0,3})?") {
            let std = text.parse::<f64>().ok().filter(|value| value.is_finite()).map(f64::to_bits);
            prop_assert_eq!(bits(&text), std);
        }

        #[test]
        fn short_decimals_agree_with_std(text in "-?[0-9]{1,9}(\\.[0-9]{1,9})?(e[+-]?[0-9]{1,2})?") {
            prop_assert_eq!(bits(&text), Some(text.parse::<f64>().unwrap().to_bits()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _value = parse(&text);
            if let Some((_, length)) = short(&text) {
                prop_assert!(length <= text.len());
            }
        }
    }
}
