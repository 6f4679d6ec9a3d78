//! Tells stories: a few lines of text in, what the plan decides as text out.

use crate::cluster::{Cluster, id};
use scheduler::kinds;
use scheduler::objects::Object;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Runs a story and compares what its `plan` lines print.
///
/// - `node NAME MEMORY [label=value]`, `lease NAME`, `gone NAME` (a node is deleted), `cordon NAME`
/// - `deploy NAME REPLICAS IMAGE [memory=…] [node=LABEL=VALUE] [spread=…] [listen=PORT/tcp] [recreate] [paused] [bake=…] [canary=…%] [min=SECONDS] [surge=… unavailable=…]`,
///   with a Service of that name; `type SERVICE TYPE`, `address NODE IP`; `ingress NAME HOST PATH SERVICE`; `unresolved NAME TRIES`: the registry did not know its tag so many times
/// - `app NAME SERVICE=REPLICAS:IMAGE…`; `delete KIND NAME`
/// - `ready POD`, `unready POD`, `crash POD REASON MESSAGE…`: what an agent reports; a pod is `web#1.0`: the first of revision 1
/// - `job NAME [FIELD=VALUE…]` as in a Job's spec, `cron NAME SCHEDULE [FIELD=VALUE…]` (`_` for the spaces of the schedule) as in a CronJob's, behind
///   `job.` as in its Job's; `finish POD CODE`: its program ended; a pod is `NAME.0`: the oldest of the Job `NAME`
/// - `scale NAME MIN MAX METRIC=VALUE… [window=SECONDS]`: an autoscaler of the Deployment; `load NODE POD=VALUE…`: what a node counts, in
///   thousandths, of each measure, or `POD=FAILED/ASKED` of its requests
/// - `asleep POD`, `awake POD`: what an agent reports of a pod that may sleep; `unscale NAME`: its autoscaler is deleted; `stop NAME`: somebody
///   scales it to 0
/// - `clock SECONDS`: the clock on the wall is set; `jobs`: prints Jobs
/// - `settle`: all agents and the loop, until nothing moves; an image with `bad` in it never becomes ready
/// - `after SECONDS`: nodes report meanwhile, but for those that are `silent NAME`; `restart`: another leader; `pods`: prints pods and their nodes; `sets`: ReplicaSets; `generations`: ControllerRevisions
/// - `replicas`: prints Deployments; `plan`: one turn, printed; `quietly`: one turn, not printed
pub fn check(story: &str, expect: &str) {
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

/// `FIELD=VALUE` as JSON, those behind `prefix`; what is no number or flag is text.
fn values(fields: &[&str], prefix: &str) -> serde_json::Value {
    let pairs = fields.iter().filter_map(|field| field.strip_prefix(prefix)?.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value)))).collect()
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
            ["address", node, ip] => cluster.change(&id(&kinds::NODE, node), |node| {
                node["status"]["addresses"] = json!([{"type": "InternalIP", "address": ip}]);
            }),
            ["type", service, kind] => cluster.change(&id(&kinds::SERVICE, service), |service| service["spec"]["type"] = json!(kind)),
            ["ingress", name, host, path, service] => cluster.ingress(name, host, path, service),
            ["unresolved", name, tries] => cluster.refuse(name, tries.parse().expect("a number")),
            ["delete", "ingress", name] => cluster.remove(&id(&kinds::INGRESS, name)),
            ["delete", "deployment", name] => cluster.remove(&id(&kinds::DEPLOYMENT, name)),
            ["delete", "service", name] => cluster.remove(&id(&kinds::SERVICE, name)),
            ["delete", "app", name] => cluster.remove(&id(&kinds::APP, name)),
            ["ready", pod] => self.report(pod, true, None),
            ["unready", pod] => self.report(pod, false, None),
            ["asleep", pod] => {
                let name = self.real(pod);
                self.cluster.sleep(&name, true);
            }
            ["awake", pod] => {
                let name = self.real(pod);
                self.cluster.sleep(&name, false);
            }
            ["tried", name, share, bake] => cluster.change(&id(&kinds::DEPLOYMENT, name), |deployment| {
                deployment["metadata"]["annotations"][scheduler::names::CANARY] = json!(share);
                deployment["metadata"]["annotations"][scheduler::names::BAKE] = json!(bake);
            }),
            ["unscale", name] => cluster.remove(&id(&kinds::HPA, name)),
            ["stop", name] => cluster.change(&id(&kinds::DEPLOYMENT, name), |deployment| deployment["spec"]["replicas"] = json!(0)),
            ["crash", pod, reason, message @ ..] => self.report(pod, false, Some((reason, &message.join(" ")))),
            ["job", name, fields @ ..] => cluster.job(name, values(fields, ""), None),
            ["cron", name, schedule, fields @ ..] => {
                let mut cron = values(&fields.iter().copied().filter(|field| !field.starts_with("job.")).collect::<Vec<_>>(), "");
                cron["schedule"] = json!(schedule.replace('_', " "));
                cluster.job(name, values(fields, "job."), Some(cron));
            }
            ["finish", pod, code] => {
                let name = self.real(pod);
                self.cluster.finish(&name, code.parse().expect("a number"));
            }
            ["scale", name, min, max, aims @ ..] => {
                let metric = |name: &str, value: &str| match name {
                    "cpu" => {
                        json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": value.parse::<u64>().expect("a number")}}})
                    }
                    name => {
                        json!({"type": "Pods", "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": value}}})
                    }
                };
                let pairs = || aims.iter().filter_map(|aim| aim.split_once('='));
                let metrics: Vec<_> = pairs().filter(|(name, _)| *name != "window").map(|(name, value)| metric(name, value)).collect();
                let window = pairs().find(|(name, _)| *name == "window").map_or(300, |(_, value)| value.parse::<u64>().expect("seconds"));
                let (min, max): (u64, u64) = (min.parse().expect("a number"), max.parse().expect("a number"));
                cluster.put(json!({
                    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name, "namespace": crate::cluster::NAMESPACE},
                    "spec": {
                        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "minReplicas": min, "maxReplicas": max,
                        "metrics": metrics, "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}},
                    },
                }));
            }
            ["load", node, loads @ ..] => {
                let mut told = serde_json::Map::new();
                for (pod, value) in loads.iter().filter_map(|load| load.split_once('=')) {
                    let name = self.real(pod);
                    let uid = self.cluster.get(&kinds::POD, &name).expect("the pod").uid().to_owned();
                    // `35000`, or `7/200`: 7 of 200 requests failed.
                    let told_of = match value.split_once('/') {
                        Some((failed, asked)) => [0, 0, 0, asked.parse().expect("a number"), failed.parse().expect("a number")],
                        None => [value.parse::<u64>().expect("a number"); 3]
                            .into_iter()
                            .chain([0, 0])
                            .collect::<Vec<_>>()
                            .try_into()
                            .expect("five"),
                    };
                    told.insert(uid, json!(told_of));
                }
                self.cluster.lease(node);
                let lease = scheduler::model::ObjectId::new(&kinds::LEASE, scheduler::model::Key::new(scheduler::model::LEASES, node));
                let told = serde_json::Value::Object(told).to_string();
                self.cluster.change(&lease, |lease| lease["metadata"]["annotations"][scheduler::names::LOAD] = json!(told));
            }
            ["replicas"] => {
                let line = |object: &&Object| format!("{} {}\n", object.name(), object.spec()["replicas"]);
                let lines: String = self.cluster.all(&kinds::DEPLOYMENT).iter().map(line).collect();
                self.out += &format!("{lines}--\n");
            }
            ["clock", seconds] => cluster.set_clock(seconds.parse().expect("seconds")),
            ["delete", "job", name] => cluster.remove(&id(&kinds::JOB, name)),
            ["jobs"] => {
                let ended = |job: &&Object| {
                    let all = job.status()["conditions"].as_array().into_iter().flatten().filter(|c| c["status"] == "True");
                    let words: Vec<&str> = all.filter_map(|c| c["type"].as_str()).collect();
                    format!("{} {}\n", job.name(), words.join(" "))
                };
                let lines: String = cluster.all(&kinds::JOB).iter().map(ended).collect();
                self.out += &format!("{lines}--\n");
            }
            ["settle"] => cluster.settle(),
            ["after", seconds] => {
                cluster.now += Duration::from_secs_f64(seconds.parse().expect("seconds"));
                let nodes: Vec<String> = cluster.all(&kinds::NODE).iter().map(|node| node.name().to_owned()).collect();
                nodes.iter().filter(|node| !self.silent.contains(*node)).for_each(|node| cluster.lease(node));
            }
            ["silent", name] => drop(self.silent.insert((*name).to_owned())),
            ["restart"] => cluster.restart(),
            ["quietly"] => {
                cluster.tell();
                cluster.turn();
            }
            ["generations"] => {
                let kept: Vec<String> = cluster.all(&kinds::CONTROLLER_REVISION).iter().map(|r| r.name().to_owned()).collect();
                self.out += &format!("{}\n", kept.join(" "));
            }
            ["pods"] => self.pods(),
            ["sets"] => {
                let sets: Vec<String> = cluster.all(&kinds::REPLICA_SET).iter().map(|set| set.name().to_owned()).collect();
                let mut sets: Vec<String> = sets.iter().map(|set| self.short(set)).collect();
                sets.sort();
                self.out += &format!("{}\n", sets.join(" "));
            }
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
        if let Some(seconds) = option("min") {
            more["minReadySeconds"] = json!(seconds.parse::<u32>().expect("seconds"));
        }
        if let (Some(surge), Some(unavailable)) = (option("surge"), option("unavailable")) {
            more["strategy"] = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        }
        let replicas = replicas.parse().expect("a number");
        self.cluster.deployment(name, replicas, &image, option("memory").unwrap_or("64Mi"), None, more);
        if let Some((label, value)) = option("node").and_then(|o| o.split_once('=')) {
            let selector = json!({ label: value });
            self.cluster.change(&id(&kinds::DEPLOYMENT, name), |d| d["spec"]["template"]["spec"]["nodeSelector"] = selector);
        }
        if let Some(spread) = option("spread") {
            let annotations = json!({scheduler::names::SPREAD: spread});
            self.cluster.change(&id(&kinds::DEPLOYMENT, name), |d| d["spec"]["template"]["metadata"]["annotations"] = annotations);
        }
        if let Some(listen) = option("listen") {
            let annotations = json!({scheduler::names::LISTEN: listen});
            self.cluster.change(&id(&kinds::DEPLOYMENT, name), |d| d["spec"]["template"]["metadata"]["annotations"] = annotations);
        }
        if let Some(bake) = option("bake") {
            self.cluster.change(&id(&kinds::DEPLOYMENT, name), |d| d["metadata"]["annotations"][scheduler::names::BAKE] = json!(bake));
        }
        if let Some(share) = option("canary") {
            self.cluster.change(&id(&kinds::DEPLOYMENT, name), |d| d["metadata"]["annotations"][scheduler::names::CANARY] = json!(share));
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
        let line = |pod: &&Object| {
            let state = if pod.deletion_timestamp().is_some() { " leaving" } else { "" };
            let node = pod.spec()["nodeName"].as_str().unwrap_or("nowhere");
            self.short(&format!("{} on {node}{state}\n", pod.name()))
        };
        let lines: String = self.cluster.all(&kinds::POD).iter().map(line).collect();
        self.out += &format!("{lines}--\n");
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
