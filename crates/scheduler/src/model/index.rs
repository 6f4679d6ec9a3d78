//! What answers "whose?", "where?" and "which match?" without a look at everything.

use super::parts::*;
use super::{Resources, Snapshot};
use imbl::{OrdMap, OrdSet};
use std::collections::BTreeMap;

/// Derived from the objects; changed with them, never by hand.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// From UID to object.
    uids: OrdMap<Name, ObjectId>,
    /// From the UID of an owner to what it owns.
    children: OrdMap<Name, OrdSet<ObjectId>>,
    /// From node to its pods, ended ones too.
    pods_on: OrdMap<Name, OrdSet<Key>>,
    /// From node to what its pods take.
    used: OrdMap<Name, Resources>,
    /// Pods that wait for a node.
    unplaced: OrdSet<Key>,
    /// Pods by namespace and all their labels: one group for each revision.
    groups: OrdMap<(Name, Labels), OrdSet<Name>>,
    /// Groups by namespace and one label of theirs.
    by_label: OrdMap<(Name, Label), OrdSet<Labels>>,
    /// Services by namespace and the first label of their selector.
    selectors: OrdMap<(Name, Label), OrdSet<Name>>,
}

type Label = (String, String);

fn label((name, value): (&String, &String)) -> Label {
    (name.clone(), value.clone())
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
            insert(&mut self.children, owner.uid.clone(), id.clone());
        }
    }

    pub(super) fn remove_object(&mut self, id: &ObjectId, meta: &Meta) {
        if self.uids.get(&meta.uid) == Some(id) {
            self.uids.remove(&meta.uid);
        }
        if let Some(owner) = &meta.owner {
            remove(&mut self.children, &owner.uid, id);
        }
    }

    pub(super) fn add_pod(&mut self, pod: &mut Pod) {
        let key = pod.meta.key.clone();
        match &pod.node {
            Some(node) => {
                insert(&mut self.pods_on, node.clone(), key.clone());
                if !pod.ended {
                    *self.used.entry(node.clone()).or_default() += pod.need.resources;
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
        if let Some(((_, shared), _)) = self.groups.get_key_value(&group) {
            pod.meta.labels = shared.clone();
        } else {
            for pair in pod.meta.labels.iter() {
                insert(&mut self.by_label, (namespace.clone(), label(pair)), pod.meta.labels.clone());
            }
        }
        insert(&mut self.groups, group, name);
    }

    pub(super) fn remove_pod(&mut self, pod: &Pod) {
        let Key { namespace, name } = &pod.meta.key;
        self.unplaced.remove(&pod.meta.key);
        if let Some(node) = &pod.node {
            remove(&mut self.pods_on, node, &pod.meta.key);
            match self.used.get_mut(node) {
                Some(used) if !pod.ended => *used -= pod.need.resources,
                _ => {}
            }
        }
        let group = (namespace.clone(), pod.meta.labels.clone());
        remove(&mut self.groups, &group, name);
        if !self.groups.contains_key(&group) {
            for pair in pod.meta.labels.iter() {
                remove(&mut self.by_label, &(namespace.clone(), label(pair)), &pod.meta.labels);
            }
        }
    }

    pub(super) fn add_service(&mut self, service: &Service) {
        if let Some(pair) = service.selector.iter().next() {
            let Key { namespace, name } = service.meta.key.clone();
            insert(&mut self.selectors, (namespace, label(pair)), name);
        }
    }

    pub(super) fn remove_service(&mut self, service: &Service) {
        if let Some(pair) = service.selector.iter().next() {
            let Key { namespace, name } = &service.meta.key;
            remove(&mut self.selectors, &(namespace.clone(), label(pair)), name);
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
        self.index.children.get(uid).into_iter().flatten()
    }

    /// The ReplicaSets that an owner owns.
    pub fn sets_of(&self, uid: &str) -> impl Iterator<Item = &ReplicaSet> {
        self.children(uid).filter(|id| id.kind == "ReplicaSet").filter_map(|id| self.sets.get(&id.key).map(|set| &**set))
    }

    /// The pods that an owner owns.
    pub fn pods_of(&self, uid: &str) -> impl Iterator<Item = &Pod> {
        self.children(uid).filter(|id| id.kind == "Pod").filter_map(|id| self.pods.get(&id.key).map(|pod| &**pod))
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

    /// The pods that wait for a node, those being deleted too.
    pub fn unplaced(&self) -> impl Iterator<Item = &Pod> {
        self.index.unplaced.iter().filter_map(|key| self.pods.get(key).map(|pod| &**pod))
    }

    /// The Services whose selector matches a pod's labels.
    pub fn services_of(&self, namespace: &Name, labels: &Labels) -> Vec<Key> {
        let candidates = labels.iter().filter_map(|pair| self.index.selectors.get(&(namespace.clone(), label(pair)))).flatten();
        let keys = candidates.map(|name| Key { namespace: namespace.clone(), name: name.clone() });
        keys.filter(|key| self.services.get(key).is_some_and(|service| selects(&service.selector, labels))).collect()
    }

    /// The pods that a Service's selector matches.
    pub fn pods_of_service(&self, service: &Service) -> impl Iterator<Item = &Pod> {
        let namespace = service.meta.key.namespace.clone();
        let first = service.selector.iter().next().and_then(|pair| self.index.by_label.get(&(namespace.clone(), label(pair))));
        let groups = first.into_iter().flatten().filter(|labels| selects(&service.selector, labels)).cloned().collect::<Vec<_>>();
        groups.into_iter().flat_map(move |labels| {
            let names = self.index.groups.get(&(namespace.clone(), labels));
            let namespace = namespace.clone();
            let keys = names.into_iter().flatten().map(move |name| Key { namespace: namespace.clone(), name: name.clone() });
            keys.filter_map(|key| self.pods.get(&key).map(|pod| &**pod))
        })
    }
}
