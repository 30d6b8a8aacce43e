//! Intervals become Embedded Metric Format.
