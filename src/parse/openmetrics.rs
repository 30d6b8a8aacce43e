//! Strict OpenMetrics 1.0 text (to come).
