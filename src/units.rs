//! Durations and byte sizes as flags write them.
use std::time::Duration;
/// Reads `30s`, `1m30s`, `500ms`.
pub fn duration(_text: &str) -> Result<Duration, String> {
    Err(String::new())
}
/// Reads `4MiB`, `65536`.
pub fn bytes(_text: &str) -> Result<usize, String> {
    Err(String::new())
}
