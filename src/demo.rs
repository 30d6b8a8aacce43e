//! The demo: a simulated fleet and the whole service against it, over real sockets. Comes in: a size, a
//! seed. Goes out: a running service, and on standard output where to look and what happens (on standard
//! error where events of the mirror are to stand alone). Never: a
//! short cut between fleet and service: pages go over sockets, targets through a `file_sd` file.

use crate::app::Service;
use crate::config::{self, Config};
use crate::serve::ListenAddress;
use crate::ship::settings::To;
use crate::{clock, logging, scrape, ship, units};
use anyhow::{Context, anyhow};
use clap::Args;
use fleet::Fleet;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

pub mod fleet;

/// Flags of the demo.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// How many nodes
    #[arg(long, value_name = "NUMBER", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub nodes: u32,
    /// How often each node is scraped
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = scrape::interval)]
    pub interval: Duration,
    /// The same seed tells the same story
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Where the service listens
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:61681",
          value_parser = listen_address)]
    pub listen_address: String,
    /// What is mirrored to CloudWatch.
    #[command(flatten)]
    pub mirror: ship::Settings,
}

/// The cluster's name in CloudWatch, where none is given: no label and no instance tells that of a fleet.
const CLUSTER: &str = "demo";

/// What the service's own flag takes, as it was written.
fn listen_address(text: &str) -> Result<String, String> {
    text.parse::<ListenAddress>().map(|_| text.to_owned())
}

/// Runs until it is stopped.
///
/// # Errors
/// When fleet or service cannot start, or a stage of the service ends.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let folder = Folder::make()?;
    let targets = folder.0.join("targets.json");
    let fleet = Fleet::start(fleet::Settings {
        nodes: settings.nodes,
        seed: settings.seed,
        write_targets: Some(targets.clone()),
        truth: Some(([127, 0, 0, 1], 0).into()),
        // Free ports where a fleet is running already; the addresses tell nodes apart.
        port: 0,
        ..fleet::Settings::default()
    })
    .await?;
    let say = Say { aloud: !settings.mirror.to.contains(&To::Stdout) };
    let config = configuration(&settings, &targets)?;
    let log = &config.service.log;
    logging::start(config::LogLevel::Warn, log.format);
    let mut events = fleet.events();
    let since = clock::Clock::start().now().unix;
    let stale = settings.interval.as_secs_f64() * f64::from(config.service.store.stale_after);
    let service = Service::bind(config)?;
    let address = service.address();
    say.line(&format!(
        "{} simulated nodes, scraped every {}",
        settings.nodes,
        units::format_duration(settings.interval)
    ))?;
    say.line(&format!("page     http://{address}/ (for a browser)"))?;
    say.line(&format!("figures  http://{address}/metrics?scope=cluster"))?;
    say.line(&format!("nodes    http://{address}/api/v1/nodes"))?;
    if let Some(truth) = fleet.truth_address() {
        say.line(&format!(
            "truth    http://{truth}/truth?since={since:.3}&stale_after={stale} (what the fleet knows of itself; POST /pause stands still, /resume goes on)"
        ))?;
    }
    say.line("an hour passes in a minute; Ctrl-C ends it")?;
    let mut running = std::pin::pin!(service.run(stop));
    let result = loop {
        tokio::select! {
            result = &mut running => break result,
            event = events.recv() => match event {
                Ok(event) => say.line(&event.to_string())?,
                Err(RecvError::Lagged(missed)) => say.line(&format!("({missed} events not shown)"))?,
                Err(RecvError::Closed) => break Err(anyhow!("the fleet ended")),
            },
        }
    };
    fleet.stop().await;
    result
}

/// The service's configuration, by the way that flags take.
fn configuration(settings: &Settings, targets: &std::path::Path) -> anyhow::Result<Config> {
    let interval = units::format_duration(settings.interval);
    let mut words: Vec<OsString> = ["vpc-cni-exporter", "--scrape.interval", &interval]
        .into_iter()
        .chain(["--web.listen-address", &settings.listen_address, "--discover.file"])
        .map(OsString::from)
        .collect();
    words.push(targets.into());
    let mut service = config::read_words(&words)?;
    service.mirror = settings.mirror.clone();
    service.mirror.cluster.get_or_insert_with(|| CLUSTER.to_owned());
    Ok(Config::resolve(service, |_| true, |_| None)?)
}

/// A folder of this process's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Folder> {
        let path =
            std::env::temp_dir().join(format!("vpc-cni-exporter-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Where it cannot be removed, the system's own cleaning will.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Tells the user.
struct Say {
    /// On standard output.
    aloud: bool,
}

impl Say {
    fn line(&self, line: &str) -> anyhow::Result<()> {
        let to = |mut out: Box<dyn Write>| writeln!(out, "{line}").and_then(|()| out.flush());
        let written = if self.aloud {
            to(Box::new(std::io::stdout().lock()))
        } else {
            to(Box::new(std::io::stderr().lock()))
        };
        written.context("cannot write what happens")
    }
}
