//! From a reference to the manifest and layer that it means, through mirrors and indexes.

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};

use super::failure::Failure;
use super::layer::{self, Guess, Kind, LARGEST_CONFIG, Layer};
use super::remote::{Fetched, Remote};
use super::{Artifact, Client};
use crate::blobs::{Blobs, Name, Referrer};
use crate::digest::Digest;
use crate::inspect::{self, Unsupported, World};
use crate::manifest::{self, Described, Document};
use crate::reference::Reference;

/// Documents between a reference and its manifest.
const DEPTH: usize = 3;

/// Entries that an index may have.
const ENTRIES: usize = 1000;

/// Where to look.
pub(super) enum Place {
    Local(Blobs),
    Remote(Remote),
}

/// A manifest that a reference means.
pub(super) struct Found {
    pub digest: Digest,
    pub kind: Kind,
    /// The component's layer, unless the kind says that there is none.
    pub layer: Option<Layer>,
    /// What the config says the unpacked layer's digest is.
    diff_id: Option<String>,
    /// The config that says what the component imports, where it has one.
    told: Option<Described>,
}

/// Of the config of a WebAssembly artifact, what it tells of the component.
#[derive(serde::Deserialize)]
struct Told {
    component: Option<ToldComponent>,
}

#[derive(serde::Deserialize)]
struct ToldComponent {
    #[serde(default)]
    imports: Vec<String>,
    #[serde(default)]
    exports: Vec<String>,
}

