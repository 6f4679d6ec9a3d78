//! What a guest may connect to: `https://api.mail.example:443`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::problem::{Problem, shown};
use super::route;

/// One place outside the app that a guest may reach, written the one way in which it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// `http`, `https` or `tcp`.
    pub scheme: String,
    /// A DNS name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// Always written, also where it is the scheme's own.
    pub port: u16,
}

impl Target {
    /// Reads `scheme://host[:port]`. `http` has port 80 and `https` 443 unless they say otherwise.
    pub fn read(text: &str) -> Result<Self, Problem> {
        let wrong = |why: &str| Problem::new(format!("`{}` is not a target: {why}", shown(text)));
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Problem { meant: bare(text), ..wrong("write scheme://host:port, like https://api.example.com:443") });
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return Err(Problem { meant: Some(format!("{scheme}://{host}")), ..wrong("a grant is for a whole host, without a path") });
        }
        if rest.contains('@') {
            return Err(wrong("it holds a user name; credentials belong into `secrets`"));
        }
        if rest.contains('*') {
            return Err(wrong("wildcards are not offered; name each host"));
        }
        let own_port = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            "tcp" => None,
            _ => return Err(wrong("its scheme must be https, http or tcp")),
        };
        let (host, port) = host_and_port(rest).ok_or_else(|| wrong("write scheme://host:port, like https://api.example.com:443"))?;
        let host = checked(host).map_err(|why| wrong(&why))?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|p| *p > 0 && !port_is_odd(port)).ok_or_else(|| wrong("its port must be 1 to 65535"))?,
            None => own_port.ok_or_else(|| wrong("tcp needs a port"))?,
        };
        Ok(Target { scheme: scheme.into(), host, port })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.scheme, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
        }
    }
}

fn port_is_odd(port: &str) -> bool {
    port.starts_with('0') || !port.bytes().all(|b| b.is_ascii_digit())
}

/// `api.example.com` and `api.example.com:8080` without their scheme.
fn bare(text: &str) -> Option<String> {
    let (host, port) = host_and_port(text)?;
    let scheme = if port == Some("80") { "http" } else { "https" };
    (checked(host).is_ok() && host.contains('.')).then(|| format!("{scheme}://{text}"))
}

fn host_and_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

/// A host in the one way of writing it; `2130706433` and `0x7f.1` are other ways to write an address, so they are refused.
fn checked(host: &str) -> Result<String, String> {
    if host.is_empty() {
        return Err("it has no host".into());
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) {
        let four = host.parse::<Ipv4Addr>().is_ok();
        return if four { Ok(host.into()) } else { Err("an address is written as four plain numbers, like 192.0.2.7".into()) };
    }
    route::host(host).map_err(|problem| match problem.meant {
        Some(meant) => format!("its host must be written `{meant}`"),
        None => "its host must be a DNS name in ASCII or an address".into(),
    })
}
