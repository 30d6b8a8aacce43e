//! All integration tests: one binary, because each would link everything again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::string_slice,
    reason = "a test that cannot go on ends by panicking, and says on standard output what it did not run"
)]

mod cli;
mod config;
mod conformance;
mod emf;
mod floors;
mod golden;
mod mirror;
mod readme;
mod real;
mod support;
mod tls;
mod truth;
mod web_config;
