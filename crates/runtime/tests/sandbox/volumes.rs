//! Volumes: what is kept, what counts against their size, and that nothing leads out of them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::sandbox::{Error, Guest, Host, PodIdentity, Spec, VolumeGrant};
use runtime::volumes::{NAME, Volume, VolumeId, Volumes};

use crate::support::{Seen, code, get, host, spec, world};

/// A node's volumes.
pub struct Place {
    pub volumes: Arc<Volumes>,
    pub seen: Arc<Seen>,
    /// What guests were granted: a volume that nobody holds is counted anew, and would always agree with itself.
    held: Mutex<Vec<Arc<Volume>>>,
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Arc::new(Volumes::open(folder.path().join("volumes")).unwrap());
        Place { volumes, seen: Arc::default(), held: Mutex::default(), folder }
    }

    pub async fn guest(&self, name: &str, spec: Spec) -> Result<Guest, Error> {
        let host = Host { volumes: Some(self.volumes.clone()), ..host(&self.seen) };
        let granted: Vec<_> = spec.volumes.iter().filter_map(|grant| id(&spec.pod, &grant.path)).collect();
        self.held.lock().extend(granted.iter().map(|id| self.volumes.volume(id).unwrap()));
        Guest::prepare(&world().engines, code(name).await, spec, host).await
    }

    /// What a fresh pod prints that does these acts, one a line.
    async fn acts(&self, spec: Spec, acts: &[&str]) -> Vec<String> {
        let args = ["files"].iter().chain(acts).map(ToString::to_string).collect();
        let guest = self.guest("files", Spec { args, time: Duration::from_secs(60), ..spec }).await.unwrap();
        assert_eq!(guest.run().await, Ok(0));
        let printed = String::from_utf8(std::mem::take(&mut self.seen.stdout.lock())).unwrap();
        printed.lines().map(str::to_owned).collect()
    }

    pub async fn check(&self, spec: Spec, acts: &[(&str, &str)]) {
        let (acts, want): (Vec<&str>, Vec<&str>) = acts.iter().copied().unzip();
        let got = self.acts(spec, &acts).await;
        for ((act, want), got) in acts.iter().zip(&want).zip(&got) {
            assert!(got == want || want.strip_suffix('…').is_some_and(|start| got.starts_with(start)), "{act}: {got} instead of {want}");
        }
        assert_eq!(got.len(), want.len(), "{got:?}");
    }

    /// What the volume counts, which must be what a fresh look at its folder counts.
    fn used(&self, path: &str) -> u64 {
        let id = id(&spec().pod, path).unwrap();
        let counted = self.volumes.volume(&id).unwrap().bytes();
        let fresh = Volumes::open(self.volumes.root()).unwrap();
        assert_eq!(counted, fresh.volume(&id).unwrap().bytes(), "a fresh look counts something else");
        counted
    }
}

fn id(pod: &PodIdentity, path: &str) -> Option<VolumeId> {
    let app = pod.app.clone()?;
    Some(VolumeId { namespace: pod.namespace.clone(), app, service: pod.service.clone(), path: path.into() })
}

pub fn granted(path: &str, size: u64) -> Spec {
    Spec { volumes: vec![VolumeGrant { path: path.into(), size, of_pod: false }], ..spec() }
}

pub const KI: u64 = 1 << 10;

#[tokio::test]
async fn a_folder_is_seen_only_when_granted() {
    let place = Place::new();
    place.check(spec(), &[("std /data/a 10", "No such file or directory…"), ("write /data/a 0 1", "no-such-folder")]).await;
    place.check(granted("/data", 100 * KI), &[("std /data/a 10", "ok"), ("std /other/a 10", "No such file or directory…")]).await;
    let bare = Guest::prepare(&world().engines, code("files").await, granted("/data", 1), host(&place.seen)).await;
    assert!(matches!(bare, Err(Error::Volume { .. })), "a host without volumes grants none");
    let alone = Spec { pod: PodIdentity { app: None, ..spec().pod }, ..granted("/data", 1) };
    assert!(matches!(place.guest("files", alone).await, Err(Error::Volume { .. })), "nothing would say when it may go");
}

