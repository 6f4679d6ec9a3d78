//! Bodies of every kind that is written, damaged in every way that came to mind, sent in every way that a body is sent: done or refused,
//! never the server's fault, and what is stored of them can be read. `WCTL_FUZZ_SECONDS` says for how long, `WCTL_FUZZ_SEED` with what.

mod protobuf;

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::support::*;
use protobuf::protobuf;

/// How long it runs where nothing else is said.
const SECONDS: u64 = 4;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Chance that can be repeated (xorshift).
struct Chance(u64);

impl Chance {
    fn of(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn draw(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % below.max(1)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.draw(of.len())]
    }
}

/// Where objects of each kind are made, and a good one.
fn samples() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let container = json!({
        "name": "web", "image": image("web"), "args": ["-v"], "ports": [{ "name": "http", "containerPort": 80, "protocol": "TCP" }],
        "env": [{ "name": "A", "value": "1" }, { "name": "B", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } }],
        "envFrom": [{ "configMapRef": { "name": "c" } }], "resources": { "limits": { "memory": "64Mi", "cpu": "100m" } },
        "readinessProbe": { "httpGet": { "path": "/", "port": 80 } }, "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
    });
    let spec = json!({
        "containers": [container], "volumes": [{ "name": "v", "emptyDir": { "sizeLimit": "1Mi" } }], "nodeSelector": { "a": "b" },
        "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }],
        "terminationGracePeriodSeconds": 5,
    });
    let template = json!({ "metadata": { "labels": { "app": "web" }, "annotations": { "wctl.dev/time": "5s" } }, "spec": spec });
    let selector = json!({ "matchLabels": { "app": "web" } });
    let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": 1 } });
    let mut once = template.clone();
    once["spec"]["restartPolicy"] = json!("Never");
    let job = json!({ "template": once, "backoffLimit": 2, "parallelism": 1, "completions": 2 });
    let rule = json!({ "host": "a.localhost", "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "web", "port": { "number": 80 } } } }] } });
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } });
    let app = json!({ "services": { "a": { "image": image("a"), "replicas": 1 }, "b": { "image": image("b"), "replicas": 2 } } });
    let made = |path, version, kind, rest: Value| {
        let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "web", "labels": { "a": "b" }, "annotations": { "c": "d" } } });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        (path, version, kind, object)
    };
    vec![
        made(
            "/apis/apps/v1/namespaces/default/deployments",
            "apps/v1",
            "Deployment",
            json!({ "spec": { "replicas": 2, "selector": selector, "strategy": strategy, "template": template } }),
        ),
        made(
            "/apis/apps/v1/namespaces/default/replicasets",
            "apps/v1",
            "ReplicaSet",
            json!({ "spec": { "replicas": 2, "selector": selector, "template": template } }),
        ),
        made("/api/v1/namespaces/default/pods", "v1", "Pod", json!({ "spec": spec })),
        made(
            "/api/v1/namespaces/default/services",
            "v1",
            "Service",
            json!({ "spec": { "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80, "targetPort": 80 }] } }),
        ),
        made("/api/v1/namespaces/default/configmaps", "v1", "ConfigMap", json!({ "data": { "k": "v" }, "binaryData": { "b": "AA==" } })),
        made(
            "/api/v1/namespaces/default/secrets",
            "v1",
            "Secret",
            json!({ "type": "Opaque", "data": { "k": "dg==" }, "stringData": { "l": "m" } }),
        ),
        made("/api/v1/namespaces/default/serviceaccounts", "v1", "ServiceAccount", json!({})),
        made(
            "/api/v1/namespaces/default/events",
            "v1",
            "Event",
            json!({ "involvedObject": { "kind": "Pod", "name": "web" }, "reason": "A", "message": "b", "count": 1, "lastTimestamp": "2026-01-01T00:00:00Z" }),
        ),
        made("/api/v1/namespaces", "v1", "Namespace", json!({})),
        made("/api/v1/nodes", "v1", "Node", json!({ "spec": { "unschedulable": true }, "status": { "capacity": { "memory": "1Gi" } } })),
        made("/apis/batch/v1/namespaces/default/jobs", "batch/v1", "Job", json!({ "spec": job })),
        made(
            "/apis/batch/v1/namespaces/default/cronjobs",
            "batch/v1",
            "CronJob",
            json!({ "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": job } } }),
        ),
        made(
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({ "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "minReplicas": 1, "maxReplicas": 3, "metrics": [cpu] } }),
        ),
        made(
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            "networking.k8s.io/v1",
            "Ingress",
            json!({ "spec": { "rules": [rule] } }),
        ),
        made(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"] }], "ports": [{ "port": 80 }] }),
        ),
        made(
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            "coordination.k8s.io/v1",
            "Lease",
            json!({ "spec": { "holderIdentity": "a", "leaseDurationSeconds": 5 } }),
        ),
        made(
            "/apis/apps/v1/namespaces/default/controllerrevisions",
            "apps/v1",
            "ControllerRevision",
            json!({ "revision": 1, "data": { "a": 1 } }),
        ),
        made("/apis/wctl.dev/v1/namespaces/default/apps", "wctl.dev/v1", "App", json!({ "spec": app })),
        made("/apis/wctl.dev/v1/namespaces/default/policies", "wctl.dev/v1", "Policy", json!({ "spec": { "hosts": ["*.localhost"] } })),
    ]
}

/// So many levels of lists, or of objects.
fn deep(levels: usize, list: bool) -> Value {
    (0..levels).fold(json!(1), |inner, _| if list { json!([inner]) } else { json!({ "a": inner }) })
}

/// What nobody expects at any place.
fn hostile(chance: &mut Chance) -> Value {
    match chance.draw(26) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(i64::MIN),
        4 => json!(u64::MAX),
        5 => json!(1e308),
        6 => json!(0.5),
        7 => json!(""),
        8 => json!("a\u{0}b"),
        9 => json!("x".repeat(70_000)),
        10 => json!("../../etc"),
        11 => json!("\u{202e}\u{feff}☃"),
        12 => json!([]),
        13 => json!({}),
        14 => json!([null, null]),
        15 => json!({ "": {}, "a/b": [], "~": 1 }),
        16 => deep(70, true),
        17 => deep(200, false),
        18 => json!(vec![0; 5_000]),
        19 => json!("99999999999999999999Ei"),
        20 => json!("-1"),
        21 => json!("2026-13-45T99:99:99Z"),
        22 => json!([{ "name": "web" }, { "name": "web" }]),
        23 => json!({ "$patch": "delete" }),
        24 => json!([{ "$patch": "replace" }, 1]),
        _ => json!(["*", "web", 7]),
    }
}

/// Parts of the metadata that the server has a say in.
fn forged(chance: &mut Chance) -> (&'static str, Value) {
    let entry = |fields: Value| json!([{ "manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields }]);
    let all = [
        ("name", json!("other")),
        ("name", json!("../x")),
        ("generateName", json!("y".repeat(300))),
        ("namespace", json!("kube-system")),
        ("uid", json!("not-it")),
        ("resourceVersion", json!("not a number")),
        ("resourceVersion", json!("18446744073709551616")),
        ("generation", json!(-5)),
        ("creationTimestamp", json!("never")),
        ("deletionTimestamp", json!("2020-01-01T00:00:00Z")),
        ("deletionTimestamp", json!(7)),
        ("finalizers", json!(["a", "a", 3, null])),
        ("ownerReferences", json!([{ "apiVersion": "v1", "kind": "Nope", "name": "", "uid": 1, "controller": "yes" }, {}])),
        ("labels", json!({ "a": { "b": 1 }, "bad key!": "x" })),
        ("annotations", json!({ "wctl.dev/exact-image": "x", "wctl.dev/template": "{", "wctl.dev/volumes": "=,=", "wctl.dev/time": "∞" })),
        ("managedFields", json!("mine")),
        ("managedFields", json!([{}, { "operation": "Sing" }, null])),
        ("managedFields", entry(json!({ "f:spec": { "k:{\"name\":": {}, "v:": {}, "i:99999999999": {}, "f:": { ".": 1 } } }))),
        ("managedFields", entry(deep(100, false))),
    ];
    chance.one(&all).clone()
}

/// Every place of a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found))
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), found)),
        _ => {}
    }
}

