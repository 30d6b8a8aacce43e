//! What a watch has told of one kind of object. Comes in: its events. Goes out: what is kept of each
//! object, by its name. Never: an object that vanished while the watch was cut, nor one lost because
//! its newest version cannot be read.

use super::guarded::Guarded;
use kube::Resource;
use kube::runtime::watcher::Event;
use std::collections::HashMap;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing that is kept is different.
    Same,
    /// Something is.
    Changed,
    /// The object cannot be read; what was known of it stays.
    Unreadable {
        /// Its name.
        name: String,
        /// Why.
        words: String,
    },
}

/// The objects of a watch.
#[derive(Debug)]
pub(super) struct Index<V> {
    live: HashMap<Box<str>, V>,
    /// Those of the listing under way; what is not among them at its end has vanished.
    fresh: Option<HashMap<Box<str>, V>>,
    synced: bool,
}

impl<V> Default for Index<V> {
    fn default() -> Index<V> {
        Index { live: HashMap::new(), fresh: None, synced: false }
    }
}

impl<V: Clone + PartialEq> Index<V> {
    /// Takes over an event. `keep` says what is kept of an object; `None` for one that is not ours.
    pub(super) fn take<K: Resource>(
        &mut self,
        event: Event<Guarded<K>>,
        mut keep: impl FnMut(K) -> Option<V>,
    ) -> Told {
        match event {
            Event::Init => {
                self.fresh = Some(HashMap::with_capacity(self.live.len()));
                Told::Same
            }
            Event::InitApply(object) => {
                let name = Box::from(object.name());
                let kept = match object.read() {
                    Ok(object) => keep(object),
                    Err(words) => {
                        let known = self.live.get(&name).cloned();
                        let told = Told::Unreadable { name: name.to_string(), words };
                        self.fresh.get_or_insert_default().extend(known.map(|known| (name, known)));
                        return told;
                    }
                };
                self.fresh.get_or_insert_default().extend(kept.map(|kept| (name, kept)));
                Told::Same
            }
            Event::InitDone => {
                let fresh = self.fresh.take().unwrap_or_default();
                let changed = !self.synced || fresh != self.live;
                (self.live, self.synced) = (fresh, true);
                if changed { Told::Changed } else { Told::Same }
            }
            Event::Apply(object) => {
                let name: Box<str> = Box::from(object.name());
                let object = match object.read() {
                    Ok(object) => object,
                    Err(words) => return Told::Unreadable { name: name.into(), words },
                };
                let changed = match keep(object) {
                    Some(kept) if self.live.get(&name) == Some(&kept) => false,
                    Some(kept) => {
                        self.live.insert(name, kept);
                        true
                    }
                    None => self.live.remove(&name).is_some(),
                };
                if changed { Told::Changed } else { Told::Same }
            }
            Event::Delete(object) => match self.live.remove(object.name()) {
                Some(_) => Told::Changed,
                None => Told::Same,
            },
        }
    }

    /// Whether all objects have been listed once.
    pub(super) fn synced(&self) -> bool {
        self.synced
    }

    /// Name of each object, and what is kept of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.live.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether an object of this name is known.
    pub(super) fn has(&self, name: &str) -> bool {
        self.live.contains_key(name)
    }

    /// How many objects are known.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    type Object = Guarded<ConfigMap>;

    /// An object with a value; one with -1 cannot be read.
    fn object(name: &str, value: i32) -> Object {
        let data = if value < 0 { json!("none") } else { json!({ "v": value.to_string() }) };
        serde_json::from_value(json!({ "metadata": { "name": name }, "data": data })).unwrap()
    }

    fn value(map: ConfigMap) -> Option<i32> {
        map.data.unwrap_or_default().get("v")?.parse().ok()
    }

    fn told(index: &mut Index<i32>, event: Event<Object>) -> Told {
        index.take(event, value)
    }