#[tokio::test]
async fn a_volume_outlives_pods_and_belongs_to_one_service_and_place() {
    let place = Place::new();
    place.check(granted("/data", 100 * KI), &[("std /data/a 10", "ok")]).await;
    let other_pod = PodIdentity { name: "user-2".into(), uid: "2".into(), ..spec().pod };
    place.check(Spec { pod: other_pod, ..granted("/data", 100 * KI) }, &[("cat /data/a", "xxxxxxxxxx")]).await;
    for pod in [
        PodIdentity { service: "cart".into(), ..spec().pod },
        PodIdentity { app: Some("shop2".into()), ..spec().pod },
        PodIdentity { namespace: "other".into(), ..spec().pod },
    ] {
        place.check(Spec { pod, ..granted("/data", 100 * KI) }, &[("cat /data/a", "NotFound")]).await;
    }
    place.check(granted("/data2", 100 * KI), &[("cat /data2/a", "NotFound")]).await;
}

#[tokio::test]
async fn h30_what_does_not_fit_is_refused_whichever_way_it_is_written() {
    let place = Place::new();
    place
        .check(
            granted("/data", 100 * KI),
            &[
                ("std /data/a 50000", "ok"),
                // The library of guests has no word for why a write failed; the pod's log has.
                ("std /data/b 50000", "I/O error…"),
                ("len /data/b", "44208"),
                ("std /data/c 1", "No space left on device…"),
                ("append /data/b 1", "insufficient-space"),
                ("stream /data/b 44208 1", "insufficient-space"),
                ("size /data/b 44209", "insufficient-space"),
                ("size /data/b 18446744073709551615", "insufficient-space"),
                ("size /data/b 0", "ok"),
                ("write /data/b 40000 1", "1"),
                ("write /data/b 90000 1", "insufficient-space"),
                ("write /data/b 18446744073709551615 1", "file-too-large"),
                ("write /data/b 44200 100", "8"),
                ("stream /data/b 40000 49000", "insufficient-space with …"),
                ("size /data/b 41000", "ok"),
                ("append /data/b 49000", "insufficient-space with …"),
                ("len /data/b", "44208"),
                ("mkdir /data/d", "insufficient-space"),
                ("unlink /data/b", "ok"),
                ("mkdir /data/d", "ok"),
                ("write /data/sparse 1000000000000 1", "insufficient-space"),
            ],
        )
        .await;
    assert_eq!(place.used("/data"), 3 * NAME + 50_000);
    let entries = place.seen.entries.lock();
    let (_, context, message) = entries.first().expect("the pod's log says so");
    assert_eq!(context, "wctl");
    assert!(message.starts_with("volume /data is full: ") && message.contains("of 100Ki are in use"), "{message}");
    assert!(message.contains("raise uses.volumes./data.size"), "{message}");
    assert_eq!(entries.len(), 1, "not for each refusal");
}

#[tokio::test]
async fn h30_a_stream_that_is_refused_says_the_numbers() {
    let place = Place::new();
    let told = place.acts(granted("/data", 10 * KI), &["stream /data/a 0 8192"]).await;
    let want = "insufficient-space with 4096 left: ";
    assert!(told[0].starts_with(want) && told[0].contains("volume /data is full: ") && told[0].contains("10Ki"), "{told:?}");
}

#[tokio::test]
async fn h30_a_million_empty_files_do_not_fit() {
    let place = Place::new();
    place
        .check(
            granted("/data", 20 * NAME),
            &[
                ("mkdir /data/d", "ok"),
                ("symlink d /data/s", "ok"),
                ("many /data/d/f 1000000", "17 insufficient-space"),
                ("symlink d /data/t", "insufficient-space"),
                ("link /data/d/f1 /data/g", "insufficient-space"),
                ("exclusive /data/d/f1", "exist"),
                ("unlink /data/d/f0", "ok"),
                ("link /data/d/f1 /data/g", "ok"),
                ("exclusive /data/h", "insufficient-space"),
            ],
        )
        .await;
    assert_eq!(place.used("/data"), 19 * NAME + 1);
}

