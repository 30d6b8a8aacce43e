//! Distributions with few enough distinct values. Comes in: how often each value occurs. Goes out: the
//! same in at most so many values. Never: another smallest or largest value, another number of values.

use crate::mirror::Distribution;
use std::borrow::Cow;

/// Values rounded to the nearest multiple of the smallest step of 1, 2 or 5 times a power of ten that
/// leaves at most `most` of them. The smallest and the largest stay as they are.
pub(super) fn fit(distribution: &Distribution, most: usize) -> Cow<'_, Distribution> {
    let values = &distribution.values;
    let (Some(&low), Some(&high)) = (values.first(), values.last()) else {
        return Cow::Borrowed(distribution);
    };
    if values.len() <= most {
        return Cow::Borrowed(distribution);
    }
    // With this step there are far too many yet.
    let exponent = ((high - low) / 1e4).log10().floor();
    let steps = (0..30).map(|n| [1.0, 2.0, 5.0][n % 3] * 10f64.powf(exponent + (n / 3) as f64));
    for step in steps {
        let mut fitted: Vec<(f64, u32)> = Vec::with_capacity(most);
        for (&value, &count) in values.iter().zip(&distribution.counts) {
            let outer = value == low || value == high;
            let rounded =
                if outer { value } else { ((value / step).round() * step).clamp(low, high) };
            match fitted.last_mut() {
                Some((last, n)) if *last == rounded => *n = n.saturating_add(count),
                _ => fitted.push((rounded, count)),
            }
        }
        if fitted.len() <= most {
            let (values, counts): (Vec<f64>, Vec<u32>) = fitted.into_iter().unzip();
            return Cow::Owned(Distribution { values: values.into(), counts: counts.into() });
        }
    }
    Cow::Borrowed(distribution)
}
