//! What comes with a request: its token and its body, bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, header};
use serde_json::Value;

use super::protobuf;
use super::status::{Refusal, Result};

/// Most bytes of a body, as in Kubernetes.
pub(super) const MOST_BYTES: usize = 3 << 20;
/// Longest time from one piece of a body to the next.
const IDLE: Duration = Duration::from_secs(15);
/// Longest time for a whole body.
const WHOLE: Duration = Duration::from_secs(60);

/// The token of an `Authorization` header: `Bearer TOKEN`, or `Basic` with any user and the token as its password.
pub(super) fn token(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    let pair = scheme.eq_ignore_ascii_case("basic").then(|| base64::engine::general_purpose::STANDARD.decode(rest).ok()).flatten()?;
    String::from_utf8(pair).ok()?.split_once(':').map(|(_, password)| password.to_owned())
}

/// The whole body, if it is not too large and comes in time.
pub(super) async fn whole(headers: &HeaderMap, body: Body) -> Result<Bytes> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MOST_BYTES as u64) {
        return Err(Refusal::too_large(MOST_BYTES));
    }
    let slow = |_| Refusal::new(408, "Timeout", "the request's body did not come in time");
    tokio::time::timeout(WHOLE, collect(body)).await.map_err(slow)?
}

async fn collect(body: Body) -> Result<Bytes> {
    let mut stream = body.into_data_stream();
    let mut whole = BytesMut::new();
    loop {
        let slow = |_| Refusal::new(408, "Timeout", "the request's body stalled");
        let Some(piece) = tokio::time::timeout(IDLE, stream.next()).await.map_err(slow)? else { return Ok(whole.freeze()) };
        let piece = piece.map_err(|e| Refusal::bad_request(format!("the request's body broke off: {e}")))?;
        if whole.len() + piece.len() > MOST_BYTES {
            return Err(Refusal::too_large(MOST_BYTES));
        }
        whole.extend_from_slice(&piece);
    }
}

/// The body as a JSON object; other forms are refused with what to send.
pub(super) async fn json(headers: &HeaderMap, body: Body) -> Result<Value> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    match given.split(';').next().unwrap_or_default().trim() {
        "application/json" | PROTOBUF | "" => {}
        other => return Err(Refusal::media_type(format!("a body of type {other:?} is not supported; send application/json"))),
    }
    let value = read(headers, &whole(headers, body).await?)?;
    if value.is_object() { Ok(value) } else { Err(Refusal::bad_request("the body must be a JSON object")) }
}

/// The body as JSON, whatever type it says that it has; null where there is none.
pub(super) async fn any(headers: &HeaderMap, body: Body) -> Result<Value> {
    let bytes = whole(headers, body).await?;
    if bytes.is_empty() { Ok(Value::Null) } else { read(headers, &bytes) }
}

/// Kubernetes' own clients send this of the kinds that they know.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn read(headers: &HeaderMap, bytes: &[u8]) -> Result<Value> {
    if headers.get(header::CONTENT_TYPE).is_some_and(|given| given.as_bytes().starts_with(PROTOBUF.as_bytes())) {
        return protobuf::read(bytes).map_err(|why| Refusal::bad_request(format!("the protobuf body cannot be read: {why}")));
    }
    serde_json::from_slice(bytes).map_err(|e| Refusal::bad_request(format!("the body is not JSON: {e}")))
}

/// The body as a JSON object, and a sentence for each field that it names twice; the last of them counts.
///
/// # Errors
/// As [`json`], and 400 for such a field where `refuse`.
pub(super) async fn object(headers: &HeaderMap, body: Body, refuse: bool) -> Result<(Value, Vec<String>)> {
    let bytes = whole(headers, body).await?;
    let twice: Vec<String> = super::duplicates::of(&bytes).into_iter().map(|path| format!("duplicate field \"{path}\"")).collect();
    let value = json(headers, Body::from(bytes)).await?;
    if refuse && !twice.is_empty() {
        return Err(Refusal::bad_request(format!("strict decoding error: {}", twice.join(", "))));
    }
    Ok((value, twice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[test]
    fn tokens_come_as_bearer_or_as_a_password() {
        assert_eq!(token(&headers("Bearer abc")).as_deref(), Some("abc"));
        assert_eq!(token(&headers("basic d2N0bDphOmI=")).as_deref(), Some("a:b"));
        for none in ["abc", "Digest x", "Basic !!!", "Basic YWJj"] {
            assert_eq!(token(&headers(none)), None, "{none}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn n31_a_large_body_is_refused_before_it_is_read() {
        let announced = HeaderMap::from_iter([(header::CONTENT_LENGTH, "1000000000".parse().unwrap())]);
        assert_eq!(whole(&announced, Body::empty()).await.unwrap_err().code, 413);
        let endless = Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 65536]))));
        assert_eq!(whole(&HeaderMap::new(), endless).await.unwrap_err().code, 413);
    }
}
