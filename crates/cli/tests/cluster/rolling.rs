//! Changes under load that nobody may notice.

use std::time::Duration;

use crate::fleet::Fleet;

#[test]
#[ignore = "slow: a rolling update under load"]
fn a_rolling_update_of_nine_replicas_fails_no_request() {
    let Some(fleet) = Fleet::up() else { return };
    fleet.deploy("web", 9, "");
    (0..3).for_each(|n| fleet.answers(n, "web"));
    let load = fleet.load("web", 1000, &[0, 1, 2]);
    let slow: Vec<_> = (0..6).map(|n| fleet.slow("web", n % 3)).collect();
    std::thread::sleep(Duration::from_secs(2));
    fleet.deploy("web", 9, "env: { ROUND: two }\n");
    std::thread::sleep(Duration::from_secs(5));
    let outcome = load.stop();
    let slow: u64 = slow.into_iter().map(|load| load.stop().failed).sum();
    println!(
        "rolling update of 9 replicas on 3 nodes under 1,000 requests/s: {} of {} failed and {slow} of 6 slow ones (must be 0); {:?}",
        outcome.failed, outcome.sent, outcome.why
    );
    assert_eq!((outcome.failed, slow), (0, 0), "{outcome:?}");
}

#[test]
#[ignore = "slow: a node's pods move under load"]
fn a_node_that_is_stopped_in_good_order_fails_no_request() {
    let Some(mut fleet) = Fleet::up() else { return };
    fleet.deploy("web", 6, "");
    (0..3).for_each(|n| fleet.answers(n, "web"));
    let load = fleet.load("web", 500, &[0, 1]);
    std::thread::sleep(Duration::from_secs(2));
    fleet.stop_node(2);
    std::thread::sleep(Duration::from_secs(10));
    let outcome = load.stop();
    println!("a node stopped under 500 requests/s: {} of {} failed (must be 0); {:?}", outcome.failed, outcome.sent, outcome.why);
    assert_eq!(outcome.failed, 0, "{outcome:?}");
}
