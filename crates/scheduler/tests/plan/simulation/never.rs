//! What must never happen in a world, and what must hold once it has settled.

use super::{NODE_MEMORY, World};
use crate::cluster::{is_asleep, scheduler_ready};
use scheduler::kinds;
use scheduler::model::parse_memory;
use scheduler::objects::Object;
use scheduler::plan::Plan;
use std::collections::BTreeMap;

impl World {
    /// What must never be seen.
    pub fn never(&mut self, decided: &Plan) {
        self.nodes_are_not_overfull();
        self.jobs_run_no_pod_too_many();
        if self.cluster.conflicts.is_empty() {
            self.routes_lead_to_ready_pods(decided.actions.is_empty());
        }
        if self.calm {
            self.rollouts_cost_nothing();
        }
    }

    /// A success is not repeated, and no more is made once enough failed.
    fn jobs_run_no_pod_too_many(&self) {
        let mut succeeded: BTreeMap<&str, u64> = BTreeMap::new();
        for pod in self.cluster.all(&kinds::POD) {
            if let (Some(job), Some("Succeeded")) = (pod.label(scheduler::names::JOB_UID), pod.status()["phase"].as_str()) {
                *succeeded.entry(job).or_default() += 1;
            }
        }
        for job in self.cluster.all(&kinds::JOB) {
            let completions = job.spec()["completions"].as_u64().unwrap_or(1);
            let found = succeeded.get(job.uid()).copied().unwrap_or(0);
            assert!(found <= completions, "{} has {found} pods that succeeded, more than its {completions}", job.name());
            let counted = job.status()["succeeded"].as_u64().unwrap_or(0);
            assert!(counted <= completions, "{} counts {counted} successes of {completions}", job.name());
            let failed = job.status()["failed"].as_u64().unwrap_or(0);
            let most = job.spec()["backoffLimit"].as_u64().unwrap_or(6) + job.spec()["parallelism"].as_u64().unwrap_or(1);
            assert!(failed <= most, "{} was tried {failed} times", job.name());
        }
    }

    fn nodes_are_not_overfull(&self) {
        let mut used: BTreeMap<String, u64> = BTreeMap::new();
        let taking = |pod: &&Object| !matches!(pod.status()["phase"].as_str(), Some("Succeeded" | "Failed"));
        for pod in self.cluster.all(&kinds::POD).into_iter().filter(taking) {
            let memory = pod.spec()["containers"][0]["resources"]["requests"]["memory"].as_str().and_then(parse_memory);
            if let Some(node) = pod.spec()["nodeName"].as_str() {
                *used.entry(node.to_owned()).or_default() += memory.unwrap_or(0);
            }
        }
        for (node, memory) in used {
            assert!(memory <= parse_memory(NODE_MEMORY).expect("a size"), "node {node} has {memory} bytes asked of it");
        }
    }

    /// As far as the leader knows: what it was not told yet it cannot act on.
    fn routes_lead_to_ready_pods(&self, quiet: bool) {
        let snapshot = &self.cluster.snapshot;
        for slice in snapshot.slices.values() {
            let service = &slice.service;
            if !snapshot.services.contains_key(&slice.meta.key) {
                continue;
            }
            for endpoint in &slice.endpoints {
                let pod = snapshot.pods.get(&slice.meta.key.sibling(&endpoint.pod)).filter(|pod| pod.meta.uid == endpoint.uid);
                let serves = pod.is_some_and(|pod| pod.ready.is_some() && !pod.meta.deleting);
                assert!(serves, "{} of {service} gets requests, but is not there, not ready or on its way out", endpoint.pod);
                assert!(!quiet || !snapshot.is_lost(&endpoint.node), "{} of {service} gets requests on a lost node", endpoint.pod);
            }
        }
    }

    fn rollouts_cost_nothing(&mut self) {
        for deployment in self.cluster.all(&kinds::DEPLOYMENT) {
            let name = deployment.name();
            let slice = self.cluster.get(&kinds::ENDPOINT_SLICE, name);
            let ready = slice.and_then(|slice| slice.0["endpoints"].as_array()).map_or(0, Vec::len);
            let least = if name == "sleeper" { 1 } else { 3 };
            if ready >= least {
                self.proven.insert(name.to_owned());
            }
            assert!(ready >= least || !self.proven.contains(name), "{name} has {ready} endpoints, fewer than its {least}");
            let label = deployment.label(scheduler::names::SERVICE).unwrap_or("");
            let app = deployment.label(scheduler::names::APP).unwrap_or("");
            let staying = self.cluster.all(&kinds::POD).into_iter().filter(|pod| {
                let same = |name: &str, value: &str| pod.label(name) == Some(value);
                same(scheduler::names::SERVICE, label) && same(scheduler::names::APP, app) && pod.deletion_timestamp().is_none()
            });
            let count = staying.count();
            assert!(count <= 4, "{name} has {count} pods, more than 3 and a surge of 1");
        }
    }

