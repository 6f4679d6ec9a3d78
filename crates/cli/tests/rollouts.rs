//! Rollouts that fail or are taken back, on one machine.

mod common;

use common::{Machine, component};

#[test]
fn one_service_goes_back_and_the_other_stays() {
    let machine = Machine::up(&[]);
    let (wasm, file) = (component("hello"), machine.data.join("two.yaml"));
    let path = file.to_str().unwrap();
    for (a, b) in [(1, 1), (1, 2), (2, 2)] {
        let service =
            |name: &str, n: u32| format!("  {name}: {{ image: {}, env: {{ N: v{n} }}, route: {name}.localhost }}\n", wasm.display());
        std::fs::write(&file, format!("app: two\nservices:\n{}{}", service("a", a), service("b", b))).unwrap();
        machine.ok(&["deploy", path, "--wait"]);
    }
    let runs = || {
        let app = machine.json(&["get", "app", "two"]);
        ["a", "b"].map(|name| app["spec"]["services"][name]["env"]["N"].as_str().unwrap().to_owned())
    };
    assert_eq!(machine.json(&["rollout", "undo", "two/b", "--wait"])["to"], 1);
    assert_eq!(runs(), ["v2", "v1"]);
    machine.ok(&["rollout", "undo", "two/a", "--to-revision", "2", "--wait"]);
    assert_eq!(runs(), ["v1", "v1"]);
    assert!(!machine.ok(&["rollout", "history", "two/a"]).contains("b="));
    assert!(machine.fails(&["rollout", "undo", "two/c"]).contains("no service c"));

    // The numbers that verbs name are those of the list, whatever was scaled in between.
    let said = std::fs::read_to_string(&file).unwrap().replace("b.localhost }", "b.localhost, replicas: 2 }");
    std::fs::write(&file, said.replace("N: v2", "N: v1")).unwrap();
    let deployed = machine.ok(&["deploy", path, "--wait"]);
    let revision = machine.json(&["get", "app", "two"])["metadata"]["generation"].to_string();
    assert!(deployed.contains(&format!("(revision {revision})")), "{deployed}");
    machine.ok(&["rollout", "restart", "two/a", "--wait"]);
    let history = machine.ok(&["rollout", "history", "two"]);
    let last = history.lines().last().unwrap();
    assert!(last.starts_with(&format!("{revision} ")) && last.contains("a: env") && last.contains("current"), "{history}");
    assert!(last.contains("restarted in part "), "{history}");
}

#[test]
fn a_rollout_that_was_rolled_back_says_why() {
    let machine = Machine::up(&[]);
    let file = machine.data.join("probe.yaml");
    let wasm = component("crashy");
    let probed = |path: &str| {
        let wasm = wasm.display();
        format!("app: m\nimage: {wasm}\nprobe: {{ path: {path}, every: 1s, fail: 1 }}\nrollout: {{ deadline: 3s }}\n")
    };
    std::fs::write(&file, probed("/")).unwrap();
    machine.ok(&["deploy", file.to_str().unwrap(), "--wait"]);
    std::fs::write(&file, probed("/nope")).unwrap();
    let sentence = machine.fails(&["deploy", file.to_str().unwrap(), "--wait"]);
    assert!(sentence.contains("rolled back") && sentence.contains("/nope answered 404"), "{sentence}");
    // What failed is marked, and only whoever names it goes back to it.
    let history = machine.ok(&["rollout", "history", "m"]);
    let rows: Vec<&str> = history.lines().collect();
    assert!(rows.len() == 4 && rows[2].starts_with("2 ") && rows[2].contains("m: probe") && rows[2].ends_with("failed"), "{history}");
    assert!(rows[3].starts_with("3 ") && rows[3].contains("current"), "{history}");
    let nowhere = machine.fails(&["rollout", "undo", "m"]);
    assert!(nowhere.contains("but 2, which failed (`--to-revision 2` goes there)"), "{nowhere}");
    assert!(machine.ok(&["rollout", "undo", "m", "--to-revision", "2"]).contains("goes back to revision 2"));
}

#[tokio::test]
async fn an_app_that_fails_takes_nothing_along() {
    let machine = Machine::up(&[]);
    let wasm = component("crashy");
    machine.deploy(&format!("app: well\nimage: {}\nroute: well.localhost\n", wasm.display()));
    let bad = machine.data.join("bad.yaml");
    let text = format!("app: bad\nimage: {}\nprobe: {{ path: /nope, every: 1s, fail: 1 }}\nrollout: {{ deadline: 2s }}\n", wasm.display());
    std::fs::write(&bad, text).unwrap();
    let machine = machine.again(&[&bad]);
    machine.prints("/nope answered 404");
    machine.prints("everything else runs on");
    machine.prints("http://well.localhost");
    assert_eq!(machine.get("well.localhost", "/").await.0, 200);
    // What somebody else does to it meanwhile is no reason either.
    machine.ok(&["delete", "app", "bad"]);
    assert_eq!(machine.get("well.localhost", "/").await.0, 200);
}
