//! What a Pod object asks of this node, read once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use scheduler::{model, names};

use super::files::{self, Files};
use super::step::Assigned;
use crate::gateway::local::Identity;
use crate::instance::backoff::{Limits, duration};
use crate::probe::Probes;
use crate::sandbox::target::listening;
use crate::sandbox::{Spec, Target, VolumeGrant};

/// Everything about a pod that does not change in its life.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its names.
    pub identity: Arc<Identity>,
    /// The container's name.
    pub container: String,
    /// The image, by digest.
    pub image: String,
    /// Its sandboxes' limits and grants; the environment is put together at each start.
    pub spec: Arc<Spec>,
    /// Where variables come from, in order; later ones win.
    pub env_from: Vec<EnvFromSource>,
    /// Variables one by one; they win over `env_from`.
    pub env: Vec<EnvVar>,
    /// Files of ConfigMaps and Secrets that it sees.
    pub files: Vec<Files>,
    /// How it is asked whether it is well.
    pub probes: Probes,
    /// How crashes delay it.
    pub backoff: Limits,
    /// What happens when it returns or crashes.
    pub restart: Restart,
}

/// `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Whatever happened.
    Always,
    /// Unless it returned 0.
    OnFailure,
    /// It lives once.
    Never,
}

/// A pod that cannot be run as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pod {pod}: {problem}")]
pub struct Unreadable {
    /// Its name.
    pub pod: String,
    /// What is wrong.
    pub problem: String,
}

/// Reads a Pod.
///
/// # Errors
/// When it has no container, or a limit or grant that cannot be read: running it with less than it asks for would be a surprise, with more a hole.
pub fn wanted(pod: &Pod) -> Result<Wanted, Unreadable> {
    let fail = |problem: String| Unreadable { pod: pod.name_any(), problem };
    let spec = pod.spec.as_ref().ok_or_else(|| fail("it has no spec".into()))?;
    let container = spec.containers.first().ok_or_else(|| fail("it has no container".into()))?;
    let identity = Arc::new(identity(pod, container));
    let (files, scratch) = files::read(pod, container).map_err(fail)?;
    let mut sandbox = sandbox(pod, container, &identity).map_err(fail)?;
    sandbox.volumes.extend(scratch);
    Ok(Wanted {
        container: container.name.clone(),
        image: container.image.clone().ok_or_else(|| fail("its container has no image".into()))?,
        spec: Arc::new(sandbox),
        files,
        env_from: container.env_from.clone().unwrap_or_default(),
        env: container.env.clone().unwrap_or_default(),
        probes: Probes::read(container),
        backoff: Limits::read(annotation(pod, names::BACKOFF), annotation(pod, names::BACKOFF_RESET)),
        restart: match spec.restart_policy.as_deref() {
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ => Restart::Always,
        },
        identity,
    })
}

/// What the API says about the pod now.
pub fn assigned(pod: &Pod) -> Assigned {
    let grace = pod.metadata.deletion_grace_period_seconds.or(pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds));
    let grace = Duration::from_secs(grace.unwrap_or(30).try_into().unwrap_or(0));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    Assigned {
        deleted: pod.metadata.deletion_timestamp.is_some().then_some(grace),
        finished: matches!(phase, Some("Succeeded" | "Failed")),
    }
}

/// After how long without a request the pod may sleep now; none where it may not.
pub fn sleep(pod: &Pod) -> Option<Duration> {
    annotation(pod, names::SLEEP)?.parse().ok().map(Duration::from_secs)
}

/// Whether it slept when its node last told of it.
pub fn slept(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == names::ASLEEP && condition.status == "True")
}

fn identity(pod: &Pod, container: &Container) -> Identity {
    let label = |name: &str| pod.labels().get(name).cloned();
    Identity {
        namespace: pod.namespace().unwrap_or_else(|| names::DEFAULT_NAMESPACE.into()),
        app: label(names::APP).unwrap_or_default(),
        service: label(names::SERVICE).unwrap_or_else(|| container.name.clone()),
        pod: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        revision: annotation(pod, names::REVISION).map(str::to_owned).or_else(|| label(names::TEMPLATE_HASH)).unwrap_or_default(),
    }
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.annotations().get(name).map(String::as_str)
}

