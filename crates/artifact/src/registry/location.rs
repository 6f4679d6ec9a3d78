//! Addresses that registries and people give: where they lead, and whether one may be followed.

use std::net::IpAddr;

use http::header::HeaderValue;
use reqwest::Url;

use super::failure::Failure;
use super::guard::Class;
use crate::digest::shown;

/// Host and port, by which secrets are kept apart.
pub(super) fn origin(url: &Url) -> (String, String, u16) {
    (url.scheme().to_string(), url.host_str().unwrap_or_default().to_string(), url.port_or_known_default().unwrap_or(0))
}

/// Reads an absolute http or https address.
pub(super) fn parse_url(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|error| Failure::Setup(format!("the address {} is wrong: {error}", shown(text))))?;
    match url.has_host() && matches!(url.scheme(), "http" | "https") {
        true => Ok(url),
        false => Err(Failure::Setup(format!("the address {} is neither http nor https", shown(text)))),
    }
}

/// Whether a host's name says that it is this machine. Whether it really is, the guard checks.
pub(super) fn is_loopback(url: &Url) -> bool {
    match address(url) {
        Some(address) => Class::of(address) == Class::Loopback,
        None => url.host_str().is_some_and(|host| host == "localhost" || host.ends_with(".localhost")),
    }
}

pub(super) fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The target of a Location header: https, or plain http that stays where plain http already is.
pub(super) fn join(from: &Url, location: &HeaderValue) -> Result<Url, Failure> {
    let refuse = |why| Failure::Redirect { to: shown(&String::from_utf8_lossy(location.as_bytes())), why };
    let next = location.to_str().ok().and_then(|location| from.join(location).ok()).ok_or_else(|| refuse("it is no address"))?;
    if !next.has_host() || !next.username().is_empty() || next.password().is_some() {
        return Err(refuse("it is no plain address"));
    }
    let same_machine = next.host_str() == from.host_str() || is_loopback(&next) && is_loopback(from);
    match next.scheme() {
        "https" => Ok(next),
        "http" if from.scheme() == "http" && same_machine => Ok(next),
        _ => Err(refuse("it is not https")),
    }
}

/// Host and port as people write them, the port only when it is not the usual one.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
}

/// A URL without its query, which may hold signatures.
pub(super) fn shown_url(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_stay_secure() {
        let follow =
            |from: &str, to: &'static str| join(&parse_url(from).unwrap(), &HeaderValue::from_static(to)).map(|url| url.to_string()).ok();
        assert_eq!(follow("https://a.example/v2/x", "/v2/y").as_deref(), Some("https://a.example/v2/y"));
        assert_eq!(follow("https://a.example/v2/x", "https://b.example/y").as_deref(), Some("https://b.example/y"));
        assert_eq!(follow("https://a.example/v2/x", "http://a.example/y"), None);
        assert_eq!(follow("http://localhost:5000/", "http://127.0.0.1:5001/y").as_deref(), Some("http://127.0.0.1:5001/y"));
        assert_eq!(follow("http://localhost:5000/", "http://b.example/y"), None);
        assert_eq!(follow("https://a.example/", "https://user@b.example/y"), None);
    }
}
