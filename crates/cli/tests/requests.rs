//! What `wctl logs` finds: the requests of all nodes, the trap behind one of them, and what is left of pods that are gone.

mod common;

use common::{Lines, Machine, client, component, ended, stderr, stdout};
use serde_json::Value;

/// Asks, and gives the status and the id of the answer.
async fn id_of(machine: &Machine, method: reqwest::Method, host: &str, path: &str) -> (u16, String) {
    let answer = client().request(method, format!("{}{path}", machine.http)).header("host", host).send().await.unwrap();
    (answer.status().as_u16(), answer.headers()["x-request-id"].to_str().unwrap().to_owned())
}

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_finds_the_trap_behind_a_customers_id() {
    let machine = Machine::up(&[]);
    machine.deploy(&format!("app: crashy\nimage: {}\nroute: crashy.localhost\n", component("crashy").display()));
    machine.deploy(&format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display()));
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    let (well, fine) = id_of(&machine, get.clone(), "hello.localhost", "/").await;
    let (nowhere, lost) = id_of(&machine, get.clone(), "nobody.localhost", "/").await;
    let (failed, id) = id_of(&machine, post.clone(), "crashy.localhost", "/crash").await;
    assert_eq!((well, nowhere, failed), (200, 404, 500));

    // Right after the answer its line is there: of one app, of all, and of none.
    let pod = machine.json(&["get", "pods", "-l", "wctl.dev/app=crashy"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let text = machine.ok(&["logs", "--access", "crashy"]);
    assert!(text.contains(" 500 POST crashy.localhost/crash in ") && text.contains(&pod) && text.contains(&id), "{text}");
    assert!(!text.contains(&fine) && !text.contains(&lost), "{text}");
    assert!(machine.ok(&["logs", "--access", "crashy/crashy"]).contains(&id));
    let all = machine.ok(&["logs", "--access"]);
    let at = |id: &str| all.find(id).unwrap_or_else(|| panic!("{id} is missing:\n{all}"));
    assert!(at(&fine) < at(&lost) && at(&lost) < at(&id), "the newest comes last:\n{all}");
    let last = records(&machine.ok(&["logs", "--access", "--tail", "1", "-o", "json"]));
    assert_eq!((last.len(), &last[0]["id"], &last[0]["type"]), (1, &id.as_str().into(), &"request".into()), "{last:?}");
    assert_eq!(machine.ok(&["-n", "elsewhere", "logs", "--access"]), "");
    assert!(machine.fails(&["logs", "--access", "nope"]).contains("no app nope"));

    // The trap itself, with its frames.
    let told = machine.ok(&["logs", "--request", &id]);
    assert!(told.contains("trap: the guest trapped: ") && told.lines().count() > 2 && told.contains("    0: "), "{told}");
    let found = records(&machine.ok(&["logs", "--request", &id, "-o", "json"]));
    assert_eq!((&found[0]["reason"], &found[0]["pod"], &found[0]["crash"]), (&"trap".into(), &pod.as_str().into(), &Value::Null));
    assert!(machine.fails(&["logs", "--request", "0000"]).contains("no node knows a request 0000"));

    // Once the pod has crashed for good, its crash stands beside it.
    for _ in 0..4 {
        assert_eq!(id_of(&machine, post.clone(), "crashy.localhost", "/crash").await.0, 500);
    }
    machine.prints("5 traps in a row");
    let told = machine.ok(&["logs", "--request", &id]);
    assert!(told.contains(&format!("pod/{pod}: 5 traps in a row, the last: the guest trapped: ")), "{told}");
    // What no pod was there to answer is the app's all the same.
    machine.ok(&["scale", "hello", "--replicas", "0", "--wait"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // The pod that goes may still be asked until the gateway has heard of it.
    let unanswered = loop {
        let (status, id) = id_of(&machine, get.clone(), "hello.localhost", "/").await;
        if status == 503 {
            break id;
        }
        assert!(std::time::Instant::now() < deadline, "a stopped app answers {status}");
    };
    let told = machine.ok(&["logs", "--access", "hello"]);
    assert!(told.contains(&unanswered) && told.contains("no endpoint"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_followed() {
    let machine = Machine::up(&[]);
    machine.deploy(&format!("app: hello\nimage: {}\nroute: hello.localhost\n", component("hello").display()));
    let (_, old) = id_of(&machine, reqwest::Method::GET, "hello.localhost", "/old").await;
    let lines = Lines::of(machine.command(&["logs", "--access", "-f", "--tail", "1", "hello"]));
    lines.prints(&old);
    let (_, new) = id_of(&machine, reqwest::Method::GET, "hello.localhost", "/new?secret=1").await;
    let line = lines.prints(&new);
    assert!(line.contains("hello.localhost/new in ") && !line.contains("secret"), "{line}");
}

#[test]
fn a_pod_that_is_gone_and_never_printed_is_no_app_that_is_missing() {
    let machine = Machine::up(&[]);
    machine.deploy(&format!("app: hello\nimage: {}\n", component("hello").display()));
    let pod = machine.json(&["get", "pods"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    machine.ok(&["delete", "app", "hello", "--wait"]);
    for target in [pod.clone(), format!("pod/{pod}")] {
        let output = machine.command(&["logs", &target]).output().unwrap();
        ended(&output, 0);
        let said = format!("pod {pod} is gone, and it printed nothing that is still kept");
        assert!(stderr(&output).contains(&said) && stdout(&output).is_empty(), "{}", stderr(&output));
    }
    assert!(machine.fails(&["logs", "pod/hello-0"]).contains("there is no pod hello-0"));
    assert!(machine.fails(&["logs", "hello"]).contains("there is no app hello"));
    let usage = machine.command(&["logs"]).output().unwrap();
    ended(&usage, 2);
    let both = machine.command(&["logs", "--request", "1", "-f"]).output().unwrap();
    ended(&both, 2);
}
