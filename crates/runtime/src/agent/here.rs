//! One pod on this node: what it wants, which life it is in, what is told of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::env::Env;
use super::events::{Happening, Subject, Weight};
use super::new::New;
use super::pod::{Restart, Unreadable, Wanted};
use super::report::Name;
use super::status::{View, status};
use super::step::Running;
use crate::cache::Content;
use crate::gateway::local::{Identity, Local};
use crate::instance::backoff::Backoff;
use crate::instance::phase::{End, Phase, Reason};
use crate::instance::{Host, Life, News, Note, Order, Stop};

/// A pod that is assigned to this node, from its first sight to the API's last word of it.
pub struct Here {
    /// Namespace and name.
    pub key: (String, String),
    /// Its UID.
    pub uid: String,
    /// Counts its lives on this node; 0 before the first.
    pub life: u32,
    /// What `step` needs.
    pub running: Running,
    wanted: Result<Arc<Wanted>, Unreadable>,
    identity: Arc<Identity>,
    local: Arc<Local>,
    view: View,
    backoff: Backoff,
    stop: Option<Stop>,
    env: Option<Arc<Env>>,
    code: Option<Content>,
    began: Option<Duration>,
    at_once: bool,
    /// Whether its next life begins asleep.
    slept: bool,
    /// A hash of the status that was last asked for.
    told: Option<u64>,
}

/// An instance that is made again at once is back before anybody has to know.
const RESTARTING: Duration = Duration::from_millis(100);
/// What is made for the first time is often there before it was told that it is being made.
const MAKING: Duration = Duration::from_millis(250);
/// Readiness often follows at once.
const TURNING: Duration = Duration::from_millis(25);
/// Longest wait after an error that somebody else may mend any time: a Secret that is not there yet.
const MENDING: Duration = Duration::from_secs(2);

impl Here {
    /// A pod seen for the first time, at `seen` of the node's time; its key is its namespace and name.
    pub fn new(key: (String, String), uid: String, new: New, host: &Host, seen: Duration) -> Here {
        let New { wanted, restarts, since, backoff, wait, slept } = new;
        let bare = || Identity {
            namespace: key.0.clone(),
            app: String::new(),
            service: String::new(),
            pod: key.1.clone(),
            uid: uid.clone(),
            revision: String::new(),
        };
        let identity = wanted.as_ref().map_or_else(|_| Arc::new(bare()), |wanted| wanted.identity.clone());
        let local = host.gateway.locals.enter(&identity);
        host.gateway.refresh(&uid);
        let now = Timestamp::now();
        let view = View {
            phase: Phase::Preparing,
            ready: false,
            unready: None,
            restarts,
            since: since.unwrap_or(now),
            started: None,
            turned: now,
            end: None,
            wait: Duration::ZERO,
            last: None,
            done: None,
            asleep: false,
        };
        let running = Running { phase: Phase::Ended, again_at: seen.saturating_add(wait), asked_at: None };
        Here {
            key,
            uid,
            life: 0,
            running,
            wanted,
            identity,
            local,
            view,
            backoff,
            stop: None,
            env: None,
            code: None,
            began: None,
            at_once: false,
            slept,
            told: None,
        }
    }

    /// Starts the next life.
    ///
    /// # Errors
    /// When the pod asks for something that cannot be read; it then has no lives.
    pub fn begin(&mut self, host: &Arc<Host>, notes: mpsc::UnboundedSender<Note>) -> Result<(), String> {
        let wanted = self.wanted.clone().map_err(|unreadable| unreadable.to_string())?;
        self.life += 1;
        self.running.phase = Phase::Preparing;
        self.view.phase = Phase::Preparing;
        self.began = None;
        if self.view.last.is_some() {
            host.metrics.restarts.fetch_add(1, Ordering::Relaxed);
        }
        let order = Order {
            wanted,
            local: self.local.clone(),
            life: self.life,
            restarts: self.view.restarts,
            env: self.env.clone(),
            code: self.code.clone(),
            at_once: self.at_once,
            asleep: std::mem::take(&mut self.slept),
        };
        self.stop = Some(Life::start(host.clone(), order, notes));
        Ok(())
    }

