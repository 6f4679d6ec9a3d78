//! Two servers over one etcd: one leads, both answer, and either may go.

use std::process::Command;
use std::time::Duration;

use crate::common::{stderr, stdout};
use crate::fleet::Fleet;

fn signal(fleet: &Fleet, name: &str) {
    let pid = fleet.server.as_ref().unwrap().running["pid"].to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

#[track_caller]
fn scaled(fleet: &Fleet, server: &str, replicas: &str) {
    let output = fleet.verb_at(server, &["scale", "web", "--replicas", replicas, "--wait"]).output().unwrap();
    assert!(output.status.success(), "{}{}\n{}", stdout(&output), stderr(&output), fleet.everything());
}

fn pods_at(fleet: &Fleet, server: &str) -> usize {
    let output = fleet.verb_at(server, &["get", "pods", "-o", "name"]).output().unwrap();
    stdout(&output).lines().count()
}

#[test]
#[ignore = "slow: a leader is stopped for half a minute"]
fn c17_a_leader_that_is_stopped_is_followed_and_changes_nothing_when_it_wakes() {
    let Some(fleet) = Fleet::of_two_servers() else { return };
    fleet.deploy("web", 6, "");
    (0..3).for_each(|n| fleet.answers(n, "web"));
    let load = fleet.load("web", 200, &[0, 1, 2]);
    signal(&fleet, "-STOP");
    let since = std::time::Instant::now();
    scaled(&fleet, "second", "9");
    println!("the leader is stopped: the other one has scaled from 6 to 9 after {:?}", since.elapsed());
    std::thread::sleep(Duration::from_secs(30).saturating_sub(since.elapsed()));
    signal(&fleet, "-CONT");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!([pods_at(&fleet, "server"), pods_at(&fleet, "second")], [9, 9], "{}", fleet.everything());
    // And it leads again when it has to.
    scaled(&fleet, "server", "7");
    let outcome = load.stop();
    println!(
        "a leader stopped for 30 s under 200 requests/s: {} of {} failed (must be 0); {:?}",
        outcome.failed, outcome.sent, outcome.why
    );
    assert_eq!(outcome.failed, 0, "{outcome:?}");
}

#[test]
#[ignore = "slow: a server is killed"]
fn a_server_that_is_killed_is_followed_by_the_other_and_nodes_go_over_to_it() {
    let Some(mut fleet) = Fleet::of_two_servers() else { return };
    fleet.deploy("web", 6, "");
    (0..3).for_each(|n| fleet.answers(n, "web"));
    let load = fleet.load("web", 200, &[0, 1, 2]);
    fleet.kill_server();
    let since = std::time::Instant::now();
    scaled(&fleet, "second", "9");
    println!("a server is killed: the other one has scaled from 6 to 9 after {:?}", since.elapsed());
    fleet.start_server();
    fleet.until("both servers say the same", |fleet| [pods_at(fleet, "server"), pods_at(fleet, "second")] == [9, 9]);
    let outcome = load.stop();
    println!("a server killed under 200 requests/s: {} of {} failed (must be 0); {:?}", outcome.failed, outcome.sent, outcome.why);
    assert_eq!(outcome.failed, 0, "{outcome:?}");
}
