//! Manifests, redirects, logins and mirrors of a hostile or broken registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use artifact::registry::{Failure, Options};
use artifact::{Digest, Reference};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_good_artifact_is_pulled() {
    let packed = packed();
    let fake = Fake::holding(Contents::of(&packed)).await;
    let resolved = client().resolve(&fake.reference(":1")).await.unwrap();
    assert_eq!((resolved.digest, resolved.size), (packed.digest, packed.layer.len() as u64));
    let artifact = pull(&fake, ":1").await.unwrap();
    assert_eq!((artifact.digest, artifact.wasm), (packed.digest, packed.layer.clone()));
    assert_eq!(artifact.layer, Digest::of(&packed.layer));
}

#[tokio::test]
async fn r2_a_manifest_with_another_digest_is_refused() {
    let (packed, wanted) = (packed(), Digest::of(b"wanted"));
    let fake = Fake::start(move |_| ok(MANIFEST, packed.manifest.clone())).await;
    let result = pull(&fake, &format!("@{wanted}")).await;
    assert!(matches!(failure(&result), Failure::Digest { wanted: digest, .. } if *digest == wanted));
}

#[tokio::test]
async fn r2_a_header_that_names_another_digest_is_refused() {
    let packed = packed();
    let fake = Fake::start(move |_| {
        let mut response = ok(MANIFEST, packed.manifest.clone());
        response.headers_mut().insert("docker-content-digest", Digest::of(b"other").to_string().parse().unwrap());
        response
    })
    .await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Digest { .. }));
}

#[tokio::test]
async fn r6_a_tag_that_moves_does_not_move_a_pin() {
    let old = packed();
    let new = artifact::pack::pack(wat::parse_str("(component)").unwrap().into()).unwrap();
    let (before, mut after) = (Contents::of(&old), Contents::of(&old));
    after.0.extend(Contents::of(&new).0);
    let moved = Arc::new(AtomicUsize::new(0));
    let switch = moved.clone();
    let fake = Fake::start(move |seen| if switch.load(Ordering::SeqCst) == 0 { before.answer(seen) } else { after.answer(seen) }).await;
    let client = client();
    let tagged = fake.reference(":1");
    let pinned = tagged.pinned(client.resolve(&tagged).await.unwrap().digest);
    moved.store(1, Ordering::SeqCst);
    assert_eq!(client.resolve(&tagged).await.unwrap().digest, new.digest);
    assert_eq!(client.pull(&pinned).await.unwrap().wasm, old.layer);
}

#[tokio::test]
async fn r7_a_manifest_of_a_wrong_or_contradicting_type_is_refused() {
    let packed = packed();
    for content_type in ["text/html", INDEX, "application/octet-stream"] {
        let mut contents = Contents::of(&packed);
        contents.document("1", content_type, packed.manifest.clone());
        let fake = Fake::holding(contents).await;
        assert!(refused(&fake, ":1").await.contains("Content-Type"), "{content_type}");
    }
    let mut both: serde_json::Value = serde_json::from_slice(&packed.manifest).unwrap();
    both["manifests"] = json!([]);
    let mut contents = Contents::of(&packed);
    contents.document("1", MANIFEST, both.to_string());
    let fake = Fake::holding(contents).await;
    assert!(refused(&fake, ":1").await.contains("both"));
}

fn index(entries: &[serde_json::Value]) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string().into_bytes()
}

#[tokio::test]
async fn r8_indexes_nested_100_deep_are_given_up() {
    let mut contents = Contents::of(&packed());
    let mut document = manifest(&[described(WASM, &component())]);
    contents.document("bottom", MANIFEST, document.clone());
    let mut media_type = MANIFEST;
    for _ in 0..100 {
        document = index(&[described(media_type, &document)]);
        media_type = INDEX;
        contents.document("1", INDEX, document.clone());
    }
    let fake = Fake::holding(contents).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Nested(_)));
    assert!(fake.seen("manifests/").len() < 10);
}

#[tokio::test]
async fn r8_a_loop_of_indexes_is_refused() {
    // An index cannot hold its own digest, so a loop needs a lie, and the lie is seen.
    let claimed = Digest::of(b"the loop");
    let document = index(&[json!({ "mediaType": INDEX, "digest": claimed.to_string(), "size": 1 })]);
    let fake = Fake::start(move |_| ok(INDEX, document.clone())).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Digest { .. }));
    assert!(fake.seen("manifests/").len() < 5);
}

#[tokio::test]
async fn r8_an_index_with_too_many_entries_is_refused() {
    let entry = described(MANIFEST, b"");
    let many = index(&vec![entry.clone(); 1001]);
    let mut contents = Contents::default();
    contents.document("1", INDEX, many);
    let fake = Fake::holding(contents).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::ManyEntries(1001)));
    let million = Bytes::from(index(&vec![json!({}); 1_000_000]));
    let fake = Fake::start(move |_| ok(INDEX, million.clone())).await;
    assert!(pull(&fake, ":1").await.is_err());
    let huge = Bytes::from(index(&vec![entry; 100_000]));
    let fake = Fake::start(move |_| ok(INDEX, huge.clone())).await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::TooLarge { .. }));
}