    fn all(index: &Index<i32>) -> BTreeMap<String, i32> {
        index.iter().map(|(name, value)| (name.to_owned(), *value)).collect()
    }

    fn listed(index: &mut Index<i32>, objects: &[(&str, i32)]) -> Told {
        told(index, Event::Init);
        for (name, value) in objects {
            told(index, Event::InitApply(object(name, *value)));
        }
        told(index, Event::InitDone)
    }

    #[test]
    fn what_vanished_while_the_watch_was_cut_is_gone_once_everything_is_listed_anew() {
        let mut index = Index::default();
        assert_eq!(listed(&mut index, &[("a", 1), ("b", 2)]), Told::Changed);
        told(&mut index, Event::Init);
        told(&mut index, Event::InitApply(object("b", 3)));
        let before = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(all(&index), before, "half a listing says nothing");
        assert_eq!(told(&mut index, Event::InitDone), Told::Changed);
        assert_eq!(all(&index), BTreeMap::from([("b".to_owned(), 3)]));
    }

    #[test]
    fn it_is_synced_by_a_whole_listing_even_an_empty_one() {
        let mut index = Index::default();
        told(&mut index, Event::Init);
        told(&mut index, Event::InitApply(object("a", 1)));
        assert!(!index.synced());
        // A listing that broke off begins anew.
        assert_eq!(listed(&mut index, &[]), Told::Changed);
        assert!(index.synced() && index.len() == 0);
        assert_eq!(listed(&mut index, &[]), Told::Same);
    }

    #[test]
    fn an_object_that_cannot_be_read_keeps_what_was_known_of_it() {
        let mut index = Index::default();
        listed(&mut index, &[("a", 1), ("b", 2)]);
        let unreadable = |told| matches!(told, Told::Unreadable { name, .. } if name == "a");
        assert!(unreadable(told(&mut index, Event::Apply(object("a", -1)))));
        told(&mut index, Event::Init);
        assert!(unreadable(told(&mut index, Event::InitApply(object("a", -1)))));
        told(&mut index, Event::InitDone);
        assert_eq!(all(&index), BTreeMap::from([("a".to_owned(), 1)]));
        assert_eq!(told(&mut index, Event::Delete(object("a", -1))), Told::Changed);
        assert_eq!(index.len(), 0);
    }

    #[test]
    fn a_change_of_what_is_not_kept_is_none() {
        let mut index = Index::default();
        listed(&mut index, &[("a", 1)]);
        assert_eq!(told(&mut index, Event::Apply(object("a", 1))), Told::Same);
        assert_eq!(told(&mut index, Event::Delete(object("b", 1))), Told::Same);
    }

    proptest! {
        /// Whatever happens in which order, the index is what the last whole listing and the events
        /// after it say.
        #[test]
        fn prop_it_equals_a_map_that_was_told_the_same(
            steps in prop::collection::vec(
                prop_oneof![
                    prop::collection::btree_map("[a-d]", 0..3i32, 0..4).prop_map(Some),
                    Just(None),
                ],
                1..12,
            ),
            events in prop::collection::vec(("[a-d]", 0..3i32, any::<bool>()), 0..12),
        ) {
            let mut index = Index::default();
            let mut truth: BTreeMap<String, i32> = BTreeMap::new();
            let mut events = events.into_iter();
            for step in steps {
                match step {
                    Some(list) => {
                        let pairs: Vec<(&str, i32)> = list.iter().map(|(n, v)| (&**n, *v)).collect();
                        listed(&mut index, &pairs);
                        truth = list;
                    }
                    None => if let Some((name, value, gone)) = events.next() {
                        if gone {
                            told(&mut index, Event::Delete(object(&name, value)));
                            truth.remove(&name);
                        } else {
                            told(&mut index, Event::Apply(object(&name, value)));
                            truth.insert(name, value);
                        }
                    },
                }
                prop_assert_eq!(all(&index), truth.clone());
            }
        }
    }
}
