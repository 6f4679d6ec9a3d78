//! Who this node is to its cluster: asked for with a join token, kept in the node's folder, renewed in time.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use scheduler::names::DEFAULT_NAMESPACE;
use scheduler::pki;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::Globals;
use crate::cluster::{Cluster, Reach};
use crate::exit::Usage;
use crate::home::Home;
use crate::print;

/// Where it is kept, in the node's folder.
const FILE: &str = "identity.json";
const KEY: &str = "identity.key";
/// How often is looked whether it must be renewed.
const LOOK: Duration = Duration::from_secs(3600);
/// A certificate of which less than this share is left is renewed.
const RENEW: f64 = 1.0 / 3.0;
/// Longest time until a connection to a server stands.
const CONNECT: Duration = Duration::from_secs(3);

/// What a node knows of its cluster, and shows to it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The node's name.
    pub name: String,
    /// `https://HOST:PORT` of each server.
    pub servers: Vec<String>,
    /// The cluster's CA, PEM.
    ca: String,
    /// PEM.
    certificate: String,
    /// For the servers' registry.
    token: String,
    /// The digest of the token that it was asked for with.
    #[serde(default)]
    asked_with: String,
}

/// Splits `https://a:6443,https://b:6443`.
pub fn servers(typed: &str) -> Result<Vec<String>> {
    let one = |server: &str| {
        let server = server.trim().trim_end_matches('/');
        if server.strip_prefix("https://").is_none_or(str::is_empty) {
            bail!(Usage(format!("`{server}` is no address of a server; write --join https://HOST:PORT, as `wctl server` prints it")));
        }
        Ok(server.to_owned())
    };
    typed.split(',').map(one).collect()
}

impl Identity {
    /// The one that was kept, if this node has joined.
    pub fn kept(home: &Home) -> Result<Option<Identity>> {
        home.of_node().read(FILE)
    }

    /// Joins with a token that names the CA.
    pub async fn join(globals: &Globals, home: &Home, name: String, servers: Vec<String>, token: &str) -> Result<Identity> {
        let (secret, pin) = token.split_once('.').context("the token names no CA")?;
        home.of_node().create()?;
        let mut failed = None;
        for server in &servers {
            let asked = async {
                let host = server.trim_start_matches("https://");
                let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
                    host.to_owned()
                } else {
                    format!("{host}:443")
                };
                let ca = pki::authority_at(&with_port, pin).await?;
                let (_, cluster) = connect(globals, server, &ca, &json!({"token": secret})).await?;
                ask(&cluster, home, &name).await
            };
            match asked.await {
                Ok(answer) => {
                    let identity = Identity { asked_with: digest(token), ..Identity::of(name, servers, &answer) };
                    identity.keep(home)?;
                    return Ok(identity);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| anyhow::anyhow!("there is no server to join")))
    }

    fn of(name: String, servers: Vec<String>, answer: &Value) -> Identity {
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        let asked_with = String::new();
        Identity { name, servers, ca: text("ca"), certificate: text("certificate"), token: text("token"), asked_with }
    }

    /// Whether it is what this name got for this token, and still good.
    pub fn is_of(&self, name: &str, token: &str) -> bool {
        self.name == name && self.asked_with == digest(token) && pki::left(self.certificate.as_bytes()).is_some_and(|left| left > 0.0)
    }

    /// The same with these servers.
    pub fn at(self, servers: Vec<String>) -> Identity {
        Identity { servers, ..self }
    }

    fn keep(&self, home: &Home) -> Result<()> {
        home.of_node().write(FILE, &serde_json::to_vec_pretty(self)?)
    }

    /// The servers, as one; and how to change what they are shown.
    pub async fn connect(&self, globals: &Globals, home: &Home) -> Result<(kube::Client, Cluster, Reach)> {
        let (clients, registry) = self.clients(globals, home).await?;
        let reach = Reach::new(clients);
        let client = kube::Client::new(reach.clone(), DEFAULT_NAMESPACE);
        let cluster = Cluster::new(client.clone(), globals, DEFAULT_NAMESPACE.to_owned(), self.servers.join(","), registry);
        Ok((client, cluster, reach))
    }

    async fn clients(&self, globals: &Globals, home: &Home) -> Result<(Vec<kube::Client>, artifact::registry::Client)> {
        let key = home.of_node().path.join(KEY);
        let key = std::fs::read(&key).with_context(|| format!("reading {}", key.display()))?;
        let user = json!({
            "client-certificate-data": crate::registry::base64(self.certificate.as_bytes()),
            "client-key-data": crate::registry::base64(&key),
        });
        let mut clients = Vec::new();
        for server in &self.servers {
            clients.push(Cluster::together(globals, config(server, &self.ca, &user).await?)?.0);
        }
        let url = self.servers.first().cloned().unwrap_or_default();
        let embedded = artifact::registry::Embedded::Remote { url, token: self.token.clone(), ca_pem: self.ca.clone() };
        Ok((clients, crate::registry::client(globals, Some(embedded))?))
    }

    /// Renews the certificate in time, for as long as it is asked to.
    pub async fn renew(mut self, globals: Globals, home: Home, cluster: Cluster, reach: Reach) {
        loop {
            let left = pki::left(self.certificate.as_bytes()).unwrap_or(0.0);
            if left < RENEW {
                match self.renewed(&globals, &home, &cluster).await {
                    Ok((identity, clients)) => {
                        reach.replace(clients);
                        self = identity;
                    }
                    Err(error) => print::warn(format_args!(
                        "the node's certificate has {:.0} % of its time left and cannot be renewed, trying again in an hour: {error:#}",
                        left * 100.0
                    )),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn renewed(&self, globals: &Globals, home: &Home, cluster: &Cluster) -> Result<(Identity, Vec<kube::Client>)> {
        let answer = ask(cluster, home, &self.name).await?;
        // Its token stays.
        let (token, asked_with) = (self.token.clone(), self.asked_with.clone());
        let identity = Identity { token, asked_with, ..Identity::of(self.name.clone(), self.servers.clone(), &answer) };
        identity.keep(home)?;
        let (clients, _) = identity.clients(globals, home).await?;
        Ok((identity, clients))
    }
}

fn digest(token: &str) -> String {
    artifact::Digest::of(token.as_bytes()).hex()
}

async fn ask(cluster: &Cluster, home: &Home, name: &str) -> Result<Value> {
    let request = pki::Request::of(name, &home.of_node().path.join(KEY))?;
    let path = format!("/apis/wctl.dev/v1/nodes/{name}/join");
    cluster.json(http::Method::POST, &path, &[], Some(&json!({"csr": request.csr}))).await.context("asking for a certificate")
}

async fn connect(globals: &Globals, server: &str, ca: &str, user: &Value) -> Result<(kube::Client, Cluster)> {
    Cluster::with_config(globals, config(server, ca, user).await?)
}

async fn config(server: &str, ca: &str, user: &Value) -> Result<kube::Config> {
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "join",
        "clusters": [{"name": "join", "cluster": {"server": server, "certificate-authority-data": crate::registry::base64(ca.as_bytes())}}],
        "users": [{"name": "join", "user": user}],
        "contexts": [{"name": "join", "context": {"cluster": "join", "user": "join"}}],
    }))
    .context("making the configuration to join with")?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.context("reading the server's address")?;
    config.connect_timeout = Some(CONNECT);
    Ok(config)
}
