//! Objects over a store in memory: versions, guards, watches, sealed secrets.

use futures::StreamExt;
use serde_json::json;

use super::*;
use crate::kinds::{DEPLOYMENT, NODE, POD, SECRET};
use crate::pki::ClusterKey;
use crate::store::memory::Memory;

fn objects() -> Objects {
    Objects::new(Arc::new(Memory::new()), Seal::ephemeral().unwrap())
}

fn pod(namespace: &str, name: &str) -> Object {
    Object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": {"x": 1}}))
}

fn secret(name: &str, value: &str) -> Object {
    Object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "stringData": {"v": value}}))
}

fn delete_pod(name: &str, resource_version: Option<u64>) -> Write {
    Write::Delete { kind: &POD, namespace: "default".to_owned(), name: name.to_owned(), resource_version }
}

async fn create(objects: &Objects, object: Object) -> Object {
    objects.commit(vec![Write::Create(object)]).await.unwrap().remove(0)
}

async fn names(objects: &Objects, kind: &'static Kind, namespace: Option<&str>) -> Vec<String> {
    objects.list(kind, namespace, 0, None).await.unwrap().items.iter().map(Object::full_name).collect()
}

#[tokio::test]
async fn each_object_of_a_commit_has_a_version_of_its_own() {
    let objects = objects();
    let writes = vec![Write::Create(pod("default", "a")), Write::Create(pod("other", "b")), Write::Create(pod("default", "c"))];
    let made = objects.commit(writes).await.unwrap();
    assert_eq!(made.iter().map(Object::resource_version).collect::<Vec<_>>(), [256, 257, 258]);
    assert_eq!(objects.get(&POD, "other", "b").await.unwrap().as_ref(), Some(&made[1]));
    let list = objects.list(&POD, Some("default"), 0, None).await.unwrap();
    assert_eq!((list.resource_version, list.items), (256 + 255, vec![made[0].clone(), made[2].clone()]));
    assert_eq!(names(&objects, &POD, None).await, ["default/a", "default/c", "other/b"]);
    assert!(objects.get(&POD, "default", "b").await.unwrap().is_none());
}

