//! `wctl run`: one component, no cluster.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{component, ended, stderr, stdout, teller, wctl};

fn run(args: &[&str]) -> std::process::Output {
    let home = tempfile::tempdir().unwrap();
    let mut command_line = wctl();
    command_line.arg("--data").arg(home.path()).arg("run").args(args);
    command_line.output().unwrap()
}

#[test]
fn a_command_gets_args_env_dirs_and_gives_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note"), "from outside").unwrap();
    let dir = format!("{}::/shared", folder.path().display());
    let teller = teller().to_str().unwrap();
    let output = run(&["--env", "A=1", "--dir", &dir, teller, "args", "-x", "--flag"]);
    ended(&output, 0);
    assert!(stdout(&output).contains("[\"args\", \"-x\", \"--flag\"]"), "{}", stdout(&output));
    let output = run(&["--env", "A=1", teller, "env"]);
    assert_eq!(stdout(&output), "A=1\n", "h31: nothing that was not given");
    let output = run(&["--dir", &dir, teller, "read", "/shared/note"]);
    ended(&output, 0);
    assert!(stdout(&output).contains("from outside"));
    let output = run(&[teller, "read", "/shared/note"]);
    ended(&output, 1);
    assert!(stderr(&output).contains("teller: "), "{}", stderr(&output));
    // Rust's std says no more than success or failure through WASI 0.2.
    ended(&run(&[teller, "exit", "7"]), 1);
    ended(&run(&[teller, "exit", "0"]), 0);
    let output = run(&[teller, "trap"]);
    ended(&output, 1);
    assert!(stderr(&output).contains("trap"), "{}", stderr(&output));
    ended(&run(&["--dir", "/nowhere::/x", teller, "args"]), 1);
    ended(&run(&["--memory", "lots", teller, "args"]), 2);
    ended(&run(&["--allow", "nonsense", teller, "args"]), 2);
    ended(&run(&["--listen", "80", teller, "args"]), 2);
}

#[test]
fn a_core_module_of_wasi_0_1_runs_with_its_output_and_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let module = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let says_and_exits = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\08\00\00\00\03\00\00\00hi\0a")
        (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))) (call $exit (i32.const 33))))"#;
    let output = run(&[&module("exits.wasm", says_and_exits)]);
    ended(&output, 33);
    assert_eq!(stdout(&output), "hi\n");
    ended(&run(&[&module("ends.wasm", "(module (memory (export \"memory\") 1) (func (export \"_start\")))")]), 0);
    let output = run(&[&module("odd.wasm", "(module (import \"env\" \"f\" (func)) (func (export \"_start\")))")]);
    ended(&output, 1);
    assert!(stderr(&output).contains("only commands of WASI 0.1"), "{}", stderr(&output));
}

#[test]
fn a_command_reads_our_stdin() {
    use std::io::Write;
    let home = tempfile::tempdir().unwrap();
    let mut command_line = wctl();
    command_line.arg("--data").arg(home.path()).arg("run").arg(teller()).arg("upper");
    let mut child = command_line.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"shout\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "SHOUT\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_answers_until_it_is_stopped() {
    let home = tempfile::tempdir().unwrap();
    let mut command_line = wctl();
    command_line.arg("--data").arg(home.path()).args(["--http", "127.0.0.1:0", "run"]).arg(component("hello"));
    let mut child = command_line.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let answer = common::client().get(&url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "Hello from wctl!\n"));
    child.kill().unwrap();
    child.wait().unwrap();
}
