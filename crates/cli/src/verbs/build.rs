//! `wctl build`: builds the components of an app and says what they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::args::{self, Format};
use crate::files;
use crate::print::{self, Table};
use crate::ship::{self, Component};
use crate::toolchain::Recipe;
use crate::verbs::deploy;

/// Builds everything that the app file says to build, or the one component of a folder, and checks it.
pub async fn run(build: args::Build) -> Result<()> {
    let paths = files::chosen(&args::Files { files: build.files, more: build.more })?;
    let (app, components) = match paths.as_slice() {
        [folder] if folder.is_dir() => match folder.join("app.yaml") {
            file if file.is_file() => whole(&[file]).await?,
            _ => alone(folder).await?,
        },
        files => whole(files).await?,
    };
    let mut table = Table::new(["service", "size", "file"]);
    let mut items = Vec::new();
    for (name, component) in &components {
        match component {
            Component::Local(file, packed) => {
                table.row([name.clone(), size(packed.layer.len() as u64), file.display().to_string()]);
                items.push(json!({"service": name, "file": file, "size": packed.layer.len(), "digest": packed.digest.to_string(), "component": packed.inspection}));
            }
            Component::Remote(reference) => {
                table.row([name.clone(), "-".to_owned(), reference.to_string()]);
                items.push(json!({"service": name, "image": reference.to_string()}));
            }
        }
    }
    match build.output.output {
        Format::Table | Format::Wide => table.print(),
        Format::Name => components.keys().for_each(print::line),
        format => print::value(&json!({"app": app, "services": items}), format)?,
    }
    Ok(())
}

/// The components of an app, by their services.
async fn whole(files: &[PathBuf]) -> Result<(String, BTreeMap<String, Component>)> {
    let app = deploy::must_be_app(files::parse(files)?)?;
    Ok((app.file.name.clone(), ship::components(&app).await?))
}

/// What a folder without an app file makes: one component, named as the folder.
async fn alone(folder: &Path) -> Result<(String, BTreeMap<String, Component>)> {
    let path = std::path::absolute(folder).with_context(|| format!("finding {}", folder.display()))?;
    let name = path.file_name().map_or_else(|| "component".to_owned(), |name| name.to_string_lossy().into_owned());
    let recipe = Recipe { service: name.clone(), folder: folder.to_owned(), command: None, output: None };
    let component = ship::built(&recipe).await?;
    Ok((name.clone(), BTreeMap::from([(name, component)])))
}

/// Bytes in the unit that fits.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
