//! What people write into the cluster, and what the API makes of it.

use super::{Cluster, NAMESPACE};
use scheduler::app::object_name;
use scheduler::kinds;
use scheduler::model::{Key, LEASES, ObjectId, Resolution, Unit};
use scheduler::names;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Cluster {
    pub fn node(&mut self, name: &str, memory: &str, labels: Value) {
        self.put(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "status": {"capacity": {"memory": memory, "cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]},
        }));
        self.lease(name);
    }

    pub fn lease(&mut self, node: &str) {
        let turn = self.version;
        let known = self.store.get(&ObjectId::new(&kinds::LEASE, Key::new(LEASES, node)));
        let annotations = known.map_or(Value::Null, |lease| lease.0["metadata"]["annotations"].clone());
        self.put(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node, "namespace": LEASES, "annotations": annotations},
            "spec": {"holderIdentity": node, "leaseTransitions": turn},
        }));
    }

    pub fn service(&mut self, name: &str, selector: Value, owner: Option<Value>) {
        self.put(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": owner.into_iter().collect::<Vec<_>>()},
            "spec": {"selector": selector, "ports": [{"port": 80}]},
        }));
    }

    /// The Deployment `sleeper` of one pod, with an autoscaler whose fewest pods are 0.
    pub fn sleeper(&mut self, image: &str) {
        self.deployment("sleeper", 1, image, "64Mi", None, json!({}));
        self.service("sleeper", json!({"app": "sleeper"}), None);
        let target = json!({"type": "AverageValue", "averageValue": "10"});
        self.put(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "sleeper", "namespace": NAMESPACE},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "sleeper"}, "minReplicas": 0, "maxReplicas": 3,
                "metrics": [{"type": "Pods", "pods": {"metric": {"name": "concurrency"}, "target": target}}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
            },
        }));
    }

    /// A Job or a CronJob with the API's defaults; `spec` is the Job's, `cron` the CronJob's own fields.
    pub fn job(&mut self, name: &str, spec: Value, cron: Option<Value>) {
        let template = json!({
            "metadata": {"labels": {"app": name}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": name, "image": "job@sha256:0", "resources": {"requests": {"memory": "64Mi"}}}]},
        });
        let mut job = json!({"template": template});
        for (field, value) in spec.as_object().into_iter().flatten() {
            job[field] = value.clone();
        }
        let (kind, mut spec) = match &cron {
            Some(_) => (&kinds::CRON_JOB, json!({"jobTemplate": {"spec": job}})),
            None => (&kinds::JOB, job),
        };
        for (field, value) in cron.iter().filter_map(Value::as_object).flatten() {
            spec[field] = value.clone();
        }
        let uid = format!("uid-of-{name}");
        let mut object = json!({
            "apiVersion": "batch/v1", "kind": kind.kind, "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid}, "spec": spec,
        });
        if let Some(before) = self.get(kind, name) {
            object["status"] = before.status().clone();
        }
        scheduler::api::defaults::fill(kind, &mut object);
        self.put(object);
    }

    /// The registry answers, for the `tries`th time, that there is no such tag.
    pub fn refuse(&mut self, deployment: &str, tries: u32) {
        let deployment = Key::new(NAMESPACE, deployment);
        self.tell();
        let typed = self.snapshot.deployments.get(&deployment).expect("the Deployment").template.text.clone();
        let asked = (deployment.clone(), typed);
        self.snapshot.resolutions.insert(asked, Resolution::Failed { why: "there is no such tag".into(), at: self.now, tries });
        self.snapshot.mark(Unit::Deployment(deployment));
    }

    /// An Ingress that leads this host and path to `service`.
    pub fn ingress(&mut self, name: &str, host: &str, path: &str, service: &str) {
        let backend = json!({"service": {"name": service, "port": {"number": 80}}});
        self.put(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"rules": [{"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]},
        }));
    }

    /// A Deployment as `name` with these pods; `more` goes into its spec. Keeps its status.
    pub fn deployment(&mut self, name: &str, replicas: u32, image: &str, memory: &str, owner: Option<(Value, Value)>, more: Value) {
        let (owner, labels) = owner.unzip();
        let labels = labels.unwrap_or_else(|| json!({"app": name}));
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": name, "namespace": NAMESPACE, "labels": labels, "annotations": {names::ON_FAILURE: "rollback"},
                "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
            },
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels}, "progressDeadlineSeconds": 60, "revisionHistoryLimit": 2,
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": name, "image": image, "resources": {"requests": {"memory": memory}}}]},
                },
            },
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        if let Some(before) = self.get(&kinds::DEPLOYMENT, name) {
            object["status"] = before.status().clone();
            let revision = before.annotation(names::REVISION).unwrap_or("0").to_owned();
            object["metadata"]["annotations"][names::REVISION] = json!(revision);
        }
        self.put(object);
    }

    /// One App with its services as `name: (replicas, image)`, expanded as the API does it.
    pub fn app(&mut self, name: &str, services: &BTreeMap<String, (u32, String)>, rolled_back: Option<&str>) {
        let spec: Value =
            services.iter().map(|(s, (replicas, image))| (s.clone(), json!({"replicas": replicas, "image": image}))).collect();
        let status = self.get(&kinds::APP, name).map(|app| app.status().clone()).unwrap_or(Value::Null);
        let annotations = rolled_back.map(|why| json!({names::ROLLED_BACK: why})).unwrap_or(json!({}));
        self.put(json!({
            "apiVersion": "wctl.dev/v1", "kind": "App", "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
            "spec": {"services": spec}, "status": status,
        }));
        let app = self.get(&kinds::APP, name).expect("the App").clone();
        let owner = app.controller_reference();
        let generation = app.generation();
        self.put(json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {"name": format!("{name}-{generation}"), "namespace": NAMESPACE, "ownerReferences": [owner]},
            "revision": generation, "data": {"spec": {"services": spec}},
        }));
        for (service, (replicas, image)) in services {
            let full = object_name(name, service);
            let labels = json!({names::APP: name, names::SERVICE: service});
            self.service(&full, labels.clone(), Some(owner.clone()));
            self.deployment(&full, *replicas, image, "64Mi", Some((owner.clone(), labels)), json!({}));
        }
    }

    /// Whether the App is still the one that is to go back.
    pub fn roll_back(&mut self, name: &str, generation: i64, to: i64, why: &str) -> bool {
        if self.get(&kinds::APP, name).is_none_or(|app| app.generation() != generation) {
            return false;
        }
        let old = self.get(&kinds::CONTROLLER_REVISION, &format!("{name}-{to}")).expect("the good revision is kept");
        let service = |(name, spec): (&String, &Value)| {
            (name.clone(), (spec["replicas"].as_u64().unwrap_or(0) as u32, spec["image"].as_str().unwrap_or("").to_owned()))
        };
        let services = old.0["data"]["spec"]["services"].as_object().into_iter().flatten().map(service).collect();
        self.app(name, &services, Some(why));
        true
    }

    /// Makes what the App stands for and is gone, if the App is still the one that is meant.
    pub fn remake(&mut self, name: &str, generation: i64) -> bool {
        let Some(app) = self.get(&kinds::APP, name).filter(|app| app.generation() == generation).cloned() else { return false };
        let owner = app.controller_reference();
        for (service, spec) in app.spec()["services"].as_object().into_iter().flatten() {
            let full = object_name(name, service);
            let labels = json!({names::APP: name, names::SERVICE: service});
            if self.get(&kinds::SERVICE, &full).is_none() {
                self.service(&full, labels.clone(), Some(owner.clone()));
            }
            if self.get(&kinds::DEPLOYMENT, &full).is_none() {
                let (replicas, image) = (spec["replicas"].as_u64().unwrap_or(0) as u32, spec["image"].as_str().unwrap_or(""));
                self.deployment(&full, replicas, image, "64Mi", Some((owner.clone(), labels)), json!({}));
            }
        }
        true
    }
}
