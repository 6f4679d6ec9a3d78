//! What a deploy would change, in sentences; what a guest may reach comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::file::{Limits, Settings};
use super::problem::shown;
use super::rollout::OnFailure;
use super::spec::{AppSpec, ServiceSpec};

/// What a change is about, in the order in which changes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A service may do what it could not.
    Granted,
    /// A service may no longer do what it could.
    Withdrawn,
    /// A service is new.
    Added,
    /// A service is gone.
    Removed,
    /// Another component.
    Image,
    /// More or fewer pods.
    Replicas,
    /// The environment or the arguments.
    Environment,
    /// Where it is reached.
    Routes,
    /// Limits and sandboxes.
    Limits,
    /// Probe, placement, restarts, rollout.
    Other,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What it is about.
    pub sort: Sort,
    /// The service; empty for the app as a whole.
    pub service: String,
    /// One sentence: `checkout will newly reach https://api.pay.example:443`.
    pub sentence: String,
}

/// Everything that changes, what a guest may reach first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the order in which they are shown.
    pub changes: Vec<Change>,
}

impl Diff {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl fmt::Display for Diff {
    /// One sentence on each line, or `no change`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no change");
        }
        for (i, change) in self.changes.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "\n" }, change.sentence)?;
        }
        Ok(())
    }
}

/// What the change from one spec to the next would do; without an old one everything is new.
pub fn diff(old: Option<&AppSpec>, new: &AppSpec) -> Diff {
    let mut changes = Changes::default();
    let none = BTreeMap::new();
    let before = old.map_or(&none, |old| &old.services);
    for (name, service) in &new.services {
        changes.service = name.clone();
        match before.get(name) {
            Some(old_service) => changes.between(old_service, service),
            None => changes.added(service),
        }
    }
    for (name, service) in before.iter().filter(|(name, _)| !new.services.contains_key(*name)) {
        changes.service = name.clone();
        changes.removed(service);
    }
    if let Some(old) = old {
        changes.service = String::new();
        changes.whole(old, new);
    }
    // By what they are about; within that in the order in which they were found, that is by service.
    changes.all.sort_by_key(|change| change.sort);
    Diff { changes: changes.all }
}

#[derive(Default)]
struct Changes {
    service: String,
    all: Vec<Change>,
}

/// One sort of grant: what it names, and the words for having it.
type Grant = (fn(&Settings) -> &BTreeSet<String>, &'static str, &'static str);

const GRANTS: [Grant; 6] = [
    (|s| &s.uses.connect, "reach", ""),
    (|s| &s.uses.listen, "listen on", "port "),
    (|s| &s.uses.call, "call", ""),
    (|s| &s.uses.secrets, "get", "the secret "),
    (|s| &s.uses.keyvalue, "read and write", "the bucket "),
    (|s| &s.uses.blobs, "read and write", "the container "),
];

impl Changes {
    fn say(&mut self, sort: Sort, what: impl fmt::Display) {
        let sentence = if self.service.is_empty() { what.to_string() } else { format!("{} {what}", self.service) };
        self.all.push(Change { sort, service: self.service.clone(), sentence });
    }

    fn changed<T: PartialEq + fmt::Display>(&mut self, sort: Sort, what: &str, old: T, new: T) {
        if old != new {
            self.say(sort, format!("changes {what} from {old} to {new}"));
        }
    }

    fn grants(&mut self, old: Option<&Settings>, new: Option<&Settings>) {
        let none = BTreeSet::new();
        for (of, verb, noun) in GRANTS {
            let (old, new) = (old.map_or(&none, of), new.map_or(&none, of));
            for granted in new.difference(old) {
                self.say(Sort::Granted, format!("will newly {verb} {noun}{granted}"));
            }
            for withdrawn in old.difference(new) {
                self.say(Sort::Withdrawn, format!("will no longer {verb} {noun}{withdrawn}"));
            }
        }
        self.volumes(old, new);
    }

    fn volumes(&mut self, old: Option<&Settings>, new: Option<&Settings>) {
        let none = BTreeMap::new();
        let (old, new) = (old.map_or(&none, |s| &s.uses.volumes), new.map_or(&none, |s| &s.uses.volumes));
        for (path, volume) in new {
            match old.get(path) {
                None => self.say(Sort::Granted, format!("will newly keep up to {} of files in {path}", volume.size)),
                Some(before) => self.changed(Sort::Limits, &format!("the size of its volume {path}"), before.size, volume.size),
            }
        }
        for path in old.keys().filter(|path| !new.contains_key(*path)) {
            self.say(Sort::Withdrawn, format!("will no longer keep files in {path}"));
        }
    }

    fn added(&mut self, service: &ServiceSpec) {
        self.grants(None, Some(&service.settings));
        let replicas = service.settings.replicas;
        let pods = if replicas == 1 { "pod" } else { "pods" };
        self.say(Sort::Added, format!("is new, with {replicas} {pods} of {}", image(service)));
        self.routes(None, Some(&service.settings));
    }

