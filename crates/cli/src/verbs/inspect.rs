//! `wctl inspect`: what a component exports, imports and so may ask for.

use std::path::Path;

use anyhow::{Context, Result, bail};
use artifact::inspect::{self, Inspection};
use artifact::{Digest, Reference};
use bytes::Bytes;
use serde_json::json;

use crate::args::{Format, Globals, Inspect};
use crate::exit::Usage;
use crate::print::{self, harmless};
use crate::registry;
use crate::verbs::build::size;

/// Reads a component and tells about it.
pub async fn run(globals: &Globals, inspect: Inspect) -> Result<()> {
    let (from, wasm) = component(globals, &inspect.what).await?;
    let inspection = inspect::inspect(&wasm).with_context(|| format!("reading {from}"))?;
    match inspect.output.output {
        Format::Table | Format::Wide => people(&from, &wasm, &inspection),
        Format::Name => inspection.imports.iter().for_each(print::line),
        format => {
            let value = json!({"component": from, "digest": Digest::of(&wasm).to_string(), "inspection": inspection, "words": inspection.in_plain_words()});
            print::value(&value, format)?;
        }
    }
    Ok(())
}

fn people(from: &str, wasm: &[u8], inspection: &Inspection) {
    print::line(format_args!("{} ({}, {})", print::bold(from), size(wasm.len() as u64), Digest::of(wasm)));
    inspection.in_plain_words().iter().for_each(|sentence| print::line(format_args!("  {}", harmless(sentence))));
    for (what, names) in [("Exports:", &inspection.exports), ("Imports:", &inspection.imports)] {
        print::line(print::bold(what));
        names.iter().for_each(|name| print::line(format_args!("  {}", harmless(name))));
        if names.is_empty() {
            print::line("  (nothing)");
        }
    }
}

/// A component by its file, or pulled by its reference, with how to call it.
pub async fn component(globals: &Globals, what: &str) -> Result<(String, Bytes)> {
    let path = Path::new(what);
    if path.is_file() {
        let bytes = std::fs::read(path).with_context(|| format!("reading {what}"))?;
        return Ok((what.to_owned(), Bytes::from(bytes)));
    }
    if path.is_dir() {
        bail!("{what} is a folder; name a .wasm file or a reference");
    }
    if looks_like_file(what) {
        bail!("there is no file {what}");
    }
    let reference: Reference = what.parse().map_err(|error| Usage(format!("there is no file {what}, and it is no reference: {error}")))?;
    let client = registry::connected(globals, &reference).await?;
    let pulled = client.pull(&reference).await?;
    Ok((reference.pinned(pulled.digest).to_string(), pulled.wasm))
}

fn looks_like_file(what: &str) -> bool {
    what.ends_with(".wasm") || what.starts_with('.') || what.starts_with('/') || what.contains('\\')
}
