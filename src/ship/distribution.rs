//! How the values of many nodes are spread. Comes in: values in any order. Goes out: each distinct value
//! and how often it occurs, coarser where there are too many. Never: a node that is not counted, a smallest
//! or largest value that is not exact.

use super::limits;
use crate::mirror::{Distribution, Drop};
use std::borrow::Cow;

/// The distribution of these values. What CloudWatch refuses is left out, so that one bad node is one bad
/// node: the sum of the counts says how many were taken.
pub(crate) fn collect(values: impl IntoIterator<Item = f64>) -> Distribution {
    let taken = values.into_iter().filter(|value| limits::number(*value).is_ok());
    // Adding 0 makes 0 of -0, which is the same value.
    let mut taken: Vec<f64> = taken.map(|value| value + 0.0).collect();
    taken.sort_unstable_by(f64::total_cmp);
    let groups = taken.chunk_by(|a, b| a == b);
    let count = |equal: &[f64]| u32::try_from(equal.len()).unwrap_or(u32::MAX);
    let (values, counts): (Vec<f64>, Vec<u32>) =
        groups.filter_map(|equal| Some((*equal.first()?, count(equal)))).unzip();
    Distribution { values: values.into(), counts: counts.into() }
}

/// Whether a distribution may leave: it has values, all of them may, and it is what its type promises.
///
/// # Errors
/// [`Drop::Value`].
pub(crate) fn check(distribution: &Distribution) -> Result<(), Drop> {
    let Distribution { values, counts } = distribution;
    let (Some(low), Some(high)) = (values.first(), values.last()) else { return Err(Drop::Value) };
    limits::number(*low)?;
    limits::number(*high)?;
    let ascends = values.is_sorted_by(|a, b| a < b);
    let counted = values.len() == counts.len() && counts.iter().all(|count| *count > 0);
    if ascends && counted { Ok(()) } else { Err(Drop::Value) }
}

/// The same with at most so many distinct values (at least 3): each becomes the nearest multiple of a
/// step, the smallest one of 1, 2 or 5 times a power of ten that leaves no more. The smallest and the
/// largest value stay as they are, and no other goes beyond them. So no value moves by more than half
/// a step.
pub(crate) fn fit(distribution: &Distribution, most: usize) -> Cow<'_, Distribution> {
    if distribution.values.len() <= most {
        return Cow::Borrowed(distribution);
    }
    let mut fitted = Fitted::default();
    fitted.fit(distribution, most);
    let (values, counts) = (fitted.values.into(), fitted.counts.into());
    Cow::Owned(Distribution { values, counts })
}

/// A fitted distribution whose memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Fitted {
    pub(crate) values: Vec<f64>,
    pub(crate) counts: Vec<u32>,
}

impl Fitted {
    /// As [`fit`] does, of what [`check`] lets pass. The step; 0 where there are few values.
    pub(crate) fn fit(&mut self, distribution: &Distribution, most: usize) -> f64 {
        let most = most.max(FEWEST);
        let all = &distribution.values;
        self.values.clear();
        self.values.extend(all.windows(2).map(|pair| pair[1] - pair[0]));
        // Neighbours become one value only where the step is at least their gap, and so many have to.
        if let Some(surplus) = all.len().checked_sub(most).filter(|surplus| *surplus > 0) {
            let (_, gap, _) = self.values.select_nth_unstable_by(surplus - 1, f64::total_cmp);
            let first = (gap.log10().floor() as i32).max(FINEST);
            let steps = (first..=COARSEST).flat_map(|e| [1.0, 2.0, 5.0].map(|d| Step::new(d, e)));
            for step in steps {
                if self.round(distribution, &step, most) {
                    return step.width();
                }
            }
        }
        self.values.clear();
        self.values.extend_from_slice(all);
        self.counts.clear();
        self.counts.extend_from_slice(&distribution.counts);
        0.0
    }

    /// Rounds all but the ends. False where more than `most` values are left.
    fn round(&mut self, of: &Distribution, step: &Step, most: usize) -> bool {
        self.values.clear();
        self.counts.clear();
        let (Some(&low), Some(&high)) = (of.values.first(), of.values.last()) else { return true };
        for (&value, &count) in of.values.iter().zip(&of.counts) {
            let end = value == low || value == high;
            let rounded = if end { value } else { step.nearest(value).max(low).min(high) };
            match (self.values.last(), self.counts.last_mut()) {
                (Some(last), Some(sum)) if *last >= rounded => *sum = sum.saturating_add(count),
                _ if self.values.len() == most => return false,
                _ => {
                    self.values.push(rounded);
                    self.counts.push(count);
                }
            }
        }
        true
    }
}

/// Both ends, and 0 between them: what a step wider than all values leaves.
const FEWEST: usize = 3;
/// Powers of ten below which nothing is told apart, and whose reciprocal is still a number.
const FINEST: i32 = -300;
/// A power of ten wider than twice the range of all that may leave.
const COARSEST: i32 = 110;
/// 2^53: above so many steps neighbouring doubles are a step apart or more.
const WHOLE_BELOW: f64 = 9_007_199_254_740_992.0;

/// 1, 2 or 5 times a power of ten.
struct Step {
    digit: f64,
    /// The power, or one over it where it is less than 1: a tenth is no double, ten is one, and so
    /// 3 steps of a tenth are 0.3 to the last bit.
    power: f64,
    fine: bool,
}

impl Step {
    fn new(digit: f64, exponent: i32) -> Step {
        Step { digit, power: 10f64.powi(exponent.abs()), fine: exponent < 0 }
    }

    fn width(&self) -> f64 {
        if self.fine { self.digit / self.power } else { self.digit * self.power }
    }

