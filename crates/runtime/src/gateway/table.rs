//! The scheduler's route table with this node's pods in it, built for quick look-ups.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use scheduler::balance;
use scheduler::routes::{self, Endpoint};

use super::local::{Identity, Local, Locals};

/// Where requests go; made whole, never changed in place.
#[derive(Default)]
pub struct Table {
    hosts: HashMap<String, Vec<Routed>>,
    wildcards: bool,
    apps: HashMap<String, Vec<Routed>>,
    services: HashMap<String, Arc<Service>>,
}

/// One path of a host, or of an App's own port.
#[derive(Clone)]
struct Routed {
    path: Arc<str>,
    exact: bool,
    service: Arc<Service>,
}

impl Routed {
    fn matches(&self, path: &str) -> bool {
        routes::matches(&self.path, self.exact, path)
    }
}

/// A Service and the pods that answer for it.
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The App that owns it; empty without one.
    pub app: String,
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

    /// Its names where none of its pods was asked.
    pub fn identity(&self) -> Identity {
        let service = self.name.strip_prefix(&*self.app).and_then(|rest| rest.strip_prefix('-')).unwrap_or(&self.name);
        Identity { namespace: self.namespace.clone(), app: self.app.clone(), service: service.to_owned(), ..Identity::default() }
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
    /// The table for what the scheduler says, on the node `node`. `apps` is from (namespace, Service) to its App; `before` is the table until now.
    pub fn build(
        scheduled: &routes::Table,
        apps: &BTreeMap<(String, String), String>,
        node: &str,
        locals: &Locals,
        before: &Table,
    ) -> Table {
        let mut table = Table::default();
        for (key, backend) in &scheduled.backends {
            let app = apps.get(key).cloned().unwrap_or_default();
            let name = key_of(&key.0, &key.1);
            let service = service(backend, app, node, locals, before.services.get(&name));
            table.services.insert(name, Arc::new(service));
        }
        for (host, routes) in &scheduled.hosts {
            table.wildcards |= host.starts_with("*.");
            let routes: Vec<_> = routes.iter().map(|route| table.routed(route)).collect();
            table.hosts.insert(host.clone(), routes);
        }
        table.apps = table.by_app();
        table
    }

    fn routed(&self, route: &routes::Route) -> Routed {
        let backend = &route.backend;
        let found = self.services.get(&key_of(&backend.namespace, &backend.name)).cloned();
        let empty = || Service {
            namespace: backend.namespace.clone(),
            name: backend.name.clone(),
            app: String::new(),
            here: Vec::new(),
            elsewhere: Vec::new(),
            leaving: Vec::new(),
            shown: NOBODY,
        };
        Routed { path: route.path.as_str().into(), exact: route.exact, service: found.unwrap_or_else(|| Arc::new(empty())) }
    }

    fn by_app(&self) -> HashMap<String, Vec<Routed>> {
        let mut apps: HashMap<String, Vec<Routed>> = HashMap::new();
        for routed in self.hosts.values().flatten().filter(|routed| !routed.service.app.is_empty()) {
            apps.entry(key_of(&routed.service.namespace, &routed.service.app)).or_default().push(routed.clone());
        }
        for routes in apps.values_mut() {
            routes.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then(a.path.cmp(&b.path)));
            routes.dedup_by(|a, b| a.path == b.path && a.exact == b.exact);
            routes.shrink_to_fit();
        }
        apps
    }

    /// The Service for a host as [`routes::normal_host`] makes it and a path without its query.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Service>> {
        let found = self.on(host, path).or_else(|| self.on_wildcard(host, path)).or_else(|| self.on("", path));
        found.map(|routed| &routed.service)
    }

    fn on(&self, host: &str, path: &str) -> Option<&Routed> {
        self.hosts.get(host)?.iter().find(|routed| routed.matches(path))
    }

    fn on_wildcard(&self, host: &str, path: &str) -> Option<&Routed> {
        let (_, parent) = host.split_once('.').filter(|_| self.wildcards)?;
        self.on(&format!("*.{parent}"), path)
    }

    /// The Service for a path on an App's own port.
    pub fn find_of_app(&self, namespace: &str, app: &str, path: &str) -> Option<&Arc<Service>> {
        let routes = self.apps.get(&key_of(namespace, app))?;
        routes.iter().find(|routed| routed.matches(path)).map(|routed| &routed.service)
    }

    /// A Service by its name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.services.get(&key_of(namespace, name))
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Whether a pod of this node is among the endpoints of any Service: a look at everything.
    pub fn lists(&self, pod: &str) -> bool {
        let is_it = |target: &Target| matches!(target, Target::Local(local) if local.identity.uid == pod);
        self.services.values().any(|service| service.here.iter().any(is_it))
    }
}

fn key_of(namespace: &str, name: &str) -> String {
    [namespace, name].join("/")
}

fn service(backend: &routes::Backend, app: String, node: &str, locals: &Locals, before: Option<&Arc<Service>>) -> Service {
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for endpoint in &backend.endpoints {
        match locals.get(&endpoint.pod) {
            Some(local) => here.push(Target::Local(local)),
            // Said to be here, but not (yet) known: nobody could answer.
            None if endpoint.node == node => {}
            None => elsewhere.push(Target::Remote(endpoint.clone())),
        }
    }
    here.shrink_to_fit();
    let leaving = before.map(|before| leaving(before, &here)).unwrap_or_default();
    let shown = shown(&here, &elsewhere);
    Service { namespace: backend.namespace.clone(), name: backend.name.clone(), app, here, elsewhere, leaving, shown }
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
    let of_before = before.here.iter().filter_map(|target| match target {
        Target::Local(local) => Some(local),
        Target::Remote(_) => None,
    });
    of_before.chain(&before.leaving).filter(|local| local.is_alive() && !listed(local)).cloned().collect()
}

/// A host as routes have it: without port or final dot, lower case.
pub fn normal_host(host: &str) -> Cow<'_, str> {
    routes::normal_host(host)
}
