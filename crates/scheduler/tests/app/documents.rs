//! The JSON Schema and the reference for users say what the reader does. `UPDATE=1` rewrites what is made from the code.

use std::path::PathBuf;

use scheduler::app::{keys, schema};
use serde_json::Value;

use crate::support::{read, render};

fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Compares a document with what it should hold, or writes that.
#[track_caller]
fn holds(name: &str, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(document(name), expected).expect("the document can be written");
    }
    let actual = std::fs::read_to_string(document(name)).expect("the document can be read").replace("\r\n", "\n");
    assert!(
        actual == expected,
        "docs/{name} is not what the code says: run `UPDATE=1 cargo test -p scheduler --test app` and look at the difference"
    );
}

#[test]
fn the_published_schema_is_the_one_of_the_code() {
    holds("app.schema.json", &format!("{:#}\n", schema()));
}

#[test]
fn the_reference_has_every_key() {
    const START: &str = "<!-- keys: made from the code, see crates/scheduler/tests/app/documents.rs -->\n";
    const END: &str = "<!-- end of keys -->";
    let text = std::fs::read_to_string(document("app-yaml.md")).expect("the reference can be read").replace("\r\n", "\n");
    let (before, rest) = text.split_once(START).expect("the reference has the start of its table");
    let (_, after) = rest.split_once(END).expect("the reference has the end of its table");
    let mut table = String::from("| key | value | default | |\n|---|---|---|---|\n");
    for line in keys::lines() {
        let default = if line.required {
            "must be given"
        } else if line.default.is_empty() {
            "–"
        } else {
            line.default
        };
        let later = if line.later { " *Not yet.*" } else { "" };
        table.push_str(&format!("| `{}` | {} | {default} | {}{later} |\n", line.path, line.form, line.about));
    }
    holds("app-yaml.md", &format!("{before}{START}{table}{END}{after}"));
}

#[test]
fn every_example_of_the_reference_is_read() {
    let text = std::fs::read_to_string(document("app-yaml.md")).expect("the reference can be read");
    let examples: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 3);
    for example in examples {
        let parsed = read(example);
        assert!(matches!(parsed, Ok(scheduler::app::Parsed::App(_))), "{example}\n{}", render(&parsed));
        assert_eq!(valid(example), Ok(()), "{example}");
    }
}

#[test]
fn the_examples_of_the_repository_are_read() {
    let examples = document("../examples");
    for entry in std::fs::read_dir(examples).expect("there are examples").flatten() {
        if let Ok(bytes) = std::fs::read(entry.path().join("app.yaml")) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let parsed = read(bytes);
            assert!(matches!(parsed, Ok(scheduler::app::Parsed::App(_))), "{}\n{}", entry.path().display(), render(&parsed));
            assert_eq!(valid(&text), Ok(()), "{}", entry.path().display());
        }
    }
}

/// Whether an editor with the schema would accept the file.
fn valid(yaml: &str) -> Result<(), String> {
    let value: Value = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("app.json", schema()).map_err(|error| error.to_string())?;
    let index = compiler.compile("app.json", &mut schemas).map_err(|error| error.to_string())?;
    schemas.validate(&value, index).map_err(|error| error.to_string())
}

#[test]
fn the_schema_accepts_and_refuses_what_the_reader_does() {
    let design = include_str!("design.yaml");
    assert!(matches!(read(design), Ok(scheduler::app::Parsed::App(_))), "{}", render(&read(design)));
    assert_eq!(valid(design), Ok(()));
    for good in [
        "app: hello\nimage: ./a.wasm\n",
        "app: hello\nbuild: .\nreplicas: ${COUNT}\nlimits: { memory: 67108864, cpu: 2 }\nenv: { A: 1, B: no }\n",
        "app: hello\nbuild: { path: ., command: make, output: a.wasm }\nroute: [a.example, { path: /x }]\nuses:\n",
        "app: hello\nservices: { a: { image: x }, b: { image: y, probe: { path: /h } } }\nrollout: { surge: 25%, unavailable: 1 }\n",
    ] {
        assert!(read(good).is_ok(), "{good}\n{}", render(&read(good)));
        assert_eq!(valid(good), Ok(()), "{good}");
    }
    for bad in [
        "image: ./a.wasm\n",
        "app: hello\n",
        "app: Hello\nimage: ./a.wasm\n",
        "app: hello\nimage: ./a.wasm\nbuild: .\n",
        "app: hello\nimage: ./a.wasm\nreplcas: 2\n",
        "app: hello\nimage: ./a.wasm\nreplicas: -1\n",
        "app: hello\nimage: ./a.wasm\nreplicas: \"3\"\n",
        "app: hello\nimage: ./a.wasm\nlimits: { memory: 64MB }\n",
        "app: hello\nimage: ./a.wasm\nlimits: { time: 5 }\n",
        "app: hello\nimage: ./a.wasm\nprobe: {}\n",
        "app: hello\nimage: ./a.wasm\nuses: { connect: [a.example] }\n",
        "app: hello\nimage: ./a.wasm\nenv: [A]\n",
        "app: hello\nimage: ./a.wasm\nservices: { a: { image: x } }\n",
        "app: hello\nservices: {}\n",
        "app: hello\nservices: { a: {} }\n",
        "app: hello\nservices: { A: { image: x } }\n",
    ] {
        assert!(read(bad).is_err(), "{bad}");
        assert!(valid(bad).is_err(), "{bad}");
    }
}
