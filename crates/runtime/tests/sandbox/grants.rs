//! Each grant, and its refusal.

use std::sync::Arc;

use runtime::keyvalue::{Buckets, Limits};
use runtime::sandbox::{Error, Guest, Host, Level, PodIdentity, Spec};

use crate::support::{Seen, code, get, guest, guest_with, host, spec, text, world};

#[tokio::test]
async fn h31_only_declared_variables_are_seen_by_http_guests() {
    let guest = guest(Spec { env: vec![("DB_URL".into(), "secret".into())], ..spec() }).await;
    assert_eq!(get(&guest, "/env").await, r#"[("HOSTNAME", "user-1"), ("DB_URL", "secret")]"#);
}

#[tokio::test]
async fn what_a_guest_prints_goes_to_its_output() {
    let seen = Arc::<Seen>::default();
    let guest = guest_with("hostile", spec(), &seen).await.unwrap();
    assert_eq!(get(&guest, "/print").await, "printed");
    assert_eq!(*seen.stdout.lock(), b"to stdout\n");
    assert_eq!(*seen.stderr.lock(), b"to stderr\n");
}

#[tokio::test]
async fn what_a_guest_logs_goes_to_its_output_with_its_level() {
    let seen = Arc::<Seen>::default();
    let guest = guest_with("hostile", spec(), &seen).await.unwrap();
    for level in ["trace", "debug", "info", "warn", "error", "critical"] {
        assert_eq!(get(&guest, &format!("/log?{level}|auth|no%20user|{level}")).await, "logged");
    }
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical];
    let want = levels.map(|level| (level, "auth".to_owned(), format!("no%20user|{}", level.word().to_lowercase())));
    assert_eq!(*seen.entries.lock(), want);
    assert!(seen.stdout.lock().is_empty() && seen.stderr.lock().is_empty());
}

#[tokio::test]
async fn logging_is_offered_under_the_names_that_tools_give_it_and_no_other() {
    let levels = r#"(type $l (enum "trace" "debug" "info" "warn" "error" "critical")) (export "level" (type $e (eq $l)))"#;
    let log = r#"(export "log" (func (param "level" $e) (param "context" string) (param "message" string)))"#;
    for (name, offered) in [
        ("wasi:logging/logging@0.1.0-draft", true),
        ("wasi:logging/logging", true),
        ("wasi:logging/logging@0.2.0", false),
        ("wasi:logging/tracing", false),
    ] {
        let wat = format!(r#"(component (import "{name}" (instance {levels} {log})))"#);
        let prepared = Guest::prepare(&world().engines, text(&wat).await.unwrap(), spec(), host(&Default::default())).await;
        let linked = matches!(prepared, Err(Error::NothingToRun { .. }));
        let refused = matches!(&prepared, Err(Error::Link { message, .. }) if message.contains(name) && message.contains("wasi:logging (0.1.0-draft)"));
        assert_eq!((linked, refused), (offered, !offered), "{name}: {:?}", prepared.err());
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_granted_is_denied() {
    let refused = guest(spec()).await;
    assert!(get(&refused, "/keyvalue?get|users|k").await.contains("AccessDenied"));
    assert!(get(&refused, "/keyvalue?old|users|k|1").await.contains("AccessDenied"));
    let granted = guest(Spec { keyvalue: vec!["users".into()], ..spec() }).await;
    assert_eq!(get(&granted, "/keyvalue?get|users|k").await, "Ok(None)");
    assert!(get(&granted, "/keyvalue?get|stock|k").await.contains("AccessDenied"));
}

#[tokio::test]
async fn both_drafts_of_the_key_value_interface_work() {
    let guest = guest(Spec { keyvalue: vec!["b".into()], ..spec() }).await;
    for (act, answer) in [
        ("set|b|k|v", "Ok(())"),
        ("get|b|k", r#"Ok(Some("v"))"#),
        ("increment|b|n|-3", "Ok(-3)"),
        ("swap|b|s|mine", "failed, then true"),
        ("get|b|s", r#"Ok(Some("mine"))"#),
        ("keys|b", r#"Ok(["k", "n", "s"])"#),
        ("batch|b", r#"Ok([Some(("one", [49])), None])"#),
        ("old|b|old|41", r#"Ok(42) Ok(["k", "n", "old", "one", "s", "two"])"#),
    ] {
        assert_eq!(get(&guest, &format!("/keyvalue?{act}")).await, answer, "{act}");
    }
}

#[tokio::test]
async fn h44_values_have_a_limit_and_apps_do_not_see_each_other() {
    let buckets = Arc::new(Buckets::in_memory(Limits::default()).unwrap());
    let prepare = async |app: &str, namespace: &str| {
        let pod = PodIdentity { app: Some(app.into()), namespace: namespace.into(), ..spec().pod };
        let spec = Spec { pod, keyvalue: vec!["b".into()], ..spec() };
        let host = Host { buckets: buckets.clone(), ..host(&Default::default()) };
        Guest::prepare(&world().engines, code("hostile").await, spec, host).await.unwrap()
    };
    let mine = prepare("shop", "default").await;
    assert!(get(&mine, "/keyvalue?large|b|k").await.contains("1048576"));
    assert_eq!(get(&mine, "/keyvalue?set|b|../x|v").await, "Ok(())");
    for other in [prepare("shop", "other").await, prepare("shop2", "default").await] {
        assert_eq!(get(&other, "/keyvalue?get|b|../x").await, "Ok(None)");
    }
    assert_eq!(get(&prepare("shop", "default").await, "/keyvalue?get|b|../x").await, r#"Ok(Some("v"))"#);
}

#[tokio::test]
async fn configuration_is_what_the_spec_declares() {
    let guest = guest(Spec { env: vec![("colour".into(), "red".into())], ..spec() }).await;
    assert_eq!(get(&guest, "/keyvalue?config|colour").await, r#"Ok(Some("red"))"#);
    assert_eq!(get(&guest, "/keyvalue?config|HOSTNAME").await, "Ok(None)");
}

#[tokio::test]
async fn h40_an_import_that_is_not_offered_is_named() {
    for import in ["acme:magic/spells@1.0.0", "wasi:http/types@0.9.0", "wasi:nn/graph@0.2.0"] {
        let wat = format!(r#"(component (import "{import}" (instance (export "cast" (func)))))"#);
        let prepared = Guest::prepare(&world().engines, text(&wat).await.unwrap(), spec(), host(&Default::default())).await;
        let Err(Error::Link { message, .. }) = prepared else { panic!("{import} must be refused") };
        assert!(message.contains(import) && message.contains("wasi:keyvalue"), "{message}");
    }
}

#[tokio::test]
async fn a_component_that_exports_nothing_to_run_is_refused() {
    let code = text("(component)").await.unwrap();
    let prepared = Guest::prepare(&world().engines, code, spec(), host(&Default::default())).await;
    assert!(matches!(prepared, Err(Error::NothingToRun { .. })));
}
