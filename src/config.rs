//! All flags, flattened from the stages that own them, and the variables of cni-metrics-helper. Comes
//! in: the command line and the environment. Goes out: one checked configuration, or an error that
//! names the key, the value and what is allowed. Never: a value that is quietly replaced.
//!
//! Precedence: flag, its own variable (`VPCCNI_…`), the helper's variable, default.

use crate::discover::Mode;
use crate::discover::shard::Shard;
use crate::lead::Election;
use crate::{discover, kubernetes, lead, render, scrape, serve, ship, store, units};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use tracing::Level;

/// Cluster-level Prometheus metrics for the Amazon VPC CNI.
///
/// Without a subcommand: scrape the aws-node pods of the cluster that this runs in, or the nodes given
/// by --discover.targets and --discover.file, and serve what they add up to.
#[derive(Debug, Parser)]
#[command(name = "vpc-cni-exporter", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The service's flags.
    #[command(flatten)]
    pub service: Service,
}

/// What the program does besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a simulated fleet and the whole service against it
    Demo(Box<crate::demo::Settings>),
    /// Run the simulated nodes alone
    Fleet(Box<crate::demo::fleet::Settings>),
    /// Read an exposition and say what we make of it, or why it is refused
    Check(Check),
    /// Print the metric reference as Markdown
    Catalog,
    /// Say what the CloudWatch mirror would send, and about what it would cost
    Mirror(Box<Mirror>),
}

/// What to check.
#[derive(Debug, Args)]
pub struct Check {
    /// The exposition; - or nothing is standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The format to hold it against
    #[arg(long, value_enum, default_value_t = crate::check::Format::Text)]
    pub format: crate::check::Format,
}

/// The mirror without sending.
#[derive(Debug, Args)]
pub struct Mirror {
    /// Print what one interval would send, and end
    #[arg(long, required = true)]
    pub dry_run: bool,
    /// The service's flags.
    #[command(flatten)]
    pub service: Service,
}

/// The service's flags, by stage.
#[derive(Debug, Clone, Args)]
pub struct Service {
    /// Where targets come from.
    #[command(flatten)]
    pub discover: discover::Settings,
    /// Where the API server is.
    #[command(flatten)]
    pub kube: kubernetes::Settings,
    /// Which nodes are this process's.
    #[command(flatten)]
    pub shard: discover::shard::Settings,
    /// Who serves data.
    #[command(flatten)]
    pub lead: lead::Settings,
    /// How nodes are scraped.
    #[command(flatten)]
    pub scrape: scrape::Settings,
    /// What a page may cost and how long it stands.
    #[command(flatten)]
    pub store: store::Settings,
    /// How often views are made.
    #[command(flatten)]
    pub publish: Publish,
    /// How much of each node is shown.
    #[command(flatten)]
    pub node: render::detail::Settings,
    /// What is mirrored to CloudWatch.
    #[command(flatten)]
    pub mirror: ship::Settings,
    /// How it is served.
    #[command(flatten)]
    pub web: serve::Settings,
    /// What is logged.
    #[command(flatten)]
    pub log: Log,
}

/// How often views are made.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Publish")]
pub struct Publish {
    /// How often what is served is made anew at most, when something changed [default: 5s, or the
    /// scrape interval where that is shorter]
    #[arg(id = "publish_interval", long = "publish.interval", env = "VPCCNI_PUBLISH_INTERVAL", value_name = "DURATION",
          value_parser = publish_interval)]
    pub interval: Option<Duration>,
}

fn publish_interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    if interval < Duration::from_millis(100) {
        Err("100ms at least".to_owned())
    } else {
        Ok(interval)
    }
}

/// What is logged, to standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct Log {
    /// Least severe messages that are logged [default: info]
    #[arg(long = "log.level", env = "VPCCNI_LOG_LEVEL", value_name = "LEVEL", value_enum)]
    pub level: Option<LogLevel>,
    /// How messages are written
    #[arg(long = "log.format", env = "VPCCNI_LOG_FORMAT", value_name = "FORMAT", value_enum,
          default_value_t = LogFormat::Text)]
    pub format: LogFormat,
}

/// `--log.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Each request and each failing scrape.
    Debug,
    /// What an operator wants to know.
    Info,
    /// What an operator should look at.
    Warn,
    /// What stops the exporter.
    Error,
}

