//! Keeps the routes of a cluster, one object's change at a time, and says what each change touched.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{Canary, Claims, Endpoint, Front, Key, LONGEST, MOST_OF_ALL, MOST_OF_ONE, Place, Pods, Route};

/// What the objects say, indexed so that a change costs what it touches and not what there is.
///
/// Of two claims to one (host, path) the older Ingress wins, and of two as old the first by name, so that every gateway has the same routes.
#[derive(Debug, Default)]
pub struct Book {
    ingresses: HashMap<Key, Claims>,
    /// How many claims they have together.
    claimed: usize,
    hosts: HashMap<Arc<str>, Vec<Key>>,
    apps: HashMap<Key, Vec<Key>>,
    services: HashMap<Key, Front>,
    on_nodes: BTreeSet<Key>,
    slices: HashMap<Key, Pods>,
    slices_of: HashMap<Key, Vec<Key>>,
    services_of: HashMap<Arc<str>, Vec<Key>>,
    changes: Changes,
}

/// What is other than it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Hosts whose routes to ask for again.
    pub hosts: BTreeSet<Arc<str>>,
    /// Apps whose routes to ask for again.
    pub apps: BTreeSet<Key>,
    /// Services whose pods to ask for again.
    pub services: BTreeSet<Key>,
    /// Whether to ask for the ports of nodes again.
    pub openings: bool,
}

/// What is behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// What the Service says.
    pub front: Front,
    /// Pods that may get requests now, in order of their UIDs.
    pub endpoints: Vec<Endpoint>,
    /// Which of them get a share of the requests and no more.
    pub canary: Option<Canary>,
}

impl Book {
    /// What was touched since this was asked last.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Why an Ingress cannot be taken in as it is now: a sentence. The API lets nothing of the kind in, but a gateway has to stand whatever comes.
    pub fn refuses(&self, key: &Key, claims: &Claims) -> Option<String> {
        let (asked, had) = (claims.claims.len(), self.ingresses.get(key).map_or(0, |before| before.claims.len()));
        let long = |claim: &&super::Claim| claim.route.path.len() > LONGEST || claim.host.len() > MOST_OF_HOST;
        if asked > MOST_OF_ONE {
            return Some(format!("it has {asked} routes, and one Ingress has {MOST_OF_ONE} at most"));
        }
        if self.claimed - had + asked > MOST_OF_ALL {
            return Some(format!("there are {} routes already, and a gateway holds {MOST_OF_ALL} at most", self.claimed));
        }
        claims.claims.iter().find(long).map(|_| format!("a path has {LONGEST} bytes at most, and a host {MOST_OF_HOST}"))
    }

    /// An Ingress as it is now; `None` when it is gone.
    pub fn ingress(&mut self, key: Key, claims: Option<Claims>) {
        if self.ingresses.get(&key) == claims.as_ref() {
            return;
        }
        self.claimed += claims.as_ref().map_or(0, |claims| claims.claims.len());
        if let Some(before) = self.ingresses.remove(&key) {
            self.claimed -= before.claims.len();
            self.note_claims(&key, &before);
            hosts_of(&before).for_each(|host| unlink(&mut self.hosts, host, &key));
            app_of(&key, &before).iter().for_each(|app| unlink(&mut self.apps, app, &key));
        }
        let Some(claims) = claims else { return };
        self.note_claims(&key, &claims);
        hosts_of(&claims).for_each(|host| link(&mut self.hosts, host, &key));
        app_of(&key, &claims).iter().for_each(|app| link(&mut self.apps, app, &key));
        self.ingresses.insert(key, claims);
    }

    fn note_claims(&mut self, key: &Key, claims: &Claims) {
        self.changes.hosts.extend(hosts_of(claims).cloned());
        self.changes.apps.extend(app_of(key, claims));
    }

    /// A Service as it is now; `None` when it is gone.
    pub fn service(&mut self, key: Key, front: Option<Front>) {
        if self.services.get(&key) == front.as_ref() {
            return;
        }
        self.changes.services.insert(key.clone());
        let is_there = front.as_ref().is_some_and(|front| front.place.is_some());
        let was_there = if is_there { !self.on_nodes.insert(key.clone()) } else { self.on_nodes.remove(&key) };
        self.changes.openings |= is_there || was_there;
        match front {
            Some(front) => drop(self.services.insert(key, front)),
            None => drop(self.services.remove(&key)),
        }
    }

    /// The Services that are reached on nodes.
    pub(super) fn on_nodes(&self) -> impl Iterator<Item = (&Key, &Place)> {
        self.on_nodes.iter().filter_map(|key| Some((key, self.services.get(key)?.place.as_deref()?)))
    }

    /// The EndpointSlices of a Service.
    pub(super) fn slices_of(&self, service: &Key) -> impl Iterator<Item = &Pods> {
        self.slices_of.get(service).into_iter().flatten().filter_map(|key| self.slices.get(key))
    }