/// The object with one to three things done to it.
fn damaged(good: &Value, chance: &mut Chance) -> Value {
    let mut bad = good.clone();
    for _ in 0..=chance.draw(3) {
        let mut all = Vec::new();
        places(&bad, "", &mut all);
        let place = chance.one(&all).clone();
        let Some(value) = bad.pointer_mut(&place) else { continue };
        match chance.draw(8) {
            0 => *value = json!([value.take()]),
            1 => *value = json!({ "a": value.take() }),
            2 => {
                if let Some(map) = value.as_object_mut() {
                    let key = map.keys().nth(chance.draw(map.len())).cloned();
                    key.map(|key| map.remove(&key));
                }
            }
            3 => {
                if let Some(items) = value.as_array_mut() {
                    items.extend(items.clone());
                }
            }
            4 => {
                let (field, forged) = forged(chance);
                if let Some(metadata) = bad.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.insert(field.to_owned(), forged);
                }
            }
            5 => {
                if let Some(map) = value.as_object_mut() {
                    map.insert("never-heard-of".to_owned(), hostile(chance));
                }
            }
            _ => *value = hostile(chance),
        }
    }
    bad
}

/// A JSON patch of anything at places that are there, that are not, and that cannot be.
fn operations(good: &Value, chance: &mut Chance) -> Value {
    let mut all = Vec::new();
    places(good, "", &mut all);
    let odd = [
        "/spec/containers/18446744073709551615",
        "/spec/containers/-1",
        "/metadata/labels/~2",
        "no-slash",
        "/-",
        "/spec/-/-",
        "",
        "/metadata",
        "/kind",
        "/metadata/uid",
    ];
    let place = |chance: &mut Chance| if chance.draw(3) == 0 { (*chance.one(&odd)).to_owned() } else { chance.one(&all).clone() };
    let one = |chance: &mut Chance| {
        let op = *chance.one(&["add", "remove", "replace", "move", "copy", "test", "sing"]);
        let mut operation = json!({ "op": op, "path": place(chance), "from": place(chance), "value": hostile(chance) });
        if chance.draw(6) == 0 {
            operation.as_object_mut().unwrap().remove("value");
        }
        operation
    };
    (0..=chance.draw(4)).map(|_| one(chance)).collect()
}