#[tokio::test]
async fn a_stale_writer_changes_nothing() {
    let objects = objects();
    let first = create(&objects, pod("default", "a")).await;
    let mut newer = first.clone();
    newer.set_status(json!({"phase": "Running"}));
    let second = objects.commit(vec![Write::Update(newer)]).await.unwrap().remove(0);
    assert_eq!(second.resource_version(), 512);
    let stale = objects.commit(vec![Write::Create(pod("default", "b")), Write::Update(first.clone())]).await;
    assert!(matches!(&stale, Err(Error::Conflict { kind: "Pod", name }) if name == "default/a"), "{stale:?}");
    assert!(matches!(objects.commit(vec![delete_pod("a", Some(256))]).await, Err(Error::Conflict { .. })));
    assert_eq!(names(&objects, &POD, None).await, ["default/a"]);
    assert_eq!(objects.get(&POD, "default", "a").await.unwrap(), Some(second));
    let unconditional = objects.commit(vec![Write::Update(pod("default", "a"))]).await.unwrap();
    objects.commit(vec![delete_pod("a", Some(unconditional[0].resource_version()))]).await.unwrap();
    assert!(matches!(objects.commit(vec![Write::Update(first)]).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn of_those_who_took_the_same_turn_one_is_done() {
    let objects = objects();
    for round in ["a", "b"] {
        let (first, second) = (objects.turn("/turn".to_owned()).await.unwrap(), objects.turn("/turn".to_owned()).await.unwrap());
        create_with(&objects, pod("default", round), Write::Turn(first)).await.unwrap();
        let lost = create_with(&objects, pod("other", round), Write::Turn(second)).await.unwrap_err();
        assert!(matches!(lost, Error::GuardFailed { .. }), "{lost}");
    }
    assert_eq!(names(&objects, &POD, None).await, ["default/a", "default/b"]);
}

#[tokio::test]
async fn a_write_may_hang_on_another_object_being_as_it_was_read() {
    let objects = objects();
    let other = create(&objects, pod("default", "other")).await;
    create_with(&objects, pod("default", "a"), Write::same(&POD, &other)).await.unwrap();
    objects.commit(vec![Write::Update(other.clone())]).await.unwrap();
    let refused = create_with(&objects, pod("default", "b"), Write::same(&POD, &other)).await.unwrap_err();
    assert!(matches!(refused, Error::GuardFailed { .. }), "{refused}");
    assert_eq!(names(&objects, &POD, None).await, ["default/a", "default/other"]);
}

async fn create_with(objects: &Objects, object: Object, guard: Write) -> Result<Vec<Object>> {
    objects.commit(vec![Write::Create(object), guard]).await
}

#[tokio::test]
async fn what_cannot_be_done_says_why() {
    let objects = objects();
    create(&objects, pod("default", "a")).await;
    let fails = async |writes: Vec<Write>| objects.commit(writes).await.unwrap_err().to_string();
    assert_eq!(fails(vec![Write::Create(pod("default", "a"))]).await, "the Pod default/a exists already");
    assert_eq!(fails(vec![delete_pod("b", None)]).await, "there is no Pod default/b");
    assert_eq!(
        fails(vec![delete_pod("a", None), Write::Update(pod("default", "a"))]).await,
        "the Pod default/a stands in one change twice"
    );
    assert_eq!(
        fails(vec![Write::Guard(Guard::Exists("/leader".to_owned())), delete_pod("a", None)]).await,
        "the guard on /leader did not hold"
    );
    assert!(fails(vec![Write::Create(pod("../x", "b"))]).await.contains("cannot live in namespace"));
    assert!(fails(vec![Write::Create(pod("default", ""))]).await.contains("cannot be named"));
    assert!(fails(vec![Write::Create(Object(json!({"kind": "Foo"})))]).await.contains("no such kind is served"));
    let mut odd = pod("default", "a");
    odd.metadata_mut().insert("resourceVersion".to_owned(), json!("x1"));
    assert!(fails(vec![Write::Update(odd)]).await.contains("is not one that this server gave"));
    let many = (0..=MAX_WRITES).map(|n| Write::Create(pod("default", &n.to_string()))).collect();
    assert!(matches!(objects.commit(many).await, Err(Error::TooLarge(_))));
    assert_eq!(names(&objects, &POD, None).await, ["default/a"]);
}

#[tokio::test]
async fn a_watch_over_several_kinds_keeps_the_order_of_commits() {
    let objects = objects();
    let node = Object(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}));
    let writes =
        vec![Write::Create(pod("default", "a")), Write::Create(node), Write::Create(secret("s", "1")), Write::Create(pod("other", "b"))];
    objects.commit(writes).await.unwrap();
    objects.commit(vec![delete_pod("a", None)]).await.unwrap();
    let told = async |kinds: &[&'static Kind], namespace: Option<&str>, after: u64, count: usize| {
        let events = objects.watch(kinds, namespace, after).take(count).map(|event| event.unwrap()).collect::<Vec<_>>().await;
        events.iter().map(|event| format!("{} {:?} {}", event.resource_version, event.change, event.object.full_name())).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&[&POD, &NODE], None, 0, 4).await,
        ["256 Added default/a", "257 Added n", "259 Added other/b", "512 Deleted default/a"]
    );
    assert_eq!(
        told(&[], Some("default"), 0, 4).await,
        ["256 Added default/a", "257 Added n", "258 Added default/s", "512 Deleted default/a"]
    );
    assert_eq!(told(&[&POD], None, 256, 2).await, ["259 Added other/b", "512 Deleted default/a"], "a version within a commit");
    assert_eq!(told(&[&POD], Some("default"), 511, 1).await, ["512 Deleted default/a"], "the version of a list");
    let gone = objects.watch(&[&POD], Some("default"), 511).next().await.unwrap().unwrap();
    assert_eq!((gone.object.resource_version(), gone.previous.unwrap().resource_version()), (512, 256));
    objects.store().compact(1).await.unwrap();
    let old = objects.watch(&[&POD], None, 300).next().await;
    assert!(matches!(old, Some(Err(Error::Gone { asked: 255, oldest: 511 }))), "{old:?}");
}

#[tokio::test]
async fn bookmarks_come_to_those_who_want_them() {
    let objects = objects();
    create(&objects, pod("default", "a")).await;
    let mut plain = objects.watch(&[&NODE], None, 511);
    let mut marked = objects.watch_with_bookmarks(&[&NODE], None, 511);
    assert!(futures::poll!(plain.next()).is_pending() && futures::poll!(marked.next()).is_pending());
    objects.bookmark().await.unwrap();
    let mark = marked.next().await.unwrap().unwrap();
    assert_eq!((mark.change, mark.resource_version, mark.kind.kind), (Change::Bookmark, objects.resource_version().await.unwrap(), "Node"));
    assert!(futures::poll!(plain.next()).is_pending());
}

