//! `wctl secret`: values for apps, from stdin, never shown again.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scheduler::kinds;
use scheduler::names::SECRETS;
use serde_json::{Value, json};

use crate::args::{Format, Globals, Secret, SecretVerb};
use crate::cluster::Cluster;
use crate::exit::Usage;
use crate::print::{self, Table};

/// The largest value: etcd refuses objects of more than 1.5 MB, and all of a namespace's secrets are in one.
const LARGEST: u64 = 256 * 1024;

/// Sets, lists or removes.
pub async fn run(globals: &Globals, secret: Secret) -> Result<()> {
    match secret.verb {
        SecretVerb::Set { name, output } => set(globals, &name, output.output).await,
        SecretVerb::List { output } => list(globals, output.output).await,
        SecretVerb::Rm { names, output } => remove(globals, &names, output.output).await,
    }
}

async fn set(globals: &Globals, name: &str, format: Format) -> Result<()> {
    check(name)?;
    let value = read_value(name)?;
    let cluster = Cluster::connect_to_write(globals).await?;
    let patch = json!({"data": {name: STANDARD.encode(value)}});
    let namespace = cluster.namespace.as_str();
    if cluster.get(&kinds::SECRET, namespace, SECRETS).await?.is_some() {
        cluster.merge(&kinds::SECRET, namespace, SECRETS, None, &patch).await?;
    } else {
        let mut object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRETS, "namespace": namespace}, "type": "Opaque"});
        object["data"] = patch["data"].clone();
        cluster.create(&kinds::SECRET, namespace, &object, false).await?;
    }
    let value = json!({"namespace": namespace, "name": name});
    print::outcome(format, format_args!("secret {name} is set in namespace {namespace}"), name, &value)
}

async fn list(globals: &Globals, format: Format) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let names = names(&cluster).await?;
    match format {
        Format::Json | Format::Yaml => print::value(&json!({"namespace": cluster.namespace, "names": names}), format)?,
        Format::Name => names.iter().for_each(print::line),
        _ if names.is_empty() => print::note(format_args!("there are no secrets in namespace {}", cluster.namespace)),
        _ => {
            let mut table = Table::new(["name"]);
            names.iter().for_each(|name| table.row([name]));
            table.print();
        }
    }
    Ok(())
}

async fn remove(globals: &Globals, wanted: &[String], format: Format) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    let there = names(&cluster).await?;
    if let Some(missing) = wanted.iter().find(|name| !there.contains(name)) {
        bail!("there is no secret {missing} in namespace {}, so none was removed", cluster.namespace);
    }
    let nulls: serde_json::Map<_, _> = wanted.iter().map(|name| (name.clone(), Value::Null)).collect();
    cluster.merge(&kinds::SECRET, &cluster.namespace, SECRETS, None, &json!({"data": nulls})).await?;
    let namespace = &cluster.namespace;
    let sentences: Vec<String> = wanted.iter().map(|name| format!("secret {name} is removed from namespace {namespace}")).collect();
    print::outcome(format, sentences.join("\n"), wanted.join("\n"), &json!({"namespace": namespace, "names": wanted}))
}

async fn names(cluster: &Cluster) -> Result<Vec<String>> {
    let object = cluster.get(&kinds::SECRET, &cluster.namespace, SECRETS).await?.unwrap_or_default();
    Ok(object["data"].as_object().map(|data| data.keys().cloned().collect()).unwrap_or_default())
}

/// Names are those of environment variables, for that is what they become.
fn check(name: &str) -> Result<()> {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if first && name.len() <= 253 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return Ok(());
    }
    bail!(Usage(format!(
        "`{name}` cannot be the name of a secret: names are made of letters, digits, `_`, `-` and `.`, and start with a letter or `_`"
    )))
}

fn read_value(name: &str) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    if std::io::stdin().is_terminal() {
        print::note(format_args!("value of {name} (it is not shown):"));
        value = console::Term::stderr().read_secure_line().context("reading the value")?.into_bytes();
    } else {
        std::io::stdin().lock().take(LARGEST + 3).read_to_end(&mut value).context("reading the value from stdin")?;
    }
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    if value.is_empty() {
        bail!("the value on stdin is empty, so {name} was not set");
    }
    if value.len() as u64 > LARGEST {
        bail!("the value on stdin is larger than {} KiB, so {name} was not set", LARGEST / 1024);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_those_of_variables() {
        for good in ["DB_URL", "_a", "a.b-c"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "1A", "A=B", "A B", "é", "../x", ".a"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
