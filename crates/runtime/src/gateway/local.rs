//! The pods of this node as the gateway sees them: which instance answers, whether it should be asked, how busy it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use tokio::sync::Notify;

use crate::instance::Instance;
use crate::sandbox::PodIdentity;

/// A pod's names, as logs and metrics have them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// The App it belongs to; empty without one.
    pub app: String,
    /// The service of the App, or what else owns it.
    pub service: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// The revision it is of.
    pub revision: String,
}

impl Identity {
    /// The same for the sandbox.
    pub fn of_guest(&self) -> PodIdentity {
        PodIdentity {
            namespace: self.namespace.clone(),
            app: Some(self.app.clone()).filter(|app| !app.is_empty()),
            service: self.service.clone(),
            name: self.pod.clone(),
            uid: self.uid.clone(),
        }
    }
}

/// One pod of this node, over all its instances.
pub struct Local {
    /// Its names.
    pub identity: Arc<Identity>,
    instance: ArcSwapOption<Instance>,
    ready: AtomicBool,
    in_flight: AtomicU32,
    idle: Notify,
    listed: AtomicU32,
}

impl Local {
    fn new(identity: Arc<Identity>) -> Local {
        let instance = ArcSwapOption::empty();
        Local {
            identity,
            instance,
            ready: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            idle: Notify::new(),
            listed: AtomicU32::new(0),
        }
    }

    /// Puts an instance in place, or takes it away.
    pub fn set_instance(&self, instance: Option<Arc<Instance>>) {
        self.instance.store(instance);
    }

    /// Whether new requests should come here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether new requests should come here, and something is there to answer them.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.is_alive()
    }

    /// Whether an instance is there.
    pub fn is_alive(&self) -> bool {
        self.instance.load().is_some()
    }

    /// Whether a Service has it among its pods, so that requests may still come.
    pub fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire) > 0
    }

    /// One more Service has it.
    pub fn list(&self) {
        self.listed.fetch_add(1, Ordering::AcqRel);
    }

    /// One Service fewer has it.
    pub fn unlist(&self) {
        self.listed.fetch_sub(1, Ordering::AcqRel);
    }

    /// Requests that its guest works on, or `None` when it takes no more. An answer that is done and waits for its client is not the guest's
    /// work: who takes none must not keep others from it.
    pub fn load(&self) -> Option<u32> {
        let instance = self.instance.load();
        let instance = instance.as_ref()?;
        let busy = instance.guest.in_flight();
        (busy < instance.concurrency).then_some(busy)
    }

    /// Counts a request in and gives the instance that answers it.
    pub fn hold(self: &Arc<Local>) -> Option<Held> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let held = |instance| Held { local: self.clone(), instance };
        let instance = self.instance.load_full();
        if instance.is_none() {
            self.leave();
        }
        instance.map(held)
    }

    /// Requests that it works on.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Done when no request is in flight.
    pub async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    fn leave(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }
}

/// One request's hold on a pod, until the last byte of its answer is out.
pub struct Held {
    local: Arc<Local>,
    /// What answers.
    pub instance: Arc<Instance>,
}

impl Held {
    /// The names of the pod.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.local.identity
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.local.leave();
    }
}

/// All pods of this node by UID.
#[derive(Default)]
pub struct Locals(DashMap<String, Arc<Local>>);

impl Locals {
    /// The pod's place, made if it is new.
    pub fn enter(&self, identity: &Arc<Identity>) -> Arc<Local> {
        self.0.entry(identity.uid.clone()).or_insert_with(|| Arc::new(Local::new(identity.clone()))).clone()
    }

    /// The pod's place.
    pub fn get(&self, uid: &str) -> Option<Arc<Local>> {
        self.0.get(uid).map(|local| local.clone())
    }

    /// Whether a pod of this App is here.
    pub fn has(&self, namespace: &str, app: &str) -> bool {
        self.0.iter().any(|local| local.identity.namespace == namespace && local.identity.app == app)
    }

    /// Forgets a pod.
    pub fn leave(&self, uid: &str) {
        self.0.remove(uid);
    }
}
