//! Registries: the server's own, and all others with the credentials, mirrors and authorities of this user.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use artifact::Reference;
use artifact::credentials::Store;
use artifact::registry::{Client, Embedded, Options};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::args::Globals;
use crate::cluster::Cluster;
use crate::home::Home;

/// `DIR/registries.yaml`: how registries are reached.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Registry → what to ask first, in order; `*` stands for every registry.
    mirrors: BTreeMap<String, Vec<String>>,
    /// PEM files of private authorities, as seen from the data folder.
    cas: Vec<PathBuf>,
    /// Hosts that may be spoken to without TLS; loopback ones always may.
    plain_http: BTreeSet<String>,
}

/// A client of all registries; `embedded` is what a reference without a host means.
pub fn client(globals: &Globals, embedded: Option<Embedded>) -> Result<Client> {
    Client::new(Options { embedded, ..options(globals)? }).context("preparing to talk to registries")
}

/// How registries are reached, but for the embedded one.
pub fn options(globals: &Globals) -> Result<Options> {
    let home = Home::of(globals)?;
    let settings = settings(&home)?;
    let read =
        |path: &PathBuf| std::fs::read_to_string(home.path.join(path)).with_context(|| format!("reading the authority {}", path.display()));
    Ok(Options {
        mirrors: settings.mirrors,
        extra_cas: settings.cas.iter().map(read).collect::<Result<_>>()?,
        plain_http: settings.plain_http,
        credentials: credentials(globals)?,
        ..Options::default()
    })
}

/// A client for one reference: the server is only needed where its registry is meant.
pub async fn connected(globals: &Globals, reference: &Reference) -> Result<Client> {
    match reference.registry() {
        Some(_) => client(globals, None),
        None => Ok(Cluster::connect(globals).await?.registry),
    }
}

/// [`connected`] for pushes: refuses a server that is not wctl's.
pub async fn connected_to_write(globals: &Globals, reference: &Reference) -> Result<Client> {
    match reference.registry() {
        Some(_) => client(globals, None),
        None => Ok(Cluster::connect_to_write(globals).await?.registry),
    }
}

/// Where credentials are: ours, then Docker's.
pub fn credentials(globals: &Globals) -> Result<Store> {
    Ok(Store::of_user(Home::of(globals)?.credentials()))
}

/// A certificate as PEM.
pub fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

/// Bytes as a kubeconfig holds them.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What [`base64()`] wrote.
pub fn from_base64(text: &str) -> Result<Vec<u8>> {
    STANDARD.decode(text).context("reading base64")
}

fn settings(home: &Home) -> Result<Settings> {
    let path = home.path.join("registries.yaml");
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_saphyr::from_str(&text).with_context(|| format!("reading {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_what_they_do_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { path: folder.path().to_owned() };
        assert!(settings(&home).unwrap().mirrors.is_empty());
        std::fs::write(home.path.join("registries.yaml"), "mirrors: {docker.io: [mirror.example]}\n").unwrap();
        assert_eq!(settings(&home).unwrap().mirrors["docker.io"], ["mirror.example"]);
        std::fs::write(home.path.join("registries.yaml"), "mirors: {}\n").unwrap();
        let text = format!("{:#}", settings(&home).unwrap_err());
        assert!(text.contains("registries.yaml") && text.contains("mirors"), "{text}");
    }
}
