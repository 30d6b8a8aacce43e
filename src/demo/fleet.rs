//! A fleet of simulated aws-node daemons, each behind a real socket, with the truth about all of them.
//! Comes in: a number of nodes and a seed. Goes out: pages as ipamd serves them, trouble as nodes make
//! it, a targets file that follows, and the figures that one knows who saw everything. Never: the
//! service's own code on the side of the truth.
//!
//! *Flow*: `story` changes `node`s by a clock of its own, `page` prints them, `server` serves them,
//! `truth` keeps the books, `control` steers. *When it cannot keep up*: scrapes wait, as on a busy node.
//! *Stopping*: [`Fleet::stop`] ends every task.

use crate::clock::Clock;
use crate::model::Target;
use crate::units;
use clap::Args;
use control::{Control, Place};
use server::Shared;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use truth::Truth;
use world::World;

mod control;
mod counters;
mod figures;
mod gofloat;
mod node;
mod page;
mod pool;
mod release;
mod rng;
mod server;
mod story;
mod truth;
mod wire;
mod world;

pub use node::{Age, Behaviour};
pub use story::StoryEvent;
pub use truth::Forgotten;

/// Events that a slow listener may be behind before it loses the oldest.
const EVENTS: usize = 1024;
/// Real time between two steps of the story.
const STEP: Duration = Duration::from_millis(500);
/// How long the story waits, after the first serve, for every node to have been served once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Files open besides one listener a node: connections, mostly.
const OTHER_FILES: u64 = 4096;

/// Flags of the fleet.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Fleet")]
pub struct Settings {
    /// How many nodes
    #[arg(long, value_name = "NUMBER", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub nodes: u32,
    /// The same seed tells the same story
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Write the nodes as a file_sd file, in JSON, that follows joins and leaves
    #[arg(long, value_name = "FILE")]
    pub write_targets: Option<PathBuf>,
    /// Address of the first node; the others follow. With 127.0.0.1, and where nothing else can be
    /// bound, all nodes have this address and one port each
    #[arg(long, value_name = "ADDRESS", default_value = "127.1.0.1")]
    pub address_base: Ipv4Addr,
    /// Port of the nodes; of the first one, where they have one each; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 61678)]
    pub port: u16,
    /// How long a node thinks before it answers
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = units::duration)]
    pub answer_delay: Duration,
    /// Serve the truth, as JSON, on this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub truth: Option<SocketAddr>,
    /// Seconds of the story in a second; 0 stands still
    #[arg(long, value_name = "NUMBER", default_value_t = 60.0, value_parser = speed)]
    pub speed: f64,
    /// Load by the hour, and nothing else: no trouble, no joins, no restarts
    #[arg(long)]
    pub calm: bool,
    /// How long the story waits before it begins [default: until each node has been served once, or
    /// 10s after the first]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub story_delay: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            nodes: 200,
            seed: 1,
            write_targets: None,
            address_base: Ipv4Addr::new(127, 1, 0, 1),
            port: 61678,
            answer_delay: Duration::ZERO,
            truth: None,
            speed: 60.0,
            calm: false,
            story_delay: None,
        }
    }
}

fn speed(text: &str) -> Result<f64, String> {
    /// A day in a second.
    const FASTEST: f64 = 86_400.0;
    let allowed = || format!("a number from 0 to {FASTEST} is allowed");
    text.parse().ok().filter(|speed| (0.0..=FASTEST).contains(speed)).ok_or_else(allowed)
}

/// Why a fleet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A node's socket.
    #[error("cannot listen on {address} for a node: see --address-base, --port and ulimit -n")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// More nodes than addresses or ports.
    #[error("{nodes} nodes do not fit behind --address-base and --port")]
    Room {
        /// As asked for.
        nodes: u32,
    },
    /// The truth's socket.
    #[error("cannot listen on {address}: see --truth")]
    Truth {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The targets file.
    #[error(transparent)]
    Targets(#[from] TargetsError),
}

/// Why the targets file is not as the fleet is.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    /// It cannot be written.
    #[error("cannot write {}: see --write-targets", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The fleet stops.
    #[error("the targets file was not written: the fleet stops")]
    Interrupted,
}

/// A running fleet. Dropping it stops it.
#[derive(Debug)]
pub struct Fleet {
    control: Arc<Control>,
    tasks: TaskTracker,
    truth: Option<SocketAddr>,
}