    fn removed(&mut self, service: &ServiceSpec) {
        self.grants(Some(&service.settings), None);
        self.say(Sort::Removed, "goes away, with all its pods");
        self.routes(Some(&service.settings), None);
    }

    fn routes(&mut self, old: Option<&Settings>, new: Option<&Settings>) {
        let none = BTreeSet::new();
        let (old, new) = (old.map_or(&none, |s| &s.route), new.map_or(&none, |s| &s.route));
        for route in new.difference(old) {
            self.say(Sort::Routes, format!("will be reached at {route}"));
        }
        for route in old.difference(new) {
            self.say(Sort::Routes, format!("will no longer be reached at {route}"));
        }
    }

    fn between(&mut self, old: &ServiceSpec, new: &ServiceSpec) {
        let (a, b) = (&old.settings, &new.settings);
        self.grants(Some(a), Some(b));
        if old.image != new.image {
            self.say(Sort::Image, format!("changes its image from {} to {}", image(old), image(new)));
        }
        self.changed(Sort::Replicas, "its pods", a.replicas, b.replicas);
        self.variables(&a.env, &b.env);
        self.changed(Sort::Environment, "its arguments", arguments(&a.args), arguments(&b.args));
        self.routes(Some(a), Some(b));
        self.limits(a, b);
        self.changed(Sort::Other, "its probe", probe(a), probe(b));
        self.changed(Sort::Other, "what its pods are spread over", or_usual(&a.place.spread, "node"), or_usual(&b.place.spread, "node"));
        self.changed(Sort::Other, "the labels that its nodes need", labels(a), labels(b));
        self.changed(Sort::Other, "its back-off", or_usual(&a.restart.backoff, "100ms..30s"), or_usual(&b.restart.backoff, "100ms..30s"));
        self.changed(Sort::Other, "its back-off's reset", or_usual(&a.restart.reset, "60s"), or_usual(&b.restart.reset, "60s"));
    }

    fn variables(&mut self, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        for (name, value) in new {
            match old.get(name) {
                None => self.say(Sort::Environment, format!("sets {name} to \"{}\"", shown(value))),
                Some(before) if before != value => {
                    self.say(Sort::Environment, format!("changes {name} from \"{}\" to \"{}\"", shown(before), shown(value)));
                }
                Some(_) => {}
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.say(Sort::Environment, format!("no longer sets {name}"));
        }
    }

    fn limits(&mut self, old: &Settings, new: &Settings) {
        let memory = |limits: &Limits| limits.memory.map_or_else(|| format!("{} shared", Limits::MEMORY), |memory| memory.to_string());
        let cpu = |limits: &Limits| limits.cpu.map_or_else(|| "shared".to_owned(), |cpu| cpu.to_string());
        let (a, b) = (&old.limits, &new.limits);
        self.changed(Sort::Limits, "its memory", memory(a), memory(b));
        self.changed(Sort::Limits, "its CPU", cpu(a), cpu(b));
        self.changed(Sort::Limits, "its request time", a.time, b.time);
        self.changed(Sort::Limits, "its concurrency", a.concurrency, b.concurrency);
        self.changed(Sort::Limits, "the requests of a sandbox", old.sandbox.reuse, new.sandbox.reuse);
    }

    /// What is about the app and not one service.
    fn whole(&mut self, old: &AppSpec, new: &AppSpec) {
        self.service = "every service".into();
        self.variables(&old.env, &new.env);
        self.service = "the rollout".into();
        let (a, b) = (&old.rollout, &new.rollout);
        self.changed(Sort::Other, "its surge", a.surge, b.surge);
        self.changed(Sort::Other, "the pods that may be missing", a.unavailable, b.unavailable);
        self.changed(Sort::Other, "its deadline", a.deadline, b.deadline);
        self.changed(Sort::Other, "its bake time", a.bake, b.bake);
        self.changed(Sort::Other, "its canary", or_usual(&a.canary, "none"), or_usual(&b.canary, "none"));
        self.changed(Sort::Other, "what it does on failure", OnFailure::word(a.on_failure), OnFailure::word(b.on_failure));
    }
}

/// As typed with the start of the digest, so that one tag with two digests shows as two.
fn image(service: &ServiceSpec) -> String {
    let (name, digest) = service.image.split_once('@').unwrap_or((&service.image, ""));
    let short: String = digest.chars().take("sha256:".len() + 12).collect();
    format!("{} ({short})", shown(service.typed.as_deref().unwrap_or(name)))
}

fn arguments(args: &[String]) -> String {
    if args.is_empty() { "none".into() } else { shown(&args.join(" ")) }
}

fn probe(settings: &Settings) -> String {
    let probe = settings.probe.as_ref();
    probe.map_or("none".into(), |p| format!("{} every {}, {} to answer, {} failures", p.path, p.every, p.timeout, p.fail))
}

fn labels(settings: &Settings) -> String {
    let labels: Vec<String> = settings.place.require.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() { "none".into() } else { labels.join(" ") }
}

fn or_usual<T: fmt::Display>(value: &Option<T>, usual: &str) -> String {
    value.as_ref().map_or_else(|| usual.to_owned(), T::to_string)
}
