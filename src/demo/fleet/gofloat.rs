//! Numbers as Go's `strconv.FormatFloat(v, 'g', -1, 64)` prints them, which is what client_golang
//! writes. Comes in: a float. Goes out: bytes. Never: a locale, another precision than the shortest.

use std::io::Write;

/// Go's shortest `g` switches to an exponent from here on.
const SHORTEST_EXPONENT: i32 = 6;
/// Below 10^-4 Go writes an exponent.
const SMALLEST_PLAIN: i32 = -4;

/// Appends a value.
pub(super) fn write(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    // The common case: small whole numbers.
    if (0.0..1e6).contains(&value)
        && value.fract().abs() < f64::MIN_POSITIVE
        && value.is_sign_positive()
    {
        let mut buffer = itoa::Buffer::new();
        return out.extend_from_slice(buffer.format(value as u32).as_bytes());
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Writing to a Vec cannot fail.
    let _ignored = if (SMALLEST_PLAIN..SHORTEST_EXPONENT).contains(&exponent) {
        write!(out, "{value}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(value: f64) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (226_723.0, "226723"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1.6e9, "1.6e+09"),
            (1.778_966_304e10, "1.778966304e+10"),
            (281_474_976_710_656.0, "2.81474976710656e+14"),
            (1e21, "1e+21"),
            (0.005, "0.005"),
            (0.0001, "0.0001"),
            (1.7901e-5, "1.7901e-05"),
            (1391.13, "1391.13"),
            (123_456.7, "123456.7"),
            (-2.5, "-2.5"),
            (-1e7, "-1e+07"),
            (-0.0, "-0"),
            (1e-300, "1e-300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(go(value), text);
        }
    }
}
