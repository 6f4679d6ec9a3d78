//! The one `check` of these stories.

use std::collections::BTreeMap;
use std::fmt::Write;

use scheduler::app::{AppFile, AppSpec, Locked, Mistakes, Origin, Parsed, Source, parse};
use serde_json::Value;

/// The variables of these tests.
pub fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "TAG" => "2.0",
        "COUNT" => "4",
        "EMPTY" => "",
        "NIL" => "null",
        "PASSWORD" => "a$b",
        _ => return None,
    };
    Some(value.into())
}

/// Reads one file, `app.yaml`.
pub fn read(text: impl Into<Vec<u8>>) -> Result<Parsed, Mistakes> {
    parse(&[Source::new("app.yaml", text)], &lookup)
}

/// Reads `first.yaml`, `second.yaml` … over each other.
pub fn read_all(texts: &[&str]) -> Result<Parsed, Mistakes> {
    let names = ["first.yaml", "second.yaml", "third.yaml"];
    let sources: Vec<Source> = names.iter().zip(texts).map(|(name, text)| Source::new(*name, *text)).collect();
    parse(&sources, &lookup)
}

/// What came of a file: what the app says beyond its defaults, or all its mistakes as a terminal shows them.
pub fn render(parsed: &Result<Parsed, Mistakes>) -> String {
    match parsed {
        Ok(Parsed::App(app)) => show(app),
        Ok(Parsed::Kubernetes(kinds)) => format!("Kubernetes: {}", kinds.join(", ")),
        Ok(Parsed::Compose) => "Compose".into(),
        Err(mistakes) => mistakes.to_string(),
    }
}

/// Compares what came of `app.yaml` with what is expected.
#[track_caller]
pub fn check(text: &str, expected: &str) {
    compare(&render(&read(text)), expected);
}

/// Compares what came of several files.
#[track_caller]
pub fn check_all(texts: &[&str], expected: &str) {
    compare(&render(&read_all(texts)), expected);
}

#[track_caller]
pub fn compare(actual: &str, expected: &str) {
    let expected = expected.trim_matches('\n').trim_end();
    assert!(actual.trim_end() == expected, "is\n{actual}\n\nbut should be\n{expected}\n");
}

/// The app of a file that has no mistake.
#[track_caller]
pub fn app(text: &str) -> AppFile {
    match read(text) {
        Ok(Parsed::App(app)) => *app,
        other => panic!("no app but\n{}", render(&other)),
    }
}

/// The same app with each image locked to a digest made from its name.
#[track_caller]
pub fn spec(text: &str) -> AppSpec {
    let app = app(text);
    let lock = |(name, service): (&String, &scheduler::app::ServiceFile)| (name.clone(), locked(name, service.origin.typed()));
    let images: BTreeMap<String, Locked> = app.services.iter().map(lock).collect();
    app.lock(images).expect("every service is locked")
}

/// A digest that differs with what was typed.
pub fn locked(name: &str, typed: &str) -> Locked {
    let sum = typed.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Locked { image: format!("{name}@sha256:{sum:016x}{:048}", 0), typed: typed.into() }
}

fn show(app: &AppFile) -> String {
    let mut out = format!("app {}", app.name);
    if let Some(namespace) = &app.namespace {
        let _ = write!(out, " in {namespace}");
    }
    for (name, value) in &app.env {
        let _ = write!(out, "\nenv {name}={value:?}");
    }
    for (name, service) in &app.services {
        let origin = match &service.origin {
            Origin::Reference(image) => format!("image {image}"),
            Origin::File(file) => format!("file {file}"),
            Origin::Files(folder) => format!("files {folder}"),
            Origin::Build(build) => format!("build {}", build.path),
        };
        let _ = write!(out, "\n{name}: {origin}");
        let (usual, own) = (serde_json::to_value(scheduler::app::Settings::default()), serde_json::to_value(&service.settings));
        unusual("", &usual.expect("settings are JSON"), &own.expect("settings are JSON"), &mut out);
    }
    let usual = serde_json::to_value(scheduler::app::Rollout::default()).expect("a rollout is JSON");
    unusual("rollout.", &usual, &serde_json::to_value(&app.rollout).expect("a rollout is JSON"), &mut out);
    out
}

/// One line for each value that differs from what is usual.
fn unusual(prefix: &str, usual: &Value, own: &Value, out: &mut String) {
    let Value::Object(own) = own else { return };
    for (key, value) in own {
        match (usual.get(key), value) {
            (Some(usual), value) if usual == value => {}
            (usual, Value::Object(_)) => unusual(&format!("{prefix}{key}."), usual.unwrap_or(&Value::Null), value, out),
            (_, value) => {
                let _ = write!(out, "\n  {prefix}{key} {value}");
            }
        }
    }
}
