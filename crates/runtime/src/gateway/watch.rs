//! Keeps the gateway's routes as the API has them; while the server is away the last ones stay.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource, ResourceExt};
use scheduler::routes::{Book, Claims, Front, Key, Pods};

use super::Gateway;
use crate::agent::events::{Events, Happening, Subject, Weight};
use crate::kept::Kept;

#[allow(clippy::large_enum_variant, reason = "one lives at a time, on its way from a watch into the book")]
enum Change {
    Ingress(Event<Ingress>),
    Service(Event<Service>),
    Slice(Event<EndpointSlice>),
}

/// Of each object only what routes need: the objects themselves are a hundred times as large.
#[derive(Default)]
struct Seen {
    book: Book,
    ingresses: Listing,
    services: Listing,
    slices: Listing,
    /// What was not taken in, to be told.
    refused: Vec<Happening>,
}

impl Seen {
    fn take(&mut self, change: Change) {
        let book = &mut self.book;
        match change {
            Change::Ingress(event) => match self.ingresses.take(event) {
                Turn::Is(key, ingress) => {
                    let claims = Claims::from(&ingress);
                    match book.refuses(&key, &claims) {
                        None => book.ingress(key, Some(claims)),
                        // What it was before stays.
                        Some(why) => self.refused.push(refused(&ingress, &why)),
                    }
                }
                Turn::Gone(key) => book.ingress(key, None),
                Turn::Only(keys) => book.only_ingresses(&keys),
                Turn::Begun => {}
            },
            Change::Service(event) => match self.services.take(event) {
                Turn::Is(key, service) => book.service(key, Some(Front::from(&service))),
                Turn::Gone(key) => book.service(key, None),
                Turn::Only(keys) => book.only_services(&keys),
                Turn::Begun => {}
            },
            Change::Slice(event) => match self.slices.take(event) {
                Turn::Is(key, slice) => book.slice(key, Pods::of(&slice)),
                Turn::Gone(key) => book.slice(key, None),
                Turn::Only(keys) => book.only_slices(&keys),
                Turn::Begun => {}
            },
        }
    }

    fn is_whole(&self) -> bool {
        self.ingresses.whole && self.services.whole && self.slices.whole
    }
}

/// How far a list of one kind is. What it does not name is gone only once it is whole.
#[derive(Default)]
struct Listing {
    named: HashSet<Key>,
    whole: bool,
}

/// What an event means.
enum Turn<K> {
    Is(Key, K),
    Gone(Key),
    Only(HashSet<Key>),
    Begun,
}

impl Listing {
    fn take<K: Resource<DynamicType = ()>>(&mut self, event: Event<K>) -> Turn<K> {
        let key = |object: &K| Key::of(object.meta());
        match event {
            Event::Init => {
                self.named.clear();
                Turn::Begun
            }
            Event::InitApply(object) => {
                self.named.insert(key(&object));
                Turn::Is(key(&object), object)
            }
            Event::InitDone => {
                self.whole = true;
                Turn::Only(std::mem::take(&mut self.named))
            }
            Event::Apply(object) => Turn::Is(key(&object), object),
            Event::Delete(object) => Turn::Gone(key(&object)),
        }
    }
}

fn refused(ingress: &Ingress, why: &str) -> Happening {
    let (namespace, name) = (ingress.namespace().unwrap_or_default(), ingress.name_any());
    tracing::warn!(namespace, name, why, "an Ingress is not taken in");
    let about = Subject { api_version: "networking.k8s.io/v1", kind: "Ingress", namespace, name, uid: ingress.uid().unwrap_or_default() };
    let message = format!("the Ingress is not taken in, and its routes are as they were before: {why}");
    Happening { about, weight: Weight::Warning, reason: "RoutesRefused", message }
}

impl Gateway {
    /// Follows Ingresses, Services and EndpointSlices until it is dropped.
    pub async fn follow(self: Arc<Gateway>, client: Client, kept: Arc<Kept>, events: Events) {
        let ingresses = kept.watch(Api::all(client.clone()), Config::default()).map(Change::Ingress);
        let services = kept.watch(Api::all(client.clone()), Config::default()).map(Change::Service);
        let slices = kept.watch(Api::all(client), Config::default()).map(Change::Slice);
        let all = futures::stream::select_all([ingresses.boxed(), services.boxed(), slices.boxed()]);
        let mut all = std::pin::pin!(all);
        let mut seen = Seen::default();
        loop {
            tokio::select! {
                change = all.next() => match change {
                    Some(change) => seen.take(change),
                    None => return,
                },
                () = self.stale.notified() => {}
            }
            // What is already here goes into the same table.
            while let Some(Some(change)) = all.next().now_or_never() {
                seen.take(change);
            }
            seen.refused.drain(..).for_each(|refused| events.tell(refused));
            if seen.is_whole() {
                self.take_stale().iter().for_each(|pod| seen.book.touch_pod(pod));
                let changes = seen.book.take_changes();
                self.route(&changes, &seen.book);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Service {
        Service { metadata: kube::api::ObjectMeta { name: Some(name.into()), ..Default::default() }, ..Default::default() }
    }

    fn has(seen: &Seen, name: &str) -> bool {
        seen.book.backend(&Key::new("", name)).is_some()
    }

    #[test]
    fn of_an_ingress_that_is_too_large_the_last_good_one_stays() {
        let ingress = |routes: usize| -> Ingress {
            let path =
                |n: usize| serde_json::json!({"path": format!("/{n}"), "pathType": "Prefix", "backend": {"service": {"name": "web"}}});
            let paths: Vec<_> = (0..routes).map(path).collect();
            let rules = serde_json::json!([{"host": "a.example", "http": {"paths": paths}}]);
            serde_json::from_value(serde_json::json!({"metadata": {"name": "a"}, "spec": {"rules": rules}})).unwrap()
        };
        let mut seen = Seen::default();
        seen.take(Change::Ingress(Event::Apply(ingress(3))));
        seen.take(Change::Ingress(Event::Apply(ingress(5_000))));
        assert_eq!((seen.book.routes("a.example").len(), seen.refused.len()), (3, 1));
        seen.take(Change::Ingress(Event::Apply(ingress(4))));
        assert_eq!((seen.book.routes("a.example").len(), seen.refused.len()), (4, 1));
    }

    #[test]
    fn a_half_list_takes_nothing_away() {
        let mut seen = Seen::default();
        for event in [Event::Init, Event::InitApply(named("a")), Event::InitApply(named("b")), Event::InitDone] {
            seen.take(Change::Service(event));
        }
        seen.take(Change::Service(Event::Init));
        seen.take(Change::Service(Event::InitApply(named("b"))));
        assert!(has(&seen, "a"), "the server went away in mid-list");
        seen.take(Change::Service(Event::InitDone));
        assert!(!has(&seen, "a") && has(&seen, "b"));
        assert!(!seen.is_whole(), "nothing is known of Ingresses yet");
    }
}
