//! An App to the objects that it stands for: for each service a Deployment, a Service and, where it has routes, an Ingress; for a job a
//! Job or a CronJob.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::file::{Limits, Probe, Settings, Uses};
use super::quantity::Share;
use super::spec::{AppSpec, ServiceSpec};
use super::{Error, Job, job_name, object_name};
use crate::names;

/// The port that a Service and its pods have in the eyes of Kubernetes; nothing listens there.
const PORT: u16 = 80;

/// The objects of an App, in the order of its services. Every one is owned by the App and carries its labels.
/// Fails where the App has no name, namespace or uid, or where its spec has mistakes: all are listed, each with its path.
pub fn expand(app: &Value) -> Result<Vec<Value>, Error> {
    let field = |name: &'static str, path: &str| app.pointer(path).and_then(Value::as_str).ok_or(Error::Missing { field: name });
    let app = App {
        name: field("metadata.name", "/metadata/name")?,
        namespace: field("metadata.namespace", "/metadata/namespace")?,
        uid: field("metadata.uid", "/metadata/uid")?,
        spec: app.get("spec").ok_or(Error::Missing { field: "spec" })?,
    };
    let spec = AppSpec::read_named(Some(app.name), app.spec).map_err(|mistakes| Error::Spec { app: app.name.into(), mistakes })?;
    let mut objects = Vec::new();
    for (name, service) in &spec.services {
        let one = Service { app: &app, spec: &spec, name, object: object_name(app.name, name), service };
        if let Some(job) = &service.settings.job {
            objects.push(one.job(job));
            continue;
        }
        objects.push(one.deployment());
        objects.push(one.endpoint());
        objects.extend(one.ingress());
        objects.extend(one.scaler());
    }
    Ok(objects)
}

struct App<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    spec: &'a Value,
}

struct Service<'a> {
    app: &'a App<'a>,
    spec: &'a AppSpec,
    name: &'a str,
    object: String,
    service: &'a ServiceSpec,
}

