//! What the plan decides, as stories: a few lines of text in, the plan as text out.

use crate::cluster::{Cluster, id};
use scheduler::kinds;
use serde_json::json;
use std::time::Duration;

/// Runs a story and compares what its `plan` lines print.
///
/// - `node NAME MEMORY [label=value]`, `lease NAME`, `gone NAME` (a node is deleted), `cordon NAME`
/// - `deploy NAME REPLICAS IMAGE [memory=…] [node=LABEL=VALUE] [recreate] [paused] [bake=…]`, with a Service of that name
/// - `app NAME SERVICE=REPLICAS:IMAGE…`; `delete KIND NAME`
/// - `ready POD`, `unready POD`, `crash POD REASON MESSAGE…`: what an agent reports; a pod is `web#1.0`: the first of revision 1
/// - `settle`: all agents and the loop, until nothing moves; an image with `bad` in it never becomes ready
/// - `after SECONDS`; `restart`: another leader; `pods`: prints pods and their nodes
/// - `plan`: one turn, printed; `quietly`: one turn, not printed
fn check(story: &str, expect: &str) {
    let mut teller = Teller { cluster: Cluster::new(), out: String::new() };
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
            ["after", seconds] => cluster.now += Duration::from_secs_f64(seconds.parse().expect("seconds")),
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
        "",
    );
}

#[test]
fn a_tag_is_resolved_first() {
    check(
        "node edge-1 1Gi
         deploy web 1 web:1.0
         plan
         plan",
        "",
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
        "",
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
         unready web#1.0
         crash web#1.1 Trap unreachable
         ready web#2.0
         plan",
        "",
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
        "",
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
        "",
    );
}

#[test]
fn a_lost_node_is_said_to_be_lost_and_its_pods_are_replaced() {
    check(
        "node edge-1 1Gi
         node edge-2 1Gi
         deploy web 2 web
         settle
         after 4
         lease edge-1
         after 3
         plan
         plan
         plan
         lease edge-2
         plan",
        "",
    );
}

#[test]
fn a_new_leader_counts_anew_and_touches_nothing() {
    check(
        "node edge-1 1Gi
         deploy web 2 web
         settle
         after 3600
         restart
         plan
         after 5
         plan
         after 2
         plan",
        "",
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
        "",
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
        "",
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
        "",
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
        "",
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
        "",
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
        "",
    );
}
