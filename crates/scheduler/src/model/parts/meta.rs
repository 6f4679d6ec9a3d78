//! What objects of every kind have, and how one is told from another.

use crate::kinds::Kind;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A short shared text.
pub type Name = Arc<str>;
/// Labels, shared by the pods of one template.
pub type Labels = Arc<BTreeMap<String, String>>;

/// Where an object is: its namespace (`""` for kinds without) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

impl Key {
    /// The key of these names.
    pub fn new(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    /// Another object in the same namespace.
    pub fn sibling(&self, name: &str) -> Key {
        Key { namespace: self.namespace.clone(), name: name.into() }
    }
}

impl fmt::Display for Key {
    /// Its name, with the namespace before it unless that is the default one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" | crate::names::DEFAULT_NAMESPACE => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// An object of any kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind as in a manifest.
    pub kind: &'static str,
    /// Where it is.
    pub key: Key,
}

impl ObjectId {
    /// The object of this kind.
    pub fn new(kind: &'static Kind, key: Key) -> ObjectId {
        ObjectId { kind: kind.kind, key }
    }
}

/// The owner that an object names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its kind as in a manifest.
    pub kind: Name,
    /// Its name, in the same namespace or none.
    pub name: Name,
    /// Which one of that name.
    pub uid: Name,
}

/// What every object has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Where it is.
    pub key: Key,
    /// Which one of that name.
    pub uid: Name,
    /// Its resourceVersion.
    pub version: u64,
    /// Counts changes of what is asked for.
    pub generation: i64,
    /// Its labels.
    pub labels: Labels,
    /// Its controller, or its first owner.
    pub owner: Option<Owner>,
    /// Seconds since 1970 when it was made; only ever compared with another object's.
    pub born: i64,
    /// Whether its deletion was asked for.
    pub deleting: bool,
    /// Whether it goes after everything that it owns.
    pub foreground: bool,
}

/// Whether something holds, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// `True`, `False`, `Unknown`; empty where it was never written.
    pub status: Name,
    /// One word for programs.
    pub reason: Name,
    /// A sentence for people.
    pub message: Name,
}

impl Condition {
    /// A condition with this content.
    pub fn new(status: &str, reason: &str, message: &str) -> Condition {
        Condition { status: status.into(), reason: reason.into(), message: message.into() }
    }

    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        &*self.status == "True"
    }
}
