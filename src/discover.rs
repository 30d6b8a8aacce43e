//! Finds the targets.
