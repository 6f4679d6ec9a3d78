//! `wctl token`: credentials of people and of machines that join.

use anyhow::{Context, Result};
use http::Method;
use serde_json::{Value, json};

use crate::args::{Format, Globals, Role, Token, TokenVerb};
use crate::cluster::Cluster;
use crate::print::{self, Table, harmless};

/// Where the server keeps them.
const TOKENS: &str = "/apis/wctl.dev/v1/tokens";

/// Makes, lists or ends tokens.
pub async fn run(globals: &Globals, token: Token) -> Result<()> {
    match token.verb {
        TokenVerb::Create { role, ttl, name, output } => {
            let asked = json!({
                "role": role.word(), "name": name, "ttl": ttl.map(|ttl| ttl.as_secs()), "namespace": globals.namespace,
            });
            create(globals, role, &asked, output.output).await
        }
        TokenVerb::List { output } => list(globals, output.output).await,
        TokenVerb::Revoke { ids, output } => revoke(globals, &ids, output.output).await,
    }
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Admin => "admin",
            Role::Deployer => "deployer",
            Role::Viewer => "viewer",
        }
    }
}

async fn create(globals: &Globals, role: Role, asked: &Value, format: Format) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    let made = cluster.json(Method::POST, TOKENS, &[], Some(asked)).await.context("making a token")?;
    let token = made["token"].as_str().unwrap_or_default();
    // Only for joining the CA's hash stands behind it; elsewhere a kubeconfig has the CA.
    let shown = if role == Role::Node { token } else { token.split('.').next().unwrap_or_default() };
    if matches!(format, Format::Json | Format::Yaml) {
        return print::value(&json!({"id": made["id"], "token": shown}), format);
    }
    print::line(shown);
    if role == Role::Node && format != Format::Name {
        print::note(format_args!("on the new machine: wctl node --join {} --token {shown}", cluster.endpoint));
    }
    Ok(())
}

async fn list(globals: &Globals, format: Format) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let listed = cluster.json(Method::GET, TOKENS, &[], None).await.context("listing the tokens")?;
    let items = listed["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    match format {
        Format::Json | Format::Yaml => print::value(&listed, format)?,
        Format::Name => items.iter().filter_map(|item| item["id"].as_str()).for_each(print::line),
        Format::Table | Format::Wide => {
            let mut table = Table::new(["id", "who", "role", "expires"]);
            for item in items {
                let groups: Vec<&str> = item["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let expires = item["expires"].as_str().unwrap_or("never");
                let expires = if item["expired"] == true { format!("{expires} (over)") } else { expires.to_owned() };
                let text = |field: &str| harmless(item[field].as_str().unwrap_or("-")).into_owned();
                table.row([text("id"), text("name"), harmless(&groups.join(",")).into_owned(), harmless(&expires).into_owned()]);
            }
            table.print();
        }
    }
    Ok(())
}

async fn revoke(globals: &Globals, ids: &[String], format: Format) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    for id in ids {
        let path: String =
            std::iter::once(format!("{TOKENS}/")).chain(form_urlencoded::byte_serialize(id.as_bytes()).map(str::to_owned)).collect();
        cluster.json(Method::DELETE, &path, &[], None).await.with_context(|| format!("revoking {id}"))?;
        print::outcome(format, format_args!("{id} is revoked"), id, &json!({"id": id}))?;
    }
    Ok(())
}
