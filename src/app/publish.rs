//! Makes what is served: view, bodies, compression, off the request path. Comes in: closed rounds, the
//! store. Goes out: published views, and once a minute at most one log line with the cluster's figures.
//! Never: a view before the first round has closed.

use crate::aggregate;
use crate::clock::Clock;
use crate::lead::Leading;
use crate::model::{NodeState, Targets};
use crate::observe::Observe;
use crate::observe::app::Standing;
use crate::render::detail::Detail;
use crate::render::negotiate::Format;
use crate::render::pieces::Pieces;
use crate::render::{self, Narrow, gzip};
use crate::scrape::Rounds;
use crate::serve::{Published, Shared};
use crate::store::Store;
use crate::view::View;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The log says how the cluster stands at most this often.
const LINE_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Publisher {
    pub(super) store: Arc<Store>,
    pub(super) shared: Arc<Shared>,
    pub(super) observe: Arc<Observe>,
    pub(super) detail: Arc<Detail>,
    pub(super) clock: Clock,
    /// The nodes are one shard's.
    pub(super) is_shard: bool,
    /// Views are made at most this often.
    pub(super) interval: Duration,
    /// Values go stale with the time alone: a view is made this often at least.
    pub(super) scrape_interval: Duration,
}

impl Publisher {
    pub(super) async fn run(
        self,
        mut rounds: watch::Receiver<Rounds>,
        mut targets: watch::Receiver<Arc<Targets>>,
        mut leading: watch::Receiver<Leading>,
        ready: watch::Sender<bool>,
        cancel: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut generation = None;
        let mut made: Option<Instant> = None;
        let mut line: Option<Instant> = None;
        let mut pieces = Pieces::default();
        let mut term = 0;
        // In the first round.
        let mut most_timed_out = false;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = rounds.changed() => match changed {
                    Ok(()) => {
                        let now = *rounds.borrow_and_update();
                        if now.closed > 0 {
                            self.shared.readiness.rounds_closed(
                                now.closed,
                                now.last_closed.uptime,
                                now.last_seconds,
                            );
                        }
                        if now.closed == 1 {
                            most_timed_out = now.most_timed_out;
                        }
                        self.note(most_timed_out, now.proxy_denied);
                        // The first view is due at once; later ones keep to the interval.
                        if made.is_some() { continue }
                    }
                    Err(_) => return,
                },
                changed = targets.changed() => {
                    if changed.is_err() { return }
                    let list = targets.borrow_and_update();
                    self.shared.readiness.unread(&list.unread);
                    self.shared.readiness.discovery_note(list.note.clone());
                    if list.synced {
                        self.shared.readiness.synced(list.list.len());
                    }
                    continue
                }
                changed = leading.changed() => {
                    if changed.is_err() { return }
                    let Leading { term: now, note } = leading.borrow_and_update().clone();
                    self.shared.readiness.lead_note(note);
                    if now == term { continue }
                    // What was counted before the term nobody saw: it begins at zero, and at once.
                    self.store.count_anew();
                    term = now;
                }
                _ = ticks.tick() => {}
            }
            if rounds.borrow().closed == 0 {
                continue;
            }
            let now_generation = self.store.generation();
            let old = made.is_none_or(|at| at.elapsed() >= self.scrape_interval);
            if generation == Some(now_generation) && !old {
                continue;
            }
            let view = self.publish(&mut pieces, term);
            ready.send_if_modified(|ready| !std::mem::replace(ready, true));
            generation = Some(view.generation);
            made = Some(Instant::now());
            if line.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                line = made;
                self.observe.standing(&standing(&view));
            }
        }
    }

    fn note(&self, most_timed_out: bool, proxy_denied: bool) {
        let note = if proxy_denied {
            Some(
                "the right is missing to get pods/proxy (Role), which --discover.route=proxy needs: deploy/rbac-proxy.yaml",
            )
        } else {
            most_timed_out.then_some(
                "most nodes did not answer in time: does the nodes' security group allow TCP 61678 from node to node?",
            )
        };
        self.shared.readiness.note(note.map(str::to_owned));
    }

    fn publish(&self, pieces: &mut Pieces, term: u64) -> Arc<View> {
        let began = Instant::now();
        let view = self.store.view(self.clock.now());
        let view = Arc::new(View { is_shard: self.is_shard, ..view });
        let all = Narrow::default();
        let cluster = |format| {
            let mut text = Vec::new();
            render::cluster(&view, &all, format, &mut text);
            gzip::compress(text.into())
        };
        self.shared.publish(Published {
            cluster: cluster(Format::Text004),
            cluster_open_metrics: cluster(Format::OpenMetrics100),
            node: pieces.refresh(&view, &self.detail),
            seconds: began.elapsed().as_secs_f64(),
            term,
            view: Arc::clone(&view),
        });
        view
    }
}

/// What the log line says.
fn standing(view: &View) -> Standing {
    let mut standing = Standing {
        up: view.count(NodeState::Up),
        stale: view.count(NodeState::Stale),
        failed: view.count(NodeState::Failed),
        missing: view.count(NodeState::Missing),
        ..Standing::default()
    };
    for figure in aggregate::figures(view) {
        let sum = || figure.samples.iter().map(|s| s.value.as_f64()).sum::<f64>();
        let ipv4 = || figure.samples.first().map_or(0.0, |s| s.value.as_f64());
        match figure.name {
            "vpccni_cluster_ip_addresses_assigned" => standing.assigned = ipv4(),
            "vpccni_cluster_ip_addresses_attached" => standing.attached = ipv4(),
            "vpccni_cluster_ip_addresses_max" => standing.max = ipv4(),
            "vpccni_cluster_enis_attached" => standing.enis = sum(),
            "vpccni_cluster_enis_max" => standing.enis_max = sum(),
            "vpccni_cluster_ip_requests_refused_total" => standing.refused = sum(),
            "vpccni_cluster_ec2_api_errors_total" => standing.ec2_errors = sum(),
            "vpccni_cluster_ipamd_errors_total" => standing.ipamd_errors = sum(),
            _ => {}
        }
    }
    standing
}