    fn nearest(&self, value: f64) -> f64 {
        let steps = if self.fine {
            (value * self.power / self.digit).round()
        } else {
            (value / self.width()).round()
        };
        if steps.abs() >= WHOLE_BELOW {
            return value;
        }
        let multiple = if self.fine {
            steps * self.digit / self.power
        } else {
            steps * self.digit * self.power
        };
        // Never -0.
        multiple + 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64], counts: &[u32]) -> Distribution {
        Distribution { values: values.into(), counts: counts.into() }
    }

    fn counted(distribution: &Distribution) -> u64 {
        distribution.counts.iter().map(|count| u64::from(*count)).sum()
    }

    #[test]
    fn values_are_collected_in_order_each_once() {
        let collected = collect([2.0, -0.0, 1.5, 0.0, 2.0, f64::NAN, f64::INFINITY, -3.0]);
        assert_eq!(collected, of(&[-3.0, 0.0, 1.5, 2.0], &[1, 2, 1, 2]));
        assert!(collected.values[1].is_sign_positive());
        assert_eq!(collect([]), Distribution::default());
    }

    #[test]
    fn what_is_no_distribution_does_not_leave() {
        assert_eq!(check(&of(&[1.0, 2.0], &[1, 1])), Ok(()));
        for bad in [
            of(&[], &[]),
            of(&[1.0], &[]),
            of(&[1.0], &[0]),
            of(&[1.0, 1.0], &[1, 1]),
            of(&[2.0, 1.0], &[1, 1]),
            of(&[1.0, f64::NAN, 2.0], &[1, 1, 1]),
            of(&[f64::NAN], &[1]),
            of(&[1.0, f64::INFINITY], &[1, 1]),
            of(&[-1e109, 1.0], &[1, 1]),
        ] {
            assert_eq!(check(&bad), Err(Drop::Value), "{bad:?}");
        }
    }

    #[test]
    fn few_values_stay_as_they_are() {
        let few = collect((0..100).map(f64::from));
        assert!(matches!(fit(&few, 100), Cow::Borrowed(same) if *same == few));
    }

    #[test]
    fn many_values_become_multiples_of_the_smallest_step_and_the_ends_stay() {
        // 251 values a step of 2 makes 126 of, a step of 5 makes 51 of.
        let many = collect((0..=250).map(f64::from));
        let fitted = fit(&many, 100);
        let expected = collect((0..=250).map(|i| (f64::from(i) / 5.0).round() * 5.0));
        assert_eq!(*fitted, expected);
        assert_eq!((fitted.values.len(), counted(&fitted)), (51, 251));
        // The ends are no multiples; what would be rounded beyond them becomes them.
        let many = collect((0..=250).map(|i| f64::from(i) + 1.25));
        let fitted = fit(&many, 100);
        assert_eq!(fitted.values[..3], [1.25, 5.0, 10.0]);
        assert_eq!(fitted.counts[..3], [2, 5, 5]);
        assert_eq!(fitted.values.last(), Some(&251.25));
        // Fractions are decimals to the last bit.
        let many = collect((0..2000).map(|i| f64::from(i) * 0.01));
        assert_eq!(fit(&many, 150).values[..4], [0.0, 0.2, 0.4, 0.6]);
    }

    #[test]
    fn three_values_are_left_of_any_where_three_are_allowed() {
        let wide = collect([-limits::LARGEST, -1.0, 5e-324, 1.0, limits::LARGEST]);
        assert_eq!(fit(&wide, 1).values[..], [-limits::LARGEST, 0.0, limits::LARGEST]);
        let tiny = collect((1..=9).map(|i| f64::from(i) * 5e-324));
        assert_eq!(counted(&fit(&tiny, 3)), 9);
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let whole = prop::collection::vec((-500..2000i32).prop_map(f64::from), 1..400);
        let fine = prop::collection::vec(-1.0..1e6f64, 1..400);
        let any = prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..200);
        prop_oneof![whole, fine, any]
    }

    proptest! {
        #[test]
        fn fitting_keeps_count_ends_and_nearly_the_sum(values in values(), most in 3..160usize) {
            let all = collect(values);
            prop_assume!(!all.values.is_empty());
            let mut fitted = Fitted::default();
            let step = fitted.fit(&all, most);
            let fitted = of(&fitted.values, &fitted.counts);
            prop_assert_eq!(&*fit(&all, most), &fitted);
            prop_assert_eq!(check(&fitted), Ok(()));
            prop_assert!(fitted.values.len() <= most);
            prop_assert_eq!(counted(&fitted), counted(&all));
            prop_assert_eq!(fitted.values.first(), all.values.first());
            prop_assert_eq!(fitted.values.last(), all.values.last());
            let sum = |of: &Distribution| -> f64 {
                of.values.iter().zip(&of.counts).map(|(v, c)| v * f64::from(*c)).sum()
            };
            let size: f64 = all.values.iter().map(|v| v.abs()).sum();
            let moved = (sum(&fitted) - sum(&all)).abs();
            prop_assert!(moved <= counted(&all) as f64 * step / 2.0 + size * 1e-12);
        }

        #[test]
        fn no_smaller_step_leaves_as_few(values in values(), most in 3..160usize) {
            let all = collect(values);
            let mut fitted = Fitted::default();
            let step = fitted.fit(&all, most);
            prop_assume!(step > 0.0);
            for exponent in FINEST..=COARSEST {
                for digit in [1.0, 2.0, 5.0] {
                    let smaller = Step::new(digit, exponent);
                    if smaller.width() < step {
                        prop_assert!(!fitted.round(&all, &smaller, most), "{digit}e{exponent}");
                    }
                }
            }
        }
    }
}
