//! One life of an instance, from the artifact to its end.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Fuse, FusedFuture};
use parking_lot::Mutex;
use tokio::sync::{SetOnce, mpsc};

use super::order::{Host, News, Note, Order, Stop, Teller};
use super::phase::{End, Reason};
use super::quiet::Quiet;
use super::{Health, Instance};
use crate::agent::env::{self, Env};
use crate::agent::files;
use crate::agent::pod::{Restart, Wanted};
use crate::cache::Content;
use crate::gateway::WAKES;
use crate::probe::Finding;
use crate::sandbox::{self, Failure, Guest};

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
    kept: Mutex<Keeps>,
}

/// What a life keeps for its next instance. A pod that sleeps keeps no code: that comes from the node's folder again.
#[derive(Default)]
struct Keeps {
    /// Its environment, since it first had one.
    env: Option<Arc<Env>>,
    /// Code that is there already.
    code: Option<Content>,
}

/// How it goes on after an instance.
enum Turn {
    Over(End),
    Sleep,
}

impl Life {
    /// Lives on a task of its own; its notes end with [`News::Ended`].
    pub fn start(host: Arc<Host>, mut order: Order, notes: mpsc::UnboundedSender<Note>) -> Stop {
        let stop = Arc::new(SetOnce::new());
        let sender = Stop(stop.clone());
        let teller = Teller { uid: order.wanted.identity.uid.clone(), life: order.life, notes };
        let kept = Mutex::new(Keeps { env: None, code: order.code.take() });
        tokio::spawn(Arc::new(Life { host, order, teller, stop, kept }).live());
        sender
    }

    async fn live(self: Arc<Life>) {
        let mut asleep = self.order.asleep;
        if asleep {
            self.order.local.set_ready(true);
            self.order.local.fall_asleep(self.order.wanted.spec.concurrency);
            self.host.gateway.refresh(&self.order.local.identity.uid);
        }
        let end = loop {
            if asleep && let Some(end) = self.clone().sleep().boxed().await {
                break end;
            }
            match self.clone().one(asleep).await {
                Turn::Over(end) => break end,
                Turn::Sleep => asleep = true,
            }
        };
        self.order.local.set_ready(false);
        self.order.local.set_instance(None);
        self.order.local.awake();
        self.host.gateway.refresh(&self.order.local.identity.uid);
        self.teller.tell(News::Ended(end));
    }

    /// One instance, from its preparation on; `woken`: requests wait for it.
    async fn one(self: Arc<Life>, woken: bool) -> Turn {
        let (health, told) = Health::new(self.host.metrics.clone());
        let prepared = match woken {
            true => self.clone().prepare(health.clone()).boxed().await,
            false => self.clone().prepare_until_stopped(health.clone()).boxed().await,
        };
        match prepared {
            Ok(guest) if guest.is_http() && self.order.wanted.restart == Restart::Always => self.serve(guest, health, told, woken).await,
            Ok(guest) => Turn::Over(self.work(guest, health).boxed().await),
            Err(end) => Turn::Over(end),
        }
    }

