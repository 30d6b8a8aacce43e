//! Tests that need real parts: Prometheus, promtool, prometheus-client, an API server, moto. `./test` builds
//! these and names them in variables; `./test --quick` passes this module over. Never: a test that passes where
//! its part is missing.

use std::path::PathBuf;

pub(crate) mod aws;
mod cluster;
mod pipeline;
mod prometheus;
pub(crate) mod reader;
mod stores;
mod web_config;

/// The program that a variable names.
fn part(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} names no program: run ./test, which builds it, or ./test --quick, which does without")
    });
    PathBuf::from(path)
}
