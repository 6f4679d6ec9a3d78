//! The server over TLS on loopback, as a process that may be killed.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use scheduler::auth::Identity;
use scheduler::server::{Config, Error, Server, listen};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::ServiceExt;

use crate::support::*;

/// Where a child process is told to run its server.
const CHILD_FOLDER: &str = "WCTL_TEST_SERVER";

struct Running {
    url: String,
    token: String,
    ca_pem: String,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

async fn start(folder: &std::path::Path) -> Running {
    run(Server::open(Config::new(folder)).await.unwrap())
}

fn run(server: Server) -> Running {
    let listener = listen("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (token, ca_pem) = (server.admin_token().to_owned(), server.ca_pem().to_owned());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(listener, async move { drop(stopped.await) }));
    Running { url, token, ca_pem, stop, task }
}

impl Running {
    fn client(&self) -> reqwest::Client {
        client(&self.ca_pem)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn client(ca_pem: &str) -> reqwest::Client {
    // The first client of a process installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([ca]).timeout(Duration::from_secs(30)).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_answers_over_tls_and_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let http = running.client();
    let url = format!("{}{CONFIG_MAPS}", running.url);
    let made = http.post(&url).bearer_auth(&running.token).json(&config_map("a", json!({}))).send().await.unwrap();
    assert_eq!((made.status().as_u16(), made.version()), (201, reqwest::Version::HTTP_2));
    let made: Value = made.json().await.unwrap();
    // A watch that is open does not hold up the end.
    let watch = http.get(format!("{url}?watch=true")).bearer_auth(&running.token).send().await.unwrap();
    let mut watch = watch.bytes_stream();
    assert!(watch.next().await.unwrap().is_ok());
    let token = running.token.clone();
    running.stop().await;
    while let Some(Ok(_)) = watch.next().await {}
    let again = start(folder.path()).await;
    assert_eq!(again.token, token, "the admin's token stays");
    let url = format!("{}{CONFIG_MAPS}/a", again.url);
    let kept: Value = again.client().get(url).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    assert_eq!(kept, made);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_is_free_when_the_server_has_ended_whatever_still_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::open(Config::new(folder.path())).await.unwrap();
    let (kept, admin) = (server.objects().clone(), server.service(Identity::admin()));
    let running = run(server);
    let http = running.client();
    // A body that never ends, over HTTP/2: its handler waits for it in a task of its own.
    let never = futures::stream::once(async { Ok::<_, std::io::Error>("{") }).chain(futures::stream::pending());
    let request = http.post(format!("{}{CONFIG_MAPS}", running.url)).bearer_auth(&running.token);
    let request = request.header("content-type", "application/json").body(reqwest::Body::wrap_stream(never));
    let endless = tokio::spawn(request.send());
    // The same connection has carried the request's head when it has answered this.
    for _ in 0..3 {
        assert_eq!(http.get(format!("{}/healthz", running.url)).send().await.unwrap().status(), 200);
    }
    let started = std::time::Instant::now();
    running.stop().await;
    assert!(started.elapsed() < Duration::from_secs(9), "it took {:?} to end", started.elapsed());
    let again = Server::open(Config::new(folder.path())).await.expect("the folder is free at once");
    assert!(endless.await.unwrap().is_err(), "the request was cut off");
    let error = kept.resource_version().await.unwrap_err().to_string();
    assert!(error.contains("it was closed"), "{error}");
    let answer = admin.oneshot(http::Request::get(CONFIG_MAPS).body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 503);
    drop(again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n31_without_a_good_token_there_is_nothing_to_see() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let http = running.client();
    let cut = &running.token[..running.token.len() - 1];
    let paths = [
        "/api",
        "/apis",
        "/api/v1",
        "/apis/wctl.dev/v1",
        "/version",
        "/nope",
        "/api/v1/pods",
        "/api/v1/namespaces/default/secrets/x",
        "/apis/wctl.dev/v1/namespaces/default/apps",
        "/apis/wctl.dev/v1/nodes/n1/asks",
        "/api/v1/namespaces/default/pods/p/log",
    ];
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let request = || http.request(method.parse().unwrap(), format!("{}{path}", running.url));
            for answer in [request().send().await, request().bearer_auth(cut).send().await, request().bearer_auth("").send().await] {
                let answer = answer.unwrap();
                assert_eq!(answer.status(), 401, "{method} {path}");
                let body: Value = answer.json().await.unwrap();
                assert_eq!((&body["kind"], &body["reason"]), (&json!("Status"), &json!("Unauthorized")));
            }
        }
    }
    for path in ["/v2/", "/v2/_catalog", "/v2/a/manifests/1"] {
        let answer = http.get(format!("{}{path}", running.url)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"), "{path}");
    }
    let registry = http.get(format!("{}/v2/", running.url)).basic_auth("anybody", Some(&running.token)).send().await.unwrap();
    assert_eq!(registry.status(), 200);
    let prune = http.post(format!("{}/apis/wctl.dev/v1/prune?dryRun=All", running.url));
    assert_eq!(prune.try_clone().unwrap().send().await.unwrap().status(), 401);
    let pruned: Value = prune.bearer_auth(&running.token).send().await.unwrap().json().await.unwrap();
    assert_eq!((&pruned["kind"], &pruned["items"]), (&json!("PruneResult"), &json!([])));
    assert_eq!(http.get(format!("{}/healthz", running.url)).send().await.unwrap().text().await.unwrap(), "ok");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n31_a_body_of_a_gigabyte_is_refused_early() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16])).take(1 << 14);
    let request = running.client().post(format!("{}{CONFIG_MAPS}", running.url)).bearer_auth(&running.token);
    let request = request.header("content-type", "application/json").body(reqwest::Body::wrap_stream(pieces));
    // The server answers and stops reading; a client that goes on writing may find the stream reset instead.
    match request.send().await {
        Ok(answer) => assert_eq!(answer.status(), 413),
        Err(error) => assert!(error.is_request() || error.is_body(), "{error}"),
    }
    let alive = running.client().get(format!("{}/healthz", running.url)).send().await.unwrap();
    assert_eq!(alive.status(), 200);
    running.stop().await;
}

#[tokio::test]
async fn a_folder_in_use_and_a_port_in_use_are_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::open(Config::new(folder.path())).await.unwrap();
    let Err(error) = Server::open(Config::new(folder.path())).await else { panic!("opened twice") };
    assert!(error.to_string().contains(&format!("is in use by process {}", std::process::id())), "{error}");
    drop(first);
    Server::open(Config::new(folder.path())).await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = listen(&taken.local_addr().unwrap().to_string()).unwrap_err().to_string();
    assert!(error.contains("the port is in use"), "{error}");
    assert!(listen("nonsense").is_err());
}

