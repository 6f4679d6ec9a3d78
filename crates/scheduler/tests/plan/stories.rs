//! What the plan decides, as stories: a few lines of text in, the plan as text out.

use crate::cluster::{Cluster, id};
use scheduler::kinds;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Runs a story and compares what its `plan` lines print.
///
/// - `node NAME MEMORY [label=value]`, `lease NAME`, `gone NAME` (a node is deleted), `cordon NAME`
/// - `deploy NAME REPLICAS IMAGE [memory=…] [node=LABEL=VALUE] [recreate] [paused] [bake=…]`, with a Service of that name
/// - `app NAME SERVICE=REPLICAS:IMAGE…`; `delete KIND NAME`
/// - `ready POD`, `unready POD`, `crash POD REASON MESSAGE…`: what an agent reports; a pod is `web#1.0`: the first of revision 1
/// - `settle`: all agents and the loop, until nothing moves; an image with `bad` in it never becomes ready
/// - `after SECONDS`: nodes report meanwhile, but for those that are `silent NAME`; `restart`: another leader; `pods`: prints pods and their nodes
/// - `plan`: one turn, printed; `quietly`: one turn, not printed
fn check(story: &str, expect: &str) {
    let mut teller = Teller { cluster: Cluster::new(), silent: BTreeSet::new(), out: String::new() };
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        teller.run(&words);
    }
    let trim = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let (got, expect) = (trim(&teller.out), trim(expect));
    assert!(got == expect, "the plan is\n{got}\n\nand should be\n{expect}");
}

struct Teller {
    cluster: Cluster,
    silent: BTreeSet<String>,
    out: String,
}

