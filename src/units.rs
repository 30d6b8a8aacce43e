//! Durations and sizes as flags write them. Comes in: text. Goes out: a value, or what is allowed.
//! Never: a guess at a missing unit.

use std::time::Duration;

/// Units of a duration, longest first, in milliseconds.
const DURATIONS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of a size, in bytes.
const SIZES: [(&str, usize); 8] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads a duration as Prometheus writes it: `30s`, `1m30s`, `500ms`; each unit once, longest first.
///
/// # Errors
/// In words, with what is allowed.
pub fn duration(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "a duration such as 30s, 1m30s or 500ms is allowed";
    let mut rest = text;
    let mut total: u64 = 0;
    let mut next_unit = 0;
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    while !rest.is_empty() {
        let (digits, after) = split_digits(rest);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let number: u64 = digits.parse().map_err(|_| ALLOWED.to_owned())?;
        let at = DURATIONS.iter().position(|(name, _)| *name == unit);
        let at = at.filter(|at| *at >= next_unit).ok_or_else(|| ALLOWED.to_owned())?;
        let part = number.checked_mul(DURATIONS[at].1);
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| ALLOWED.to_owned())?;
        next_unit = at + 1;
        rest = after;
    }
    if next_unit == 0 { Err(ALLOWED.to_owned()) } else { Ok(Duration::from_millis(total)) }
}

/// Reads a size: `4MiB`, `512KiB`, `4MB`, `65536`; more than 0.
///
/// # Errors
/// In words, with what is allowed.
pub fn bytes(text: &str) -> Result<usize, String> {
    let allowed = || "a size such as 4MiB, 512KiB or 65536, more than 0, is allowed".to_owned();
    let (digits, unit) = split_digits(text);
    let factor = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(allowed)?.1;
    let number: usize = digits.parse().map_err(|_| allowed())?;
    number.checked_mul(factor).filter(|size| *size > 0).ok_or_else(allowed)
}

/// Writes a duration so that [`duration`] reads it; below a millisecond it is rounded down.
pub fn format_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    // Years and weeks are read but not written: 36h says more than 1d12h, and 400d more than 1y35d.
    for (unit, size) in &DURATIONS[2..] {
        if left >= *size {
            out.push_str(&format!("{}{unit}", left / size));
            left %= size;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// Writes a size so that [`bytes`] reads it: in the largest binary unit that divides it.
pub fn format_bytes(size: usize) -> String {
    let unit =
        SIZES[2..5].iter().rev().find(|(_, factor)| size > 0 && size.is_multiple_of(*factor));
    match unit {
        Some((unit, factor)) => format!("{}{unit}", size / factor),
        None => size.to_string(),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_prometheus_writes_them() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_duration_without_a_unit_or_in_disorder_is_refused_with_what_is_allowed() {
        for bad in
            ["", "30", "s", "1.5s", "-1s", "30s1m", "1s1s", "1 s", "99999999999999999999s", "1S"]
        {
            assert!(duration(bad).is_err_and(|e| e.contains("1m30s")), "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary_or_decimal_as_their_unit_says() {
        assert_eq!(bytes("4MiB"), Ok(4_194_304));
        assert_eq!(bytes("4MB"), Ok(4_000_000));
        assert_eq!(bytes("65536"), Ok(65_536));
        for bad in ["", "0", "MiB", "-1", "4 MiB", "4mib", "1.5MiB", "99999999999999999999GiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_and_sizes_are_written_in_their_largest_units() {
        let seconds = |seconds| format_duration(Duration::from_secs(seconds));
        assert_eq!([seconds(0), seconds(90), seconds(86_400)], ["0s", "1m30s", "1d"]);
        assert_eq!(format_duration(Duration::from_millis(1_500)), "1s500ms");
        let sizes = [4 << 20, 512 << 10, 3 << 30, 1_000, 1_025].map(format_bytes);
        assert_eq!(sizes, ["4MiB", "512KiB", "3GiB", "1000", "1025"]);
    }

    proptest! {
        #[test]
        fn prop_a_written_size_reads_back(size in 1usize.., shift in 0u32..40) {
            let size = (size >> shift).max(1);
            prop_assert_eq!(bytes(&format_bytes(size)), Ok(size));
            prop_assert_eq!(bytes(&format_bytes((size >> 30).max(1) << 20)), Ok((size >> 30).max(1) << 20));
        }

        #[test]
        fn prop_no_text_makes_them_panic(text in "[0-9]{0,25}[a-zA-Z]{0,3}[0-9]{0,3}[a-z]{0,2}") {
            prop_assert!(duration(&text).is_ok() || duration(&text).is_err_and(|e| e.contains("1m30s")));
            prop_assert!(bytes(&text).is_ok() || bytes(&text).is_err_and(|e| e.contains("4MiB")));
        }

        #[test]
        fn prop_a_written_duration_reads_back(millis in 0u64..10_000_000_000) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(duration(&format_duration(value)), Ok(value));
        }
    }
}
