//! Buckets: limits, isolation, swaps and pages, in the node's file and in a Redis. The latter is left out where no `redis-server` is installed,
//! unless WCTL_REQUIRE_TOOLS=1.

use std::sync::Arc;

use super::*;

fn id(namespace: &str, app: &str, bucket: &str) -> BucketId {
    BucketId { namespace: namespace.into(), app: app.into(), bucket: bucket.into() }
}

const SMALL: Limits = Limits { key: 8, value: 20, bucket: 200 };

/// A Redis of one test.
struct Server {
    child: std::process::Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Option<Server> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(folder.path().join("socket"));
        match command.stdout(std::process::Stdio::null()).spawn() {
            Ok(child) => Some(Server { child, folder }),
            Err(error) => {
                let required = std::env::var_os("WCTL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
                assert!(!required, "redis-server is required: {error}");
                eprintln!("redis-server is missing ({error}): buckets in Redis are not tested");
                None
            }
        }
    }

    async fn buckets(&self) -> Redis {
        let redis = Redis::new(&format!("redis+unix://{}", self.folder.path().join("socket").display()), SMALL).unwrap();
        for _ in 0..200 {
            if redis.check().await.is_ok() {
                return redis;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("Redis does not answer");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does the same with buckets of each kind.
async fn with_each(test: impl AsyncFn(Buckets)) {
    test(Buckets::in_memory(SMALL).unwrap()).await;
    if let Some(server) = cfg!(unix).then(Server::start).flatten() {
        test(Buckets::of(server.buckets().await)).await;
    }
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
    with_each(async |buckets| {
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
    })
    .await;
}

#[tokio::test]
async fn many_swaps_at_once_lose_nothing() {
    with_each(async |buckets| {
        let bucket = buckets.bucket(id("n", "a", "b"));
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
    })
    .await;
}

#[tokio::test]
async fn a_key_that_was_deleted_and_made_again_is_another() {
    with_each(async |buckets| {
        let bucket = buckets.bucket(id("n", "a", "b"));
        set(&bucket, "k", "1").await.unwrap();
        let seen = bucket.get("k").await.unwrap().unwrap().version;
        bucket.set_many(vec![("k".into(), None)]).await.unwrap();
        set(&bucket, "k", "1").await.unwrap();
        let stale = bucket.swap("k", Some(seen), "2".into()).await.unwrap().unwrap_err();
        assert_eq!(stale.unwrap().value, "1");
    })
    .await;
}

#[tokio::test]
async fn h44_sizes_are_limited_and_a_full_bucket_can_be_emptied() {
    with_each(async |buckets| {
        let bucket = buckets.bucket(id("n", "a", "b"));
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
    })
    .await;
}

#[tokio::test]
async fn h44_buckets_of_other_apps_and_namespaces_are_apart_whatever_their_names() {
    with_each(async |buckets| {
        let mine = buckets.bucket(id("n", "a", "b"));
        set(&mine, "../x", "1").await.unwrap();
        for other in [id("n", "a", "bb"), id("n", "ab", ""), id("na", "b", ""), id("n", "c", "b"), id("m", "a", "b"), id("", "n", "a")] {
            let other = buckets.bucket(other);
            assert_eq!(other.get("../x").await, Ok(None));
            assert_eq!(other.keys(None, 10).await, Ok(Keys::default()));
        }
        assert_eq!(mine.keys(None, 10).await.unwrap().keys, ["../x"]);
    })
    .await;
}

#[tokio::test]
async fn keys_come_in_pages() {
    with_each(async |buckets| {
        let bucket = buckets.bucket(id("n", "a", "b"));
        for key in ["c", "a", "b"] {
            set(&bucket, key, "").await.unwrap();
        }
        let first = bucket.keys(None, 2).await.unwrap();
        assert_eq!((first.keys, first.next.as_deref()), (vec!["a".to_owned(), "b".into()], Some("b")));
        let second = bucket.keys(Some("b"), 2).await.unwrap();
        assert_eq!((second.keys, second.next), (vec!["c".to_owned()], None));
    })
    .await;
}

#[tokio::test]
async fn only_numbers_are_incremented() {
    with_each(async |buckets| {
        let bucket = buckets.bucket(id("n", "a", "b"));
        set(&bucket, "word", "pear").await.unwrap();
        assert!(matches!(bucket.increment("word", 1).await, Err(Error::NotANumber(_))));
        assert_eq!(bucket.increment("n", i64::MAX).await, Ok(i64::MAX));
        assert!(matches!(bucket.increment("n", 1).await, Err(Error::NotANumber(_))));
        assert_eq!(bucket.get("n").await.unwrap().unwrap().value, i64::MAX.to_string());
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_away_is_said_to_be_and_found_again() {
    assert!(matches!(Redis::new("http://a.example", SMALL), Err(Error::Store(why)) if why.contains("not valid")));
    let Some(mut server) = cfg!(unix).then(Server::start).flatten() else { return };
    let buckets = Buckets::of(server.buckets().await);
    let bucket = buckets.bucket(id("n", "a", "b"));
    set(&bucket, "k", "1").await.unwrap();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let error = bucket.get("k").await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached") && !error.contains("socket"), "{error}");
    assert!(set(&bucket, "k", "2").await.is_err());
    let socket = server.folder.path().join("socket");
    let mut again = std::process::Command::new("redis-server");
    again.args(["--port", "0", "--save", "", "--unixsocket"]).arg(socket).stdout(std::process::Stdio::null());
    server.child = again.spawn().unwrap();
    let mut found = bucket.get("k").await;
    for _ in 0..200 {
        if found.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        found = bucket.get("k").await;
    }
    assert_eq!(found, Ok(None));
    set(&bucket, "k", "3").await.unwrap();
}