impl Service<'_> {
    fn settings(&self) -> &Settings {
        &self.service.settings
    }

    fn labels(&self) -> Value {
        json!({ names::APP: self.app.name, names::SERVICE: self.name })
    }

    fn metadata(&self, annotations: Value) -> Value {
        let mut metadata = json!({
            "name": self.object,
            "namespace": self.app.namespace,
            "labels": self.labels(),
            "ownerReferences": [{
                "apiVersion": "wctl.dev/v1", "kind": "App", "name": self.app.name, "uid": self.app.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        });
        if annotations.as_object().is_some_and(|map| !map.is_empty()) {
            metadata["annotations"] = annotations;
        }
        metadata
    }

    fn deployment(&self) -> Value {
        let rollout = &self.spec.rollout;
        let mut annotations = Map::from_iter([(names::ON_FAILURE.to_owned(), json!(rollout.on_failure.word()))]);
        if !rollout.bake.0.is_zero() {
            annotations.insert(names::BAKE.into(), json!(rollout.bake));
        }
        if let Some(share) = rollout.canary {
            annotations.insert(names::CANARY.into(), json!(share.to_string()));
        }
        self.typed(&mut annotations);
        let (surge, unavailable) = self.pace();
        let mut deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self.metadata(Value::Object(annotations)),
            "spec": {
                "replicas": self.settings().replicas,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": rollout.deadline.0.as_secs(),
                "selector": { "matchLabels": self.labels() },
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": { "maxSurge": int_or_percent(surge), "maxUnavailable": int_or_percent(unavailable) },
                },
                "template": {
                    "metadata": { "labels": self.labels(), "annotations": self.template_annotations() },
                    "spec": self.pod(),
                },
            },
        });
        // They are the autoscaler's.
        if self.settings().scale.is_some()
            && let Some(spec) = deployment["spec"].as_object_mut()
        {
            spec.remove("replicas");
        }
        deployment
    }

    fn scaler(&self) -> Option<Value> {
        let spec = self.settings().scale.as_ref()?.spec(&self.object);
        Some(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": self.metadata(json!({})), "spec": spec,
        }))
    }

    /// How many pods there may be above and below `replicas`. Two pods cannot have one port of a node, so where one listens the old one goes first.
    fn pace(&self) -> (Share, Share) {
        let rollout = &self.spec.rollout;
        match rollout.unavailable {
            _ if self.settings().uses.listen.is_empty() => (rollout.surge, rollout.unavailable),
            Share::Count(0) | Share::Percent(0) => (Share::Count(0), Share::Count(1)),
            some => (Share::Count(0), some),
        }
    }

    fn typed(&self, annotations: &mut Map<String, Value>) {
        if let Some(typed) = &self.service.typed {
            annotations.insert(names::TYPED_IMAGE.into(), json!(typed));
        }
    }

    /// What a Pod has no field for. Time, concurrency and reuse are always written: a later default changes no running app.
    fn template_annotations(&self) -> Value {
        let Settings { limits, sandbox, uses, place, restart, .. } = self.settings();
        let Uses { keyvalue, blobs, connect, listen, call, volumes, .. } = uses;
        let mut annotations = Map::new();
        self.typed(&mut annotations);
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                annotations.insert(name.into(), value.into());
            }
        };
        put(names::KEYVALUE, listed(keyvalue));
        put(names::BLOBS, listed(blobs));
        put(names::CONNECT, listed(connect));
        put(names::LISTEN, listed(listen));
        put(names::CALL, listed(call));
        put(names::VOLUMES, listed(&volumes.iter().map(|(path, volume)| format!("{path}={}", volume.size)).collect()));
        put(names::TIME, Some(limits.time.to_string()));
        put(names::CONCURRENCY, Some(limits.concurrency.to_string()));
        put(names::REUSE, Some(sandbox.reuse.to_string()));
        put(names::BACKOFF, restart.backoff.map(|backoff| backoff.to_string()));
        put(names::BACKOFF_RESET, restart.reset.map(|reset| reset.to_string()));
        put(names::SPREAD, place.spread.clone());
        Value::Object(annotations)
    }

    fn pod(&self) -> Value {
        let settings = self.settings();
        let mut container = json!({
            "name": self.name,
            "image": self.service.image,
            "ports": [{ "name": "http", "containerPort": PORT }],
            "resources": resources(&settings.limits),
        });
        let mut put = |field: &str, value: Vec<Value>| {
            if !value.is_empty() {
                container[field] = Value::Array(value);
            }
        };
        put("args", settings.args.iter().map(|arg| json!(arg)).collect());
        put("env", self.environment());
        if let Some(probe) = settings.probe.as_ref().map(http_probe) {
            container["readinessProbe"] = probe.clone();
            container["livenessProbe"] = probe;
        }
        let mut pod = json!({ "runtimeClassName": names::RUNTIME_CLASS, "containers": [container] });
        if !settings.place.require.is_empty() {
            pod["nodeSelector"] = json!(settings.place.require);
        }
        pod
    }

    /// The app's variables under the service's own, then the secrets.
    fn environment(&self) -> Vec<Value> {
        let settings = self.settings();
        let variables: BTreeMap<&String, &String> = self.spec.env.iter().chain(&settings.env).collect();
        let variables = variables.into_iter().map(|(name, value)| json!({ "name": name, "value": value }));
        let secret = |name: &String| json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": names::SECRETS, "key": name } } });
        variables.chain(settings.uses.secrets.iter().map(secret)).collect()
    }

    /// A Job of its own name for what is asked now, or a CronJob.
    fn job(&self, job: &Job) -> Value {
        let mut metadata = self.metadata(json!({}));
        let mut pod = self.pod();
        pod["restartPolicy"] = json!("Never");
        let template = json!({ "metadata": { "labels": self.labels(), "annotations": self.template_annotations() }, "spec": pod });
        let mut run = json!({ "parallelism": 1, "completions": 1, "template": template });
        if let Some(retries) = job.retries {
            run["backoffLimit"] = json!(retries);
        }
        if let Some(deadline) = job.deadline {
            run["activeDeadlineSeconds"] = json!(deadline.0.as_secs());
        }
        let Some(cron) = &job.cron else {
            metadata["name"] = json!(job_name(self.app.name, self.name, self.app.spec));
            return json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": run });
        };
        let mut spec = json!({
            "schedule": cron, "concurrencyPolicy": job.overlap.policy(),
            "jobTemplate": { "metadata": { "labels": self.labels() }, "spec": run },
        });
        if let Some(zone) = &job.timezone {
            spec["timeZone"] = json!(zone);
        }
        if let Some(history) = job.history {
            spec["successfulJobsHistoryLimit"] = json!(history);
            spec["failedJobsHistoryLimit"] = json!(history);
        }
        json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec })
    }

    fn endpoint(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(json!({})),
            "spec": { "selector": self.labels(), "ports": [{ "name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP" }] },
        })
    }

    fn ingress(&self) -> Option<Value> {
        let mut hosts: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for route in &self.settings().route {
            let backend = json!({ "service": { "name": self.object, "port": { "number": PORT } } });
            hosts.entry(&route.host).or_default().push(json!({ "path": route.path, "pathType": "Prefix", "backend": backend }));
        }
        let rule = |(host, paths): (&str, Vec<Value>)| match host {
            "" => json!({ "http": { "paths": paths } }),
            host => json!({ "host": host, "http": { "paths": paths } }),
        };
        let rules: Vec<Value> = hosts.into_iter().map(rule).collect();
        (!rules.is_empty()).then(|| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": self.metadata(json!({})),
                "spec": { "rules": rules },
            })
        })
    }
}

fn listed(names: &BTreeSet<String>) -> Option<String> {
    (!names.is_empty()).then(|| names.iter().map(String::as_str).collect::<Vec<_>>().join(","))
}

/// `requests` are what placement reserves: what is written, or the little that an idle pod needs, which is no CPU at all. CPU is
/// bounded only where it is written.
fn resources(limits: &Limits) -> Value {
    let mut most = json!({ "memory": limits.memory.unwrap_or(Limits::MEMORY) });
    let mut least = json!({ "memory": limits.memory.unwrap_or(Limits::RESERVED_MEMORY) });
    if let Some(cpu) = limits.cpu {
        most["cpu"] = json!(cpu);
        least["cpu"] = json!(cpu);
    }
    json!({ "limits": most, "requests": least })
}

fn http_probe(probe: &Probe) -> Value {
    json!({
        "httpGet": { "path": probe.path, "port": PORT },
        "periodSeconds": probe.every.0.as_secs(),
        "timeoutSeconds": probe.timeout.0.as_secs(),
        "failureThreshold": probe.fail,
    })
}

fn int_or_percent(share: Share) -> Value {
    match share {
        Share::Count(count) => json!(count),
        Share::Percent(_) => json!(share.to_string()),
    }
}
