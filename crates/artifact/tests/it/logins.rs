//! Logging in: passwords, tokens, refresh tokens, Docker's helpers.

use artifact::credentials::{Credential, Store};
use artifact::registry::{Failure, Options};
use axum::body::Body;
use axum::response::Response;
use base64::Engine;

use crate::support::*;

fn challenge(text: String) -> Response {
    Response::builder().status(401).header("www-authenticate", text).body(Body::empty()).unwrap()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn sent(seen: &Seen) -> &str {
    seen.headers.get("authorization").map_or("", |value| value.to_str().unwrap())
}

/// A registry behind a token service that knows ann.
async fn guarded() -> Fake {
    let contents = Contents::of(&packed());
    Fake::start(move |seen| {
        let host = seen.headers["host"].to_str().unwrap();
        if seen.path.starts_with("/token") {
            return match sent(seen) == basic("ann", "secret") {
                true => ok("application/json", r#"{"access_token":"good","expires_in":300}"#),
                false => status(401),
            };
        }
        match sent(seen) {
            "Bearer good" => contents.answer(seen),
            _ => challenge(format!("Bearer realm=\"http://{host}/token?a=b\",service=\"s v\"")),
        }
    })
    .await
}

fn store(registry: &str, password: &str) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store { login: Some(folder.path().join("login.json")), docker: vec![] };
    store.save(registry, "ann", password).unwrap();
    (folder, store)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_for_all() {
    let fake = guarded().await;
    let (_folder, credentials) = store(&fake.address.to_string(), "secret");
    let client = client_with(Options { credentials, ..Options::default() });
    client.pull(&fake.reference(":1")).await.unwrap();
    client.pull(&fake.reference(":1")).await.unwrap();
    let asked = fake.seen("/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token?a=b&service=s+v&scope=repository%3Aacme%2Fhello%3Apull");
}

#[tokio::test]
async fn a_missing_or_wrong_login_is_said_with_what_to_do() {
    let fake = guarded().await;
    assert!(refused(&fake, ":1").await.contains(&format!("run `wctl login {}`", fake.address)));
    let (_folder, credentials) = store(&fake.address.to_string(), "wrong");
    let client = client_with(Options { credentials, ..Options::default() });
    assert!(matches!(failure(&client.pull(&fake.reference(":1")).await), Failure::Unauthorized { .. }));
}

#[tokio::test]
async fn a_login_is_checked_before_it_is_kept() {
    let fake = guarded().await;
    let ann = |password: &str| Credential::Password { user: "ann".into(), password: password.into() };
    let registry = fake.address.to_string();
    // The fake has nothing at /v2/ itself, which a good login gets to see.
    assert!(matches!(client().check_login(&registry, &ann("secret")).await, Err(Failure::NotFound { .. })));
    assert!(matches!(client().check_login(&registry, &ann("wrong")).await, Err(Failure::Unauthorized { .. })));
}

#[tokio::test]
async fn a_refresh_token_goes_into_a_form_and_never_into_an_address() {
    let contents = Contents::of(&packed());
    let fake = Fake::start(move |seen| match (seen.path.starts_with("/token"), sent(seen)) {
        (true, _) if seen.method == "POST" => ok("application/json", r#"{"token":"good"}"#),
        (true, _) => status(400),
        (false, "Bearer good") => contents.answer(seen),
        _ => challenge(format!("Bearer realm=\"http://{}/token\"", seen.headers["host"].to_str().unwrap())),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("config.json");
    std::fs::write(&docker, format!(r#"{{"auths":{{"{}":{{"identitytoken":"refresh"}}}}}}"#, fake.address)).unwrap();
    let credentials = Store { login: None, docker: vec![docker] };
    client_with(Options { credentials, ..Options::default() }).pull(&fake.reference(":1")).await.unwrap();
    assert!(fake.seen("refresh").is_empty());
}

#[tokio::test]
async fn a_broken_docker_file_does_not_stop_a_public_pull() {
    let contents = Contents::of(&packed());
    let fake = Fake::start(move |seen| match (seen.path.starts_with("/token"), sent(seen)) {
        (true, "") => ok("application/json", r#"{"token":"anonymous"}"#),
        (false, "Bearer anonymous") => contents.answer(seen),
        _ => challenge(format!("Bearer realm=\"http://{}/token\"", seen.headers["host"].to_str().unwrap())),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("config.json");
    std::fs::write(&docker, "not json").unwrap();
    let credentials = Store { login: None, docker: vec![docker] };
    client_with(Options { credentials, ..Options::default() }).pull(&fake.reference(":1")).await.unwrap();
}

/// Runs itself again with a helper in its PATH, since a test cannot change its own environment.
#[cfg(unix)]
#[test]
fn a_docker_helper_is_asked() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    if let Some(config) = std::env::var_os("WCTL_TEST_DOCKER_CONFIG") {
        let store = Store { login: None, docker: vec![config.into()] };
        let found = tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(async { (store.find("help.example").await, store.find("other.example").await) });
        let (Ok(Some(Credential::Password { user, password })), Ok(None)) = found else { panic!("{found:?}") };
        assert_eq!((user.as_str(), password.as_str()), ("ann", "helped"));
        return;
    }
    let helper = folder.path().join("docker-credential-wctltest");
    let script = r#"#!/bin/sh
read -r server
case "$server" in
  help.example) echo '{"ServerURL":"help.example","Username":"ann","Secret":"helped"}' ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"#;
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"credsStore":"wctltest"}"#).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let done = again
        .args(["--exact", "logins::a_docker_helper_is_asked"])
        .env("PATH", path)
        .env("WCTL_TEST_DOCKER_CONFIG", config)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}
