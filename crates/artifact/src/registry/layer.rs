//! Which layer of an image is the component, in each of the formats in which people push one.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::GzDecoder;
use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::failure::Failure;
use crate::digest::Digest;
use crate::manifest::{ARCHIVE, Described, FILES, LAYER};

/// A config needs no more bytes than this.
pub(super) const LARGEST_CONFIG: u64 = 4 << 20;

/// Layers that are the bytes of a component: the CNCF's format, its predecessors (Spin still pushes the first), and runwasi's.
const WASM: [&str; 5] = [
    LAYER,
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    "application/vnd.bytecodealliance.wasm.module.layer.v0+wasm",
];

/// Spin's description of the application, which lies beside its component as a layer.
const SPIN: &str = "application/vnd.fermyon.spin.application.v1+config";

/// Layers that are archives of files.
const TAR: [&str; 2] = [ARCHIVE, "application/vnd.docker.image.rootfs.diff.tar"];
const TAR_GZIP: [&str; 2] = ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"];

/// Configs of container images.
const IMAGE_CONFIG: [&str; 2] = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A WebAssembly component, as far as can be told without its layer.
    Component,
    /// A folder of files that the gateway serves.
    Files,
    /// A container image for Linux or another system.
    LinuxImage {
        /// Such as `linux/amd64`.
        platform: String,
    },
    /// Some other artifact.
    Other {
        /// What it seems to be.
        what: String,
    },
}

/// The layer that holds the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layer {
    /// The component itself.
    Plain(Described),
    /// An archive that holds it as its only `.wasm` file.
    Archive { layer: Described, gzip: bool },
}

impl Layer {
    pub fn described(&self) -> &Described {
        match self {
            Layer::Plain(layer) | Layer::Archive { layer, .. } => layer,
        }
    }

    pub fn size(&self) -> u64 {
        self.described().size
    }
}

/// What a manifest tells alone.
pub(super) enum Guess {
    /// This layer.
    Layer(Layer),
    /// This archive of files to serve.
    Files(Layer),
    /// This archive, if the config says that it is not a Linux program's.
    Archive { layer: Layer, config: Described },
    /// A container image; its config names the platform.
    Image { config: Described },
    /// Not for us.
    Other(Kind),
}

/// Looks for the component's layer in a manifest.
pub(super) fn guess(manifest: &ImageManifest) -> Result<Guess, Failure> {
    let layers = manifest.layers().iter().map(Described::try_from).collect::<Result<Vec<_>, _>>()?;
    let config = Described::try_from(manifest.config())?;
    if config.media_type == FILES {
        return match layers.as_slice() {
            [one] if one.media_type == ARCHIVE => Ok(Guess::Files(Layer::Plain(one.clone()))),
            _ => Err(Failure::Layers("it says that it is a folder of files, and is not one archive".to_string())),
        };
    }
    let is_wasm = |layer: &&Described| WASM.contains(&layer.media_type.as_str());
    let wasm: Vec<&Described> = layers.iter().filter(is_wasm).collect();
    let others: Vec<&str> =
        layers.iter().filter(|layer| !is_wasm(layer) && layer.media_type != SPIN).map(|layer| layer.media_type.as_str()).collect();
    match (wasm.as_slice(), others.as_slice()) {
        ([one], []) => Ok(Guess::Layer(Layer::Plain((*one).clone()))),
        ([], []) => Err(Failure::Layers("it has no layers".to_string())),
        ([], _) if IMAGE_CONFIG.contains(&config.media_type.as_str()) => Ok(image(&layers, config)),
        ([], [other, ..]) => Ok(Guess::Other(Kind::Other { what: format!("an artifact of {}", crate::digest::shown(other)) })),
        ([_, _, ..], _) => {
            Err(Failure::Layers(format!("it has {} components in it, and a service is one: push each by itself", wasm.len())))
        }
        ([_], [other, ..]) => Err(Failure::Layers(format!(
            "beside the component it has {} other layers (such as {}), which would be lost",
            others.len(),
            crate::digest::shown(other)
        ))),
    }
}

fn image(layers: &[Described], config: Described) -> Guess {
    let kind = |layer: &Described, types: &[&str]| types.contains(&layer.media_type.as_str());
    match layers {
        [layer] if kind(layer, &TAR) => Guess::Archive { layer: Layer::Archive { layer: layer.clone(), gzip: false }, config },
        [layer] if kind(layer, &TAR_GZIP) => Guess::Archive { layer: Layer::Archive { layer: layer.clone(), gzip: true }, config },
        _ => Guess::Image { config },
    }
}

/// What an image with one archive is, by its config: made `FROM scratch` for WebAssembly, or a container.
pub(super) fn kind(config: &ImageConfiguration) -> Kind {
    let platform = format!("{}/{}", config.os(), config.architecture());
    let wasm = config.architecture().to_string() == "wasm" || config.os().to_string().starts_with("wasi");
    // Docker writes linux/amd64 into an image of whatever, so what it would start counts too.
    let started = config.config().as_ref().is_some_and(|config| {
        let entrypoint = config.entrypoint().iter().flatten().next();
        entrypoint.or_else(|| config.cmd().iter().flatten().next()).is_some_and(|program| program.ends_with(".wasm"))
    });
    let copied = || {
        let steps: Vec<&str> = config
            .history()
            .iter()
            .flatten()
            .filter_map(|step| step.created_by().as_deref())
            .filter(|step| step.contains("COPY ") || step.contains("ADD "))
            .collect();
        !steps.is_empty() && steps.iter().all(|step| step.contains(".wasm"))
    };
    if wasm || started || copied() {
        Kind::Component
    } else {
        Kind::LinuxImage { platform: crate::digest::shown(&platform).trim_matches('"').to_string() }
    }
}

/// Takes the one `.wasm` file out of an archive. Unpacks at most `limit` bytes, whatever the archive's own size fields say; checks the
/// unpacked bytes against `diff_id`, the config's digest of them.
pub(super) fn unpack(archive: &Bytes, gzip: bool, diff_id: Option<&str>, limit: u64) -> Result<Bytes, Failure> {
    let tar = match gzip {
        true => bounded(GzDecoder::new(&archive[..]), limit)?,
        false => archive.clone(),
    };
    if let Some(diff_id) = diff_id {
        let (wanted, got) = (diff_id.parse::<Digest>()?, Digest::of(&tar));
        if wanted != got {
            return Err(Failure::Digest { what: "the unpacked layer".to_string(), wanted, got });
        }
    }
    let mut found = None;
    let broken = |error: io::Error| Failure::Layers(format!("its archive is broken: {error}"));
    for entry in tar::Archive::new(&tar[..]).entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let wasm = entry.header().entry_type().is_file() && entry.path_bytes().ends_with(b".wasm");
        if wasm && found.replace(bounded(entry, limit)?).is_some() {
            return Err(Failure::Layers("its archive has more than one .wasm file".to_string()));
        }
    }
    found.ok_or_else(|| Failure::Layers("its archive has no .wasm file".to_string()))
}

fn bounded(source: impl Read, limit: u64) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let read = source.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Layers(format!("its archive is broken: {error}")))?;
    match bytes.len() as u64 > limit {
        true => Err(Failure::TooLarge { what: "the unpacked layer".to_string(), limit }),
        false => Ok(bytes.into()),
    }
}