impl LogLevel {
    /// As tracing names it.
    pub fn level(self) -> Level {
        match self {
            LogLevel::Trace => Level::TRACE,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Info => Level::INFO,
            LogLevel::Warn => Level::WARN,
            LogLevel::Error => Level::ERROR,
        }
    }
}

/// `--log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value:?}: {allowed}")]
pub struct ConfigError {
    /// The flag or variable.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

/// Everything the service needs, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The flags, with the helper's variables filled in.
    pub service: Service,
    /// `--discover.targets`, read.
    pub targets: Vec<crate::model::Target>,
    /// Whether the API server is watched.
    pub kubernetes: bool,
    /// Whether this process runs in a pod.
    pub in_cluster: bool,
    /// Whether a Lease decides who serves data.
    pub election: bool,
    /// The pod's name (`POD_NAME`) where it is told, else the host's.
    pub host: Option<String>,
    /// `POD_IP`: where the others reach this pod.
    pub pod_ip: Option<String>,
    /// Which nodes are this process's.
    pub shard: Shard,
    /// The deadline of one scrape.
    pub deadline: Duration,
    /// How often views are made at most.
    pub publish_interval: Duration,
    /// What is mirrored to CloudWatch, if anything.
    pub mirror: Option<ship::settings::Plan>,
    /// `USE_PROMETHEUS=false`: cluster and node scopes are not served.
    pub hide_data: bool,
    /// What the start should warn of.
    pub warnings: Vec<String>,
}

