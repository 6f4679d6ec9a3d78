//! The same greeting in Rust, JavaScript, Python and C, built with each language's own tools and served as one app. Skipped with a word where
//! the tools are missing, unless WCTL_REQUIRE_TOOLS=1.

mod common;

use std::path::{Path, PathBuf};

use common::{Machine, ended, example, stderr, wctl};

const LANGUAGES: [(&str, &str); 4] = [("rust", "Rust"), ("js", "JavaScript"), ("py", "Python"), ("c", "C")];

/// Whether what the four languages need is here.
fn have_tools() -> bool {
    let present = |program: &str| std::process::Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    let mut missing: Vec<&str> = ["cargo", "npm", "node", "python3", "make"].into_iter().filter(|program| !present(program)).collect();
    if !present("clang-19") && !present("clang") {
        missing.push("clang");
    }
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("WCTL_REQUIRE_TOOLS").is_none_or(|value| value != "1"),
        "{missing:?} are required; scripts/setup installs them"
    );
    println!("skipped: {missing:?} are not installed");
    false
}

/// A copy of the example under the target folder, where packages and bindings outlive a checkout; only what differs is written.
fn copy() -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("polyglot");
    synchronise(&example("polyglot"), &to);
    to
}

fn synchronise(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            // What builds leave beside the sources is not theirs.
            if !["build", "node_modules", "target", "__pycache__"].iter().any(|made| name == *made) {
                synchronise(&path, &to.join(name));
            }
        } else if std::fs::read(&path).unwrap() != std::fs::read(to.join(&name)).unwrap_or_default() {
            std::fs::write(to.join(&name), std::fs::read(&path).unwrap()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_languages_greet_alike() {
    if !have_tools() {
        return;
    }
    let folder = copy();
    // One folder alone builds too, and says where its component is.
    let output = wctl().arg("build").arg(folder.join("c")).args(["-o", "json"]).output().unwrap();
    ended(&output, 0);
    let built: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = Path::new(built["services"][0]["file"].as_str().unwrap()).to_owned();
    assert!(file.ends_with("c/build/greet.wasm") && built["services"][0]["service"] == "c", "{built}\n{}", stderr(&output));

    let machine = Machine::up(&[&folder.join("app.yaml")]);
    machine.prints("app polyglot is ready");
    for (service, language) in LANGUAGES {
        let answer = machine.get("polyglot.localhost", &format!("/{service}")).await;
        assert_eq!(answer, (200, format!("Hello from {language}!\n")), "{}", machine.everything());
    }
    let status = machine.json(&["status", "polyglot"]);
    for (service, _) in LANGUAGES {
        assert_eq!(status["status"]["services"][service]["ready"], 1, "{status:#}");
    }
}
