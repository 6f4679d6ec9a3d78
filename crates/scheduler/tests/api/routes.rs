//! How many routes there may be, and who may call a Service.

use serde_json::{Value, json};

use crate::support::*;

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";

fn ingress(name: &str, paths: impl Iterator<Item = String>) -> Value {
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    let paths: Vec<Value> = paths.map(|path| json!({ "path": path, "pathType": "Prefix", "backend": backend })).collect();
    json!({ "metadata": { "name": name }, "spec": { "rules": [{ "host": "a.example", "http": { "paths": paths } }] } })
}

fn many(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("/{n}"))
}

#[tokio::test]
async fn more_routes_than_gateways_hold_are_refused_before_they_are_stored() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let refused = client.post(INGRESSES, ingress("big", many(1_001))).await;
    assert_eq!(refused.fields(), ["spec.rules"]);
    assert!(refused.body["message"].as_str().unwrap().contains("1001 paths are more than the 1000 that one Ingress may have"));
    let refused = client.post(INGRESSES, ingress("long", [format!("/{}", "a".repeat(1_024))].into_iter())).await;
    assert_eq!(refused.fields(), ["spec.rules[0].http.paths[0].path"]);
    // A namespace has its share, and no more.
    for n in 0..20 {
        client.post(INGRESSES, ingress(&format!("full-{n}"), many(1_000))).await.ok();
    }
    let refused = client.post(INGRESSES, ingress("more", many(1))).await.refused(403, "Forbidden");
    assert!(refused["message"].as_str().unwrap().contains("the namespace default may have 20000 routes"), "{refused}");
    // What asks for no more is left alone, and what goes makes room.
    client.put(&format!("{INGRESSES}/full-1"), ingress("full-1", many(1_000).map(|path| format!("/other{path}")))).await.ok();
    client.delete(&format!("{INGRESSES}/full-0")).await.ok();
    client.post(INGRESSES, ingress("more", many(1))).await.ok();
}

#[tokio::test]
async fn who_may_call_is_written_as_names() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let service = |callers: &str| json!({ "metadata": { "name": "web", "annotations": { "wctl.dev/callers": callers } }, "spec": { "ports": [{ "port": 80 }] } });
    let services = "/api/v1/namespaces/default/services";
    assert_eq!(client.post(services, service("shop, Billing")).await.fields(), ["metadata.annotations[wctl.dev/callers]"]);
    client.post(services, service("shop, *")).await.ok();
    let mut web = deployment("web");
    for (call, fine) in [("user,orders.billing", true), ("orders.billing.svc", false), ("orders.", false), (".billing", false)] {
        web["spec"]["template"]["metadata"]["annotations"] = json!({ "wctl.dev/call": call });
        let answer = client.post(&format!("{DEPLOYMENTS}?dryRun=All"), web.clone()).await;
        let refused = answer.fields() == ["spec.template.metadata.annotations[wctl.dev/call]"];
        assert_eq!(refused, !fine, "{call}: {}", answer.body);
    }
}
