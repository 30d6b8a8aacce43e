//! Who we are to AWS: the four scenarios of cni-metrics-helper's documentation, and Pod Identity. Comes in:
//! what a pod's environment has in each. Goes out: whose name and whose credentials the points carry. Never:
//! a service that waits for it.

use super::double::Double;
use super::mirrored::{helper_adds_up, mirror, outlet, served, sums_of_helper};
use crate::support::{figures, get, key, program, until};
use crate::truth::Pair;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;

/// The variables of a service account with a role, as EKS's webhook sets them.
const ROLE: &str = "arn:aws:iam::123456789012:role/mirror";

struct Pod {
    double: Double,
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Pod {
    fn new() -> Pod {
        Pod { double: Double::start(), folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    fn token(&mut self, name: &'static str, token: &str) {
        let file = self.folder.path().join(name);
        std::fs::write(&file, token).unwrap();
        self.variables.push((name, file.to_str().unwrap().to_owned()));
    }

    /// IAM roles for service accounts.
    fn irsa(&mut self) {
        self.set("AWS_REGION", "eu-central-1");
        self.set("AWS_ROLE_ARN", ROLE);
        self.token("AWS_WEB_IDENTITY_TOKEN_FILE", "token-of-the-account");
    }

    fn run(&self, base: &str) -> Pair {
        let mut command: Command = program();
        command.envs(self.double.environment()).envs(self.variables.iter().cloned());
        command.env("USE_CLOUDWATCH", "true").arg("--mirror.interval=1s");
        Pair::start_of(base, 2, 8, &["--calm"], command)
    }

    /// Waits until this name's points have come, by these credentials.
    fn sends_as(&self, pair: &Pair, cluster: &str, from: &str, key_id: &str) {
        until(&format!("points of {cluster}"), || {
            (outlet(pair.web, "put")["points_sent"].as_u64()? > 40).then_some(())
        });
        let known = mirror(pair.web);
        assert_eq!(known["cluster"], cluster, "{known}");
        assert!(known["cluster_from"].as_str().unwrap().contains(from), "{known}");
        assert!(sums_of_helper(&self.double, cluster).len() >= 20);
        let asked = self.double.ask("/requests?service=monitoring");
        for request in asked.as_array().unwrap() {
            let signed = request["headers"]["authorization"].as_str().unwrap();
            assert!(signed.contains(key_id) && signed.contains("/eu-central-1/"), "{signed}");
        }
    }
}

fn state(web: SocketAddr, state: &str) -> f64 {
    let page = figures(&get(web, "/metrics?scope=self", &[]).text());
    page[&key("vpccni_exporter_mirror_state", vec![("outlet", "put"), ("state", state)])]
}

#[test]
fn without_a_role_of_its_own_the_instance_says_region_credentials_and_by_ec2_the_cluster() {
    let pod = Pod::new();
    pod.double.tell("/instance?tag.eks:cluster-name=green&tag.Name=worker");
    let pair = pod.run("127.84.0.1");
    pod.sends_as(&pair, "green", "by EC2", "ASIANODEROLE");
}

#[test]
fn with_a_role_and_no_name_the_instance_s_metadata_say_the_cluster() {
    let mut pod = Pod::new();
    pod.irsa();
    pod.double.tell("/metadata?tags=shown&tag.eks:cluster-name=green&tag.Name=worker");
    let pair = pod.run("127.85.0.1");
    pod.sends_as(&pair, "green", "by its metadata", "ASIA");
    let asked = pod.double.ask("/requests?service=sts");
    assert_eq!(asked.as_array().unwrap().len(), 1, "{asked}");
}

#[test]
fn where_nobody_says_the_name_the_mirror_says_so_all_else_serves_and_what_waits_is_not_lost() {
    for (mode, base) in [("blocked", "127.86.0.1"), ("hanging", "127.87.0.1")] {
        let mut pod = Pod::new();
        pod.irsa();
        pod.double.tell(&format!("/metadata?mode={mode}"));
        let mut pair = pod.run(base);
        pair.control("/step?seconds=900");
        until("a mirror that is refused", || {
            let put = outlet(pair.web, "put");
            let words = put["reason_text"].as_str().unwrap_or_default();
            let named = words.contains("--cluster.name") && words.contains("AWS_CLUSTER_ID");
            (put["state"] == "refused" && put["reason"] == "identity" && named).then_some(())
        });
        assert_eq!(state(pair.web, "refused"), 1.0);
        pair.settle();
        pair.compare("while the mirror has no name");
        assert_eq!(pod.double.ask("/requests?service=monitoring"), Value::Array(Vec::new()));
        pod.double.tell("/metadata?mode=reachable&tags=shown&tag.CLUSTER_ID=late");
        pod.sends_as(&pair, "late", "by its metadata", "ASIA");
        until("an empty queue", || (outlet(pair.web, "put")["queue_intervals"] == 0).then_some(()));
        helper_adds_up(&pod.double, "late", &served(pair.web));
        assert_eq!((state(pair.web, "refused"), state(pair.web, "leading")), (0.0, 1.0));
    }
}

#[test]
fn a_name_that_is_given_is_used_whatever_the_instance_would_say() {
    let mut pod = Pod::new();
    pod.irsa();
    pod.set("AWS_CLUSTER_ID", "given");
    pod.double.tell("/metadata?mode=hanging&tag.Name=other");
    let pair = pod.run("127.88.0.1");
    pod.sends_as(&pair, "given", "--cluster.name", "ASIA");
}

#[test]
fn pod_identity_gives_credentials() {
    let mut pod = Pod::new();
    let url = format!("http://{}/v1/credentials", pod.double.address("metadata"));
    pod.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
    pod.token("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "token-of-the-pod");
    pod.set("AWS_REGION", "eu-central-1");
    pod.set("AWS_CLUSTER_ID", "given");
    pod.double.tell("/pod?token=token-of-the-pod");
    let pair = pod.run("127.89.0.1");
    pod.sends_as(&pair, "given", "--cluster.name", "ASIAPOD");
}
