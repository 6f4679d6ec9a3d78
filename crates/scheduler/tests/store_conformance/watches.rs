//! Watches: in order, once, none skipped, from any revision.

use super::*;

pub async fn a_watch_tells_each_change_once_in_order(engine: &Engine) {
    let store = engine.open();
    let mut watch = store.watch("/a/", 0);
    write(&*store, vec![put("/a/1", "x"), put("/b", "x"), put("/a/2", "x")]).await;
    write(&*store, vec![put("/a/1", "y")]).await;
    assert_eq!(next(&mut watch).await, "1.0 /a/1=x");
    assert_eq!(next(&mut watch).await, "1.2 /a/2=x");
    assert_eq!(next(&mut watch).await, "2.0 /a/1=y (was x)");
    write(&*store, vec![put("/b", "y")]).await;
    write(&*store, vec![delete("/a/2"), delete("/a/3")]).await;
    write(&*store, vec![put("/a/2", "z")]).await;
    assert_eq!(next(&mut watch).await, "4.0 /a/2 gone (was x)");
    let anew = next_event(&mut watch).await;
    assert_eq!(tell(&anew), "5.0 /a/2=z");
    assert_eq!(anew.item.unwrap().created, 5);
}

pub async fn a_watch_begins_at_any_revision(engine: &Engine) {
    let store = engine.open();
    for n in 1..=5 {
        write(&*store, vec![put("/n", &n.to_string())]).await;
    }
    for after in 0..5 {
        let mut watch = store.watch("/", after);
        for n in after + 1..=5 {
            let was = if n == 1 { String::new() } else { format!(" (was {})", n - 1) };
            assert_eq!(next(&mut watch).await, format!("{n}.0 /n={n}{was}"));
        }
    }
    let mut now = store.watch("/", 5);
    let mut later = store.watch("/", 7);
    assert!(futures::poll!(now.next()).is_pending());
    assert!(futures::poll!(later.next()).is_pending());
    for n in 6..=8 {
        write(&*store, vec![put("/n", &n.to_string())]).await;
    }
    assert_eq!(next(&mut now).await, "6.0 /n=6 (was 5)");
    assert_eq!(next(&mut later).await, "8.0 /n=8 (was 7)");
}

pub async fn a_watch_of_forgotten_history_ends_with_compacted(engine: &Engine) {
    let store = engine.open();
    for n in 1..=4 {
        write(&*store, vec![put("/n", &n.to_string())]).await;
    }
    store.compact(3).await.unwrap();
    let mut watch = store.watch("/", 2);
    let refused = watch.next().await;
    assert!(matches!(refused, Some(Err(Error::Compacted { asked: 2, oldest: 3 }))), "{refused:?}");
    assert!(watch.next().await.is_none());
    assert_eq!(next(&mut store.watch("/", 3)).await, "4.0 /n=4 (was 3)");
}

pub async fn c35_a_watch_resumes_after_a_restart_with_previous_values(engine: &Engine) {
    let store = engine.open();
    write(&*store, vec![put("/a", "1"), put("/b", "1")]).await;
    let mut watch = store.watch("", 0);
    assert_eq!(next(&mut watch).await, "1.0 /a=1");
    write(&*store, vec![put("/a", "2"), delete("/b")]).await;
    drop((watch, store));
    let store = engine.open();
    let mut watch = store.watch("", 1);
    assert_eq!(next(&mut watch).await, "2.0 /a=2 (was 1)");
    assert_eq!(next(&mut watch).await, "2.1 /b gone (was 1)");
    write(&*store, vec![put("/a", "3")]).await;
    assert_eq!(next(&mut watch).await, "3.0 /a=3 (was 2)");
}

/// More changes than any engine keeps ready for one watcher.
pub async fn a_slow_watcher_misses_nothing(engine: &Engine) {
    const CHANGES: u64 = 2000;
    let store = engine.open();
    let mut watch = store.watch("/n", 0);
    assert!(futures::poll!(watch.next()).is_pending(), "it listens before the changes come");
    let writers = (0..CHANGES).map(|n| {
        let store = store.clone();
        async move { write(&*store, vec![put(&format!("/n/{n}"), "x"), put("/m", "x")]).await }
    });
    futures::stream::iter(writers).buffer_unordered(64).collect::<Vec<_>>().await;
    for revision in 1..=CHANGES {
        let event = next_event(&mut watch).await;
        assert_eq!((event.revision, event.ordinal), (revision, 0));
    }
    write(&*store, vec![put("/n/last", "x")]).await;
    assert_eq!(next(&mut watch).await, format!("{}.0 /n/last=x", CHANGES + 1), "and it listens again");
}

pub async fn each_of_many_watchers_gets_its_own(engine: &Engine) {
    const WATCHERS: usize = 1000;
    let store = engine.open();
    let mut watches: Vec<_> = (0..WATCHERS).map(|n| store.watch(&format!("/pods/{n}/"), 0)).collect();
    for watch in &mut watches {
        assert!(futures::poll!(watch.next()).is_pending());
    }
    for from in (0..WATCHERS).step_by(100) {
        write(&*store, (from..from + 100).map(|n| put(&format!("/pods/{n}/x"), &n.to_string())).collect()).await;
    }
    write(&*store, vec![put("/pods/7/x", "again")]).await;
    for (n, watch) in watches.iter_mut().enumerate() {
        assert_eq!(next(watch).await, format!("{}.{} /pods/{n}/x={n}", n / 100 + 1, n % 100));
    }
    assert_eq!(next(&mut watches[7]).await, "11.0 /pods/7/x=again (was 7)");
    assert!(futures::poll!(watches[8].next()).is_pending());
}

pub async fn every_watcher_sees_bookmarks(engine: &Engine) {
    let store = engine.open();
    write(&*store, vec![put("/a", "1"), put(scheduler::store::BOOKMARK, "")]).await;
    let mut watch = store.watch("/nothing/", 0);
    assert_eq!(next(&mut watch).await, "1.1 /bookmark=", "from history");
    write(&*store, vec![put(scheduler::store::BOOKMARK, "")]).await;
    assert_eq!(next(&mut watch).await, "2.0 /bookmark= (was )", "and as it happens");
}

pub async fn watchers_and_writers_together_lose_nothing(engine: &Engine) {
    const WRITERS: usize = 8;
    const EACH: usize = 100;
    let store = engine.open();
    let watchers = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut watch = store.watch("/w/", 0);
            let mut told = Vec::new();
            while told.len() < WRITERS * EACH {
                told.push(next_event(&mut watch).await);
            }
            told
        })
    });
    let watchers: Vec<_> = watchers.collect();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                write(&*store, vec![put(&format!("/w/{writer}"), &n.to_string())]).await;
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    for told in futures::future::join_all(watchers).await {
        let told = told.unwrap();
        let revisions: Vec<_> = told.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (1..=(WRITERS * EACH) as u64).collect::<Vec<_>>());
        for event in &told {
            let was = told.iter().rev().find(|other| other.revision < event.revision && other.key() == event.key());
            assert_eq!(event.previous, was.and_then(|was| was.item.clone()), "the previous value is the event before");
        }
    }
}
