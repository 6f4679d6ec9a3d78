//! The loop on a node that runs its pods: watch, `step`, report.

pub mod env;
pub mod events;
pub mod files;
pub mod pod;
pub mod report;
pub mod status;
pub mod step;
pub mod watch;

mod here;
mod new;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::watcher::Config;
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::instance::{Host, Note};
use crate::kept::Kept;
use events::Events;
use here::Here;
use new::New;
use report::Report;
use step::{Assigned, Step, step};
use watch::Mirror;

/// What is kept of a Pod object: whole ones take kilobytes each.
struct Seen {
    uid: String,
    assigned: Assigned,
    /// After how long without a request it may sleep.
    sleep: Option<Duration>,
    /// What it takes to run it, until it is known here.
    new: Option<Box<New>>,
}

impl Seen {
    fn of(pod: &Pod, known: &HashMap<String, Box<Here>>) -> Seen {
        let uid = pod.uid().unwrap_or_default();
        let new = (!known.contains_key(&uid)).then(|| Box::new(New::of(pod)));
        Seen { uid, assigned: pod::assigned(pod), sleep: pod::sleep(pod), new }
    }
}

/// Runs the pods that the API assigns to one node.
pub struct Agent {
    host: Arc<Host>,
    client: Client,
    address: IpAddr,
    report: Report,
    events: Events,
    assigned: Mirror<Seen>,
    names: HashMap<(String, String), String>,
    pods: HashMap<String, Box<Here>>,
    wakes: BTreeSet<(Duration, String)>,
    notes: (mpsc::UnboundedSender<Note>, mpsc::UnboundedReceiver<Note>),
    start: Instant,
}

impl Agent {
    /// An agent with no pods yet.
    pub fn new(host: Arc<Host>, client: Client, address: IpAddr, report: Report, events: Events) -> Agent {
        Agent {
            host,
            client,
            address,
            report,
            events,
            assigned: Mirror::default(),
            names: HashMap::new(),
            pods: HashMap::new(),
            wakes: BTreeSet::new(),
            notes: mpsc::unbounded_channel(),
            start: Instant::now(),
        }
    }