/// JSON text, damaged as text: cut off, with bytes of chance, a lone surrogate, a key twice, numbers without end.
fn text(value: &Value, chance: &mut Chance) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    let at = chance.draw(bytes.len());
    match chance.draw(7) {
        0 => bytes.truncate(at),
        1 => bytes[at] = chance.draw(256) as u8,
        2 => drop(bytes.splice(at..at, *b"\"\\ud800\"")),
        3 => drop(bytes.splice(1..1, *b"\"metadata\":{},\"metadata\":7,")),
        4 => drop(bytes.splice(1..1, format!("\"x\":1{},", "0".repeat(400)).into_bytes())),
        5 => drop(bytes.splice(1..1, format!("\"x\":{},", "[".repeat(5_000)).into_bytes())),
        _ => drop(bytes.splice(1..1, *b"\"x\":\"\xff\xfe\",")),
    }
    bytes
}

const PATCHES: [&str; 4] = ["strategic-merge-patch+json", "merge-patch+json", "json-patch+json", "apply-patch+yaml"];

/// One request: how it is sent, where, of what type, with which body.
fn request(sample: &(&'static str, &'static str, &'static str, Value), chance: &mut Chance) -> (&'static str, String, String, Vec<u8>) {
    let (path, version, kind, good) = sample;
    let part = *chance.one(&["", "", "", "/status", "/scale"]);
    let query = *chance.one(&[
        "",
        "?fieldValidation=Strict",
        "?dryRun=All",
        "?fieldManager=m&force=true",
        "?fieldManager=n&fieldValidation=Ignore",
    ]);
    let one = format!("{path}/web{part}{query}");
    let bad = damaged(good, chance);
    match chance.draw(10) {
        0 => ("POST", format!("{path}{query}"), "application/json".to_owned(), bad.to_string().into_bytes()),
        1 => ("PUT", one, "application/json".to_owned(), bad.to_string().into_bytes()),
        2 => (*chance.one(&["POST", "PUT"]), if chance.draw(2) == 0 { format!("{path}{query}") } else { one }, "application/json".to_owned(), text(&bad, chance)),
        3 | 4 => (*chance.one(&["POST", "PUT"]), if chance.draw(2) == 0 { format!("{path}{query}") } else { one }, "application/vnd.kubernetes.protobuf".to_owned(), protobuf(version, kind, chance)),
        5 => ("DELETE", one, "application/json".to_owned(), json!({ "kind": "DeleteOptions", "propagationPolicy": hostile(chance), "preconditions": hostile(chance), "gracePeriodSeconds": hostile(chance) }).to_string().into_bytes()),
        _ => {
            let form = *chance.one(&PATCHES);
            let body = match form {
                "json-patch+json" => operations(good, chance),
                _ if chance.draw(3) == 0 => {
                    // The damaged part alone, as patches are written.
                    let some: Map<String, Value> = bad.as_object().into_iter().flatten().filter(|_| chance.draw(2) == 0).map(|(key, value)| (key.clone(), value.clone())).collect();
                    Value::Object(some)
                }
                _ => bad,
            };
            let body = if chance.draw(10) == 0 { text(&body, chance) } else { body.to_string().into_bytes() };
            ("PATCH", one, format!("application/{form}"), body)
        }
    }
}

#[tokio::test]
async fn no_body_of_any_kind_in_any_form_is_the_servers_fault() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let samples = samples();
    for (path, _, kind, good) in &samples {
        let made = admin.post(path, good.clone()).await;
        assert!(made.code.is_success(), "a good {kind}: {}", made.body);
    }
    let first = number("WCTL_FUZZ_SEED", 1);
    let until = Instant::now() + Duration::from_secs(number("WCTL_FUZZ_SECONDS", SECONDS));
    let (mut rounds, mut taken) = (0, 0);
    for seed in first.. {
        // At least one of each kind in each form, however slow the machine is.
        if Instant::now() > until && rounds >= 400 {
            break;
        }
        rounds += 1;
        let mut chance = Chance::of(seed);
        let sample = &samples[seed as usize % samples.len()];
        let (method, path, form, body) = request(sample, &mut chance);
        let answer = admin.bytes(method, &path, &form, body.clone()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(2_000)]).into_owned();
        assert!(answer.code.as_u16() < 500, "WCTL_FUZZ_SEED={seed}: {method} {path} {form}: {} {}\n{shown}", answer.code, answer.body);
        taken += usize::from(answer.code.is_success());
        let (path, _, kind, good) = sample;
        // What was stored can be read, as it is and as a table; a good one takes the place of one that went.
        let there = admin.get(&format!("{path}/web")).await;
        assert!(there.code.is_success() || there.code == 404, "WCTL_FUZZ_SEED={seed}: {kind}: {} {}", there.code, there.body);
        if there.code == 404 || there.body["metadata"]["deletionTimestamp"].is_string() {
            let none = json!({ "metadata": { "finalizers": null } });
            admin.merge(&format!("{path}/web"), none).await;
            admin.delete(&format!("{path}/web?gracePeriodSeconds=0&propagationPolicy=Background")).await;
            admin.post(path, good.clone()).await;
        }
    }
    for (path, version, kind, _) in &samples {
        let list = admin.get(path).await.ok();
        let table = admin.table(path).await;
        assert!(table.code.is_success() && table.body["kind"] == "Table", "{kind}: {} {}", table.code, table.body);
        let kind = scheduler::kinds::Kind::of(version, kind).unwrap();
        for item in list["items"].as_array().unwrap() {
            scheduler::model::read(kind, item, Duration::ZERO);
        }
    }
    println!("{rounds} bodies, {taken} of them taken");
    assert!(taken > rounds / 50 && taken < rounds, "{taken} of {rounds} were taken: the bodies are too much alike");
}
