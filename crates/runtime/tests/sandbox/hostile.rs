//! Guests that loop, grow, recurse, trap and leave.

use std::time::{Duration, Instant};

use runtime::sandbox::{Error, Failure, Guest, Host, Spec};

use crate::support::{code, fail, get, guest, guest3, head, host, is_unharmed, read, spec, text, trap, world};

/// Generous: the machine is noisy. What matters is that it ends.
const LATE: Duration = Duration::from_secs(3);

async fn is_stopped(guest: &Guest, path: &str) {
    let start = Instant::now();
    assert_eq!(fail(guest, path).await, Failure::Deadline(spec().time), "{path}");
    let took = start.elapsed();
    assert!(took >= spec().time && took < spec().time + LATE, "{path} took {took:?}");
}

#[tokio::test]
async fn h1_an_infinite_loop_is_stopped_at_the_deadline() {
    let guest = guest(spec()).await;
    is_stopped(&guest, "/spin").await;
    is_unharmed(&guest).await;
    let guest3 = guest3(spec()).await;
    is_stopped(&guest3, "/spin").await;
    is_unharmed(&guest3).await;
}

#[tokio::test]
async fn h1_others_are_served_while_a_guest_spins_on_the_only_thread() {
    // Without neighbours it stays on this thread.
    let host = Host { neighbours: false, ..host(&Default::default()) };
    let guest = Guest::prepare(&world().engines, code("hostile").await, spec(), host).await.unwrap();
    let spinning = tokio::spawn({
        let guest = guest.clone();
        async move { fail(&guest, "/spin").await }
    });
    while guest.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let mut served = 0;
    while !spinning.is_finished() {
        assert_eq!(get(&guest, "/").await, "hello");
        served += 1;
    }
    assert!(served > 5, "{served} requests were served meanwhile");
}

#[tokio::test]
async fn a_share_of_cpu_that_is_too_small_is_named_when_time_runs_out() {
    let guest = guest(Spec { cpu: Some(50), ..spec() }).await;
    let Failure::Starved { limit, cpu, held } = fail(&guest, "/spin").await else { panic!("its share held it back") };
    assert_eq!((limit, cpu), (spec().time, 50));
    assert!(held > spec().time / 2 && held <= spec().time + LATE, "{held:?}");
    // Quick requests of a pod with time left are not held back.
    let quick = self::guest(Spec { cpu: Some(50), ..spec() }).await;
    is_unharmed(&quick).await;
}

#[tokio::test]
async fn h2_a_loop_at_the_start_is_no_ready_guest() {
    let code = text(SPINS_AT_START).await.unwrap();
    let prepared = Guest::prepare(&world().engines, code, spec(), host(&Default::default())).await;
    assert!(matches!(prepared, Err(Error::Start { failure: Failure::Deadline(_), .. })));
}

#[tokio::test]
async fn h2_a_trap_at_the_start_is_no_ready_guest() {
    let code = text(&SPINS_AT_START.replace("(loop (br 0))", "unreachable")).await.unwrap();
    let prepared = Guest::prepare(&world().engines, code, spec(), host(&Default::default())).await;
    let Err(Error::Start { failure, .. }) = prepared else { panic!("it must not be ready") };
    assert!(trap(failure).contains("unreachable"));
}

