//! The cluster's name, as CloudWatch is to know it. Comes in: what was given and what the nodes' labels
//! say. Goes out: a name and where it is from, or what was tried and what each answered. Where neither
//! says it, the tags of this EC2 instance do, as with cni-metrics-helper: by the instance metadata
//! service where that shows tags, else by one DescribeTags call. Never: a default, a wait of anything but
//! the mirror.

mod ec2;
mod xml;

use super::aws::{self, Aws};
use aws_config::imds;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use std::fmt;
use std::time::Duration;

/// The tags that name a cluster, the first that is there wins.
const TAGS: [&str; 3] = ["eks:cluster-name", "CLUSTER_ID", "Name"];
/// To connect to the metadata service, and to its answer. It is a link away, or hangs for ever.
const METADATA: Duration = Duration::from_secs(1);
/// All of it, with credentials and EC2.
const ALL: Duration = Duration::from_secs(30);

const TAG_KEYS: &str = "/latest/meta-data/tags/instance";
const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";

/// A cluster's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) source: Source,
}

/// Where a name is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// `--cluster.name` or `AWS_CLUSTER_ID`.
    Given,
    /// The labels of the nodes.
    Labels,
    /// This tag of the instance, by the metadata service.
    Metadata(&'static str),
    /// This tag of the instance, by EC2.
    Ec2(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Given => f.write_str("--cluster.name"),
            Source::Labels => f.write_str("the labels of the nodes"),
            Source::Metadata(tag) => write!(f, "the instance's tag {tag}, by its metadata"),
            Source::Ec2(tag) => write!(f, "the instance's tag {tag}, by EC2"),
        }
    }
}

/// Nobody knows the cluster's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster's name is not known: set --cluster.name or AWS_CLUSTER_ID (no label of the nodes says it; {0})"
)]
pub(super) struct Unknown(String);

/// The cluster's name. `now` is in seconds since 1970.
///
/// # Errors
/// What was tried, and what each answered.
pub(super) async fn cluster(
    aws: &Aws,
    given: Option<&str>,
    labels: Option<&str>,
    now: i64,
) -> Result<Identity, Unknown> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(known) = without_asking(given, labels) {
        return Ok(known);
    }
    if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        let words = "AWS_EC2_METADATA_DISABLED switches the instance metadata service off";
        return Err(Unknown(words.to_owned()));
    }
    let imds = metadata_client(aws).build();
    let asked = Box::pin(by_instance(aws, &imds, &variable, now));
    match tokio::time::timeout(ALL, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Unknown(format!("no answer of the instance's tags in {} s", ALL.as_secs()))),
    }
}

fn without_asking(given: Option<&str>, labels: Option<&str>) -> Option<Identity> {
    let said = [(given, Source::Given), (labels, Source::Labels)];
    said.into_iter().find_map(|(name, source)| {
        let name = name?.trim();
        (!name.is_empty()).then(|| Identity { name: name.to_owned(), source })
    })
}

/// Tried once: whoever needs the name asks again.
fn metadata_client(aws: &Aws) -> imds::client::Builder {
    let provider = ProviderConfig::without_region().with_http_client(aws.http());
    imds::Client::builder()
        .configure(&provider)
        .connect_timeout(METADATA)
        .read_timeout(METADATA)
        .max_attempts(1)
}

/// What the instance's tags say.
async fn by_instance(
    aws: &Aws,
    imds: &imds::Client,
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
    now: i64,
) -> Result<Identity, Unknown> {
    let metadata = match by_metadata(imds).await {
        Ok(Some(identity)) => return Ok(identity),
        Ok(None) => {
            let words = format!("the instance has no tag {}", TAGS.join(", "));
            return Err(Unknown(words));
        }
        Err(Silent::ShowsNoTags) => "the instance metadata service shows no tags",
        Err(Silent::Fails(words)) => return Err(Unknown(words)),
    };
    match by_ec2(aws, imds, variable, now).await {
        Ok(identity) => Ok(identity),
        Err(words) => Err(Unknown(format!("{metadata}; {words}"))),
    }
}

/// Why the metadata service says nothing of tags.
enum Silent {
    /// They are not enabled for this instance.
    ShowsNoTags,
    Fails(String),
}

async fn by_metadata(imds: &imds::Client) -> Result<Option<Identity>, Silent> {
    let keys = match imds.get(TAG_KEYS).await {
        Ok(keys) => keys,
        Err(error) if status(&error) == Some(404) => return Err(Silent::ShowsNoTags),
        Err(error) => return Err(Silent::Fails(metadata_words(&error))),
    };
    for tag in TAGS {
        if !keys.as_ref().lines().any(|key| key.trim() == tag) {
            continue;
        }
        let value = imds.get(format!("{TAG_KEYS}/{tag}")).await;
        let value = value.map_err(|error| Silent::Fails(metadata_words(&error)))?;
        let name = value.as_ref().trim();
        if !name.is_empty() {
            return Ok(Some(Identity { name: name.to_owned(), source: Source::Metadata(tag) }));
        }
    }
    Ok(None)
}

async fn by_ec2(
    aws: &Aws,
    imds: &imds::Client,
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
    now: i64,
) -> Result<Identity, String> {
    let document = imds.get(DOCUMENT).await.map_err(|error| metadata_words(&error))?;
    let document: Document = serde_json::from_str(document.as_ref())
        .map_err(|error| format!("the instance's identity document cannot be read: {error}"))?;
    let config = aws.config().await.map_err(|(_, why)| why)?;
    let found = ec2::tags(config, &document.instance_id, &document.region, &TAGS, variable, now);
    let found = found.await?;
    let known = TAGS.into_iter().find_map(|tag| {
        let (_, value) =
            found.iter().find(|(key, value)| key == tag && !value.trim().is_empty())?;
        Some(Identity { name: value.trim().to_owned(), source: Source::Ec2(tag) })
    });
    known.ok_or_else(|| {
        format!("instance {} has no tag {}, says EC2", document.instance_id, TAGS.join(", "))
    })
}

/// What an instance says of itself.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: String,
    region: String,
}

fn status(error: &ImdsError) -> Option<u16> {
    match error {
        ImdsError::ErrorResponse(answer) => Some(answer.response().status().as_u16()),
        _ => None,
    }
}

fn metadata_words(error: &ImdsError) -> String {
    match status(error) {
        Some(status) => format!("the instance metadata service answers with status {status}"),
        None => format!(
            "the instance metadata service cannot be reached, which a pod does where the instance's hop \
             limit is 2 at least: {}",
            aws::words(error)
        ),
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
