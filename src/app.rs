//! Wiring: the one file that knows every stage. Comes in: a checked configuration. Goes out: a running
//! service. Never: a decision of a stage's own.
//!
//! Threads: the runtime of the caller serves and discovers; `scrape` has a thread with a runtime of its
//! own; `publish` has a thread that makes views and bodies. A stage that ends unexpectedly ends the
//! service, so that an orchestrator restarts it; the mirror begins anew.

use crate::clock::Clock;
use crate::config::Config;
use crate::kubernetes::Connection;
use crate::model::{Route, Targets};
use crate::observe::Observe;
use crate::render::detail::Detail;
use crate::scrape::Rounds;
use crate::serve::{self, Shared};
use crate::store::Store;
use crate::{discover, scrape};
use anyhow::{Context, anyhow};
use elect::{Elect, Myself};
use mirroring::Mirroring;
use publish::Publisher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

mod command;
mod elect;
mod mirroring;
mod publish;

pub use command::{catalog, main};

/// A service that listens but does not run yet: its address is known.
#[derive(Debug)]
pub struct Service {
    config: Config,
    bound: serve::Bound,
    observe: Arc<Observe>,
    clock: Clock,
}

impl Service {
    /// Listens.
    ///
    /// # Errors
    /// When `--web.listen-address` cannot be listened on.
    pub fn bind(config: Config) -> anyhow::Result<Service> {
        let clock = Clock::start();
        let observe = Observe::new();
        for warning in &config.warnings {
            observe.configuration_warning(warning);
        }
        let bound = serve::bind(&config.service.web)?;
        Ok(Service { config, bound, observe, clock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.bound.address()
    }

    /// Runs until it is cancelled, then stops in order: the server first, which finishes its answers.
    ///
    /// # Errors
    /// When a stage ends though nobody asked it to.
    pub async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        self.until(cancel, None).await
    }

    /// Runs until the mirror's next interval has ended, and tells what it would send.
    ///
    /// # Errors
    /// As [`Service::run`]; and when nothing is to be mirrored, or the service is stopped before.
    pub async fn preview(self, cancel: CancellationToken) -> anyhow::Result<String> {
        if self.config.mirror.is_none() {
            return Err(anyhow!("nothing is mirrored: see --mirror.to and USE_CLOUDWATCH"));
        }
        let config = Config { election: false, ..self.config };
        let preview = Service { config, ..self };
        let (tx, rx) = oneshot::channel();
        preview.until(cancel, Some(tx)).await?;
        rx.await
            .map_err(|_| anyhow!("stopped before a whole interval had ended"))?
            .map_err(|words| anyhow!(words))
    }

    /// `preview` is told what the mirror would send, and ends the run.
    async fn until(
        self,
        cancel: CancellationToken,
        preview: Option<oneshot::Sender<Result<String, String>>>,
    ) -> anyhow::Result<()> {
        let Service { config, bound, observe, clock } = self;
        let Config {
            service,
            targets: fixed,
            deadline,
            publish_interval,
            hide_data,
            shard,
            mirror,
            ..
        } = config;
        let client = if config.kubernetes || config.election {
            let Connection { client, url, from } = service.kube.connect(config.in_cluster).await?;
            observe.api_server(&url, &from, client.default_namespace());
            Some(client)
        } else {
            None
        };
        let scope = service.discover.scope(service.node.labels.clone(), shard);
        let cluster = client.clone().filter(|_| config.kubernetes).map(|client| (client, scope));
        let interval = service.scrape.interval;
        let inner = CancellationToken::new();
        let myself = Myself {
            host: config.host,
            pod_ip: config.pod_ip,
            in_cluster: config.in_cluster,
            bound: bound.address(),
            is_open: bound.is_open(),
            shard,
        };
        let Elect { promise, leading, ready, note, noted, task: mut electing } = Elect::start(
            client.filter(|_| config.election),
            service.lead,
            myself,
            clock,
            Arc::clone(&observe),
            inner.clone(),
        );
        let proxy = cluster
            .as_ref()
            .filter(|(_, scope)| scope.route == Route::Proxy)
            .map(|(client, _)| client.clone());
        let store =
            Arc::new(Store::new(&service.store, interval.as_secs_f64(), Arc::clone(&observe)));
        let detail = Arc::new(Detail::new(service.node));
        let shared = Shared::new(
            &service.web,
            Arc::clone(&observe),
            interval,
            hide_data,
            clock,
            Arc::clone(&detail),
            Arc::clone(&promise),
        );
        let (targets_tx, targets) = watch::channel(Arc::new(Targets::default()));
        let mirroring = Mirroring {
            plan: mirror,
            store: Arc::clone(&store),
            promise: Arc::clone(&promise),
            noted,
            note,
            ready: ready.subscribe(),
            targets: targets.clone(),
            clock,
            observe: Arc::clone(&observe),
            drain: service.web.shutdown_timeout,
        };
        let (rounds_tx, rounds) = watch::channel(Rounds::default());

        let publisher = Publisher {
            store: Arc::clone(&store),
            shared: Arc::clone(&shared),
            observe: Arc::clone(&observe),
            detail,
            clock,
            is_shard: shard.is_one_of_several(),
            interval: publish_interval,
            scrape_interval: interval,
        };
        let publishing = on_thread(
            "publish",
            publisher.run(rounds.clone(), targets.clone(), leading, ready, inner.clone()),
        )?;
        let scraping = on_thread(
            "scrape",
            scrape::run(
                service.scrape,
                deadline,
                proxy,
                targets.clone(),
                store,
                clock,
                Arc::clone(&observe),
                rounds_tx,
                inner.clone(),
            ),
        )?;
        let discovering = tokio::spawn(discover::run(
            service.discover,
            fixed,
            cluster,
            shard,
            targets_tx,
            Arc::clone(&observe),
            inner.clone(),
        ));
        let stop = CancellationToken::new();
        let is_preview = preview.is_some();
        let mut mirroring = mirroring.start(preview, stop.clone());
        let serving = tokio::spawn(bound.serve(shared, stop.clone()));
        tokio::pin!(serving);
        let ended = |stage: &str| anyhow!("the stage {stage} ended unexpectedly; the log says why");
        let result = tokio::select! {
            () = cancel.cancelled() => Ok(()),
            _ = publishing => Err(ended("publish")),
            _ = scraping => Err(ended("scrape")),
            _ = discovering => Err(ended("discover")),
            _ = &mut electing => Err(ended("lead")),
            // The preview ends by itself.
            _ = &mut mirroring => if is_preview { Ok(()) } else { Err(ended("ship")) },
            _ = &mut serving => return Err(ended("serve")),
        };
        observe.stopping();
        stop.cancel();
        // A panic in the server has been told; there is nothing left to wait for.
        drop(serving.await);
        // What waits is sent while the Lease is still held.
        if !mirroring.is_finished() {
            drop(mirroring.await);
        }
        inner.cancel();
        elect::ended(electing).await;
        result
    }
}

/// Runs a stage on a thread of its own with a runtime of one thread. The receiver hears of its end,
/// panic included.
fn on_thread(
    stage: &'static str,
    future: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<()>> {
    let (tx, rx) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .with_context(|| format!("cannot make a runtime for the stage {stage}"))?;
    thread::Builder::new()
        .name(stage.to_owned())
        .spawn(move || {
            // Dropped on a panic too, and the receiver hears it.
            let _told = tx;
            runtime.block_on(future);
        })
        .with_context(|| format!("cannot start a thread for the stage {stage}"))?;
    Ok(rx)
}