/// The figures at one time, by sample key with labels sorted by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Complete serves so far.
    pub sequence: u64,
    /// Sums of the last served values, in the units of the cluster's families.
    pub gauges: std::collections::BTreeMap<String, f64>,
    /// Increases since the moment asked for; what did not increase is absent.
    pub increase: std::collections::BTreeMap<String, f64>,
}

impl Fleet {
    /// Makes the nodes and serves them.
    ///
    /// # Errors
    /// When an address cannot be bound, or the targets file cannot be written.
    pub async fn start(settings: Settings) -> Result<Fleet, FleetError> {
        let clock = Clock::start();
        let nodes = settings.nodes as usize;
        let world = World::new(settings.seed, nodes, settings.calm, clock.now().unix);
        let wanted = world.slots() as u64 + OTHER_FILES;
        // Fewer may do; if they do not, binding says so.
        drop(rlimit::increase_nofile_limit(wanted));
        let listeners = bind(&settings, world.slots()).await?;
        let truth_listener = match settings.truth {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| FleetError::Truth { address, source })?,
            ),
            None => None,
        };
        let truth = truth_listener.as_ref().and_then(|l| l.local_addr().ok());
        let shared = Arc::new(Shared {
            world,
            truth: Truth::default(),
            clock,
            delay: settings.answer_delay,
            stop: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        let mut places = Vec::with_capacity(listeners.len());
        for (slot, (address, listener)) in listeners.into_iter().enumerate() {
            let (open, opened) = watch::channel(slot < nodes);
            let listener = (slot < nodes).then_some(listener);
            tasks.spawn(server::door(shared.clone(), slot, address, listener, opened));
            places.push(Place { address, open });
        }
        let control = Arc::new(Control {
            shared,
            places,
            events: broadcast::channel(EVENTS).0,
            targets: watch::channel(Arc::default()).0,
            file: settings.write_targets.clone(),
            paused: AtomicBool::new(false),
            writing: tokio::sync::Mutex::default(),
        });
        control.publish().await?;
        if let Some(listener) = truth_listener {
            let control = control.clone();
            tasks.spawn(async move { drop(truth::http::serve(listener, control).await) });
        }
        tasks.spawn(tell(control.clone(), settings));
        tasks.close();
        Ok(Fleet { control, tasks, truth })
    }

    /// The nodes that are listed now, sorted by name.
    pub fn targets(&self) -> Arc<Vec<Target>> {
        self.control.targets.borrow().clone()
    }

    /// The same, as it changes.
    pub fn watch_targets(&self) -> watch::Receiver<Arc<Vec<Target>>> {
        self.control.targets.subscribe()
    }

    /// What happens, from now on; a listener that is 1,024 events behind loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<StoryEvent> {
        self.control.events.subscribe()
    }

    /// Where the truth is served.
    pub fn truth_address(&self) -> Option<SocketAddr> {
        self.truth
    }

    /// The truth: gauges now, from serves at most `stale_after` seconds ago if given, and increases
    /// since `since` (Unix seconds).
    ///
    /// # Errors
    /// When the log does not reach back so far.
    pub fn truth(&self, since: f64, stale_after: Option<f64>) -> Result<Figures, Forgotten> {
        let told = self.control.shared.truth.tell(since, stale_after, self.control.now())?;
        Ok(Figures { sequence: told.sequence, gauges: told.gauges, increase: told.increase })
    }

    /// Stops, or lets go on, the story's own passing.
    pub fn pause(&self, paused: bool) {
        self.control.pause(paused);
    }

    /// Lets story time pass now, paused or not.
    ///
    /// # Errors
    /// When the targets file cannot be written.
    pub async fn step(&self, story_seconds: f64) -> Result<(), FleetError> {
        Ok(self.control.step(story_seconds).await?)
    }

    /// Has a node answer so; false when there is no such node.
    pub async fn misbehave(&self, node: &str, behaviour: Behaviour) -> bool {
        self.control.misbehave(node, behaviour).await.is_some()
    }

    /// Restarts a node's ipamd; false when there is no such node.
    pub fn restart(&self, node: &str) -> bool {
        self.control.restart(node).is_some()
    }

    /// A node joins; its name, or `None` when every place is taken.
    ///
    /// # Errors
    /// When the targets file cannot be written.
    pub async fn join(&self, age: Age) -> Result<Option<Arc<str>>, FleetError> {
        match self.control.join(age).await {
            Some((name, done)) => Ok(done.map(|()| Some(name))?),
            None => Ok(None),
        }
    }

    /// A node leaves; false when there is no such node.
    ///
    /// # Errors
    /// When the targets file cannot be written.
    pub async fn leave(&self, node: &str) -> Result<bool, FleetError> {
        match self.control.leave(node).await {
            Some(done) => Ok(done.map(|()| true)?),
            None => Ok(false),
        }
    }

    /// Ends every task, and waits for that.
    pub async fn stop(self) {
        self.control.shared.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.control.shared.stop.cancel();
    }
}