    /// Lets the pod sleep after so long without a request, or has it stay awake.
    pub fn let_sleep(&self, after: Option<Duration>) {
        self.local.let_sleep(after);
    }

    /// The pod cannot run as it is, until it is another pod.
    pub fn give_up(&mut self, problem: &str) {
        self.running.again_at = Duration::MAX;
        self.view.phase = Phase::Ended;
        self.view.wait = Duration::ZERO;
        self.view.end = Some(End { reason: Reason::Config, message: problem.to_owned() });
    }

    /// Tells the life to end.
    pub fn drain(&mut self, grace: Duration) {
        if let Some(stop) = &self.stop {
            stop.within(grace);
        }
        if self.running.phase < Phase::Draining {
            self.running.phase = Phase::Draining;
        }
    }

    /// Whether an instance is there.
    pub fn lives(&self) -> bool {
        self.stop.is_some()
    }

    /// Takes news of the current life at `now` of the node's time; what is to be told.
    pub fn take(&mut self, news: News, now: Duration) -> Vec<Happening> {
        match news {
            News::Told(reason, sentence) => return vec![self.happening(Weight::Normal, reason, sentence)],
            News::Env(env) => self.env = Some(env),
            News::Code(code) => self.code = Some(code),
            News::Running => return self.runs(now),
            News::Asleep => self.sleeps(),
            News::Awake => self.wakes(now),
            News::Ready(ready) => return self.turns(ready),
            News::Draining => self.turn(false),
            News::Ended(end) => return self.ended(end, now),
        }
        Vec::new()
    }

    fn runs(&mut self, now: Duration) -> Vec<Happening> {
        if self.running.phase < Phase::Running {
            self.running.phase = Phase::Running;
            self.view.phase = Phase::Running;
        }
        self.began = Some(now);
        self.view.started = Some(Timestamp::now());
        self.view.end = None;
        self.view.unready = None;
        vec![self.happening(Weight::Normal, "Started", format!("instance {} runs", self.view.restarts))]
    }

    /// Its code is not kept for it: the node has it in its folder.
    fn sleeps(&mut self) {
        self.running.phase = self.running.phase.max(Phase::Running);
        self.view.phase = self.running.phase;
        self.view.started.get_or_insert_with(Timestamp::now);
        self.turn(true);
        self.view.asleep = true;
        self.code = None;
    }

    fn wakes(&mut self, now: Duration) {
        self.began.get_or_insert(now);
        self.view.asleep = false;
    }

    fn turns(&mut self, ready: Result<(), String>) -> Vec<Happening> {
        self.turn(ready.is_ok());
        self.view.unready = ready.as_ref().err().cloned();
        let told = |why| self.happening(Weight::Warning, "Unhealthy", format!("the readiness probe failed: {why}"));
        ready.err().map(told).into_iter().collect()
    }

    fn turn(&mut self, ready: bool) {
        if self.view.ready != ready {
            self.view.ready = ready;
            self.view.turned = Timestamp::now();
        }
    }

    fn ended(&mut self, end: End, now: Duration) -> Vec<Happening> {
        let Ok(wanted) = self.wanted.clone() else { return Vec::new() };
        let ran = self.began.is_some();
        self.stop = None;
        self.running.phase = Phase::Ended;
        self.view.phase = Phase::Ended;
        self.view.asleep = false;
        self.turn(false);
        let well = self.began.take().map_or(Duration::ZERO, |began| now.saturating_sub(began));
        if ran {
            self.view.last = Some((end.clone(), self.view.started.take(), Timestamp::now()));
        }
        self.view.done = done(wanted.restart, &end, ran);
        let mut wait = self.backoff.after(well, &wanted.backoff, rand::random());
        if matches!(end.reason, Reason::Config) {
            wait = wait.clamp(Duration::from_millis(250), MENDING);
        }
        if ran && end.reason != Reason::Stopped && self.view.done.is_none() {
            self.view.restarts += 1;
        }
        self.at_once = ran && wait.is_zero();
        self.view.wait = wait;
        self.running.again_at = if self.view.done.is_some() { Duration::MAX } else { now.saturating_add(wait) };
        let happenings = self.tell_of(&end);
        self.view.end = Some(end);
        happenings
    }

