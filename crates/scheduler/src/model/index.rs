//! What answers "whose?", "where?" and "which match?" without a look at everything.

use super::parts::*;
use super::{Resources, Snapshot};
use imbl::{OrdMap, OrdSet};
use std::collections::BTreeMap;

/// Derived from the objects; changed with them, never by hand. One to many is a set of pairs: a set within a map takes a
/// kilobyte for each key, and most have one or two values.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// From UID to object.
    uids: OrdMap<Name, ObjectId>,
    /// From the UID of an owner to what it owns.
    children: OrdSet<(Name, ObjectId)>,
    /// From node to its pods, ended ones too.
    pods_on: OrdMap<Name, OrdSet<Key>>,
    /// From node to what its pods take.
    used: OrdMap<Name, Resources>,
    /// The pods that listen on a port of a node.
    ports: OrdMap<(Name, u16), OrdSet<Key>>,
    /// Pods that wait for a node.
    unplaced: OrdSet<Key>,
    /// Pods by namespace and all their labels: one group for each revision.
    groups: OrdSet<(Group, Name)>,
    /// Groups by namespace and one label of theirs.
    by_label: OrdSet<((Name, Label), Labels)>,
    /// Services by namespace and the first label of their selector.
    selectors: OrdSet<((Name, Label), Name)>,
    /// Services that are reached at the nodes' addresses, or still say so.
    balanced: OrdSet<Key>,
    /// Deployments with their autoscalers; of several the first by name counts.
    scalers: OrdSet<(Key, Key)>,
}

type Group = (Name, Labels);
type Label = (String, String);

fn label((name, value): (&String, &String)) -> Label {
    (name.clone(), value.clone())
}

/// The pairs of `key`; `least` is a value that comes before all others.
fn of<K: Ord + Clone, V: Ord + Clone>(set: &OrdSet<(K, V)>, key: K, least: V) -> impl Iterator<Item = &(K, V)> {
    let first = (key.clone(), least);
    set.range(first..).take_while(move |(found, _)| *found == key)
}

fn no_name() -> Name {
    Name::from("")
}

fn insert<K: Ord + Clone, V: Ord + Clone>(map: &mut OrdMap<K, OrdSet<V>>, key: K, value: V) {
    map.entry(key).or_default().insert(value);
}

fn remove<K: Ord + Clone, V: Ord + Clone>(map: &mut OrdMap<K, OrdSet<V>>, key: &K, value: &V) {
    let emptied = map.get_mut(key).is_some_and(|set| {
        set.remove(value);
        set.is_empty()
    });
    if emptied {
        map.remove(key);
    }
}

/// Whether labels have everything that a selector names; an empty selector matches nothing.
pub(super) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

impl Index {
    pub(super) fn add_object(&mut self, id: &ObjectId, meta: &Meta) {
        self.uids.insert(meta.uid.clone(), id.clone());
        if let Some(owner) = &meta.owner {
            self.children.insert((owner.uid.clone(), id.clone()));
        }
    }

    pub(super) fn remove_object(&mut self, id: &ObjectId, meta: &Meta) {
        if self.uids.get(&meta.uid) == Some(id) {
            self.uids.remove(&meta.uid);
        }
        if let Some(owner) = &meta.owner {
            self.children.remove(&(owner.uid.clone(), id.clone()));
        }
    }

    pub(super) fn add_pod(&mut self, pod: &mut Pod) {
        let key = pod.meta.key.clone();
        match &pod.node {
            Some(node) => {
                insert(&mut self.pods_on, node.clone(), key.clone());
                if !pod.ended {
                    *self.used.entry(node.clone()).or_default() += pod.need.resources;
                    for port in &pod.need.ports {
                        insert(&mut self.ports, (node.clone(), *port), key.clone());
                    }
                }
            }
            None if !pod.ended => {
                self.unplaced.insert(key.clone());
            }
            None => {}
        }
        self.add_to_group(pod);
    }

    /// The pods of a group share one copy of their labels.
    fn add_to_group(&mut self, pod: &mut Pod) {
        let Key { namespace, name } = pod.meta.key.clone();
        let group = (namespace.clone(), pod.meta.labels.clone());
        let known = of(&self.groups, group.clone(), no_name()).next().map(|(group, _)| group.clone());
        if let Some(group) = known {
            pod.meta.labels = group.1.clone();
            self.groups.insert((group, name));
            return;
        }
        for pair in pod.meta.labels.iter() {
            self.by_label.insert(((namespace.clone(), label(pair)), pod.meta.labels.clone()));
        }
        self.groups.insert((group, name));
    }

    pub(super) fn remove_pod(&mut self, pod: &Pod) {
        let Key { namespace, name } = &pod.meta.key;
        self.unplaced.remove(&pod.meta.key);
        if let Some(node) = &pod.node {
            remove(&mut self.pods_on, node, &pod.meta.key);
            for port in &pod.need.ports {
                remove(&mut self.ports, &(node.clone(), *port), &pod.meta.key);
            }
            match self.used.get_mut(node) {
                Some(used) if !pod.ended => *used -= pod.need.resources,
                _ => {}
            }
        }
        let group = (namespace.clone(), pod.meta.labels.clone());
        self.groups.remove(&(group.clone(), name.clone()));
        if of(&self.groups, group, no_name()).next().is_none() {
            for pair in pod.meta.labels.iter() {
                self.by_label.remove(&((namespace.clone(), label(pair)), pod.meta.labels.clone()));
            }
        }
    }

