//! Exit codes, and bad input that needs no server.

mod common;

use common::{ended, one_sentence, stderr, stdout, wctl};

fn run(args: &[&str]) -> std::process::Output {
    let home = tempfile::tempdir().unwrap();
    wctl().arg("--data").arg(home.path().join("data")).args(args).current_dir(home.path()).output().unwrap()
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    for args in [
        &["nonsense"][..],
        &["up", "--nonsense"],
        &["scale", "a"],
        &["scale", "a", "--replicas", "-1"],
        &["scale", "a", "--replicas", "1.5"],
        &["scale", "/", "--replicas", "1"],
        &["--http", "nowhere", "up"],
        &["deploy", "--timeout", "soon", "app.yaml"],
        &["deploy"],
        &["completion", "nonsense"],
        &["new", "Bad Name"],
        &["new", "x", "--lang", "cobol"],
        &["pull", "Bad Reference"],
        &["logs", "a/b/c"],
        &["secret", "set", "../x"],
        &["run", "hello.wasm", "--memory"],
        &["node", "--join", "http://127.0.0.1:1", "--token", "x"],
        &["node", "--join", "https://127.0.0.1:1"],
        &["node", "--token", "x"],
        &["node", "--label", "nonsense"],
        &["get"],
        &["get", "pods", "-o", "xml"],
        &["delete"],
        &["secret", "set", "X", "--value", "x"],
        &["login", "127.0.0.1:1"],
        &["build", "--nonsense"],
    ] {
        let output = run(args);
        // Verbs that talk to a server first fail with 1, because there is none.
        let talks = matches!(args[0], "logs");
        ended(&output, if talks { 1 } else { 2 });
        assert!(!stderr(&output).contains("panicked"));
    }
    // A variable that is empty is none, and hidden verbs are offered to nobody.
    let home = tempfile::tempdir().unwrap();
    let output = wctl().env("WCTL_DATA", "").env("WCTL_API", "").env("HOME", home.path()).args(["get", "pods"]).output().unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("there is no server yet"), "{}", stderr(&output));
    let output = wctl().env("WCTL_DATA", home.path()).env("WCTL_API", "nowhere").args(["get", "pods"]).output().unwrap();
    ended(&output, 2);
    assert!(one_sentence(&output).contains("WCTL_API"), "{}", stderr(&output));
    let output = wctl().env("WCTL_DATA", home.path()).output().unwrap();
    ended(&output, 2);
    assert!(stderr(&output).contains("rollout") && !stderr(&output).contains("compile-child"), "{}", stderr(&output));
    for args in [&["--help"][..], &["--version"], &["deploy", "--help"], &["completion", "bash"]] {
        let output = run(args);
        ended(&output, 0);
        assert!(!stdout(&output).is_empty());
    }
}

#[test]
fn without_a_server_each_verb_says_what_to_do() {
    for args in [
        &["get", "pods"][..],
        &["status"],
        &["describe", "app", "x"],
        &["logs", "x"],
        &["events"],
        &["scale", "x", "--replicas", "1"],
        &["secret", "list"],
        &["rollout", "history", "x"],
        &["delete", "app", "x"],
        &["ps"],
        &["images"],
        &["prune"],
        &["pull", "hello:1"],
        &["node"],
    ] {
        let output = run(args);
        ended(&output, 1);
        let sentence = one_sentence(&output);
        assert!(sentence.contains("wctl up"), "{args:?}: {sentence}");
    }
    let output = run(&["down"]);
    ended(&output, 0);
    assert!(stdout(&output).contains("nothing runs"));
}