    /// An EndpointSlice as it is now; `None` when it is gone, or names no Service.
    pub fn slice(&mut self, key: Key, pods: Option<Pods>) {
        if self.slices.get(&key) == pods.as_ref() {
            return;
        }
        if let Some(before) = self.slices.remove(&key) {
            unlink(&mut self.slices_of, &before.service, &key);
            for Endpoint { pod, .. } in &before.endpoints {
                if !self.lists(&before.service, pod) {
                    unlink(&mut self.services_of, pod, &before.service);
                }
            }
            self.changes.openings |= !before.bare.is_empty() && self.on_nodes.contains(&before.service);
            self.changes.services.insert(before.service);
        }
        let Some(pods) = pods else { return };
        self.changes.openings |= !pods.bare.is_empty() && self.on_nodes.contains(&pods.service);
        link(&mut self.slices_of, &pods.service, &key);
        pods.endpoints.iter().for_each(|endpoint| link(&mut self.services_of, &endpoint.pod, &pods.service));
        self.changes.services.insert(pods.service.clone());
        self.slices.insert(key, pods);
    }

    fn lists(&self, service: &Key, pod: &str) -> bool {
        self.slices_of(service).any(|slice| slice.endpoints.iter().any(|endpoint| *endpoint.pod == *pod))
    }

    /// A pod is to be asked in another way: its Services are touched.
    pub fn touch_pod(&mut self, uid: &str) {
        self.changes.services.extend(self.services_of.get(uid).into_iter().flatten().cloned());
    }

    /// All but these Ingresses are gone.
    pub fn only_ingresses(&mut self, there: &HashSet<Key>) {
        gone(&self.ingresses, there).into_iter().for_each(|key| self.ingress(key, None));
    }

    /// All but these Services are gone.
    pub fn only_services(&mut self, there: &HashSet<Key>) {
        gone(&self.services, there).into_iter().for_each(|key| self.service(key, None));
    }

    /// All but these EndpointSlices are gone.
    pub fn only_slices(&mut self, there: &HashSet<Key>) {
        gone(&self.slices, there).into_iter().for_each(|key| self.slice(key, None));
    }

    /// The routes of a host, longest path first.
    pub fn routes(&self, host: &str) -> Vec<Route> {
        self.won(self.hosts.get(host), |claimed| claimed == host)
    }

    /// The routes that an App's Ingresses ask for on whatever host, longest path first.
    pub fn routes_of_app(&self, app: &Key) -> Vec<Route> {
        self.won(self.apps.get(app), |_| true)
    }

    fn won(&self, ingresses: Option<&Vec<Key>>, wanted: impl Fn(&str) -> bool) -> Vec<Route> {
        let claims = ingresses.into_iter().flatten().filter_map(|key| Some((key, self.ingresses.get(key)?)));
        let mut oldest_first: Vec<_> = claims.collect();
        oldest_first.sort_by_key(|(key, claims)| (claims.born, *key));
        let (mut taken, mut routes) = (HashSet::new(), Vec::new());
        let claims = oldest_first.iter().flat_map(|(_, claims)| &claims.claims);
        for claim in claims.filter(|claim| wanted(&claim.host)) {
            if taken.insert((&claim.route.path, claim.route.exact)) {
                routes.push(claim.route.clone());
            }
        }
        routes.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then(b.exact.cmp(&a.exact)).then(a.path.cmp(&b.path)));
        routes
    }

    /// What is behind a Service; `None` where there is no such Service.
    pub fn backend(&self, service: &Key) -> Option<Backend> {
        let front = self.services.get(service)?.clone();
        let mut endpoints: Vec<_> = self.slices_of(service).flat_map(|slice| slice.endpoints.iter().cloned()).collect();
        endpoints.sort();
        endpoints.dedup_by(|a, b| a.pod == b.pod);
        let canary = self.slices_of(service).find_map(|slice| slice.canary.clone());
        Some(Backend { front, endpoints, canary })
    }
}

/// Bytes of a host.
const MOST_OF_HOST: usize = 255;

fn hosts_of(claims: &Claims) -> impl Iterator<Item = &Arc<str>> {
    claims.claims.iter().map(|claim| &claim.host)
}

fn app_of(ingress: &Key, claims: &Claims) -> Option<Key> {
    (!claims.app.is_empty()).then(|| Key::new(ingress.namespace(), &claims.app))
}

fn gone<V>(have: &HashMap<Key, V>, there: &HashSet<Key>) -> Vec<Key> {
    have.keys().filter(|key| !there.contains(*key)).cloned().collect()
}

fn link<K: Hash + Eq + Clone>(index: &mut HashMap<K, Vec<Key>>, from: &K, to: &Key) {
    match index.get_mut(from) {
        Some(found) if found.contains(to) => {}
        Some(found) => found.push(to.clone()),
        None => drop(index.insert(from.clone(), vec![to.clone()])),
    }
}

fn unlink<K: Hash + Eq>(index: &mut HashMap<K, Vec<Key>>, from: &K, to: &Key) {
    let Some(found) = index.get_mut(from) else { return };
    found.retain(|key| key != to);
    if found.is_empty() {
        index.remove(from);
    }
}

#[cfg(test)]
mod tests;
