//! H29: one sandbox swaps a folder for a link that leads out, while another goes through it.
#![cfg(unix)]

use std::time::{Duration, Instant};

use runtime::sandbox::Spec;

use crate::volumes::{KI, Place, granted};

async fn race(until: Duration) {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("f"), "secret").unwrap();
    let granted = || granted("/data", 200 * KI);
    let inside =
        [("mkdir /data/d", "ok"), ("std /data/d/f 5", "ok"), ("symlink ../../../outside /data/l", "ok"), ("raw l/f", "not-permitted")];
    place.check(granted(), &inside).await;
    let leads_out = place.volumes.root().join("default_shop/user_data/l/f");
    assert_eq!(std::fs::read_to_string(leads_out).unwrap(), "secret", "the link does lead there");
    let start = Instant::now();
    let mut inside_seen = 0;
    while start.elapsed() < until {
        let prepare = async |act: &str| {
            let args = vec!["files".to_owned(), act.to_owned()];
            place.guest("files", Spec { args, time: Duration::from_secs(60), ..granted() }).await.unwrap()
        };
        let guests = [prepare("swap d l 500").await, prepare("chase d/f 2000").await, prepare("chase l/f 2000").await];
        for running in guests.map(|guest| tokio::spawn(async move { guest.run().await })) {
            assert_eq!(running.await.unwrap(), Ok(0));
        }
        let printed = String::from_utf8(std::mem::take(&mut *place.seen.stdout.lock())).unwrap();
        assert!(printed.contains("swapped") && !printed.contains("\"s\""), "{printed}");
        inside_seen += printed.matches("\"x\"").count();
    }
    assert!(inside_seen > 0, "the file within was reached");
    assert_eq!(std::fs::read_to_string(outside.join("f")).unwrap(), "secret", "nothing was written outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn h29_a_race_of_renames_leads_nowhere_outside() {
    race(Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: takes a minute"]
async fn h29_a_minute_of_racing_renames_leads_nowhere_outside() {
    race(Duration::from_secs(60)).await;
}