#[test]
fn missing_and_wrong_files_are_one_sentence() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let text = at("text.wasm", b"(module)");
    let empty = at("empty.wasm", b"");
    let core = at("core.wasm", b"\0asm\x01\0\0\0");
    let junk = at("junk.wasm", b"junk that is no wasm at all");
    let (blank, binary) = (at("blank.yaml", b""), at("binary.yaml", b"app: \xff\xfe\0"));
    let kinds = at("kinds.yaml", b"apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: { name: x }\n");
    let daemons = at("daemons.yaml", b"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: { name: x }\n");
    let compose = at("compose.yaml", b"services:\n  web: { image: nginx }\n");
    let gone = at("gone.yaml", b"app: x\nimage: ./nowhere.wasm\n");
    let core_app = at("core.yaml", b"app: x\nimage: ./core.wasm\n");
    std::fs::create_dir(home.path().join("folder.wasm")).unwrap();
    let dir = at("dir.yaml", b"app: x\nimage: ./folder.wasm\n");
    for (args, word) in [
        (&["inspect", "nowhere.wasm"][..], "no file"),
        (&["inspect", &text], "text"),
        (&["inspect", &empty], "empty"),
        (&["inspect", &core], "core"),
        (&["inspect", &junk], "junk.wasm"),
        (&["run", "nowhere.wasm"], "no file"),
        (&["run", &core], "core"),
        (&["push", "nowhere.wasm", "hello:1"], "nowhere.wasm"),
        (&["up", "nowhere.yaml"], "nowhere.yaml"),
        (&["deploy", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (&["deploy", "."], "folder"),
        (&["up", "."], "folder"),
        (&["up", &core], "is WebAssembly, not an app file"),
        (&["deploy", &core], "is WebAssembly, not an app file"),
        (&["diff", &blank], "holds nothing"),
        (&["up", &blank], "holds nothing"),
        (&["up", &binary], "not UTF-8"),
        (&["up", &kinds], "no kind PodDisruptionBudget of policy/v1, so nothing was applied; it takes App, Deployment"),
        (&["up", &daemons], "deploy a Deployment with a replica for each node"),
        (&["up", &compose], "is a Compose file"),
        (&["build", &gone], "there is no file"),
        (&["build", &dir], "is a folder, not a component"),
        (&["build", &core_app], "this is a core WebAssembly module, not a component"),
        (&["build", "."], "no Cargo.toml, package.json, pyproject.toml or Makefile"),
        (&["build", "nowhere"], "there is no file nowhere"),
    ] {
        let output = run(args);
        ended(&output, 1);
        let sentence = one_sentence(&output);
        assert!(sentence.contains(word), "{args:?}: {sentence}");
    }
}

#[test]
fn all_missing_components_are_told_before_anything_starts() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("t.yaml");
    std::fs::write(&file, "app: t\nservices:\n  a: { image: ./a.wasm }\n  b: { build: ./b }\n").unwrap();
    let data = home.path().join("data");
    for verb in ["up", "deploy", "diff", "build"] {
        let output = wctl().arg("--data").arg(&data).arg(verb).arg(&file).output().unwrap();
        ended(&output, 1);
        let text = stderr(&output);
        assert!(text.contains("t.yaml:3:15: there is no file") && text.contains("t.yaml:4:15: the folder to build for b"), "{text}");
        assert!(text.contains("  3 |   a: { image: ./a.wasm }"), "{text}");
    }
    // Broken ones too, and with a mistyped key beside them.
    std::fs::write(home.path().join("a.wasm"), b"\0asm\x01\0\0\0").unwrap();
    std::fs::write(home.path().join("c.wasm"), b"\0asm\x0d\0\x01\0junk").unwrap();
    std::fs::create_dir(home.path().join("b")).unwrap();
    let services = "app: t\nservices:\n  a: { image: ./a.wasm }\n  c: { image: ./c.wasm }\n";
    std::fs::write(&file, services).unwrap();
    let built = |told: &[&str]| {
        let output = wctl().arg("build").arg(&file).output().unwrap();
        ended(&output, 1);
        let text = stderr(&output);
        assert!(told.iter().all(|told| text.contains(told)), "{text}");
    };
    built(&["t.yaml:3:15: ", "core WebAssembly module", "t.yaml:4:15: ", "the component is damaged at byte"]);
    std::fs::write(&file, format!("{services}  d: {{ build: ./nowhere, replcas: 1 }}\n")).unwrap();
    built(&["t.yaml:3:15: ", "t.yaml:4:15: ", "t.yaml:5:15: the folder", "t.yaml:5:26: "]);
    assert!(!data.exists(), "nothing is half done");
}