impl Teller {
    fn run(&mut self, words: &[&str]) {
        let cluster = &mut self.cluster;
        match words {
            ["node", name, memory, labels @ ..] => {
                let labels = labels.iter().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), json!(v))).collect();
                cluster.node(name, memory, serde_json::Value::Object(labels));
            }
            ["lease", name] => cluster.lease(name),
            ["gone", name] => cluster.remove(&id(&kinds::NODE, name)),
            ["cordon", name] => cluster.change(&id(&kinds::NODE, name), |node| node["spec"] = json!({"unschedulable": true})),
            ["deploy", name, replicas, image, options @ ..] => self.deploy(name, replicas, image, options),
            ["app", name, services @ ..] => {
                let services = services.iter().filter_map(|s| s.split_once('=')).map(|(service, rest)| {
                    let (replicas, image) = rest.split_once(':').expect("REPLICAS:IMAGE");
                    (service.to_owned(), (replicas.parse().expect("a number"), format!("{image}@sha256:0")))
                });
                cluster.app(name, &services.collect(), None);
            }
            ["delete", "deployment", name] => cluster.remove(&id(&kinds::DEPLOYMENT, name)),
            ["delete", "app", name] => cluster.remove(&id(&kinds::APP, name)),
            ["ready", pod] => self.report(pod, true, None),
            ["unready", pod] => self.report(pod, false, None),
            ["crash", pod, reason, message @ ..] => self.report(pod, false, Some((reason, &message.join(" ")))),
            ["settle"] => cluster.settle(),
            ["after", seconds] => {
                cluster.now += Duration::from_secs_f64(seconds.parse().expect("seconds"));
                let nodes = cluster.all(&kinds::NODE);
                nodes.iter().filter(|node| !self.silent.contains(node.name())).for_each(|node| cluster.lease(node.name()));
            }
            ["silent", name] => drop(self.silent.insert((*name).to_owned())),
            ["restart"] => cluster.restart(),
            ["quietly"] => {
                cluster.tell();
                cluster.turn();
            }
            ["pods"] => self.pods(),
            ["plan"] => {
                cluster.tell();
                let plan = cluster.turn();
                let text = self.short(&plan.to_string());
                self.out += &text;
                self.out += "--\n";
            }
            other => panic!("no such line in a story: {other:?}"),
        }
    }

    fn deploy(&mut self, name: &str, replicas: &str, image: &str, options: &[&str]) {
        let option = |wanted: &str| options.iter().find_map(|o| o.strip_prefix(wanted)?.strip_prefix('='));
        let image = if image.contains(':') { image.to_owned() } else { format!("{image}@sha256:0") };
        let mut more = json!({});
        if options.contains(&"recreate") {
            more["strategy"] = json!({"type": "Recreate"});
        }
        if options.contains(&"paused") {
            more["paused"] = json!(true);
        }
        let replicas = replicas.parse().expect("a number");
        self.cluster.deployment(name, replicas, &image, option("memory").unwrap_or("64Mi"), None, more);
        if let Some((label, value)) = option("node").and_then(|o| o.split_once('=')) {
            let selector = json!({ label: value });
            self.cluster.change(&id(&kinds::DEPLOYMENT, name), |d| d["spec"]["template"]["spec"]["nodeSelector"] = selector);
        }
        if let Some(bake) = option("bake") {
            self.cluster.change(&id(&kinds::DEPLOYMENT, name), |d| d["metadata"]["annotations"][scheduler::names::BAKE] = json!(bake));
        }
        self.cluster.service(name, json!({"app": name}), None);
    }

    /// `web#1.0` → the real name of the first pod of revision 1 of web.
    fn real(&self, short: &str) -> String {
        let (set, number) = short.split_once('.').expect("SET.NUMBER");
        let pods = self.pods_of(set);
        pods.get(number.parse::<usize>().expect("a number")).unwrap_or_else(|| panic!("no pod {short}: {pods:?}")).clone()
    }

    fn pods_of(&self, set: &str) -> Vec<String> {
        let mut pods: Vec<(usize, String)> = Vec::new();
        for pod in self.cluster.all(&kinds::POD) {
            let name = pod.name().to_owned();
            if self.short(&name).starts_with(&format!("{set}-")) {
                let number = name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                pods.push((number, name));
            }
        }
        pods.sort();
        pods.into_iter().map(|(_, name)| name).collect()
    }

    fn report(&mut self, pod: &str, ready: bool, trouble: Option<(&str, &str)>) {
        let name = self.real(pod);
        self.cluster.report(&name, ready, trouble);
    }

    fn pods(&mut self) {
        for pod in self.cluster.all(&kinds::POD) {
            let state = if pod.deletion_timestamp().is_some() { " leaving" } else { "" };
            let node = pod.spec()["nodeName"].as_str().unwrap_or("nowhere").to_owned();
            let line = self.short(&format!("{} on {node}{state}\n", pod.name()));
            self.out += &line;
        }
        self.out += "--\n";
    }

    /// ReplicaSets are named by Deployment and revision, and digests left out.
    fn short(&self, text: &str) -> String {
        let mut text = text.replace("@sha256:0", "");
        for set in self.cluster.all(&kinds::REPLICA_SET) {
            let owner = set.controller().and_then(|owner| owner["name"].as_str()).unwrap_or("").to_owned();
            let revision = set.annotation(scheduler::names::REVISION).unwrap_or("").to_owned();
            text = text.replace(set.name(), &format!("{owner}#{revision}"));
        }
        text
    }
}

#[test]
fn a_new_deployment_makes_a_revision_and_its_pods_in_one_commit() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy web 3 web
         plan",
        "create replicaset web#1 revision 1 with 3 pods of web
         event Scaled deployment web: web#1 goes from 0 to 3 pods
         deployment web revision 1: 3 pods, 3 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         create pod of web#1 on edge-1
         create pod of web#1 on edge-2
         create pod of web#1 on edge-1
         endpoints of web: none
         waiting deployment web: 0 of 3 pods are ready
         look again at 1006s
         --",
    );
}

#[test]
fn a_tag_is_resolved_first() {
    check(
        "node edge-1 1Gi
         deploy web 1 web:1.0
         plan
         plan",
        "resolve web:1.0 for deployment web
         deployment web revision 1: 0 pods, 0 updated, 0 ready, 0 available, MinimumReplicasUnavailable, ResolvingImage, progress
         endpoints of web: none
         waiting deployment web: the digest of web:1.0 is being asked for
         look again at 1006s
         --
         create replicaset web#1 revision 1 with 1 pods of web:1.0
         event Scaled deployment web: web#1 goes from 0 to 1 pods
         deployment web revision 1: 1 pods, 1 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         create pod of web#1 on edge-1
         waiting deployment web: 0 of 1 pods are ready
         look again at 1060s
         --",
    );
}

