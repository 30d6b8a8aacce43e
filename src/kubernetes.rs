//! The API server: where it is, and as whom we speak to it. Comes in: flags, and what a pod or a
//! kubeconfig says. Goes out: a client that reads rotated tokens and certificates anew. Never: a request.

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;
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
    #[error("the kubeconfig {file} cannot be used: {source}; see --kube.config")]
    Kubeconfig {
        /// Which one.
        file: String,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
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
    pub async fn client(&self, in_cluster: bool) -> Result<Client, ClientError> {
        let options = KubeConfigOptions::default();
        let mut config = match &self.config {
            Some(file) => {
                let broken =
                    |source| ClientError::Kubeconfig { file: file.display().to_string(), source };
                let kubeconfig = Kubeconfig::read_from(file).map_err(broken)?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(broken)?
            }
            None if in_cluster => Config::incluster()?,
            None => Config::from_kubeconfig(&options).await.map_err(|source| {
                ClientError::Kubeconfig {
                    file: "of $KUBECONFIG or ~/.kube/config".to_owned(),
                    source,
                }
            })?,
        };
        if let Some(url) = &self.api_server {
            config.cluster_url = url.clone();
        }
        config.read_timeout = Some(READ_TIMEOUT);
        // An idle connection that is taken up again must not seem silent for as long as it was idle.
        config.reset_reader_on_write = true;
        // Whoever asks knows better when to ask again.
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
