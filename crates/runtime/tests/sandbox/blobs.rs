//! Containers of objects: what is granted, what is kept, what does not fit.

use std::sync::Arc;
use std::time::Duration;

use runtime::blobs::{Blobs, Limits};
use runtime::sandbox::{Error, Guest, Host, PodIdentity, Spec};

use crate::support::{code, get, host, spec, world};

struct Place {
    blobs: Arc<Blobs>,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new(app: u64) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(folder.path(), Limits { app, ..Limits::default() }).unwrap());
        Place { blobs, _folder: folder }
    }

    async fn guest(&self, spec: Spec) -> Guest {
        let host = Host { blobs: Some(self.blobs.clone()), ..host(&Default::default()) };
        Guest::prepare(&world().engines, code("hostile").await, spec, host).await.unwrap()
    }

    fn used(&self) -> u64 {
        let pod = spec().pod;
        self.blobs.of(&pod.namespace, &pod.app.unwrap()).unwrap().bytes()
    }
}

fn granted(containers: &[&str]) -> Spec {
    Spec { blobs: containers.iter().map(ToString::to_string).collect(), time: Duration::from_secs(60), ..spec() }
}

async fn check(guest: &Guest, acts: &[(&str, &str)]) {
    for (act, answer) in acts {
        assert_eq!(get(guest, &format!("/blobs?{act}")).await, *answer, "{act}");
    }
}

#[tokio::test]
async fn a_container_that_is_not_granted_is_refused() {
    let place = Place::new(1 << 20);
    let refusal = "access to the container `other` is not granted; name it in uses.blobs";
    let (told, wrapped) = (format!("Err({refusal:?})"), refusal.to_owned());
    let some = place.guest(granted(&["uploads"])).await;
    check(&some, &[("put|uploads|x|v", "Ok(())"), ("exists|uploads", "Ok(true)"), ("body", "Ok(())")]).await;
    let none = place.guest(spec()).await;
    check(&none, &[("body", "Err(())")]).await;
    for guest in [some, none] {
        check(&guest, &[("get|other|x", &wrapped), ("create|other", &wrapped), ("exists|other", &told), ("delete|other", &told)]).await;
        check(&guest, &[("copy|other|x|uploads", &told), ("move|other|x|uploads", &told)]).await;
    }
    let some = place.guest(granted(&["uploads"])).await;
    check(&some, &[("copy|uploads|x|other", &told), ("get|uploads/../other|x", &refusal.replace("other", "uploads/../other"))]).await;
    let bare = Guest::prepare(&world().engines, code("hostile").await, granted(&["x"]), host(&Default::default())).await;
    assert!(matches!(bare, Err(Error::Blobs { .. })), "a host without containers grants none");
}

#[tokio::test]
async fn every_act_on_objects_works() {
    let place = Place::new(1 << 20);
    let guest = place.guest(granted(&["c", "d"])).await;
    check(
        &guest,
        &[
            ("create|c", r#"Ok(("c", true))"#),
            ("names|c", "(0, false) [] true"),
            ("get|c|x", "there is no object x"),
            ("has|c|x", "Ok(false)"),
            ("remove|c|x", "Ok(())"),
            ("put|c|x|hello", "Ok(())"),
            ("put|c|../y|other", "Ok(())"),
            ("get|c|x", r#"Ok("hello")"#),
            ("range|c|x|1-3", "3 ell"),
            ("range|c|x|3-99", "2 lo"),
            ("range|c|x|9-99", "0 "),
            ("range|c|x|3-1", "0 "),
            ("put|c|x|bye", "Ok(())"),
            ("get|c|x", r#"Ok("bye")"#),
            ("info|c|x", r#"Ok(("c", "x", 3))"#),
            ("names|c", r#"(0, false) ["../y", "x"] true"#),
            ("names|c|9", "(2, true) [] true"),
            ("has|d|x", "Ok(false)"),
            ("copy|c|x|d", "Ok(())"),
            ("move|c|../y|d", "Ok(())"),
            ("move|d|x|d", "Ok(())"),
            ("names|d", r#"(0, false) ["../y", "x"] true"#),
            ("names|c", r#"(0, false) ["x"] true"#),
            ("remove|c|x", "Ok(())"),
            ("has|c|x", "Ok(false)"),
            ("unfinished|c|half", "Ok(()) true"),
            ("has|c|half", "Ok(false)"),
            ("nowhere|c", r#"Err("the value goes to no object; call write-data before finish")"#),
            ("empty|c|e", r#"(Ok(()), Err("the value goes to an object already; make another")) Ok(())"#),
            ("get|c|e", r#"Ok("")"#),
            ("clear|d", "Ok(())"),
            ("names|d", "(0, false) [] true"),
            ("delete|c", "Ok(())"),
            ("has|c|e", "Ok(false)"),
            ("put|c||v", r#"Err("an object's name has 1 to 1024 bytes")"#),
        ],
    )
    .await;
}

#[tokio::test]
async fn h44_objects_are_the_apps_and_stay_when_its_pods_go() {
    let place = Place::new(1 << 20);
    check(&place.guest(granted(&["c"])).await, &[("put|c|x|mine", "Ok(())")]).await;
    let cart = PodIdentity { service: "cart".into(), name: "cart-1".into(), ..spec().pod };
    check(&place.guest(Spec { pod: cart, ..granted(&["c"]) }).await, &[("get|c|x", r#"Ok("mine")"#)]).await;
    for pod in [PodIdentity { app: Some("shop2".into()), ..spec().pod }, PodIdentity { namespace: "other".into(), ..spec().pod }] {
        check(&place.guest(Spec { pod, ..granted(&["c"]) }).await, &[("get|c|x", "there is no object x")]).await;
    }
}

#[tokio::test]
async fn large_objects_stream_and_what_does_not_fit_is_refused() {
    let place = Place::new(40 << 20);
    let guest = place.guest(granted(&["c"])).await;
    let large = 5_000 * 4096;
    check(&guest, &[("much|c|x|5000", "Ok(())"), ("length|c|x", &large.to_string())]).await;
    let told = get(&guest, "/blobs?whole|c|x").await;
    assert!(told.contains("20480000 bytes, and 16777216 are given in one piece"), "{told}");
    let told = get(&guest, "/blobs?much|c|y|6000").await;
    assert!(told.contains("the app's objects may hold 40Mi together"), "{told}");
    check(&guest, &[("has|c|y", "Ok(false)"), ("remove|c|x", "Ok(())")]).await;
    let emptied = async {
        while place.used() > 1 << 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), emptied).await.expect("what was refused and removed takes no room");
    check(&guest, &[("much|c|y|6000", "Ok(())")]).await;
}

#[tokio::test]
async fn h44_an_object_that_lacks_a_part_is_never_stored() {
    let place = Place::new(1 << 20);
    let guest = place.guest(granted(&["c"])).await;
    let lacks = r#"Err("a part of the value could not be written, so nothing is kept of it")"#;
    let open = r#"Err("the value's stream is still open; drop it before finish") true"#;
    check(&guest, &[("put|c|x|old", "Ok(())"), ("careless|c|x|300", lacks), ("get|c|x", r#"Ok("old")"#)]).await;
    check(&guest, &[("open|c|x", open), ("get|c|x", r#"Ok("old")"#), ("open|c|y", open), ("has|c|y", "Ok(false)")]).await;
    // What was refused takes no room, so the same again fits when it is small enough.
    check(&guest, &[("careless|c|x|200", "Ok(())"), ("length|c|x", "819200")]).await;
}
