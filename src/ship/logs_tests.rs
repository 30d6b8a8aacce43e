//! What Logs is asked.
