//! The embedded registry, endpoint by endpoint of the distribution specification.

use artifact::blobs::Blobs;
use artifact::server::{Limits, router_with};
use artifact::{Digest, Reference};
use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::*;

struct Registry {
    router: Router,
    _folder: tempfile::TempDir,
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the specification's error code.
    fn error(&self) -> (u16, String) {
        (self.status, self.json()["errors"][0]["code"].as_str().unwrap().to_string())
    }
}

impl Registry {
    fn open() -> Registry {
        let folder = tempfile::tempdir().unwrap();
        let router = router_with(Blobs::open(folder.path()).unwrap(), Limits { blob: 1 << 20, uploads: 4 });
        Registry { router, _folder: folder }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Got { status: head.status.as_u16(), headers: head.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
    }

    async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[], Body::empty()).await
    }

    async fn put_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let got = self.ask("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], bytes.to_vec()).await;
        assert_eq!(got.status, 201);
        digest
    }

    async fn put_manifest(&self, name: &str, manifest: &Value) -> Got {
        let media_type = manifest["mediaType"].as_str().unwrap().to_string();
        self.ask("PUT", &format!("/v2/a/manifests/{name}"), &[("content-type", &media_type)], manifest.to_string()).await
    }

    /// A manifest with one layer, pushed under `name`.
    async fn push(&self, name: &str, layer: &[u8], more: Value) -> (Digest, Value) {
        self.put_blob(b"{}").await;
        self.put_blob(layer).await;
        let mut manifest: Value = serde_json::from_slice(&manifest(&[described(WASM, layer)])).unwrap();
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let got = self.put_manifest(name, &manifest).await;
        assert_eq!(got.status, 201, "{:?}", got.body);
        (got.header("docker-content-digest").parse().unwrap(), manifest)
    }
}

#[tokio::test]
async fn the_root_says_which_protocol_this_is() {
    let registry = Registry::open();
    for path in ["/v2/", "/v2"] {
        let got = registry.get(path).await;
        assert_eq!((got.status, got.header("docker-distribution-api-version")), (200, "registry/2.0"));
    }
}

#[tokio::test]
async fn a_blob_goes_in_at_once_and_comes_out_whole_or_in_part() {
    let registry = Registry::open();
    let digest = registry.put_blob(b"0123456789").await;
    let path = format!("/v2/a/blobs/{digest}");
    let got = registry.get(&path).await;
    assert_eq!((got.status, &got.body[..], got.header("docker-content-digest")), (200, &b"0123456789"[..], digest.to_string().as_str()));
    let head = registry.ask("HEAD", &path, &[], Body::empty()).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "10", 0));
    let part = registry.ask("GET", &path, &[("range", "bytes=2-4")], Body::empty()).await;
    assert_eq!(
        (part.status, &part.body[..], part.header("content-range"), part.header("content-length")),
        (206, &b"234"[..], "bytes 2-4/10", "3")
    );
    let outside = registry.ask("GET", &path, &[("range", "bytes=10-")], Body::empty()).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */10"));
}

#[tokio::test]
async fn a_blob_goes_in_by_post_then_put() {
    let registry = Registry::open();
    let digest = Digest::of(b"whole");
    let begun = registry.ask("POST", "/v2/a/blobs/uploads/", &[], Body::empty()).await;
    assert_eq!(begun.status, 202);
    let done = registry.ask("PUT", &format!("{}?digest={digest}", begun.header("location")), &[], "whole").await;
    assert_eq!((done.status, done.header("location")), (201, format!("/v2/a/blobs/{digest}").as_str()));
    assert_eq!(registry.get(done.header("location")).await.body, "whole");
}

