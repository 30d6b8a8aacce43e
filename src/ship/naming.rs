//! The cluster's name, until it is known. Comes in: what was given, the nodes' labels, and what AWS says
//! of this instance. Goes out: the name, once; until then why there is none. Never: a default: two clusters
//! under one name are worse than none.

use super::Labelled;
use super::aws::Aws;
use crate::clock::Clock;
use crate::observe::Observe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Between two questions; doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// See [`FIRST_PAUSE`]: tags and rights are given by people.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The name, or why it is not known.
pub(super) type Named = Result<Arc<str>, String>;

/// Asks until it is known, and then waits for good.
pub(super) async fn name(
    aws: Arc<Aws>,
    given: Option<String>,
    mut labelled: watch::Receiver<Labelled>,
    named: watch::Sender<Named>,
    clock: Clock,
    observe: Arc<Observe>,
) {
    let mut pause = FIRST_PAUSE;
    if given.is_none() {
        // They go before the tags of one instance, and nothing is sent before nodes are known anyway.
        drop(labelled.wait_for(|label| *label != Labelled::Awaited).await);
    }
    loop {
        let label = match &*labelled.borrow_and_update() {
            Labelled::Name(name) => Some(Arc::clone(name)),
            Labelled::Awaited | Labelled::Nothing => None,
        };
        match ask(&aws, given.as_deref(), label.as_deref(), clock.now().unix as i64).await {
            Ok((name, from)) => {
                observe.mirror_named(&name, &from);
                named.send_modify(|now| *now = Ok(name.into()));
                return std::future::pending().await;
            }
            Err(words) => {
                observe.mirror_unnamed(&words);
                named.send_modify(|now| *now = Err(words));
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            Ok(()) = labelled.changed() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(feature = "aws")]
async fn ask(
    aws: &Aws,
    given: Option<&str>,
    label: Option<&str>,
    now: i64,
) -> Result<(String, String), String> {
    let known = super::identity::cluster(aws, given, label, now).await;
    known.map(|known| (known.name, known.source.to_string())).map_err(|unknown| unknown.to_string())
}

#[cfg(not(feature = "aws"))]
async fn ask(
    _aws: &Aws,
    given: Option<&str>,
    label: Option<&str>,
    _now: i64,
) -> Result<(String, String), String> {
    let from = |name: Option<&str>, from: &str| Some((name?.to_owned(), from.to_owned()));
    from(given, "--cluster.name").or_else(|| from(label, "the labels of the nodes")).ok_or_else(|| {
        "set --cluster.name or AWS_CLUSTER_ID (no label of the nodes says it, and this build has no AWS API)"
            .to_owned()
    })
}
