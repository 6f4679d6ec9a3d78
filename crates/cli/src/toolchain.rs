//! From a folder of source code to a component: finds the folder's build system, runs it, finds what it made.

mod cargo;
mod command;
mod find;
mod node;
mod python;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::print;

/// How one component is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The service it is for, as in messages.
    pub service: String,
    /// The folder with the source code.
    pub folder: PathBuf,
    /// What to run in it, by the system's shell; without it the folder's own build system.
    pub command: Option<String>,
    /// Where the component is then, relative to the folder; without it, it is looked for.
    pub output: Option<PathBuf>,
}

/// Builds one component and says where it is. What the tools print goes to stderr.
pub async fn build(recipe: &Recipe) -> Result<PathBuf> {
    let Recipe { service, folder, command, output } = recipe;
    if !folder.is_dir() {
        bail!("the folder to build for {service}, {}, is not there", folder.display());
    }
    print::note(format_args!("{} {service} ({})", print::bold("building"), folder.display()));
    let made = match command {
        Some(line) => command::shell(folder, line).await.map(|()| None),
        None => detected(folder).await,
    };
    let made = made.with_context(|| format!("building {service}"))?;
    let component = match (output, made) {
        (Some(output), _) => folder.join(output),
        (None, Some(made)) => made,
        (None, None) => find::component(folder, service)?,
    };
    if !component.is_file() {
        bail!("building {service} left no component at {}; name the file that it makes with `output:`", component.display());
    }
    Ok(component)
}

/// The names of a Makefile, in the order in which make looks for them.
const MAKEFILES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];

/// Runs the folder's own build system; where that says what it made, here it is.
async fn detected(folder: &Path) -> Result<Option<PathBuf>> {
    let has = |name: &str| folder.join(name).is_file();
    if has("Cargo.toml") {
        cargo::build(folder).await.map(Some)
    } else if has("package.json") {
        node::build(folder).await
    } else if has("pyproject.toml") {
        python::build(folder).await.map(Some)
    } else if MAKEFILES.iter().any(|name| has(name)) {
        command::run(command::tool("make", folder), "install make, or name another way with `build: {path, command, output}`")
            .await
            .map(|()| None)
    } else {
        bail!(
            "{} has no Cargo.toml, package.json, pyproject.toml or Makefile; say how to build it with `build: {{path, command, output}}`",
            folder.display()
        )
    }
}
