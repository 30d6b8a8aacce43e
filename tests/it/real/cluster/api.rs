//! Plain requests to the API server. Comes in: a path and an object. Goes out: the object as it is
//! stored, or the code and words of the refusal. Never: a retry, a guess at what was meant.

use crate::support::HANG;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::LazyLock;
use tokio::runtime::Runtime;

/// Requests that are under way at the same time, when there are many to make.
pub(crate) const AT_ONCE: usize = 12;

/// For all tests: their clients speak from here, and their mirrors live here.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
});

/// Waits for what is asynchronous, with a guard against hanging.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let guarded = RUNTIME.block_on(async { tokio::time::timeout(HANG, future).await });
    guarded.unwrap_or_else(|_| panic!("no answer after {HANG:?}"))
}

/// Runs something beside the test.
pub(crate) fn beside(
    future: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    RUNTIME.spawn(future)
}

/// One account at one API server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
}

/// What the API server answered instead of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Of HTTP; 0 where nothing answered.
    pub(crate) code: u16,
    pub(crate) message: String,
}

impl Api {
    /// The account of a kubeconfig.
    pub(crate) fn of(kubeconfig: &Path) -> Api {
        wait(async {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            Api { client: Client::try_from(config).unwrap() }
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.ask("GET", path, "application/json", Vec::new()).await
    }

    /// What is behind a path that has no object, such as a pod's page.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Refusal> {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request_text(request).await.map_err(Refusal::of)
    }

    /// Creates an object; panics where that is refused.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Value {
        let body = object.to_string().into_bytes();
        let made = self.ask("POST", path, "application/json", body).await;
        made.unwrap_or_else(|refusal| panic!("POST {path}: {refusal:?}: {object}"))
    }

    /// Changes the named fields of an object; panics where that is refused.
    pub(crate) async fn merge(&self, path: &str, fields: &Value) -> Value {
        let body = fields.to_string().into_bytes();
        let made = self.ask("PATCH", path, "application/merge-patch+json", body).await;
        made.unwrap_or_else(|refusal| panic!("PATCH {path}: {refusal:?}: {fields}"))
    }

    /// Makes an object be as it is written, whether it is there or not; its path comes from its own
    /// kind and name.
    pub(crate) async fn apply(&self, object: &Value) {
        let made = self.try_apply(object).await;
        made.unwrap_or_else(|refusal| panic!("{}: {refusal:?}: {object}", path_of(object)));
    }

    /// The same, where it may be refused.
    pub(crate) async fn try_apply(&self, object: &Value) -> Result<Value, Refusal> {
        let path = path_of(object) + "?fieldManager=tests&force=true";
        let body = object.to_string().into_bytes();
        self.ask("PATCH", &path, "application/apply-patch+yaml", body).await
    }

    /// Deletes an object, or all in a collection, at once; it need not be there.
    pub(crate) async fn delete(&self, path: &str) {
        self.delete_within(path, 0).await;
    }

    /// Deletes an object as everybody does: what holds it may finish first.
    pub(crate) async fn delete_gracefully(&self, path: &str) {
        self.delete_within(path, 30).await;
    }

    async fn delete_within(&self, path: &str, seconds: u32) {
        let body = json!({ "gracePeriodSeconds": seconds }).to_string().into_bytes();
        match self.ask("DELETE", path, "application/json", body).await {
            Ok(_) | Err(Refusal { code: 404, .. }) => {}
            Err(refusal) => panic!("DELETE {path}: {refusal:?}"),
        }
    }

    /// Whether this account may do something, by the API server's own word.
    pub(crate) async fn may(
        &self,
        verb: &str,
        group: &str,
        resource: &str,
        namespace: &str,
    ) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({
            "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            "namespace": namespace,
        });
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": attributes },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        self.create(path, &review).await["status"]["allowed"] == json!(true)
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        content: &str,
        body: Vec<u8>,
    ) -> Result<Value, Refusal> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", content).body(body).unwrap();
        self.client.request(request).await.map_err(Refusal::of)
    }
}

impl Refusal {
    fn of(error: kube::Error) -> Refusal {
        match error {
            kube::Error::Api(status) => Refusal { code: status.code, message: status.message },
            other => Refusal { code: 0, message: format!("{other:?}") },
        }
    }
}

/// Where an object lives, by its kind, namespace and name.
pub(crate) fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "apis" } else { "api" };
    let namespace = match &*text(&object["metadata"]["namespace"]) {
        "" => String::new(),
        namespace => format!("namespaces/{namespace}/"),
    };
    let kinds = text(&object["kind"]).to_lowercase() + "s";
    format!("/{root}/{version}/{namespace}{kinds}/{}", text(&object["metadata"]["name"]))
}
