//! Routes: host and path prefix, as a person writes them and as an Ingress holds them.

use serde::{Deserialize, Serialize};

use super::problem::{Problem, shown};

/// Where a service is reached: requests to this host whose path starts with these elements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Lower case, without a port; empty for every host.
    #[serde(default)]
    pub host: String,
    /// Starts with `/` and does not end with one, unless it is `/`: every path.
    #[serde(default = "root")]
    pub path: String,
}

fn root() -> String {
    "/".into()
}

impl Route {
    /// Reads `host`, `host/path` or `/path`.
    pub fn read(text: &str) -> Result<Self, Problem> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let message = format!("`{}` is a URL; a route is a host and a path, without `{}://`", shown(text), shown(scheme));
            return Err(Problem::meant(message, rest.to_owned()));
        }
        if text.is_empty() {
            return Err(Problem::new("the route is empty; write a host like hello.localhost, or / for every host"));
        }
        let (host_part, path_part) = text.split_at(text.find('/').unwrap_or(text.len()));
        Ok(Route { host: host(host_part)?, path: path(path_part)? })
    }
}

impl std::fmt::Display for Route {
    /// As it is read: `shop.localhost/users`, `hello.localhost`, `/`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path == "/" && !self.host.is_empty() { "" } else { &self.path };
        write!(f, "{}{path}", self.host)
    }
}

/// Checks a host of a route: a DNS name, or nothing for every host.
pub fn host(text: &str) -> Result<String, Problem> {
    let wrong = |why: &str| Problem::new(format!("`{}` cannot be a route's host: {why}", shown(text)));
    if text.is_empty() {
        return Ok(String::new());
    }
    if text.starts_with('[') || text.parse::<std::net::IpAddr>().is_ok() {
        return Err(wrong("it is an address; a route has a name, or no host at all to match every one"));
    }
    if let Some((name, port)) = text.split_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(Problem { meant: Some(name.into()), ..wrong("a route has no port, the gateway's is used") });
    }
    if text.contains('*') {
        return Err(wrong("wildcards are not offered; name each host, or none to match every one"));
    }
    if !text.is_ascii() {
        return Err(wrong("it must be ASCII; write the xn--… form of an international name"));
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Problem { meant: Some(text.to_ascii_lowercase()), ..wrong("it must be lower case") });
    }
    if let Some(name) = text.strip_suffix('.') {
        return Err(Problem { meant: Some(name.into()), ..wrong("it ends with a dot") });
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err(wrong("it must be a DNS name like shop.example.com"));
    }
    Ok(text.into())
}

/// Checks a path prefix of a route and takes a `/` off its end, which means the same.
pub fn path(text: &str) -> Result<String, Problem> {
    if text.is_empty() || text == "/" {
        return Ok(root());
    }
    let path = text.strip_suffix('/').unwrap_or(text);
    let wrong = |why: &str| Problem::new(format!("`{}` cannot be a route's path: {why}", shown(text)));
    if !path.starts_with('/') {
        return Err(Problem { meant: Some(format!("/{path}")), ..wrong("it must start with `/`") });
    }
    if path.len() > 1024 {
        return Err(wrong("it has more than 1024 bytes"));
    }
    if path.contains('*') {
        return Err(wrong("every path below it is matched anyway, without `*`"));
    }
    // Anything that two readers could understand differently (escapes, dots, empty elements) cannot be a prefix.
    if path[1..].split('/').any(|element| matches!(element, "" | "." | "..")) {
        return Err(wrong("it has an element that is empty, `.` or `..`"));
    }
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=:@".contains(&b)) {
        return Err(wrong("only letters, digits and -._~!$&'()+,;=:@ may stand between its `/`"));
    }
    Ok(path.into())
}

/// Checks the path and query of a probe's request.
pub fn request_path(text: &str) -> Result<String, Problem> {
    if !text.starts_with('/') {
        let message = format!("`{}` is not the path of a request: it must start with `/`", shown(text));
        return Err(Problem::meant(message, format!("/{text}")));
    }
    if text.len() > 2048 || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Problem::new(format!("`{}` is not the path of a request: write it as it goes over the wire", shown(text))));
    }
    Ok(text.into())
}
