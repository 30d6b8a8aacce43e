//! Nodes, the DaemonSet aws-node and its pods, as controllers and kubelets would write them. Comes in:
//! names, labels, addresses. Goes out: objects at the API server. Never: anything in another namespace
//! than kube-system, but for the nodes, which have none.

use super::api::Api;
use serde_json::{Value, json};
use std::net::IpAddr;

pub(crate) const NODES: &str = "/api/v1/nodes";
pub(crate) const PODS: &str = "/api/v1/namespaces/kube-system/pods";
pub(crate) const DAEMONSETS: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets";

/// A pod of aws-node.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) port: u16,
    /// Of the DaemonSet.
    pub(crate) owner: String,
}

impl Api {
    /// A ready Node with these labels besides those that all of them have, whose kubelet takes so many
    /// pods.
    pub(crate) async fn create_node(&self, name: &str, labels: &[(&str, &str)], pods: Option<u32>) {
        let mut all = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
        });
        for (label, value) in labels {
            all[label] = json!(value);
        }
        let mut node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": all },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        if let Some(pods) = pods {
            node["status"]["allocatable"] = json!({ "cpu": "2", "pods": pods.to_string() });
        }
        self.create(NODES, &node).await;
    }

    /// Sets labels of a Node; null takes one away.
    pub(crate) async fn relabel(&self, node: &str, labels: Value) {
        self.merge(&format!("{NODES}/{node}"), &json!({ "metadata": { "labels": labels } })).await;
    }

    pub(crate) async fn delete_node(&self, node: &str) {
        self.delete(&format!("{NODES}/{node}")).await;
    }

    /// The DaemonSet aws-node, without a status; its uid.
    pub(crate) async fn create_daemonset(&self) -> String {
        let labels = json!({ "k8s-app": "aws-node" });
        let env = json!([
            { "name": "WARM_ENI_TARGET", "value": "1" },
            { "name": "ENABLE_PREFIX_DELEGATION", "value": "false" },
            { "name": "AWS_VPC_K8S_CNI_LOGLEVEL", "value": "DEBUG" },
        ]);
        let containers = json!([{ "name": "aws-node", "image": "aws-node:v1.20.0", "env": env }]);
        let daemonset = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": { "name": "aws-node", "labels": labels },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "hostNetwork": true, "containers": containers },
                },
            },
        });
        uid(&self.create(DAEMONSETS, &daemonset).await)
    }

    /// Sets the variables of the DaemonSet's container.
    pub(crate) async fn set_environment(&self, env: &Value) {
        let containers = json!([{ "name": "aws-node", "image": "aws-node:v1.20.0", "env": env }]);
        let spec = json!({ "template": { "spec": { "containers": containers } } });
        self.merge(&format!("{DAEMONSETS}/aws-node"), &json!({ "spec": spec })).await;
    }

    /// What the DaemonSet's controller says: on how many nodes it should run, and on how many it does.
    pub(crate) async fn daemonset_is(&self, desired: usize, ready: usize) {
        let status = json!({
            "desiredNumberScheduled": desired, "currentNumberScheduled": desired,
            "numberReady": ready, "numberAvailable": ready, "numberMisscheduled": 0,
        });
        self.merge(&format!("{DAEMONSETS}/aws-node/status"), &json!({ "status": status })).await;
    }

    /// A pod that is bound to its node and not more: Pending, without an address. Its uid.
    pub(crate) async fn create_pod(&self, pod: &Pod) -> String {
        let ports = json!([{ "name": "metrics", "containerPort": pod.port, "hostPort": pod.port }]);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod.name,
                "labels": { "k8s-app": "aws-node" },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "aws-node",
                    "uid": pod.owner, "controller": true,
                }],
            },
            "spec": {
                "nodeName": pod.node, "hostNetwork": true,
                "containers": [{ "name": "aws-node", "image": "aws-node", "ports": ports }],
            },
        });
        uid(&self.create(PODS, &pod).await)
    }

    /// What the kubelet says of a pod.
    pub(crate) async fn pod_is(&self, pod: &str, phase: &str, address: Option<IpAddr>) {
        let ready = if phase == "Running" { "True" } else { "False" };
        let status = json!({
            "phase": phase, "podIP": address, "hostIP": address,
            "podIPs": address.map(|ip| vec![json!({ "ip": ip })]),
            "conditions": [{ "type": "Ready", "status": ready }],
        });
        self.merge(&format!("{PODS}/{pod}/status"), &json!({ "status": status })).await;
    }

    /// Both at once: a pod that runs. Its uid.
    pub(crate) async fn run_pod(&self, pod: &Pod, address: IpAddr) -> String {
        let uid = self.create_pod(pod).await;
        self.pod_is(&pod.name, "Running", Some(address)).await;
        uid
    }

    pub(crate) async fn delete_pod(&self, pod: &str) {
        self.delete(&format!("{PODS}/{pod}")).await;
    }

    /// Begins to end a pod: it is Terminating until [`Api::delete_pod`].
    pub(crate) async fn terminate_pod(&self, pod: &str) {
        self.delete_gracefully(&format!("{PODS}/{pod}")).await;
    }
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}