#[test]
fn surge_first_and_the_old_pod_goes_when_the_new_one_is_ready() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         deploy web 2 next
         plan
         plan
         ready web#2.0
         plan",
        "create replicaset web#2 revision 2 with 1 pods of next
         event Scaled deployment web: web#2 goes from 0 to 1 pods
         deployment web revision 2: 3 pods, 1 updated, 2 ready, 2 available, MinimumReplicasAvailable, NewReplicaSetCreated, progress
         create pod of web#2 on edge-1
         look again at 1060s
         --
         look again at 1060s
         --
         delete pod web#1-7: replaced by a newer revision
         replicaset web#1 revision 1 asks for 1: 1 pods, 1 ready, 1 available
         event Scaled deployment web: web#1 goes from 2 to 1 pods
         replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 2 pods, 1 updated, 2 ready, 2 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#2-12
         look again at 1060s
         --",
    );
}

#[test]
fn broken_old_pods_go_first_in_a_rollout() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         deploy web 2 next
         quietly
         unready web#1.0
         crash web#1.1 Trap unreachable
         ready web#2.0
         plan",
        "delete pod web#1-7: replaced by a newer revision
         replicaset web#1 revision 1 asks for 1: 1 pods, 0 ready, 0 available
         event Scaled deployment web: web#1 goes from 2 to 1 pods
         replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 2 pods, 1 updated, 1 ready, 1 available, MinimumReplicasUnavailable, ReplicaSetUpdated, progress
         endpoints of web: web#2-12
         waiting deployment web: 1 of 2 pods are ready
         look again at 1060s
         --",
    );
}

#[test]
fn a_rollout_holds_while_a_pod_restarts() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         deploy web 2 next
         quietly
         ready web#2.0
         quietly
         quietly
         ready web#2.1
         crash web#2.0 Trap unreachable
         plan
         ready web#2.0
         plan",
        "endpoints of web: web#1-6 web#2-16
         waiting deployment web: web#2-12: Trap: unreachable
         look again at 1060s
         --
         delete pod web#1-6: replaced by a newer revision
         replicaset web#1 revision 1 asks for 0: 0 pods, 0 ready, 0 available
         event Scaled deployment web: web#1 goes from 1 to 0 pods
         replicaset web#2 revision 2 asks for 2: 2 pods, 2 ready, 2 available
         deployment web revision 2: 2 pods, 2 updated, 2 ready, 2 available, MinimumReplicasAvailable, NewReplicaSetAvailable, progress
         event Ready deployment web: all 2 pods of revision 2 are ready
         endpoints of web: web#2-12 web#2-16
         --",
    );
}

#[test]
fn nothing_fits_and_every_node_says_why() {
    check(
        "node edge-1 100Mi
         node edge-2 1Gi region=us
         node edge-3 1Gi
         cordon edge-3
         deploy web 3 web memory=90Mi node=region=eu
         plan
         node edge-4 100Mi region=eu
         plan",
        "create replicaset web#1 revision 1 with 3 pods of web
         event Scaled deployment web: web#1 goes from 0 to 3 pods
         deployment web revision 1: 3 pods, 3 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         create pod of web#1 without a node: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         create pod of web#1 without a node: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         create pod of web#1 without a node: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         event Unschedulable deployment web: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         endpoints of web: none
         waiting deployment web: 0 of 3 pods are ready
         waiting deployment web: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         look again at 1006s
         --
         bind pod web#1-10 to edge-4
         pod web#1-11 still has no node: no node has 90Mi free (edge-4: 10Mi free of 100Mi, edge-2: has no label region=eu, edge-3: cordoned, and 1 more)
         pod web#1-12 still has no node: no node has 90Mi free (edge-4: 10Mi free of 100Mi, edge-2: has no label region=eu, edge-3: cordoned, and 1 more)
         waiting deployment web: 3 pods: no node may take it (edge-2: has no label region=eu, edge-3: cordoned, edge-1: has no label region=eu)
         waiting pod web#1-11: no node has 90Mi free (edge-4: 10Mi free of 100Mi, edge-2: has no label region=eu, edge-3: cordoned, and 1 more)
         waiting pod web#1-12: no node has 90Mi free (edge-4: 10Mi free of 100Mi, edge-2: has no label region=eu, edge-3: cordoned, and 1 more)
         look again at 1006s
         --",
    );
}

