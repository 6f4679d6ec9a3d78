//! `wctl convert`: prints the app file of manifests, a Compose file or a spin.toml, or the manifests of an app file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use scheduler::app::convert::{self, Converted};
use scheduler::app::read_documents;

use crate::args;
use crate::files::{self, Documents};
use crate::print;

/// Prints what becomes of the files; what was left out goes to stderr.
pub fn run(convert: &args::Convert) -> Result<()> {
    let converted = match convert.to {
        args::Target::App => to_app(&convert.files)?,
        args::Target::Kubernetes => to_manifests(&convert.files)?,
    };
    converted.text.trim_end().lines().for_each(|line| print::line(print::harmless(line)));
    for note in &converted.notes {
        print::note(print::harmless(&format!("note: {note}")));
    }
    Ok(())
}

fn to_app(paths: &[PathBuf]) -> Result<Converted> {
    let sources = files::sources(paths)?;
    if let [one] = sources.as_slice()
        && Path::new(&one.name).extension().is_some_and(|extension| extension == "toml")
    {
        let text = std::str::from_utf8(&one.bytes).with_context(|| format!("reading {}", one.name))?;
        return convert::spin(text).with_context(|| format!("converting {}", one.name));
    }
    let documents = read_documents(&sources)?;
    convert::app(&documents, &name_of_folder(paths)).context("converting the files")
}

fn to_manifests(paths: &[PathBuf]) -> Result<Converted> {
    match files::parse(paths)? {
        Documents::App(app) => convert::manifests(app.file).context("converting the app"),
        Documents::Objects(_) => bail!("these are Kubernetes manifests already; without `--to kubernetes` they become an app file"),
    }
}

/// What an App is called where nothing in the files says: like the folder that they are in.
fn name_of_folder(paths: &[PathBuf]) -> String {
    let first = paths.first().and_then(|path| if path.is_dir() { Some(path.as_path()) } else { path.parent() });
    let folder = std::path::absolute(first.unwrap_or(Path::new("."))).ok();
    folder.and_then(|folder| Some(folder.file_name()?.to_string_lossy().into_owned())).unwrap_or_else(|| "app".to_owned())
}
