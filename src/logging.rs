//! Sets up the log: to standard error, as text or JSON. Comes in: level and format. Goes out: a
//! subscriber for the whole process. Never: standard output, which belongs to subcommands; below the level
//! debug what libraries say of errors, as they hand them to us, and `observe` tells of each once.

use crate::config::{LogFormat, LogLevel};
use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// To be called once; a second call changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    let of_libraries = match level {
        LogLevel::Trace | LogLevel::Debug => LevelFilter::WARN,
        LogLevel::Info | LogLevel::Warn | LogLevel::Error => LevelFilter::OFF,
    };
    let ours = Targets::new()
        .with_default(of_libraries)
        .with_target(env!("CARGO_CRATE_NAME"), level.level());
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level.level()))
        .with_target(false)
        .with_writer(std::io::stderr);
    // Fails only where a subscriber is set already.
    let result = match format {
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).finish().with(ours).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().with(ours).try_init(),
    };
    drop(result);
}
