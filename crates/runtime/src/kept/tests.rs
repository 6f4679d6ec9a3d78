use super::*;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

fn pod(name: &str, secret: &str) -> Pod {
    let spec = json!({"containers": [{"name": "web", "env": [{"name": "KEY", "value": secret}]}]});
    let meta = json!({"name": name, "namespace": "shop", "resourceVersion": secret});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).expect("a pod")
}

/// What a node learns from its watch: the names of the pods of each whole list.
async fn seen(kept: &Arc<Kept>, live: Vec<Event<Pod>>, hangs: bool) -> Vec<String> {
    let live = stream::iter(live);
    let live = if hangs { live.chain(stream::pending()).boxed() } else { live.boxed() };
    let mut events = std::pin::pin!(kept.around(live));
    let mut names = Vec::new();
    let wait = PATIENCE * 2;
    while let Ok(Some(event)) = tokio::time::timeout(wait, events.next()).await {
        match event {
            Event::Init => names.clear(),
            Event::InitApply(pod) | Event::Apply(pod) => names.push(pod.name_any()),
            Event::InitDone => {}
            Event::Delete(pod) => names.retain(|name| *name != pod.name_any()),
        }
    }
    names
}

async fn list(kept: &Arc<Kept>, pods: &[(&str, &str)]) {
    let pods = pods.iter().map(|(name, secret)| Event::InitApply(pod(name, secret)));
    let events = [Event::Init].into_iter().chain(pods).chain([Event::InitDone]).collect();
    seen(kept, events, false).await;
}

/// Opened again once the thread has written everything.
async fn reopened(kept: Arc<Kept>, folder: &Path) -> Arc<Kept> {
    drop(kept);
    for _ in 0..500 {
        // The thread lets go of the file when it is done.
        match Kept::open(folder) {
            Ok(kept) => return kept,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("the file is never let go of")
}

#[tokio::test]
async fn what_was_seen_is_seen_again_when_the_server_is_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = Kept::open(folder.path()).expect("opened");
    assert!(seen(&kept, vec![Event::Init], true).await.is_empty(), "nothing was ever seen");
    list(&kept, &[("a", "1"), ("b", "s3cret-word")]).await;
    let changes = vec![Event::Init, Event::InitApply(pod("b", "s3cret-word")), Event::InitDone, Event::Apply(pod("c", "3"))];
    seen(&kept, changes, false).await;
    let kept = reopened(kept, folder.path()).await;
    let away = seen(&kept, vec![Event::Init, Event::Init], true).await;
    assert_eq!(away, ["b", "c"], "as the last list and what came after it");
    let bytes = std::fs::read(folder.path().join("kept.redb")).expect("the file");
    assert!(!bytes.windows(11).any(|part| part == b"s3cret-word"), "a secret stands there in the clear");
    let back = seen(&kept, vec![Event::Init, Event::InitApply(pod("d", "4")), Event::InitDone], true).await;
    assert_eq!(back, ["d"], "a server that answers is believed alone");
}

struct Source(Option<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl Values for Source {
    async fn values(&self, _: Kind, _: &str, _: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
        self.0.clone().map(Some).ok_or_else(|| "the server is away".into())
    }
}

#[tokio::test]
async fn secrets_are_there_for_as_long_as_a_pod_of_their_namespace_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = Kept::open(folder.path()).expect("opened");
    list(&kept, &[("a", "1")]).await;
    let values = BTreeMap::from([("KEY".to_owned(), b"word".to_vec())]);
    let online = kept.values(Arc::new(Source(Some(values.clone()))));
    assert_eq!(online.values(Kind::Secret, "shop", "s").await, Ok(Some(values.clone())));
    let kept = reopened(
        {
            drop(online);
            kept
        },
        folder.path(),
    )
    .await;
    let away = kept.values(Arc::new(Source(None)));
    assert_eq!(away.values(Kind::Secret, "shop", "s").await, Ok(Some(values)));
    assert!(away.values(Kind::ConfigMap, "shop", "s").await.is_err(), "another kind is another object");
    assert!(away.values(Kind::Secret, "other", "s").await.is_err());
    list(&kept, &[]).await;
    let kept = reopened(
        {
            drop(away);
            kept
        },
        folder.path(),
    )
    .await;
    assert!(kept.values(Arc::new(Source(None))).values(Kind::Secret, "shop", "s").await.is_err(), "its pods are gone");
}
