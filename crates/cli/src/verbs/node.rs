//! `wctl node`: a node alone, for a server elsewhere.

use anyhow::{Context, Result, bail};
use kube::config::Kubeconfig;
use serde_json::json;

use crate::args::{self, Globals, LineFormat};
use crate::between::Between;
use crate::cluster::Cluster;
use crate::exit::Usage;
use crate::home::{self, HTTP, Home};
use crate::identity::{self, Identity};
use crate::machine::{self, Announced};
use crate::{print, signals};

/// Runs until a signal, then drains.
pub async fn run(globals: &Globals, args: args::Node) -> Result<()> {
    let home = Home::of(globals)?;
    let name = args.name.clone().unwrap_or_else(machine::name);
    let identity = identity(globals, &home, &args, &name).await?;
    let (client, cluster) = match (&identity, &args.join) {
        (Some(identity), _) => {
            let (client, cluster, reach) = identity.connect(globals, &home).await?;
            tokio::spawn(identity.clone().renew(globals.clone(), home.clone(), cluster.clone(), reach));
            (client, cluster)
        }
        (None, Some(url)) => joined(globals, &args, url).await?,
        (None, None) if args.token.is_some() || args.ca.is_some() => {
            bail!(Usage("--token and --ca need the server's URL: --join https://HOST:PORT".into()))
        }
        (None, None) => Cluster::connect_as_client(globals).await?,
    };
    if let Err(error) = cluster.must_be_wctl().await {
        // What the server said last is in the node's folder: a machine that starts while it is away goes on with that.
        if is_foreign(&error) || !home.node().join("kept/kept.redb").exists() {
            return Err(error);
        }
        print::warn(format_args!("{error:#}; what ran here before goes on, and the node reports when the server is back"));
    }
    let baseline = machine::baseline()?;
    let http = home::listen(globals.http.as_deref().unwrap_or(HTTP), "gateway", "--http")?;
    home.create()?;
    let lock = home.hold_node()?;
    let stop = signals::stop(&home);
    let mut config = runtime::node::Config::new(identity.map_or(name, |identity| identity.name), home.node());
    config.baseline = baseline;
    config.buckets = machine::redis(args.keyvalue.as_deref()).await?;
    config.containers = machine::bucket(args.blobs.as_deref()).await?;
    config.labels = args.label.iter().cloned().collect();
    let name = config.name.clone();
    let between = Between::of(&home, args.advertise.as_deref(), first(&cluster.endpoint))?;
    let reached = between.to_string();
    let mut worker = machine::worker(&home, config, http, between, client, cluster.registry.clone()).await?;
    // A server on the same folder has its own run.json, which stays.
    let alone = if home.is_held()? { None } else { Some(Announced::new(&home, None, Some(&worker.url))?) };
    let announced = (Announced::new(&home.of_node(), None, Some(&worker.url))?, alone);
    match args.output.output {
        LineFormat::Text => {
            print::line(format_args!("node     {name} of {}, for other nodes at {reached}\ngateway  {}", cluster.endpoint, worker.url))
        }
        LineFormat::Json => {
            print::record(&json!({"type": "started", "node": name, "api": cluster.endpoint, "gateway": worker.url, "advertise": reached}))
        }
    }
    tokio::select! {
        () = stop.cancelled() => {}
        failed = worker.failed() => return failed,
    }
    drop(announced);
    let done = worker.end().await;
    drop(lock);
    done
}

/// Of several servers' addresses.
fn first(endpoints: &str) -> &str {
    endpoints.split(',').next().unwrap_or(endpoints)
}

/// Whether something else than our server is there: then it is the address that is wrong.
fn is_foreign(error: &anyhow::Error) -> bool {
    let text = error.to_string();
    text.contains("not a wctl server") || text.contains("not as a wctl server does") || text.contains("no wctl server")
}

/// Who the node is, where it joins with a token that names the CA, or has done so before.
async fn identity(globals: &Globals, home: &Home, args: &args::Node, name: &str) -> Result<Option<Identity>> {
    match (&args.join, &args.token) {
        (Some(urls), Some(token)) if token.contains('.') && args.ca.is_none() => {
            let servers = identity::servers(urls)?;
            // The same line again, as whoever starts nodes at boot has it: the token may be over by now, and the server away.
            if let Some(kept) = Identity::kept(home)?.filter(|kept| kept.is_of(name, token)) {
                return Ok(Some(kept.at(servers)));
            }
            Identity::join(globals, home, name.to_owned(), servers, token).await.map(Some)
        }
        (None, None) => Identity::kept(home),
        _ => Ok(None),
    }
}

/// The server that the options name, with the token and the CA that they name.
async fn joined(globals: &Globals, args: &args::Node, url: &str) -> Result<(kube::Client, Cluster)> {
    if !url.starts_with("https://") {
        bail!(Usage(format!("`{url}` is no address of a server; write --join https://HOST:PORT, as `wctl server` prints it")));
    }
    if url.contains(',') {
        bail!(Usage(
            "several servers can be joined with a token of `wctl token create` alone, which names their CA; leave --ca out".into()
        ));
    }
    let Some(token) = &args.token else { bail!(Usage("--join needs a token: --token TOKEN".into())) };
    let ca = match &args.ca {
        Some(path) => std::fs::read(path).with_context(|| format!("reading {}", path.display()))?,
        None => own_ca(globals)?,
    };
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "join",
        "clusters": [{"name": "join", "cluster": {"server": url, "certificate-authority-data": crate::registry::base64(&ca)}}],
        "users": [{"name": "join", "user": {"token": token}}],
        "contexts": [{"name": "join", "context": {"cluster": "join", "user": "join"}}],
    }))
    .context("making the configuration to join with")?;
    Cluster::with_kubeconfig(globals, kubeconfig).await
}

/// The CA of the kubeconfig in the data folder, for a node on the server's own machine.
fn own_ca(globals: &Globals) -> Result<Vec<u8>> {
    let path = Home::of(globals)?.kubeconfig();
    let missing = || format!("finding the cluster's CA in {}; name its PEM file with --ca", path.display());
    let kubeconfig = Kubeconfig::read_from(&path).with_context(missing)?;
    let cluster = kubeconfig.clusters.first().and_then(|named| named.cluster.as_ref()).with_context(missing)?;
    let data = cluster.certificate_authority_data.as_ref().with_context(missing)?;
    crate::registry::from_base64(data).with_context(missing)
}