    fn tell_of(&self, end: &End) -> Vec<Happening> {
        let first = match end.reason {
            Reason::Stopped => return Vec::new(),
            Reason::Trap | Reason::Deadline => self.happening(Weight::Warning, "Trap", end.message.clone()),
            Reason::Probe => self.happening(Weight::Warning, "Unhealthy", end.message.clone()),
            Reason::Exit(0) => self.happening(Weight::Normal, "Completed", end.message.clone()),
            Reason::Exit(_) => self.happening(Weight::Warning, "Exit", end.message.clone()),
            Reason::Image | Reason::Config | Reason::Start => self.happening(Weight::Warning, "Failed", end.message.clone()),
        };
        if self.view.wait.is_zero() || self.view.done.is_some() {
            return vec![first];
        }
        let wait = self.view.wait.as_millis();
        let message = format!("it starts again in {wait} ms, after {} restarts", self.view.restarts);
        vec![first, self.happening(Weight::Warning, "BackOff", message)]
    }

    /// Something to tell of this pod.
    pub fn happening(&self, weight: Weight, reason: &'static str, message: String) -> Happening {
        Happening { about: Subject::pod(&self.identity), weight, reason, message }
    }

    /// The pod's name, for reports.
    pub fn name(&self) -> Name {
        Name { namespace: self.key.0.clone(), pod: self.key.1.clone(), uid: self.uid.clone() }
    }

    /// Its status on the node with this address, if it is another than the last one that was asked for.
    pub fn new_status(&mut self, address: IpAddr) -> Option<Value> {
        let status = match &self.wanted {
            Ok(wanted) => status(wanted, &self.view, address),
            Err(unreadable) => json!({
                "phase": "Pending", "reason": "CreateContainerConfigError", "message": unreadable.to_string(),
                "conditions": [{"type": "Ready", "status": "False", "reason": "CreateContainerConfigError", "message": unreadable.to_string()}],
            }),
        };
        let mut hasher = DefaultHasher::new();
        status.to_string().hash(&mut hasher);
        let hash = hasher.finish();
        (self.told.replace(hash) != Some(hash)).then_some(status)
    }

    /// How long the status may wait for a newer one.
    pub fn patience(&self) -> Duration {
        match self.view.phase {
            Phase::Ended | Phase::Preparing if self.at_once => RESTARTING,
            Phase::Preparing => MAKING,
            Phase::Running if !self.view.ready => TURNING,
            _ => Duration::ZERO,
        }
    }
}

/// Whether the pod is over for good, and well.
fn done(restart: Restart, end: &End, ran: bool) -> Option<bool> {
    // Whoever made a pod that lives once must hear that it cannot even start.
    let unable = restart == Restart::Never && end.reason == Reason::Start;
    if !(ran || unable) || end.reason == Reason::Stopped {
        return None;
    }
    let well = end.reason == Reason::Exit(0);
    match restart {
        Restart::Always => None,
        Restart::OnFailure => well.then_some(true),
        Restart::Never => Some(well),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_lives_once_ends_with_its_first_life_and_one_that_tries_again_with_a_success() {
        let done = |restart, reason, ran| done(restart, &End { reason, message: String::new() }, ran);
        assert_eq!(done(Restart::Never, Reason::Exit(0), true), Some(true));
        assert_eq!(done(Restart::Never, Reason::Exit(3), true), Some(false));
        assert_eq!(done(Restart::Never, Reason::Trap, true), Some(false));
        assert_eq!(done(Restart::Never, Reason::Start, false), Some(false), "it will not start another time");
        assert_eq!(done(Restart::Never, Reason::Image, false), None, "the registry may be back any time");
        assert_eq!(done(Restart::Never, Reason::Stopped, true), None);
        assert_eq!(done(Restart::OnFailure, Reason::Exit(0), true), Some(true));
        assert_eq!(done(Restart::OnFailure, Reason::Exit(3), true), None);
        assert_eq!(done(Restart::Always, Reason::Exit(0), true), None);
    }
}
