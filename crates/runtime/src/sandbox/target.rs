//! What `uses.connect` names: a scheme, a host exactly as written, a port.

use std::fmt;
use std::str::FromStr;

/// One place that a guest may connect to: `https://api.mail.example:443`, `tcp://10.0.0.5:5432`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// How.
    pub scheme: Scheme,
    /// A host name in lower case without a trailing dot, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// A bare connection.
    Tcp,
}

/// A target that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a target: write http://host[:port], https://host[:port] or tcp://host:port")]
pub struct BadTarget(pub String);

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let (scheme, default) = match scheme {
            "http" => (Scheme::Http, Some(80)),
            "https" => (Scheme::Https, Some(443)),
            "tcp" => (Scheme::Tcp, None),
            _ => return Err(bad()),
        };
        let authority: http::uri::Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| bad())?;
        if authority.as_str().contains('@') {
            return Err(bad());
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| bad())?,
            None => default.ok_or_else(bad)?,
        };
        let host = plain_host(authority.host());
        if host.is_empty() || port == 0 {
            return Err(bad());
        }
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Tcp => "tcp",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// The port of `5000/tcp`, as `uses.listen` names it.
pub fn listening(text: &str) -> Option<u16> {
    text.strip_suffix("/tcp")?.parse().ok().filter(|port| *port != 0)
}

/// A host without brackets, in lower case. A trailing dot stays: `example.com.` is another name than `example.com`.
pub(crate) fn plain_host(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}
