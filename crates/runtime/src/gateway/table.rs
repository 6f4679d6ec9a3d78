//! The scheduler's routes with this node's pods behind them, made for quick look-ups.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use imbl::HashMap;
use scheduler::balance;
use scheduler::routes::{Backend, Book, Changes, Endpoint, Key};

use super::local::{Identity, Local, Locals};
use super::paths::Paths;

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
    here: Vec<Target>,
    elsewhere: Vec<Target>,
    leaving: Vec<Arc<Local>>,
    /// A hash of which pods were ready when the table was made.
    shown: u64,
}

/// One pod that may be asked.
#[derive(Clone)]
pub enum Target {
    /// A pod of this node.
    Local(Arc<Local>),
    /// A pod of another node.
    Remote(Endpoint),
}

/// What to do with a request for a Service.
pub enum Pick {
    /// This pod answers it.
    Target(Target),
    /// Every pod that is ready is at its limit.
    Busy,
    /// No pod is ready.
    Nobody,
}

impl Service {
    fn without_pods(key: &Key) -> Service {
        let (here, elsewhere, leaving) = Default::default();
        Service { key: key.clone(), app: "".into(), here, elsewhere, leaving, shown: NOBODY }
    }

    /// Who answers the next request, given two draws.
    pub fn pick(&self, draws: balance::Draws) -> Pick {
        if let Some(target) = balance::pick(&self.here, &self.elsewhere, Target::load, draws) {
            return Pick::Target(target.clone());
        }
        if self.here.iter().any(Target::is_ready) {
            return Pick::Busy;
        }
        // The word that a pod goes may arrive before the word that another has come: until then the leaving one still answers.
        match self.leaving.iter().find(|local| local.load().is_some()) {
            Some(local) => Pick::Target(Target::Local(local.clone())),
            None => Pick::Nobody,
        }
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
            Target::Remote(endpoint) => &endpoint.pod,
        }
    }

    fn local(&self) -> Option<&Arc<Local>> {
        match self {
            Target::Local(local) => Some(local),
            Target::Remote(_) => None,
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
            // Requests to other nodes are not forwarded yet, so none of their pods has room.
            Target::Remote(_) => None,
        }
    }
}

impl Table {
    /// The table after these changes of the book, on the node `node`. `exposed` are the Apps with ports of their own.
    pub fn after(&self, changes: &Changes, book: &Book, node: &str, locals: &Locals, exposed: &HashSet<Key>) -> Table {
        let mut table = self.clone();
        for key in &changes.services {
            let before = self.services.get(key);
            match book.backend(key) {
                Some(backend) => table.services.insert(key.clone(), Arc::new(service(key, backend, node, locals, before))),
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
    fn named(&self, key: &Key) -> Arc<Service> {
        self.services.get(key).cloned().unwrap_or_else(|| Arc::new(Service::without_pods(key)))
    }

    /// A Service by its name.
    pub fn service(&self, key: &Key) -> Option<&Arc<Service>> {
        self.services.get(key)
    }
}

fn service(key: &Key, backend: Backend, node: &str, locals: &Locals, before: Option<&Arc<Service>>) -> Service {
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for endpoint in backend.endpoints {
        match locals.get(&endpoint.pod) {
            Some(local) => here.push(Target::Local(local)),
            // Said to be here, but not (yet) known: nobody could answer.
            None if *endpoint.node == *node => {}
            None => elsewhere.push(Target::Remote(endpoint)),
        }
    }
    here.shrink_to_fit();
    let leaving = before.map(|before| leaving(before, &here)).unwrap_or_default();
    let shown = shown(&here, &elsewhere);
    Service { key: key.clone(), app: backend.app, here, elsewhere, leaving, shown }
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
