//! More pods for more requests, and fewer again.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{LONG, Machine, client, component};

/// Waits until so many pods are asked for.
#[track_caller]
fn until_replicas(machine: &Machine, holds: impl Fn(u64) -> bool) -> u64 {
    let deadline = Instant::now() + LONG;
    loop {
        let deployment = machine.json(&["get", "deployment", "busy"]);
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
        if holds(replicas) {
            return replicas;
        }
        let scaler = machine.json(&["get", "hpa", "busy"]);
        assert!(Instant::now() < deadline, "{replicas} pods are asked for: {scaler}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_service_that_nobody_asks_sleeps_until_somebody_does() {
    let machine = Machine::up(&[]);
    let image = component("hello");
    machine.deploy(&format!(
        "app: busy\nimage: {}\nroute: busy.localhost\nscale: {{ min: 0, max: 2, window: 1s, requests: 50 }}\n",
        image.display()
    ));
    let asleep = || machine.ok(&["status", "busy"]).contains("asleep, wakes on a request");
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = Instant::now() + LONG;
        while !holds() {
            assert!(
                Instant::now() < deadline,
                "{what}: {}\n{}",
                machine.ok(&["status", "busy"]),
                machine.ok(&["get", "pods", "-o", "yaml"])
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    until("it does not fall asleep", &asleep);
    let shown = machine.ok(&["get", "deployments"]);
    assert!(shown.contains("0/0"), "{shown}");
    assert!(machine.ok(&["get", "pods"]).contains("Asleep"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = || runtime.block_on(machine.get("busy.localhost", "/")).0;
    assert_eq!(ask(), 200);
    until("it is not shown awake", &|| !asleep());
    assert_eq!(ask(), 200);
    until("it does not fall asleep again", &asleep);
    // What somebody stops has no pod that could wake.
    machine.deploy(&format!("app: busy\nimage: {}\nroute: busy.localhost\nreplicas: 0\n", image.display()));
    until("it still answers", &|| ask() == 503);
}

#[test]
fn requests_make_pods_and_their_end_takes_them_away() {
    let machine = Machine::up(&[]);
    let image = component("hello");
    let file = |scale: &str| format!("app: busy\nimage: {}\nroute: busy.localhost\n{scale}", image.display());
    machine.deploy(&file("scale: { min: 1, max: 3, requests: 2, window: 3s }\n"));
    assert_eq!(until_replicas(&machine, |_| true), 1);
    let refused = machine.fails(&["scale", "busy", "--replicas", "2"]);
    assert!(refused.contains("belong to the autoscaler busy, from 1 to 3"), "{refused}");

    let stop = Arc::new(AtomicBool::new(false));
    let (url, told) = (format!("{}/", machine.http), stop.clone());
    let load = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = client();
            while !told.load(Ordering::Relaxed) {
                let answer = client.get(&url).header("host", "busy.localhost").send().await.unwrap();
                assert_eq!(answer.status(), 200);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    });
    until_replicas(&machine, |replicas| replicas == 3);
    // An unchanged deploy leaves the number to the autoscaler.
    machine.deploy(&file("scale: { min: 1, max: 3, requests: 2, window: 3s }\n"));
    assert_eq!(until_replicas(&machine, |_| true), 3);
    stop.store(true, Ordering::Relaxed);
    load.join().unwrap();
    until_replicas(&machine, |replicas| replicas == 1);
    let events = machine.ok(&["events", "busy"]);
    assert!(events.contains("ScaledUp") && events.contains("ScaledDown"), "{events}");
    assert!(machine.ok(&["status", "busy"]).contains("busy scales from 1 to 3 pods"));
}