    pub(super) fn add_scaler(&mut self, scaler: &Scaler) {
        self.scalers.insert((scaler.target.clone(), scaler.meta.key.clone()));
    }

    pub(super) fn remove_scaler(&mut self, scaler: &Scaler) {
        self.scalers.remove(&(scaler.target.clone(), scaler.meta.key.clone()));
    }

    pub(super) fn add_service(&mut self, service: &Service) {
        if service.balanced || !service.shown.is_empty() {
            self.balanced.insert(service.meta.key.clone());
        }
        if let Some(pair) = service.selector.iter().next() {
            let Key { namespace, name } = service.meta.key.clone();
            self.selectors.insert(((namespace, label(pair)), name));
        }
    }

    pub(super) fn remove_service(&mut self, service: &Service) {
        self.balanced.remove(&service.meta.key);
        if let Some(pair) = service.selector.iter().next() {
            let Key { namespace, name } = &service.meta.key;
            self.selectors.remove(&((namespace.clone(), label(pair)), name.clone()));
        }
    }
}

impl Snapshot {
    /// The object with this UID.
    pub fn by_uid(&self, uid: &str) -> Option<&ObjectId> {
        self.index.uids.get(uid)
    }

    /// What an owner owns, in order of kind and name.
    pub fn children(&self, uid: &str) -> impl Iterator<Item = &ObjectId> {
        let least = ObjectId { kind: "", key: Key { namespace: no_name(), name: no_name() } };
        of(&self.index.children, uid.into(), least).map(|(_, id)| id)
    }

    /// The ReplicaSets that an owner owns.
    pub fn sets_of(&self, uid: &str) -> impl Iterator<Item = &ReplicaSet> {
        self.children(uid).filter(|id| id.kind == "ReplicaSet").filter_map(|id| self.sets.get(&id.key).map(|set| &**set))
    }

    /// The pods that an owner owns.
    pub fn pods_of(&self, uid: &str) -> impl Iterator<Item = &Pod> {
        self.children(uid).filter(|id| id.kind == "Pod").filter_map(|id| self.pods.get(&id.key).map(|pod| &**pod))
    }

    /// The autoscaler that owns the `replicas` of a Deployment.
    pub fn scaler_of(&self, deployment: &Key) -> Option<Key> {
        let least = Key { namespace: no_name(), name: no_name() };
        of(&self.index.scalers, deployment.clone(), least).next().map(|(_, scaler)| scaler.clone())
    }

    /// The Services that are reached at the nodes' addresses, or still say so.
    pub fn balanced(&self) -> impl Iterator<Item = &Service> {
        self.index.balanced.iter().filter_map(|key| self.services.get(key).map(|service| &**service))
    }

    /// What a pod's node last told of it.
    pub fn load_of(&self, pod: &Pod) -> Load {
        let loads = pod.node.as_ref().and_then(|node| self.loads.get(node));
        loads.and_then(|loads| loads.get(&pod.meta.uid)).copied().unwrap_or_default()
    }

    /// The pods bound to a node, ended ones too.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Pod> {
        self.index.pods_on.get(node).into_iter().flatten().filter_map(|key| self.pods.get(key).map(|pod| &**pod))
    }

    /// The nodes that pods are bound to, whether they exist or not.
    pub fn nodes_with_pods(&self) -> impl Iterator<Item = &Name> {
        self.index.pods_on.keys()
    }

    /// What the pods on a node take together.
    pub fn used(&self, node: &str) -> Resources {
        self.index.used.get(node).copied().unwrap_or_default()
    }

    /// The ports of a node that pods listen on, each with one of them.
    pub fn ports_on(&self, node: &Name) -> impl Iterator<Item = (u16, &Key)> {
        let range = self.index.ports.range((node.clone(), 0)..=(node.clone(), u16::MAX));
        range.filter_map(|((_, port), pods)| Some((*port, pods.iter().next()?)))
    }

    /// The pods that wait for a node, those being deleted too.
    pub fn unplaced(&self) -> impl Iterator<Item = &Pod> {
        self.index.unplaced.iter().filter_map(|key| self.pods.get(key).map(|pod| &**pod))
    }

    /// The Services whose selector matches a pod's labels.
    pub fn services_of(&self, namespace: &Name, labels: &Labels) -> Vec<Key> {
        let candidates = labels.iter().flat_map(|pair| of(&self.index.selectors, (namespace.clone(), label(pair)), no_name()));
        let keys = candidates.map(|(_, name)| Key { namespace: namespace.clone(), name: name.clone() });
        keys.filter(|key| self.services.get(key).is_some_and(|service| selects(&service.selector, labels))).collect()
    }

    /// The pods that a Service's selector matches.
    pub fn pods_of_service(&self, service: &Service) -> impl Iterator<Item = &Pod> {
        let namespace = service.meta.key.namespace.clone();
        let first = service.selector.iter().next().map(|pair| (namespace.clone(), label(pair)));
        let groups = first.into_iter().flat_map(|key| of(&self.index.by_label, key, Labels::default()));
        groups.filter(|(_, labels)| selects(&service.selector, labels)).flat_map(move |(_, labels)| {
            let names = of(&self.index.groups, (namespace.clone(), labels.clone()), no_name());
            let key = |name: &Name| Key { namespace: namespace.clone(), name: name.clone() };
            let found: Vec<&Pod> = names.filter_map(|(_, name)| self.pods.get(&key(name)).map(|pod| &**pod)).collect();
            found
        })
    }
}
