//! Services on ports of nodes, and under their names for guests.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, within};

/// A port of nodes that nobody listens on.
fn free_port() -> u16 {
    loop {
        let port = 30_000 + rand::random::<u16>() % 2_700;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

async fn body(response: Response<Incoming>) -> String {
    let body = within("a body", response.into_body().collect()).await.expect("a whole body").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

/// Done when somebody listens there.
async fn listening(at: SocketAddr) {
    within("a listener", async {
        while TcpStream::connect(at).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn closed(at: SocketAddr) {
    within("the end of a listener", async {
        while TcpStream::connect(at).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn on_nodes(name: &str, kind: &str, ports: Value) -> Value {
    let labels = json!({"wctl.dev/app": name, "wctl.dev/service": name});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("{name}-out")}, "spec": {"type": kind, "selector": labels, "ports": ports}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_answers_on_its_port_of_the_node_whatever_the_host_until_it_goes() {
    let mut cluster = Cluster::start().await;
    cluster.deploy("web", 1, json!({}), json!({})).await;
    let (port, other, own) = (free_port(), free_port(), free_port());
    let ports = json!([{"name": "a", "port": 80, "nodePort": port}, {"name": "b", "port": 81, "nodePort": other}]);
    cluster.apply("api/v1", "services", on_nodes("web", "NodePort", ports)).await;
    cluster.ready("web-out", 1).await;
    for port in [port, other] {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        listening(at).await;
        let answer = Cluster::open_at(at, "nobody-knows-this-host", "/reflect?1", false).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(body(answer).await.starts_with("GET /reflect?1\nhost: nobody-knows-this-host.localhost\n"));
    }
    let at = SocketAddr::from(([127, 0, 0, 1], port));

    // Of two that name one port themselves the older one has it; the younger one is told, and what else it has works.
    let balanced = json!([{"port": own, "nodePort": free_port()}]);
    cluster
        .apply(
            "api/v1",
            "services",
            on_nodes("web", "LoadBalancer", balanced.clone())
                .as_object()
                .map(|service| {
                    let mut service = service.clone();
                    service["metadata"]["name"] = json!("web-older");
                    Value::Object(service)
                })
                .expect("an object"),
        )
        .await;
    listening(SocketAddr::from(([127, 0, 0, 1], own))).await;
    let blocked = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = blocked.local_addr().expect("an address").port();
    let node_port = free_port();
    let mut younger =
        on_nodes("web", "LoadBalancer", json!([{"name": "a", "port": own, "nodePort": node_port}, {"name": "b", "port": taken}]));
    younger["metadata"]["name"] = json!("web-younger");
    cluster.apply("api/v1", "services", younger).await;
    listening(SocketAddr::from(([127, 0, 0, 1], node_port))).await;
    let told = within("both sentences", async {
        loop {
            let told = cluster.told("PortUnavailable").await;
            if told.lines().count() == 2 {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(told.contains(&format!("port {own} of node edge-1 belongs to the older Service default/web-older")), "{told}");
    assert!(told.contains(&format!("port {taken} of node edge-1 cannot be listened on")), "{told}");
    drop(blocked);
    listening(SocketAddr::from(([127, 0, 0, 1], taken))).await;

    // A request that is under way when its Service goes is answered to its end; nobody new gets in.
    let slow = tokio::spawn(async move { body(Cluster::open_at(at, "x", "/sleep?1500000000", false).await).await });
    within("the guest at work", async {
        while cluster.metric("wctl_sandboxes") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    cluster.delete("services", "web-out").await;
    closed(at).await;
    assert!(!slow.is_finished(), "the request was over before its Service went");
    assert!(within("the answer", slow).await.is_ok());
    cluster.stop_node().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_pods_that_listen_themselves_are_passed_on_as_they_are() {
    let cluster = Cluster::start().await;
    let pod = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (port, target) = (free_port(), pod.local_addr().expect("an address").port());
    // Without a selector the endpoints are whoever's who writes them.
    let ports = json!([{"port": 7, "nodePort": port, "targetPort": target}]);
    let service = json!({"metadata": {"name": "echo"}, "spec": {"type": "NodePort", "ports": ports}});
    cluster.apply("api/v1", "services", service).await;
    let pods = json!({"kind": "Pod", "name": "echo", "uid": "echo"});
    let endpoint = json!({"addresses": ["127.0.0.1"], "nodeName": "edge-9", "conditions": {"ready": true}, "targetRef": pods});
    let slice = json!({
        "metadata": {"name": "echo", "labels": {"kubernetes.io/service-name": "echo"}}, "addressType": "IPv4", "endpoints": [endpoint],
        "ports": [{"name": "", "port": target, "protocol": "TCP", "appProtocol": "wctl.dev/tcp"}],
    });
    cluster.apply("apis/discovery.k8s.io/v1", "endpointslices", slice).await;
    let (mut client, mut served) = within("a connection to the pod", async {
        loop {
            // Until the slice is known it is a port for requests.
            let client = TcpStream::connect(("127.0.0.1", port)).await;
            let accepted = tokio::time::timeout(Duration::from_millis(500), pod.accept()).await;
            if let (Ok(client), Ok(Ok((served, _)))) = (client, accepted) {
                return (client, served);
            }
        }
    })
    .await;
    client.write_all(b"\0no HTTP at all").await.expect("sent");
    let mut got = [0; 15];
    within("the bytes", served.read_exact(&mut got)).await.expect("all of them");
    assert_eq!(&got, b"\0no HTTP at all");
    // Closing one side closes one side.
    client.shutdown().await.expect("closed");
    assert_eq!(within("the end", served.read(&mut got)).await.expect("an end"), 0);
    served.write_all(b"still here").await.expect("sent");
    drop(served);
    let mut rest = Vec::new();
    within("the rest", client.read_to_end(&mut rest)).await.expect("all of it");
    assert_eq!(rest, b"still here");
    cluster.delete("services", "echo").await;
    closed(SocketAddr::from(([127, 0, 0, 1], port))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_call_services_by_name_where_both_sides_name_each_other() {
    let mut cluster = Cluster::start().await;
    let two = cluster.join().await;
    let call = "shop-user,bill.other,closed.other";
    cluster.pod_on("edge-1", "shop", "web", json!({"wctl.dev/call": format!("user,{call}")})).await;
    cluster.pod_on("edge-1", "shop", "bare", json!({})).await;
    cluster.pod_on("edge-2", "shop", "user", json!({})).await;
    for service in ["web", "bare", "user"] {
        cluster.route_to("shop", service).await;
        cluster.ready(&format!("shop-{service}"), 1).await;
        Cluster::ready_at(&two.handle, &format!("shop-{service}"), 1).await;
    }
    let fetch = async |from: &str, what: &str| cluster.get(&format!("shop-{from}"), &format!("/fetch?{what}|/reflect")).await.1;
    for host in ["user", "shop-user", "shop-user.default", "shop-user.default.svc", "shop-user.default.svc.cluster.local"] {
        let answer = fetch("web", &format!("http|{host}")).await;
        assert!(answer.starts_with("200 GET /reflect\nhost: "), "{host}: {answer}");
        assert!(fetch("bare", &format!("http|{host}")).await.contains("HttpRequestDenied"), "{host}");
    }
    // A Service answers at its own ports alone, and by http.
    assert!(fetch("web", "http|shop-user.default:81").await.contains("HttpRequestDenied"));
    assert!(fetch("web", "https|shop-user.default").await.contains("HttpRequestDenied"));
    assert!(fetch("web", "http|nobody.default").await.contains("HttpRequestDenied"));

    // Across namespaces the callee has to name the caller's.
    cluster.namespace("other").await;
    for (name, callers) in [("bill", "default"), ("closed", "")] {
        let labels = json!({"app": name});
        let run = json!({"name": name, "image": cluster.image, "resources": {"limits": {"memory": "64Mi"}}});
        let pod = json!({"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": "edge-2", "containers": [run]}});
        cluster.apply_in("other", "api/v1", "pods", pod).await;
        let service = json!({"metadata": {"name": name, "annotations": {"wctl.dev/callers": callers}}, "spec": {"selector": labels, "ports": [{"port": 8080}]}});
        cluster.apply_in("other", "api/v1", "services", service).await;
    }
    within("the other namespace", async {
        while !["bill", "closed"].iter().all(|name| cluster.handle.ready("other", name) == 1 && two.handle.ready("other", name) == 1) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let answer = fetch("web", "http|bill.other:8080").await;
    assert!(answer.starts_with("200 GET /reflect\nhost: bill.other:8080\n"), "{answer}");
    assert!(fetch("web", "http|bill.other").await.contains("HttpRequestDenied"), "it has no port 80");
    assert!(fetch("web", "http|closed.other:8080").await.contains("HttpRequestDenied"));
    let log = within("the pods' logs", async {
        loop {
            let log = cluster.logs();
            if log.contains("wctl.dev/callers") || log.contains("in the annotation wctl.dev/call") {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(log.contains("grant user in the annotation wctl.dev/call of its pod"), "{log}");
    two.stop().await;
    cluster.stop().await;
}
