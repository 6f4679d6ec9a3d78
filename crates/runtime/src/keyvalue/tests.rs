//! Buckets: limits, isolation, swaps and pages.

use std::sync::Arc;

use super::*;

fn id(namespace: &str, app: &str, bucket: &str) -> BucketId {
    BucketId { namespace: namespace.into(), app: app.into(), bucket: bucket.into() }
}

fn small() -> Buckets {
    Buckets::in_memory(Limits { key: 8, value: 20, bucket: 200 }).unwrap()
}

async fn set(bucket: &Arc<dyn Bucket>, key: &str, value: &'static str) -> Result<(), Error> {
    bucket.set_many(vec![(key.into(), Some(value.into()))]).await
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let buckets = Buckets::open(dir.path(), Limits::default()).unwrap();
    let bucket = buckets.bucket(id("default", "shop", "stock"));
    set(&bucket, "apple", "10").await.unwrap();
    assert_eq!(bucket.increment("apple", -3).await, Ok(7));
    drop((bucket, buckets));
    // The writing thread lets go of the file a moment after the last handle is gone.
    let again = loop {
        match Buckets::open(dir.path(), Limits::default()) {
            Ok(buckets) => break buckets,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let found = again.bucket(id("default", "shop", "stock")).get("apple").await.unwrap().unwrap();
    assert_eq!(found.value, "7");
}

#[tokio::test]
async fn an_app_that_is_forgotten_takes_nothing_of_others_along() {
    let buckets = small();
    let kept = [id("n", "ab", "x"), id("n", "a0", "x"), id("na", "a", "x"), id("m", "a", "x")];
    let gone = [id("n", "a", "x"), id("n", "a", "y")];
    for id in kept.iter().chain(&gone) {
        set(&buckets.bucket(id.clone()), "k", "v").await.unwrap();
    }
    buckets.forget("n", "a").await.unwrap();
    for id in gone {
        let bucket = buckets.bucket(id);
        assert_eq!(bucket.get("k").await, Ok(None));
        // Nor does what was there count any more: the bucket has room for as much as a new one.
        let full: Vec<_> = (0..5).map(|n| (n.to_string(), Some(Bytes::from_static(b"123")))).collect();
        bucket.set_many(full).await.unwrap();
    }
    for id in kept {
        assert_eq!(buckets.bucket(id.clone()).get("k").await.unwrap().map(|found| found.value), Some("v".into()), "{id:?}");
    }
}

#[tokio::test]
async fn many_swaps_at_once_lose_nothing() {
    let bucket = small().bucket(id("n", "a", "b"));
    let add = |bucket: Arc<dyn Bucket>| async move {
        loop {
            let seen = bucket.get("n").await.unwrap();
            let next = seen.as_ref().map_or(0, |seen| String::from_utf8_lossy(&seen.value).parse::<u32>().unwrap()) + 1;
            if bucket.swap("n", seen.map(|seen| seen.version), next.to_string().into()).await.unwrap().is_ok() {
                return;
            }
        }
    };
    futures::future::join_all((0..50).map(|_| tokio::spawn(add(bucket.clone())))).await;
    assert_eq!(bucket.get("n").await.unwrap().unwrap().value, "50");
}

#[tokio::test]
async fn a_key_that_was_deleted_and_made_again_is_another() {
    let bucket = small().bucket(id("n", "a", "b"));
    set(&bucket, "k", "1").await.unwrap();
    let seen = bucket.get("k").await.unwrap().unwrap().version;
    bucket.set_many(vec![("k".into(), None)]).await.unwrap();
    set(&bucket, "k", "1").await.unwrap();
    let stale = bucket.swap("k", Some(seen), "2".into()).await.unwrap().unwrap_err();
    assert_eq!(stale.unwrap().value, "1");
}

#[tokio::test]
async fn h44_sizes_are_limited_and_a_full_bucket_can_be_emptied() {
    let bucket = small().bucket(id("n", "a", "b"));
    assert!(matches!(set(&bucket, "123456789", "").await, Err(Error::TooLarge(_))));
    assert!(matches!(set(&bucket, "", "").await, Err(Error::TooLarge(_))));
    assert!(matches!(set(&bucket, "k", "123456789012345678901").await, Err(Error::TooLarge(_))));
    let mut written = 0;
    while set(&bucket, &format!("k{written}"), "1234567890").await.is_ok() {
        written += 1;
        assert!(written < 10, "the bucket takes more than its limit");
    }
    assert_eq!(written, 4);
    // All or none: the deletion does not happen when the rest is refused.
    let both = vec![("k0".into(), None), ("k9".into(), Some("123456789012345678901".into()))];
    assert!(bucket.set_many(both).await.is_err());
    assert!(bucket.get("k0").await.unwrap().is_some());
    bucket.set_many(vec![("k0".into(), None)]).await.unwrap();
    set(&bucket, "k9", "1").await.unwrap();
}

#[tokio::test]
async fn h44_buckets_of_other_apps_and_namespaces_are_apart_whatever_their_names() {
    let buckets = small();
    let mine = buckets.bucket(id("n", "a", "b"));
    set(&mine, "../x", "1").await.unwrap();
    for other in [id("n", "a", "bb"), id("n", "ab", ""), id("na", "b", ""), id("n", "c", "b"), id("m", "a", "b"), id("", "n", "a")] {
        let other = buckets.bucket(other);
        assert_eq!(other.get("../x").await, Ok(None));
        assert_eq!(other.keys(None, 10).await, Ok(Keys::default()));
    }
    assert_eq!(mine.keys(None, 10).await.unwrap().keys, ["../x"]);
}

#[tokio::test]
async fn keys_come_in_pages() {
    let bucket = small().bucket(id("n", "a", "b"));
    for key in ["c", "a", "b"] {
        set(&bucket, key, "").await.unwrap();
    }
    let first = bucket.keys(None, 2).await.unwrap();
    assert_eq!((first.keys, first.next.as_deref()), (vec!["a".to_owned(), "b".into()], Some("b")));
    let second = bucket.keys(Some("b"), 2).await.unwrap();
    assert_eq!((second.keys, second.next), (vec!["c".to_owned()], None));
}

#[tokio::test]
async fn only_numbers_are_incremented() {
    let bucket = small().bucket(id("n", "a", "b"));
    set(&bucket, "word", "pear").await.unwrap();
    assert!(matches!(bucket.increment("word", 1).await, Err(Error::NotANumber(_))));
    assert_eq!(bucket.increment("n", i64::MAX).await, Ok(i64::MAX));
    assert!(matches!(bucket.increment("n", 1).await, Err(Error::NotANumber(_))));
    assert_eq!(bucket.get("n").await.unwrap().unwrap().value, i64::MAX.to_string());
}
