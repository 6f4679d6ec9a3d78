//! Buckets in Debian's Redis instead of a file of the node. Skipped with a word where it is missing, unless WCTL_REQUIRE_TOOLS=1.
#![cfg(unix)]

mod common;
#[path = "../../runtime/tests/sandbox/guests.rs"]
mod guests;

use std::process::{Child, Command, Stdio};

use common::Machine;

struct Redis {
    child: Child,
    folder: tempfile::TempDir,
}

impl Redis {
    fn start() -> Option<Redis> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--requirepass", "hush-4471", "--unixsocket"]).arg(folder.path().join("socket"));
        let started = command.stdout(Stdio::null()).spawn();
        let required = std::env::var_os("WCTL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        match started {
            Ok(child) => Some(Redis { child, folder }),
            Err(error) if required => panic!("redis-server is required: {error}"),
            Err(error) => {
                eprintln!("redis-server is missing ({error}): not tested");
                None
            }
        }
    }

    fn url(&self) -> String {
        format!("redis+unix://{}?pass=hush-4471", self.folder.path().join("socket").display())
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tokio::test]
async fn what_an_app_keeps_in_redis_is_there_on_another_machine() {
    let Some(mut redis) = Redis::start() else { return };
    let files = tempfile::tempdir().unwrap();
    let wasm = files.path().join("guest.wasm");
    std::fs::write(&wasm, guests::wasm("hostile")).unwrap();
    let app = format!("app: kept\nimage: {}\nroute: kept.localhost\nuses: {{ keyvalue: [b] }}\n", wasm.display());
    let up = || {
        let machine = Machine::up_with(&[("WCTL_KEYVALUE", &redis.url())]);
        machine.deploy(&app);
        machine
    };
    let first = up();
    assert_eq!(first.get("kept.localhost", "/keyvalue?set|b|k|v").await.1, "Ok(())");
    assert_eq!(first.get("kept.localhost", "/keyvalue?increment|b|n|5").await.1, "Ok(5)");
    assert_eq!(first.get("kept.localhost", "/keyvalue?get|other|k").await.1, "Error::AccessDenied");
    assert!(!first.data.join("node/keyvalue").exists(), "no file of its own");
    let second = up();
    assert_eq!(second.get("kept.localhost", "/keyvalue?get|b|k").await.1, "Ok(Some(\"v\"))");
    assert_eq!(second.get("kept.localhost", "/keyvalue?increment|b|n|5").await.1, "Ok(10)");
    assert_eq!(first.get("kept.localhost", "/keyvalue?increment|b|n|1").await.1, "Ok(11)");
    second.ok(&["delete", "app", "kept", "--with-data"]);
    assert_eq!(first.get("kept.localhost", "/keyvalue?get|b|k").await.1, "Ok(None)");
    redis.stop();
    let (status, told) = first.get("kept.localhost", "/keyvalue?get|b|k").await;
    assert!(status == 200 && told.contains("the key-value store cannot be reached"), "{status} {told}");
    // The host's log says what is wrong, without the password.
    first.prints("Redis, which keeps the buckets, failed");
    assert!(!first.everything().contains("hush-4471"), "{}", first.everything());
}

#[test]
fn an_address_that_is_none_is_refused_and_one_that_does_not_answer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = common::wctl();
    command.arg("--data").arg(folder.path()).args([
        "--api",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "up",
        "--keyvalue",
        "http://a.example",
    ]);
    let output = command.output().unwrap();
    common::ended(&output, 1);
    let sentence = common::one_sentence(&output);
    assert!(sentence.contains("--keyvalue") && sentence.contains("redis://HOST:PORT"), "{sentence}");
    let socket = folder.path().join("nobody");
    let machine = Machine::up_with(&[("WCTL_KEYVALUE", &format!("redis+unix://{}", socket.display()))]);
    machine.prints("does not answer");
}
