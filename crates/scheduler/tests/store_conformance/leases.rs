//! Leases: keys that go when nobody keeps them.

use super::*;

pub async fn keys_go_with_their_lease(engine: &Engine) {
    let store = engine.open();
    let (ends, stays) = (store.lease(1).await.unwrap(), store.lease(600).await.unwrap());
    write(&*store, vec![put_leased("/a", "1", ends), put_leased("/b", "1", ends), put_leased("/c", "1", stays), put("/d", "1")]).await;
    let mut watch = store.watch("", 1);
    assert_eq!(next(&mut watch).await, "2.0 /a gone (was 1)");
    assert_eq!(next(&mut watch).await, "2.1 /b gone (was 1)");
    assert_eq!(all(&*store, "").await, ["/c=1", "/d=1"]);
    assert!(!store.keep(ends).await.unwrap());
    store.revoke(stays).await.unwrap();
    assert_eq!(next(&mut watch).await, "3.0 /c gone (was 1)");
    assert!(matches!(store.revoke(stays).await, Err(Error::NoLease(_))));
    assert!(!store.keep(stays).await.unwrap());
}

pub async fn a_kept_lease_lives(engine: &Engine) {
    let store = engine.open();
    let (kept, left) = (store.lease(3).await.unwrap(), store.lease(3).await.unwrap());
    write(&*store, vec![put_leased("/kept", "1", kept), put_leased("/left", "1", left)]).await;
    let mut watch = store.watch("", 1);
    let mut beat = tokio::time::interval(Duration::from_millis(300));
    // The lease beside it shows that the time was over.
    let gone = loop {
        tokio::select! {
            event = next(&mut watch) => break event,
            _ = beat.tick() => assert!(store.keep(kept).await.unwrap()),
        }
    };
    assert_eq!(gone, "2.0 /left gone (was 1)");
    assert_eq!(all(&*store, "").await, ["/kept=1"]);
}

pub async fn a_key_put_again_leaves_its_lease(engine: &Engine) {
    let store = engine.open();
    let (one, other) = (store.lease(600).await.unwrap(), store.lease(600).await.unwrap());
    write(&*store, vec![put_leased("/free", "1", one), put_leased("/moved", "1", one), put_leased("/anew", "1", one)]).await;
    write(&*store, vec![put("/free", "2"), put_leased("/moved", "2", other), delete("/anew")]).await;
    write(&*store, vec![put("/anew", "2")]).await;
    store.revoke(one).await.unwrap();
    assert_eq!(all(&*store, "").await, ["/anew=2", "/free=2", "/moved=2"]);
    store.revoke(other).await.unwrap();
    assert_eq!(all(&*store, "").await, ["/anew=2", "/free=2"]);
}

pub async fn a_dead_lease_takes_no_keys(engine: &Engine) {
    let store = engine.open();
    let lease = store.lease(600).await.unwrap();
    store.revoke(lease).await.unwrap();
    for dead in [lease, lease + 1000] {
        let refused = store.commit(vec![], vec![put("/a", "1"), put_leased("/b", "1", dead)]).await;
        assert!(matches!(refused, Err(Error::NoLease(lease)) if lease == dead), "{refused:?}");
    }
    assert_eq!(store.get("/a").await.unwrap(), (0, None));
}

pub async fn a_lease_may_hold_more_keys_than_a_commit(engine: &Engine) {
    let store = engine.open();
    let lease = store.lease(600).await.unwrap();
    for part in 0..3 {
        write(&*store, (0..100).map(|n| put_leased(&format!("/{part}/{n:02}"), "1", lease)).collect()).await;
    }
    store.revoke(lease).await.unwrap();
    assert_eq!(all(&*store, "").await.len(), 0);
    let mut watch = store.watch("", 3);
    let mut gone = std::collections::BTreeSet::new();
    while gone.len() < 300 {
        let event = next_event(&mut watch).await;
        assert!(event.item.is_none() && gone.insert(event.key().to_owned()));
    }
}

pub async fn a_restart_gives_a_lease_its_whole_time(engine: &Engine) {
    let store = engine.open();
    let (short, long) = (store.lease(2).await.unwrap(), store.lease(600).await.unwrap());
    write(&*store, vec![put_leased("/short", "1", short), put_leased("/long", "1", long)]).await;
    drop(store);
    let store = engine.open();
    assert!(store.keep(short).await.unwrap() && store.keep(long).await.unwrap());
    assert_eq!(next(&mut store.watch("", 1)).await, "2.0 /short gone (was 1)");
    assert_eq!(all(&*store, "").await, ["/long=1"]);
    store.revoke(long).await.unwrap();
    assert_eq!(all(&*store, "").await.len(), 0, "it still knows its keys");
}
