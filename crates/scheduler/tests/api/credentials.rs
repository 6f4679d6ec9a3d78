//! Tokens, roles and nodes' certificates, as those who use them see them.

use scheduler::auth::Identity;
use scheduler::pki::{self, Request};
use scheduler::server::{Config, Server, listen};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::support::*;

const TOKENS: &str = "/apis/wctl.dev/v1/tokens";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"KEY": "aHVzaA=="}})
}

#[tokio::test]
async fn n32_only_an_admin_makes_sees_and_ends_tokens() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for who in [Identity::viewer("v"), Identity::deployer("d", "default"), Identity::node("n"), Identity::joiner()] {
        let client = cluster.client(who.clone());
        assert_eq!(client.get(TOKENS).await.code, 403, "{who:?}");
        assert_eq!(client.post(TOKENS, json!({"role": "admin"})).await.code, 403, "{who:?}");
        assert_eq!(client.delete(&format!("{TOKENS}/admin")).await.code, 403, "{who:?}");
        assert_eq!(client.get("/apis/wctl.dev/v1/backup").await.code, 403, "{who:?}");
        assert_eq!(client.put("/apis/wctl.dev/v1/freeze", json!({})).await.code, 403, "{who:?}");
    }
    for (asked, why) in [
        (json!({"role": "king"}), "there is no role `king`"),
        (json!({"role": "deployer"}), "belongs to a namespace"),
        (json!({"role": "node", "namespace": "x"}), "not for one namespace"),
        (json!({"role": "viewer", "name": "node:x"}), "no name"),
        (json!({"role": "viewer", "ttl": "1h"}), "the token asked for"),
        (json!({"role": "viewer", "for": 1}), "unknown field"),
    ] {
        let refused = admin.post(TOKENS, asked).await;
        assert!(refused.code == 400 && refused.body["message"].as_str().unwrap().contains(why), "{refused:?}");
    }
    let made = admin.post(TOKENS, json!({"role": "viewer", "name": "bob", "ttl": 600})).await;
    let (id, token) = (made.body["id"].as_str().unwrap().to_owned(), made.body["token"].as_str().unwrap().to_owned());
    let listed = admin.get(TOKENS).await.body;
    assert!(listed["items"].as_array().unwrap().iter().any(|item| item["id"] == *id && item["name"] == "bob"), "{listed}");
    assert!(!listed.to_string().contains(token.split('_').nth(2).unwrap().split('.').next().unwrap()), "a list shows no secret");
    assert_eq!(admin.delete(&format!("{TOKENS}/{id}")).await.code, 200);
    assert_eq!(admin.delete(&format!("{TOKENS}/{id}")).await.code, 404);
}

