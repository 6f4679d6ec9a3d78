//! Members of an etcd that die, stop, or are cut off: what was acknowledged stays, and the store answers again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::etcd_server::{Servers, is_here};
use super::*;

/// Writes on, each number only once the one before was acknowledged; says what was.
async fn count(store: Arc<dyn Store>, writer: usize, stop: Arc<AtomicBool>) -> Vec<(Revision, u64)> {
    let (mut told, mut n) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        match store.commit(vec![], vec![put(&format!("/n/{writer}"), &n.to_string())]).await {
            Ok(Commit::Done(revision)) => told.push((revision, n)),
            Ok(Commit::Conflict(key)) => panic!("a conflict on {key}"),
            // Nobody knows what became of it; the next number shows.
            Err(Error::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    told
}

/// What is told to a watcher, until the key `/end` is.
async fn listen(store: Arc<dyn Store>) -> Vec<Event> {
    let mut watch = store.watch("/", 0);
    let mut told = Vec::new();
    loop {
        let event = next_event(&mut watch).await;
        if event.key() == "/end" {
            return told;
        }
        told.push(event);
    }
}

async fn until_written(store: &dyn Store, key: &str) {
    let since = std::time::Instant::now();
    while !matches!(store.commit(vec![], vec![put(key, "x")]).await, Ok(Commit::Done(_))) {
        assert!(since.elapsed() < PATIENCE, "the store does not answer again");
    }
}

/// Each acknowledged write is in what the watcher was told, which is each change once, in order, with the value before it.
fn agree(acknowledged: &[Vec<(Revision, u64)>], told: &[Event]) {
    assert!(told.windows(2).all(|pair| (pair[0].revision, pair[0].ordinal) < (pair[1].revision, pair[1].ordinal)), "in order and once");
    let mut now: BTreeMap<String, Item> = BTreeMap::new();
    for event in told {
        assert_eq!(event.previous, now.get(event.key()).cloned(), "the value before, at {}", event.revision);
        let item = event.item.clone().unwrap();
        now.insert(item.key.clone(), item);
    }
    for (writer, writes) in acknowledged.iter().enumerate() {
        for (revision, n) in writes {
            let found = told.iter().find(|event| event.revision == *revision).unwrap_or_else(|| panic!("revision {revision} is lost"));
            assert_eq!(text(found.item.as_ref().unwrap()), format!("/n/{writer}={n}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c18_a_restart_of_etcd_loses_nothing_and_tells_nothing_twice() {
    if !is_here() {
        return;
    }
    let mut servers = Servers::start(1).await;
    let store: Arc<dyn Store> = Arc::new(Etcd::open(&servers.options()).await.unwrap());
    let (stop, listener) = (Arc::new(AtomicBool::new(false)), tokio::spawn(listen(store.clone())));
    let writers: Vec<_> = (0..4).map(|n| tokio::spawn(count(store.clone(), n, stop.clone()))).collect();
    for round in 0..2 {
        until_written(&*store, &format!("/before/{round}")).await;
        servers.kill(0);
        servers.restart(0);
        until_written(&*store, &format!("/after/{round}")).await;
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<_> = futures::future::join_all(writers).await.into_iter().map(|writer| writer.unwrap()).collect();
    until_written(&*store, "/end").await;
    agree(&acknowledged, &listener.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: three members, of which one is killed and one is stopped, half a minute"]
async fn c18_a_majority_goes_on_and_a_minority_refuses_writes() {
    if !is_here() {
        return;
    }
    let mut servers = Servers::start(3).await;
    let store: Arc<dyn Store> = Arc::new(Etcd::open(&servers.options()).await.unwrap());
    let (stop, listener) = (Arc::new(AtomicBool::new(false)), tokio::spawn(listen(store.clone())));
    let writers: Vec<_> = (0..4).map(|n| tokio::spawn(count(store.clone(), n, stop.clone()))).collect();
    for member in 0..3 {
        until_written(&*store, &format!("/before/{member}")).await;
        // Killed: its connections break.
        servers.kill(member);
        until_written(&*store, &format!("/killed/{member}")).await;
        servers.restart(member);
        until_written(&*store, &format!("/back/{member}")).await;
        // Stopped: its connections stand, and nothing comes on them.
        servers.signal(member, "STOP");
        until_written(&*store, &format!("/stopped/{member}")).await;
        servers.signal(member, "CONT");
        until_written(&*store, &format!("/goes-on/{member}")).await;
    }
    // One of three is no majority.
    servers.kill(0);
    servers.signal(1, "STOP");
    let refused = loop {
        let done = store.commit(vec![], vec![put("/minority", "x")]).await;
        // The killed one may have been no part of what was committed before it died.
        if let Err(error) = done {
            break error;
        }
    };
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    assert!(store.get("/n/0").await.is_err(), "what a minority knows may be old");
    servers.signal(1, "CONT");
    until_written(&*store, "/majority").await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<_> = futures::future::join_all(writers).await.into_iter().map(|writer| writer.unwrap()).collect();
    until_written(&*store, "/end").await;
    assert!(acknowledged.iter().map(Vec::len).sum::<usize>() > 50, "they wrote");
    agree(&acknowledged, &listener.await.unwrap());
}
