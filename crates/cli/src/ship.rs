//! From an app file to an App that only holds digests: builds, packs, pushes and resolves.

pub mod there;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use artifact::pack::Packed;
use artifact::registry::{Failure, Kind};
use artifact::{Reference, inspect, registry};
use bytes::Bytes;
use scheduler::app::{AppSpec, Locked, Mistakes, Origin};

use crate::files::App;
use crate::print::{Progress, chain};
use crate::toolchain::{self, Recipe};

/// The largest component that is read.
const LARGEST: u64 = 256 << 20;

/// A service's component: made here, or to be had from a registry.
pub enum Component {
    /// Built or found on this machine: its file, and what it is packed to.
    Local(PathBuf, Box<Packed>),
    /// A reference as typed.
    Remote(Reference),
}

/// Builds what is to be built and packs it; looks at no registry.
pub async fn components(app: &App) -> Result<BTreeMap<String, Component>> {
    there::check(app)?;
    let mut components = files_of(app)?;
    for (name, service) in &app.file.services {
        let component = match &service.origin {
            Origin::Reference(text) => Component::Remote(text.parse().with_context(|| format!("reading the image of {name}"))?),
            Origin::File(_) => continue,
            Origin::Files(folder) => files(beside(&app.base, folder)).with_context(|| format!("reading the files of {name}"))?,
            Origin::Build(build) => {
                let recipe = Recipe {
                    service: name.clone(),
                    folder: beside(&app.base, &build.path),
                    command: build.command.clone(),
                    output: build.output.as_ref().map(PathBuf::from),
                };
                built(&recipe).await?
            }
        };
        components.insert(name.clone(), component);
    }
    Ok(components)
}

/// The components that lie ready; all that are broken are told at once, and before anything is built.
fn files_of(app: &App) -> Result<BTreeMap<String, Component>> {
    let (mut components, mut broken) = (BTreeMap::new(), Vec::new());
    for (name, service) in &app.file.services {
        let Origin::File(path) = &service.origin else { continue };
        match local(beside(&app.base, path)) {
            Ok(component) => drop(components.insert(name.clone(), component)),
            Err(error) => broken.push(there::mistake(app.file.origins.get(name).cloned(), chain(&error))),
        }
    }
    broken.sort_by(|a, b| a.place.cmp(&b.place));
    if broken.is_empty() { Ok(components) } else { Err(Mistakes(broken).into()) }
}

/// A path of an app file, from the folder `base` that it starts from; without the `./` in its midst.
fn beside(base: &Path, path: impl AsRef<Path>) -> PathBuf {
    let joined: PathBuf = base.join(path).components().filter(|part| *part != std::path::Component::CurDir).collect();
    if joined.as_os_str().is_empty() { PathBuf::from(".") } else { joined }
}

/// Builds one component and packs it.
pub async fn built(recipe: &Recipe) -> Result<Component> {
    let made = toolchain::build(recipe).await?;
    local(made).with_context(|| format!("packing {}", recipe.service))
}

fn local(path: PathBuf) -> Result<Component> {
    let packed = pack(&path)?;
    Ok(Component::Local(path, Box::new(packed)))
}

fn files(folder: PathBuf) -> Result<Component> {
    let packed = artifact::pack::pack_files(&folder)?;
    Ok(Component::Local(folder, Box::new(packed)))
}

/// Reads and packs a component.
pub fn pack(path: &Path) -> Result<Packed> {
    let named = || path.display().to_string();
    let size = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("there is no file {}", named()),
        _ => anyhow::Error::new(error).context(format!("opening {}", named())),
    })?;
    if size.is_dir() {
        bail!("{} is a folder, not a component", named());
    }
    // A device or a pipe may never end.
    if !size.is_file() {
        bail!("{} is not a regular file", named());
    }
    let too_large = || anyhow!("{} is larger than {} MiB, the most that a component may have", named(), LARGEST >> 20);
    if size.len() > LARGEST {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("reading {}", named()))?;
    // It may grow while it is read.
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    artifact::pack::pack(Bytes::from(bytes)).with_context(named)
}

/// Puts a digest in the place of every image. With `push` what was made here goes to the server's registry first.
pub async fn lock(
    app: App,
    namespace: &str,
    components: BTreeMap<String, Component>,
    client: &registry::Client,
    push: bool,
) -> Result<AppSpec> {
    are_offered(&app, &components)?;
    let mut progress = None;
    let mut images = BTreeMap::new();
    for (name, component) in components {
        let typed = match app.file.services.get(&name).map(|service| &service.origin) {
            // A folder says nothing to whoever reads it elsewhere, least of all `.`.
            Some(Origin::Build(_) | Origin::Files(_)) => format!("{namespace}/{}/{name}", app.file.name),
            origin => origin.map(|origin| origin.typed().to_owned()).unwrap_or_default(),
        };
        let image = match component {
            Component::Remote(reference) => resolve(client, &reference).await.with_context(|| format!("finding the image of {name}"))?,
            Component::Local(_, packed) => {
                let place: Reference = format!("{namespace}/{}/{name}", app.file.name).parse().context("naming the image")?;
                let place = place.pinned(packed.digest);
                if push {
                    let text = format!("pushing {name}");
                    // On a terminal it comes and goes; in a log it would only be noise.
                    if crate::print::is_watched() {
                        progress.get_or_insert_with(|| Progress::start(&text)).set(&text);
                    }
                    client.push(&place, &packed).await.with_context(|| format!("pushing {name} to the server's registry"))?;
                }
                place
            }
        };
        images.insert(name, Locked { image: image.to_string(), typed });
    }
    app.file.lock(images).context("locking the app")
}

/// Refuses components of this machine that need what no node offers, before any of them is pushed; the server sees to the others.
fn are_offered(app: &App, components: &BTreeMap<String, Component>) -> Result<()> {
    let refused = components.iter().filter_map(|(name, component)| match component {
        Component::Local(path, packed) => {
            let why = inspect::refusal(&packed.inspection.as_ref()?.unsupported(inspect::OFFERED))?;
            let message = format!("{name} cannot run ({}): {why}", path.display());
            Some(there::mistake(app.file.origins.get(name).cloned(), message))
        }
        Component::Remote(_) => None,
    });
    let mut refused: Vec<_> = refused.collect();
    refused.sort_by(|a, b| a.place.cmp(&b.place));
    if refused.is_empty() { Ok(()) } else { Err(Mistakes(refused).into()) }
}

/// The digest that a reference means now; refuses what no node can run.
pub async fn resolve(client: &registry::Client, reference: &Reference) -> Result<Reference> {
    let resolved = match client.resolve(reference).await {
        Err(error) if reference.registry().is_none() && matches!(error.failure(), Failure::NotFound { .. }) => bail!(
            "{}; push it with `wctl push FILE.wasm {reference}`, or write the host of its registry too, as in ghcr.io/OWNER/NAME",
            error.sentence()
        ),
        resolved => resolved?,
    };
    refuse_others(reference, &resolved.kind)?;
    Ok(reference.pinned(resolved.digest))
}

fn refuse_others(reference: &Reference, kind: &Kind) -> Result<()> {
    let advice = "build it for WebAssembly (`cargo build --target wasm32-wasip2`, jco, componentize-py) and push that";
    match kind {
        Kind::Component | Kind::Files => Ok(()),
        Kind::LinuxImage { platform } => bail!("{reference} is a container image for {platform}, which needs that system; {advice}"),
        Kind::Other { what } => bail!("{reference} is {what}, no WebAssembly component; {advice}"),
    }
}
