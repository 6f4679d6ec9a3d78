//! Asks a guest whether it is well.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe as ApiProbe};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::body::{self, Body};
use crate::instance::Instance;
use crate::sandbox::Failure;

/// One question that is asked again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    path: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    failures: u32,
    successes: u32,
}

/// The questions of one pod. Boxed, since most pods have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probes {
    /// Until it succeeds once, nothing else is asked; failing too often ends the instance.
    pub startup: Option<Box<Probe>>,
    /// Whether requests should come.
    pub readiness: Option<Box<Probe>>,
    /// Failing too often ends the instance.
    pub liveness: Option<Box<Probe>>,
}

/// What the questions brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Requests may come.
    Ready,
    /// Requests should not come, and why.
    Unready(String),
    /// The instance must end, and why.
    Dead(String),
}

/// How soon a guest that is not ready for the first time is asked again, at first.
const EAGER: Duration = Duration::from_millis(25);
/// Bytes of an answer's body that are read; the rest does not matter.
const MAX_BODY: usize = 64 << 10;

impl Probes {
    /// As the container has them. Only `httpGet` is asked; the API refuses the others.
    pub fn read(container: &Container) -> Probes {
        let read = |probe: &Option<ApiProbe>| probe.as_ref().and_then(Probe::read).map(Box::new);
        Probes {
            startup: read(&container.startup_probe),
            readiness: read(&container.readiness_probe),
            liveness: read(&container.liveness_probe),
        }
    }

    /// Asks until the instance ends or nobody listens. Without a readiness probe it is ready once the start-up probe allows.
    pub async fn watch(&self, instance: Arc<Instance>, findings: mpsc::Sender<Finding>) {
        if let Some(startup) = &self.startup
            && startup.until_well(&instance, &findings).await.is_err()
        {
            return;
        }
        let ready = async {
            match &self.readiness {
                Some(probe) => probe.readiness(&instance, &findings).await,
                None => drop(findings.send(Finding::Ready).await),
            }
        };
        let alive = async {
            if let Some(probe) = &self.liveness {
                probe.liveness(&instance, &findings).await;
            }
        };
        tokio::join!(ready, alive);
    }
}

impl Probe {
    fn read(probe: &ApiProbe) -> Option<Probe> {
        let get = probe.http_get.as_ref()?;
        let seconds = |value: Option<i32>, default: u64| Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default));
        let count = |value: Option<i32>, default: u32| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(default).max(1);
        Some(Probe {
            path: path(get),
            headers: headers(get),
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_millis(100)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_millis(100)),
            failures: count(probe.failure_threshold, 3),
            successes: count(probe.success_threshold, 1),
        })
    }

    /// Asks once. `Ok(false)`: the pod is too busy to be asked, which says nothing about how it is.
    fn ask(&self, instance: &Arc<Instance>) -> BoxFuture<'static, Result<bool, String>> {
        let (instance, request, patience) = (instance.clone(), self.request(), self.timeout);
        let path = self.path.path().to_owned();
        Box::pin(async move {
            match timeout(patience, status(&instance, request)).await {
                Ok(Ok(status)) if status.is_success() || status.is_redirection() => Ok(true),
                Ok(Ok(status)) => Err(format!("GET {path} answered {}", status.as_u16())),
                Ok(Err(Failure::Busy(_) | Failure::NoMemory(_))) => Ok(false),
                Ok(Err(failure)) => Err(format!("GET {path} failed: {failure}")),
                Err(_) => Err(format!("GET {path} did not answer within {patience:?}")),
            }
        })
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::new(body::empty());
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("wctl-probe"));
        headers.extend(self.headers.iter().cloned());
        request
    }

    async fn until_well(&self, instance: &Arc<Instance>, findings: &mpsc::Sender<Finding>) -> Result<(), ()> {
        let mut failures = 0;
        sleep(self.delay).await;
        loop {
            match self.ask(instance).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(why) => {
                    failures += 1;
                    if failures >= self.failures {
                        let _ = findings.send(Finding::Dead(format!("start-up probe: {why}"))).await;
                        return Err(());
                    }
                    findings.send(Finding::Unready(why)).await.map_err(drop)?;
                }
            }
            sleep(self.period).await;
        }
    }

    async fn readiness(&self, instance: &Arc<Instance>, findings: &mpsc::Sender<Finding>) {
        let mut score = Score::new(self);
        let mut eager = EAGER;
        sleep(self.delay).await;
        loop {
            if let Some(finding) = score.take(self.ask(instance).await)
                && findings.send(finding).await.is_err()
            {
                return;
            }
            // Before the first success a deploy waits for it, so it is asked for sooner than a grown-up guest would be.
            let wait = if score.was_well { self.period } else { eager.min(self.period) };
            eager = (eager * 2).min(self.period);
            sleep(wait).await;
        }
    }

    async fn liveness(&self, instance: &Arc<Instance>, findings: &mpsc::Sender<Finding>) {
        let mut failures = 0;
        sleep(self.delay.max(self.period)).await;
        loop {
            match self.ask(instance).await {
                Ok(true) => failures = 0,
                Ok(false) => {}
                Err(why) => {
                    failures += 1;
                    if failures >= self.failures {
                        let _ = findings.send(Finding::Dead(format!("liveness probe failed {failures} times in a row: {why}"))).await;
                        return;
                    }
                }
            }
            sleep(self.period).await;
        }
    }
}

