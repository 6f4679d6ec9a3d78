//! What goes on when all is well, and when the server is away.

use std::time::Duration;

use crate::fleet::Fleet;

#[test]
#[ignore = "slow: four processes, and one of them away for a while"]
fn any_node_answers_and_goes_on_without_the_server_and_after_a_reboot() {
    let Some(mut fleet) = Fleet::up() else { return };
    fleet.deploy("web", 2, "");
    for n in 0..3 {
        fleet.answers(n, "web");
    }
    let load = fleet.load("web", 100, &[0, 1, 2]);
    fleet.kill_server();
    std::thread::sleep(Duration::from_secs(2));
    // An instance that crashes is restarted where it is.
    let crash = |fleet: &Fleet| (0..6).for_each(|_| assert_eq!(fleet.get(0, "web", "/panic").0, 500));
    crash(&fleet);
    fleet.answers(0, "web");
    std::thread::sleep(Duration::from_secs(2));
    let outcome = load.stop();
    println!("server killed under 100 requests/s: {} of {} failed (must be 0); {:?}", outcome.failed, outcome.sent, outcome.why);
    assert_eq!(outcome.failed, 0, "{outcome:?}\n{}", fleet.everything());
    // All nodes start again, and nobody is there to tell them anything.
    (0..3).for_each(|n| fleet.kill_node(n));
    (0..3).for_each(|n| fleet.start_node(n, None));
    (0..3).for_each(|n| fleet.answers(n, "web"));
    // Back again, the server hears of it and has its way.
    fleet.start_server();
    fleet.until("two ready pods", |fleet| fleet.ready("web").iter().sum::<usize>() == 2);
    fleet.ok(&["delete", "app", "web"]);
    fleet.until("the end of the app", |fleet| fleet.get(0, "web", "/").0 == 404);
}

#[test]
#[ignore = "slow: four processes, and one of them away for a while"]
fn gateways_route_only_to_pods_that_they_can_reach() {
    // Nobody has a way to the third node, which has one to all others.
    let Some(fleet) = Fleet::with(&[None, None, Some("10.99.0.3")]) else { return };
    // An app of two pods, one of them there, asked where none is.
    let found = ["one", "two", "three"].into_iter().find_map(|app| {
        fleet.deploy(app, 2, "");
        let ready = fleet.ready(app);
        (ready[2] == 1).then(|| (app, if ready[0] == 0 { 0 } else { 1 }))
    });
    let (app, asked) = found.expect("three apps of two pods are on all three nodes");
    fleet.answers(asked, app);
    fleet.answers(2, app);
    let load = fleet.load(app, 100, &[asked]);
    let node = crate::fleet::NODES[asked];
    let told = fleet.until("word of it", |fleet| fleet.ok(&["describe", "node", node]).contains("cannot reach n3"));
    std::thread::sleep(Duration::from_secs(2));
    let outcome = load.stop();
    println!("a node that cannot be reached: {} of {} requests failed (must be 0); told after {told:?}", outcome.failed, outcome.sent);
    assert_eq!(outcome.failed, 0, "{outcome:?}");
}

#[test]
#[ignore = "slow: the server is away for a minute"]
fn a_minute_without_the_server_fails_no_request() {
    let Some(mut fleet) = Fleet::up() else { return };
    fleet.deploy("web", 6, "");
    (0..3).for_each(|n| fleet.answers(n, "web"));
    let load = fleet.load("web", 300, &[0, 1, 2]);
    fleet.kill_server();
    for _ in 0..6 {
        std::thread::sleep(Duration::from_secs(10));
        (0..6).for_each(|_| assert_eq!(fleet.get(0, "web", "/panic").0, 500));
    }
    fleet.start_server();
    let outcome = load.stop();
    println!("server down for 60 s under 300 requests/s: {} of {} failed (must be 0); {:?}", outcome.failed, outcome.sent, outcome.why);
    assert_eq!(outcome.failed, 0, "{outcome:?}");
}

#[test]
#[ignore = "slow: a hundred replicas"]
fn a_hundred_replicas_on_three_nodes_are_ready_at_once_where_their_code_is() {
    let Some(fleet) = Fleet::up() else { return };
    fleet.deploy("web", 3, "");
    (0..3).for_each(|n| fleet.answers(n, "web"));
    let since = std::time::Instant::now();
    fleet.ok(&["scale", "web", "--replicas", "100"]);
    fleet.until("100 ready pods", |fleet| fleet.ready("web").iter().sum::<usize>() == 100);
    let took = since.elapsed();
    println!("100 replicas on 3 nodes, code cached: ready after {took:?} (must be <= 2 s), {:?}", fleet.ready("web"));
    // Loaded machines build while they test.
    assert!(took < Duration::from_secs(20), "{took:?}");
}
