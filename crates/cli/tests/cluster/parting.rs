//! Machines that lose each other, and find each other again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::fleet::Fleet;

/// The UIDs of an app's pods that are not on their way out.
fn pods(fleet: &Fleet, app: &str) -> BTreeSet<String> {
    let pods = fleet.json(&["get", "pods", "-l", &format!("wctl.dev/app={app}"), "-o", "json"]);
    let staying = |pod: &&serde_json::Value| pod["metadata"]["deletionTimestamp"].is_null();
    pods["items"].as_array().into_iter().flatten().filter(staying).map(|pod| pod["metadata"]["uid"].to_string()).collect()
}

fn deployed() -> Option<Fleet> {
    let fleet = Fleet::up()?;
    fleet.deploy("web", 6, "");
    (0..3).for_each(|n| fleet.answers(n, "web"));
    Some(fleet)
}

/// All six are ready, each where it is listed, and every gateway answers.
fn whole(fleet: &Fleet) -> bool {
    fleet.ready("web").iter().sum::<usize>() == 6 && pods(fleet, "web").len() == 6 && (0..3).all(|n| fleet.get(n, "web", "/").0 == 200)
}

#[test]
#[ignore = "slow: waits for the end of leases"]
fn c7_a_node_away_for_a_moment_keeps_its_pods_and_one_away_for_long_is_replaced_and_comes_back_to_the_right_count() {
    let Some(fleet) = deployed() else { return };
    let before = pods(&fleet, "web");
    fleet.net.link(fleet.machine(2), false);
    std::thread::sleep(Duration::from_secs(4));
    fleet.net.link(fleet.machine(2), true);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(pods(&fleet, "web"), before, "four seconds are no reason to move anything");
    fleet.net.link(fleet.machine(2), false);
    let replaced = fleet.until("replacements", |fleet| fleet.ready("web")[..2].iter().sum::<usize>() == 6);
    std::thread::sleep(Duration::from_secs(10));
    fleet.net.link(fleet.machine(2), true);
    let healed = fleet.until("six pods again", whole);
    println!("a node away for long: replaced after {replaced:?}, and {healed:?} after its return all is as asked for (must be <= 10 s)");
    assert!(healed < Duration::from_secs(20), "{healed:?}");
    std::thread::sleep(Duration::from_secs(3));
    assert!(whole(&fleet), "it does not stay so");
}

#[test]
#[ignore = "slow: waits for the end of leases"]
fn c10_everybody_cut_off_from_everybody_comes_together_again() {
    let Some(fleet) = deployed() else { return };
    let all = [0, 1, 2, 3].map(|n| fleet.net.machine(n).clone());
    all.iter().for_each(|machine| fleet.net.link(machine, false));
    std::thread::sleep(Duration::from_secs(20));
    all.iter().for_each(|machine| fleet.net.link(machine, true));
    let healed = fleet.until("six pods again", whole);
    println!("everybody cut off from everybody for 20 s: {healed:?} after that all is as asked for (must be <= 30 s)");
    assert!(healed < Duration::from_secs(60), "{healed:?}");
}

#[test]
#[ignore = "slow: a node's pods move under load"]
fn c30_a_node_that_is_drained_fails_no_request() {
    let Some(fleet) = deployed() else { return };
    let load = fleet.load("web", 1000, &[0, 1, 2]);
    let slow: Vec<_> = (0..6).map(|n| fleet.slow("web", n % 3)).collect();
    std::thread::sleep(Duration::from_secs(2));
    fleet.ok(&["drain", "n3"]);
    assert_eq!(fleet.ready("web")[2], 0);
    std::thread::sleep(Duration::from_secs(4));
    let outcome = load.stop();
    let slow: u64 = slow.into_iter().map(|load| load.stop().failed).sum();
    println!(
        "a node drained under 1,000 requests/s: {} of {} failed and {slow} of 6 slow ones (must be 0); {:?}",
        outcome.failed, outcome.sent, outcome.why
    );
    assert_eq!((outcome.failed, slow), (0, 0), "{outcome:?}");
    fleet.ok(&["uncordon", "n3"]);
}

#[test]
#[ignore = "slow: half a minute"]
fn nodes_behind_nat_serve_and_report_though_nobody_can_dial_them() {
    let Some(fleet) = Fleet::with_one_behind_nat() else { return };
    fleet.deploy("web", 6, "");
    fleet.until("pods on the node behind NAT", |fleet| fleet.ready("web")[2] > 0 && fleet.ready("web").iter().sum::<usize>() == 6);
    let load = fleet.load("web", 200, &[0, 1]);
    std::thread::sleep(Duration::from_secs(8));
    let outcome = load.stop();
    println!("a node that nobody can dial: {} of {} failed (must be 0); {:?}", outcome.failed, outcome.sent, outcome.why);
    assert_eq!(outcome.failed, 0, "{outcome:?}");
    // What is asked of it comes all the same: it has asked first.
    let log = fleet.ok(&["logs", "web", "--tail", "5"]);
    assert!(!log.contains("cannot be reached"), "{log}");
}
