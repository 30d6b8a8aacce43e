//! Numbers as Prometheus writes them.

/// Reads one float.
pub fn parse(_text: &[u8]) -> Option<f64> {
    None
}
/// Appends one float.
pub fn write(_out: &mut Vec<u8>, _value: f64) {}
/// Appends an integer.
pub fn write_i128(_out: &mut Vec<u8>, _value: i128) {}