#[test]
fn results_are_json_for_programs() {
    let home = tempfile::tempdir().unwrap();
    let json = |args: &[&str]| -> serde_json::Value {
        let output =
            wctl().arg("--data").arg(home.path().join("data")).args(args).args(["-o", "json"]).current_dir(home.path()).output().unwrap();
        ended(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(json(&["new", "greeter"])["app"], "greeter");
    assert_eq!(json(&["down"])["stopped"], serde_json::json!([]));
    // Every verb has a way to be read by programs, but for those that pass on what others print.
    for verb in [
        &["scale"][..],
        &["rollout", "status"],
        &["rollout", "undo"],
        &["rollout", "restart"],
        &["rollout", "history"],
        &["delete"],
        &["logs"],
        &["pull"],
        &["push"],
        &["secret", "set"],
        &["secret", "rm"],
        &["secret", "list"],
        &["login"],
        &["up"],
        &["down"],
        &["new"],
        &["server"],
        &["node"],
        &["build"],
        &["inspect"],
        &["deploy"],
        &["diff"],
        &["get"],
        &["describe"],
        &["status"],
        &["events"],
        &["prune"],
        &["images"],
        &["ps"],
    ] {
        let output = run(&[verb, &["--help"]].concat());
        ended(&output, 0);
        let help = stdout(&output);
        assert!(help.contains("--output <FORMAT>"), "{verb:?}: {help}");
        assert_eq!(help.contains("Kubernetes manifests"), verb == ["deploy"], "{verb:?}: {help}");
    }
    assert!(stdout(&run(&["delete", "--help"])).contains("Wait until they are gone"));
}

#[test]
fn m4_all_mistakes_of_a_file_are_told_before_anything_starts() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("app.yaml");
    std::fs::write(&file, "app: hello\nimage: ./hello.wasm\nreplica: 3\nlimits: { memry: 64Mi }\n").unwrap();
    let data = home.path().join("data");
    let output = wctl().arg("--data").arg(&data).arg("up").arg(&file).output().unwrap();
    ended(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("replicas") && text.contains("memory") && text.contains("app.yaml:3"), "{text}");
    assert!(!data.exists(), "nothing is half done");
}

#[test]
fn a_port_in_use_is_one_sentence_and_leaves_nothing_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    for (option, other) in [("--api", "--http"), ("--http", "--api")] {
        let output = wctl().arg("--data").arg(&data).args([option, &address, other, "127.0.0.1:0", "up"]).output().unwrap();
        ended(&output, 1);
        let sentence = one_sentence(&output);
        assert!(sentence.contains("in use") && sentence.contains(option), "{sentence}");
        assert!(!data.exists());
    }
}

#[test]
fn a_data_folder_that_cannot_be_made_is_one_sentence() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output =
        wctl().arg("--data").arg(file.join("data")).args(["--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "up"]).output().unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("--data"));
}

#[test]
fn missing_toolchains_are_named_with_where_to_get_them() {
    for (name, content, tool) in [
        ("Cargo.toml", "[package]\nname = \"x\"\nversion = \"0.1.0\"\n", "rustup"),
        ("package.json", "{\"scripts\": {\"build\": \"true\"}}", "nodejs.org"),
        ("Makefile", "all:\n", "install make"),
    ] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(name), content).unwrap();
        std::fs::write(home.path().join("app.yaml"), "app: x\nbuild: .\n").unwrap();
        let output = wctl().arg("build").current_dir(home.path()).env("PATH", home.path()).output().unwrap();
        ended(&output, 1);
        let sentence = one_sentence(&output);
        assert!(sentence.contains(tool), "{sentence}");
    }
}

