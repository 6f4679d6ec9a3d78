//! Guards, atomicity, limits, and many callers at once.

use scheduler::store::{MAX_COMMIT_BYTES, MAX_OPS};

use super::*;

pub async fn a_new_store_is_empty(engine: &Engine) {
    let store = engine.open();
    assert_eq!(store.get("/a").await.unwrap(), (0, None));
    let page = store.list("", 0, None).await.unwrap();
    assert_eq!((page.revision, page.items.len(), page.next), (0, 0, None));
}

pub async fn an_item_knows_when_it_was_made_and_changed(engine: &Engine) {
    let store = engine.open();
    assert_eq!(write(&*store, vec![put("/a", "1")]).await, 1);
    assert_eq!(write(&*store, vec![put("/a", "2")]).await, 2);
    let changed = item(&*store, "/a").await.unwrap();
    assert_eq!((changed.created, changed.modified, text(&changed)), (1, 2, "/a=2".to_owned()));
    write(&*store, vec![delete("/a")]).await;
    assert_eq!(item(&*store, "/a").await, None);
    write(&*store, vec![put("/a", "3")]).await;
    let anew = item(&*store, "/a").await.unwrap();
    assert_eq!((anew.created, anew.modified), (4, 4), "a key made anew is a new item");
}

pub async fn guards_hold_or_nothing_happens(engine: &Engine) {
    let store = engine.open();
    write(&*store, vec![put("/a", "1")]).await;
    let exists = |key: &str| Guard::Exists(key.to_owned());
    let absent = |key: &str| Guard::Absent(key.to_owned());
    let modified = |key: &str, revision| Guard::Modified(key.to_owned(), revision);
    for (guards, failing) in [
        (vec![absent("/a")], "/a"),
        (vec![exists("/b")], "/b"),
        (vec![modified("/a", 2)], "/a"),
        (vec![modified("/b", 0)], "/b"),
        (vec![exists("/a"), exists("/c"), exists("/b")], "/c"),
    ] {
        let done = store.commit(guards, vec![put("/a", "no"), put("/z", "no")]).await.unwrap();
        assert_eq!(done, Commit::Conflict(failing.to_owned()));
    }
    assert_eq!(all(&*store, "").await, ["/a=1"]);
    let guards = vec![exists("/a"), modified("/a", 1), absent("/b")];
    assert_eq!(store.commit(guards, vec![put("/b", "2"), delete("/a")]).await.unwrap(), Commit::Done(2));
    assert_eq!(all(&*store, "").await, ["/b=2"]);
    let gone = store.commit(vec![absent("/a")], vec![put("/a", "3")]).await.unwrap();
    assert_eq!(gone, Commit::Done(3), "a deleted key is absent");
}

pub async fn all_ops_of_a_commit_have_one_revision(engine: &Engine) {
    let store = engine.open();
    write(&*store, vec![put("/a", "1"), put("/b", "1"), put("/c", "1")]).await;
    let page = store.list("", 0, None).await.unwrap();
    assert_eq!(page.revision, 1);
    assert!(page.items.iter().all(|item| item.modified == 1 && item.created == 1));
}

pub async fn what_changes_nothing_makes_no_revision(engine: &Engine) {
    let store = engine.open();
    write(&*store, vec![put("/a", "1")]).await;
    assert_eq!(write(&*store, vec![delete("/b")]).await, 1);
    assert_eq!(write(&*store, vec![]).await, 1);
    assert_eq!(store.commit(vec![Guard::Exists("/a".to_owned())], vec![]).await.unwrap(), Commit::Done(1));
    assert_eq!(write(&*store, vec![delete("/b"), put("/a", "1")]).await, 2, "a put of the same value is a change");
    let mut watch = store.watch("", 1);
    assert_eq!(next(&mut watch).await, "2.1 /a=1 (was 1)", "the ordinal is the op's place, also beside ops without effect");
}

pub async fn limits_are_etcds(engine: &Engine) {
    let store = engine.open();
    let keys = |count: usize| (0..count).map(|n| format!("/k{n:03}")).collect::<Vec<_>>();
    let refused = |result: Result<Commit>| matches!(result, Err(Error::Refused(_)));
    let ops = |count| keys(count).iter().map(|key| put(key, "")).collect::<Vec<_>>();
    let guards = |count| keys(count).into_iter().map(Guard::Absent).collect::<Vec<_>>();
    assert!(refused(store.commit(vec![], ops(MAX_OPS + 1)).await));
    assert!(refused(store.commit(guards(MAX_OPS + 1), vec![]).await));
    assert!(refused(store.commit(vec![], vec![put("/a", "1"), put("/b", "1"), delete("/a")]).await), "a key twice");
    assert!(refused(store.commit(vec![], vec![put("/a", &"x".repeat(MAX_COMMIT_BYTES - 1))]).await));
    assert_eq!(store.get("/a").await.unwrap(), (0, None));
    assert_eq!(store.commit(guards(MAX_OPS), ops(MAX_OPS)).await.unwrap(), Commit::Done(1));
    assert_eq!(write(&*store, vec![put("/a", &"x".repeat(MAX_COMMIT_BYTES - 2))]).await, 2);
    assert_eq!(item(&*store, "/a").await.unwrap().value.len(), MAX_COMMIT_BYTES - 2);
}

pub async fn a_value_is_any_bytes(engine: &Engine) {
    let store = engine.open();
    let value: Bytes = (0..=255).collect::<Vec<u8>>().into();
    for value in [value, Bytes::new()] {
        let put = Op::Put { key: "/ä/é".to_owned(), value: value.clone(), lease: None };
        store.commit(vec![], vec![put]).await.unwrap();
        assert_eq!(item(&*store, "/ä/é").await.unwrap().value, value);
    }
}

/// Every caller reads, adds one and writes if nobody was faster. A lost update would make the sum smaller; a write that two
/// callers believe in would repeat a revision.
pub async fn sixty_four_callers_count_without_loss(engine: &Engine) {
    const CALLERS: usize = 64;
    const EACH: usize = 5;
    let store = engine.open();
    write(&*store, vec![put("/n", "0")]).await;
    let callers = (0..CALLERS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut won = Vec::new();
            while won.len() < EACH {
                let (seen, item) = store.get("/n").await.unwrap();
                let item = item.unwrap();
                let count: usize = String::from_utf8_lossy(&item.value).parse().unwrap();
                let guard = Guard::Modified("/n".to_owned(), item.modified);
                if let Commit::Done(revision) = store.commit(vec![guard], vec![put("/n", &(count + 1).to_string())]).await.unwrap() {
                    assert!(revision > seen, "an acknowledged write is later than what was read before it");
                    assert!(store.get("/n").await.unwrap().0 >= revision, "whoever reads after an answer sees it");
                    won.push((revision, count + 1));
                }
            }
            won
        })
    });
    let mut won: Vec<_> = futures::future::join_all(callers).await.into_iter().flat_map(|caller| caller.unwrap()).collect();
    won.sort_unstable();
    let expected: Vec<_> = (1..=CALLERS * EACH).map(|count| (count as u64 + 1, count)).collect();
    assert_eq!(won, expected);
}
