//! Which server is meant, and whether it is one of ours.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use artifact::registry::Embedded;
use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use scheduler::names::DEFAULT_NAMESPACE;

use super::Cluster;
use super::together;
use super::warnings::Warned;
use crate::args::Globals;
use crate::home::Home;
use crate::registry;

impl Cluster {
    /// The server that the options mean: flags, then `KUBECONFIG`, then the data folder.
    pub async fn connect(globals: &Globals) -> Result<Cluster> {
        Ok(Cluster::connect_as_client(globals).await?.1)
    }

    /// [`Cluster::connect`], with the client that others may use as they like.
    pub async fn connect_as_client(globals: &Globals) -> Result<(kube::Client, Cluster)> {
        Cluster::with_config(globals, config(globals).await?)
    }

    /// The server of a kubeconfig that lies in no file.
    pub async fn with_kubeconfig(globals: &Globals, kubeconfig: Kubeconfig) -> Result<(kube::Client, Cluster)> {
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Cluster::with_config(globals, config.context("reading the server's address")?)
    }

    /// The server of a configuration.
    pub fn with_config(globals: &Globals, config: kube::Config) -> Result<(kube::Client, Cluster)> {
        Cluster::with_client(globals, config, |config| Ok(kube::Client::try_from(config)?))
    }

    /// The same over one connection, for those who watch much.
    pub fn together(globals: &Globals, config: kube::Config) -> Result<(kube::Client, Cluster)> {
        Cluster::with_client(globals, config, together::client)
    }

    fn with_client(
        globals: &Globals,
        mut config: kube::Config,
        client: impl FnOnce(kube::Config) -> Result<kube::Client>,
    ) -> Result<(kube::Client, Cluster)> {
        // A refusal such as "the disk is full" is to be told now; whoever wants to try again does so in its own time.
        config.default_retry = false;
        let endpoint = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        // A kubeconfig without an authority is not one of ours, so neither is that server's registry.
        let ours = config.root_cert.as_ref().is_some_and(|roots| !roots.is_empty());
        let embedded = if ours { Some(embedded(&config, &endpoint)?) } else { None };
        let registry = registry::client(globals, embedded)?;
        let default = config.default_namespace.clone();
        let client = client(config).with_context(|| format!("preparing to talk to {endpoint}"))?;
        Ok((client.clone(), Cluster::new(client, globals, default, endpoint, registry)))
    }

    /// The same server inside this process.
    pub fn new(
        client: kube::Client,
        globals: &Globals,
        default_namespace: String,
        endpoint: String,
        registry: artifact::registry::Client,
    ) -> Cluster {
        let namespace = globals.namespace.clone().unwrap_or(default_namespace);
        let namespace_asked = globals.namespace.is_some() || namespace != DEFAULT_NAMESPACE;
        Cluster { client, namespace, namespace_asked, endpoint, registry, warned: Warned::default() }
    }

    /// [`Cluster::connect`] for verbs that write: refuses a server that is not wctl's.
    pub async fn connect_to_write(globals: &Globals) -> Result<Cluster> {
        let cluster = Cluster::connect(globals).await?;
        cluster.must_be_wctl().await?;
        Ok(cluster)
    }

    /// An error unless the server serves `wctl.dev`.
    pub async fn must_be_wctl(&self) -> Result<()> {
        let version = self.json(Method::GET, "/version", &[], None).await?;
        if version["platform"].as_str().is_some_and(|platform| platform.starts_with("wctl/")) {
            return Ok(());
        }
        bail!(
            "the server at {} is not a wctl server, so nothing was written to it; name another with --data, --api or KUBECONFIG",
            self.endpoint
        )
    }
}

async fn config(globals: &Globals) -> Result<kube::Config> {
    let files = files(globals)?;
    let named = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" and ");
    let kubeconfig = merged(&files)?.with_context(|| {
        let are = if files.len() == 1 { "does" } else { "do" };
        format!("there is no server yet ({named} {are} not exist); start one with `wctl up`, or name another with --data or KUBECONFIG")
    })?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.with_context(|| format!("reading the kubeconfig {named}"))?;
    // Port 0 is for servers, which take any; whoever passes the same options to every verb means the server of the folder.
    if let Some(api) = globals.api.as_ref().filter(|api| !api.ends_with(":0")) {
        config.cluster_url = format!("https://{api}").parse().with_context(|| format!("reading the address {api}"))?;
    }
    Ok(config)
}

/// `--data` names its own kubeconfig, which beats those of `KUBECONFIG`, which beat the default folder's.
fn files(globals: &Globals) -> Result<Vec<PathBuf>> {
    let paths = std::env::var_os("KUBECONFIG").filter(|_| globals.data.is_none()).unwrap_or_default();
    let named: Vec<PathBuf> = std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect();
    if named.is_empty() { Ok(vec![Home::of(globals)?.kubeconfig()]) } else { Ok(named) }
}

/// As kubectl takes several: what an earlier one says counts, and one that is not there is passed over. None if none is there.
fn merged(files: &[PathBuf]) -> Result<Option<Kubeconfig>> {
    let mut all: Option<Kubeconfig> = None;
    for file in files.iter().filter(|file| !matches!(file.try_exists(), Ok(false))) {
        let reading = || format!("reading the kubeconfig {}", file.display());
        let one = Kubeconfig::read_from(file).with_context(reading)?;
        all = Some(match all {
            Some(earlier) => earlier.merge(one).with_context(reading)?,
            None => one,
        });
    }
    Ok(all)
}

/// The server's own registry, reached as the API is.
fn embedded(config: &kube::Config, endpoint: &str) -> Result<Embedded> {
    // The library hides the token from `Debug`, but shows it in what it would write to a file.
    let user = serde_json::to_value(&config.auth_info).context("reading the token of the kubeconfig")?;
    let token = user["token"].as_str().unwrap_or_default().to_owned();
    let ca_pem = config.root_cert.iter().flatten().map(|der| registry::pem(der)).collect();
    Ok(Embedded::Remote { url: endpoint.to_owned(), token, ca_pem })
}