impl Config {
    /// Fills in the helper's variables and checks what no flag can check alone. `given` says whether
    /// an argument (by its id) came from the command line or its own variable; `variable` reads the
    /// environment.
    ///
    /// # Errors
    /// The first key that is wrong, with its value and what is allowed.
    pub fn resolve(
        mut service: Service,
        given: impl Fn(&str) -> bool,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
        // Templates write what is not set as empty.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let error = |key: &str, value: &str, allowed: &str| ConfigError {
            key: match own_variable(key) {
                // Were it on the command line too, naming the variable would still be true.
                Some(own) if variable(&own).is_some_and(|given| given.contains(value)) => {
                    format!("{key} (variable {own})")
                }
                _ => key.to_owned(),
            },
            value: value.to_owned(),
            allowed: allowed.to_owned(),
        };
        let mut warnings = Vec::new();
        let hide_data = match variable("USE_PROMETHEUS") {
            None => false,
            Some(value) => !yes_or_no(&value).ok_or_else(|| {
                error("USE_PROMETHEUS", &value, "yes, true, no or false is allowed")
            })?,
        };
        if hide_data {
            warnings.push(
                "USE_PROMETHEUS is off: the scopes cluster and node are not served".to_owned(),
            );
        }
        if let Some(value) = variable("USE_CLOUDWATCH") {
            let on = yes_or_no(&value).ok_or_else(|| {
                error("USE_CLOUDWATCH", &value, "yes, true, no or false is allowed")
            })?;
            let to = &mut service.mirror.to;
            if on && !to.contains(&ship::settings::To::Put) {
                if !cfg!(feature = "aws") {
                    return Err(error(
                        "USE_CLOUDWATCH",
                        &value,
                        "this build has no AWS API (feature aws): no or false is allowed; --mirror.to=emf+stdout: works",
                    ));
                }
                to.push(ship::settings::To::Put);
            }
        }
        if let Some(value) = variable("METRIC_UPDATE_INTERVAL").filter(|_| !given("interval")) {
            let seconds =
                value.parse().ok().filter(|s| (1..=86_400).contains(s)).ok_or_else(|| {
                    error(
                        "METRIC_UPDATE_INTERVAL",
                        &value,
                        "whole seconds from 1 to 86400 are allowed",
                    )
                })?;
            service.scrape.interval = Duration::from_secs(seconds);
            if service.scrape.interval > service.mirror.interval && !given("mirror_interval") {
                service.mirror.interval = ship::settings::interval_of(service.scrape.interval);
            }
        }
        if service.log.level.is_none() {
            let level = match variable("AWS_VPC_K8S_CNI_LOGLEVEL") {
                None => LogLevel::Info,
                // The helper knows one that is more severe than all of ours.
                Some(value) if value.eq_ignore_ascii_case("fatal") => LogLevel::Error,
                Some(value) => LogLevel::from_str(&value, true).map_err(|_| {
                    let allowed = "trace, debug, info, warn, error or fatal is allowed";
                    error("AWS_VPC_K8S_CNI_LOGLEVEL", &value, allowed)
                })?,
            };
            service.log.level = Some(level);
        }
        let deadline = service.scrape.deadline().map_err(|allowed| {
            let given = service.scrape.timeout.map(units::format_duration).unwrap_or_default();
            error("--scrape.timeout", &given, &allowed)
        })?;
        let targets = discover::static_targets(&service.discover).map_err(|bad| {
            error("--discover.targets", &bad.0, "HOST, HOST:PORT or [IPV6]:PORT is allowed")
        })?;
        for pattern in &service.discover.files {
            glob::Pattern::new(pattern).map_err(|bad| {
                error("--discover.file", pattern, &format!("a path or pattern is allowed: {bad}"))
            })?;
        }
        if let Some(value) = variable("CLUSTER_ENDPOINT")
            && service.kube.api_server.is_none()
        {
            let url = kubernetes::url(&value);
            service.kube.api_server =
                Some(url.map_err(|allowed| error("CLUSTER_ENDPOINT", &value, &allowed))?);
        }
        if let Some(file) = &service.web.config_file {
            serve::check_web_config(file).map_err(|wrong| {
                error("--web.config.file", &file.display().to_string(), &wrong.to_string())
            })?;
        }
        let in_cluster = kubernetes::in_cluster(variable);
        let kubernetes = match service.discover.kubernetes {
            Mode::On => true,
            Mode::Off => false,
            Mode::Auto => in_cluster || service.kube.is_given(),
        };
        if targets.is_empty() && service.discover.files.is_empty() && !kubernetes {
            return Err(error(
                "--discover.targets",
                "",
                "outside of a cluster name at least one node, or files with --discover.file, or say --discover.kubernetes=on; `demo` needs none of them",
            ));
        }
        let election = match service.lead.election {
            Election::On => true,
            Election::Off => false,
            Election::Auto => in_cluster,
        };
        // In the node's network a pod's host name is the node's.
        let host = variable("POD_NAME").or_else(|| variable("HOSTNAME")).or_else(host_name);
        let shard = service.shard.resolve(host.as_deref()).map_err(|allowed| {
            let given = service.shard.index.map(|index| index.to_string()).unwrap_or_default();
            error("--shard.index", &given, &allowed)
        })?;
        let usual = Duration::from_secs(5).min(service.scrape.interval);
        let publish_interval = service.publish.interval.unwrap_or(usual);
        if publish_interval > service.scrape.interval {
            let allowed = format!(
                "at most --scrape.interval ({}) is allowed",
                units::format_duration(service.scrape.interval)
            );
            let given = units::format_duration(publish_interval);
            return Err(error("--publish.interval", &given, &allowed));
        }
        let mirror = if service.mirror.is_on() {
            let plan = service.mirror.plan(
                service.scrape.interval,
                shard.is_one_of_several(),
                variable("AWS_EMF_AGENT_ENDPOINT"),
                variable("AWS_CLUSTER_ID"),
            );
            Some(plan.map_err(|(key, value, allowed)| error(key, &value, &allowed))?)
        } else {
            None
        };
        Ok(Config {
            service,
            mirror,
            targets,
            kubernetes,
            in_cluster,
            election,
            host,
            pod_ip: variable("POD_IP"),
            shard,
            deadline,
            publish_interval,
            hide_data,
            warnings,
        })
    }
}

/// The host's name as the kernel knows it, where no shell has put it into the environment.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

