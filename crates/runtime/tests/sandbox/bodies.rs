//! Bodies that break off must look broken to the client.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use runtime::sandbox::{Failure, Spec};

use crate::support::{Seen, fail, guest, guest_with, guest3, head, is_unharmed, read, spec};

#[tokio::test]
async fn h15_a_body_of_another_length_than_declared_is_an_error() {
    let guest = guest(spec()).await;
    for path in ["/long-body", "/short-body"] {
        let Failure::Refused(why) = fail(&guest, path).await else { panic!("{path} must be refused") };
        assert!(why.contains("body"), "{why}");
    }
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h16_trap_after_headers_is_an_error() {
    for name in ["hostile", "hostile3"] {
        let seen = Arc::<Seen>::default();
        let guest = guest_with(name, spec(), &seen).await.unwrap();
        let response = head(&guest, "/trap-body").await.unwrap();
        assert_eq!(response.status(), 200);
        let broken = read(response).await.expect_err("the body must break");
        assert!(broken.contains("unreachable"), "{name}: {broken}");
        assert!(matches!(seen.failures.lock()[..], [Failure::Trap { .. }]), "{name}");
        is_unharmed(&guest).await;
    }
}

#[tokio::test]
async fn h17_a_deadline_in_mid_body_is_an_error() {
    for name in ["hostile", "hostile3"] {
        for path in ["/spin-body", "/stall-body"] {
            let seen = Arc::<Seen>::default();
            let guest = guest_with(name, spec(), &seen).await.unwrap();
            let response = head(&guest, path).await.unwrap();
            let broken = read(response).await.expect_err("the body must break");
            assert!(broken.contains("500ms"), "{name}{path}: {broken}");
            assert_eq!(seen.failures.lock()[..], [Failure::Deadline(spec().time)], "{name}{path}");
            is_unharmed(&guest).await;
        }
    }
}

#[tokio::test]
async fn h16_a_body_that_the_guest_leaves_open_is_an_error() {
    let guest = guest(spec()).await;
    let response = head(&guest, "/leak-body").await.unwrap();
    let broken = read(response).await.expect_err("the body must break");
    assert!(broken.contains("finished"), "{broken}");
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h20_a_client_that_does_not_read_frees_the_slot() {
    let seen = Arc::<Seen>::default();
    let guest = guest_with("hostile", Spec { concurrency: 1, ..spec() }, &seen).await.unwrap();
    let response = head(&guest, "/endless").await.unwrap();
    is_unharmed(&guest).await;
    assert_eq!(seen.failures.lock()[..], [Failure::Deadline(spec().time)]);
    read(response).await.expect_err("the body must be broken");
}

#[tokio::test]
async fn a_body_may_take_longer_than_the_limit_while_it_moves() {
    let guest = guest(Spec { time: Duration::from_millis(200), ..spec() }).await;
    let mut body = head(&guest, "/endless").await.unwrap().into_body();
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(700) {
        body.frame().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(body);
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn a_small_body_has_a_length() {
    for guest in [guest(spec()).await, guest3(spec()).await] {
        let response = head(&guest, "/").await.unwrap();
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(5));
    }
}
