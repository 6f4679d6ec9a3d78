//! Lists at one revision, compaction, restart.

use super::*;

pub async fn a_list_is_in_order_and_only_of_its_prefix(engine: &Engine) {
    let store = engine.open();
    for key in ["/b/2", "/a/1", "/b/1", "/b", "/bb", "/c"] {
        write(&*store, vec![put(key, "x")]).await;
    }
    assert_eq!(all(&*store, "/b/").await, ["/b/1=x", "/b/2=x"]);
    assert_eq!(all(&*store, "/b").await, ["/b=x", "/b/1=x", "/b/2=x", "/bb=x"]);
    assert_eq!(all(&*store, "").await.len(), 6);
    let page = store.list("/b/", 2, None).await.unwrap();
    assert_eq!((page.items.len(), page.next), (2, None), "a page that holds the rest has no next");
}

pub async fn all_pages_show_one_revision(engine: &Engine) {
    let store = engine.open();
    for n in 0..10 {
        write(&*store, vec![put(&format!("/p/{n}"), "old")]).await;
    }
    let first = store.list("/p/", 3, None).await.unwrap();
    assert_eq!(first.items.iter().map(text).collect::<Vec<_>>(), ["/p/0=old", "/p/1=old", "/p/2=old"]);
    // Behind the first page: changed, gone, gone and made anew, new, changed twice.
    write(&*store, vec![put("/p/4", "new"), delete("/p/5"), delete("/p/6"), put("/p/55", "new")]).await;
    write(&*store, vec![put("/p/4", "newer"), put("/p/6", "anew"), put("/p/0", "new")]).await;
    write(&*store, vec![delete("/p/4"), delete("/p/55")]).await;
    let second = store.list("/p/", 4, first.next).await.unwrap();
    assert_eq!(second.revision, first.revision);
    assert_eq!(second.items.iter().map(text).collect::<Vec<_>>(), ["/p/3=old", "/p/4=old", "/p/5=old", "/p/6=old"]);
    assert!(second.items.iter().all(|item| item.modified <= first.revision));
    let third = store.list("/p/", 0, second.next).await.unwrap();
    assert_eq!(third.items.iter().map(text).collect::<Vec<_>>(), ["/p/7=old", "/p/8=old", "/p/9=old"]);
    assert_eq!(third.next, None);
    assert_eq!(
        all(&*store, "/p/").await,
        ["/p/0=new", "/p/1=old", "/p/2=old", "/p/3=old", "/p/6=anew", "/p/7=old", "/p/8=old", "/p/9=old"]
    );
}

pub async fn pages_of_forgotten_history_are_refused(engine: &Engine) {
    let store = engine.open();
    write(&*store, vec![put("/a", "1"), put("/b", "1")]).await;
    let first = store.list("", 1, None).await.unwrap();
    store.compact(1).await.unwrap();
    let still = store.list("", 1, first.next.clone()).await.unwrap();
    assert_eq!(still.items.len(), 1, "the revision that history is forgotten up to can still be read");
    write(&*store, vec![put("/b", "2")]).await;
    store.compact(2).await.unwrap();
    let refused = store.list("", 1, first.next).await;
    assert!(matches!(refused, Err(Error::Compacted { asked: 1, oldest: 2 })), "{refused:?}");
}

pub async fn compaction_keeps_what_is_current(engine: &Engine) {
    let store = engine.open();
    for n in 0..50 {
        write(&*store, vec![put("/often", &n.to_string()), put(&format!("/once/{n}"), "x")]).await;
        if n % 2 == 0 {
            write(&*store, vec![delete(&format!("/once/{n}"))]).await;
        }
    }
    let (before, revision) = (all(&*store, "").await, store.get("").await.unwrap().0);
    store.compact(revision / 2).await.unwrap();
    store.compact(revision / 4).await.unwrap();
    assert_eq!(all(&*store, "").await, before);
    store.compact(revision + 1000).await.unwrap();
    assert_eq!(all(&*store, "").await, before);
    let often = item(&*store, "/often").await.unwrap();
    assert_eq!((often.created, text(&often)), (1, "/often=49".to_owned()));
    assert_eq!(store.get("/once/0").await.unwrap(), (revision, None));
    drop(store);
    let store = engine.open();
    assert_eq!(all(&*store, "").await, before);
    assert_eq!(write(&*store, vec![put("/once/0", "again"), put("/often", "50")]).await, revision + 1);
    let mut watch = store.watch("", revision);
    assert_eq!(next(&mut watch).await, format!("{}.0 /once/0=again", revision + 1));
    assert_eq!(next(&mut watch).await, format!("{}.1 /often=50 (was 49)", revision + 1));
}

pub async fn everything_is_there_after_a_restart(engine: &Engine) {
    let store = engine.open();
    write(&*store, vec![put("/a", "1"), put("/b", "1")]).await;
    write(&*store, vec![put("/a", "2"), delete("/b")]).await;
    let lease = store.lease(600).await.unwrap();
    let before = store.list("", 0, None).await.unwrap();
    drop(store);
    let store = engine.open();
    assert_eq!(store.list("", 0, None).await.unwrap(), before);
    assert_eq!(write(&*store, vec![put("/c", "1")]).await, 3);
    assert_ne!(store.lease(600).await.unwrap(), lease, "a lease is never used again");
    store.compact(2).await.unwrap();
    drop(store);
    let store = engine.open();
    let refused = store.watch("", 1).next().await;
    assert!(matches!(refused, Some(Err(Error::Compacted { asked: 1, oldest: 2 }))), "{refused:?}");
}
