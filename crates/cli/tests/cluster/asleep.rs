//! Apps at zero pods: any node wakes them, with a server or without.

use crate::fleet::Fleet;

#[test]
#[ignore = "slow: four processes, and one of them away for a while"]
fn what_sleeps_wakes_on_any_nodes_request_without_a_server_and_after_a_reboot() {
    let Some(mut fleet) = Fleet::up() else { return };
    fleet.deploy_sleeper("web");
    let sleeps = |fleet: &Fleet| fleet.ok(&["status", "web"]).contains("asleep, wakes on a request");
    for n in 0..3 {
        fleet.answers(n, "web");
    }
    fleet.until("it sleeps", sleeps);
    for n in 0..3 {
        assert_eq!(fleet.get(n, "web", "/").0, 200);
        fleet.until("it sleeps again", sleeps);
    }
    fleet.kill_server();
    (0..3).for_each(|n| assert_eq!(fleet.get(n, "web", "/").0, 200));
    std::thread::sleep(std::time::Duration::from_secs(3));
    (0..3).for_each(|n| assert_eq!(fleet.get(n, "web", "/").0, 200));
    // All nodes start again, and nobody is there to tell them anything.
    (0..3).for_each(|n| fleet.kill_node(n));
    (0..3).for_each(|n| fleet.start_node(n, None));
    (0..3).for_each(|n| fleet.answers(n, "web"));
    fleet.start_server();
    fleet.until("it sleeps once more", sleeps);
    assert_eq!(fleet.get(0, "web", "/").0, 200);
}