#[tokio::test]
async fn r8_a_manifest_of_4_mib_and_a_byte_is_refused() {
    for announced in [true, false] {
        let bytes = vec![b' '; (4 << 20) + 1];
        let fake =
            Fake::start(move |_| if announced { ok(MANIFEST, bytes.clone()) } else { Response::new(pieces(vec![Ok(bytes.clone())])) })
                .await;
        assert!(matches!(failure(&pull(&fake, ":1").await), Failure::TooLarge { .. }));
    }
}

#[tokio::test]
async fn r9_images_with_no_or_several_layers_are_refused() {
    for count in [0, 2, 1000] {
        let layers: Vec<_> = (0..count).map(|number: u32| described(WASM, &number.to_le_bytes())).collect();
        let mut contents = Contents::default();
        contents.document("1", MANIFEST, manifest(&layers));
        let fake = Fake::holding(contents).await;
        assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Layers(_)), "{count} layers");
        assert!(fake.seen("blobs/").is_empty());
    }
}

#[tokio::test]
async fn r12_redirect_loops_and_long_chains_end() {
    let looping = Fake::start(|seen| redirect(&seen.path)).await;
    assert!(refused(&looping, ":1").await.contains("more than 5 redirects"));
    assert_eq!(looping.seen("manifests/").len(), 6);
    let packed = packed();
    let contents = Contents::of(&packed);
    let steps = |most: usize| {
        let (contents, hops) = (contents.clone(), Arc::new(AtomicUsize::new(0)));
        Fake::start(move |seen| match seen.path.contains("manifests/") && hops.fetch_add(1, Ordering::SeqCst) < most {
            true => redirect(&seen.path),
            false => contents.answer(seen),
        })
    };
    assert!(pull(&steps(5).await, ":1").await.is_ok());
    assert!(refused(&steps(6).await, ":1").await.contains("more than 5 redirects"));
}

#[tokio::test]
async fn r12_redirects_to_plain_http_or_inner_addresses_are_refused() {
    for (to, why) in [
        ("http://registry.example/x", "not https"),
        ("https://169.254.169.254/latest/meta-data", "refused"),
        ("https://[fe80::1]/x", "refused"),
        ("https://0.0.0.0/x", "refused"),
        ("https://10.0.0.1/x", "refused"),
        ("https://[::ffff:192.168.0.1]/x", "refused"),
        ("https://3232235521/x", "refused"),
        ("file:///etc/passwd", "no plain address"),
        ("https://user:password@registry.example/", "no plain address"),
        ("gopher://x/", "refused"),
    ] {
        let fake = Fake::start(move |_| redirect(to)).await;
        let started = Instant::now();
        let said = refused(&fake, ":1").await;
        assert!(said.contains(why), "{to}: {said}");
        assert!(started.elapsed() < Duration::from_secs(15), "{to} was tried");
    }
}

#[tokio::test]
async fn r12_a_login_never_crosses_to_another_host() {
    let packed = packed();
    let contents = Contents::of(&packed);
    let blobs = contents.clone();
    let elsewhere = Fake::start(move |seen| blobs.answer(seen)).await;
    let to = elsewhere.address;
    let fake = Fake::start(move |seen| match seen.headers.contains_key("authorization") {
        false => challenge("Basic realm=x"),
        true if seen.path.contains("blobs/") => redirect(&format!("http://{to}{}", seen.path)),
        true => contents.answer(seen),
    })
    .await;
    let (_folder, credentials) = login(&fake.address.to_string());
    let client = client_with(Options { credentials, ..Options::default() });
    assert_eq!(client.pull(&fake.reference(":1")).await.unwrap().wasm, packed.layer);
    assert_eq!(elsewhere.seen("blobs/").len(), 1);
    assert!(!elsewhere.seen("blobs/")[0].headers.contains_key("authorization"), "the password went to another host");
}

fn challenge(text: &str) -> Response {
    Response::builder().status(401).header("www-authenticate", text).body(Body::empty()).unwrap()
}

fn login(registry: &str) -> (tempfile::TempDir, artifact::credentials::Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = artifact::credentials::Store { login: Some(folder.path().join("login.json")), docker: vec![] };
    store.save(registry, "ann", "secret").unwrap();
    (folder, store)
}

#[tokio::test]
async fn r13_a_realm_at_an_inner_address_is_refused() {
    for realm in [
        "https://169.254.169.254/token",
        "https://10.1.2.3/token",
        "https://[fd00:ec2::254]/",
        "http://192.168.0.1/",
        "http://metadata.google.internal/",
    ] {
        let fake = Fake::start(move |_| challenge(&format!("Bearer realm=\"{realm}\""))).await;
        let said = refused(&fake, ":1").await;
        assert!(said.contains("refused"), "{realm}: {said}");
    }
}

