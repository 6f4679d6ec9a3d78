//! What a node gives to its instances, what is asked of a life, and what a life tells.

use std::sync::Arc;
use std::time::Duration;

use artifact::Digest;
use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore, SetOnce, mpsc};

use super::phase::End;
use crate::agent::env::{Env, Values};
use crate::agent::pod::Wanted;
use crate::blobs::Blobs;
use crate::cache::{Content, Pruned};
use crate::engine::Engines;
use crate::gateway::Gateway;
use crate::gateway::local::Local;
use crate::keyvalue::Buckets;
use crate::logs::Logs;
use crate::metrics::{CodeCounts, Metrics};
use crate::ports::Ports;
use crate::room::Room;
use crate::volumes::Volumes;
use crate::wasi::outgoing;

/// Where compiled code comes from.
#[async_trait]
pub trait Source: Send + Sync {
    /// The code or the files of an image (a reference with a digest) for pods of up to `memory` bytes; `teller` hears of pulling and compiling.
    async fn code(&self, image: &str, memory: u64, teller: &Teller) -> Result<Content, String>;

    /// Drops what is kept of artifacts that no pod here runs and `keep` does not name, or says what would go.
    async fn prune(&self, keep: Vec<Digest>, dry_run: bool) -> Result<Pruned, String>;

    /// Where code came from so far.
    fn counts(&self) -> Arc<CodeCounts>;

    /// A look at whether code that nobody asks for may give its memory back.
    fn rest(&self);
}

/// Tells the agent what happens in one life.
#[derive(Clone)]
pub struct Teller {
    pub(super) uid: String,
    pub(super) life: u32,
    pub(super) notes: mpsc::UnboundedSender<Note>,
}

impl Teller {
    /// Tells news.
    pub fn tell(&self, news: News) {
        // The agent outlives its instances but for the moment in which the process ends.
        let _ = self.notes.send(Note { uid: self.uid.clone(), life: self.life, news });
    }

    /// Tells of a step on the way: a word and a sentence, as Events have them.
    pub fn step(&self, reason: &'static str, sentence: String) {
        self.tell(News::Told(reason, sentence));
    }
}

/// What a node gives to all of its instances.
pub struct Host {
    /// The node's name.
    pub node: String,
    /// The engines that run guests.
    pub engines: Engines,
    /// Where code comes from.
    pub source: Arc<dyn Source>,
    /// Where Secrets and ConfigMaps are read.
    pub values: Arc<dyn Values>,
    /// Where requests come from and calls go.
    pub gateway: Arc<Gateway>,
    /// Where output goes.
    pub logs: Logs,
    /// Key-value buckets.
    pub buckets: Arc<Buckets>,
    /// What Apps keep in containers.
    pub blobs: Arc<Blobs>,
    /// Folders that outlive pods.
    pub volumes: Arc<Volumes>,
    /// Told when a pod has gone for good: its App may be gone too.
    pub departed: Arc<Notify>,
    /// Outgoing HTTP.
    pub outbound: Arc<outgoing::Client>,
    /// Ports that guests listen on.
    pub ports: Arc<Ports>,
    /// How many instances are prepared at a time.
    pub starts: Semaphore,
    /// What the process has left.
    pub room: Room,
    /// What the node counts.
    pub metrics: Arc<Metrics>,
}

/// Which life is to be lived.
pub struct Order {
    /// The pod.
    pub wanted: Arc<Wanted>,
    /// Its place in the gateway.
    pub local: Arc<Local>,
    /// Counts all lives of the pod on this node.
    pub life: u32,
    /// How often an instance of the pod ended before.
    pub restarts: u32,
    /// The environment of the life before.
    pub env: Option<Arc<Env>>,
    /// The code or the files of the life before.
    pub code: Option<Content>,
    /// Whether it begins asleep: it was so when the node went down.
    pub asleep: bool,
    /// Whether the environment of the life before is good enough: a crashed instance must not wait for the API.
    pub at_once: bool,
}

/// Something that happened in a life.
pub struct Note {
    /// The pod's UID.
    pub uid: String,
    /// Which of its lives.
    pub life: u32,
    /// What happened.
    pub news: News,
}

/// What happens in lives, in this order.
pub enum News {
    /// A step on the way, for an Event: reason and sentence.
    Told(&'static str, String),
    /// It has this environment.
    Env(Arc<Env>),
    /// It has this code, or these files.
    Code(Content),
    /// It can answer, or runs.
    Running,
    /// It can answer, and nothing of it runs until somebody asks.
    Asleep,
    /// It runs again.
    Awake,
    /// Requests may come, or should not, and why.
    Ready(Result<(), String>),
    /// It finishes what it has.
    Draining,
    /// It is over.
    Ended(End),
}

/// Tells a life to end within a grace; without a word, when it is dropped, at once.
pub struct Stop(pub(super) Arc<SetOnce<Duration>>);

impl Stop {
    /// Tells it; the first grace counts.
    pub fn within(&self, grace: Duration) {
        // Said once is enough.
        let _ = self.0.set(grace);
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.within(Duration::ZERO);
    }
}
