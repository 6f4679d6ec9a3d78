//! `port-forward`, by kubectl over a WebSocket and over SPDY alone, and by kube-rs. What is sent comes back: the node of these tests echoes.

use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};

use crate::client::client;
use crate::support::*;

/// A kubectl that forwards.
struct Forward {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Forward {
    fn start(cluster: &Cluster, websocket: bool, args: &[&str]) -> Forward {
        let mut command = cluster.command(&[&["port-forward"], args].concat());
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket.to_string()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Forward { child, lines }
    }

    /// The local port that leads to `remote`.
    async fn port(&mut self, remote: u16) -> u16 {
        let search = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.strip_suffix(&format!(" -> {remote}")));
                if let Some(port) = port {
                    return port.parse().unwrap();
                }
            }
            panic!("it never forwarded to {remote}")
        };
        tokio::time::timeout(PATIENCE, search).await.expect("in time")
    }

    /// What it says when it has ended by itself.
    async fn ends(self) -> String {
        let done = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await.expect("it ends by itself").unwrap();
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8_lossy(&done.stderr).into_owned()
    }
}

/// Says this and hears it again, then has nothing more to say and hears the end.
async fn echoes(mut stream: impl AsyncRead + AsyncWrite + Unpin, said: &[u8]) {
    let talk = async {
        let mut heard = vec![0; said.len()];
        let (mut from, mut to) = tokio::io::split(&mut stream);
        let (wrote, read) = tokio::join!(to.write_all(said), from.read_exact(&mut heard));
        wrote.unwrap();
        read.unwrap();
        assert!(heard == said, "something else came back");
        to.shutdown().await.unwrap();
        assert_eq!(from.read(&mut [0; 8]).await.unwrap(), 0, "the pod hears that too");
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("in time");
}

async fn running(cluster: &Cluster, name: &str) -> String {
    cluster.kubectl_with(&["create", "-f", "-"], &cluster.deployment(name, 1)).await.ok();
    cluster.until(&["get", "deployment", name], |out| out.contains("1/1")).await;
    cluster.kubectl(&["get", "pods", "-l", &format!("app={name}"), "-o", "name"]).await.ok().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_of_pods_deployments_and_services_are_forwarded() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let pod = running(&cluster, "web").await;
    cluster.kubectl(&["expose", "deployment", "web", "--port=80", "--target-port=5000"]).await.ok();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for (what, wanted, websocket) in
        [(pod.as_str(), ":5000", true), (&pod, ":5000", false), ("deploy/web", "0:5000", true), ("svc/web", ":80", true)]
    {
        let mut forward = Forward::start(&cluster, websocket, &[what, wanted]);
        let port = forward.port(5000).await;
        let connect = async || TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (one, two, three) = (connect().await, connect().await, connect().await);
        tokio::join!(echoes(one, b"one"), echoes(two, &large), echoes(three, b"three"));
        // One that is gone in the middle does the others no harm.
        drop(connect().await);
        echoes(connect().await, b"four").await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_forwarded_is_told_in_one_sentence() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let pod = running(&cluster, "web").await;
    let name = pod.strip_prefix("pod/").unwrap();
    for websocket in [true, false] {
        let mut forward = Forward::start(&cluster, websocket, &[&pod, ":5000", ":9999"]);
        let (good, none) = (forward.port(5000).await, forward.port(9999).await);
        echoes(TcpStream::connect(("127.0.0.1", good)).await.unwrap(), b"good").await;
        let mut stream = TcpStream::connect(("127.0.0.1", none)).await.unwrap();
        // Closed or reset, as the machine likes.
        let _ = stream.read(&mut [0; 8]).await;
        let told = forward.ends().await;
        assert!(told.contains(&format!("-> 9999: pod {name} has no port 9999; it has 5000 (HTTP)")), "{told}");
    }
    // Stopped pods are kubectl's own matter; the API says the same to everybody else.
    cluster.kubectl_with(&["create", "-f", "-"], &cluster.deployment("none", 0)).await.ok();
    let told = cluster.kubectl(&["port-forward", "deploy/none", ":5000", "--pod-running-timeout=1s"]).await.fails();
    assert!(told.starts_with("error: "), "{told}");
    let told = cluster.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/default/pods/{name}/portforward")]).await.fails();
    assert!(told.contains("needs an upgrade"), "{told}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_ends_with_its_pod_and_goes_on_while_the_cluster_is_frozen() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let pod = running(&cluster, "web").await;
    let freeze = |body: &'static str, method: &'static str| {
        let request = http::Request::builder().method(method).uri("/apis/wctl.dev/v1/freeze").header("content-type", "application/json");
        tower::ServiceExt::oneshot(cluster.admin.clone(), request.body(axum::body::Body::from(body)).unwrap())
    };
    let frozen = freeze("{\"why\":\"a look\"}", "PUT").await.unwrap().status();
    let mut forward = Forward::start(&cluster, true, &[&pod, ":5000"]);
    let port = forward.port(5000).await;
    let mut open = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    open.write_all(b"here").await.unwrap();
    open.read_exact(&mut [0; 4]).await.unwrap();
    assert_eq!(frozen, 200);
    freeze("", "DELETE").await.unwrap();
    cluster.kubectl(&["delete", &pod, "--wait=false"]).await.ok();
    let told = forward.ends().await;
    assert!(told.contains("lost connection to pod"), "{told}");
    let rest = tokio::time::timeout(Duration::from_secs(10), open.read(&mut [0; 4])).await.expect("it is closed");
    assert!(matches!(rest, Ok(0) | Err(_)), "{rest:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kube_forwards_ports_over_channels() {
    let Some(cluster) = Cluster::with_node().await else { return };
    let pod = running(&cluster, "web").await;
    let pods: Api<Pod> = Api::default_namespaced(client(&cluster).await);
    let mut forward = pods.portforward(pod.strip_prefix("pod/").unwrap(), &[5000, 9999]).await.unwrap();
    let (mut stream, error) = (forward.take_stream(5000).unwrap(), forward.take_error(9999).unwrap());
    stream.write_all(b"through channels").await.unwrap();
    let mut heard = [0; 16];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"through channels");
    let told = tokio::time::timeout(PATIENCE, error).await.unwrap();
    assert!(told.as_deref().is_some_and(|told| told.contains("has no port 9999; it has 5000 (HTTP)")), "{told:?}");
    forward.abort();
    cluster.stop().await;
}
