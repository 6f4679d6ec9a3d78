//! Brings statuses to the API: the newest of each pod, never an older one after it, none while the API is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Which pod a status is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID: a status never lands on another pod of the same name.
    pub uid: String,
}

/// What became of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is written.
    Written,
    /// The pod is gone, or another one by now.
    Obsolete,
    /// Try again later.
    Failed,
}

/// Where statuses go.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Writes one status.
    async fn write(&self, name: &Name, status: &Value) -> Sent;
}

#[async_trait]
impl Sink for Client {
    async fn write(&self, name: &Name, status: &Value) -> Sent {
        let patch = json!({"metadata": {"uid": name.uid}, "status": status});
        let pods = Api::<Pod>::namespaced(self.clone(), &name.namespace);
        match pods.patch_status(&name.pod, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Sent::Written,
            // 404: gone. 409: the UID is another's. 422: it will not be taken however often it is sent.
            Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => {
                tracing::debug!(pod = name.pod, %status, "a pod's status was not wanted");
                Sent::Obsolete
            }
            Err(error) => {
                tracing::debug!(pod = name.pod, %error, "cannot report a pod's status yet");
                Sent::Failed
            }
        }
    }
}

/// Statuses that are on their way at a time: one commit of the store takes several.
const AT_ONCE: usize = 32;

/// Takes statuses and sends them in the background. Cheap to clone.
#[derive(Clone, Default)]
pub struct Report(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    pods: Mutex<HashMap<String, Pending>>,
    changed: Notify,
}

struct Pending {
    name: Name,
    status: Value,
    not_before: Instant,
}

impl Report {
    /// Takes the newest status of a pod, to be sent after `delay` unless a newer one comes before.
    pub fn put(&self, name: Name, status: Value, delay: Duration) {
        let pending = Pending { status, not_before: Instant::now() + delay, name };
        self.0.pods.lock().insert(pending.name.uid.clone(), pending);
        self.0.changed.notify_one();
    }

    /// Drops what was to be said of a pod.
    pub fn forget(&self, uid: &str) {
        self.0.pods.lock().remove(uid);
    }

    /// Sends until it is dropped.
    pub async fn run(self, sink: Arc<dyn Sink>) {
        let mut under_way = FuturesUnordered::new();
        let mut busy: Vec<String> = Vec::new();
        let mut patience = Duration::ZERO;
        let mut resume = Instant::now();
        loop {
            let mut next = None;
            if Instant::now() >= resume {
                while under_way.len() < AT_ONCE {
                    let due = self.due(&busy);
                    next = due.1;
                    let Some(pending) = due.0 else { break };
                    busy.push(pending.name.uid.clone());
                    under_way.push(send(sink.clone(), pending));
                }
            } else {
                next = Some(resume);
            }
            tokio::select! {
                () = self.0.changed.notified() => {}
                Some((pending, sent)) = under_way.next(), if !under_way.is_empty() => {
                    busy.retain(|uid| *uid != pending.name.uid);
                    if sent == Sent::Failed {
                        patience = (patience * 2).clamp(Duration::from_millis(100), Duration::from_secs(5));
                        resume = Instant::now() + patience;
                        self.put_back(pending);
                    } else {
                        patience = Duration::ZERO;
                    }
                }
                () = sleep_until(next) => {}
            }
        }
    }

    /// One that may be sent now (a pod with one under way waits for it), or when the next may.
    fn due(&self, busy: &[String]) -> (Option<Pending>, Option<Instant>) {
        let mut pods = self.0.pods.lock();
        let now = Instant::now();
        let free = pods.iter().filter(|(uid, _)| !busy.contains(uid));
        let Some((uid, at)) = free.map(|(uid, pending)| (uid.clone(), pending.not_before)).min_by_key(|(_, at)| *at) else {
            return (None, None);
        };
        if at > now { (None, Some(at)) } else { (pods.remove(&uid), None) }
    }

    fn put_back(&self, pending: Pending) {
        // A newer one that came meanwhile stays.
        self.0.pods.lock().entry(pending.name.uid.clone()).or_insert(pending);
    }
}

async fn send(sink: Arc<dyn Sink>, pending: Pending) -> (Pending, Sent) {
    let sent = sink.write(&pending.name, &pending.status).await;
    (pending, sent)
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::mpsc;

    struct Slow {
        written: mpsc::UnboundedSender<(String, Value)>,
        failing: AtomicUsize,
    }

    #[async_trait]
    impl Sink for Slow {
        async fn write(&self, name: &Name, status: &Value) -> Sent {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.failing.load(Ordering::Relaxed) > 0 {
                self.failing.fetch_sub(1, Ordering::Relaxed);
                return Sent::Failed;
            }
            let _ = self.written.send((name.pod.clone(), status.clone()));
            Sent::Written
        }
    }

    fn name(pod: &str) -> Name {
        Name { namespace: "default".into(), pod: pod.into(), uid: format!("uid-{pod}") }
    }

    fn start(failing: usize) -> (Report, mpsc::UnboundedReceiver<(String, Value)>, tokio::task::JoinHandle<()>) {
        let (written, received) = mpsc::unbounded_channel();
        let report = Report::default();
        let task = tokio::spawn(report.clone().run(Arc::new(Slow { written, failing: AtomicUsize::new(failing) })));
        (report, received, task)
    }

    #[tokio::test]
    async fn the_newest_status_wins_and_none_comes_after_it() {
        let (report, mut written, task) = start(0);
        (0..50).for_each(|n| report.put(name("a"), json!(n), Duration::ZERO));
        assert_eq!(written.recv().await, Some(("a".into(), json!(49))));
        for n in 50..60 {
            report.put(name("a"), json!(n), Duration::ZERO);
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        let mut last = 49;
        while last < 59 {
            let (_, status) = written.recv().await.expect("the newest comes in the end");
            let status = status.as_u64().expect("a number");
            assert!(status > last, "{status} after {last}");
            last = status;
        }
        task.abort();
    }

    #[tokio::test]
    async fn a_status_that_is_replaced_before_its_delay_is_never_sent() {
        let (report, mut written, task) = start(0);
        report.put(name("a"), json!("restarting"), Duration::from_secs(5));
        report.put(name("a"), json!("running"), Duration::ZERO);
        assert_eq!(written.recv().await, Some(("a".into(), json!("running"))));
        report.put(name("a"), json!("restarting"), Duration::from_millis(100));
        assert_eq!(written.recv().await, Some(("a".into(), json!("restarting"))), "and is sent when nothing replaces it");
        task.abort();
    }

    #[tokio::test]
    async fn an_api_that_is_away_gets_the_newest_when_it_is_back() {
        let (report, mut written, task) = start(3);
        report.put(name("a"), json!(1), Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(30)).await;
        report.put(name("a"), json!(2), Duration::ZERO);
        assert_eq!(written.recv().await, Some(("a".into(), json!(2))));
        task.abort();
    }
}
