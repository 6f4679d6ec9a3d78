//! The example that streams: events come as they are made, and a client that comes back goes on where it was.

mod common;

use std::time::{Duration, Instant};

use common::{Machine, client, example};
use reqwest::Response;

struct Listener {
    answer: Response,
    read: String,
}

impl Listener {
    /// Listens, as a browser does that saw `last` before.
    async fn new(machine: &Machine, last: Option<u64>) -> Listener {
        let request =
            client().get(format!("{}/events", machine.http)).header("host", "realtime.localhost").timeout(Duration::from_secs(7200));
        let request = match last {
            Some(last) => request.header("last-event-id", last.to_string()),
            None => request,
        };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Listener { answer, read: String::new() }
    }

    /// The id of the next event.
    async fn next(&mut self) -> u64 {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let id = event.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id").parse().expect("a number");
                self.read = rest.to_owned();
                return id;
            }
            let chunk = self.answer.chunk().await.expect("the stream goes on").expect("it does not end");
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_one_by_one_and_go_on_where_a_client_was() {
    let machine = Machine::up(&[&example("realtime").join("app.yaml")]);
    machine.prints("app realtime is ready");
    assert!(machine.get("realtime.localhost", "/").await.1.contains("new EventSource(\"/events\")"));
    let (mut listener, since) = (Listener::new(&machine, None).await, Instant::now());
    for id in 0..3 {
        assert_eq!(listener.next().await, id);
    }
    let took = since.elapsed();
    assert!(took > Duration::from_millis(1500), "they come when they are made, not in one piece: {took:?}");
    drop(listener);
    assert_eq!(Listener::new(&machine, Some(41)).await.next().await, 42);
}

/// Kilobytes of memory that a process has.
#[cfg(target_os = "linux")]
fn resident(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(target_os = "linux")]
#[ignore = "nightly: an hour"]
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_events_grows_nothing() {
    let machine = Machine::up(&[&example("realtime").join("app.yaml")]);
    machine.prints("app realtime is ready");
    let mut listeners = Vec::new();
    for _ in 0..50 {
        listeners.push(Listener::new(&machine, None).await);
    }
    let mut first = 0;
    // The last second is left to the request's own limit of an hour.
    for id in 0..3590 {
        for listener in &mut listeners {
            assert_eq!(listener.next().await, id);
        }
        if id == 60 {
            first = resident(machine.pid());
        }
    }
    let last = resident(machine.pid());
    assert!(last < first + first / 10, "{first} kB after a minute, {last} kB after an hour");
}
