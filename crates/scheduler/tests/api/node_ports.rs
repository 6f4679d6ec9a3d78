//! Services of the types NodePort and LoadBalancer: their ports on nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use scheduler::api::Api;
use scheduler::auth::{Identity, Tokens};
use scheduler::kinds::NAMESPACE;
use scheduler::objects::{Object, Objects, Seal, Write};
use scheduler::reconcile::Resolve;
use scheduler::store::memory::Memory;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::*;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, kind: &str, ports: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": { "type": kind, "selector": { "app": name }, "ports": ports } })
}

fn given(service: &Value) -> u64 {
    service["spec"]["ports"][0]["nodePort"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn a_node_port_is_given_kept_and_given_back() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let plain = service("web", "NodePort", json!([{ "port": 80 }]));
    let path = format!("{SERVICES}/web");
    let port = given(&client.post(SERVICES, plain.clone()).await.ok());
    assert!((30_000..=32_767).contains(&port), "{port}");
    // Whoever says nothing of it keeps it: replaced, patched, applied.
    assert_eq!(given(&client.put(&path, plain.clone()).await.ok()), port);
    assert_eq!(given(&client.merge(&path, json!({ "spec": { "ports": [{ "port": 80, "targetPort": 8080 }] } })).await.ok()), port);
    let apply = format!("{path}?fieldManager=me&force=true");
    let applied = client.send("PATCH", &apply, "application/apply-patch+yaml", Some(plain)).await.ok();
    assert_eq!(given(&applied), port);
    assert_eq!(given(&client.merge(&path, json!({ "spec": { "type": "LoadBalancer" } })).await.ok()), port);
    let other = |wish: u64| service("other", "NodePort", json!([{ "port": 80, "nodePort": wish }]));
    let taken = client.post(SERVICES, other(port)).await;
    assert_eq!(taken.fields(), ["spec.ports[0].nodePort"]);
    let taken = taken.refused(422, "Invalid");
    let sentence = format!("{port} belongs to the Service default/web; choose another, or leave it out and one is chosen");
    assert!(taken["message"].as_str().unwrap().contains(&sentence), "{taken}");
    // With the type goes the port, and another may have it.
    let back = client.merge(&path, json!({ "spec": { "type": "ClusterIP" } })).await.ok();
    assert_eq!((given(&back), &back["spec"]["externalTrafficPolicy"]), (0, &Value::Null));
    assert_eq!(given(&client.post(SERVICES, other(port)).await.ok()), port);
    client.delete(&format!("{SERVICES}/other")).await.ok();
    client.merge(&path, json!({ "spec": { "type": "NodePort", "ports": [{ "port": 80, "nodePort": port }] } })).await.ok();
}

#[tokio::test]
async fn what_cannot_be_a_node_port_is_refused_by_name() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    for (kind, ports, field, says) in [
        ("NodePort", json!([{ "port": 80, "nodePort": 80 }]), "spec.ports[0].nodePort", "80 is not between 30000 and 32767"),
        (
            "ClusterIP",
            json!([{ "port": 80, "nodePort": 30_080 }]),
            "spec.ports[0].nodePort",
            "only Services of the type NodePort or LoadBalancer",
        ),
        (
            "NodePort",
            json!([{ "name": "a", "port": 80, "nodePort": 30_080 }, { "name": "b", "port": 81, "nodePort": 30_080 }]),
            "spec.ports[1].nodePort",
            "30080 stands there twice",
        ),
        ("ClusterIP", json!([{ "name": "a", "port": 80 }, { "name": "b", "port": 80 }]), "spec.ports[1].port", "80 stands there twice"),
        ("ExternalName", json!([{ "port": 80 }]), "spec.type", "one of ClusterIP, NodePort, LoadBalancer"),
    ] {
        let refused = client.post(SERVICES, service("web", kind, ports)).await;
        assert_eq!(refused.fields(), [field], "{says}");
        assert!(refused.body["message"].as_str().unwrap().contains(says), "{}", refused.body);
    }
    let mut headless = service("web", "NodePort", json!([{ "port": 80 }]));
    headless["spec"]["clusterIP"] = json!("None");
    assert_eq!(client.post(SERVICES, headless).await.fields(), ["spec.clusterIP"]);
}

