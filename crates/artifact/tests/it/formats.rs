//! What other tools push: older layer types, Spin's, runwasi's, `FROM scratch`, and what is refused.

use std::io::Write;

use artifact::Digest;
use artifact::registry::{Failure, Kind, Resolved};
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::*;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A container image with one layer.
fn image(config: Value, media_type: &str, layer: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": described("application/vnd.oci.image.config.v1+json", &config),
        "layers": [described(media_type, layer)],
    });
    contents.blob(config);
    contents.blob(layer.to_vec());
    contents.document("1", MANIFEST, manifest.to_string());
    contents
}

fn config(os: &str, architecture: &str, tar: &[u8]) -> Value {
    let rootfs = json!({ "type": "layers", "diff_ids": [Digest::of(tar).to_string()] });
    json!({ "os": os, "architecture": architecture, "rootfs": rootfs, "config": {} })
}

async fn resolve(contents: Contents) -> Resolved {
    let fake = Fake::holding(contents).await;
    client().resolve(&fake.reference(":1")).await.unwrap()
}

#[tokio::test]
async fn each_kind_of_component_layer_is_pulled() {
    for media_type in [
        WASM,
        "application/vnd.wasm.content.layer.v1+wasm",
        "application/vnd.module.wasm.content.layer.v1+wasm",
        "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    ] {
        let mut contents = Contents::default();
        contents.blob(component());
        contents.document("1", MANIFEST, manifest(&[described(media_type, &component())]));
        let fake = Fake::holding(contents).await;
        assert_eq!(pull(&fake, ":1").await.unwrap().wasm, component(), "{media_type}");
    }
}

#[tokio::test]
async fn what_spin_pushes_is_pulled_unless_files_would_be_lost() {
    let wasm = described("application/vnd.wasm.content.layer.v1+wasm", &component());
    let app = described("application/vnd.fermyon.spin.application.v1+config", b"{}");
    let data = described("application/vnd.wasm.content.layer.v1+data", b"logo");
    let mut contents = Contents::default();
    contents.blob(component());
    contents.document("1", MANIFEST, manifest(&[wasm.clone(), app.clone()]));
    contents.document("2", MANIFEST, manifest(&[wasm, data, app]));
    let fake = Fake::holding(contents).await;
    assert_eq!(pull(&fake, ":1").await.unwrap().wasm, component());
    assert!(refused(&fake, ":2").await.contains("would be lost"));
}

#[tokio::test]
async fn an_image_from_scratch_with_one_wasm_file_is_pulled() {
    let archive = tar(&[("etc/motd", b"hi"), ("app/hello.wasm", &component())]);
    let mut as_docker_writes = config("linux", "amd64", &archive);
    as_docker_writes["config"] = json!({ "Entrypoint": ["/app/hello.wasm"] });
    for (config, media_type, layer) in [
        (config("wasip1", "wasm", &archive), TAR, archive.clone()),
        (config("wasi", "wasm", &archive), DOCKER_GZIP, gzip(&archive)),
        (as_docker_writes, DOCKER_GZIP, gzip(&archive)),
    ] {
        let fake = Fake::holding(image(config, media_type, &layer)).await;
        assert_eq!(pull(&fake, ":1").await.unwrap().wasm, component());
    }
}

#[tokio::test]
async fn an_archive_without_exactly_one_wasm_file_is_refused() {
    for (files, why) in [
        (vec![("a.wasm", &b"1"[..]), ("b.wasm", b"2")], "more than one"),
        (vec![("readme", b"1")], "no .wasm file"),
        (vec![("a.wasm", b"#!/bin/sh  ")], "a script"),
    ] {
        let archive = tar(&files);
        let fake = Fake::holding(image(config("wasi", "wasm", &archive), TAR, &archive)).await;
        let said = refused(&fake, ":1").await;
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn an_archive_that_is_not_the_one_in_the_config_is_refused() {
    let archive = tar(&[("a.wasm", &component())]);
    let fake = Fake::holding(image(config("wasi", "wasm", b"another"), TAR, &archive)).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Digest { .. }));
}

#[tokio::test]
async fn r11_a_gzip_bomb_is_stopped() {
    let archive = tar(&[("a.wasm", &vec![0; 64 << 20])]);
    let bomb = gzip(&archive);
    assert!(bomb.len() < 1 << 20);
    let fake = Fake::holding(image(config("wasi", "wasm", &archive), DOCKER_GZIP, &bomb)).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::TooLarge { .. }));
}

#[tokio::test]
async fn r11_zstd_layers_are_refused() {
    let layer = b"\x28\xb5\x2f\xfd....";
    let fake = Fake::holding(image(config("wasi", "wasm", layer), "application/vnd.oci.image.layer.v1.tar+zstd", layer)).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Kind(_)));
}

#[tokio::test]
async fn a_linux_image_is_told_and_refused_with_what_to_do() {
    let archive = tar(&[("bin/sh", b"\x7fELF")]);
    let contents = image(config("linux", "arm64", &archive), DOCKER_GZIP, &gzip(&archive));
    assert_eq!(resolve(contents.clone()).await.kind, Kind::LinuxImage { platform: "linux/arm64".into() });
    let fake = Fake::holding(contents).await;
    let said = refused(&fake, ":1").await;
    assert!(said.contains("linux/arm64") && said.contains("wasm32-wasip2"), "{said}");
    assert_eq!(fake.seen("blobs/").len(), 1, "only the config is needed for that");
}

#[tokio::test]
async fn an_index_leads_to_its_wasm_entry_or_to_its_platforms() {
    let entry = |os: &str, architecture: &str, document: &[u8]| {
        let mut entry = described(MANIFEST, document);
        entry["platform"] = json!({ "os": os, "architecture": architecture });
        entry
    };
    let index = |entries: &[Value]| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string();
    let packed = packed();
    let mut contents = Contents::of(&packed);
    contents.document("1", INDEX, index(&[entry("linux", "amd64", b"x"), entry("wasip2", "wasm", &packed.manifest)]));
    let resolved = resolve(contents).await;
    assert_eq!((resolved.digest, resolved.kind), (packed.digest, Kind::Component));
    let mut contents = Contents::default();
    contents.document(
        "1",
        INDEX,
        index(&[entry("linux", "amd64", b"x"), entry("linux", "arm64", b"y"), entry("unknown", "unknown", b"z")]),
    );
    assert_eq!(resolve(contents).await.kind, Kind::LinuxImage { platform: "linux/amd64, linux/arm64".into() });
}

#[tokio::test]
async fn another_artifact_is_named() {
    let mut contents = Contents::default();
    contents.document("1", MANIFEST, manifest(&[described("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"chart")]));
    assert!(matches!(resolve(contents).await.kind, Kind::Other { what } if what.contains("helm")));
}

#[tokio::test]
async fn h39_precompiled_code_and_modules_from_a_registry_are_refused() {
    for (bytes, why) in
        [(b"\x7fELF\x02\x01\x01\0\0\0".to_vec(), "precompiled"), (wat::parse_str("(module)").unwrap(), "core WebAssembly module")]
    {
        let mut contents = Contents::default();
        contents.blob(bytes.clone());
        contents.document("1", MANIFEST, manifest(&[described(WASM, &bytes)]));
        let fake = Fake::holding(contents).await;
        let said = refused(&fake, ":1").await;
        assert!(said.contains(why), "{said}");
    }
}