#[tokio::test]
async fn h30_the_count_holds_over_all_that_can_be_done_to_names() {
    let place = Place::new();
    let name = NAME as i64;
    let mut want = 0;
    let steps: [(&[(&str, &str)], i64); 12] = [
        (&[("std /data/a 10000", "ok"), ("std /data/b 20000", "ok")], 2 * name + 30_000),
        (&[("rename /data/a /data/b", "ok")], -name - 20_000),
        (&[("link /data/b /data/c", "ok"), ("rename /data/b /data/c", "ok"), ("len /data/b", "10000")], name),
        (&[("unlink /data/b", "ok"), ("len /data/c", "10000")], -name),
        (&[("truncate /data/c", "ok")], -10_000),
        (&[("truncate /data/none", "no-entry"), ("unlink /data/none", "no-entry")], 0),
        (&[("write /data/c 30000 5", "5"), ("write /data/c 0 5", "5")], 30_005),
        (&[("mkdir /data/d", "ok"), ("mkdir /data/e", "ok"), ("rename /data/d /data/e", "ok"), ("rename /data/c /data/e/c", "ok")], name),
        (&[("rmdir /data/e", "not-empty"), ("unlink /data/e", "is-directory")], 0),
        (&[("symlink c /data/e/s", "ok"), ("std /data/e/s 7", "ok")], name + 1 - 30_005 + 7),
        (&[("symlink new /data/e/dangling", "ok"), ("std /data/e/dangling 7", "ok"), ("ls /data/e", "c dangling new s")], 2 * name + 10),
        (
            &[
                ("unlink /data/e/s", "ok"),
                ("unlink /data/e/c", "ok"),
                ("unlink /data/e/dangling", "ok"),
                ("unlink /data/e/new", "ok"),
                ("rmdir /data/e", "ok"),
            ],
            -5 * name - 18,
        ),
    ];
    for (acts, change) in steps {
        place.check(granted("/data", 200 * KI), acts).await;
        want += change;
        assert_eq!(place.used("/data") as i64, want, "{acts:?}");
    }
    assert_eq!(want, 0);
}

#[tokio::test]
async fn h30_a_file_without_a_name_counts_until_it_is_closed() {
    let place = Place::new();
    place
        .check(
            granted("/data", 100 * KI),
            &[
                ("hold /data/a", "held"),
                ("grow 60000", "ok"),
                ("unlink /data/a", "ok"),
                ("std /data/b 50000", "I/O error…"),
                ("grow 1", "insufficient-space"),
                ("unlink /data/b", "ok"),
                ("grow 10000", "ok"),
                ("std /data/b 30000", "I/O error…"),
                ("release", "released"),
                ("std /data/b 90000", "ok"),
                ("hold /data/b", "held"),
                ("std /data/c 0", "ok"),
                ("rename /data/c /data/b", "ok"),
                ("std /data/d 50000", "I/O error…"),
            ],
        )
        .await;
    place.check(granted("/data", 100 * KI), &[("std /data/d 50000", "ok")]).await;
    assert_eq!(place.used("/data"), 2 * NAME + 50_000);
}

#[tokio::test]
async fn h30_many_sandboxes_at_once_share_one_count() {
    let place = Place::new();
    let acts = |n: usize| {
        vec!["files".to_owned(), "append /data/shared 40960".into(), format!("std /data/own{n} 40960"), format!("many /data/{n}- 1000")]
    };
    let mut running = Vec::new();
    for n in 0..4 {
        let spec = Spec { args: acts(n), time: Duration::from_secs(60), ..granted("/data", 100 * NAME) };
        let guest = place.guest("files", spec).await.unwrap();
        running.push(tokio::spawn(async move { guest.run().await }));
    }
    for guest in running {
        assert_eq!(guest.await.unwrap(), Ok(0));
    }
    let used = place.used("/data");
    assert!(used <= 100 * NAME && used > 90 * NAME, "{used}");
}