/// The subcommand: runs until `stop`, and says on standard output where things are and what happens.
///
/// # Errors
/// As [`Fleet::start`]; and when standard output is gone.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let file = settings.write_targets.clone();
    let fleet = Fleet::start(settings).await?;
    let mut events = fleet.events();
    let targets = fleet.targets();
    let first = targets.first().map(Target::address).unwrap_or_default();
    say(&format!("{} nodes, the first one on http://{first}/metrics", targets.len()))?;
    if let Some(file) = file {
        say(&format!("targets: {}", file.display()))?;
    }
    if let Some(address) = fleet.truth_address() {
        say(&format!("truth:   http://{address}/truth"))?;
    }
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = events.recv() => event,
        };
        match event {
            Ok(event) => say(&event.to_string())?,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                say(&format!("({missed} events not shown)"))?;
            }
            Err(broadcast::error::RecvError::Closed) => break,
        }
    }
    fleet.stop().await;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Lets the story pass in real time.
async fn tell(control: Arc<Control>, settings: Settings) {
    let stop = control.stopped();
    let told = async {
        match settings.story_delay {
            Some(delay) => tokio::time::sleep(delay).await,
            None => all_served(&control).await,
        }
        let mut interval = tokio::time::interval(STEP);
        // A late step is not made up for by a hasty one: the story's pace is a promise.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if control.paused() {
                continue;
            }
            if let Err(error) = control.step(STEP.as_secs_f64() * settings.speed).await {
                let at = control.shared.world.seconds();
                drop(control.events.send(StoryEvent { at, sentence: error.to_string() }));
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = told => {}
    }
}

/// Waits until every node has been served, or some time after the first one.
async fn all_served(control: &Control) {
    /// Between two looks.
    const LOOK: Duration = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    loop {
        let (serves, all) = control.shared.truth.progress();
        if all || waited >= PATIENCE {
            return;
        }
        tokio::time::sleep(LOOK).await;
        if serves > 0 {
            waited += LOOK;
        }
    }
}

/// A socket for every place, with its address.
async fn bind(
    settings: &Settings,
    places: usize,
) -> Result<Vec<(SocketAddr, TcpListener)>, FleetError> {
    let bound = |address| async move {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| FleetError::Bind { address, source })?;
        let address =
            listener.local_addr().map_err(|source| FleetError::Bind { address, source })?;
        Ok((address, listener))
    };
    let mut out = Vec::with_capacity(places);
    let mut alone = settings.address_base == Ipv4Addr::LOCALHOST;
    for place in 0..places {
        let address = place_address(settings, place, alone)
            .ok_or(FleetError::Room { nodes: settings.nodes })?;
        let mut one = bound(address).await;
        if let Err(FleetError::Bind { source, .. }) = &one
            && source.kind() == io::ErrorKind::AddrNotAvailable
            && !alone
        {
            // Only 127.0.0.1 exists, as on macOS: one free port each.
            alone = true;
            one = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
        }
        out.push(one?);
    }
    Ok(out)
}

fn place_address(settings: &Settings, place: usize, alone: bool) -> Option<SocketAddr> {
    let place = u32::try_from(place).ok()?;
    if !alone {
        let address = Ipv4Addr::from(u32::from(settings.address_base).checked_add(place)?);
        return Some((IpAddr::V4(address), settings.port).into());
    }
    let fallback = settings.address_base != Ipv4Addr::LOCALHOST;
    let port = match settings.port {
        0 => 0,
        _ if fallback => 0,
        port => u16::try_from(u32::from(port) + place).ok()?,
    };
    Some((Ipv4Addr::LOCALHOST, port).into())
}

#[cfg(test)]
#[path = "fleet/fleet_tests.rs"]
mod tests;
