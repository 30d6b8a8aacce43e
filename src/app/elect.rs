//! The election, as the service takes part in it. Comes in: the configuration, a client of the API server
//! where there is to be an election. Goes out: a promise, what the publisher is to know, a task. Never: a
//! service without a promise: where nobody competes it never ends.

use crate::clock::Clock;
use crate::discover::shard::Shard;
use crate::lead::{self, Candidate, Leading, Notes};
use crate::mirror::{Note, Noted};
use crate::observe::Observe;
use crate::promise::Promise;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the end of the process waits for its Lease to be given back: it ends by itself otherwise.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(3);

/// Who we are to the others.
pub(super) struct Myself {
    pub(super) host: Option<String>,
    /// `POD_IP`.
    pub(super) pod_ip: Option<String>,
    pub(super) in_cluster: bool,
    /// Where our HTTP server is bound.
    pub(super) bound: SocketAddr,
    /// Whether it answers a plain request without a password, as the others ask.
    pub(super) is_open: bool,
    pub(super) shard: Shard,
}

/// A part in the election, or none.
pub(super) struct Elect {
    pub(super) promise: Arc<Promise>,
    pub(super) leading: watch::Receiver<Leading>,
    /// To become true with the first view.
    pub(super) ready: watch::Sender<bool>,
    /// What the mirror leaves to the next holder.
    pub(super) note: watch::Sender<Note>,
    /// What is left there; `None` without an election.
    pub(super) noted: Option<watch::Receiver<Noted>>,
    /// Ends when it is cancelled, or unexpectedly.
    pub(super) task: JoinHandle<()>,
}

impl Elect {
    /// `client` is the API server's, where there is to be an election.
    pub(super) fn start(
        client: Option<kube::Client>,
        settings: lead::Settings,
        myself: Myself,
        clock: Clock,
        observe: Arc<Observe>,
        cancel: CancellationToken,
    ) -> Elect {
        let (tell, leading) = watch::channel(Leading::default());
        let (ready, is_ready) = watch::channel(false);
        let (note, notes) = watch::channel(Note::default());
        let (of_lease, noted) = watch::channel(Noted::default());
        let noted = client.is_some().then_some(noted);
        let notes = Notes { note: notes, noted: of_lease };
        let promise = Arc::new(match client {
            Some(_) => Promise::none(),
            None => Promise::forever(),
        });
        let of_task = Arc::clone(&promise);
        let task = tokio::spawn(async move {
            match client {
                Some(client) => {
                    let candidate = myself.candidate();
                    lead::run(
                        settings, client, candidate, notes, of_task, is_ready, tell, clock,
                        observe, cancel,
                    )
                    .await;
                }
                // Both channels stay open, or their other ends would think that the stage has ended.
                None => {
                    cancel.cancelled().await;
                    drop((tell, is_ready, notes));
                }
            }
        });
        Elect { promise, leading, ready, note, noted, task }
    }
}

/// Waits until the Lease has been given back, but not for long.
pub(super) async fn ended(task: JoinHandle<()>) {
    if !task.is_finished() {
        drop(tokio::time::timeout(GIVEN_BACK_WITHIN, task).await);
    }
}

impl Myself {
    fn candidate(&self) -> Candidate {
        let host = self.host.as_deref().unwrap_or("vpc-cni-exporter");
        let is_ours_alone = self.in_cluster && is_of_a_deployment(host);
        Candidate {
            // A container that restarts in its pod is another process.
            identity: format!("{host}_{:016x}", fastrand::u64(..)),
            pod: is_ours_alone.then(|| format!("{host}_")),
            address: self.reachable(),
            shard: (self.shard.index, self.shard.count),
        }
    }

    /// Where other processes find our HTTP server, as far as we can know.
    fn reachable(&self) -> Option<String> {
        if !self.is_open {
            return None;
        }
        match self.pod_ip.as_deref().and_then(|ip| ip.parse().ok()) {
            Some(ip) => Some(SocketAddr::new(ip, self.bound.port()).to_string()),
            None => {
                let ip = self.bound.ip();
                // Another pod would find itself at its own loopback address.
                let elsewhere = ip.is_loopback() && self.in_cluster;
                (!ip.is_unspecified() && !elsewhere).then(|| self.bound.to_string())
            }
        }
    }
}

/// Whether a name is that of a Deployment's pod, `name-7d9f8b6c5-x2z4q`: no two pods ever have the same one.
/// A StatefulSet's may be forced away and made anew while the old one still runs, and a pod in the node's
/// network that is not told its name (`POD_NAME`) has the node's.
fn is_of_a_deployment(name: &str) -> bool {
    /// Kubernetes makes no words by chance.
    const LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";
    let made = |part: &str| part.chars().all(|c| LETTERS.contains(c));
    let mut parts = name.rsplitn(3, '-');
    let (last, hash, set) = (parts.next(), parts.next(), parts.next());
    last.is_some_and(|last| last.len() == 5 && made(last))
        && hash.is_some_and(|hash| (6..=10).contains(&hash.len()) && made(hash))
        && set.is_some_and(|set| !set.is_empty() && !name.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_container_is_known_by_a_name_that_no_other_pod_can_have() {
        let pod = |in_cluster: bool, host: &str| {
            let (host, bound) = (Some(host.to_owned()), "127.0.0.1:1".parse().unwrap());
            let shard = Shard::default();
            Myself { host, pod_ip: None, in_cluster, bound, is_open: true, shard }.candidate().pod
        };
        let name = "vpc-cni-exporter-7d9f8b6c5-x2z4q";
        assert_eq!(pod(true, name), Some(format!("{name}_")));
        assert_eq!(pod(false, name), None);
        for other in [
            "vpc-cni-exporter-0",
            "vpc-cni-exporter",
            "ip-10-0-0-2.ec2.internal",
            "ip-10-0-0-2",
            "i-0123456789abcdef0",
            "x-7d9f8b6c5-abcde",
            "x-7d9f8b6c5-x2z4q.x.svc",
            "7d9f8b6c5-x2z4q",
        ] {
            assert_eq!(pod(true, other), None, "{other}");
        }
    }

    #[test]
    fn the_others_find_us_at_the_pods_address_or_at_the_one_we_are_bound_to() {
        let myself = |in_cluster: bool, pod_ip: Option<&str>, bound: &str| {
            let pod_ip = pod_ip.map(str::to_owned);
            let (bound, shard) = (bound.parse().unwrap(), Shard::default());
            Myself { host: None, pod_ip, in_cluster, bound, is_open: true, shard }
        };
        let reachable_from = |in_cluster: bool, pod_ip: Option<&str>, bound: &str| {
            myself(in_cluster, pod_ip, bound).reachable()
        };
        assert_eq!(reachable_from(true, None, "127.0.0.1:1"), None);
        let reachable = |pod_ip: Option<&str>, bound: &str| reachable_from(false, pod_ip, bound);
        assert_eq!(reachable(Some("10.0.0.7"), "[::]:61681").as_deref(), Some("10.0.0.7:61681"));
        assert_eq!(reachable(Some("fd00::7"), "0.0.0.0:1").as_deref(), Some("[fd00::7]:1"));
        assert_eq!(reachable(None, "127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(reachable(None, "[::]:1"), None);
        assert_eq!(reachable(Some("none"), "[::]:1"), None);
        let closed = Myself { is_open: false, ..myself(true, Some("10.0.0.7"), "[::]:1") };
        assert_eq!(closed.reachable(), None, "TLS or a password: an answer is not to be had");
    }
}
