//! The Lease object of the API server. Comes in: reads and writes that the election wants. Goes out: a
//! record and its version, or the kind of trouble. Never: a write over a version that was not read.

use super::term::Record;
use crate::observe::lead::Answer;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Set by a follower, cleared by the holder's renewal.
pub(super) const CONTENDER: &str = "vpc-cni-exporter/contender";
/// Whether the holder knew of a follower when it renewed.
const CONTENDED: &str = "vpc-cni-exporter/contended";
/// Where the holder's HTTP server is.
const ADDRESS: &str = "vpc-cni-exporter/address";
/// How many shards the holder is one of.
const SHARDS: &str = "vpc-cni-exporter/shards";
/// Counts renewals: a wall clock that stands still must not look like a dead holder.
const RENEWAL: &str = "vpc-cni-exporter/renewal";
/// How far the holder's mirror has come, for its successor: passed on, not read.
const MIRROR: &str = "vpc-cni-exporter/mirror";
/// Common to the Leases of all shards: `--lead.name`.
const FAMILY: &str = "vpc-cni-exporter/lease";

/// A Lease as it was read.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) name: String,
    pub(super) record: Record,
    pub(super) address: Option<String>,
    /// How many shards its holder is one of.
    pub(super) shards: u32,
    /// Empty where there is none.
    pub(super) note: String,
    pub(super) version: String,
    transitions: i32,
    acquired: Option<MicroTime>,
}

/// Why a request did not do what was asked, with the words of whoever refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) Answer, pub(super) String);

/// What is written.
#[derive(Debug, Clone)]
pub(super) struct Claim<'a> {
    /// Empty releases the Lease.
    pub(super) holder: &'a str,
    pub(super) contended: bool,
    /// Now, by the wall clock: for people.
    pub(super) unix: f64,
    /// Another one each time.
    pub(super) renewal: u64,
    /// How far the mirror has come; empty where there is nothing to say.
    pub(super) note: &'a str,
}

/// What does not change about the Lease of this process's shard.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// `--lead.name`.
    pub(super) family: String,
    /// The Lease's own name.
    pub(super) name: String,
    pub(super) shards: u32,
    pub(super) duration: Duration,
    pub(super) address: Option<String>,
}

/// The way to it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) api: Api<Lease>,
    pub(super) form: Form,
    /// How long one request may take.
    pub(super) patience: Duration,
}

impl Client {
    /// The Leases of all shards, whatever their number: ours among them, if there is one.
    pub(super) async fn list(&self) -> Result<Vec<Read>, Refusal> {
        let params = ListParams::default().labels(&format!("{FAMILY}={}", self.form.family));
        let list = self.within(self.api.list(&params)).await?;
        let mut leases: Vec<Read> = list.items.into_iter().map(Read::of).collect();
        // One that somebody made beforehand lacks our label.
        if !leases.iter().any(|read| read.name == self.form.name)
            && let Some(lease) = self.within(self.api.get_opt(&self.form.name)).await?
        {
            leases.push(Read::of(lease));
        }
        Ok(leases)
    }

    /// Empties a Lease whose holder is gone for good, so that nobody waits for it again.
    pub(super) async fn retire(&self, read: &Read) -> Result<(), Refusal> {
        let patch = json!({
            "metadata": { "resourceVersion": read.version },
            "spec": { "holderIdentity": "" },
        });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        self.within(self.api.patch(&read.name, &params, &patch)).await.map(drop).map_err(changed)
    }

    /// Makes the Lease that there is not.
    pub(super) async fn create(&self, claim: &Claim<'_>) -> Result<(), Refusal> {
        let lease = self.form.lease(claim, None);
        self.within(self.api.create(&PostParams::default(), &lease)).await.map(drop)
    }

    /// Writes over what was read, and nothing newer.
    pub(super) async fn replace(&self, read: &Read, claim: &Claim<'_>) -> Result<(), Refusal> {
        let lease = self.form.lease(claim, Some(read));
        let params = PostParams::default();
        let replaced = self.api.replace(&self.form.name, &params, &lease);
        self.within(replaced).await.map(drop).map_err(changed)
    }