impl Client {
    // The registry's own failure is the one to report, since a mirror's says less.
    pub(super) async fn find(&self, reference: &Reference) -> Result<Found, Failure> {
        let mut last = Failure::NoEmbedded;
        for place in self.places(reference)? {
            match place.find(reference).await {
                Ok(found) => return Ok(found),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    pub(super) async fn try_unsupported(&self, reference: &Reference, offered: &[&str]) -> Result<Vec<Unsupported>, Failure> {
        let mut last = Failure::NoEmbedded;
        for place in self.places(reference)? {
            match place.unsupported(reference, offered, self.0.options.limits.layer).await {
                Ok(missing) => return Ok(missing),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    pub(super) async fn try_world(&self, reference: &Reference) -> Result<Option<World>, Failure> {
        let mut last = Failure::NoEmbedded;
        for place in self.places(reference)? {
            match place.world(reference, self.0.options.limits.layer).await {
                Ok(world) => return Ok(world),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    pub(super) async fn try_pull(&self, reference: &Reference) -> Result<Artifact, Failure> {
        let mut last = Failure::NoEmbedded;
        for place in self.places(reference)? {
            match place.pull(reference, self.0.options.limits.layer).await {
                Ok(artifact) => return Ok(artifact),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    pub(super) async fn try_referrers(&self, reference: &Reference, digest: &Digest) -> Result<Vec<Descriptor>, Failure> {
        match self.home(reference)? {
            Place::Local(blobs) => {
                let found = blobs.referrers(reference.repository(), digest, None).await?;
                Ok(found.iter().filter_map(Referrer::descriptor).collect())
            }
            Place::Remote(remote) => remote.referrers(digest).await,
        }
    }
}

impl Place {
    async fn pull(&self, reference: &Reference, limit: u64) -> Result<Artifact, Failure> {
        let found = self.find(reference).await?;
        let kind = found.kind.clone();
        let layer = found.layer.filter(|_| matches!(kind, Kind::Component | Kind::Files)).ok_or(Failure::Kind(found.kind))?;
        let blob = self.blob(layer.described(), limit).await?;
        let wasm = match layer {
            Layer::Plain(_) => blob,
            Layer::Archive { gzip, .. } => {
                let unpack = move || layer::unpack(&blob, gzip, found.diff_id.as_deref(), limit);
                tokio::task::spawn_blocking(unpack).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?
            }
        };
        if kind == Kind::Component {
            inspect::check_preamble(&wasm)?;
        }
        Ok(Artifact { digest: found.digest, kind, layer: Digest::of(&wasm), wasm })
    }

    /// A component that is at hand is read itself; of one elsewhere its config tells, if it has one that does.
    async fn unsupported(&self, reference: &Reference, offered: &[&str], limit: u64) -> Result<Vec<Unsupported>, Failure> {
        let found = self.find(reference).await?;
        if let (Place::Local(_), Some(Layer::Plain(layer))) = (self, &found.layer) {
            return Ok(inspect::inspect(&self.blob(layer, limit).await?)?.unsupported(offered));
        }
        let Some(told) = &found.told else { return Ok(Vec::new()) };
        let Ok(Told { component: Some(component) }) = serde_json::from_slice(&self.blob(told, LARGEST_CONFIG).await?) else {
            return Ok(Vec::new());
        };
        // A config does not tell which imports hold only types, and so need nobody; such are called `types` by custom.
        let needed: Vec<String> =
            component.imports.into_iter().filter(|name| !name.split('@').next().is_some_and(|n| n.ends_with("/types"))).collect();
        Ok(inspect::unsupported(&needed, offered))
    }

    /// The same for how a component is run; none of what is no component.
    async fn world(&self, reference: &Reference, limit: u64) -> Result<Option<World>, Failure> {
        let found = self.find(reference).await?;
        if found.kind != Kind::Component {
            return Ok(None);
        }
        if let (Place::Local(_), Some(Layer::Plain(layer))) = (self, &found.layer) {
            return Ok(Some(inspect::inspect(&self.blob(layer, limit).await?)?.world));
        }
        let Some(told) = &found.told else { return Ok(None) };
        let told = serde_json::from_slice(&self.blob(told, LARGEST_CONFIG).await?).ok();
        Ok(told.and_then(|Told { component }| component).map(|component| inspect::world(&component.exports)))
    }

    async fn find(&self, reference: &Reference) -> Result<Found, Failure> {
        let mut fetched = match reference.digest() {
            Some(digest) => self.document(reference, &digest.to_string(), Some(digest)).await?,
            None => self.document(reference, reference.tag_or_latest(), None).await?,
        };
        for _ in 0..DEPTH {
            let index = match &fetched.parsed.document {
                Document::Manifest(manifest) => return self.look_into(fetched.digest, manifest).await,
                Document::Index(index) => index,
            };
            let child = match choose(index)? {
                Ok(child) => child,
                Err(platform) => {
                    return Ok(Found {
                        digest: fetched.digest,
                        kind: Kind::LinuxImage { platform },
                        layer: None,
                        diff_id: None,
                        told: None,
                    });
                }
            };
            fetched = self.document(reference, &child.digest.to_string(), Some(&child.digest)).await?;
        }
        Err(Failure::Nested(DEPTH))
    }

    async fn look_into(&self, digest: Digest, manifest: &ImageManifest) -> Result<Found, Failure> {
        let (kind, layer, diff_id) = match layer::guess(manifest)? {
            Guess::Layer(layer) => (Kind::Component, Some(layer), None),
            Guess::Files(layer) => (Kind::Files, Some(layer), None),
            Guess::Other(kind) => (kind, None, None),
            Guess::Archive { layer, config } => {
                let config = self.config(&config).await?;
                (layer::kind(&config), Some(layer), config.rootfs().diff_ids().first().cloned())
            }
            Guess::Image { config } => {
                let config = self.config(&config).await?;
                (Kind::LinuxImage { platform: format!("{}/{}", config.os(), config.architecture()) }, None, None)
            }
        };
        let told = Described::try_from(manifest.config())?;
        let told = (told.media_type == manifest::CONFIG).then_some(told);
        Ok(Found { digest, kind, layer, diff_id, told })
    }

    async fn config(&self, described: &Described) -> Result<ImageConfiguration, Failure> {
        serde_json::from_slice(&self.blob(described, LARGEST_CONFIG).await?).map_err(Failure::Config)
    }

    async fn document(&self, reference: &Reference, name: &str, wanted: Option<&Digest>) -> Result<Fetched, Failure> {
        match self {
            Place::Remote(remote) => remote.document(name, wanted).await,
            Place::Local(blobs) => {
                let stored = blobs.find(reference.repository(), &name.parse::<Name>()?).await?;
                let bytes = blobs.get(&stored.digest).await?;
                Ok(Fetched { digest: stored.digest, parsed: manifest::parse(&bytes, Some(&stored.media_type))? })
            }
        }
    }

    async fn blob(&self, described: &Described, limit: u64) -> Result<Bytes, Failure> {
        if described.size > limit {
            return Err(Failure::TooLarge { what: format!("the blob {}", described.digest), limit });
        }
        match self {
            Place::Remote(remote) => remote.blob(described).await,
            Place::Local(blobs) => Ok(blobs.get(&described.digest).await?),
        }
    }
}

/// The entry of an index to go on with, or the platforms that it has instead.
fn choose(index: &ImageIndex) -> Result<Result<Described, String>, Failure> {
    let entries = index.manifests();
    if entries.len() > ENTRIES {
        return Err(Failure::ManyEntries(entries.len()));
    }
    let platform =
        |entry: &Descriptor| entry.platform().as_ref().map(|platform| (platform.os().to_string(), platform.architecture().to_string()));
    let is_wasm = |entry: &&Descriptor| platform(entry).is_some_and(|(os, architecture)| architecture == "wasm" || os.starts_with("wasi"));
    let chosen = entries.iter().find(is_wasm).or_else(|| entries.iter().find(|entry| platform(entry).is_none()));
    let chosen = match (chosen, entries.as_slice()) {
        (Some(entry), _) | (None, [entry]) => entry,
        (None, []) => return Err(Failure::Layers("its index is empty".to_string())),
        _ => {
            // Attestations are listed as unknown/unknown.
            let known = entries.iter().filter_map(platform).filter(|(os, _)| os != "unknown");
            return Ok(Err(known.take(8).map(|(os, architecture)| format!("{os}/{architecture}")).collect::<Vec<_>>().join(", ")));
        }
    };
    Ok(Ok(Described::try_from(chosen)?))
}
