//! The scheduler's routes with this node's pods behind them, made for quick look-ups.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use imbl::HashMap;
use scheduler::balance;
use scheduler::routes::{Backend, Book, Canary, Changes, Front, Key};

use super::local::{Identity, Local, Locals};
use super::paths::Paths;
use super::peers::{Peers, Remote};

/// Where requests go: a value, so that who reads it sees one state of the cluster. The next one shares with it what did not change.
#[derive(Clone, Default)]
pub struct Table {
    hosts: HashMap<Arc<str>, Arc<Paths>>,
    wildcards: usize,
    apps: HashMap<Key, Arc<Paths>>,
    services: HashMap<Key, Arc<Service>>,
}

/// A Service and the pods that answer for it.
pub struct Service {
    /// Its namespace and name.
    pub key: Key,
    /// The App that owns it; empty without one.
    pub app: Arc<str>,
    /// Its own ports.
    pub ports: Box<[u16]>,
    /// Namespaces beside its own whose pods may call it; `*` for all.
    pub callers: Box<[Box<str>]>,
    here: Vec<Target>,
    elsewhere: Vec<Target>,
    leaving: Vec<Arc<Local>>,
    /// Where a new revision is tried with a share of the requests.
    split: Option<Box<Split>>,
    /// A hash of which pods were ready when the table was made.
    shown: u64,
}

/// Who gets a share of the requests, and who gets the rest.
struct Split {
    /// In per cent.
    share: u32,
    tried: Side,
    others: Side,
}

/// Pods of this node and of others.
#[derive(Default)]
struct Side {
    here: Vec<Target>,
    elsewhere: Vec<Target>,
}

impl Split {
    fn new(canary: &Canary, here: &[Target], elsewhere: &[Target]) -> Split {
        let is_tried = |target: &&Target| canary.pods.contains(target.uid());
        let side = |tried: bool| {
            let of = |targets: &[Target]| targets.iter().filter(|target| is_tried(target) == tried).cloned().collect();
            Side { here: of(here), elsewhere: of(elsewhere) }
        };
        Split { share: canary.share, tried: side(true), others: side(false) }
    }

    /// By the draws' upper bits: their lower ones choose among the pods.
    fn pick(&self, draws: balance::Draws) -> Option<&Target> {
        let side = if (draws.0 >> 16) % 100 < self.share { &self.tried } else { &self.others };
        balance::pick(&side.here, &side.elsewhere, Target::load, draws)
    }
}

/// One pod that may be asked.
#[derive(Clone)]
pub enum Target {
    /// A pod of this node.
    Local(Arc<Local>),
    /// A pod of another node.
    Remote(Arc<Remote>),
}

/// What to do with a request for a Service.
pub enum Pick {
    /// This pod answers it.
    Target(Target),
    /// Every pod that is ready is at its limit.
    Busy,
    /// All pods are on nodes that cannot be reached; one of them.
    Away(Arc<Remote>),
    /// No pod is ready.
    Nobody,
}

impl Service {
    fn without_pods(key: &Key) -> Service {
        let (ports, callers, here, elsewhere, leaving) = Default::default();
        Service { key: key.clone(), app: "".into(), ports, callers, here, elsewhere, leaving, split: None, shown: NOBODY }
    }

    /// Who answers the next request, given two draws.
    pub fn pick(&self, draws: balance::Draws) -> Pick {
        if let Some(target) = self.split.as_ref().and_then(|split| split.pick(draws)) {
            return Pick::Target(target.clone());
        }
        if let Some(target) = balance::pick(&self.here, &self.elsewhere, Target::load, draws) {
            return Pick::Target(target.clone());
        }
        if self.here.iter().any(Target::is_ready) {
            return Pick::Busy;
        }
        // The word that a pod goes may arrive before the word that another has come: until then the leaving one still answers.
        match (self.leaving.iter().find(|local| local.load().is_some()), self.elsewhere.first()) {
            (Some(local), _) => Pick::Target(Target::Local(local.clone())),
            (None, Some(Target::Remote(remote))) => self.out(remote, draws),
            (None, _) => Pick::Nobody,
        }
    }

    /// Nobody elsewhere is to be asked: better one that failed lately than nobody at all, but no node that cannot be reached.
    fn out(&self, first: &Arc<Remote>, draws: balance::Draws) -> Pick {
        let busy = |target: &Target| target.remote().filter(|remote| !remote.link.is_away()).map(|remote| remote.in_flight());
        let reachable = balance::pick(&self.elsewhere, &[], busy, draws);
        reachable.map_or_else(|| Pick::Away(first.clone()), |target| Pick::Target(target.clone()))
    }

