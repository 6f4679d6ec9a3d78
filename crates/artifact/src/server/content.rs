//! Getting, putting and deleting blobs and manifests.

use std::ops::Range;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::StreamExt;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION, RANGE};

use super::Call;
use super::answer::{Code, Refusal};
use super::uploads::patient;
use crate::blobs::{Blobs, Name, Stored};
use crate::digest::Digest;
use crate::manifest::LARGEST;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get_blob(blobs: &Blobs, call: &Call, digest: &Digest) -> Result<Response, Refusal> {
    let size = blobs.size(digest).await?.ok_or(crate::blobs::Error::NoBlob(*digest))?;
    let range = call.header(RANGE).map(|range| read_range(range, size)).transpose()?.flatten();
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    let mut response = match call.is_head() {
        true => Body::empty(),
        false => Body::from_stream(blobs.read(digest, range.clone()).await?.bytes),
    }
    .into_response();
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut response, CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    set(&mut response, CONTENT_LENGTH, &length.to_string());
    set(&mut response, CONTENT_TYPE, "application/octet-stream");
    set(&mut response, ACCEPT_RANGES, "bytes");
    identify(&mut response, digest);
    Ok(response)
}

/// Reads `bytes=a-b`, `bytes=a-` or `bytes=-n` (RFC 9110, 14.1). Other units and several ranges may be ignored, and are.
fn read_range(header: &str, size: u64) -> Result<Option<Range<u64>>, Refusal> {
    let Some((first, last)) = header.strip_prefix("bytes=").filter(|ranges| !ranges.contains(',')).and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (number(first), number(last)) {
        (None, Some(count)) if first.trim().is_empty() && count > 0 => Some(size.saturating_sub(count)..size),
        (Some(first), None) if last.trim().is_empty() => Some(first..size),
        (Some(first), Some(last)) if first <= last => Some(first..last.saturating_add(1).min(size)),
        _ => return Ok(None),
    };
    match range.filter(|range| range.start < range.end) {
        Some(range) => Ok(Some(range)),
        None => {
            let refusal = Refusal::new(416, Code::SizeInvalid, format!("the blob has {size} bytes, the range {header:?} lies outside"));
            Err(refusal.with(CONTENT_RANGE, &format!("bytes */{size}")))
        }
    }
}

pub(super) async fn delete_blob(blobs: &Blobs, digest: &Digest) -> Result<Response, Refusal> {
    blobs.delete_blob(digest).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

pub(super) async fn get_manifest(blobs: &Blobs, call: &Call, name: &Name) -> Result<Response, Refusal> {
    let Stored { digest, media_type, size, .. } = blobs.find(&call.repository, name).await?;
    let mut response = match call.is_head() {
        true => Body::empty(),
        false => Body::from(blobs.get(&digest).await?),
    }
    .into_response();
    set(&mut response, CONTENT_TYPE, &media_type);
    set(&mut response, CONTENT_LENGTH, &size.to_string());
    identify(&mut response, &digest);
    Ok(response)
}

pub(super) async fn put_manifest(blobs: &Blobs, call: &Call, name: &Name, body: Body) -> Result<Response, Refusal> {
    let content_type = call.header(CONTENT_TYPE).map(str::to_string);
    let mut bytes = BytesMut::new();
    let mut body = std::pin::pin!(patient(body));
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Refusal::new(400, Code::ManifestInvalid, format!("the manifest stopped coming: {error}")))?;
        if bytes.len() + piece.len() > LARGEST {
            return Err(Refusal::new(
                413,
                Code::ManifestInvalid,
                format!("the manifest has more than the {LARGEST} bytes that are allowed"),
            ));
        }
        bytes.extend_from_slice(&piece);
    }
    let stored = blobs.put_manifest(&call.repository, name, content_type.as_deref(), bytes.freeze()).await?;
    let mut response = StatusCode::CREATED.into_response();
    set(&mut response, LOCATION, &format!("/v2/{}/manifests/{}", call.repository, stored.digest));
    set(&mut response, CONTENT_DIGEST, &stored.digest.to_string());
    if let Some(subject) = stored.subject {
        set(&mut response, SUBJECT, &subject.to_string());
    }
    Ok(response)
}

pub(super) async fn delete_manifest(blobs: &Blobs, call: &Call, name: &Name) -> Result<Response, Refusal> {
    blobs.delete_manifest(&call.repository, name).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn identify(response: &mut Response, digest: &Digest) {
    set(response, CONTENT_DIGEST, &digest.to_string());
    set(response, ETAG, &format!("\"{digest}\""));
}

pub(super) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(header: &str) -> Option<Option<Range<u64>>> {
        read_range(header, 10).ok()
    }

    #[test]
    fn ranges_are_read_or_ignored_or_refused() {
        assert_eq!(range("bytes=0-3"), Some(Some(0..4)));
        assert_eq!(range("bytes=4-"), Some(Some(4..10)));
        assert_eq!(range("bytes=-3"), Some(Some(7..10)));
        assert_eq!(range("bytes=-99"), Some(Some(0..10)));
        assert_eq!(range("bytes=5-99999999999999"), Some(Some(5..10)));
        assert_eq!(range("bytes=0-18446744073709551615"), Some(Some(0..10)));
        for ignored in ["bytes=0-1,3-4", "lines=0-1", "bytes=3-1", "bytes=x-y", "bytes=-", "bytes=-0", "bytes"] {
            assert_eq!(range(ignored), Some(None), "{ignored}");
        }
        assert_eq!(range("bytes=10-"), None);
        assert_eq!(range("bytes=99-100"), None);
    }
}