fn list(pod: &Pod, name: &str) -> Vec<String> {
    let items = annotation(pod, name).unwrap_or_default().split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn sandbox(pod: &Pod, container: &Container, identity: &Identity) -> Result<Spec, String> {
    let mut spec = Spec::new(identity.of_guest());
    let command = container.command.iter().chain(&container.args).flatten().cloned();
    spec.args = std::iter::once(container.name.clone()).chain(command).collect();
    if let Some(memory) = limit(container, "memory") {
        spec.memory = model::parse_memory(&memory.0).ok_or_else(|| format!("`{}` is not an amount of memory", memory.0))?;
    }
    // Only a written limit: what placement reserves is no bound.
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    if let Some(cpu) = limits.and_then(|limits| limits.get("cpu")) {
        spec.cpu = Some(
            model::parse_cpu(&cpu.0)
                .and_then(|millis| u32::try_from(millis).ok())
                .ok_or_else(|| format!("`{}` is not an amount of CPU", cpu.0))?,
        );
    }
    // Whoever names an amount may be scaled by it.
    spec.counts_cpu =
        container.resources.as_ref().and_then(|resources| resources.requests.as_ref()).is_some_and(|all| all.contains_key("cpu"));
    if let Some(time) = annotation(pod, names::TIME) {
        spec.time = duration(time).ok_or_else(|| format!("`{time}` of {} is not a time: write 5s or 500ms", names::TIME))?;
    }
    let number = |name: &str| match annotation(pod, name) {
        Some(text) => {
            text.parse::<u32>().ok().filter(|n| *n > 0).map(Some).ok_or_else(|| format!("`{text}` of {name} is not a number from 1 on"))
        }
        None => Ok(None),
    };
    spec.concurrency = number(names::CONCURRENCY)?.unwrap_or(spec.concurrency);
    spec.reuse = number(names::REUSE)?.unwrap_or(spec.reuse);
    spec.keyvalue = list(pod, names::KEYVALUE);
    spec.blobs = list(pod, names::BLOBS);
    spec.call = list(pod, names::CALL);
    spec.volumes = list(pod, names::VOLUMES).iter().map(|text| volume(text)).collect::<Result<_, _>>()?;
    let port = |text: &String| listening(text).ok_or_else(|| format!("`{text}` of {} is not a port: write 5000/tcp", names::LISTEN));
    spec.listen = list(pod, names::LISTEN).iter().map(port).collect::<Result<_, _>>()?;
    let targets = list(pod, names::CONNECT);
    spec.connect = targets.iter().map(|target| target.parse::<Target>().map_err(|error| error.to_string())).collect::<Result<_, _>>()?;
    Ok(spec)
}

/// `/data=100Mi`.
fn volume(text: &str) -> Result<VolumeGrant, String> {
    let read = text
        .split_once('=')
        .and_then(|(path, size)| Some(VolumeGrant { path: path.to_owned(), size: model::parse_memory(size)?, of_pod: false }));
    read.filter(|grant| grant.path.starts_with('/'))
        .ok_or_else(|| format!("`{text}` of {} is not a volume: write /data=100Mi", names::VOLUMES))
}

fn limit<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    let resources = container.resources.as_ref()?;
    let of = |amounts: &'a Option<BTreeMap<String, Quantity>>| amounts.as_ref().and_then(|amounts| amounts.get(name));
    of(&resources.limits).or_else(|| of(&resources.requests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(annotations: serde_json::Value, resources: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "shop-user-1", "namespace": "default", "uid": "u1", "annotations": annotations,
                         "labels": {"wctl.dev/app": "shop", "wctl.dev/service": "user", "pod-template-hash": "abc"}},
            "spec": {"containers": [{"name": "user", "image": "r/user@sha256:00", "args": ["-v"], "resources": resources}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn limits_and_grants_come_from_the_pod_and_nothing_else_is_granted() {
        let annotations = json!({"wctl.dev/keyvalue": "users, stock", "wctl.dev/call": "inventory", "wctl.dev/time": "500ms",
                                 "wctl.dev/concurrency": "7", "wctl.dev/connect": "https://api.test",
                                 "wctl.dev/volumes": "/data=100Mi", "wctl.dev/blobs": "uploads"});
        let wanted = wanted(&pod(annotations, json!({"limits": {"memory": "64Mi"}}))).expect("readable");
        assert_eq!(wanted.spec.memory, 64 << 20);
        assert_eq!(wanted.spec.time, Duration::from_millis(500));
        assert_eq!((wanted.spec.concurrency, wanted.spec.reuse), (7, 1));
        assert_eq!(wanted.spec.keyvalue, ["users", "stock"]);
        assert_eq!(wanted.spec.connect[0].to_string(), "https://api.test:443");
        assert_eq!(wanted.spec.blobs, ["uploads"]);
        assert_eq!(wanted.spec.volumes, [VolumeGrant { path: "/data".into(), size: 100 << 20, of_pod: false }]);
        assert_eq!(wanted.spec.args, ["user", "-v"]);
        assert_eq!(wanted.identity.revision, "abc");
        let bare = super::wanted(&pod(json!({}), json!({}))).expect("readable");
        assert!(bare.spec.keyvalue.is_empty() && bare.spec.connect.is_empty() && bare.spec.call.is_empty());
        assert!(bare.spec.volumes.is_empty() && bare.spec.blobs.is_empty());
    }

    #[test]
    fn an_unreadable_limit_stops_the_pod_instead_of_being_guessed() {
        let error = wanted(&pod(json!({"wctl.dev/time": "fast"}), json!({}))).expect_err("not a time");
        assert_eq!(error.to_string(), "pod shop-user-1: `fast` of wctl.dev/time is not a time: write 5s or 500ms");
        assert!(wanted(&pod(json!({"wctl.dev/concurrency": "0"}), json!({}))).is_err());
        assert!(wanted(&pod(json!({"wctl.dev/connect": "api.test"}), json!({}))).is_err());
        assert!(wanted(&pod(json!({"wctl.dev/volumes": "/data"}), json!({}))).is_err());
        assert!(wanted(&pod(json!({}), json!({"limits": {"memory": "lots"}}))).is_err());
    }

    #[test]
    fn a_deletion_carries_its_grace() {
        let mut going = pod(json!({}), json!({}));
        assert_eq!(assigned(&going).deleted, None);
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time");
        assert_eq!(assigned(&going).deleted, Some(Duration::from_secs(30)));
        going.metadata.deletion_grace_period_seconds = Some(5);
        assert_eq!(assigned(&going).deleted, Some(Duration::from_secs(5)));
    }
}