/// Successes and failures in a row, and what they mean.
struct Score {
    ready: bool,
    told: bool,
    was_well: bool,
    in_a_row: u32,
    failures: u32,
    successes: u32,
}

impl Score {
    fn new(probe: &Probe) -> Score {
        Score { ready: false, told: false, was_well: false, in_a_row: 0, failures: probe.failures, successes: probe.successes }
    }

    fn take(&mut self, answer: Result<bool, String>) -> Option<Finding> {
        let why = match answer {
            Ok(false) => return None,
            Ok(true) => None,
            Err(why) => Some(why),
        };
        self.was_well |= why.is_none();
        if why.is_none() == self.ready {
            self.in_a_row = 0;
            // The first failure is told though nothing changes, since it says why the pod is not ready.
            return why.filter(|_| !std::mem::replace(&mut self.told, true)).map(Finding::Unready);
        }
        self.in_a_row += 1;
        let enough = if why.is_none() { self.successes } else { self.failures };
        if self.in_a_row < enough {
            return None;
        }
        self.in_a_row = 0;
        self.ready = !self.ready;
        Some(why.map_or(Finding::Ready, Finding::Unready))
    }
}

async fn status(instance: &Instance, request: Request<Body>) -> Result<StatusCode, Failure> {
    let response = instance.guest.handle(request).await?;
    let status = response.status();
    // The body is read so that the sandbox ends well; one that is too long or breaks does not change the status.
    let (mut body, mut left) = (response.into_body(), MAX_BODY);
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, bytes::Bytes::len));
        if left == 0 {
            break;
        }
    }
    Ok(status)
}

fn path(get: &HTTPGetAction) -> Uri {
    let path = get.path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/");
    Uri::builder()
        .scheme("http")
        .authority("localhost")
        .path_and_query(path)
        .build()
        .unwrap_or_else(|_| Uri::from_static("http://localhost/"))
}

fn headers(get: &HTTPGetAction) -> Vec<(HeaderName, HeaderValue)> {
    let headers = get.http_headers.iter().flatten();
    headers.filter_map(|header| Some((header.name.parse().ok()?, header.value.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answers: &str, want: &str) {
        let probe = Probe {
            path: Uri::from_static("/"),
            headers: Vec::new(),
            delay: Duration::ZERO,
            period: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures: 3,
            successes: 1,
        };
        let mut score = Score::new(&probe);
        let told = |answer| match score.take(answer) {
            None => '-',
            Some(Finding::Ready) => 'R',
            Some(Finding::Unready(_)) => 'U',
            Some(Finding::Dead(_)) => 'D',
        };
        let answers = answers.chars().map(|answer| match answer {
            '+' => Ok(true),
            '?' => Ok(false),
            _ => Err("503".to_owned()),
        });
        assert_eq!(answers.map(told).collect::<String>(), want, "answers, then findings");
    }

    #[test]
    fn the_first_success_makes_ready_and_three_failures_in_a_row_unready() {
        check("+++", "R--");
        check("..+", "U-R");
        check("+..+...", "R-----U");
        check("+...+", "R--UR");
    }

    #[test]
    fn a_pod_that_is_too_busy_to_be_asked_is_neither_well_nor_ill() {
        check("+?.?.?.", "R-----U");
        check("?+?", "-R-");
    }

    #[test]
    fn probes_are_read_with_kubernetes_defaults() {
        let container: Container = serde_json::from_value(serde_json::json!({
            "name": "web", "readinessProbe": {"httpGet": {"path": "/healthz", "port": 80}, "periodSeconds": 5},
            "livenessProbe": {"exec": {"command": ["true"]}},
        }))
        .expect("a container");
        let probes = Probes::read(&container);
        let ready = probes.readiness.expect("a probe");
        assert_eq!((ready.path.path(), ready.period.as_secs(), ready.timeout.as_secs(), ready.failures), ("/healthz", 5, 1, 3));
        assert_eq!(probes.liveness, None);
    }
}
