//! The pods of this node as the gateway sees them: which instance answers, whether it should be asked, how busy it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use tokio::sync::Notify;

use crate::instance::Instance;
use crate::sandbox::PodIdentity;
use crate::usage::Sample;

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
    /// Requests since it is here; it wraps.
    asked: AtomicU32,
    /// Those that it failed, or answered with a status from 500; it wraps.
    failed: AtomicU32,
    idle: Notify,
    listed: AtomicU32,
    /// What it used when it was last looked at.
    pub sample: Sample,
    sleep: Sleep,
}

/// Whether a pod may sleep, and whether it does.
#[derive(Default)]
struct Sleep {
    /// Seconds without a request after which it may; 0: never.
    after: AtomicU32,
    asleep: AtomicBool,
    /// Requests that wait until it is awake, and how many may.
    waiting: AtomicU32,
    most: AtomicU32,
    /// Somebody wants it awake, or `after` is another now.
    called: Notify,
    /// It is awake, or will not be.
    turned: Notify,
}

/// The load of a pod that sleeps: one that is awake and has room is asked before it.
const ASLEEP: u32 = u32::MAX;

impl Local {
    fn new(identity: Arc<Identity>) -> Local {
        let instance = ArcSwapOption::empty();
        Local {
            identity,
            instance,
            ready: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            idle: Notify::new(),
            listed: AtomicU32::new(0),
            sample: Sample::default(),
            sleep: Sleep::default(),
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

    /// Whether an instance is there, or will be as soon as somebody asks.
    pub fn is_alive(&self) -> bool {
        self.instance.load().is_some() || self.is_asleep()
    }

    /// After how long without a request it may sleep; none where it may not.
    pub fn may_sleep(&self) -> Option<Duration> {
        let after = self.sleep.after.load(Ordering::Relaxed);
        (after > 0).then(|| Duration::from_secs(after.into()))
    }

    /// Lets it sleep after so long without a request, or has it stay awake.
    pub fn let_sleep(&self, after: Option<Duration>) {
        let seconds = after.map_or(0, |after| u32::try_from(after.as_secs().max(1)).unwrap_or(u32::MAX));
        if self.sleep.after.swap(seconds, Ordering::Relaxed) != seconds {
            self.call();
        }
    }

    /// Whether it sleeps, or wakes up just now.
    pub fn is_asleep(&self) -> bool {
        self.sleep.asleep.load(Ordering::Acquire)
    }

    /// It has no instance from now on and wakes when it is called; so many requests may wait for that at once.
    pub fn fall_asleep(&self, most: u32) {
        self.sleep.most.store(most, Ordering::Relaxed);
        self.sleep.asleep.store(true, Ordering::Release);
        self.set_instance(None);
    }

    /// It is awake with the instance that was set, or will have none.
    pub fn awake(&self) {
        self.sleep.asleep.store(false, Ordering::Release);
        self.sleep.turned.notify_waiters();
    }

    /// Whether it is to be awake: a request waits for it, or it may not sleep any more.
    pub fn is_wanted(&self) -> bool {
        self.sleep.waiting.load(Ordering::Acquire) > 0 || self.may_sleep().is_none()
    }

    /// Wants it awake.
    pub fn call(&self) {
        self.sleep.called.notify_one();
    }

    /// Done when somebody called.
    pub async fn called(&self) {
        self.sleep.called.notified().await;
    }

    /// Done when it is awake, or will not be: at the next time from the first poll on.
    pub fn turned(&self) -> tokio::sync::futures::Notified<'_> {
        self.sleep.turned.notified()
    }

    /// A place among those that wait until it is awake, where one is left.
    pub fn wait(&self) -> Option<Waiting<'_>> {
        let waiting = Waiting(self);
        let before = self.sleep.waiting.fetch_add(1, Ordering::AcqRel);
        (before < self.sleep.most.load(Ordering::Relaxed)).then_some(waiting)
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
        let Some(instance) = instance.as_ref() else { return self.is_asleep().then_some(ASLEEP) };
        let busy = instance.guest.in_flight();
        (busy < instance.concurrency).then_some(busy)
    }

    /// Counts a request in and gives the instance that answers it.
    pub fn hold(self: &Arc<Local>) -> Option<Held> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let held = |instance| Held { local: self.clone(), instance };
        let instance = self.instance.load_full();
        if instance.is_none() {
            self.leave();
        }
        instance.map(held)
    }

    /// Requests since it is here; the count wraps.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// It failed a request, or answered it with a status from 500.
    pub fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that it failed since it is here; the count wraps.
    pub fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// CPU time that its present instance used, where that is counted.
    pub fn cpu(&self) -> Option<std::time::Duration> {
        self.instance.load().as_ref().and_then(|instance| instance.guest.cpu())
    }

    /// Whether an instance is there that answers HTTP requests; nothing else sleeps.
    pub fn answers_http(&self) -> bool {
        self.is_asleep() || self.instance.load().as_ref().is_some_and(|instance| instance.guest.is_http())
    }

    /// CPU time that its present instance used.
    pub fn spent(&self) -> std::time::Duration {
        self.instance.load().as_ref().map(|instance| instance.guest.spent()).unwrap_or_default()
    }

    /// Bytes that the sandboxes of its present instance hold.
    pub fn holds(&self) -> u64 {
        self.instance.load().as_ref().map_or(0, |instance| instance.guest.holds())
    }

    /// Requests that it works on.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Done when no request is in flight or waits until it is awake.
    pub async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 && self.sleep.waiting.load(Ordering::Acquire) == 0 {
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

/// A request's place among those that wait until a pod is awake.
pub struct Waiting<'a>(&'a Local);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.sleep.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.idle.notify_waiters();
    }
}

/// One request's hold on a pod, until the last byte of its answer is out.
pub struct Held {
    local: Arc<Local>,
    /// What answers.
    pub instance: Arc<Instance>,
}

impl Held {
    /// Counts an answer with a status from 500 against the pod.
    pub fn answered(&self, status: http::StatusCode) {
        if status.is_server_error() {
            self.local.fail();
        }
    }

    /// Counts a failure against the pod.
    pub fn failed(&self) {
        self.local.fail();
    }

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

    /// Looks at every pod.
    pub fn each(&self, mut look: impl FnMut(&Local)) {
        self.0.iter().for_each(|local| look(&local));
    }

    /// Forgets a pod.
    pub fn leave(&self, uid: &str) {
        self.0.remove(uid);
    }
}
