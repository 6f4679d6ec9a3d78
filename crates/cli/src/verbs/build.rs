//! `wctl build`: builds the components of an app and says what they are.

use anyhow::Result;
use serde_json::json;

use crate::args::{self, Format};
use crate::files;
use crate::print::{self, Table};
use crate::ship::{self, Component};
use crate::verbs::deploy;

/// Builds everything that the app file says to build, and checks it.
pub async fn run(build: args::Build) -> Result<()> {
    let app = deploy::must_be_app(files::parse(&files::chosen(&build.files)?)?)?;
    let components = ship::components(&app).await?;
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
        format => print::value(&json!({"app": app.file.name, "services": items}), format)?,
    }
    Ok(())
}

/// Bytes in the unit that fits.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
