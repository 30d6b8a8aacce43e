//! Sets up the log: to standard error, as text or JSON. Comes in: level and format. Goes out: a
//! subscriber for the whole process. Never: standard output, which belongs to subcommands.

use crate::config::{LogFormat, LogLevel};
use std::io::IsTerminal;
use tracing_subscriber::filter::LevelFilter;

/// To be called once; a second call changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level.level()))
        .with_target(false)
        .with_writer(std::io::stderr);
    // Fails only where a subscriber is set already.
    let result = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(result);
}