#[tokio::test]
async fn logs_come_from_the_node_that_runs_the_pod() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let pod =
        json!({ "metadata": { "name": "web" }, "spec": { "nodeName": "n1", "containers": [{ "name": "web", "image": image("web") }] } });
    client.post(PODS, pod).await.ok();
    client.get(&format!("{PODS}/web/log")).await.refused(503, "ServiceUnavailable");
    let node = cluster.client(Identity::node("n1"));
    let mut asks = node.asks("/apis/wctl.dev/v1/nodes/n1/asks").await;
    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.get(&format!("{PODS}/web/log?follow=true&tailLines=5&limitBytes=9")).await }
    });
    let ask = asks.ask().await;
    assert_eq!((&ask["ask"], &ask["pod"], &ask["follow"], &ask["tail"]), (&json!("logs"), &json!("web"), &json!(true), &json!(5)));
    let answers = format!("/apis/wctl.dev/v1/nodes/n1/answers/{}", ask["id"].as_str().unwrap());
    let foreign = cluster.client(Identity::node("n2"));
    foreign.send("POST", &answers, "text/plain", Some(json!("x"))).await.refused(403, "Forbidden");
    node.send("POST", &answers, "text/plain", Some(json!("hello from the guest"))).await;
    assert_eq!(reading.await.unwrap().ok(), json!("\"hello fr"));
    client.get(&format!("{PODS}/web/log?container=other")).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn logs_of_a_pod_that_is_gone_come_from_whichever_node_keeps_them() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    client.get(&format!("{PODS}/web/log")).await.refused(404, "NotFound");
    let (one, two) = (cluster.client(Identity::node("n1")), cluster.client(Identity::node("n2")));
    let mut asks_of_one = one.asks("/apis/wctl.dev/v1/nodes/n1/asks").await;
    let mut asks_of_two = two.asks("/apis/wctl.dev/v1/nodes/n2/asks").await;
    let read = || {
        let client = client.clone();
        tokio::spawn(async move { client.get(&format!("{PODS}/web/log?follow=true&tailLines=5")).await })
    };
    let path =
        |node: &str, ask: &Value, query: &str| format!("/apis/wctl.dev/v1/nodes/{node}/answers/{}{query}", ask["id"].as_str().unwrap());
    let reading = read();
    let (first, second) = (asks_of_one.ask().await, asks_of_two.ask().await);
    assert_eq!((&first["namespace"], &first["pod"], &first["uid"]), (&json!("default"), &json!("web"), &json!("")));
    assert_eq!((&first["follow"], &first["tail"]), (&json!(false), &json!(5)), "nothing more comes from the dead");
    one.send("POST", &path("n1", &first, "?code=400&error=no+such+log"), "text/plain", None).await;
    two.send("POST", &path("n2", &second, ""), "text/plain", Some(json!("last words"))).await;
    assert_eq!(reading.await.unwrap().ok(), json!("last words"));
    let reading = read();
    for (client, node, ask) in [(&one, "n1", asks_of_one.ask().await), (&two, "n2", asks_of_two.ask().await)] {
        client.send("POST", &path(node, &ask, "?code=400&error=no+such+log"), "text/plain", None).await;
    }
    reading.await.unwrap().refused(404, "NotFound");
}

