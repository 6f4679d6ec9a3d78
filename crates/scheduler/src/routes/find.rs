//! How hosts and paths of requests are compared with those of routes.

use std::borrow::Cow;

/// Whether a path without its query is the route's or lies under it: `/users` matches `/users/1`, never `/usersx`.
pub fn matches(prefix: &str, exact: bool, path: &str) -> bool {
    if exact {
        return path == prefix;
    }
    match path.strip_prefix(prefix.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// A host as the table knows it: lower case, without port and trailing dot. `Shop.Example:8080` → `shop.example`, `[::1]:80` → `[::1]`.
pub fn normal_host(host: &str) -> Cow<'_, str> {
    let end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let bare = &host[..end];
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    if bare.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(bare.to_ascii_lowercase()) } else { Cow::Borrowed(bare) }
}

/// A path as the table knows it: a prefix has no slash at its end, an exact path is kept as it is.
pub fn normal_path(path: &str, exact: bool) -> String {
    if exact {
        return path.to_owned();
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_host(sent: &str, expect: &str) {
        assert_eq!(normal_host(sent), expect);
    }

    #[test]
    fn hosts_lose_port_case_and_trailing_dot() {
        check_host("shop.localhost", "shop.localhost");
        check_host("Shop.LOCALHOST:8080", "shop.localhost");
        check_host("shop.localhost.:8080", "shop.localhost");
        check_host("[::1]:8080", "[::1]");
        check_host("[2001:DB8::1]", "[2001:db8::1]");
        check_host("", "");
    }
}
