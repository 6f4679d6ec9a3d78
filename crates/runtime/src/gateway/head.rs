//! What the gateway checks and rewrites in the head of a request before anything behind it sees it.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, Request, Version};

use super::answer::{REQUEST_ID, Refusal};

const FORWARDED: HeaderName = http::header::FORWARDED;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Longest request id that is taken over from a trusted proxy.
const MAX_ID: usize = 128;

/// Who sent a request, as far as the connection shows.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The other end of the connection.
    pub address: IpAddr,
    /// The same as a header value, made once for the connection.
    pub text: HeaderValue,
    /// Whether it is a configured proxy.
    pub trusted: bool,
}

impl Peer {
    /// Of a connection from this address.
    pub fn new(address: IpAddr, trusted: &[IpAddr]) -> Peer {
        let address = address.to_canonical();
        let text = HeaderValue::from_str(&address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Peer { address, text, trusted: trusted.iter().any(|ip| ip.to_canonical() == address) }
    }
}

/// The host that a request is for (as sent, with its port), or why it cannot be served.
pub fn check<B>(request: &Request<B>) -> Result<HeaderValue, Refusal> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    let headers = request.headers();
    let (mut upgrade, mut chunked, mut length) = (false, false, false);
    for name in headers.keys() {
        upgrade |= *name == UPGRADE;
        chunked |= *name == TRANSFER_ENCODING;
        length |= *name == CONTENT_LENGTH;
    }
    if upgrade && request.version() < Version::HTTP_2 && asks_for_upgrade(headers) {
        return Err(Refusal::Upgrade);
    }
    if chunked && length {
        return Err(Refusal::Malformed("the request has both Content-Length and Transfer-Encoding"));
    }
    host(request)
}

fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    // Clients offer h2c on plain requests and go on in HTTP/1.1 when that is ignored; anything else cannot work without the switch.
    !headers.get_all(UPGRADE).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

fn host<B>(request: &Request<B>) -> Result<HeaderValue, Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::Malformed("the request has more than one Host"));
    }
    // RFC 9112, 3.2.2: of an absolute form (and of HTTP/2) the authority counts, whatever Host says.
    let host = match (request.uri().authority(), first) {
        (Some(authority), _) => HeaderValue::from_str(authority.as_str()).map_err(|_| BAD_HOST)?,
        (None, Some(host)) => host.clone(),
        (None, None) if request.version() <= Version::HTTP_10 => HeaderValue::from_static(""),
        (None, None) => return Err(Refusal::Malformed("the request has no Host")),
    };
    if host.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(b)) { Ok(host) } else { Err(BAD_HOST) }
}

const BAD_HOST: Refusal = Refusal::Malformed("the request's Host is not a host name");

/// A host as routes have it: without port or final dot, lower case.
pub fn routed_host(host: &HeaderValue) -> Cow<'_, str> {
    let text = host.to_str().unwrap_or_default();
    let name = match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => &text[..colon],
        _ => text,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }
}

/// The request's id: a trusted proxy's own, else a new one.
pub fn id(headers: &HeaderMap, peer: &Peer) -> HeaderValue {
    let kept = headers.get(REQUEST_ID).filter(|id| peer.trusted && !id.is_empty() && id.len() <= MAX_ID && id.to_str().is_ok());
    kept.cloned().unwrap_or_else(new_id)
}

/// The id that a gateway has given a request.
pub fn known_id(headers: &HeaderMap) -> HeaderValue {
    headers.get(REQUEST_ID).cloned().unwrap_or_else(new_id)
}

/// A new request id: 16 hex digits.
pub fn new_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let draw: u64 = rand::random();
    let text: [u8; 16] = std::array::from_fn(|i| DIGITS[(draw >> (60 - 4 * i)) as usize & 15]);
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Headers that the gateway sets: those below and `traceparent`.
const SET: usize = 5;

/// Rewrites the headers for the guest: hop-by-hop ones go, forwarding ones say what is true.
pub fn rewrite(headers: &mut HeaderMap, host: &HeaderValue, id: &HeaderValue, peer: &Peer) {
    strip_hop_by_hop(headers);
    let forwarded = headers.keys().any(is_forwarding);
    if forwarded && !peer.trusted {
        [FORWARDED, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REAL_IP]
            .iter()
            .for_each(|name| while headers.remove(name).is_some() {});
    }
    headers.reserve(SET);
    if forwarded && peer.trusted {
        headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
        headers.entry(FORWARDED_HOST).or_insert_with(|| host.clone());
        let before = headers.get(FORWARDED_FOR).and_then(|list| list.to_str().ok());
        let list = before.and_then(|before| HeaderValue::from_str(&format!("{before}, {}", peer.address)).ok());
        headers.insert(FORWARDED_FOR, list.unwrap_or_else(|| peer.text.clone()));
    } else {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
        headers.insert(FORWARDED_HOST, host.clone());
        headers.insert(FORWARDED_FOR, peer.text.clone());
    }
    headers.insert(REQUEST_ID, id.clone());
}

