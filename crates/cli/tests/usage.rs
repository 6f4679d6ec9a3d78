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
    ] {
        let output = run(args);
        // Verbs that talk to a server first fail with 1, because there is none.
        let talks = matches!(args[0], "logs");
        ended(&output, if talks { 1 } else { 2 });
        assert!(!stderr(&output).contains("panicked"));
    }
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
        (&["deploy", "nowhere.yaml"], "nowhere.yaml"),
        (&["deploy", "."], "folder"),
    ] {
        let output = run(args);
        ended(&output, 1);
        let sentence = one_sentence(&output);
        assert!(sentence.contains(word), "{args:?}: {sentence}");
    }
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
fn a_reader_that_leaves_is_no_failure() {
    let mut child =
        wctl().args(["completion", "zsh"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}
