//! Code that is ready to link, and may become better while it is used.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use artifact::Digest;
use wasmtime::component::Component;

use super::Rest;
use crate::engine::Kind;
use crate::sandbox::link::Linked;

/// A component's code on this node. Shared by all pods of the same component.
pub struct Code {
    /// The digest of the component's bytes.
    pub layer: Digest,
    version: ArcSwap<Version>,
    pub(crate) rest: Rest,
}

/// What one compiler made of a component.
pub(crate) struct Version {
    /// The compiled component.
    pub component: Component,
    /// The engine that it is for.
    pub kind: Kind,
    /// The component, linked: the same for all pods that run it.
    pub linked: OnceLock<Arc<Linked>>,
}

impl Version {
    pub fn new(component: Component, kind: Kind) -> Arc<Self> {
        Arc::new(Self { component, kind, linked: OnceLock::new() })
    }
}

impl Code {
    pub(super) fn new(layer: Digest, component: Component, kind: Kind) -> Arc<Self> {
        Arc::new(Self { layer, version: ArcSwap::new(Version::new(component, kind)), rest: Rest::default() })
    }

    /// The engine that it is for.
    pub fn kind(&self) -> Kind {
        self.version.load().kind
    }

    /// What new sandboxes are made from.
    pub(crate) fn version(&self) -> arc_swap::Guard<Arc<Version>> {
        self.version.load()
    }

    /// Has new sandboxes made from another version, which must be linked. Those that run go on as they are.
    pub(super) fn replace(&self, version: Arc<Version>) {
        self.version.store(version);
    }
}
