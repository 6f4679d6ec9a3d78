//! What routing needs of an API object.

use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend};

use super::{Canary, Claim, Claims, Endpoint, Front, Key, NodePort, Place, Pods, Route, normal_host, normal_path};
use crate::names;

/// Of ten thousand routes nearly all have this path.
static ROOT: LazyLock<Arc<str>> = LazyLock::new(|| "/".into());

impl From<&Ingress> for Claims {
    fn from(ingress: &Ingress) -> Claims {
        let meta = &ingress.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let mut claims = Vec::new();
        let spec = ingress.spec.as_ref();
        for rule in spec.and_then(|spec| spec.rules.as_ref()).into_iter().flatten() {
            let host: Arc<str> = normal_host(rule.host.as_deref().unwrap_or("")).into();
            let paths = rule.http.iter().flat_map(|http| &http.paths);
            claims.extend(paths.filter_map(|path| claim(namespace, &host, prefix(path), path.path_type == "Exact", &path.backend)));
        }
        let rest = spec.and_then(|spec| spec.default_backend.as_ref());
        claims.extend(rest.and_then(|backend| claim(namespace, &"".into(), ROOT.clone(), false, backend)));
        let born = meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        let app = meta.labels.as_ref().and_then(|labels| labels.get(names::APP)).map_or("", String::as_str);
        Claims { born, app: app.into(), claims: claims.into() }
    }
}

impl Pods {
    /// None where the slice names no Service.
    pub fn of(slice: &EndpointSlice) -> Option<Pods> {
        let service = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        let canary = slice.metadata.annotations.as_ref().and_then(|all| Canary::parse(all.get(names::CANARY)?));
        let listens = slice.ports.iter().flatten().filter(|port| port.app_protocol.as_deref() == Some(names::TCP));
        let bare = listens.filter_map(|port| Some((port.name.as_deref().unwrap_or_default().into(), u16::try_from(port.port?).ok()?)));
        Some(Pods { service: Key::new(namespace, service), endpoints: ready_endpoints(slice).collect(), canary, bare: bare.collect() })
    }
}

impl From<&Service> for Front {
    fn from(service: &Service) -> Front {
        let meta = &service.metadata;
        let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name)).map_or("", String::as_str);
        let app = meta.labels.as_ref().and_then(|labels| labels.get(names::APP)).map_or("", String::as_str);
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let callers = annotation(names::CALLERS).split(',').map(str::trim).filter(|name| !name.is_empty());
        Front {
            app: app.into(),
            ports: ports.iter().filter_map(|port| u16::try_from(port.port).ok()).collect(),
            callers: callers.map(Box::from).collect(),
            place: place(service, ports).map(Box::new),
        }
    }
}

/// None where it is not reached on nodes.
fn place(service: &Service, ports: &[ServicePort]) -> Option<Place> {
    let balanced = match service.spec.as_ref()?.type_.as_deref()? {
        "NodePort" => false,
        "LoadBalancer" => true,
        _ => return None,
    };
    let meta = &service.metadata;
    let port = |port: &ServicePort, number: Option<i32>, given| {
        let number = u16::try_from(number?).ok().filter(|number| *number > 0)?;
        Some(NodePort { name: port.name.as_deref().unwrap_or_default().into(), number, given })
    };
    let given = ports.iter().filter_map(|one| port(one, one.node_port, true));
    let own = ports.iter().filter(|_| balanced).filter_map(|one| port(one, Some(one.port), false));
    Some(Place {
        uid: meta.uid.as_deref().unwrap_or_default().into(),
        born: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        ports: given.chain(own).collect(),
    })
}

/// None where it does not lead to a Service.
fn claim(namespace: &str, host: &Arc<str>, path: Arc<str>, exact: bool, backend: &IngressBackend) -> Option<Claim> {
    let service = Key::new(namespace, &backend.service.as_ref()?.name);
    Some(Claim { host: host.clone(), route: Route { path, exact, service } })
}

/// `/users/` and `/users` are one claim; no path is `/`.
fn prefix(path: &HTTPIngressPath) -> Arc<str> {
    let path = normal_path(path.path.as_deref().unwrap_or("/"), path.path_type == "Exact");
    if *path == **ROOT { ROOT.clone() } else { path.into() }
}

fn ready_endpoints(slice: &EndpointSlice) -> impl Iterator<Item = Endpoint> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port);
    slice.endpoints.iter().filter(|endpoint| is_ready(endpoint)).filter_map(move |endpoint| {
        Some(Endpoint {
            pod: endpoint.target_ref.as_ref()?.uid.as_deref()?.into(),
            node: endpoint.node_name.as_deref().unwrap_or_default().into(),
            address: endpoint.addresses.first().zip(port).map(|(host, port)| address(host, port)).unwrap_or_default().into(),
        })
    })
}

fn is_ready(endpoint: &SliceEndpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.and_then(|c| c.ready).unwrap_or(true) && !conditions.and_then(|c| c.terminating).unwrap_or(false)
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
