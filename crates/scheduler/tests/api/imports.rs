//! What a component needs and no node offers is refused when it is deployed, before anything is stored.

use artifact::pack::pack;
use bytes::Bytes;
use serde_json::json;

use crate::support::*;

/// A component that calls one function of each of these interfaces, in the cluster's registry.
async fn pushed(cluster: &Cluster, imports: &[&str]) -> String {
    let mut text = String::from("(component");
    imports.iter().for_each(|name| text.push_str(&format!("(import \"{name}\" (instance (export \"f\" (func))))")));
    let packed = pack(Bytes::from(wat::parse_str(text + ")").unwrap())).unwrap();
    let place: artifact::Reference = "default/web".parse().unwrap();
    let digest = cluster.server.images().push(&place.clone().pinned(packed.digest), &packed).await.unwrap();
    place.pinned(digest).to_string()
}

#[tokio::test]
async fn h40_an_app_that_needs_what_is_not_offered_is_refused_and_not_stored() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let bad = pushed(&cluster, &["acme:random/dice@1.0.0", "wasi:io/poll@0.9.12", "wasi:http/types@0.2.4"]).await;
    let good = pushed(&cluster, &["wasi:http/types@0.2.4"]).await;
    let of = |image: &str| app("shop", json!({ "web": { "image": image } }));
    for path in [format!("{APPS}/shop?dryRun=All"), format!("{APPS}/shop")] {
        let refused = client.put(&path, of(&bad)).await;
        assert_eq!(refused.fields(), ["spec.services.web.image"]);
        let message = refused.refused(422, "Invalid")["message"].as_str().unwrap().to_owned();
        for word in ["acme:random/dice@1.0.0", "wasi:io/poll@0.9.12", "only version 0.2", "offered are", "wasi:keyvalue"] {
            assert!(message.contains(word), "{word} in {message}");
        }
        assert!(!message.contains("wasi:http/types@0.2.4"), "{message}");
    }
    client.get(&format!("{APPS}/shop")).await.refused(404, "NotFound");
    client.put(&format!("{APPS}/shop"), of(&good)).await.ok();
    client.put(&format!("{APPS}/shop"), of(&bad)).await.refused(422, "Invalid");
    client.put(&format!("{APPS}/shop"), app("shop", json!({ "web": { "image": good, "replicas": 3 } }))).await.ok();
}

#[tokio::test]
async fn a_program_that_no_request_could_wake_is_not_let_sleep() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let text = "(component (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))";
    let packed = pack(Bytes::from(wat::parse_str(text).unwrap())).unwrap();
    let place: artifact::Reference = "default/web".parse().unwrap();
    let digest = cluster.server.images().push(&place.clone().pinned(packed.digest), &packed).await.unwrap();
    let image = place.pinned(digest).to_string();
    let scaled = |min: u32| app("shop", json!({ "web": { "image": image, "scale": { "min": min, "max": 2, "concurrency": 9 } } }));
    let refused = client.put(&format!("{APPS}/shop"), scaled(0)).await;
    assert_eq!(refused.fields(), ["spec.services.web.scale.min"]);
    assert!(refused.refused(422, "Invalid")["message"].as_str().unwrap().contains("write `min: 1`"));
    client.put(&format!("{APPS}/shop"), scaled(1)).await.ok();
}

#[tokio::test]
async fn h40_so_are_a_deployment_and_a_pod() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let bad = pushed(&cluster, &["acme:random/dice@1.0.0"]).await;
    let mut object = deployment("web");
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(bad);
    let refused = client.post(DEPLOYMENTS, object).await;
    assert_eq!(refused.fields(), ["spec.template.spec.containers[0].image"]);
    let pod = json!({ "metadata": { "name": "web" }, "spec": { "containers": [{ "name": "web", "image": bad }] } });
    client.post(PODS, pod).await.refused(422, "Invalid");
}