#[tokio::test]
async fn h29_nothing_leads_out_of_a_volume() {
    let place = Place::new();
    let outside = place.folder.path().join("secret");
    std::fs::write(&outside, "secret").unwrap();
    place.check(granted("/data", 200 * KI), &[("mkdir /data/d", "ok"), ("std /data/a 5", "ok")]).await;
    let folder = place.volumes.root().join("default_shop").join("user_data");
    assert!(folder.join("a").exists());
    let outside = outside.to_str().unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outside, folder.join("by-host")).unwrap();
        std::os::unix::fs::symlink("..", folder.join("up-by-host")).unwrap();
    }
    let refused = "not-permitted";
    let absolute = format!("symlink {outside} /data/abs");
    place
        .check(
            granted("/data", 200 * KI),
            &[
                (&absolute, refused),
                (&format!("raw {outside}"), refused),
                ("raw ..", refused),
                ("raw d/../../user_data/a", refused),
                ("raw d/../a", "opened"),
                ("raw /", refused),
                ("raw by-host", refused),
                ("raw up-by-host/user_data/a", refused),
                ("symlink ../../../secret /data/rel", "ok"),
                ("raw rel", refused),
                ("raw rel/", refused),
                ("symlink .. /data/up", "ok"),
                ("raw up/", refused),
                ("raw up/user_data/a", refused),
                ("truncate /data/rel", refused),
                ("std /data/rel 3", "Operation not permitted…"),
                ("rename /data/a /data/../b", refused),
                ("rename /data/a /data/up/b", refused),
                ("link /data/a /data/up/b", refused),
                ("link /data/up/user_data/a /data/b", refused),
                ("mkdir /data/../e", refused),
                ("mkdir /data/up/e", refused),
                ("unlink /data/../../secret", refused),
                ("rmdir /data/up/user_data/d", refused),
                ("ls /data", "a by-host d rel up up-by-host"),
            ],
        )
        .await;
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "secret");
}

#[tokio::test]
async fn h29_nothing_is_moved_or_linked_between_volumes() {
    let place = Place::new();
    let two = vec![
        VolumeGrant { path: "/a".into(), size: 200 * KI, of_pod: false },
        VolumeGrant { path: "/b".into(), size: 20 * KI, of_pod: false },
    ];
    place
        .check(
            Spec { volumes: two, ..spec() },
            &[
                ("std /a/x 100000", "ok"),
                ("rename /a/x /b/x", "cross-device"),
                ("link /a/x /b/x", "cross-device"),
                ("std /b/x 100000", "I/O error…"),
                ("ls /a", "x"),
            ],
        )
        .await;
    assert_eq!((place.used("/a"), place.used("/b")), (NAME + 100_000, 20 * KI));
}

#[tokio::test]
async fn guests_of_both_generations_are_counted_alike() {
    let place = Place::new();
    let spec = Spec { time: Duration::from_secs(20), ..granted("/data", 100 * KI) };
    let guest = place.guest("hostile3", spec).await.unwrap();
    for (act, answer) in [
        ("write|a|0|50000", "Ok(())"),
        ("write|b|0|50000", "Err(InsufficientSpace)"),
        ("append|a|1", "Err(InsufficientSpace)"),
        ("size|b|0", "Ok(())"),
        ("append|a|1000", "Ok(())"),
        ("size|a|1000000", "Err(InsufficientSpace)"),
        ("size|a|92000", "Ok(())"),
        ("mkdir|d", "Err(InsufficientSpace)"),
        ("unlink|b", "Ok(())"),
        ("mkdir|d", "Ok(())"),
        ("rename|a|d/a", "Ok(())"),
        ("link|d/a|b", "Err(InsufficientSpace)"),
        ("symlink|../..|up", "Err(InsufficientSpace)"),
        ("size|d/a|50000", "Ok(())"),
        ("symlink|../..|up", "Ok(())"),
        ("write|up/x|0|1", "Err(NotPermitted)"),
        ("write|../x|0|1", "Err(NotPermitted)"),
        ("link|d/a|b", "Ok(())"),
        ("read|b", "50000"),
        ("unlink|d/a", "Ok(())"),
        ("rmdir|d", "Ok(())"),
    ] {
        assert_eq!(get(&guest, &format!("/files?{act}")).await, answer, "{act}");
    }
    assert_eq!(place.used("/data"), 2 * NAME + 50_000 + 5);
    let refused = place.guest("hostile3", Spec { time: Duration::from_secs(20), ..crate::support::spec() }).await.unwrap();
    assert_eq!(get(&refused, "/files?read|b").await, "no folder");
}
