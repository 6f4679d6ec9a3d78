//! `wctl pull`: a component from a registry to a file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use artifact::Reference;

use crate::args::{Globals, Pull};
use crate::exit::Usage;
use crate::{print, registry};

/// Pulls, checks every digest, and writes the file whole or not at all.
pub async fn run(globals: &Globals, pull: Pull) -> Result<()> {
    let reference: Reference = pull.reference.parse().map_err(|error| Usage(format!("{error}")))?;
    let client = registry::connected(globals, &reference).await?;
    let pulled = client.pull(&reference).await?;
    if pull.file.as_deref() == Some(Path::new("-")) {
        return print::raw(&pulled.wasm);
    }
    let file = pull.file.unwrap_or_else(|| named(&reference));
    write(&file, &pulled.wasm).with_context(|| format!("writing {}", file.display()))?;
    print::line(format_args!("pulled {} to {}", reference.pinned(pulled.digest), file.display()));
    Ok(())
}

fn named(reference: &Reference) -> PathBuf {
    let last = reference.repository().rsplit('/').next().unwrap_or("component");
    PathBuf::from(format!("{last}.wasm"))
}

fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension(format!("part{}", std::process::id()));
    let done = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, file));
    done.inspect_err(|_| drop(std::fs::remove_file(&beside)))
}