#[test]
fn scaling_down_takes_the_broken_then_the_crowded_then_the_newest() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy web 5 web
         settle
         unready web#1.1
         quietly
         deploy web 2 web
         plan",
        "delete pod web#1-9: scaled down
         delete pod web#1-8: scaled down
         delete pod web#1-12: scaled down
         replicaset web#1 revision 1 asks for 2: 2 pods, 2 ready, 2 available
         event Scaled deployment web: web#1 goes from 5 to 2 pods
         deployment web revision 1: 2 pods, 2 updated, 2 ready, 2 available, MinimumReplicasAvailable, NewReplicaSetAvailable
         endpoints of web: web#1-10 web#1-11
         --",
    );
}

#[test]
fn a_lost_node_is_said_to_be_lost_and_its_pods_are_replaced() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy web 2 web
         settle
         silent edge-2
         after 7
         plan
         plan
         plan
         lease edge-2
         plan",
        "node edge-2 is lost: node edge-2 has not reported for 6 s
         event NodeLost node edge-2: node edge-2 has not reported for 6 s
         look again at 1013s
         --
         delete pod web#1-9: node edge-2 is lost
         replicaset web#1 revision 1 asks for 2: 2 pods, 1 ready, 1 available
         deployment web revision 1: 2 pods, 2 updated, 1 ready, 1 available, MinimumReplicasUnavailable, NewReplicaSetAvailable
         create pod of web#1 on edge-1
         endpoints of web: web#1-8
         waiting node edge-2: node edge-2 is lost
         waiting deployment web: 1 of 2 pods are ready
         --
         remove pod web#1-9: node edge-2 is lost
         waiting node edge-2: node edge-2 is lost
         waiting deployment web: 1 of 2 pods are ready
         --
         node edge-2 is back: node edge-2 reports again
         event NodeBack node edge-2: node edge-2 reports again
         waiting deployment web: 1 of 2 pods are ready
         --",
    );
}

#[test]
fn a_new_leader_counts_anew_and_touches_nothing() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         silent edge-1
         after 3600
         restart
         plan
         after 5
         plan
         after 2
         plan",
        "look again at 4606s
         --
         --
         node edge-1 is lost: node edge-1 has not reported for 6 s
         event NodeLost node edge-1: node edge-1 has not reported for 6 s
         --",
    );
}

