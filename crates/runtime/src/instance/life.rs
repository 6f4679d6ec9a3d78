//! One life of an instance, from the artifact to its end.

use std::sync::Arc;
use std::time::Duration;

use artifact::Digest;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Fuse, FusedFuture};
use tokio::sync::{Notify, Semaphore, SetOnce, mpsc};

use super::phase::{End, Reason};
use super::{Health, Instance};
use crate::agent::env::{self, Env, Values};
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
use crate::probe::Finding;
use crate::room::Room;
use crate::sandbox::{self, Failure, Guest};
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
    uid: String,
    life: u32,
    notes: mpsc::UnboundedSender<Note>,
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
    /// Requests may come, or should not, and why.
    Ready(Result<(), String>),
    /// It finishes what it has.
    Draining,
    /// It is over.
    Ended(End),
}

/// Tells a life to end within a grace; without a word, when it is dropped, at once.
pub struct Stop(Arc<SetOnce<Duration>>);

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

/// How long a refusal of the server to take a pod out of the routes is waited for.
const UNLISTED: Duration = Duration::from_millis(500);
/// How long the API may take to tell Secrets when an older environment is at hand.
const VALUES: Duration = Duration::from_secs(2);

/// How long a program runs before it is taken for one that works: one that cannot mostly ends at once, and must not pass for ready
/// in between.
const SETTLES: Duration = Duration::from_secs(1);

/// A life and what it needs.
pub struct Life {
    host: Arc<Host>,
    order: Order,
    teller: Teller,
    stop: Arc<SetOnce<Duration>>,
}

impl Life {
    /// Lives on a task of its own; its notes end with [`News::Ended`].
    pub fn start(host: Arc<Host>, order: Order, notes: mpsc::UnboundedSender<Note>) -> Stop {
        let stop = Arc::new(SetOnce::new());
        let sender = Stop(stop.clone());
        let teller = Teller { uid: order.wanted.identity.uid.clone(), life: order.life, notes };
        tokio::spawn(Arc::new(Life { host, order, teller, stop }).live());
        sender
    }

    async fn live(self: Arc<Life>) {
        let (health, told) = Health::new(self.host.metrics.clone());
        let prepared = self.clone().prepare_until_stopped(health.clone()).boxed().await;
        let end = match prepared {
            Ok(guest) if guest.is_http() => self.clone().serve(guest, health, told).await,
            Ok(guest) => self.clone().work(guest).boxed().await,
            Err(end) => end,
        };
        self.order.local.set_ready(false);
        self.order.local.set_instance(None);
        self.host.gateway.refresh(&self.order.local.identity.uid);
        self.teller.tell(News::Ended(end));
    }

    async fn prepare_until_stopped(self: Arc<Life>, health: Arc<Health>) -> Result<Guest, End> {
        tokio::select! {
            prepared = self.clone().prepare(health) => prepared,
            _ = self.told_to_stop() => Err(stopped("it was told to stop before it ran")),
        }
    }

    async fn prepare(self: Arc<Life>, health: Arc<Health>) -> Result<Guest, End> {
        let end = |reason: Reason| move |message: String| End { reason, message };
        // Closed only with the node itself.
        let _turn = self.host.starts.acquire().await.map_err(|_| stopped("the node stops"))?;
        self.host.room.check().map_err(end(Reason::Start))?;
        let wanted = &self.order.wanted;
        let env = self.clone().environment().await.map_err(|error| end(Reason::Config)(error.to_string()))?;
        let code = match &self.order.code {
            Some(code) => code.clone(),
            None => self.host.source.code(&wanted.image, wanted.spec.memory, &self.teller).await.map_err(end(Reason::Image))?,
        };
        self.teller.tell(News::Code(code.clone()));
        let mut spec = wanted.spec.clone();
        if !env.is_empty() {
            Arc::make_mut(&mut spec).env = env.to_vec();
        }
        self.teller.tell(News::Env(env));
        let code = match code {
            Content::Code(code) => code,
            Content::Files(site) => return Ok(Guest::files(site, &spec)),
        };
        let identity = &wanted.identity;
        let host = sandbox::Host {
            buckets: self.host.buckets.clone(),
            volumes: Some(self.host.volumes.clone()),
            blobs: Some(self.host.blobs.clone()),
            calls: self.host.gateway.clone(),
            output: self.host.logs.output(identity.clone(), self.order.restarts),
            watch: health,
            outbound: self.host.outbound.clone(),
            ports: self.host.ports.clone(),
            metrics: self.host.metrics.clone(),
            neighbours: true,
        };
        Guest::prepare(&self.host.engines, code, spec, host).await.map_err(|error| end(Reason::Start)(chain(&error)))
    }

