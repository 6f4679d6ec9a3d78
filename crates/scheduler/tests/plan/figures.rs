//! How long the plan takes for large clusters. `--release --test plan -- --ignored --nocapture figures` prints it beside its targets.

use crate::cluster::{Cluster, id};
use scheduler::kinds;
use scheduler::plan::{Plan, plan_units};
use serde_json::json;
use std::time::{Duration, Instant};

/// Pods of each Deployment, and pods for each node.
const PODS_EACH: usize = 20;

/// Plans what changed. What it takes is the quickest of three times: what else the machine does is none of the plan's.
fn decide(cluster: &mut Cluster) -> (Plan, Duration) {
    let wall = cluster.wall();
    cluster.snapshot.set_wall(wall, false);
    let units = cluster.snapshot.take_dirty();
    let once = || {
        let (units, since) = (units.clone(), Instant::now());
        (plan_units(&cluster.snapshot, units, cluster.now), since.elapsed())
    };
    [once(), once(), once()].into_iter().min_by_key(|(_, took)| *took).expect("three plans")
}

/// A cluster of ready nodes with free room, and the Deployments of so many pods that nothing was done for yet.
fn asked_for(pods: usize) -> Cluster {
    let mut cluster = Cluster::new();
    for number in 0..pods / PODS_EACH {
        let (node, web) = (format!("edge-{number}"), format!("web-{number}"));
        let zone = format!("zone-{}", number % 7);
        cluster.node(&node, "8Gi", json!({"kubernetes.io/hostname": node, "topology.kubernetes.io/zone": zone}));
        cluster.deployment(&web, PODS_EACH as u32, "web@sha256:0", "64Mi", None, json!({}));
        cluster.service(&web, json!({"app": web}), None);
    }
    cluster.tell();
    cluster
}

/// Plans and carries out until nothing is left to do; what planning took.
fn settle(cluster: &mut Cluster) -> Duration {
    let mut took = Duration::ZERO;
    loop {
        let (plan, once) = decide(cluster);
        took += once;
        let nothing = plan.actions.is_empty();
        cluster.carry_out(&plan);
        if nothing && !cluster.agents() {
            return took;
        }
        cluster.tell();
    }
}

#[test]
#[ignore = "slow: prints how long the plan takes for 1,000 to 100,000 pods"]
fn figures() {
    let mut last = None;
    for pods in [1_000, 10_000, 100_000] {
        let mut cluster = asked_for(pods);
        let empty = settle(&mut cluster);
        let (ready, nodes) = (cluster.all(&kinds::POD).len(), pods / PODS_EACH);
        assert_eq!(ready, pods);
        // One Deployment more pods, one node less: the plan of that turn alone.
        let mut changes = Vec::new();
        for turn in 0..20 {
            cluster.change(&id(&kinds::DEPLOYMENT, &format!("web-{turn}")), |web| web["spec"]["replicas"] = json!(PODS_EACH + 3));
            cluster.tell();
            let (plan, took) = decide(&mut cluster);
            changes.push(took);
            assert!(!plan.actions.is_empty());
            cluster.carry_out(&plan);
            settle(&mut cluster);
        }
        changes.sort();
        let slope = last.map_or(String::new(), |last: Duration| format!(", {:.1} x the last", empty.as_secs_f64() / last.as_secs_f64()));
        println!(
            "plan for {nodes} nodes and {pods} pods: from empty {empty:.2?}{slope}; one change {:.2?} (median), {:.2?} (longest)",
            changes[changes.len() / 2],
            changes[changes.len() - 1],
        );
        last = Some(empty);
    }
    println!("must be, for 5,000 nodes and 100,000 pods: from empty <= 5 s, one change <= 50 ms, near-linear");
}