    /// Who is asked after `failed` could not be, given two draws.
    pub fn pick_other(&self, failed: &Arc<Remote>, draws: balance::Draws) -> Option<Target> {
        let load = |target: &Target| match target {
            Target::Remote(remote) if Arc::ptr_eq(&remote.link, &failed.link) => None,
            target => target.load(),
        };
        balance::pick(&self.here, &self.elsewhere, load, draws).cloned()
    }

    /// The pod of this node that answers what another node has forwarded for `wanted`: that one if it can.
    pub fn pick_here(&self, wanted: &str, draws: balance::Draws) -> Option<Arc<Local>> {
        let able = |local: &&Arc<Local>| local.identity.uid == wanted && local.load().is_some();
        let listed = self.locals().find(able).or_else(|| self.leaving.iter().find(able)).cloned();
        let other = || balance::pick(&self.here, &[], Target::load, draws).and_then(Target::local).cloned();
        listed.or_else(other).or_else(|| self.leaving.iter().find(|local| local.load().is_some()).cloned())
    }

    /// Whether pods of a namespace may call it, if they are granted to.
    pub fn lets_in(&self, namespace: &str) -> bool {
        self.key.namespace() == namespace || self.callers.iter().any(|caller| matches!(&**caller, "*") || **caller == *namespace)
    }

    /// Whether a pod of this node is ready, busy or not.
    pub fn is_here(&self) -> bool {
        self.here.iter().any(Target::is_ready)
    }

    /// Whether other pods are ready than `before`, when its table was made.
    pub fn differs(&self, before: Option<&Arc<Service>>) -> bool {
        before.map_or(NOBODY, |before| before.shown) != self.shown
    }

    /// The pods of this node that it lists.
    pub fn locals(&self) -> impl Iterator<Item = &Arc<Local>> {
        self.here.iter().filter_map(Target::local)
    }

    /// Its names where none of its pods was asked.
    pub fn identity(&self) -> Identity {
        let (namespace, name) = (self.key.namespace().to_owned(), self.key.name());
        let service = name.strip_prefix(&*self.app).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name);
        Identity { namespace, app: self.app.to_string(), service: service.to_owned(), ..Identity::default() }
    }

    /// How many pods are ready to answer now.
    pub fn ready(&self) -> usize {
        self.here.iter().filter(|target| target.is_ready()).count() + self.elsewhere.len()
    }
}

impl Target {
    fn uid(&self) -> &str {
        match self {
            Target::Local(local) => &local.identity.uid,
            Target::Remote(remote) => &remote.uid,
        }
    }

    fn local(&self) -> Option<&Arc<Local>> {
        match self {
            Target::Local(local) => Some(local),
            Target::Remote(_) => None,
        }
    }

    fn remote(&self) -> Option<&Arc<Remote>> {
        match self {
            Target::Local(_) => None,
            Target::Remote(remote) => Some(remote),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Target::Local(local) => local.is_ready(),
            Target::Remote(_) => true,
        }
    }

    fn load(&self) -> Option<u32> {
        match self {
            Target::Local(local) => local.is_ready().then(|| local.load()).flatten(),
            Target::Remote(remote) => remote.load(),
        }
    }
}

impl Table {
    /// The table after these changes of the book, on a node of this cluster. `exposed` are the Apps with ports of their own.
    pub fn after(&self, changes: &Changes, book: &Book, cluster: &Cluster<'_>, exposed: &HashSet<Key>) -> Table {
        let mut table = self.clone();
        for key in &changes.services {
            let before = self.services.get(key);
            match book.backend(key) {
                Some(backend) => table.services.insert(key.clone(), Arc::new(service(key, backend, cluster, before))),
                None => table.services.remove(key),
            };
        }
        for host in &changes.hosts {
            table.route_host(host, Paths::new(book.routes(host)));
        }
        let fresh = exposed.iter().filter(|app| !self.apps.contains_key(*app));
        for app in changes.apps.iter().filter(|app| exposed.contains(*app)).chain(fresh) {
            match Paths::new(book.routes_of_app(app)) {
                Some(paths) => table.apps.insert(app.clone(), Arc::new(paths)),
                None => table.apps.remove(app),
            };
        }
        table
    }

    fn route_host(&mut self, host: &Arc<str>, paths: Option<Paths>) {
        let is_there = paths.is_some();
        let was_there = match paths {
            Some(paths) => self.hosts.insert(host.clone(), Arc::new(paths)).is_some(),
            None => self.hosts.remove(host).is_some(),
        };
        if host.starts_with("*.") {
            self.wildcards = self.wildcards + usize::from(is_there) - usize::from(was_there);
        }
    }

