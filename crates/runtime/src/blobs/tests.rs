//! Objects: kept, replaced, bounded, apart.

use super::*;
use crate::volumes::NAME;

fn blobs(app: u64) -> (tempfile::TempDir, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path(), Limits { app, ..Limits::default() }).unwrap();
    (folder, blobs)
}

fn put(store: &Arc<Store>, container: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let upload = store.upload()?;
    upload.write(bytes)?;
    upload.finish(container, name)
}

fn get(store: &Store, container: &str, name: &str) -> Option<String> {
    let object = store.object(container, name).unwrap()?;
    let mut bytes = vec![0; object.size as usize];
    object.read_at(&mut bytes, 0).unwrap();
    Some(String::from_utf8(bytes).unwrap())
}

fn names(store: &Store, container: &str) -> Vec<String> {
    let mut names = store.names(container).unwrap();
    let mut all: Vec<String> = std::iter::from_fn(|| names.next_name().unwrap()).collect();
    all.sort();
    all
}

/// What is counted, which must be what a fresh look counts.
fn used(blobs: &Blobs, store: Arc<Store>) -> u64 {
    let counted = store.bytes();
    drop(store);
    assert_eq!(counted, blobs.of("n", "a").unwrap().bytes(), "a fresh look counts something else");
    counted
}

#[test]
fn objects_are_kept_replaced_and_removed() {
    let (_folder, blobs) = blobs(1 << 20);
    let store = blobs.of("n", "a").unwrap();
    let empty = store.bytes();
    let odd = ["x", "../x", "X", "a/b", "ü ", "\0", "%2F", &"n".repeat(1024)];
    for name in odd {
        put(&store, "c", name, name.as_bytes()).unwrap();
    }
    put(&store, "d", "x", b"of another container").unwrap();
    put(&store, "c", "x", b"replaced").unwrap();
    let mut want: Vec<String> = odd.iter().map(ToString::to_string).collect();
    want.sort();
    assert_eq!(names(&store, "c"), want);
    assert_eq!((get(&store, "c", "x").as_deref(), get(&store, "c", "X").as_deref()), (Some("replaced"), Some("X")));
    drop(store);
    let store = blobs.of("n", "a").unwrap();
    assert_eq!(get(&store, "d", "x").as_deref(), Some("of another container"));
    assert!(store.remove("c", "x").unwrap() && !store.remove("c", "x").unwrap() && get(&store, "c", "x").is_none());
    store.copy(("d", "x"), ("c", "copy")).unwrap();
    assert_eq!(get(&store, "c", "copy"), get(&store, "d", "x"));
    assert!(matches!(store.copy(("d", "none"), ("c", "copy")), Err(Error::NoObject(_))));
    store.clear("c").unwrap();
    store.clear("d").unwrap();
    assert!(names(&store, "c").is_empty() && names(&store, "none").is_empty());
    assert_eq!(used(&blobs, store), empty + 2 * NAME, "two containers are left");
}

#[test]
fn h44_apps_do_not_see_each_other_and_names_have_bounds() {
    let (_folder, blobs) = blobs(1 << 20);
    put(&blobs.of("n", "a").unwrap(), "c", "x", b"mine").unwrap();
    for (namespace, app) in [("n", "b"), ("m", "a"), ("n_a", ""), ("", "n_a")] {
        assert!(get(&blobs.of(namespace, app).unwrap(), "c", "x").is_none());
    }
    let store = blobs.of("n", "a").unwrap();
    for name in ["", &"n".repeat(1025)] {
        assert!(matches!(put(&store, "c", name, b""), Err(Error::BadName(1024))));
        assert!(matches!(store.object("c", name), Err(Error::BadName(_))));
    }
    assert!(get(&store, "c/../c", "x").is_none());
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let (_folder, blobs) = blobs(100_000);
    let store = blobs.of("n", "a").unwrap();
    put(&store, "c", "x", &[0; 50_000]).unwrap();
    let before = store.bytes();
    let refused = put(&store, "c", "y", &[0; 50_000]).unwrap_err().to_string();
    assert!(refused.contains("may hold 97Ki together") || refused.contains("may hold 97"), "{refused}");
    assert_eq!(store.bytes(), before, "the upload is gone");
    // One that replaces another needs room for both until it is whole.
    assert!(matches!(put(&store, "c", "x", &[0; 50_000]), Err(Error::Full { .. })));
    put(&store, "c", "x", &[0; 20_000]).unwrap();
    put(&store, "c", "y", &[0; 50_000]).unwrap();
    let many = (0..1000).take_while(|n| put(&store, "c", &format!("{n}"), b"").is_ok()).count();
    assert!(many < 10, "empty objects count too: {many}");
    assert!(used(&blobs, store) <= 100_000);
}

#[test]
fn an_object_that_is_removed_while_it_is_read_counts_until_then() {
    let (_folder, blobs) = blobs(100_000);
    let store = blobs.of("n", "a").unwrap();
    put(&store, "c", "x", &[1; 50_000]).unwrap();
    let object = store.object("c", "x").unwrap().unwrap();
    store.remove("c", "x").unwrap();
    assert!(matches!(put(&store, "c", "y", &[0; 50_000]), Err(Error::Full { .. })));
    let mut byte = [0];
    assert_eq!((object.read_at(&mut byte, 49_999).unwrap(), byte), (1, [1]));
    drop(object);
    put(&store, "c", "y", &[0; 50_000]).unwrap();
}

#[test]
fn what_was_not_finished_when_the_node_ended_is_removed() {
    let (folder, blobs) = blobs(1 << 20);
    let store = blobs.of("n", "a").unwrap();
    let empty = store.bytes();
    drop(store);
    let left = folder.path().join("n_a").join(folder::UPLOADS).join("left");
    fs::write(&left, "left").unwrap();
    assert_eq!(blobs.of("n", "a").unwrap().bytes(), empty);
    assert!(!left.exists());
}