/// Reading the few names that there are costs less than asking the map for each name that could be.
fn is_forwarding(name: &HeaderName) -> bool {
    matches!(name.as_str(), "forwarded" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" | "x-real-ip")
}

/// Removes what concerns one connection only, and what `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Naming an end-to-end header that routing or trust hangs on must not remove it.
        .filter(|name: &HeaderName| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    let own: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    named.iter().chain(&own).for_each(|name| while headers.remove(name).is_some() {});
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::builder().uri(uri);
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).expect("a request")
    }

    fn peer(trusted: bool) -> Peer {
        Peer { trusted, ..Peer::new(IpAddr::from([192, 0, 2, 7]), &[]) }
    }

    #[test]
    fn n21_the_authority_wins_over_host_and_two_hosts_are_refused() {
        assert_eq!(check(&request("http://a.test/x", &[("host", "b.test")])).expect("served"), "a.test");
        assert_eq!(check(&request("/", &[("host", "b.test:80")])).expect("served"), "b.test:80");
        assert!(check(&request("/", &[("host", "a.test"), ("host", "b.test")])).is_err());
        assert!(check(&request("/", &[])).is_err());
        assert!(check(&request("/", &[("host", "a.test/x")])).is_err());
        assert!(check(&request("/", &[("host", "user@a.test")])).is_err());
    }

    #[test]
    fn n22_n23_methods_and_upgrades_that_cannot_work_are_refused() {
        let mut trace = request("/", &[("host", "a.test")]);
        *trace.method_mut() = Method::TRACE;
        assert_eq!(check(&trace), Err(Refusal::Method));
        assert_eq!(check(&request("/", &[("host", "a"), ("upgrade", "websocket")])), Err(Refusal::Upgrade));
        assert!(check(&request("/", &[("host", "a"), ("upgrade", "h2c")])).is_ok());
    }

    #[test]
    fn hosts_are_compared_without_port_dot_and_case() {
        let routed = |host: &'static str| routed_host(&HeaderValue::from_static(host)).into_owned();
        assert_eq!(routed("Shop.Localhost:8080"), "shop.localhost");
        assert_eq!(routed("shop.localhost."), "shop.localhost");
        assert_eq!(routed("[::1]:8080"), "[::1]");
        assert_eq!(routed("[::1]"), "[::1]");
    }

    #[test]
    fn n27_a_stranger_can_neither_forge_nor_strip_forwarding_headers() {
        let headers = [
            ("host", "a.test"),
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("connection", "x-forwarded-for, x-own, host"),
        ];
        let mut got = request("/", &headers).headers().clone();
        got.insert("x-own", HeaderValue::from_static("1"));
        rewrite(&mut got, &HeaderValue::from_static("a.test"), &HeaderValue::from_static("7"), &peer(false));
        assert_eq!(got["x-forwarded-for"], "192.0.2.7");
        assert_eq!(got["x-forwarded-host"], "a.test");
        assert_eq!(got["host"], "a.test");
        assert!(!got.contains_key("forwarded") && !got.contains_key("x-own") && !got.contains_key("connection"));
    }

    #[test]
    fn a_trusted_proxy_is_added_to() {
        let mut got = request("/", &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https")]).headers().clone();
        rewrite(&mut got, &HeaderValue::from_static("a.test"), &HeaderValue::from_static("7"), &peer(true));
        assert_eq!(got["x-forwarded-for"], "10.0.0.1, 192.0.2.7");
        assert_eq!(got["x-forwarded-proto"], "https");
    }

    #[test]
    fn ids_are_kept_from_trusted_proxies_only() {
        let headers = request("/", &[("x-request-id", "abc")]).headers().clone();
        assert_eq!(id(&headers, &peer(true)), "abc");
        assert_ne!(id(&headers, &peer(false)), "abc");
        assert_eq!(new_id().len(), 16);
        assert_ne!(new_id(), new_id());
    }
}
