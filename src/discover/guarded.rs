//! An object, or what can be said of one that cannot be read. Comes in: what the API server sends. Goes
//! out: the object, or its name and why. Never: a listing that fails because of one object in it.
//!
//! The library's own guard wants metadata that can be read, and asks for whole objects where metadata
//! would do.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;

/// As a listing or a watch has it.
#[derive(Debug, Clone)]
pub(super) struct Guarded<K>(Result<K, Unreadable>);

#[derive(Debug, Clone)]
struct Unreadable {
    /// The name and the version alone.
    metadata: ObjectMeta,
    words: String,
}

impl<K: Resource> Guarded<K> {
    /// The object, or why it cannot be read.
    pub(super) fn read(self) -> Result<K, String> {
        self.0.map_err(|unreadable| unreadable.words)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }
}

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Value::deserialize(deserializer)?;
        let text = |field: &str| Some(whole.get("metadata")?.get(field)?.as_str()?.to_owned());
        // Read before the object is taken apart; a copy of it would cost more.
        let (name, resource_version) = (text("name"), text("resourceVersion"));
        Ok(Guarded(K::deserialize(whole).map_err(|error| Unreadable {
            metadata: ObjectMeta { name, resource_version, ..ObjectMeta::default() },
            words: error.to_string(),
        })))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Node};
    use kube::core::PartialObjectMeta;
    use serde_json::json;

    #[test]
    fn an_object_that_cannot_be_read_still_has_its_name_and_version() {
        let broken = [json!({ "labels": 7 }), json!({ "creationTimestamp": "soon" })];
        for more in broken {
            let mut node = json!({ "metadata": { "name": "n1", "resourceVersion": "9" } });
            for (field, value) in more.as_object().unwrap() {
                node["metadata"][field] = value.clone();
            }
            let node: Guarded<PartialObjectMeta<Node>> = serde_json::from_value(node).unwrap();
            assert_eq!((node.name(), node.meta().resource_version.as_deref()), ("n1", Some("9")));
            assert!(node.read().is_err());
        }
        for no_object in [json!(7), json!({ "metadata": 7 }), json!({ "data": 7 })] {
            let guarded: Guarded<ConfigMap> = serde_json::from_value(no_object).unwrap();
            assert_eq!(guarded.name(), "");
            guarded.read().unwrap_err();
        }
    }

    #[test]
    fn metadata_are_asked_for_where_they_suffice() {
        assert!(Guarded::<PartialObjectMeta<Node>>::metadata_api());
        assert!(!Guarded::<Node>::metadata_api());
    }
}