#[tokio::test]
async fn the_ports_of_machines_are_the_admins_to_give() {
    let cluster = Cluster::start().await;
    let (admin, deployer) = (cluster.admin(), cluster.client(Identity::deployer("alice", "default")));
    let web = service("web", "LoadBalancer", json!([{ "port": 80 }]));
    let refused = deployer.post(SERVICES, web.clone()).await;
    assert_eq!((refused.code.as_u16(), refused.fields()), (403, vec!["spec.ports[0].port".to_owned()]));
    deployer.post(SERVICES, service("high", "LoadBalancer", json!([{ "port": 8080 }]))).await.ok();
    admin.post(SERVICES, web).await.ok();
    // What an admin gave may be changed otherwise.
    deployer.merge(&format!("{SERVICES}/web"), json!({ "metadata": { "labels": { "a": "b" } } })).await.ok();
    let policy = json!({ "metadata": { "name": "p" }, "spec": { "listen": ["8080-8090"] } });
    admin.post("/apis/wctl.dev/v1/namespaces/default/policies", policy).await.ok();
    let refused = deployer.post(SERVICES, service("far", "LoadBalancer", json!([{ "port": 9090 }]))).await;
    assert!(
        refused.body["message"].as_str().unwrap().contains("port 9090/tcp of the nodes may not be listened on here; allowed are 8080-8090")
    );
}

#[tokio::test]
async fn the_table_shows_both_ports_and_where_it_is_reached() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.post(SERVICES, service("web", "LoadBalancer", json!([{ "port": 80, "nodePort": 30_123 }]))).await.ok();
    let row = async || {
        let table = client.send("GET", &format!("{SERVICES}/web"), "application/json;as=Table;v=v1;g=meta.k8s.io", None).await.ok();
        let cells = table["rows"][0]["cells"].as_array().unwrap().clone();
        (cells[3].clone(), cells[4].clone())
    };
    assert_eq!(row().await, (json!("<pending>"), json!("80:30123/TCP")));
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }] } } });
    client.merge(&format!("{SERVICES}/web/status"), status).await.ok();
    assert_eq!(row().await, (json!("10.0.0.1,10.0.0.2"), json!("80:30123/TCP")));
}

struct Nothing;

#[async_trait::async_trait]
impl Resolve for Nothing {
    async fn resolve(&self, image: &str) -> Result<String, String> {
        Err(format!("{image} is nowhere"))
    }
}

#[tokio::test]
async fn two_servers_over_one_store_never_give_one_port_twice() {
    let store = Arc::new(Memory::new());
    let objects = Objects::new(store.clone(), Seal::ephemeral().unwrap());
    let mut home =
        Object(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" }, "status": { "phase": "Active" } }));
    home.stamp_new("home", jiff::Timestamp::now());
    if objects.get(&NAMESPACE, "", "default").await.unwrap().is_none() {
        objects.commit(vec![Write::Create(home)]).await.unwrap();
    }
    let server = || {
        let api = Api::new(objects.clone(), Tokens::new(store.clone()), Arc::new(Nothing), CancellationToken::new());
        Client::of(api.service(Identity::admin()))
    };
    let (one, two) = (server(), server());
    let mut makers = tokio::task::JoinSet::new();
    for n in 0..40 {
        let client = if n % 2 == 0 { one.clone() } else { two.clone() };
        makers.spawn(
            async move { given(&client.post(SERVICES, service(&format!("web-{n}"), "NodePort", json!([{ "port": 80 }]))).await.ok()) },
        );
    }
    let ports: BTreeSet<u64> = makers.join_all().await.into_iter().collect();
    assert_eq!(ports.len(), 40);
    // Of two that wish for one port at once one gets it.
    let wish = |client: Client, name: &'static str| async move {
        client.post(SERVICES, service(name, "NodePort", json!([{ "port": 80, "nodePort": 30_999 }]))).await.code.as_u16()
    };
    let both = if ports.contains(&30_999) { (201, 422) } else { tokio::join!(wish(one, "first"), wish(two, "second")) };
    assert!(matches!(both, (201, 422) | (422, 201)), "{both:?}");
}