#[tokio::test]
async fn n32_a_node_reads_only_the_secrets_that_its_own_pods_name() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for name in ["named", "other"] {
        assert_eq!(admin.post(SECRETS, secret(name)).await.code, 201);
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "edge-1", "containers": [{"name": "c", "image": format!("x@sha256:{}", "a".repeat(64)),
            "envFrom": [{"secretRef": {"name": "named"}}]}]},
    });
    let mut pod = scheduler::objects::Object(pod);
    pod.stamp_new("1", jiff::Timestamp::now());
    cluster.server.objects().commit(vec![scheduler::objects::Write::Create(pod)]).await.unwrap();
    let (own, other) = (cluster.client(Identity::node("edge-1")), cluster.client(Identity::node("edge-2")));
    assert_eq!(own.get(&format!("{SECRETS}/named")).await.code, 200);
    for (node, path) in [(&own, "/other"), (&other, "/named"), (&own, "/none"), (&own, ""), (&other, "?watch=true")] {
        assert_eq!(node.get(&format!("{SECRETS}{path}")).await.code, 403, "{path}");
    }
    // It cannot make a pod of its own name a Secret.
    let patch = json!({"spec": {"containers": [{"name": "c", "image": "x", "envFrom": [{"secretRef": {"name": "other"}}]}]}});
    let refused = own.merge(&format!("{PODS}/p"), patch).await;
    assert!(refused.code.is_client_error(), "{refused:?}");
    assert_eq!(own.get(&format!("{SECRETS}/other")).await.code, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n32_a_machine_joins_by_the_cas_hash_and_is_that_node_alone() {
    let (folder, node) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::open(Config::new(folder.path())).await.unwrap();
    let join = server.join_token(600).await.unwrap();
    let (secret, pin) = join.split_once('.').unwrap();
    let admin_token = server.admin_token().to_owned();
    let listener = listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(listener, async move { drop(stopped.await) }));

    let strange = pki::authority_at(&address, &"0".repeat(64)).await.unwrap_err().to_string();
    assert!(strange.contains("does not belong to the cluster that the token is for"), "{strange}");
    let ca = pki::authority_at(&address, pin).await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = || reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()]);
    let url = |path: &str| format!("https://{address}{path}");
    let request = Request::of("edge-1", &node.path().join("key")).unwrap();
    let path = "/apis/wctl.dev/v1/nodes/edge-1/join";
    let ask = |client: reqwest::Client, path: &str, token: Option<String>, csr: String| {
        let mut asked = client.post(url(path)).json(&json!({"csr": csr}));
        if let Some(token) = token {
            asked = asked.bearer_auth(token);
        }
        async move { asked.send().await.unwrap() }
    };
    let client = plain().build().unwrap();
    assert_eq!(ask(client.clone(), path, None, request.csr.clone()).await.status(), 401);
    assert_eq!(client.get(url(PODS)).bearer_auth(secret).send().await.unwrap().status(), 403, "it joins and does nothing else");
    let answer: Value = ask(client.clone(), path, Some(secret.to_owned()), request.csr.clone()).await.json().await.unwrap();
    let certificate = answer["certificate"].as_str().unwrap();
    assert!(pki::left(certificate.as_bytes()).unwrap() > 0.9);

    // Another machine with the same token does not become this node.
    let thief = Request::of("edge-1", &node.path().join("thief")).unwrap();
    assert_eq!(ask(client.clone(), path, Some(secret.to_owned()), thief.csr).await.status(), 409);

    let identity = reqwest::Identity::from_pem(format!("{certificate}{}", request.key).as_bytes()).unwrap();
    let agent = plain().identity(identity).build().unwrap();
    let status = |response: Result<reqwest::Response, reqwest::Error>| response.unwrap().status().as_u16();
    assert_eq!(status(agent.get(url("/api/v1/pods?fieldSelector=spec.nodeName%3Dedge-1")).send().await), 200);
    assert_eq!(status(agent.get(url(APPS)).send().await), 403);
    assert_eq!(status(agent.get(url(TOKENS)).send().await), 403);
    let other = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-2"}});
    assert_eq!(status(agent.post(url("/api/v1/nodes")).json(&other).send().await), 403, "another node is none of its business");
    let own = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1"}});
    assert_eq!(status(agent.post(url("/api/v1/nodes")).json(&own).send().await), 201);
    assert_eq!(ask(agent.clone(), path, None, request.csr.clone()).await.status(), 200, "it renews its own certificate");
    let others = "/apis/wctl.dev/v1/nodes/edge-2/join";
    assert_eq!(ask(agent.clone(), others, None, request.csr.clone()).await.status(), 403, "and nobody else's");
    assert_eq!(status(agent.get(url("/v2/")).bearer_auth(answer["token"].as_str().unwrap()).send().await), 200);

    let revoked = client.delete(url(&format!("{TOKENS}/node%3Aedge-1"))).bearer_auth(&admin_token).send().await;
    assert_eq!(status(revoked), 200);
    assert_eq!(status(agent.get(url(PODS)).send().await), 401, "on the very connection that it has");
    assert_eq!(status(client.get(url("/v2/")).bearer_auth(answer["token"].as_str().unwrap()).send().await), 401);

    // All of it is on record, and no secret is.
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    let since = std::time::Instant::now();
    let log = loop {
        let log = std::fs::read_to_string(folder.path().join("audit/audit.log")).unwrap();
        if log.contains("/tokens/node%3Aedge-1") {
            break log;
        }
        assert!(since.elapsed().as_secs() < 30, "{log}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(log.contains(r#""who":"join""#) && log.contains(r#""from":"127.0.0.1:"#) && log.contains(r#""code":409"#), "{log}");
    assert!(!log.contains(secret.rsplit('_').next().unwrap()) && !log.contains("BEGIN CERTIFICATE"), "{log}");
}

#[tokio::test]
async fn n32_ports_are_forwarded_by_those_who_deploy_there_and_by_nobody_else() {
    let cluster = Cluster::start().await;
    let path = format!("{PODS}/web-1/portforward");
    let refused = |answer: &Answer| answer.body["message"].as_str().unwrap().contains("cannot create resource \"pods/portforward\"");
    for who in [
        Identity::viewer("v"),
        Identity::viewer_of("v", "default"),
        Identity::deployer("d", "other"),
        Identity::node("n"),
        Identity::joiner(),
    ] {
        let client = cluster.client(who.clone());
        for answer in [client.get(&path).await, client.post(&path, json!({})).await] {
            assert!(answer.code == 403 && refused(&answer), "{who:?}: {answer:?}");
        }
    }
    for who in [Identity::admin(), Identity::deployer("d", "default")] {
        let answer = cluster.client(who.clone()).get(&path).await;
        assert!(answer.code == 400 && answer.body["message"].as_str().unwrap().contains("needs an upgrade"), "{who:?}: {answer:?}");
    }
}
