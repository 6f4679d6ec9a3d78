//! A full disk: one sentence, and all is well once there is room again. On a small disk of its own (Linux); skipped with a word where none can
//! be mounted, unless WCTL_REQUIRE_TOOLS=1.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Machine, ended, one_sentence, stderr, stdout, wctl};

const DISK: &str = "WCTL_TEST_SMALL_DISK";

/// Runs itself again in namespaces of its own.
#[test]
fn r20_a_full_disk_is_one_sentence_and_no_harm() {
    if let Some(disk) = std::env::var_os(DISK) {
        return on(Path::new(&disk));
    }
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=8m tmpfs "$0" || exit 77; exec "$1" --exact r20_a_full_disk_is_one_sentence_and_no_harm"#;
    let mut again = std::process::Command::new("unshare");
    again.args(["-rm", "sh", "-c", script]).arg(folder.path()).arg(std::env::current_exe().unwrap()).env(DISK, folder.path());
    match again.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) if done.status.code() == Some(101) => panic!("{}{}", stdout(&done), stderr(&done)),
        _ if std::env::var_os("WCTL_REQUIRE_TOOLS").is_some_and(|value| value == "1") => panic!("unshare and mount are required"),
        _ => println!("skipped: no small disk can be mounted here (unshare -rm)"),
    }
}

fn on(disk: &Path) {
    let data = disk.join("data");
    let filler = disk.join("filler");
    let full = || {
        // As far as there is room: files can still be made, but not filled.
        std::fs::write(&filler, vec![1; 16 << 20]).unwrap_err();
    };
    let verb = |args: &[&str]| {
        wctl().arg("--data").arg(&data).args(["--api", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(args).output().unwrap()
    };
    full();
    for args in [&["up"][..], &["up", "-d"], &["server"]] {
        let output = verb(args);
        ended(&output, 1);
        let sentence = one_sentence(&output);
        assert!(sentence.contains("No space left") && sentence.contains("free some space"), "{args:?}: {sentence}");
        assert!(!data.join("run.json").exists());
    }
    // With room again, what was begun is no obstacle.
    std::fs::remove_file(&filler).unwrap();
    let mut machine = Machine::on(&data, &[]);
    machine.prints("nothing is deployed yet");
    machine.ok(&["get", "nodes"]);

    // Full while it runs: what cannot be kept is refused, what is there can be read, and writing goes on with the room.
    let image = common::component("hello");
    full();
    let output = machine.command(&["push", image.to_str().unwrap(), "hello:1"]).output().unwrap();
    ended(&output, 1);
    assert!(one_sentence(&output).contains("full") || one_sentence(&output).contains("No space left"), "{}", stderr(&output));
    machine.ok(&["get", "nodes"]);
    refuses_a_write(&machine);
    std::fs::remove_file(&filler).unwrap();
    machine.ok(&["push", image.to_str().unwrap(), "hello:1"]);
    machine.down();
}

/// The store has room for some writes in its own file; the first that it has none for is refused, at once and in words.
fn refuses_a_write(machine: &Machine) {
    // Not on the full disk.
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("config.yaml");
    for n in 0..1000 {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\ndata: {{a: {}}}\n", "x".repeat(100_000));
        std::fs::write(&manifest, text).unwrap();
        let since = Instant::now();
        let output = machine.command(&["deploy", manifest.to_str().unwrap()]).output().unwrap();
        assert!(since.elapsed() < Duration::from_secs(20), "it took {:?}", since.elapsed());
        if !output.status.success() {
            ended(&output, 1);
            return assert!(one_sentence(&output).contains("free some space"), "{}", stderr(&output));
        }
    }
    panic!("a full disk took everything");
}
