//! The examples that are no shop: hello answers, crashy fails on demand and is healed; what `wctl new` makes is one more.

mod common;

use common::{Machine, ended, example, wctl};
use reqwest::Method;
use serde_json::Value;

fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_is_built_deployed_and_answers_from_three_pods() {
    let machine = Machine::up(&[&example("hello").join("app.yaml")]);
    machine.prints("app hello is ready");
    machine.prints("curl -H 'Host: hello.localhost'");
    assert_eq!(machine.get("hello.localhost", "/").await, (200, "Hello from wctl!\n".into()));
    let pods = machine.json(&["get", "pods", "-l", "wctl.dev/app=hello"]);
    assert_eq!(pods["items"].as_array().unwrap().len(), 3, "{pods:#}");
    // The folder builds alone too.
    let output = wctl().arg("build").arg(example("hello")).args(["-o", "name"]).output().unwrap();
    ended(&output, 0);
    assert_eq!(output.stdout, b"hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_and_a_loop_are_the_failure_of_one_request_alone() {
    let machine = Machine::up(&[&example("crashy").join("app.yaml")]);
    machine.prints("app crashy is ready");
    let host = "crashy.localhost";
    let (status, name) = machine.get(host, "/").await;
    let pods = machine.json(&["get", "pods"]);
    let known = pods["items"].as_array().unwrap().iter().any(|pod| pod["metadata"]["name"] == name.trim());
    assert!(status == 200 && known, "its pod's name: {status} {name}");
    assert_eq!(machine.ask(Method::POST, host, "/crash", None).await.0, 500);
    // A loop ends at the limit of two seconds, and meanwhile the others are served.
    let (looped, others) = tokio::join!(machine.ask(Method::POST, host, "/loop", None), async {
        let mut statuses = Vec::new();
        for _ in 0..30 {
            statuses.push(machine.get(host, "/").await.0);
        }
        statuses
    });
    assert_eq!(looped.0, 504, "{}", looped.1);
    assert!(others.iter().all(|status| *status == 200), "{others:?}\n{}", machine.everything());
    let pods = machine.json(&["get", "pods"]);
    assert!(pods["items"].as_array().unwrap().iter().all(|pod| restarts(pod) == 0), "one trap or one loop ends no instance: {pods:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_are_healed_and_explained() {
    let machine = Machine::up(&[&example("crashy").join("app.yaml")]);
    machine.prints("app crashy is ready");
    let host = "crashy.localhost";
    let logs = common::Lines::of(machine.command(&["logs", "-f", "crashy"]));
    assert!(machine.fails(&["logs", "crashy", "--previous"]).contains("had no instance before this one"));
    // Enough traps to end an instance, wherever the requests went.
    for _ in 0..30 {
        let (status, _) = machine.ask(Method::POST, host, "/crash", None).await;
        assert!(matches!(status, 500 | 503), "{status}");
    }
    machine.prints("Trap");
    let pods = machine.json(&["get", "pods"]);
    let crashed = pods["items"].as_array().unwrap().iter().find(|pod| restarts(pod) > 0);
    let crashed = crashed.unwrap_or_else(|| panic!("{pods:#}"))["metadata"]["name"].as_str().unwrap().to_owned();
    let described = machine.ok(&["describe", "pod", &crashed]);
    assert!(described.contains("Trap") && described.contains("unreachable"), "{described}");
    assert!(logs.prints("asked to crash").starts_with("crashy-"), "each line after its pod");
    // A pod that has never crashed hides nothing of the others.
    machine.ok(&["scale", "crashy", "--replicas", "4", "--wait"]);
    assert!(machine.ok(&["logs", "crashy", "--previous"]).contains("asked to crash"), "from the pods that have crashed");
    assert!(machine.ok(&["logs", &crashed, "--tail", "3"]).lines().count() <= 3);
    let events = machine.ok(&["events", "crashy"]);
    assert!(events.contains("Trap") && events.contains("BackOff"), "{events}");
    machine.ok(&["rollout", "status", "crashy"]);
    assert_eq!(machine.get(host, "/").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_folder_builds_deploys_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let output = wctl().args(["new", "greeter"]).current_dir(folder.path()).output().unwrap();
    ended(&output, 0);
    let output = wctl().arg("build").current_dir(folder.path().join("greeter")).output().unwrap();
    ended(&output, 0);
    let machine = Machine::up(&[&folder.path().join("greeter/app.yaml")]);
    machine.prints("app greeter is ready");
    machine.prints("curl -H 'Host: greeter.localhost'");
    let (status, text) = machine.get("greeter.localhost", "/").await;
    assert!(status == 200 && text.contains("greeter"), "{status} {text}");
}
