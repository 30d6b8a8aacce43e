//! The process: allocator, limit of open files, arguments, runtime, signals, exit code. Never:
//! anything that a test would want to call.

use std::process::ExitCode;
use vpc_cni_exporter::app;

/// Small, and quick with many short-lived buffers; the system's keeps twice as much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Thousands of scrapes and connections; where it cannot be raised, what there is must do.
    drop(rlimit::increase_nofile_limit(u64::MAX));
    app::main(std::env::args_os())
}
