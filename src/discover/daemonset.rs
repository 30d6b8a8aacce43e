//! aws-node's DaemonSet: how many pods it wants, and how its container is set. Comes in: the object. Goes
//! out: what is kept of it. Never: a variable that the catalogue does not list, a value guessed.

use crate::catalog::SETTINGS;
use crate::model::short;
use k8s_openapi::api::apps::v1;
use k8s_openapi::api::core::v1::{Container, EnvVar};
use std::sync::Arc;

/// The container that runs ipamd: so it is named in the DaemonSet of amazon-vpc-cni-k8s.
const CONTAINER: &str = "aws-node";

/// What stands for the value of a variable that another object sets: it is not read.
const ELSEWHERE: &str = "valueFrom";

/// What is kept of a DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    /// Pods that it should have.
    pub(super) desired: i32,
    /// As [`crate::model::DaemonSet`] has them.
    pub(super) settings: Arc<[(&'static str, Arc<str>)]>,
}

/// What is kept; `None` while its controller has not looked at it.
pub(super) fn keep(set: v1::DaemonSet) -> Option<Set> {
    let desired = set.status?.desired_number_scheduled;
    let spec = set.spec.and_then(|spec| spec.template.spec);
    let containers = spec.map(|spec| spec.containers).unwrap_or_default();
    let container = containers.into_iter().find(|container| container.name == CONTAINER);
    Some(Set { desired, settings: container.map(settings).unwrap_or_default().into() })
}

fn settings(container: Container) -> Vec<(&'static str, Arc<str>)> {
    let version =
        container.image.as_deref().and_then(tag).map(|tag| ("version", short(tag).into()));
    // A whole ConfigMap may set any of them.
    let unsaid = container.env_from.is_some_and(|from| !from.is_empty()).then_some(ELSEWHERE);
    let variables = container.env.unwrap_or_default();
    let of_variables = SETTINGS.iter().filter_map(|(variable, label)| {
        // As the kubelet does it: of several the last one counts.
        let given = variables.iter().rev().find(|given| given.name == *variable);
        let Some(EnvVar { value, value_from, .. }) = given else {
            return Some((*label, unsaid?.into()));
        };
        let value = match (value, value_from) {
            (Some(value), _) if !value.is_empty() => short(value).into(),
            (_, Some(_)) => ELSEWHERE.into(),
            _ => return None,
        };
        Some((*label, value))
    });
    version.into_iter().chain(of_variables).collect()
}

/// The tag of an image's name; `None` where it has none, or a digest alone.
fn tag(image: &str) -> Option<&str> {
    let named = image.split_once('@').map_or(image, |(named, _)| named);
    let (_, tag) = named.rsplit('/').next()?.split_once(':')?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn kept(containers: Value) -> Vec<(&'static str, String)> {
        let set = json!({
            "spec": { "selector": {}, "template": { "spec": { "containers": containers } } },
            "status": { "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
                        "numberMisscheduled": 0, "numberReady": 3 },
        });
        let set = keep(serde_json::from_value(set).unwrap()).unwrap();
        assert_eq!(set.desired, 3);
        set.settings.iter().map(|(label, value)| (*label, value.to_string())).collect()
    }

    #[test]
    fn settings_of_the_container_aws_node_are_kept_in_the_order_of_the_table() {
        let env = json!([
            { "name": "ENABLE_PREFIX_DELEGATION", "value": "true" },
            { "name": "AWS_SECRET_ACCESS_KEY", "value": "secret" },
            { "name": "WARM_IP_TARGET", "value": "1" },
            { "name": "WARM_IP_TARGET", "value": "5" },
            { "name": "WARM_ENI_TARGET", "value": "" },
            { "name": "MINIMUM_IP_TARGET", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } },
        ]);
        let containers = json!([
            { "name": "aws-eks-nodeagent", "image": "agent:v9", "env": [{ "name": "MAX_ENI", "value": "1" }] },
            { "name": "aws-node", "image": "host.invalid:5000/amazon-k8s-cni:v1.20.4-eksbuild.1", "env": env },
        ]);
        let expected = [
            ("version", "v1.20.4-eksbuild.1"),
            ("warm_ip_target", "5"),
            ("minimum_ip_target", "valueFrom"),
            ("enable_prefix_delegation", "true"),
        ];
        assert_eq!(kept(containers), expected.map(|(label, value)| (label, value.to_owned())));
    }

    #[test]
    fn what_a_whole_configmap_may_set_is_not_taken_for_unset() {
        let from = json!([{ "configMapRef": { "name": "c" } }]);
        let env = json!([{ "name": "WARM_IP_TARGET", "value": "5" }]);
        let told = kept(json!([{ "name": "aws-node", "env": env, "envFrom": from }]));
        assert_eq!(told.len(), SETTINGS.len());
        assert!(told.contains(&("warm_ip_target", "5".to_owned())));
        assert!(told.contains(&("max_eni", "valueFrom".to_owned())));
    }

    #[test]
    fn what_is_not_there_is_not_told() {
        assert_eq!(kept(json!([{ "name": "other", "image": "other:v1" }])), []);
        assert_eq!(kept(json!([{ "name": "aws-node" }])), []);
        assert_eq!(keep(v1::DaemonSet::default()), None);
    }

    #[test]
    fn a_port_and_a_digest_are_no_tag() {
        for (image, expected) in [
            ("cni:v1", Some("v1")),
            ("h:5000/cni", None),
            ("h:5000/cni:v1@sha256:ab", Some("v1")),
            ("h/cni@sha256:ab", None),
            ("", None),
        ] {
            assert_eq!(tag(image), expected, "{image}");
        }
    }
}
