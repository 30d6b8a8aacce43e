//! The API server: where it is, and as whom we speak to it. Comes in: flags, and what a pod or a
//! kubeconfig says. Goes out: a client that reads rotated tokens and certificates anew. Never: a request.

use crate::model::short;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::Status;
use kube::{Client, Config};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of a connection that hears nothing for so long nothing is expected: a watch has its bookmarks about
/// once a minute.
const READ_TIMEOUT: Duration = Duration::from_secs(100);

/// Where the API server is.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kube")]
#[group(id = "kube")]
pub struct Settings {
    /// Kubeconfig file [default: in a pod its service account, elsewhere $KUBECONFIG or
    /// ~/.kube/config]
    #[arg(
        id = "kube_config",
        long = "kube.config",
        env = "VPCCNI_KUBE_CONFIG",
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// URL of the API server, instead of the one that the service account or kubeconfig names
    #[arg(long = "kube.api-server", env = "VPCCNI_KUBE_API_SERVER", value_name = "URL",
          value_parser = url)]
    pub api_server: Option<http::Uri>,
}

/// Reads the URL of an API server.
///
/// # Errors
/// What is allowed, when it is none.
pub fn url(text: &str) -> Result<http::Uri, String> {
    let parsed: Result<http::Uri, _> = text.parse();
    parsed
        .ok()
        .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
        .ok_or_else(|| "a URL such as https://10.0.0.1:443 is allowed".to_owned())
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A kubeconfig that cannot be used.
    #[error("the kubeconfig {file} cannot be used: {words}; see --kube.config")]
    Kubeconfig {
        /// Which one.
        file: String,
        /// What is wrong with it, on one line.
        words: String,
    },
    /// A pod without a usable service account.
    #[error(
        "this pod's service account cannot be used: {0}; see automountServiceAccountToken and --kube.config; without an API server say --discover.kubernetes=off and --lead.election=off"
    )]
    InCluster(#[from] kube::config::InClusterError),
    /// TLS, or what authenticates us.
    #[error("cannot make a client of the API server: {0}")]
    Client(#[from] kube::Error),
}

/// A client, and what it speaks to as whom: what an operator compares first.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "the client has none")]
pub struct Connection {
    /// To ask with.
    pub client: Client,
    /// Of the API server.
    pub url: String,
    /// Where URL and credentials are from, in words.
    pub from: String,
}

/// Whether this process runs in a pod of a cluster, by the variables that every container there has.
pub fn in_cluster(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty())
}

impl Settings {
    /// Whether a flag names an API server.
    pub fn is_given(&self) -> bool {
        self.config.is_some() || self.api_server.is_some()
    }

    /// A client. `in_cluster` is [`in_cluster`].
    ///
    /// # Errors
    /// When kubeconfig or service account cannot be read. That the API server does not answer is none.
    pub async fn connect(&self, in_cluster: bool) -> Result<Connection, ClientError> {
        let (mut config, mut from) = match &self.config {
            None if in_cluster => (Config::incluster()?, "the pod's service account".to_owned()),
            file => self.outside(file.as_deref()).await?,
        };
        if let Some(url) = &self.api_server {
            config.cluster_url = url.clone();
            from.push_str(", at the URL of --kube.api-server or CLUSTER_ENDPOINT");
        }
        config.read_timeout = Some(READ_TIMEOUT);
        // An idle connection that is taken up again must not seem silent for as long as it was idle.
        config.reset_reader_on_write = true;
        // Whoever asks knows better when to ask again.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        Ok(Connection { client: Client::try_from(config)?, url, from })
    }

    /// By a kubeconfig; an API server that is named needs none, as behind `kubectl proxy`.
    async fn outside(&self, file: Option<&Path>) -> Result<(Config, String), ClientError> {
        let (name, read) = match file {
            Some(file) => (file.display().to_string(), Kubeconfig::read_from(file)),
            None => ("of $KUBECONFIG or ~/.kube/config".to_owned(), Kubeconfig::read()),
        };
        let kubeconfig = match (read, &self.api_server) {
            (Err(error), Some(url)) if file.is_none() && is_absent(&error) => {
                return Ok((Config::new(url.clone()), "no kubeconfig: no credentials".to_owned()));
            }
            (read, _) => read,
        };
        let context = |kubeconfig: &Kubeconfig| kubeconfig.current_context.clone();
        let broken = |error| ClientError::Kubeconfig { file: name.clone(), words: broken(&error) };
        let kubeconfig = kubeconfig.map_err(broken)?;
        let from = match context(&kubeconfig) {
            Some(context) => format!("the kubeconfig {name}, context {context}"),
            None => format!("the kubeconfig {name}"),
        };
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Ok((config.map_err(broken)?, from))
    }
}

fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(error, _) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// What is wrong with a kubeconfig, on one line. Which one it is, the caller says.
fn broken(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        // What follows shows the place in the text once more.
        KubeconfigError::Parse(error) => {
            error.to_string().lines().next().unwrap_or_default().to_owned()
        }
        error => innermost(error),
    }
}

/// What went wrong with a request, in the words of whoever refused it, on one line.
pub fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut source = Some(error);
    while let Some(error) = source {
        let boxed = || error.downcast_ref::<Box<Status>>().map(AsRef::as_ref);
        if let Some(status) = error.downcast_ref::<Status>().or_else(boxed) {
            return words_of(status);
        }
        source = error.source();
    }
    short(&innermost(error)).into_owned()
}

/// The outer ones repeat the kind, the innermost knows the cause.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn words_of(status: &Status) -> String {
    let code = status.code;
    let text = [&status.message, &status.reason].into_iter().find(|text| !text.trim().is_empty());
    match text.map(|text| text.trim()) {
        None => format!("status {code}"),
        // What stands between us and the API server may answer in its place.
        Some(text) if text.starts_with('<') => format!("status {code} with a page of HTML"),
        Some(text) => format!("{} (status {code})", short(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "Reason").with_code(code).boxed())
    }

    #[test]
    fn an_error_is_told_on_one_line_by_whoever_refused() {
        let watch = kube::runtime::watcher::Error::WatchFailed(status(403, "pods is forbidden"));
        assert_eq!(words(&watch), "pods is forbidden (status 403)");
        assert_eq!(words(&status(503, " ")), "Reason (status 503)");
        assert_eq!(words(&status(502, "<html>\n<body>Bad")), "status 502 with a page of HTML");
        let long = words(&status(500, &"word ".repeat(100)));
        assert!(long.ends_with("word… (status 500)"), "{long}");
        let refused = std::io::Error::other("Connection refused");
        assert_eq!(words(&kube::Error::Service(Box::new(refused))), "Connection refused");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_kubeconfig_is_told_once_with_its_path_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        let settings = Settings { config: Some(file.clone()), api_server: None };
        let told = async || settings.connect(false).await.err().unwrap().to_string();
        let path = file.display().to_string();
        for text in [None, Some("clusters: [\n\n- x: {"), Some("{}"), Some("")] {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            let told = told().await;
            assert_eq!(told.matches(&path).count(), 1, "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
            assert!(told.contains("--kube.config"), "{told}");
        }
    }

    #[test]
    fn a_pod_without_a_token_hears_of_the_flags_that_do_without_one() {
        let none = std::io::Error::from(std::io::ErrorKind::NotFound);
        let none = kube::config::InClusterError::ReadDefaultNamespace(none);
        let told = ClientError::from(none).to_string();
        for flag in ["--kube.config", "--discover.kubernetes=off", "--lead.election=off"] {
            assert!(told.contains(flag), "{told}");
        }
    }
}
