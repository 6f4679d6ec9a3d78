//! `wctl login`: keeps the credentials of a registry, once the registry has taken them.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result, anyhow, bail};
use artifact::credentials::Credential;
use artifact::registry::Failure;
use serde_json::json;

use crate::args::{Globals, Login};
use crate::exit::Usage;
use crate::home::Home;
use crate::{print, registry};

/// The longest password; tokens of cloud registries have a few thousand characters.
const LONGEST: u64 = 64 * 1024;

/// Asks for what is missing, tries it, and keeps it.
pub async fn run(globals: &Globals, login: Login) -> Result<()> {
    let host = login.registry.trim_start_matches("https://").trim_end_matches('/').to_owned();
    if host.is_empty() || host.contains('/') {
        bail!(Usage(format!("`{}` is no registry; write its host, as in ghcr.io", login.registry)));
    }
    let terminal = std::io::stdin().is_terminal();
    let username = match login.username {
        Some(name) => name,
        None if terminal && !login.password_stdin => ask("user name: ")?,
        None => bail!(Usage("name the user with --username".into())),
    };
    let password = if login.password_stdin || !terminal { from_stdin()? } else { ask_secret()? };
    if password.is_empty() {
        bail!("the password is empty, so nothing was kept");
    }
    let credential = Credential::Password { user: username.clone(), password: password.clone() };
    let client = registry::client(globals, None)?;
    client.check_login(&host, &credential).await.map_err(|failure| match failure {
        Failure::Unauthorized { .. } => anyhow!("{host} does not take this user name and password, so nothing was kept"),
        other => anyhow::Error::new(other).context(format!("logging in to {host}")),
    })?;
    Home::of(globals)?.create()?;
    registry::credentials(globals)?.save(&host, &username, &password).with_context(|| format!("keeping the credentials of {host}"))?;
    let value = json!({"registry": host, "username": username});
    print::outcome(login.output.output, format_args!("logged in to {host} as {username}"), &host, &value)
}

fn ask(prompt: &str) -> Result<String> {
    let terminal = console::Term::stderr();
    terminal.write_str(prompt).and_then(|()| terminal.read_line()).context("reading from the terminal")
}

fn ask_secret() -> Result<String> {
    let terminal = console::Term::stderr();
    terminal.write_str("password (it is not shown): ").and_then(|()| terminal.read_secure_line()).context("reading from the terminal")
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).context("reading the password from stdin")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
