//! Which response heads of guests are passed on.

use http::header::{self, HeaderMap, HeaderName};
use http::response::Parts;

/// Header fields of one response.
const FIELDS: usize = 256;

/// Bytes of all names and values of one response.
const BYTES: usize = 64 << 10;

/// Fields about one connection, which say nothing beyond it (RFC 9110 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Strips what is about the connection and returns the declared length of the body.
///
/// # Errors
/// In words, when the head must not go on the wire.
pub(super) fn check(parts: &mut Parts) -> Result<Option<u64>, String> {
    if parts.status.is_informational() {
        return Err(format!("the guest's response has the status {}, which cannot be final", parts.status.as_u16()));
    }
    let headers = &mut parts.headers;
    strip(headers);
    if headers.len() > FIELDS {
        return Err(format!("the guest's response has {} header fields, {FIELDS} are allowed", headers.len()));
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > BYTES {
        return Err(format!("the guest's response has {size} bytes of header fields, {BYTES} are allowed"));
    }
    length(headers)
}

fn strip(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let own: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in own.iter().chain(&listed) {
        headers.remove(name);
    }
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err("the guest's response has no single valid content-length".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Parts {
        let mut response = http::Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn h14_hop_by_hop_fields_are_stripped_with_those_that_connection_lists() {
        let mut parts = head(&[
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("x-kept", "1"),
        ]);
        assert_eq!(check(&mut parts), Ok(None));
        assert_eq!(parts.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn h14_two_lengths_or_a_signed_one_are_refused() {
        assert!(check(&mut head(&[("content-length", "3"), ("content-length", "4")])).is_err());
        assert!(check(&mut head(&[("content-length", "+3")])).is_err());
        assert_eq!(check(&mut head(&[("content-length", "3")])), Ok(Some(3)));
    }

    #[test]
    fn h12_more_fields_than_allowed_are_refused() {
        let names: Vec<String> = (0..300).map(|n| format!("x-{n}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        assert!(check(&mut head(&fields)).unwrap_err().contains("300"));
    }
}