#[test]
fn all_services_of_an_app_go_back_when_one_is_not_ready_in_time() {
    check(
        "node edge-1 1Gi
         app shop user=1:user web=1:web
         settle
         app shop user=1:user2 web=1:bad
         settle
         crash shop-web#2.0 Trap unreachable
         quietly
         after 61
         plan
         settle
         pods",
        "deployment shop-web revision 2: 2 pods, 1 updated, 1 ready, 1 available, MinimumReplicasAvailable, ProgressDeadlineExceeded
         event NotReadyInTime deployment shop-web: the revision is not ready, and nothing moved for 60 s
         roll back app shop to 1: shop-web was not ready in time (shop-web#2-25: Trap: unreachable): going back to revision 1
         event RolledBack app shop: shop-web was not ready in time (shop-web#2-25: Trap: unreachable): going back to revision 1
         waiting deployment shop-web: shop-web#2-25: Trap: unreachable
         look again at 1067s
         --
         shop-user#3-33 on edge-1
         shop-web#3-13 on edge-1
         --",
    );
}

#[test]
fn a_first_deploy_that_fails_stays_and_says_so() {
    check(
        "node edge-1 1Gi
         app shop web=1:bad
         settle
         after 61
         plan",
        "deployment shop-web revision 1: 1 pods, 1 updated, 0 ready, 0 available, MinimumReplicasUnavailable, ProgressDeadlineExceeded
         event NotReadyInTime deployment shop-web: the revision is not ready, and nothing moved for 60 s
         event Failed app shop: shop-web was not ready in time (0 of 1 pods are ready)
         app shop: Failed generation 1: shop-web was not ready in time (0 of 1 pods are ready)
         waiting deployment shop-web: 0 of 1 pods are ready
         waiting app shop: shop-web: 0 of 1 pods are ready
         look again at 1067s
         --",
    );
}

#[test]
fn an_app_that_is_deleted_goes_with_everything() {
    check(
        "node edge-1 1Gi
         app shop web=1:web
         settle
         delete app shop
         plan
         settle
         pods",
        "delete controllerrevision shop-1: its App shop is gone
         delete deployment shop-web: its App shop is gone
         delete service shop-web: its App shop is gone
         --
         --",
    );
}

#[test]
fn a_second_service_costs_the_first_one_nothing() {
    check(
        "node edge-1 1Gi
         app shop shop=1:web
         settle
         app shop shop=1:web user=1:user
         plan
         settle
         pods",
        "create replicaset shop-user#1 revision 1 with 1 pods of user
         event Scaled deployment shop-user: shop-user#1 goes from 0 to 1 pods
         deployment shop-user revision 1: 1 pods, 1 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         create pod of shop-user#1 on edge-1
         endpoints of shop-user: none
         app shop: Progressing generation 2 good 1: 1 of 2 services are ready
         waiting deployment shop-user: 0 of 1 pods are ready
         waiting app shop: shop-user: 0 of 1 pods are ready
         look again at 1060s
         --
         shop#1-8 on edge-1
         shop-user#1-17 on edge-1
         --",
    );
}

#[test]
fn zero_replicas_is_stopped() {
    check(
        "node edge-1 1Gi
         app shop web=2:web
         settle
         app shop web=0:web
         plan
         settle
         pods",
        "delete pod shop-web#1-9: scaled down
         delete pod shop-web#1-8: scaled down
         replicaset shop-web#1 revision 1 asks for 0: 0 pods, 0 ready, 0 available
         event Scaled deployment shop-web: shop-web#1 goes from 2 to 0 pods
         deployment shop-web revision 1: 0 pods, 0 updated, 0 ready, 0 available, MinimumReplicasAvailable, NewReplicaSetAvailable
         endpoints of shop-web: none
         app shop: Ready generation 2 good 2: all services are ready
         --
         --",
    );
}

#[test]
fn recreate_ends_the_old_first() {
    check(
        "node edge-1 1Gi
         deploy web 1 web recreate
         settle
         deploy web 1 next recreate
         plan
         settle
         pods",
        "delete pod web#1-6: replaced by a newer revision
         replicaset web#1 revision 1 asks for 0: 0 pods, 0 ready, 0 available
         event Scaled deployment web: web#1 goes from 1 to 0 pods
         create replicaset web#2 revision 2 with 0 pods of next
         deployment web revision 2: 0 pods, 0 updated, 0 ready, 0 available, MinimumReplicasUnavailable, NewReplicaSetCreated, progress
         endpoints of web: none
         waiting deployment web: 0 of 1 pods are ready
         look again at 1060s
         --
         web#2-13 on edge-1
         --",
    );
}

#[test]
fn the_first_pods_are_watched_before_the_rollout_goes_on() {
    check(
        "node edge-1 1Gi
         deploy web 2 web bake=10s
         settle
         deploy web 2 next bake=10s
         quietly
         ready web#2.0
         plan
         after 10
         plan",
        "replicaset web#2 revision 2 asks for 1: 1 pods, 1 ready, 1 available
         deployment web revision 2: 3 pods, 1 updated, 3 ready, 3 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#1-7 web#2-12
         look again at 1010s
         --
         delete pod web#1-7: replaced by a newer revision
         replicaset web#1 revision 1 asks for 1: 1 pods, 1 ready, 1 available
         event Scaled deployment web: web#1 goes from 2 to 1 pods
         deployment web revision 2: 2 pods, 1 updated, 2 ready, 2 available, MinimumReplicasAvailable, ReplicaSetUpdated, progress
         endpoints of web: web#1-6 web#2-12
         look again at 1016s
         --",
    );
}
