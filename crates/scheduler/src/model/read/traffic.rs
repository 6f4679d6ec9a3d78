//! Services, EndpointSlices and Ingresses as JSON to the small structs.

use serde_json::Value;

use super::{annotation, items, labels, text};
use crate::model::{Claimed, Endpoint, Ingress, Meta, Name, Port, Service, Slice};
use crate::{names, routes};

pub(super) fn service(meta: Meta, object: &Value) -> Service {
    let balanced = text(object, "/spec/type") == "LoadBalancer" && !meta.deleting;
    let ports = items(object, "/spec/ports").iter().map(|port| Port {
        name: text(port, "/name").into(),
        // A name is the pods' own business: where requests go to, nothing listens on a number.
        number: number(port, "/targetPort").or_else(|| number(port, "/port")).unwrap_or(80),
        bare: false,
    });
    Service { selector: labels(object, "/spec/selector"), ports: ports.collect(), balanced, shown: shown(object), meta }
}

/// Where its status says that it is reached.
fn shown(object: &Value) -> Vec<Name> {
    items(object, "/status/loadBalancer/ingress").iter().map(|one| text(one, "/ip").into()).collect()
}

fn number(port: &Value, at: &str) -> Option<u16> {
    port.pointer(at).and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok())
}

pub(super) fn slice(meta: Meta, object: &Value) -> Slice {
    let mut endpoints: Vec<Endpoint> = items(object, "/endpoints").iter().map(endpoint).collect();
    endpoints.sort();
    let ports = items(object, "/ports").iter().map(|port| Port {
        name: text(port, "/name").into(),
        number: number(port, "/port").unwrap_or(0),
        bare: text(port, "/appProtocol") == names::TCP,
    });
    Slice {
        service: meta.labels.get("kubernetes.io/service-name").map_or("", String::as_str).into(),
        ports: ports.collect(),
        endpoints,
        canary: annotation(object, names::CANARY).and_then(routes::Canary::parse),
        meta,
    }
}

pub(super) fn ingress(meta: Meta, object: &Value) -> Ingress {
    let claim = |host: &str, path: &Value| {
        let exact = text(path, "/pathType") == "Exact";
        let typed = path.get("path").and_then(Value::as_str).unwrap_or("/");
        Claimed { host: routes::normal_host(host).into_owned(), path: routes::normal_path(typed, exact), exact }
    };
    let rules = items(object, "/spec/rules").iter();
    let claims = rules.flat_map(|rule| items(rule, "/http/paths").iter().map(move |path| claim(text(rule, "/host"), path))).collect();
    Ingress { meta, claims, shown: shown(object) }
}

fn endpoint(value: &Value) -> Endpoint {
    Endpoint {
        pod: text(value, "/targetRef/name").into(),
        uid: text(value, "/targetRef/uid").into(),
        node: text(value, "/nodeName").into(),
        address: text(value, "/addresses/0").into(),
    }
}