#[tokio::test]
async fn requests_are_read_by_those_who_may_read_the_namespace() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/nodes/n1/proxy/logs/access.log";
    let (alice, node) = (cluster.client(Identity::deployer("alice", "shop")), cluster.client(Identity::node("n1")));
    for who in [&alice, &cluster.client(Identity::node("n2")), &node] {
        who.get(path).await.refused(403, "Forbidden");
        who.get(&format!("{path}?namespace=other")).await.refused(403, "Forbidden");
    }
    alice.get(&format!("{path}?namespace=shop&sinceTime=soon")).await.refused(400, "BadRequest");
    alice.get(&format!("{path}?namespace=shop")).await.refused(503, "ServiceUnavailable");
    let mut asks = node.asks("/apis/wctl.dev/v1/nodes/n1/asks").await;
    for (client, query, namespace) in [
        (alice, "?namespace=shop&app=web&tailLines=5&request=7", json!("shop")),
        (cluster.client(Identity::viewer("bob")), "?sinceTime=2026-01-02T03:04:05Z", json!(null)),
        (cluster.admin(), "?follow=true", json!(null)),
    ] {
        let reading = tokio::spawn(async move { client.get(&format!("{path}{query}")).await });
        let ask = asks.ask().await;
        assert_eq!((&ask["ask"], &ask["namespace"]), (&json!("access"), &namespace), "{ask}");
        if namespace == "shop" {
            assert_eq!((&ask["app"], &ask["tail"], &ask["request"]), (&json!("web"), &json!(5), &json!("7")));
        }
        let answers = format!("/apis/wctl.dev/v1/nodes/n1/answers/{}", ask["id"].as_str().unwrap());
        node.raw("POST", &answers, "text/plain", "{\"id\":\"7\"}").await;
        assert_eq!(reading.await.unwrap().ok(), json!({"id": "7"}));
    }
}

