//! Watches objects of the API through outages, and mirrors them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_api};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Every change of what `config` selects. While the server is away it says nothing and tries again.
pub fn watch<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_api(api, config).backoff(Patience::default()).filter_map(|event| async {
        event.inspect_err(|error| tracing::debug!(kind = %K::kind(&()), %error, "watching is interrupted")).ok()
    })
}

/// 50 ms doubling to 5 s, each shortened by chance, so that many nodes do not come back at one moment.
#[derive(Debug, Default)]
struct Patience {
    tries: u32,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let nominal = Duration::from_millis(50).saturating_mul(1 << self.tries.min(10)).min(Duration::from_secs(5));
        self.tries += 1;
        Some(nominal.mul_f64(0.5 + 0.5 * rand::random::<f64>()))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.tries = 0;
    }
}

/// What is needed of the watched objects as last seen, by (namespace, name). A new list replaces the old one only when it is whole.
pub struct Mirror<V> {
    seen: HashMap<Key, V>,
    listing: Option<HashMap<Key, V>>,
    whole: bool,
}

/// Namespace and name.
pub type Key = (String, String);

impl<V> Default for Mirror<V> {
    fn default() -> Mirror<V> {
        Mirror { seen: HashMap::new(), listing: None, whole: false }
    }
}

impl<V> Mirror<V> {
    /// Takes an event, and of its object what `read` keeps; the keys of what changed.
    pub fn take<K: Resource<DynamicType = ()>>(&mut self, event: Event<K>, read: impl FnOnce(&K) -> V) -> Vec<Key> {
        match event {
            Event::Init => self.listing = Some(HashMap::new()),
            Event::InitApply(object) => {
                self.listing.get_or_insert_default().insert(key(&object), read(&object));
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.seen, self.listing.take().unwrap_or_default());
                self.seen.shrink_to_fit();
                self.whole = true;
                let gone = before.into_keys().filter(|key| !self.seen.contains_key(key));
                return gone.collect::<Vec<_>>().into_iter().chain(self.seen.keys().cloned()).collect();
            }
            Event::Apply(object) => {
                let key = key(&object);
                self.seen.insert(key.clone(), read(&object));
                return vec![key];
            }
            Event::Delete(object) => {
                let key = key(&object);
                self.seen.remove(&key);
                return vec![key];
            }
        }
        Vec::new()
    }

    /// Whether a whole list was seen.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&V> {
        self.seen.get(key)
    }

    /// One object, to be changed.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        self.seen.get_mut(key)
    }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;

    fn service(name: &str) -> Service {
        Service { metadata: kube::api::ObjectMeta { name: Some(name.into()), ..Default::default() }, ..Default::default() }
    }

    fn names(mirror: &Mirror<()>) -> Vec<String> {
        let mut names: Vec<_> = mirror.seen.keys().map(|(_, name)| name.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_half_list_takes_nothing_away() {
        let mut mirror = Mirror::default();
        for event in [Event::Init, Event::InitApply(service("a")), Event::InitApply(service("b")), Event::InitDone] {
            mirror.take(event, |_| ());
        }
        mirror.take(Event::<Service>::Init, |_| ());
        mirror.take(Event::InitApply(service("b")), |_| ());
        assert_eq!(names(&mirror), ["a", "b"], "the server went away in mid-list");
        let changed = mirror.take(Event::<Service>::InitDone, |_| ());
        assert_eq!(names(&mirror), ["b"]);
        assert!(changed.contains(&(String::new(), "a".into())), "what left is told");
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let waits: Vec<_> = Patience::default().take(40).collect();
        assert!(waits[0] <= Duration::from_millis(50));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(5)));
        assert!(waits[39] >= Duration::from_millis(2500));
    }
}
