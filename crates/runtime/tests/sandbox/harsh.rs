//! Guests that want more of the host than anyone should get: handles, arguments, randomness, timers, memory of former tenants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use runtime::body::Body;
use runtime::cache::{Cache, Compiler};
use runtime::engine::{Config, Engines};
use runtime::sandbox::{Entry, Failure, Guest, Host, Output, PodIdentity, Spec, Stream};

use crate::support::{code, fail, get, guest, guest3, head, host, is_unharmed, read, spec, trap, world};

#[tokio::test]
async fn h7_loops_of_bulk_memory_are_stopped_at_the_deadline() {
    let guest = guest(spec()).await;
    let start = Instant::now();
    // Each turn is one instruction over 40 MiB.
    assert_eq!(fail(&guest, "/harsh?fill|41943040").await, Failure::Deadline(spec().time));
    assert!(start.elapsed() < spec().time + Duration::from_secs(1), "{:?}", start.elapsed());
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h8_resources_of_every_kind_are_capped() {
    let guest = guest(spec()).await;
    for kind in ["fields", "pollables", "streams"] {
        assert_eq!(get(&guest, &format!("/harsh?{kind}|1000")).await, "1000");
        let message = trap(fail(&guest, &format!("/harsh?{kind}|1000000")).await);
        assert!(message.contains("table"), "{kind}: {message}");
    }
    is_unharmed(&guest).await;
    assert_eq!(guest.memory_used(), 0);
}

#[tokio::test]
async fn h9_an_argument_that_the_host_would_have_to_copy_is_bounded() {
    let guest = guest(spec()).await;
    for argument in ["string|33554432", "list|1024"] {
        let before = peak();
        let start = Instant::now();
        let message = trap(fail(&guest, &format!("/harsh?{argument}")).await);
        assert!(message.contains("fuel"), "{argument}: {message}");
        assert!(start.elapsed() < Duration::from_secs(1), "{argument}: {:?}", start.elapsed());
        // A list of the same mebibyte a thousand times is cheap for the guest; the host would hold a gibibyte.
        assert!(peak() < before + (400 << 20), "{argument}: {} MiB at most", peak() >> 20);
    }
    is_unharmed(&guest).await;
}

/// The most memory that this process ever held; other tests run in it too, so only large steps mean something.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[tokio::test]
async fn h10_randomness_has_a_bound_for_each_call() {
    let guest = guest(spec()).await;
    assert_eq!(get(&guest, "/harsh?random|1048576").await, "1048576");
    for much in [1_048_577, 1 << 32, 1 << 40, u64::MAX] {
        trap(fail(&guest, &format!("/harsh?random|{much}")).await);
    }
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h22_an_upload_that_nobody_reads_is_not_read() {
    let guest = guest(spec()).await;
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let frames = futures::stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Frame::data(Bytes::from_static(&[0; 64 << 10])))
    });
    let body: Body = StreamBody::new(frames).boxed_unsync();
    let request = http::Request::post("http://h/sleep").body(body).unwrap();
    assert_eq!(guest.handle(request).await.map(|_| ()), Err(Failure::Deadline(spec().time)));
    let sent = count.load(Ordering::Relaxed);
    assert!(sent <= 8, "{sent} pieces of 64 KiB were taken from the client");
    is_unharmed(&guest).await;
    assert_eq!(count.load(Ordering::Relaxed), sent, "none is taken after the end");
}