    /// Everything is where the last acknowledged word wants it.
    pub fn settled(&self) {
        for (name, services) in &self.apps {
            let app = self.cluster.get(&kinds::APP, name).expect("the App");
            let phase = app.status()["phase"].as_str().unwrap_or("none");
            assert_eq!(app.status()["observedGeneration"], app.generation(), "{name}: {}", app.0);
            assert!(matches!(phase, "Ready" | "RolledBack" | "Failed"), "{name} is {phase}: {}", app.status());
            if phase == "Ready" {
                assert_eq!(&self.running(name), services, "{name} runs what was asked for");
            }
            if phase != "Failed" {
                self.app_is_whole(name);
            }
        }
        self.cron_jobs_went_on();
        self.one_sleeps();
        for pod in self.cluster.all(&kinds::POD) {
            assert!(pod.deletion_timestamp().is_none() || pod.label(scheduler::names::JOB_NAME).is_some(), "{} lingers", pod.name());
            if pod.label(scheduler::names::JOB_NAME).is_some() {
                continue;
            }
            if pod.label("app") == Some("sleeper") {
                continue;
            }
            let app = pod.label(scheduler::names::APP).unwrap_or("");
            assert!(self.apps.contains_key(app), "{} belongs to no App", pod.name());
        }
    }

    /// Of what may sleep one pod is ready and may, the good revision's, and the Deployment says whether it does.
    fn one_sleeps(&self) {
        let pods: Vec<&Object> = self.cluster.all(&kinds::POD).into_iter().filter(|pod| pod.label("app") == Some("sleeper")).collect();
        let ready: Vec<&&Object> = pods.iter().filter(|pod| scheduler_ready(pod)).collect();
        assert_eq!(ready.len(), 1, "the sleeper has one that can wake: {pods:?}");
        assert!(pods.iter().all(|pod| pod.annotation(scheduler::names::SLEEP) == Some("10")));
        let conditions = self.cluster.get(&kinds::DEPLOYMENT, "sleeper").map(|deployment| deployment.status()["conditions"].clone());
        let said = conditions.iter().flat_map(|all| all.as_array()).flatten().any(|c| c["type"] == "Asleep");
        assert_eq!(said, pods.len() == 1 && is_asleep(ready[0]), "{pods:?}");
    }

    /// The last minute's tick ran, unless one before is at work and is waited for, or the clock was set back behind it.
    fn cron_jobs_went_on(&self) {
        for name in ["tick", "tack"] {
            let cron = self.cluster.get(&kinds::CRON_JOB, name).expect("the CronJob");
            let time = |text: &str| text.parse::<jiff::Timestamp>().expect("a time");
            // Under a clock that was set back there may have been no tick yet.
            let last = cron.status()["lastScheduleTime"].as_str().map_or_else(|| time(cron.created()), time);
            let late = self.cluster.wall().as_second() - last.as_second();
            assert!(late <= 61, "{name} ran last {late} s ago");
        }
    }

    fn app_is_whole(&self, name: &str) {
        for (service, (replicas, image)) in self.running(name) {
            let full = format!("{name}-{service}");
            let pods = self.cluster.all(&kinds::POD).into_iter().filter(|pod| pod.name().starts_with(&format!("{full}-")));
            let pods: Vec<&Object> = pods.collect();
            assert_eq!(pods.len() as u32, replicas, "{full} has as many pods as asked for");
            assert!(pods.iter().all(|pod| scheduler_ready(pod)), "all pods of {full} are ready");
            assert!(pods.iter().all(|pod| pod.spec()["containers"][0]["image"] == image), "all pods of {full} run {image}");
            let slice = self.cluster.get(&kinds::ENDPOINT_SLICE, &full).expect("endpoints");
            assert_eq!(slice.0["endpoints"].as_array().map(Vec::len), Some(pods.len()), "{full} has all its endpoints");
        }
    }
}
