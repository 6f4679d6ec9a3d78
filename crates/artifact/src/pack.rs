//! Packing: a component's bytes become a manifest, a config and a layer in the CNCF's WebAssembly artifact format; a folder's files an archive.

use std::path::Path;

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};
use serde::Serialize;

use crate::digest::Digest;
use crate::files;
use crate::inspect::{self, Inspection};
use crate::manifest::{ARCHIVE, CONFIG, FILES, LAYER, MANIFEST, descriptor};

/// A component, or a folder of files, that is ready to be pushed. The same one always packs to the same bytes.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The digest of the manifest: what a revision pins.
    pub digest: Digest,
    /// `application/vnd.oci.image.manifest.v1+json`.
    pub manifest: Bytes,
    /// `application/vnd.wasm.config.v0+json`, or what marks a folder of files.
    pub config: Bytes,
    /// `application/wasm`: the component itself; or the archive of files.
    pub layer: Bytes,
    /// What the component is and needs; none for files.
    pub inspection: Option<Inspection>,
}

/// Why something cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no component, or a damaged one.
    #[error("packing the component")]
    Component(#[from] inspect::Error),
    /// The folder cannot be served.
    #[error("packing the folder")]
    Files(#[from] files::Error),
    /// The manifest could not be written; never seen.
    #[error("writing the manifest of the component: {0}")]
    Manifest(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    /// Other tools refuse a config without it; a constant keeps packing reproducible.
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [Digest; 1],
    component: Component<'a>,
}

#[derive(Serialize)]
struct Component<'a> {
    exports: &'a [String],
    imports: &'a [String],
}

/// Packs `wasm`, which must be a valid component.
pub fn pack(wasm: Bytes) -> Result<Packed, Error> {
    let inspection = inspect::inspect(&wasm)?;
    inspect::validate(&wasm)?;
    let layer = Digest::of(&wasm);
    let config = Config {
        created: "1970-01-01T00:00:00Z",
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [layer],
        component: Component { exports: &inspection.exports, imports: &inspection.imports },
    };
    let config = Bytes::from(json(&config)?);
    let manifest = manifest(descriptor(CONFIG, &Digest::of(&config), config.len())?, descriptor(LAYER, &layer, wasm.len())?)?;
    let manifest = Bytes::from(json(&manifest)?);
    Ok(Packed { digest: Digest::of(&manifest), manifest, config, layer: wasm, inspection: Some(inspection) })
}

/// Packs the files of a folder.
///
/// # Errors
/// When it cannot be read, has links in it, or too much.
pub fn pack_files(folder: &Path) -> Result<Packed, Error> {
    let archive = files::archive(folder)?;
    let config = Bytes::from_static(b"{}");
    let layer = descriptor(ARCHIVE, &Digest::of(&archive), archive.len())?;
    let manifest = Bytes::from(json(&manifest(descriptor(FILES, &Digest::of(&config), config.len())?, layer)?)?);
    Ok(Packed { digest: Digest::of(&manifest), manifest, config, layer: archive, inspection: None })
}

fn manifest(config: Descriptor, layer: Descriptor) -> Result<ImageManifest, Error> {
    let manifest = ImageManifestBuilder::default().schema_version(2u32).media_type(MediaType::from(MANIFEST));
    manifest.config(config).layers(vec![layer]).build().map_err(|error| Error::Manifest(error.to_string()))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Manifest(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::component;

    #[test]
    fn the_format_is_exactly_the_one_published() {
        let wasm = Bytes::from(component(&["wasi:http/types@0.2.4"], &["wasi:http/incoming-handler@0.2.4"]));
        let packed = pack(wasm.clone()).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&packed.manifest).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&packed.config).unwrap();
        assert_eq!(
            manifest,
            serde_json::json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.wasm.config.v0+json",
                    "digest": Digest::of(&packed.config).to_string(),
                    "size": packed.config.len(),
                },
                "layers": [{ "mediaType": "application/wasm", "digest": Digest::of(&wasm).to_string(), "size": wasm.len() }],
            })
        );
        assert_eq!(
            config,
            serde_json::json!({
                "created": "1970-01-01T00:00:00Z",
                "architecture": "wasm",
                "os": "wasip2",
                "layerDigests": [Digest::of(&wasm).to_string()],
                "component": { "exports": ["wasi:http/incoming-handler@0.2.4"], "imports": ["wasi:http/types@0.2.4"] },
            })
        );
        assert_eq!(packed.digest, Digest::of(&packed.manifest));
    }

    #[test]
    fn the_same_component_packs_to_the_same_digest() {
        let wasm = Bytes::from(component(&[], &["wasi:cli/run@0.2.0"]));
        assert_eq!(pack(wasm.clone()).unwrap().digest, pack(wasm).unwrap().digest);
    }

    #[test]
    fn h37_a_component_with_broken_code_is_not_packed() {
        let mut wasm = wat::parse_str(r#"(component (core module (func (export "f") (result i32) i32.const 1)))"#).unwrap();
        let at = wasm.windows(2).position(|pair| pair == [0x41, 1]).unwrap();
        wasm[at] = 0x42;
        assert!(inspect::inspect(&wasm).is_ok());
        assert!(matches!(pack(wasm.into()), Err(Error::Component(inspect::Error::Damaged { .. }))));
    }

    #[test]
    fn h39_a_core_module_is_not_packed() {
        let module = wat::parse_str("(module)").unwrap();
        assert!(matches!(pack(module.into()), Err(Error::Component(inspect::Error::CoreModule))));
    }
}
