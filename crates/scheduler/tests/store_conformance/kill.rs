//! kill -9 at any moment loses nothing that was acknowledged, and leaves nothing half done.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rand::Rng;

use super::*;

/// Where the child finds the store.
const FILE: &str = "STORE_TO_KILL";
const WRITERS: usize = 8;
const PARTS: [&str; 3] = ["a", "b", "c"];
const KILLS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "never ends: it is the process that the test below starts and kills"]
async fn writes_until_it_is_killed() {
    // Without a file it is not that process, but a run of all slow tests.
    let Ok(file) = std::env::var(FILE) else { return };
    let store: Arc<dyn Store> = Arc::new(Redb::open(file).unwrap());
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut count = count_of(&*store, writer, "a").await;
            loop {
                count += 1;
                let revision =
                    write(&*store, PARTS.iter().map(|part| put(&format!("/{writer}/{part}"), &count.to_string())).collect()).await;
                // In one write, so that a line is there whole or not at all.
                std::io::stdout().write_all(format!("acknowledged {writer} {count} {revision}\n").as_bytes()).unwrap();
            }
        })
    });
    futures::future::join_all(writers).await;
}

async fn count_of(store: &dyn Store, writer: usize, part: &str) -> u64 {
    item(store, &format!("/{writer}/{part}")).await.map_or(0, |item| String::from_utf8_lossy(&item.value).parse().unwrap())
}

fn start(file: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kill::writes_until_it_is_killed", "--exact", "--ignored", "--nocapture"]);
    command.env(FILE, file).stdout(Stdio::piped()).spawn().unwrap()
}

/// Kills the child after some acknowledgements; gives every one that it ever printed: (writer, count, revision).
fn kill_after(mut child: Child, lines: usize, pause: Duration) -> Vec<(usize, u64, Revision)> {
    let mut acknowledged = Vec::new();
    let output = BufReader::new(child.stdout.take().unwrap());
    for line in output.split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        let Some((_, numbers)) = line.split_once("acknowledged ") else { continue };
        let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        acknowledged.push((numbers[0] as usize, numbers[1], numbers[2]));
        if acknowledged.len() == lines {
            // Not for synchronisation: it moves the kill to any point between two acknowledgements.
            std::thread::sleep(pause);
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_kill_at_any_moment_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.redb");
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    for round in 0..KILLS {
        let (lines, pause) = {
            let mut random = rand::rng();
            (random.random_range(1..120), Duration::from_micros(random.random_range(0..8000)))
        };
        let acknowledged = kill_after(start(&file), lines, pause);
        assert!(acknowledged.len() >= lines, "round {round}: the child ended by itself");
        let store = Redb::open(&file).unwrap();
        for (writer, count, revision) in acknowledged {
            last.insert(writer, count);
            let mut watch = store.watch(&format!("/{writer}/"), revision - 1);
            for (ordinal, part) in PARTS.iter().enumerate() {
                let told = next(&mut watch).await;
                assert!(told.starts_with(&format!("{revision}.{ordinal} /{writer}/{part}={count}")), "round {round}: {told}");
            }
        }
        for (&writer, last) in &mut last {
            let counts = [count_of(&store, writer, "a").await, count_of(&store, writer, "b").await, count_of(&store, writer, "c").await];
            assert!(counts.iter().all(|count| *count == counts[0]), "round {round}: writer {writer} is half there: {counts:?}");
            assert!((*last..=*last + 1).contains(&counts[0]), "round {round}: writer {writer} was told {last}, there is {}", counts[0]);
            // What was written but not told is there for good: the next round goes on from it.
            *last = counts[0];
        }
    }
}