#[tokio::test]
async fn r13_a_token_service_that_loops_is_left() {
    let redirects = Fake::start(|seen| match seen.path.starts_with("/token") {
        true => redirect(&seen.path),
        false => challenge(&format!("Bearer realm=\"http://{}/token\"", seen.headers["host"].to_str().unwrap())),
    })
    .await;
    assert!(refused(&redirects, ":1").await.contains("it redirects"));
    assert_eq!(redirects.seen("/token").len(), 1);
    let challenges =
        Fake::start(|seen| challenge(&format!("Bearer realm=\"http://{}/token\"", seen.headers["host"].to_str().unwrap()))).await;
    assert!(matches!(failure(&pull(&challenges, ":1").await), Failure::Unauthorized { .. }));
    assert_eq!(challenges.seen("/token").len(), 1);
}

#[tokio::test]
async fn r13_a_token_that_is_never_good_enough_ends_in_one_refusal() {
    let fake = Fake::start(|seen| match seen.path.starts_with("/token") {
        true => ok("application/json", r#"{"token":"useless"}"#),
        false => challenge(&format!("Bearer realm=\"http://{}/token\"", seen.headers["host"].to_str().unwrap())),
    })
    .await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Unauthorized { .. }));
    assert_eq!((fake.seen("/token").len(), fake.seen("manifests/").len()), (1, 2));
}

#[tokio::test]
async fn r13_an_endless_token_is_refused() {
    let fake = Fake::start(|seen| match seen.path.starts_with("/token") {
        true => Response::new(Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16])))),
        false => challenge(&format!("Bearer realm=\"http://{}/token\"", seen.headers["host"].to_str().unwrap())),
    })
    .await;
    assert!(matches!(failure(&pull(&fake, ":1").await), Failure::TooLarge { .. }));
}

#[tokio::test]
async fn r13_a_busy_registry_is_waited_for_only_within_bounds() {
    let busy =
        |after: &'static str| move |_: &Seen| Response::builder().status(429).header("retry-after", after).body(Body::empty()).unwrap();
    for after in ["1000000000", "99999999999999999999999999", "Fri, 31 Dec 2999 23:59:59 GMT"] {
        let started = Instant::now();
        let fake = Fake::start(busy(after)).await;
        assert!(matches!(failure(&pull(&fake, ":1").await), Failure::Busy { .. }), "{after}");
        assert!(started.elapsed() < Duration::from_secs(15));
    }
    let always = Fake::start(busy("0")).await;
    assert!(matches!(failure(&pull(&always, ":1").await), Failure::Status { status: 429, .. }));
    assert_eq!(always.seen("manifests/").len(), 4);
    let (contents, turns) = (Contents::of(&packed()), Arc::new(AtomicUsize::new(0)));
    let once =
        Fake::start(move |seen| if turns.fetch_add(1, Ordering::SeqCst) == 0 { busy("0")(seen) } else { contents.answer(seen) }).await;
    assert!(pull(&once, ":1").await.is_ok());
}

#[tokio::test]
async fn mirrors_are_asked_first_and_passed_over_when_they_fail() {
    let packed = packed();
    let broken = Fake::start(|_| status(500)).await;
    let contents = Contents::of(&packed);
    let mirror = Fake::start(move |seen| {
        let path = seen.path.replacen("/v2/hub/acme", "/v2/acme", 1);
        contents.answer(&Seen { path, ..seen.clone() })
    })
    .await;
    let mirrors = [("registry.invalid".to_string(), vec![broken.address.to_string(), format!("{}/hub", mirror.address)])].into();
    let client = client_with(Options { mirrors, ..Options::default() });
    let reference: Reference = "registry.invalid/acme/hello:1".parse().unwrap();
    assert_eq!(client.pull(&reference).await.unwrap().digest, packed.digest);
    assert!(!broken.seen("/v2/acme/hello/manifests/1").is_empty() && !mirror.seen("/v2/hub/acme/hello/manifests/1").is_empty());
}

#[tokio::test]
async fn r22_referrers_are_listed_in_the_new_way_and_the_old_one() {
    let (subject, signature) = (Digest::of(b"subject"), described(MANIFEST, b"signature"));
    let listed = index(std::slice::from_ref(&signature));
    let (new, old) = (listed.clone(), listed);
    let current = Fake::start(move |seen| if seen.path.contains("/referrers/") { ok(INDEX, new.clone()) } else { status(404) }).await;
    let older = Fake::start(move |seen| if seen.path.contains("/manifests/sha256-") { ok(INDEX, old.clone()) } else { status(404) }).await;
    let neither = Fake::start(|_| status(404)).await;
    for (fake, count) in [(&current, 1), (&older, 1), (&neither, 0)] {
        let found = client().referrers(&fake.reference(":1"), &subject).await.unwrap();
        assert_eq!(found.len(), count);
        assert!(found.iter().all(|found| found.digest().as_ref() == signature["digest"]));
    }
}
