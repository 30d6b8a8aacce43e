//! The command line, acted on. Comes in: arguments. Goes out: an exit code: 0 done, 1 failed or
//! refused, 2 wrong arguments. Never: a stage's work.

use super::Service;
use crate::catalog::reference::{self, OwnFamily};
use crate::config::{self, Check, Command, Config, LogLevel};
use crate::observe::{self, Observe};
use crate::render::own;
use crate::serve::ListenAddress;
use crate::{check, demo, logging};
use anyhow::Context;
use clap::ArgMatches;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code for arguments or variables that are wrong, as clap's own.
const USAGE: u8 = 2;

/// Does what the arguments say.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (cli, matches) = match config::read(args) {
        Ok(read) => read,
        Err(error) => {
            // Help and version go to standard output, errors to standard error.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    let done = match cli.command {
        None => return serve(cli.service, &matches),
        Some(Command::Check(settings)) => return run_check(&settings),
        Some(Command::Catalog) => print(&catalog()),
        Some(Command::Mirror(settings)) => return preview(settings.service, &matches),
        Some(Command::Fleet(settings)) => with_runtime(|stop| demo::fleet::run(*settings, stop)),
        Some(Command::Demo(settings)) => with_runtime(|stop| demo::run(*settings, stop)),
    };
    exit_code(done)
}

/// The metric reference: the catalogue's, and what the exporter registers of its own.
pub fn catalog() -> String {
    let mut own: Vec<OwnFamily> = Observe::new()
        .registry
        .gather()
        .iter()
        // The process's own stand there only where the system tells them.
        .filter(|family| family.name().starts_with("vpccni_exporter_"))
        .map(|family| OwnFamily {
            name: family.name().to_owned(),
            kind: own::kind(family.get_field_type()).as_str(),
            help: family.help().to_owned(),
        })
        .collect();
    own.sort();
    reference::markdown(&own)
}

/// The service, but nobody hears it, and it ends once it can say what the mirror would send.
fn preview(service: config::Service, matches: &ArgMatches) -> ExitCode {
    let given = matches.subcommand_matches("mirror").unwrap_or(matches);
    let given_level = service.log.level;
    match resolve(service, given) {
        Ok(mut config) => {
            // Beside the service that it is asked about.
            config.service.web.listen_address = ListenAddress::anywhere_on_loopback();
            config.service.web.config_file = None;
            let level = given_level.unwrap_or(LogLevel::Warn);
            logging::start(level, config.service.log.format);
            exit_code(with_runtime(|stop| async move {
                let text = Service::bind(config)?.preview(stop).await?;
                print(&text)
            }))
        }
        Err(code) => code,
    }
}

fn resolve(service: config::Service, matches: &ArgMatches) -> Result<Config, ExitCode> {
    let resolved = Config::resolve(
        service,
        |id| config::was_given(matches, id),
        |name| std::env::var(name).ok(),
    );
    let mut config = resolved.map_err(|error| {
        complain(&error);
        ExitCode::from(USAGE)
    })?;
    config.warnings.extend(config::unknown_variables(std::env::vars_os().map(|(name, _)| name)));
    Ok(config)
}

fn serve(service: config::Service, matches: &ArgMatches) -> ExitCode {
    let config = match resolve(service, matches) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let log = &config.service.log;
    logging::start(log.level.unwrap_or(LogLevel::Info), log.format);
    exit_code(with_runtime(|stop| async move { Service::bind(config)?.run(stop).await }))
}

fn run_check(settings: &Check) -> ExitCode {
    let read = || -> anyhow::Result<Vec<u8>> {
        let mut input = Vec::new();
        match settings.file.as_deref().filter(|file| file.as_os_str() != "-") {
            Some(file) => {
                input = std::fs::read(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
            }
            None => {
                std::io::stdin().read_to_end(&mut input).context("cannot read standard input")?;
            }
        }
        Ok(input)
    };
    match read().map(|input| check::report(&input, settings.format)) {
        Ok(Ok(report)) => match exit_code(print(&report.to_string())) {
            ExitCode::SUCCESS if report.refused.is_some() => ExitCode::FAILURE,
            code => code,
        },
        Ok(Err(refusal)) => {
            complain(&refusal);
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs until it ends or a signal asks it to; a second signal ends the process at once.
fn with_runtime<F>(run: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    /// Serving and discovering: a slow request must not hold up a probe.
    const WORKERS: usize = 2;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("main")
        .enable_all()
        .build()
        .context("cannot make a runtime")?;
    let stop = CancellationToken::new();
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        // Many send it to make a service read its files again; here that would end the process.
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                observe::app::hangup();
            }
        });
        let stopping = stop.clone();
        let mut running = std::pin::pin!(run(stop));
        tokio::select! {
            result = &mut running => return result,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
        tokio::select! {
            result = &mut running => result,
            _ = terminate.recv() => Err(anyhow::anyhow!("a second signal: ending at once")),
            _ = interrupt.recv() => Err(anyhow::anyhow!("a second signal: ending at once")),
        }
    });
    // Nothing that still runs is waited for.
    runtime.shutdown_background();
    result
}

fn exit_code(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

/// To standard error, whether or not the log has been started.
fn complain(error: &dyn std::fmt::Display) {
    // Where standard error is gone, there is nobody to tell.
    drop(writeln!(std::io::stderr(), "vpc-cni-exporter: {error}"));
}
