//! Response heads that must not be passed on.

use runtime::sandbox::Failure;

use crate::support::{fail, guest, head, is_unharmed, spec};

#[tokio::test]
async fn h12_40_000_response_headers_are_refused() {
    let guest = guest(spec()).await;
    let Failure::Refused(why) = fail(&guest, "/headers?40000").await else { panic!("they must be refused") };
    assert!(why.contains("header fields"), "{why}");
    let Failure::Refused(why) = fail(&guest, "/headers?300").await else { panic!("they must be refused") };
    assert!(why.contains("300 header fields"), "{why}");
    assert!(head(&guest, "/headers?200").await.unwrap().headers().len() == 200);
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h13_a_header_of_a_mebibyte_never_leaves() {
    let guest = guest(spec()).await;
    let Failure::Refused(why) = fail(&guest, "/large-header").await else { panic!("it must be refused") };
    assert!(why.contains("128Ki"), "{why}");
    is_unharmed(&guest).await;
}

#[tokio::test]
async fn h14_hop_by_hop_fields_never_leave() {
    let guest = guest(spec()).await;
    let response = head(&guest, "/hop").await.unwrap();
    assert_eq!(response.headers().keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
}