    /// Keeps the node's pods until `stop`; then ends them. Whoever wants requests to end well first stops taking them and waits.
    pub async fn run(mut self, kept: Arc<Kept>, stop: CancellationToken) {
        let config = Config::default().fields(&format!("spec.nodeName={}", self.host.node));
        let mut changes = std::pin::pin!(kept.watch(Api::<Pod>::all(self.client.clone()), config));
        loop {
            let mut touched = Vec::new();
            let wake = self.next_wake();
            tokio::select! {
                Some(event) = changes.next() => {
                    let pods = &self.pods;
                    for key in self.assigned.take(event, |pod| Seen::of(pod, pods)) {
                        touched.extend(self.touched(key));
                    }
                }
                Some(note) = self.notes.1.recv() => touched.extend(self.note(note)),
                () = sleep_until(wake) => touched = self.due(),
                () = stop.cancelled() => break,
            }
            for uid in touched {
                self.settle(&uid);
            }
        }
        self.end().await;
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _)| self.start + *at)
    }

    fn due(&mut self) -> Vec<String> {
        let now = self.now();
        let mut due = Vec::new();
        while self.wakes.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.wakes.pop_first().map(|(_, uid)| uid));
        }
        due
    }

    /// The pods that a change of this name is about: the one that has it now, and the one that had it.
    fn touched(&mut self, key: (String, String)) -> Vec<String> {
        let before = self.names.get(&key).cloned();
        let Some(pod) = self.assigned.get_mut(&key) else {
            return before.into_iter().collect();
        };
        let (uid, sleep) = (pod.uid.clone(), pod.sleep);
        let before = before.filter(|before| *before != uid);
        // It is seen twice before it is here when a list is broken off.
        if let Some(new) = pod.new.take().filter(|_| !self.pods.contains_key(&uid)) {
            let here = Here::new(key.clone(), uid.clone(), *new, &self.host, self.now());
            self.pods.insert(uid.clone(), Box::new(here));
            self.names.insert(key, uid.clone());
        }
        if let Some(here) = self.pods.get(&uid) {
            here.let_sleep(sleep);
        }
        before.into_iter().chain([uid]).collect()
    }

    fn assigned_now(&self, here: &Here) -> Option<Assigned> {
        self.assigned.get(&here.key).filter(|pod| pod.uid == here.uid).map(|pod| pod.assigned)
    }

    /// Does what is to be done about one pod now.
    fn settle(&mut self, uid: &str) {
        loop {
            let now = self.now();
            let Some(here) = self.pods.get(uid) else { return };
            let assigned = self.assigned_now(here);
            let Some(step) = step(assigned.as_ref(), Some(&here.running), now) else { return };
            tracing::trace!(pod = here.key.1, ?step);
            match step {
                Step::Start => self.begin(uid),
                Step::Drain(grace) => self.drain(uid, grace),
                Step::Delete => self.delete(uid, now),
                Step::Forget => return self.forget(uid),
                Step::Wait(until) => {
                    if until < Duration::MAX {
                        self.wakes.insert((until, uid.to_owned()));
                    }
                    return;
                }
            }
        }
    }

    fn begin(&mut self, uid: &str) {
        let Some(here) = self.pods.get_mut(uid) else { return };
        match here.begin(&self.host, self.notes.0.clone()) {
            Ok(()) => {}
            Err(problem) => {
                here.give_up(&problem);
                self.events.tell(here.happening(events::Weight::Warning, "Failed", problem));
            }
        }
        self.tell_status(uid);
    }

    fn drain(&mut self, uid: &str, grace: Duration) {
        let Some(here) = self.pods.get_mut(uid) else { return };
        here.drain(grace);
        let message = format!("the pod is told to go; requests in flight have {} s", grace.as_secs());
        self.events.tell(here.happening(events::Weight::Normal, "Killing", message));
    }

    fn delete(&mut self, uid: &str, now: Duration) {
        let Some(here) = self.pods.get_mut(uid) else { return };
        here.running.asked_at = Some(now);
        let pods = Api::<Pod>::namespaced(self.client.clone(), &here.key.0);
        let (name, uid) = (here.key.1.clone(), here.uid.clone());
        self.report.forget(&uid);
        tokio::spawn(async move {
            let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
            let params = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
            if let Err(error) = pods.delete(&name, &params).await {
                tracing::debug!(pod = name, %error, "cannot finish a pod's deletion yet");
            }
        });
    }

    fn forget(&mut self, uid: &str) {
        let Some(here) = self.pods.remove(uid) else { return };
        if self.names.get(&here.key).is_some_and(|now| now == uid) {
            self.names.remove(&here.key);
        }
        self.host.gateway.locals.leave(uid);
        self.report.forget(uid);
        self.host.departed.notify_one();
        let (logs, uid) = (self.host.logs.clone(), uid.to_owned());
        tokio::task::spawn_blocking(move || logs.retire(&uid));
    }

    /// Takes news of a life; the pod that they are about.
    fn note(&mut self, note: Note) -> Option<String> {
        let here = self.pods.get_mut(&note.uid).filter(|here| here.life == note.life)?;
        let happenings = here.take(note.news, self.start.elapsed());
        happenings.into_iter().for_each(|happening| self.events.tell(happening));
        self.tell_status(&note.uid);
        Some(note.uid)
    }

    fn tell_status(&mut self, uid: &str) {
        let Some(here) = self.pods.get_mut(uid) else { return };
        if let (Some(status), None) = (here.new_status(self.address), here.running.asked_at) {
            self.report.put(here.name(), status, here.patience());
        }
    }

    /// The node stops: every instance ends, and none starts again.
    async fn end(mut self) {
        self.pods.values_mut().for_each(|here| here.drain(Duration::ZERO));
        let ending = async {
            while self.pods.values().any(|here| here.lives()) {
                let Some(note) = self.notes.1.recv().await else { return };
                if let Some(here) = self.pods.get_mut(&note.uid).filter(|here| here.life == note.life) {
                    here.take(note.news, self.start.elapsed());
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(2), ending).await.is_err() {
            tracing::warn!("some instances did not end in time");
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