/// A folder for `PATH` that holds a shell and these programs alone: scripts, or links to the real ones.
#[cfg(unix)]
fn programs(there: &[(&str, &str)]) -> tempfile::TempDir {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in [("sh", "")].iter().chain(there) {
        let path = folder.path().join(name);
        if script.is_empty() {
            let real = std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|dir| dir.join(name)).find(|real| real.is_file());
            symlink(real.unwrap(), path).unwrap();
        } else {
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    folder
}

#[cfg(unix)]
#[test]
fn a_rust_without_the_target_says_where_to_get_it() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("Cargo.toml"), "[package]\nname = \"x\"\nversion = \"0.1.0\"\n").unwrap();
    let build = |there: &[(&str, &str)]| {
        let path = programs(there);
        let output = wctl().args(["build", "."]).current_dir(home.path()).env("PATH", path.path()).output().unwrap();
        ended(&output, 1);
        (one_sentence(&output), stderr(&output))
    };
    // Rust as a distribution packs it: there is no rustup to add the target with.
    let (sentence, _) = build(&[("rustc", "echo /nowhere/lib"), ("cargo", "exit 0")]);
    assert!(sentence.contains("wasm32-wasip2 is missing") && sentence.contains("https://rustup.rs"), "{sentence}");
    // With rustup it is added, and what rustup says is passed on when it cannot.
    let (sentence, all) = build(&[("rustc", "echo /nowhere/lib"), ("cargo", "exit 0"), ("rustup", "echo no network >&2; exit 1")]);
    assert!(sentence.contains("`rustup target add wasm32-wasip2` ended with exit code 1") && all.contains("no network"), "{all}");
    let (sentence, _) = build(&[("cargo", "exit 0")]);
    assert!(sentence.contains("no `rustc` here") && sentence.contains("https://rustup.rs"), "{sentence}");
}

#[cfg(unix)]
#[test]
fn a_makefile_that_misses_a_tool_is_named_with_what_make_said() {
    if std::process::Command::new("make").arg("--version").output().is_err() {
        return println!("skipped: make is not installed");
    }
    let home = tempfile::tempdir().unwrap();
    // Not in the source tree, where a build may have left its result.
    for file in ["c/Makefile", "c/greet.c"] {
        let to = home.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(common::example("polyglot").join(file), to).unwrap();
    }
    let path = programs(&[("make", "")]);
    let output = wctl().args(["build", "c"]).current_dir(home.path()).env("PATH", path.path()).output().unwrap();
    ended(&output, 1);
    let sentence = one_sentence(&output);
    assert!(sentence.contains("building c: `make` ended with exit code 2"), "{sentence}");
    assert!(stderr(&output).contains("there is no clang here; install one with wasi-libc"), "{}", stderr(&output));
}

#[test]
fn a_folder_without_a_build_system_says_how_to_name_one() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("app.yaml"), "app: x\nbuild: .\n").unwrap();
    let output = wctl().args(["build", "app.yaml"]).current_dir(home.path()).output().unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("{path, command, output}"));
}

#[test]
fn new_makes_a_folder_once() {
    let home = tempfile::tempdir().unwrap();
    let output = wctl().args(["new", "greeter"]).current_dir(home.path()).output().unwrap();
    ended(&output, 0);
    assert!(home.path().join("greeter/src/main.rs").is_file() && home.path().join("greeter/app.yaml").is_file());
    let output = wctl().args(["new", "greeter"]).current_dir(home.path()).output().unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("already"));
}

#[test]
fn every_shell_has_its_completion() {
    for (shell, word) in
        [("bash", "-F _wctl"), ("zsh", "#compdef wctl"), ("fish", "complete -c wctl"), ("powershell", "Register-ArgumentCompleter")]
    {
        let output = run(&["completion", shell]);
        ended(&output, 0);
        let script = stdout(&output);
        assert!(script.contains(word), "{shell}: {script}");
        assert!(script.contains("rollout") && !script.contains("compile-child"), "{shell}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child =
        wctl().args(["completion", "zsh"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}
