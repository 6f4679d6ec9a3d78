//! `wctl push`: a component to a registry.

use anyhow::{Result, bail};
use artifact::Reference;
use serde_json::json;

use crate::args::{Format, Globals, Push};
use crate::exit::Usage;
use crate::{print, registry, ship};

/// Packs and pushes; only what the registry lacks is sent.
pub async fn run(globals: &Globals, push: Push) -> Result<()> {
    let reference: Reference = push.reference.parse().map_err(|error| Usage(format!("{error}")))?;
    if reference.digest().is_some() {
        bail!(Usage(format!("a digest follows from the content: name only {}:TAG", reference.repository())));
    }
    let packed = ship::pack(&push.file)?;
    let client = registry::connected_to_write(globals, &reference).await?;
    let digest = client.push(&reference, &packed).await?;
    match push.output.output {
        Format::Table | Format::Wide => print::line(format_args!("pushed {reference}\n{}", reference.pinned(digest))),
        Format::Name => print::line(reference.pinned(digest)),
        format => print::value(
            &json!({"reference": reference.to_string(), "digest": digest.to_string(), "pinned": reference.pinned(digest).to_string()}),
            format,
        )?,
    }
    Ok(())
}
