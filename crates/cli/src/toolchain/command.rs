//! Running other people's tools.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use tokio::process::Command;

/// Where a tool says why it failed.
const ABOVE: &str = "; what it printed above says why";

/// A tool in a folder; all that it prints goes to our stderr, since stdout is for results.
pub fn tool(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder).stdin(Stdio::null()).stdout(std::io::stderr()).kill_on_drop(true);
    command
}

/// A tool of Node.js, which on Windows is a script.
pub fn script(name: &str, folder: &Path) -> Command {
    if cfg!(windows) { tool(&format!("{name}.cmd"), folder) } else { tool(name, folder) }
}

/// Runs a line by the system's shell.
pub async fn shell(folder: &Path, line: &str) -> Result<()> {
    let (name, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut command = tool(name, folder);
    command.arg(flag).arg(line);
    let status = command.status().await.with_context(|| format!("starting {name}"))?;
    if !status.success() {
        bail!("`{line}` ended with {}{ABOVE}", ended(status));
    }
    Ok(())
}

/// Runs a tool to its end; `missing` says what to do where there is no such tool.
pub async fn run(mut command: Command, missing: &str) -> Result<()> {
    let status = command.status().await.map_err(|error| not_started(&command, error, missing))?;
    if !status.success() {
        bail!("`{}` ended with {}{ABOVE}", line(&command), ended(status));
    }
    Ok(())
}

/// Runs a tool to its end and gives what it printed on stdout.
pub async fn output(mut command: Command, missing: &str) -> Result<String> {
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let child = command.spawn().map_err(|error| not_started(&command, error, missing))?;
    let output = child.wait_with_output().await.with_context(|| format!("running `{}`", line(&command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}{ABOVE}", line(&command), ended(output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn not_started(command: &Command, error: std::io::Error, missing: &str) -> anyhow::Error {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    match error.kind() {
        ErrorKind::NotFound => anyhow!("there is no `{name}` here; {missing}"),
        _ => anyhow::Error::new(error).context(format!("starting `{name}`")),
    }
}

fn line(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// `exit code 101`, or the signal.
fn ended(status: std::process::ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}