/// As the helper reads its switches, and 1 and 0 besides.
fn yes_or_no(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" => Some(true),
        "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// Reads the process's command line and, for the service and what it would mirror, the environment: no
/// other subcommand is stopped by a variable of the service.
///
/// # Errors
/// Clap's own, which name the flag, its value and what is allowed; and the variable that the value
/// came from, where it was not on the command line.
pub fn read(
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Cli, clap::ArgMatches), clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    /// The subcommand that takes the service's flags and variables.
    const MIRROR: &str = "mirror";
    // With the service's flags there is no subcommand: it can only come first.
    let first = args.get(1).and_then(|arg| arg.to_str());
    let matches = match first {
        Some(name) if name != MIRROR && Cli::command().find_subcommand(name).is_some() => {
            without_environment().try_get_matches_from(&args)
        }
        _ => {
            let set = |name: &OsStr| std::env::var_os(name).is_none_or(|value| !value.is_empty());
            with_variables(set)
                .try_get_matches_from(&args)
                .map_err(|error| with_variable(error, &args))
        }
    }?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// The service's flags from these words alone, whatever the environment says.
///
/// # Errors
/// As [`read`].
pub fn read_words(words: &[OsString]) -> Result<Service, clap::Error> {
    let matches = without_environment().try_get_matches_from(words)?;
    Ok(Cli::from_arg_matches(&matches)?.service)
}

fn without_environment() -> clap::Command {
    with_variables(|_| false)
}

/// With those variables alone: an empty one counts as unset, as templates write it.
fn with_variables(counts: impl Fn(&OsStr) -> bool) -> clap::Command {
    /// No variable can have this name; clap takes none away.
    const NONE: &str = "=";
    let count = |arg: clap::Arg| match arg.get_env() {
        Some(name) if !counts(name) => arg.env(NONE).hide_env(true),
        _ => arg,
    };
    Cli::command().mut_args(count).mut_subcommands(|command| command.mut_args(count))
}

/// What the start should warn of: variables that look like ours and are not, as by a slip of the pen.
pub fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let command = Cli::command();
    let ours: Vec<&OsStr> = command.get_arguments().filter_map(clap::Arg::get_env).collect();
    let mut warnings: Vec<String> = names
        .filter(|name| !ours.contains(&name.as_os_str()))
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("VPCCNI_"))
        .map(|name| format!("the variable {name} is not known and changes nothing; see --help"))
        .collect();
    warnings.sort();
    warnings
}

/// Clap names the flag alone, even where its value is that of the variable.
fn with_variable(error: clap::Error, args: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    // Clap writes `--flag <VALUE>`.
    let flag = flag.split(' ').next().unwrap_or_default();
    let given = |arg: &OsString| {
        arg.to_str().is_some_and(|arg| arg == flag || arg.split('=').next() == Some(flag))
    };
    let Some(own) = own_variable(flag).filter(|_| !args.iter().any(given)) else {
        return error;
    };
    let command = Cli::command();
    let known = command.get_arguments().any(|arg| arg.get_env() == Some(OsStr::new(&own)));
    if !known || std::env::var_os(&own).is_none() {
        return error;
    }
    let kind = error.kind();
    let text = error.to_string();
    // Clap adds this word, and what to try, once more.
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split("\n\nFor more information").next().unwrap_or(text);
    clap::Error::raw(kind, format!("{text}\n\nThe value is that of the variable {own}.\n"))
}

/// The variable of a flag: `--scrape.max-body` has `VPCCNI_SCRAPE_MAX_BODY`.
fn own_variable(flag: &str) -> Option<String> {
    let name = flag.strip_prefix("--")?;
    Some(format!("VPCCNI_{}", name.replace(['.', '-'], "_").to_uppercase()))
}

/// Whether an argument of the service was given, on the command line or by its own variable.
pub fn was_given(matches: &clap::ArgMatches, id: &str) -> bool {
    matches.value_source(id).is_some_and(|s| s != clap::parser::ValueSource::DefaultValue)
}

/// The service's flags as a Markdown table, by stage.
pub fn reference() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out = String::new();
    let mut stage = "";
    for arg in command.get_arguments().filter(|arg| arg.get_env().is_some()) {
        let heading = arg.get_help_heading().unwrap_or_default();
        if heading != stage && (heading != "Scrape" || !out.contains("**Scrape**")) {
            let title = format!("| **{heading}** | | | |\n");
            out.push_str(&title);
        }
        stage = heading;
        let default: Vec<_> =
            arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        // A default that depends on other flags stands in the help text.
        let (help, told) = match help.split_once(" [default: ") {
            Some((help, told)) => (help.to_owned(), told.trim_end_matches(']').to_owned()),
            None => (help, default.join(",")),
        };
        let env = arg.get_env().map(|env| env.to_string_lossy()).unwrap_or_default();
        let told = match told.as_str() {
            "" => String::new(),
            told if told.contains(' ') => told.to_owned(),
            told => format!("`{told}`"),
        };
        let flag = arg.get_long().unwrap_or_default();
        let written =
            writeln!(out, "| `--{flag}` | `{env}` | {told} | {} |", help.replace('|', "\\|"));
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    format!("| flag | variable | default | meaning |\n|---|---|---|---|\n{out}")
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
