//! The service's own account, with the rights of `deploy/`. Comes in: the manifests, whole or with a rule
//! taken out. Goes out: a kubeconfig whose token stands in a file, as in a pod. Never: a right that the
//! manifests do not give.

use super::api::{Api, path_of, wait};
use super::server::Server;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The account, and the namespace it is in.
const NAME: &str = "vpc-cni-exporter";

/// The objects of a manifest in `deploy/`.
pub(crate) fn manifest(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.split("\n---\n").map(|one| serde_saphyr::from_str(one).unwrap()).collect()
}

/// The same without the rules for a resource.
pub(crate) fn without(resource: &str, mut manifest: Vec<Value>) -> Vec<Value> {
    let mut taken = 0;
    for rules in manifest.iter_mut().filter_map(|object| object.get_mut("rules")?.as_array_mut()) {
        let before = rules.len();
        rules.retain(|rule| !rule["resources"].as_array().unwrap().contains(&json!(resource)));
        taken += before - rules.len();
    }
    assert_eq!(taken, 1, "rules for {resource}");
    manifest
}

/// A token of the account, and a kubeconfig that reads it from its file.
pub(crate) struct Account {
    admin: Api,
    folder: TempDir,
}

impl Account {
    /// Applies manifests and makes the account's token.
    pub(crate) fn new(server: &Server, admin: &Api, manifest: &[Value]) -> Account {
        wait(async {
            for object in manifest {
                admin.apply(object).await;
            }
        });
        let account = Account { admin: admin.clone(), folder: tempfile::tempdir().unwrap() };
        account.rotate();
        let (cluster, user) = (
            json!({ "server": server.url(), "certificate-authority": server.ca() }),
            json!({ "tokenFile": account.token_file() }),
        );
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": NAME,
            "clusters": [{ "name": NAME, "cluster": cluster }],
            "users": [{ "name": NAME, "user": user }],
            "contexts": [{ "name": NAME, "context": { "cluster": NAME, "user": NAME, "namespace": NAME } }],
        });
        fs::write(account.kubeconfig(), kubeconfig.to_string()).unwrap();
        account
    }

    /// Writes a new token, as the kubelet does.
    pub(crate) fn rotate(&self) {
        let ask = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "expirationSeconds": 3600 },
        });
        let path = format!("/api/v1/namespaces/{NAME}/serviceaccounts/{NAME}/token");
        let made = wait(self.admin.create(&path, &ask));
        let token = made["status"]["token"].as_str().unwrap();
        let half = self.folder.path().join("token.half");
        fs::write(&half, token).unwrap();
        fs::rename(half, self.token_file()).unwrap();
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }
}

/// Takes the objects of manifests away, but for namespaces, which would stay Terminating.
pub(crate) async fn remove(admin: &Api, manifest: &[Value]) {
    for object in manifest.iter().filter(|object| object["kind"] != json!("Namespace")) {
        admin.delete(&path_of(object)).await;
    }
}