#[tokio::test]
async fn h3_a_memory_bomb_meets_its_limit() {
    let guest = guest(spec()).await;
    let message = trap(fail(&guest, "/memory").await);
    assert!(message.contains("memory limit of 64Mi"), "{message}");
    assert_eq!(guest.memory_used(), 0);
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h3_sandboxes_share_the_memory_of_their_pod() {
    // Room for one sandbox of hostile's 17 pages and some, not for two.
    let spec = Spec { memory: 2 << 20, ..spec() };
    let guest = guest(spec).await;
    let first = tokio::spawn({
        let guest = guest.clone();
        async move { head(&guest, "/sleep").await.map(|_| ()) }
    });
    while guest.memory_used() == 0 {
        tokio::task::yield_now().await;
    }
    let Failure::NoMemory(why) = fail(&guest, "/").await else { panic!("there is no room for a second") };
    assert!(why.contains("memory limit of 2Mi"), "{why}");
    assert_eq!(first.await.unwrap(), Err(Failure::Deadline(spec_time())));
    is_unharmed(&guest).await;
}

fn spec_time() -> Duration {
    spec().time
}

#[tokio::test]
async fn h3_a_component_that_can_never_fit_says_what_it_needs() {
    let code = text(&SPINS_AT_START.replace("(memory 1)", "(memory 100)")).await.unwrap();
    let spec = Spec { memory: 1 << 20, ..spec() };
    let error = Guest::prepare(&world().engines, code, spec, host(&Default::default())).await.err().unwrap().to_string();
    assert!(error.contains("6.2Mi") && error.contains("1Mi"), "{error}");
}

#[tokio::test]
async fn h4_a_table_bomb_and_10_000_tables_are_refused() {
    let host = || -> Host { host(&Default::default()) };
    // Grows until it is refused; traps unless it was.
    let grow = "(local $n i32) (loop (if (i32.eq (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)) (then return)) \
                (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $n) (i32.const 20)))) unreachable";
    let grown = text(&SPINS_AT_START.replace("(loop (br 0))", grow)).await.unwrap();
    Guest::prepare(&world().engines, grown, spec(), host()).await.expect("growing is refused, which is no trap");
    let many = text(&SPINS_AT_START.replace("(loop (br 0))", "").replace("(memory 1)", &"(table 1 funcref)".repeat(99))).await;
    let refused = match many {
        Err(error) => error.to_string(),
        Ok(code) => Guest::prepare(&world().engines, code, spec(), host()).await.err().unwrap().to_string(),
    };
    assert!(refused.contains("table"), "{refused}");
}

/// A component with this beside its module, which is an HTTP service like any other.
fn beside(what: &str) -> String {
    let quiet = SPINS_AT_START.replace("(loop (br 0))", "");
    quiet.replace("    (core instance $i (instantiate $m))", &format!("{what}\n    (core instance $i (instantiate $m))"))
}

/// Why it cannot be had, in words.
async fn refused(wat: &str) -> String {
    match text(wat).await {
        Err(error) => runtime::instance::chain(&error),
        Ok(code) => {
            let prepared = Guest::prepare(&world().engines, code, spec(), host(&Default::default())).await;
            runtime::instance::chain(&prepared.err().expect("it must be refused"))
        }
    }
}

#[tokio::test]
async fn h4_10_000_instances_and_their_tables_are_refused() {
    let instances = |one: &str, many: usize| format!("{one} {}", "(core instance (instantiate $n))".repeat(many));
    let tables = |many: usize| format!("(core module $n {})", "(table 1 funcref)".repeat(many));
    for (what, beside_it, reason) in [
        ("10,000 instances", instances("(core module $n)", 10_000), "instances count exceeds limit of 1000"),
        ("500 instances", instances("(core module $n)", 500), "instance count too high"),
        ("10,000 tables", instances(&tables(20), 500), "table"),
        ("10,000 tables of a module", tables(10_000), "table"),
        ("10,000 instances of components", format!("(component $n) {}", "(instance (instantiate $n))".repeat(10_000)), "instance"),
    ] {
        let told = refused(&beside(&beside_it)).await;
        assert!(told.contains(reason), "{what}: {told}");
    }
    // What is left of it serves.
    let plain = text(&beside("")).await.unwrap();
    Guest::prepare(&world().engines, plain, spec(), host(&Default::default())).await.expect("one instance is no attack");
}

#[tokio::test]
async fn h5_deep_recursion_is_a_trap() {
    let guest = guest(spec()).await;
    let failure = fail(&guest, "/recurse").await;
    let Failure::Trap { message, backtrace } = &failure else { panic!("{failure:?}") };
    assert!(message.contains("call stack exhausted"), "{message}");
    assert!(backtrace.contains("recurse"), "{backtrace}");
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h6_loops_of_host_calls_are_stopped_at_the_deadline() {
    let guest = guest(spec()).await;
    for path in ["/spin-clock", "/spin-random", "/spin-poll"] {
        is_stopped(&guest, path).await;
    }
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h8_a_million_resources_are_a_trap() {
    let guest = guest(spec()).await;
    assert!(trap(fail(&guest, "/resources").await).contains("the guest trapped"));
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h10_a_terabyte_of_randomness_is_a_trap() {
    let guest = guest(spec()).await;
    assert!(trap(fail(&guest, "/random").await).contains("the guest trapped"));
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h18_no_response_is_told_from_a_trap() {
    let guest = guest(spec()).await;
    assert_eq!(fail(&guest, "/none").await, Failure::NoResponse);
    assert_eq!(fail(&guest, "/twice").await, Failure::Refused("the guest set its response twice".into()));
    let Failure::Refused(why) = fail(&guest, "/error").await else { panic!("an error is no response") };
    assert!(why.contains("as asked"), "{why}");
    assert!(matches!(fail(&guest3(spec()).await, "/error").await, Failure::Refused(_)));
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h19_a_guest_that_never_answers_frees_its_slot() {
    let guest = guest(Spec { concurrency: 1, ..spec() }).await;
    is_stopped(&guest, "/sleep").await;
    is_unharmed(&guest).await;
    is_stopped(&guest3(spec()).await, "/sleep").await;
}

#[tokio::test]
async fn h23_a_client_that_leaves_stops_the_guest() {
    let guest = guest(Spec { time: Duration::from_secs(600), ..spec() }).await;
    for path in ["/spin", "/sleep"] {
        let left = tokio::time::timeout(Duration::from_millis(50), head(&guest, path)).await;
        assert!(left.is_err());
        is_unharmed(&guest).await;
    }
    for path in ["/endless", "/spin-body", "/stall-body"] {
        drop(head(&guest, path).await.unwrap());
        is_unharmed(&guest).await;
    }
    assert_eq!(guest.memory_used(), 0);
}

#[tokio::test]
async fn h35_nothing_is_left_from_one_sandbox_to_the_next() {
    let guest = guest(spec()).await;
    for n in 0..2_000 {
        assert_eq!(get(&guest, &format!("/canary?secret-{n}")).await, "");
    }
}

#[tokio::test]
async fn a_reused_sandbox_serves_as_often_as_it_was_told() {
    for guest in [guest(Spec { reuse: 3, ..spec() }).await, guest3(Spec { reuse: 3, ..spec() }).await] {
        let mut counts = Vec::new();
        for _ in 0..7 {
            counts.push(get(&guest, "/count").await);
        }
        assert_eq!(counts.join(""), "1231231");
    }
}

#[tokio::test]
async fn a_sandbox_that_failed_is_not_reused() {
    for path in ["/panic", "/spin", "/none-is-fine"] {
        let guest = guest(Spec { reuse: 100, ..spec() }).await;
        assert_eq!(get(&guest, "/count").await, "1");
        let failed = head(&guest, path).await.is_err();
        assert_eq!(get(&guest, "/count").await, if failed { "1" } else { "2" }, "{path}");
    }
}

#[tokio::test]
async fn h41_exit_and_panic_end_only_their_request() {
    let guest = guest(spec()).await;
    assert_eq!(fail(&guest, "/exit?0").await, Failure::Exit(0));
    assert_eq!(fail(&guest, "/exit?1").await, Failure::Exit(1));
    let failure = fail(&guest, "/panic").await;
    let Failure::Trap { message, backtrace } = &failure else { panic!("{failure:?}") };
    assert!(message.contains("unreachable") && backtrace.contains("handle"), "{message} {backtrace}");
    assert!(failure.is_crash());
    trap(fail(&guest3(spec()).await, "/panic").await);
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn over_its_concurrency_a_pod_refuses_at_once() {
    let guest = guest(Spec { concurrency: 1, ..spec() }).await;
    let held = head(&guest, "/endless").await.unwrap();
    assert_eq!(fail(&guest, "/").await, Failure::Busy(1));
    drop(held);
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn a_request_body_is_streamed_through() {
    let guest = guest(spec()).await;
    let sent = vec![b'y'; 300_000];
    let request = http::Request::post("http://h/echo").body(runtime::body::full(sent.clone())).unwrap();
    assert_eq!(read(guest.handle(request).await.unwrap()).await.unwrap(), sent);
}

/// A component whose module loops in its start function. It looks like an HTTP service from outside.
const SPINS_AT_START: &str = include_str!("../guests/spins_at_start.wat");