#[tokio::test]
async fn a_blob_goes_in_by_chunks_in_order_only() {
    let registry = Registry::open();
    let digest = Digest::of(b"first,second,third");
    let begun = registry.ask("POST", "/v2/a/blobs/uploads/", &[], Body::empty()).await;
    let at = begun.header("location").to_string();
    let chunk = async |range: &str, bytes: &'static str| registry.ask("PATCH", &at, &[("content-range", range)], bytes).await;
    let first = chunk("0-5", "first,").await;
    assert_eq!((first.status, first.header("range")), (202, "0-5"));
    let early = chunk("13-17", "third").await;
    assert_eq!((early.status, early.header("range")), (416, "0-5"));
    assert_eq!(chunk("0-5", "first,").await.status, 416);
    assert_eq!(chunk("6-12", "second,").await.header("range"), "0-12");
    let status = registry.get(&at).await;
    assert_eq!((status.status, status.header("range")), (204, "0-12"));
    let done = registry.ask("PUT", &format!("{at}?digest={digest}"), &[("content-range", "13-17")], "third").await;
    assert_eq!(done.status, 201);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).await.body, "first,second,third");
    assert_eq!(registry.get(&at).await.error(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn uploads_that_break_the_rules_are_refused() {
    let registry = Registry::open();
    let begin = async || registry.ask("POST", "/v2/a/blobs/uploads/", &[], Body::empty()).await.header("location").to_string();
    let wrong = registry.ask("PUT", &format!("{}?digest={}", begin().await, Digest::of(b"other")), &[], "this").await;
    assert_eq!(wrong.error(), (400, "DIGEST_INVALID".into()));
    let at = begin().await;
    assert_eq!(registry.ask("PUT", &at, &[], "this").await.error(), (400, "DIGEST_INVALID".into()));
    assert_eq!(registry.ask("PUT", &format!("{at}?digest=md5:00"), &[], "this").await.error(), (400, "DIGEST_INVALID".into()));
    assert_eq!(registry.ask("PATCH", &at, &[("content-range", "0-9")], "short").await.error(), (400, "SIZE_INVALID".into()));
    assert_eq!(registry.ask("PATCH", &at, &[("content-range", "x")], "short").await.error(), (400, "BLOB_UPLOAD_INVALID".into()));
    let elsewhere = at.replace("/v2/a/", "/v2/b/");
    assert_eq!(registry.ask("PATCH", &elsewhere, &[], "x").await.error(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
    assert_eq!(registry.ask("DELETE", &at, &[], Body::empty()).await.status, 204);
    assert_eq!(registry.ask("PATCH", &at, &[], "x").await.error(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn r10_uploads_are_bounded_in_size_and_number() {
    let registry = Registry::open();
    let large = vec![0u8; (1 << 20) + 1];
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(&large));
    assert_eq!(registry.ask("POST", &path, &[], large.clone()).await.error(), (413, "SIZE_INVALID".into()));
    assert_eq!(registry.ask("POST", &path, &[], pieces(vec![Ok(large)])).await.error(), (413, "SIZE_INVALID".into()));
    for _ in 0..4 {
        assert_eq!(registry.ask("POST", "/v2/a/blobs/uploads/", &[], Body::empty()).await.status, 202);
    }
    assert_eq!(registry.ask("POST", "/v2/a/blobs/uploads/", &[], Body::empty()).await.error(), (429, "TOOMANYREQUESTS".into()));
}

#[tokio::test]
async fn a_chunk_that_breaks_off_can_be_gone_on_with() {
    let registry = Registry::open();
    let at = registry.ask("POST", "/v2/a/blobs/uploads/", &[], Body::empty()).await.header("location").to_string();
    let cut = pieces(vec![Ok(b"one".to_vec()), Err(std::io::Error::other("gone"))]);
    assert_eq!(registry.ask("PATCH", &at, &[], cut).await.error(), (400, "BLOB_UPLOAD_INVALID".into()));
    assert_eq!(registry.get(&at).await.header("range"), "0-2");
    let done = registry.ask("PUT", &format!("{at}?digest={}", Digest::of(b"onetwo")), &[("content-range", "3-5")], "two").await;
    assert_eq!(done.status, 201);
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let registry = Registry::open();
    let digest = registry.put_blob(b"shared").await;
    let got = registry.ask("POST", &format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), &[], Body::empty()).await;
    assert_eq!((got.status, got.header("location")), (201, format!("/v2/b/blobs/{digest}").as_str()));
    let missing = registry.ask("POST", &format!("/v2/b/blobs/uploads/?mount={}&from=a", Digest::of(b"x")), &[], Body::empty()).await;
    assert_eq!(missing.status, 202, "what is not here is to be uploaded");
}

#[tokio::test]
async fn manifests_go_by_tag_and_digest() {
    let registry = Registry::open();
    let (digest, manifest) = registry.push("1.0", b"layer", json!({})).await;
    for name in ["1.0".to_string(), digest.to_string()] {
        let got = registry.get(&format!("/v2/a/manifests/{name}")).await;
        assert_eq!((got.status, got.header("content-type"), got.json()), (200, MANIFEST, manifest.clone()));
        let head = registry.ask("HEAD", &format!("/v2/a/manifests/{name}"), &[], Body::empty()).await;
        assert_eq!((head.status, head.header("docker-content-digest")), (200, digest.to_string().as_str()));
        assert_eq!(head.header("content-length"), manifest.to_string().len().to_string());
    }
    assert_eq!(registry.get("/v2/a/manifests/2.0").await.error(), (404, "MANIFEST_UNKNOWN".into()));
    assert_eq!(registry.get(&format!("/v2/b/manifests/{digest}")).await.error(), (404, "MANIFEST_UNKNOWN".into()));
}

#[tokio::test]
async fn manifests_that_break_the_rules_are_refused() {
    let registry = Registry::open();
    let layer = described(WASM, b"never pushed");
    let lacking: Value = serde_json::from_slice(&manifest(&[layer])).unwrap();
    assert_eq!(registry.put_manifest("1", &lacking).await.error(), (404, "MANIFEST_BLOB_UNKNOWN".into()));
    let (_, good) = registry.push("1", b"layer", json!({})).await;
    assert_eq!(registry.put_manifest(&Digest::of(b"x").to_string(), &good).await.error(), (400, "DIGEST_INVALID".into()));
    let mut both = good.clone();
    both["manifests"] = json!([]);
    assert_eq!(registry.put_manifest("1", &both).await.error(), (400, "MANIFEST_INVALID".into()));
    let wrong_type = registry.ask("PUT", "/v2/a/manifests/1", &[("content-type", INDEX)], good.to_string()).await;
    assert_eq!(wrong_type.error(), (400, "MANIFEST_INVALID".into()));
    let large = registry.ask("PUT", "/v2/a/manifests/1", &[("content-type", MANIFEST)], vec![b' '; (4 << 20) + 1]).await;
    assert_eq!(large.error(), (413, "MANIFEST_INVALID".into()));
    assert_eq!(registry.ask("PUT", "/v2/a/manifests/a%00", &[], "x").await.status, 400);
    assert_eq!(registry.ask("PUT", "/v2/..%2f..%2fetc/manifests/1", &[], "x").await.error(), (400, "NAME_INVALID".into()));
}

#[tokio::test]
async fn tags_and_repositories_are_listed_page_by_page() {
    let registry = Registry::open();
    assert_eq!(registry.get("/v2/a/tags/list").await.error(), (404, "NAME_UNKNOWN".into()));
    for tag in ["b", "a", "c"] {
        registry.push(tag, b"layer", json!({})).await;
    }
    assert_eq!(registry.get("/v2/a/tags/list").await.json(), json!({ "name": "a", "tags": ["a", "b", "c"] }));
    let page = registry.get("/v2/a/tags/list?n=2").await;
    assert_eq!((page.json()["tags"].clone(), page.header("link")), (json!(["a", "b"]), "</v2/a/tags/list?n=2&last=b>; rel=\"next\""));
    let last = registry.get("/v2/a/tags/list?n=2&last=b").await;
    assert_eq!((last.json()["tags"].clone(), last.header("link")), (json!(["c"]), ""));
    assert_eq!(registry.get("/v2/a/tags/list?n=0").await.json()["tags"], json!([]));
    assert_eq!(registry.get("/v2/a/tags/list?n=-1").await.status, 400);
    assert_eq!(registry.get("/v2/_catalog").await.json(), json!({ "repositories": ["a"] }));
}

#[tokio::test]
async fn r22_referrers_are_found_and_filtered() {
    let registry = Registry::open();
    let (subject, document) = registry.push("1", b"layer", json!({})).await;
    let about = |kind: &str| json!({ "subject": described(MANIFEST, document.to_string().as_bytes()), "artifactType": kind, "annotations": { "k": kind } });
    let (signature, _) = registry.push("signature", b"layer", about("application/x-signature")).await;
    registry.push("bill", b"layer", about("application/x-bill")).await;
    let all = registry.get(&format!("/v2/a/referrers/{subject}")).await;
    assert_eq!((all.status, all.header("content-type"), all.json()["manifests"].as_array().unwrap().len()), (200, INDEX, 2));
    let some = registry.get(&format!("/v2/a/referrers/{subject}?artifactType=application/x-signature")).await;
    let found = some.json()["manifests"].clone();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!((&found[0]["digest"], &found[0]["artifactType"]), (&json!(signature.to_string()), &json!("application/x-signature")));
    assert_eq!((&found[0]["annotations"]["k"], some.header("oci-filters-applied")), (&json!("application/x-signature"), "artifactType"));
    let none = registry.get(&format!("/v2/never/referrers/{}", Digest::of(b"x"))).await;
    assert_eq!((none.status, none.json()["manifests"].clone()), (200, json!([])));
}

#[tokio::test]
async fn deleting_takes_tags_manifests_and_only_free_blobs() {
    let registry = Registry::open();
    let (digest, _) = registry.push("1", b"layer", json!({})).await;
    registry.push("2", b"layer", json!({})).await;
    let delete = async |path: String| registry.ask("DELETE", &path, &[], Body::empty()).await;
    let layer = format!("/v2/a/blobs/{}", Digest::of(b"layer"));
    assert_eq!(delete(layer.clone()).await.error(), (403, "DENIED".into()));
    assert_eq!(delete("/v2/a/manifests/1".into()).await.status, 202);
    assert_eq!(registry.get("/v2/a/manifests/2").await.status, 200);
    assert_eq!(delete(format!("/v2/a/manifests/{digest}")).await.status, 202);
    assert_eq!(registry.get("/v2/a/manifests/2").await.status, 404);
    assert_eq!(delete(layer.clone()).await.status, 202);
    assert_eq!(delete(layer).await.error(), (404, "BLOB_UNKNOWN".into()));
}

#[tokio::test]
async fn methods_that_mean_nothing_are_told_what_would() {
    let registry = Registry::open();
    let got = registry.ask("POST", "/v2/a/tags/list", &[], Body::empty()).await;
    assert_eq!((got.error(), got.header("allow")), ((405, "UNSUPPORTED".into()), "GET"));
    assert_eq!(registry.get("/v2/nothing").await.status, StatusCode::NOT_FOUND.as_u16());
}

#[tokio::test]
async fn the_client_speaks_with_the_server_of_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let address = serve(artifact::server::router(Blobs::open(folder.path()).unwrap())).await;
    let reference: Reference = format!("{address}/acme/hello:1").parse().unwrap();
    let packed = packed();
    let client = client();
    assert_eq!(client.push(&reference, &packed).await.unwrap(), packed.digest);
    assert_eq!(client.pull(&reference).await.unwrap().wasm, packed.layer);
    assert_eq!(Some(client.inspect(&reference).await.unwrap()), packed.inspection);
}
