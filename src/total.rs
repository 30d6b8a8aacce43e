//! Sums that stay true over millions of additions: integers exactly, fractions with compensation
//! (truth rule 10). Comes in: finite values. Goes out: their sum. Never: NaN or an infinity.

use crate::number;

/// Values from here on are no figures of a node: 2^80. A sum of 2^47 of them still fits an i128.
const LIMIT: f64 = 1.208_925_819_614_629_2e24;

/// A running sum. Whole parts add up exactly; fractional parts by Neumaier's compensated sum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Total {
    whole: i128,
    fraction: f64,
    compensation: f64,
}

impl Total {
    /// Whether a value can be added: finite, and below 2^80.
    pub fn takes(value: f64) -> bool {
        value.abs() < LIMIT
    }

    /// Adds a value. One that it does not take is passed over: callers count these.
    pub fn add(&mut self, value: f64) {
        if Total::takes(value) {
            let whole = value.trunc();
            self.whole = self.whole.saturating_add(whole as i128);
            self.add_fraction(value - whole);
        }
    }

    /// Takes a value away, as exactly as [`Total::add`] added it.
    pub fn subtract(&mut self, value: f64) {
        self.add(-value);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Total) {
        self.whole = self.whole.saturating_add(other.whole);
        self.add_fraction(other.fraction);
        self.add_fraction(other.compensation);
    }

    /// What is left of the sum when another is taken away.
    pub fn less(mut self, other: &Total) -> Total {
        self.whole = self.whole.saturating_sub(other.whole);
        self.add_fraction(-other.fraction);
        self.add_fraction(-other.compensation);
        self
    }

    /// The sum as a float.
    pub fn value(&self) -> f64 {
        self.whole as f64 + (self.fraction + self.compensation)
    }

    /// Whether the sum is exactly zero.
    pub fn is_zero(&self) -> bool {
        self.value().abs() < f64::MIN_POSITIVE
    }

    /// Appends the sum divided by `divisor`: a whole sum undivided is written in full, without
    /// going through a float.
    pub fn write(&self, divisor: f64, out: &mut Vec<u8>) {
        let rest = self.fraction + self.compensation;
        if divisor.to_bits() == 1f64.to_bits() && rest.abs() < f64::MIN_POSITIVE {
            number::write_i128(out, self.whole);
        } else {
            number::write(out, self.value() / divisor);
        }
    }

    fn add_fraction(&mut self, value: f64) {
        let sum = self.fraction + value;
        self.compensation += if self.fraction.abs() >= value.abs() {
            (self.fraction - sum) + value
        } else {
            (value - sum) + self.fraction
        };
        self.fraction = sum;
    }
}

impl FromIterator<f64> for Total {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Total {
        let mut total = Total::default();
        values.into_iter().for_each(|value| total.add(value));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(total: &Total, divisor: f64) -> String {
        let mut out = Vec::new();
        total.write(divisor, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rule_10_whole_sums_are_exact_beyond_the_floats_reach() {
        let mut total: Total = std::iter::repeat_n(281_474_976_710_656.0, 10_000).collect();
        total.add(1.0);
        assert_eq!(written(&total, 1.0), "2814749767106560001");
    }

    #[test]
    fn rule_10_a_million_tenths_are_a_hundred_thousand() {
        let total: Total = std::iter::repeat_n(0.1, 1_000_000).collect();
        assert!((total.value() / 100_000.0 - 1.0).abs() < 1e-15);
    }

    #[test]
    fn a_small_increase_of_a_large_sum_is_not_lost() {
        let mut total = Total::default();
        total.add(123_456_789_012.25);
        total.subtract(123_456_789_012.0);
        assert_eq!(total.value().to_bits(), 0.25f64.to_bits());
    }

    #[test]
    fn milliseconds_are_divided_when_written() {
        let mut total = Total::default();
        total.add(1_500.0);
        assert_eq!(written(&total, 1000.0), "1.5");
    }

    #[test]
    fn nan_and_infinities_leave_no_trace() {
        let total: Total = [1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().collect();
        assert_eq!(written(&total, 1.0), "1");
    }

    proptest! {
        #[test]
        fn prop_what_is_added_and_taken_away_leaves_zero(values in prop::collection::vec(-1e15f64..1e15, 0..50)) {
            let mut total = Total::default();
            values.iter().for_each(|v| total.add(*v));
            values.iter().for_each(|v| total.subtract(*v));
            prop_assert!(total.value().abs() < 1e-9);
        }

        #[test]
        fn prop_merging_parts_equals_adding_all(a in prop::collection::vec(-1_000_000i64..1_000_000, 0..30),
                                                b in prop::collection::vec(-1_000_000i64..1_000_000, 0..30)) {
            let mut left: Total = a.iter().map(|v| *v as f64).collect();
            let right: Total = b.iter().map(|v| *v as f64).collect();
            left.merge(&right);
            let sum: i64 = a.iter().chain(&b).sum();
            prop_assert_eq!(written(&left, 1.0), sum.to_string());
            let first: i64 = a.iter().sum();
            prop_assert_eq!(written(&left.less(&right), 1.0), first.to_string());
        }
    }
}