    /// Sleeps until it is wanted awake, or ends: then how.
    async fn sleep(self: Arc<Life>) -> Option<End> {
        let local = &self.order.local;
        self.teller.tell(News::Asleep);
        let grace = loop {
            tokio::select! {
                () = local.called() => if local.is_wanted() {
                    return None;
                },
                grace = self.told_to_stop() => break grace,
            }
        };
        // Until nobody lists it any more a request may come, and finds nobody else.
        let unlisted = self.host.gateway.unlisted(local, UNLISTED.min(grace));
        let mut unlisted = std::pin::pin!(unlisted);
        loop {
            tokio::select! {
                () = &mut unlisted => return Some(stopped("it slept")),
                () = local.called() => if local.is_wanted() {
                    return None;
                },
            }
        }
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
        let known = self.kept.lock().code.take();
        let code = match known {
            Some(code) => code,
            None => self.host.source.code(&wanted.image, wanted.spec.memory, &self.teller).await.map_err(end(Reason::Image))?,
        };
        self.teller.tell(News::Code(code.clone()));
        let mut spec = wanted.spec.clone();
        if !env.is_empty() {
            Arc::make_mut(&mut spec).env = env.to_vec();
        }
        let at_once = self.order.at_once || self.kept.lock().env.replace(env.clone()).is_some();
        if !wanted.files.is_empty() {
            let pod = (wanted.identity.namespace.as_str(), wanted.identity.uid.as_str());
            let laid = files::lay(&wanted.files, pod, at_once, &self.host.values, &self.host.volumes).await;
            Arc::make_mut(&mut spec).dirs = laid.map_err(|error| end(Reason::Config)(error.to_string()))?;
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
        // What sleeps keeps what it had, and does not ask anybody when it is woken.
        if let Some(env) = self.kept.lock().env.clone() {
            return Ok(env);
        }
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

    async fn serve(
        self: Arc<Life>,
        guest: Guest,
        health: Arc<Health>,
        mut told: tokio::sync::oneshot::Receiver<End>,
        mut waking: bool,
    ) -> Turn {
        let local = &self.order.local;
        // Whoever connects to a port of its own does not come by the gateway.
        let may_sleep = self.order.wanted.spec.listen.is_empty();
        let instance = self.instance(guest, health.clone());
        // One that was woken gets requests once it is ready, for so long they wait.
        if !waking {
            local.set_instance(Some(instance.clone()));
        }
        self.host.metrics.starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if waking {
            self.host.metrics.wakes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.teller.tell(if waking { News::Awake } else { News::Running });
        let mut asking = Some(Asking::new(self.order.wanted.clone(), instance.clone()));
        let mut quiet = Quiet::new(local);
        let mut late = waking.then(|| Box::pin(tokio::time::sleep(WAKES)));
        loop {
            let finding = tokio::select! {
                end = &mut told => return Turn::Over(end.unwrap_or_else(|_| stopped("the node stops"))),
                finding = next_finding(&mut asking) => finding,
                () = async { if let Some(late) = &mut late { late.await } }, if waking => Some(Finding::Unready("it was woken and is not ready yet".into())),
                grace = self.told_to_stop(), if !waking => return Turn::Over(self.clone().drain(health, grace).boxed().await),
                () = quiet.enough(local), if !waking && may_sleep => {
                    if self.falls_asleep(&instance) {
                        return Turn::Sleep;
                    }
                    continue;
                }
            };
            match finding {
                // It has its time to become ready.
                Some(Finding::Unready(_)) if waking && late.as_ref().is_some_and(|late| !late.is_elapsed()) => continue,
                Some(Finding::Dead(why)) => return Turn::Over(End { reason: Reason::Probe, message: why }),
                Some(Finding::Ready) => self.ready(Ok(())),
                Some(Finding::Unready(why)) => self.ready(Err(why)),
                None => asking = None,
            }
            if std::mem::take(&mut waking) {
                local.set_instance(Some(instance.clone()));
                local.awake();
            }
        }
    }

    fn instance(&self, guest: Guest, health: Arc<Health>) -> Arc<Instance> {
        let spec = &self.order.wanted.spec;
        let (concurrency, memory, calls) = (spec.concurrency, spec.memory, !(spec.call.is_empty() && spec.connect.is_empty()));
        Arc::new(Instance { guest, concurrency, memory, calls, health })
    }

    /// Whether nobody came in at the last moment.
    fn falls_asleep(&self, instance: &Arc<Instance>) -> bool {
        let local = &self.order.local;
        local.fall_asleep(instance.concurrency);
        if local.in_flight() > 0 {
            local.set_instance(Some(instance.clone()));
            local.awake();
        }
        local.is_asleep()
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

    async fn work(self: Arc<Life>, guest: Guest, health: Arc<Health>) -> End {
        // Never ready for requests, but there for whoever forwards to a port of its own or asks what it uses.
        self.order.local.set_instance(Some(self.instance(guest.clone(), health)));
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
