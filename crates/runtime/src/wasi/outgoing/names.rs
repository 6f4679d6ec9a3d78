//! Names of Services as guests write them, and what is said when one is not granted.

use http::Uri;
use scheduler::names::{CALL, CONNECT};

use super::INTERNAL;

/// What Kubernetes' DNS puts behind the names of Services.
const SUFFIXES: [&str; 2] = [".svc.cluster.local", ".svc"];

/// Name and, where it is written, namespace of the Service that a host may stand for; none where it is none.
pub fn service(host: &str) -> Option<(&str, Option<&str>)> {
    let long = SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix));
    let label = |text: &str| !text.is_empty() && !text.contains(['.', ':']) && text.bytes().any(|b| b.is_ascii_alphabetic());
    match (long.unwrap_or(host).split_once('.'), long) {
        (Some((name, namespace)), _) => (label(name) && label(namespace)).then_some((name, Some(namespace))),
        (None, None) => label(host).then_some((host, None)),
        (None, Some(_)) => None,
    }
}

/// A sentence for a request that was refused, with the grant that it lacks.
pub fn refusal(uri: &Uri, host: &str) -> String {
    let asked = format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.authority().map_or("", |authority| authority.as_str()));
    let to_call = |entry: &str| format!("{entry} in the annotation {CALL} of its pod (uses.call in an app file)");
    let to_connect = || format!("{asked} in the annotation {CONNECT} of its pod (uses.connect in an app file)");
    let plain = uri.scheme_str() == Some("http");
    let grant = match (host.strip_suffix(INTERNAL), service(host)) {
        (Some(service), _) if plain => format!("grant {}", to_call(service)),
        (None, Some((name, namespace))) if plain => {
            let is_long = SUFFIXES.iter().any(|suffix| host.ends_with(suffix));
            let entry = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{name}.{namespace}"));
            if is_long || namespace.is_none() {
                format!("grant {}", to_call(&entry))
            } else {
                format!("grant {}, or, where it is a Service, {}", to_connect(), to_call(&entry))
            }
        }
        (Some(_), _) => "services are called by http://".to_owned(),
        _ => format!("grant {}", to_connect()),
    };
    format!("a request to {asked} was refused; {grant}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_the_names_of_kubernetes() {
        assert_eq!(service("orders"), Some(("orders", None)));
        for host in ["orders.billing", "orders.billing.svc", "orders.billing.svc.cluster.local"] {
            assert_eq!(service(host), Some(("orders", Some("billing"))), "{host}");
        }
        for host in ["a.b.c", "orders.svc", "127.1", "::1", "", ".billing", "orders.", "a.b.c.svc"] {
            assert_eq!(service(host), None, "{host}");
        }
    }

    #[test]
    fn a_refusal_names_the_grant() {
        let said = |uri: &'static str| {
            let uri = Uri::from_static(uri);
            refusal(&uri, uri.host().unwrap_or_default())
        };
        assert!(said("http://orders.billing.svc/x").contains("grant orders.billing in the annotation wctl.dev/call"));
        assert!(said("http://orders:81").contains("grant orders in the annotation wctl.dev/call"));
        assert!(said("http://user.internal").contains("grant user in the annotation wctl.dev/call"));
        let either = said("http://mail.example");
        assert!(
            either.contains("http://mail.example in the annotation wctl.dev/connect")
                && either.contains("mail.example in the annotation wctl.dev/call")
        );
        assert!(said("https://api.mail.example:444").contains("grant https://api.mail.example:444 in the annotation wctl.dev/connect"));
    }
}
