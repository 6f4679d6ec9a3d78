//! What must never happen in a world, and what must hold once it has settled.

use super::{NODE_MEMORY, World};
use crate::cluster::scheduler_ready;
use scheduler::kinds;
use scheduler::model::parse_memory;
use scheduler::objects::Object;
use scheduler::plan::Plan;
use std::collections::BTreeMap;

impl World {
    /// What must never be seen.
    pub fn never(&mut self, decided: &Plan) {
        self.nodes_are_not_overfull();
        if self.cluster.conflicts.is_empty() {
            self.routes_lead_to_ready_pods(decided.actions.is_empty());
        }
        if self.calm {
            self.rollouts_cost_nothing();
        }
    }

    fn nodes_are_not_overfull(&self) {
        let mut used: BTreeMap<String, u64> = BTreeMap::new();
        for pod in self.cluster.all(&kinds::POD) {
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
            if ready >= 3 {
                self.proven.insert(name.to_owned());
            }
            assert!(ready >= 3 || !self.proven.contains(name), "{name} has {ready} endpoints, fewer than its 3");
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
        for pod in self.cluster.all(&kinds::POD) {
            assert!(pod.deletion_timestamp().is_none(), "{} lingers", pod.name());
            let app = pod.label(scheduler::names::APP).unwrap_or("");
            assert!(self.apps.contains_key(app), "{} belongs to no App", pod.name());
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
