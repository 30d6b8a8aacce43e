//! What a watch has told of one kind of object. Comes in: its events. Goes out: what is kept of each
//! object, by its name. Never: an object that vanished while the watch was cut, nor one lost because
//! its newest version cannot be read.

use kube::Resource;
use kube::core::DeserializeGuard;
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

/// An object, or what can be said of one that cannot be read.
pub(super) trait Readable {
    type Object: Resource;
    fn read(self) -> Result<Self::Object, String>;
    fn name(&self) -> &str;
}

impl<K: Resource> Readable for DeserializeGuard<K> {
    type Object = K;

    fn read(self) -> Result<K, String> {
        self.0.map_err(|invalid| invalid.error)
    }

    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }
}

impl<K> Readable for kube::core::PartialObjectMeta<K>
where
    kube::core::PartialObjectMeta<K>: Resource,
{
    type Object = Self;

    fn read(self) -> Result<Self, String> {
        Ok(self)
    }

    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

impl<V: Clone + PartialEq> Index<V> {
    /// Takes over an event. `keep` says what is kept of an object; `None` for one that is not ours.
    pub(super) fn take<K: Readable>(
        &mut self,
        event: Event<K>,
        mut keep: impl FnMut(K::Object) -> Option<V>,
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

    /// How many objects are known.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }
}
