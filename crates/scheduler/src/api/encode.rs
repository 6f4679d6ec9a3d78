//! Answers that are long enough to be worth compressing, for those who take gzip.

use std::io::{self, Read, Write};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};

/// From how many bytes on an answer is compressed, as in Kubernetes.
const WORTH_IT: u64 = 128 << 10;

/// Whether the client says that it takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        named && !parts.any(|q| matches!(q, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The bytes, compressed: fast rather than small.
pub(super) fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 6), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// What was packed.
pub(super) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The answer, compressed where it is a whole one and long. Streams of unknown length, such as watches, pass as they are.
pub(super) async fn compressed(response: Response) -> Response {
    let long = response.body().size_hint().exact().is_some_and(|length| length >= WORTH_IT);
    if !long || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else { return Response::from_parts(head, Body::empty()) };
    let whole = bytes.clone();
    let packed = tokio::task::spawn_blocking(move || pack(&whole)).await;
    let Ok(Ok(packed)) = packed else { return Response::from_parts(head, Body::from(bytes)) };
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_named_and_not_refused() {
        let takes = |value: &'static str| takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]));
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && !takes("br") && !takes("gzip;q=0"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_long_answer_is_compressed_and_a_short_one_is_not() {
        let long = "x".repeat(WORTH_IT as usize);
        let packed = compressed(Response::new(Body::from(long.clone()))).await;
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        let bytes = axum::body::to_bytes(packed.into_body(), usize::MAX).await.unwrap();
        assert_eq!(unpack(&bytes).unwrap(), long.as_bytes());
        assert!(!compressed(Response::new(Body::from("short"))).await.headers().contains_key(header::CONTENT_ENCODING));
    }
}