    /// Tells a Lease's holder that there is a competitor.
    pub(super) async fn announce(&self, name: &str, me: &str) -> Result<(), Refusal> {
        let patch = json!({ "metadata": { "annotations": { CONTENDER: me } } });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        self.within(self.api.patch(name, &params, &patch)).await.map(drop).map_err(changed)
    }

    /// Writes the note alone, over what was read and nothing newer: no renewal.
    pub(super) async fn note(&self, read: &Read, note: &str) -> Result<(), Refusal> {
        let patch = json!({
            "metadata": { "resourceVersion": read.version, "annotations": { MIRROR: note } },
        });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        self.within(self.api.patch(&read.name, &params, &patch)).await.map(drop).map_err(changed)
    }

    async fn within<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Refusal> {
        match tokio::time::timeout(self.patience, request).await {
            Ok(answer) => answer.map_err(|error| refusal(&error)),
            Err(_) => Err(Refusal(Answer::Unreachable, "no answer in time".to_owned())),
        }
    }
}

impl Form {
    /// The Lease as it is to be, over what was read.
    pub(super) fn lease(&self, claim: &Claim<'_>, read: Option<&Read>) -> Lease {
        let now = Timestamp::from_microsecond((claim.unix * 1e6) as i64).ok().map(MicroTime);
        let stays = read.is_some_and(|read| read.record.holder == claim.holder);
        let before = read.map_or(0, |read| read.transitions);
        let mut annotations = BTreeMap::from([
            (CONTENDED.to_owned(), claim.contended.to_string()),
            (SHARDS.to_owned(), self.shards.to_string()),
            (RENEWAL.to_owned(), claim.renewal.to_string()),
        ]);
        annotations.extend(self.address.clone().map(|address| (ADDRESS.to_owned(), address)));
        if !claim.note.is_empty() {
            annotations.insert(MIRROR.to_owned(), claim.note.to_owned());
        }
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: read.map(|read| read.version.clone()),
                annotations: Some(annotations),
                labels: Some([(FAMILY.to_owned(), self.family.clone())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(claim.holder.to_owned()),
                lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
                lease_transitions: Some(
                    before.saturating_add(i32::from(!stays && !claim.holder.is_empty())),
                ),
                acquire_time: if stays {
                    read.and_then(|read| read.acquired.clone())
                } else {
                    now.clone()
                },
                renew_time: now,
                ..LeaseSpec::default()
            }),
        }
    }
}

impl Read {
    pub(super) fn of(lease: Lease) -> Read {
        let Lease { metadata, spec } = lease;
        let spec = spec.unwrap_or_default();
        let annotations = metadata.annotations.unwrap_or_default();
        let renewed = spec.renew_time.map(|at| at.0.to_string()).unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or(0);
        Read {
            name: metadata.name.unwrap_or_default(),
            record: Record {
                holder: spec.holder_identity.unwrap_or_default(),
                renewed: format!(
                    "{transitions} {renewed} {}",
                    annotations.get(RENEWAL).map_or("", String::as_str)
                ),
                duration: f64::from(spec.lease_duration_seconds.unwrap_or(0)),
                contender: annotations.contains_key(CONTENDER),
                // Whoever writes no such note knows of no such promise.
                contended: annotations.get(CONTENDED).is_none_or(|value| value != "false"),
            },
            address: annotations.get(ADDRESS).cloned(),
            note: annotations.get(MIRROR).cloned().unwrap_or_default(),
            shards: annotations.get(SHARDS).and_then(|n| n.parse().ok()).unwrap_or(1),
            version: metadata.resource_version.unwrap_or_default(),
            transitions,
            acquired: spec.acquire_time,
        }
    }
}

/// What was read a moment ago and is not there any more has been changed by somebody.
fn changed(Refusal(answer, words): Refusal) -> Refusal {
    Refusal(if answer == Answer::NotFound { Answer::Conflict } else { answer }, words)
}

fn refusal(error: &kube::Error) -> Refusal {
    let answer = match error {
        kube::Error::Api(status) => match status.code {
            401 => Answer::Unauthorized,
            403 => Answer::Forbidden,
            409 => Answer::Conflict,
            404 => Answer::NotFound,
            _ => Answer::Server,
        },
        _ => Answer::Unreachable,
    };
    Refusal(answer, crate::kubernetes::words(error))
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
