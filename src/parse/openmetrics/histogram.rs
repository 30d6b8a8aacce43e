//! What the buckets, count and sum of one point must add up to. Comes in: its samples, in the
//! order of the page. Goes out: nothing, or the rule that they break. Never: a second point.

use super::Rule;

/// One point of a histogram or gauge histogram, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    bucket: Option<Bucket>,
    count: Option<f64>,
    sum: Option<f64>,
    gsum: Option<f64>,
    negative_bound: bool,
}

/// The last bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    bound: f64,
    value: f64,
}

impl Histogram {
    /// The next sample, whose value by itself is legal.
    pub(super) fn take(
        &mut self,
        suffix: &str,
        bound: Option<f64>,
        value: f64,
    ) -> Result<(), Rule> {
        match (suffix, bound) {
            ("_bucket", Some(bound)) => {
                if let Some(last) = self.bucket {
                    if bound <= last.bound {
                        return Err(Rule::BucketOrder);
                    }
                    if value < last.value {
                        return Err(Rule::BucketFalls);
                    }
                }
                self.negative_bound |= bound < 0.0;
                self.bucket = Some(Bucket { bound, value });
            }
            ("_count" | "_gcount", _) => self.count = Some(value),
            ("_sum", _) => self.sum = Some(value),
            ("_gsum", _) => self.gsum = Some(value),
            _ => {}
        }
        Ok(())
    }

    /// The point is complete.
    pub(super) fn end(&self) -> Result<(), Rule> {
        let Some(last) = self.bucket.filter(|last| last.bound.is_infinite()) else {
            return Err(Rule::NoInfBucket);
        };
        if self.count.is_some_and(|count| (count - last.value).abs() > 0.0) {
            return Err(Rule::CountMismatch);
        }
        if self.count.is_some() != (self.sum.is_some() || self.gsum.is_some()) {
            return Err(Rule::SumAndCount);
        }
        if self.negative_bound && self.sum.is_some() {
            return Err(Rule::SumOfNegatives);
        }
        if !self.negative_bound && self.gsum.is_some_and(|gsum| gsum < 0.0) {
            return Err(Rule::NegativeGsum);
        }
        Ok(())
    }
}