    async fn environment(self: Arc<Life>) -> Result<Arc<Env>, env::Error> {
        let before = self.order.env.clone();
        if let (Some(env), true) = (&before, self.order.at_once) {
            return Ok(env.clone());
        }
        let fresh = env::resolve(self.order.wanted.clone(), self.host.node.clone(), self.host.values.clone());
        let Some(before) = before else { return fresh.await.map(Arc::new) };
        match tokio::time::timeout(VALUES, fresh).await {
            Ok(Ok(env)) => Ok(Arc::new(env)),
            Ok(Err(missing @ env::Error::Missing(_))) => Err(missing),
            // The server is away; what ran before runs again with what it had.
            Ok(Err(env::Error::Away { .. })) | Err(_) => Ok(before),
        }
    }

    async fn serve(self: Arc<Life>, guest: Guest, health: Arc<Health>, mut told: tokio::sync::oneshot::Receiver<End>) -> End {
        let spec = &self.order.wanted.spec;
        let (concurrency, memory, calls) = (spec.concurrency, spec.memory, !(spec.call.is_empty() && spec.connect.is_empty()));
        let instance = Arc::new(Instance { guest, concurrency, memory, calls, health: health.clone() });
        self.order.local.set_instance(Some(instance.clone()));
        self.host.metrics.starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.teller.tell(News::Running);
        let mut asking = Some(Asking::new(self.order.wanted.clone(), instance));
        loop {
            tokio::select! {
                end = &mut told => return end.unwrap_or_else(|_| stopped("the node stops")),
                finding = next_finding(&mut asking) => match finding {
                    Some(Finding::Ready) => self.ready(Ok(())),
                    Some(Finding::Unready(why)) => self.ready(Err(why)),
                    Some(Finding::Dead(why)) => return End { reason: Reason::Probe, message: why },
                    None => asking = None,
                },
                grace = self.told_to_stop() => return self.clone().drain(health, grace).boxed().await,
            }
        }
    }

    async fn told_to_stop(&self) -> Duration {
        *self.stop.wait().await
    }

    fn ready(&self, ready: Result<(), String>) {
        self.order.local.set_ready(ready.is_ok());
        self.host.gateway.refresh(&self.order.local.identity.uid);
        self.teller.tell(News::Ready(ready));
    }

    async fn drain(self: Arc<Life>, health: Arc<Health>, grace: Duration) -> End {
        self.teller.tell(News::Draining);
        let since = tokio::time::Instant::now();
        self.host.gateway.unlisted(&self.order.local, UNLISTED.min(grace)).await;
        self.order.local.set_ready(false);
        if tokio::time::timeout(grace.saturating_sub(since.elapsed()), self.order.local.drained()).await.is_ok() {
            return stopped("it finished its requests");
        }
        let left = self.order.local.in_flight();
        health.kill();
        stopped(&format!("{left} requests were not done within the grace of {grace:?}"))
    }

    async fn work(self: Arc<Life>, guest: Guest) -> End {
        self.host.metrics.starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.teller.tell(News::Running);
        let mut running = guest.run().boxed();
        let mut settled = std::pin::pin!(tokio::time::sleep(SETTLES).fuse());
        loop {
            tokio::select! {
                result = &mut running => return returned(result),
                () = &mut settled, if !settled.is_terminated() => self.teller.tell(News::Ready(Ok(()))),
                // A component knows no signals: dropping it is all that can be done.
                _ = self.told_to_stop() => return stopped("it was told to stop"),
            }
        }
    }
}

/// How a program's run ended.
fn returned(result: Result<i32, Failure>) -> End {
    match result {
        Ok(code) => End { reason: Reason::Exit(code), message: format!("its run returned {code}") },
        Err(Failure::Exit(code)) => End { reason: Reason::Exit(code), message: format!("it exited with {code}") },
        Err(failure @ (Failure::Deadline(_) | Failure::Starved { .. })) => End { reason: Reason::Deadline, message: failure.to_string() },
        Err(Failure::Trap { message, backtrace }) => {
            End { reason: Reason::Trap, message: format!("{message}\n{backtrace}").trim_end().to_owned() }
        }
        Err(failure) => End { reason: Reason::Start, message: failure.to_string() },
    }
}

/// A pod's probes at work. Most pods have none that go on asking, and then nothing is kept of this.
struct Asking {
    probes: Fuse<BoxFuture<'static, ()>>,
    findings: mpsc::Receiver<Finding>,
}

impl Asking {
    fn new(wanted: Arc<Wanted>, instance: Arc<Instance>) -> Asking {
        let (sender, findings) = mpsc::channel(1);
        let probes = async move { wanted.probes.watch(instance, sender).await };
        Asking { probes: probes.boxed().fuse(), findings }
    }
}

/// What a probe has found; none when no probe will ask again.
async fn next_finding(asking: &mut Option<Asking>) -> Option<Finding> {
    let Some(Asking { probes, findings }) = asking else { return std::future::pending().await };
    loop {
        tokio::select! {
            finding = findings.recv() => return finding,
            () = &mut *probes, if !probes.is_terminated() => {}
        }
    }
}

fn stopped(message: &str) -> End {
    End { reason: Reason::Stopped, message: message.to_owned() }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