#[tokio::test]
async fn h21_an_endless_body_is_made_only_as_fast_as_it_is_read() {
    let guest = guest(Spec { time: Duration::from_secs(20), ..spec() }).await;
    let mut body = head(&guest, "/endless").await.unwrap().into_body();
    let mut read = 0;
    for _ in 0..8 {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    // What had been made ahead is there at once; then the guest has to be waited for.
    let mut ahead = 0;
    while let Some(frame) = futures::FutureExt::now_or_never(body.frame()) {
        ahead += frame.unwrap().unwrap().into_data().unwrap().len();
        assert!(ahead < 1 << 20, "{ahead} bytes were made ahead of the {read} that were read");
    }
    drop(body);
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h33_clocks_tell_of_this_sandbox_alone_and_no_wait_overflows() {
    let guest = guest(spec()).await;
    let now: u64 = get(&guest, "/harsh?clock").await.parse().unwrap();
    assert!(now < 60_000_000_000, "{now} ns is how long the machine runs, not this sandbox");
    let far = [1u64 << 63, u64::MAX - 1, u64::MAX];
    for wait in far {
        for path in [format!("/sleep?{wait}"), format!("/harsh?until|{wait}")] {
            let waiting = tokio::time::timeout(Duration::from_millis(40), head(&guest, &path)).await;
            assert!(waiting.is_err(), "{path}: {waiting:?}");
            is_unharmed(&guest).await;
        }
    }
    assert_eq!(get(&guest, "/harsh?until|0").await, "it came");
    // 0.3 waits for u64::MAX as well, and its wait ends with the request.
    let guest3 = guest3(spec()).await;
    assert!(tokio::time::timeout(Duration::from_millis(40), head(&guest3, "/sleep")).await.is_err());
    assert_eq!(get(&guest3, "/count").await, "1");
}

#[tokio::test]
async fn h34_thousands_of_timers_are_polled_no_longer_than_the_deadline() {
    let guest = guest(spec()).await;
    let start = Instant::now();
    assert_eq!(fail(&guest, "/harsh?timers|2000").await, Failure::Deadline(spec().time));
    assert!(start.elapsed() < spec().time + Duration::from_secs(1), "{:?}", start.elapsed());
    trap(fail(&guest, "/harsh?timers|10000").await);
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h19_one_app_leaves_half_of_the_nodes_sandboxes_to_others() {
    let engines = Engines::new(Config { small: 16, large: 8, running: 8, ..Config::default() });
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), engines.clone(), Compiler::InProcess, None).unwrap();
    let code = cache.prepare_bytes(crate::guests::wasm("hostile"), 64 << 20).await.unwrap();
    let prepare = async |app: &str, name: &str| {
        let pod = PodIdentity { app: Some(app.into()), name: name.into(), uid: name.into(), ..spec().pod };
        let spec = Spec { pod, concurrency: 100, ..spec() };
        Guest::prepare(&engines, code.clone(), spec, host(&Default::default())).await.unwrap()
    };
    // Two pods of one App, each of which may do a hundred things at a time, and a pod of another.
    let (one, two, other) = (prepare("bad", "one").await, prepare("bad", "two").await, prepare("good", "other").await);
    let asleep = futures::future::join_all((0..20).map(|n| fail(if n % 2 == 0 { &one } else { &two }, "/sleep")));
    let others = async {
        for _ in 0..20 {
            assert_eq!(get(&other, "/").await, "hello");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (asleep, ()) = tokio::join!(asleep, others);
    let slept = asleep.iter().filter(|failure| matches!(failure, Failure::Deadline(_))).count();
    let refused = asleep.iter().filter(|failure| matches!(failure, Failure::NoMemory(why) if why.contains("left for others"))).count();
    assert_eq!((slept, refused), (4, 16), "{asleep:?}");
    is_unharmed(&one).await;
}

#[tokio::test]
async fn h4_a_component_of_many_memories_counts_for_as_many_sandboxes() {
    let engines = Engines::new(Config { small: 16, large: 8, running: 8, ..Config::default() });
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), engines.clone(), Compiler::InProcess, None).unwrap();
    let spins = include_str!("../guests/spins_at_start.wat")
        .replace("(start $spin)", "")
        .replace("(param i32 i32))", "(param i32 i32) call $spin)");
    let more = format!("(core module $n (memory 1)) {}", "(core instance (instantiate $n))".repeat(3));
    let greedy = spins.replace("(core instance $i (instantiate $m))", &format!("{more} (core instance $i (instantiate $m))"));
    for (text, at_once) in [(spins.as_str(), 4), (&greedy, 1)] {
        let code = cache.prepare_bytes(wat::parse_str(text).unwrap().into(), 64 << 20).await.unwrap();
        let guest = Guest::prepare(&engines, code, Spec { concurrency: 100, ..spec() }, host(&Default::default())).await.unwrap();
        let asked = futures::future::join_all((0..6).map(|_| fail(&guest, "/"))).await;
        let spun = asked.iter().filter(|failure| matches!(failure, Failure::Deadline(_))).count();
        let refused = asked.iter().filter(|failure| matches!(failure, Failure::NoMemory(why) if why.contains("left for others"))).count();
        assert_eq!((spun, refused), (at_once, 6 - at_once), "{asked:?}");
    }
}

async fn no_canary(times: usize) {
    let spec = Spec { time: Duration::from_secs(20), ..spec() };
    let guests: Vec<Guest> = [guest(Spec { memory: 96 << 20, ..spec.clone() }).await, guest(spec).await].into();
    for n in 0..times {
        let found = get(&guests[n % 2], &format!("/harsh?scan|canary-{n:05}")).await;
        assert_eq!(found, "0", "bytes of a former sandbox were there at turn {n}");
    }
}

#[tokio::test]
async fn h35_memory_that_a_guest_gets_is_empty() {
    no_canary(300).await;
}

#[tokio::test]
#[ignore = "nightly: takes half a minute"]
async fn h35_no_canary_is_seen_in_ten_thousand_reuses() {
    no_canary(10_000).await;
}

/// Fails in the middle of a host function.
struct Fails;

impl Output for Fails {
    fn write(&self, _: Stream, _: &[u8]) {
        panic!("h45: as asked");
    }

    fn log(&self, _: &Entry<'_>) {}
}

#[tokio::test]
async fn h45_a_panic_of_the_host_costs_one_request() {
    let host = Host { output: Arc::new(Fails), ..host(&Default::default()) };
    for (name, path) in [("hostile", "/print"), ("hostile", "/harsh?print|1"), ("hostile3", "/print")] {
        let guest = Guest::prepare(&world().engines, code(name).await, spec(), host.clone()).await.unwrap();
        assert!(trap(fail(&guest, path).await).contains("the host failed"), "{name}{path}");
        is_unharmed(&guest).await;
        assert_eq!((guest.in_flight(), guest.memory_used()), (0, 0), "{name}{path}");
    }
    // In mid-body, where another task runs the guest.
    let guest = Guest::prepare(&world().engines, code("hostile").await, spec(), host).await.unwrap();
    let response = head(&guest, "/print-body").await.unwrap();
    read(response).await.expect_err("the body must break");
    is_unharmed(&guest).await;
}