    /// The Service for a host as [`scheduler::routes::normal_host`] makes it and a path without its query.
    pub fn find(&self, host: &str, path: &str) -> Option<Arc<Service>> {
        let found = self.on(host, path).or_else(|| self.on_wildcard(host, path)).or_else(|| self.on("", path));
        found.map(|key| self.named(key))
    }

    fn on(&self, host: &str, path: &str) -> Option<&Key> {
        self.hosts.get(host)?.find(path)
    }

    fn on_wildcard(&self, host: &str, path: &str) -> Option<&Key> {
        let (_, parent) = host.split_once('.').filter(|_| self.wildcards > 0)?;
        self.on(&format!("*.{parent}"), path)
    }

    /// The Service for a path on an App's own port.
    pub fn find_of_app(&self, app: &Key, path: &str) -> Option<Arc<Service>> {
        self.apps.get(app)?.find(path).map(|key| self.named(key))
    }

    /// A route may lead to a Service that does not exist: then nobody answers, which is not the same as no route.
    pub fn named(&self, key: &Key) -> Arc<Service> {
        self.services.get(key).cloned().unwrap_or_else(|| Arc::new(Service::without_pods(key)))
    }

    /// A Service by its name.
    pub fn service(&self, key: &Key) -> Option<&Arc<Service>> {
        self.services.get(key)
    }
}

/// Where pods may be.
pub struct Cluster<'c> {
    /// The name of this node.
    pub node: &'c str,
    /// Its pods.
    pub locals: &'c Locals,
    /// The other nodes.
    pub peers: &'c Arc<Peers>,
}

fn service(key: &Key, backend: Backend, cluster: &Cluster<'_>, before: Option<&Arc<Service>>) -> Service {
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for endpoint in backend.endpoints {
        match cluster.locals.get(&endpoint.pod) {
            Some(local) => here.push(Target::Local(local)),
            // Said to be here, but not (yet) known: nobody could answer.
            None if *endpoint.node == *cluster.node => {}
            None => elsewhere.push(Target::Remote(cluster.peers.remote(&endpoint))),
        }
    }
    here.shrink_to_fit();
    let leaving = before.map(|before| leaving(before, &here)).unwrap_or_default();
    let shown = shown(&here, &elsewhere);
    let split = backend.canary.map(|canary| Box::new(Split::new(&canary, &here, &elsewhere)));
    let Front { app, ports, callers, .. } = backend.front;
    Service { key: key.clone(), app, ports, callers, here, elsewhere, leaving, split, shown }
}

/// [`Service::shown`] where no pod is ready.
const NOBODY: u64 = 0;

fn shown(here: &[Target], elsewhere: &[Target]) -> u64 {
    let mut ready = here.iter().filter(|target| target.is_ready()).chain(elsewhere).peekable();
    if ready.peek().is_none() {
        return NOBODY;
    }
    let mut hasher = DefaultHasher::new();
    ready.for_each(|target| target.uid().hash(&mut hasher));
    hasher.finish()
}

/// Pods that answered for the Service before, live on and are no longer listed.
fn leaving(before: &Service, here: &[Target]) -> Vec<Arc<Local>> {
    let listed = |local: &Arc<Local>| here.iter().any(|target| matches!(target, Target::Local(l) if Arc::ptr_eq(l, local)));
    before.locals().chain(&before.leaving).filter(|local| local.is_alive() && !listed(local)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_gets_its_share_of_the_requests_and_all_when_nobody_else_can() {
        let locals = Locals::default();
        // What sleeps can be asked, and needs no component here.
        let target = |uid: &str| {
            let local = locals.enter(&Arc::new(Identity { uid: uid.into(), ..Identity::default() }));
            local.set_ready(true);
            local.fall_asleep(1);
            Target::Local(local)
        };
        let here: Vec<Target> = ["new", "old-1", "old-2", "old-3"].map(target).into();
        let canary = Canary { share: 10, pods: ["new".into()].into() };
        let split = Some(Box::new(Split::new(&canary, &here, &[])));
        let service = Service { here, split, ..Service::without_pods(&Key::new("default", "web")) };
        let asked = |service: &Service| {
            let mut seed = 7u64;
            let mut draw = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 32) as u32
            };
            let mut draws = (0..10_000).map(|_| (draw(), draw()));
            draws.by_ref().filter(|draws| matches!(service.pick(*draws), Pick::Target(target) if target.uid() == "new")).count()
        };
        let tried = asked(&service);
        assert!((800..1200).contains(&tried), "{tried} of 10000 requests, which should be a tenth");
        for old in ["old-1", "old-2", "old-3"] {
            locals.get(old).expect("it is there").awake();
        }
        assert_eq!(asked(&service), 10_000, "the others have no instance");
    }
}