#[tokio::test]
async fn a_list_goes_on_where_it_stopped() {
    let objects = objects();
    for n in 0..5 {
        create(&objects, pod("default", &n.to_string())).await;
    }
    let first = objects.list(&POD, None, 2, None).await.unwrap();
    objects.commit(vec![delete_pod("3", None)]).await.unwrap();
    let token = first.next.unwrap().to_string();
    let second = objects.list(&POD, None, 2, Some(token.parse().unwrap())).await.unwrap();
    assert_eq!(second.items.iter().map(Object::name).collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(second.resource_version, first.resource_version);
    let elsewhere = objects.list(&DEPLOYMENT, None, 2, Some(token.parse().unwrap())).await;
    assert!(matches!(elsewhere, Err(Error::Invalid(_))));
    assert!(matches!("x y".parse::<Continue>(), Err(Error::Invalid(_))));
    objects.store().compact(6).await.unwrap();
    let late = objects.list(&POD, None, 2, Some(token.parse().unwrap())).await;
    assert!(matches!(late, Err(Error::Gone { .. })), "{late:?}");
}

#[tokio::test]
async fn secrets_lie_sealed_and_open_with_their_cluster_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = ClusterKey::open_or_create(&folder.path().join("cluster.key")).unwrap();
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let objects = Objects::new(store.clone(), Seal::load(&*store, &cluster).await.unwrap());
    create(&objects, secret("s", "hunter2")).await;
    let raw = store.get("/objects/core/secrets/default/s").await.unwrap().1.unwrap().value;
    assert!(!String::from_utf8_lossy(&raw).contains("hunter2") && !String::from_utf8_lossy(&raw).contains("stringData"));
    let again = Objects::new(store.clone(), Seal::load(&*store, &cluster).await.unwrap());
    assert_eq!(again.get(&SECRET, "default", "s").await.unwrap().unwrap().0["stringData"]["v"], "hunter2");
    assert_eq!(again.watch(&[&SECRET], None, 0).next().await.unwrap().unwrap().object.0["stringData"]["v"], "hunter2");
    // Under another name it is another secret, and nobody can put it there.
    let moved = Op::Put { key: "/objects/core/secrets/default/other".to_owned(), value: raw, lease: None };
    store.commit(vec![], vec![moved]).await.unwrap();
    assert!(matches!(again.get(&SECRET, "default", "other").await, Err(Error::Unreadable { .. })));
    let stranger = ClusterKey::open_or_create(&folder.path().join("other.key")).unwrap();
    let refused = Seal::load(&*store, &stranger).await.err().unwrap().to_string();
    assert!(refused.contains("restore pki/cluster.key"), "{refused}");
    let foreign = Objects::new(store, Seal::ephemeral().unwrap());
    assert!(matches!(foreign.get(&SECRET, "default", "s").await, Err(Error::Unreadable { .. })));
}

#[tokio::test]
async fn what_is_stored_is_canonical_and_keeps_unknown_fields() {
    let objects = objects();
    let text = r#"{"zeta":{"b":[1,2.5,null],"a":"ä"},"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"default","name":"a","later":{"x":true}}}"#;
    create(&objects, Object(serde_json::from_str(text).unwrap())).await;
    let raw = objects.store().get("/objects/core/pods/default/a").await.unwrap().1.unwrap().value;
    let canonical = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"later":{"x":true},"name":"a","namespace":"default"},"zeta":{"a":"ä","b":[1,2.5,null]}}"#;
    assert_eq!(&raw[..3], [1, 0, 0]);
    assert_eq!(std::str::from_utf8(&raw[3..]).unwrap(), canonical);
    let mut read = objects.get(&POD, "default", "a").await.unwrap().unwrap();
    read.set_label("l", "1");
    objects.commit(vec![Write::Update(read)]).await.unwrap();
    let read = objects.get(&POD, "default", "a").await.unwrap().unwrap();
    assert_eq!((&read.0["zeta"]["b"][1], &read.0["metadata"]["later"]["x"]), (&json!(2.5), &json!(true)));
}

#[tokio::test]
async fn an_envelope_of_a_newer_format_is_refused() {
    let objects = objects();
    for (value, word) in [
        (&[9, 0, 0, b'{', b'}'][..], "use the wctl that wrote it"),
        (&[1, 7, 0, b'{', b'}'], "does not know"),
        (&[1, 0], "no object"),
        (&[1, 0, 0, b'{'], "no JSON"),
    ] {
        let put = Op::Put { key: "/objects/core/pods/default/a".to_owned(), value: value.to_vec().into(), lease: None };
        objects.store().commit(vec![], vec![put]).await.unwrap();
        let refused = objects.get(&POD, "default", "a").await.unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn stamps_are_set_once_and_generations_count_what_is_asked_for() {
    let now: jiff::Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    let mut object = pod("default", "a");
    object.metadata_mut().insert("resourceVersion".to_owned(), json!("7"));
    object.stamp_new("u-1", now);
    assert_eq!((object.uid(), object.created(), object.generation(), object.resource_version()), ("u-1", "2026-01-02T03:04:05Z", 1, 0));
    let mut reported = pod("default", "a");
    reported.set_status(json!({"phase": "Running"}));
    reported.stamp_changed(&object);
    assert_eq!((reported.uid(), reported.created(), reported.generation()), ("u-1", "2026-01-02T03:04:05Z", 1));
    let mut changed = reported.clone();
    changed.0["spec"]["x"] = json!(2);
    changed.metadata_mut().insert("uid".to_owned(), json!("forged"));
    changed.stamp_changed(&reported);
    assert_eq!((changed.uid(), changed.generation()), ("u-1", 2));
}
