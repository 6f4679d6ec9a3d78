//! Budgets of a pod as its neighbours on the machine feel them.
#![cfg(target_os = "linux")]

mod common;

use std::time::{Duration, Instant};

use common::{Machine, client, component};

/// CPU seconds that a process has used.
fn cpu(pid: u64) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Fields 14 and 15 of the file, in hundredths.
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::test(flavor = "multi_thread")]
async fn spinning_guests_get_their_share_of_a_core_and_no_more() {
    let machine = Machine::up(&[]);
    let image = component("crashy").display().to_string();
    machine.deploy(&format!("app: crashy\nimage: {image}\nroute: crashy.localhost\nlimits: {{ cpu: 200m, time: 60s }}\n"));
    // What the process needs while nobody asks anything.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pid = machine.pid();
    let quiet = used(pid, Duration::from_secs(2)).await;
    for _ in 0..3 {
        let ask = client().post(format!("{}/loop", machine.http)).header("host", "crashy.localhost");
        // They end with the test.
        tokio::spawn(ask.send());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let share = used(pid, Duration::from_secs(4)).await - quiet;
    assert!((0.15..0.28).contains(&share), "three guests that spin used {share:.3} of a core, {quiet:.3} are used without them");
}

/// The share of a core that a process uses during `time`.
async fn used(pid: u64, time: Duration) -> f64 {
    let (start, before) = (Instant::now(), cpu(pid));
    tokio::time::sleep(time).await;
    (cpu(pid) - before) / start.elapsed().as_secs_f64()
}

#[test]
fn a_node_says_what_it_has_left() {
    let machine = Machine::up(&[]);
    let node = machine.json(&["get", "nodes"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let budgets = machine.json(&["describe", "node", &node])["budgets"].clone();
    let sandboxes =
        budgets.as_array().unwrap().iter().find(|budget| budget["name"] == "running sandboxes").unwrap_or_else(|| panic!("{budgets:#}"));
    assert_eq!((sandboxes["used"].as_u64(), sandboxes["limit"].as_u64()), (Some(0), Some(1000)));
    let told = machine.ok(&["describe", "node", &node]);
    assert!(told.contains("running sandboxes: 1000 of 1000 left"), "{told}");
    if cfg!(target_os = "linux") {
        assert!(told.contains("open files: ") && told.contains("memory mappings: ") && told.contains(" MiB left"), "{told}");
    }
}