#[tokio::test]
async fn metrics_are_the_servers_and_those_of_all_nodes() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let text = |answer: serde_json::Value| answer.as_str().unwrap().to_owned();
    let own = text(client.get("/metrics").await.ok());
    assert!(own.contains("# TYPE wctl_api_requests_total counter\n") && !own.contains("node="), "{own}");
    let node = cluster.client(Identity::node("n1"));
    node.get("/metrics").await.refused(403, "Forbidden");
    client.get("/api/v1/nodes/n1/proxy/metrics").await.refused(503, "ServiceUnavailable");
    let mut asks = node.asks("/apis/wctl.dev/v1/nodes/n1/asks").await;
    for path in ["/metrics", "/api/v1/nodes/n1/proxy/metrics"] {
        let reading = tokio::spawn({
            let client = client.clone();
            async move { client.get(path).await }
        });
        let ask = asks.ask().await;
        assert_eq!(ask["ask"], json!("metrics"));
        let answers = format!("/apis/wctl.dev/v1/nodes/n1/answers/{}", ask["id"].as_str().unwrap());
        let told = "# HELP wctl_traps_total T.\n# TYPE wctl_traps_total counter\nwctl_traps_total 3\n";
        node.raw("POST", &answers, "text/plain", told).await;
        let told = text(reading.await.unwrap().ok());
        let wanted = if path == "/metrics" { "wctl_traps_total{node=\"n1\"} 3\n" } else { "wctl_traps_total 3\n" };
        assert!(told.contains(wanted), "{told}");
    }
}

/// Not a test by itself: the server process that the next one kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_server() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let running = start(folder.as_ref()).await;
    println!("\nready {}", json!({ "url": running.url, "token": running.token, "ca": running.ca_pem }));
    running.task.await.unwrap().unwrap();
}

struct Process {
    child: Child,
    about: Value,
}

impl Process {
    fn start(folder: &std::path::Path) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "server::child_server", "--nocapture", "--test-threads=1"]).env(CHILD_FOLDER, folder);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.find_map(|line| line.ok()?.strip_prefix("ready ").map(str::to_owned)).expect("the child says where it listens");
        Process { child, about: serde_json::from_str(&ready).unwrap() }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_writes_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = Arc::new(parking_lot::Mutex::new(Vec::<String>::new()));
    for round in 0..3 {
        let mut process = Process::start(folder.path());
        let text = |field: &str| process.about[field].as_str().unwrap().to_owned();
        let (url, token, http) = (format!("{}{CONFIG_MAPS}", text("url")), text("token"), client(&text("ca")));
        let list: Value = http.get(&url).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
        let there: Vec<&str> = list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect();
        for name in acknowledged.lock().iter() {
            assert!(there.contains(&name.as_str()), "round {round}: {name} was acknowledged and is gone");
        }
        let enough = Arc::new(tokio::sync::Notify::new());
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let (http, url, token, acknowledged, enough) = (http.clone(), url.clone(), token.clone(), acknowledged.clone(), enough.clone());
            writers.spawn(async move {
                for n in 0.. {
                    let name = format!("r{round}-w{writer}-{n}");
                    match http.post(&url).bearer_auth(&token).json(&config_map(&name, json!({}))).send().await {
                        Ok(answer) if answer.status() == 201 => acknowledged.lock().push(name),
                        _ => return,
                    }
                    if n == 20 {
                        enough.notify_one();
                    }
                }
            });
        }
        tokio::time::timeout(Duration::from_secs(60), enough.notified()).await.expect("writes get through");
        process.kill();
        while writers.join_next().await.is_some() {}
    }
    assert!(acknowledged.lock().len() > 60);
    let last = start(folder.path()).await;
    let list: Value =
        last.client().get(format!("{}{CONFIG_MAPS}", last.url)).bearer_auth(&last.token).send().await.unwrap().json().await.unwrap();
    assert!(list["items"].as_array().unwrap().len() >= acknowledged.lock().len());
    last.stop().await;
}
