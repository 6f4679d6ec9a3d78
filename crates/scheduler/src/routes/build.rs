//! Objects to table: which Ingress claims what, and which pods are behind it.

use super::{Backend, Claim, Claims, Collision, Endpoint, Pods, Route, Table, normal_host, normal_path};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

type Name = (String, String);
type Backends = BTreeMap<Name, Arc<Backend>>;

impl From<&Ingress> for Claims {
    fn from(ingress: &Ingress) -> Claims {
        let born = ingress.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
        let mut claims = Vec::new();
        let spec = ingress.spec.as_ref();
        for rule in spec.and_then(|spec| spec.rules.as_ref()).into_iter().flatten() {
            let host = normal_host(rule.host.as_deref().unwrap_or("")).into_owned();
            let paths = rule.http.iter().flat_map(|http| &http.paths);
            claims.extend(paths.filter_map(|path| Claim::new(&host, prefix(path), path.path_type == "Exact", &path.backend)));
        }
        let rest = spec.and_then(|spec| spec.default_backend.as_ref());
        claims.extend(rest.and_then(|backend| Claim::new("", "/".to_owned(), false, backend)));
        Claims { born, owner: name_of(&ingress.metadata), claims: claims.into() }
    }
}

impl Claim {
    /// None where it does not lead to a Service.
    fn new(host: &str, path: String, exact: bool, backend: &IngressBackend) -> Option<Claim> {
        Some(Claim { host: host.to_owned(), path, exact, service: backend.service.as_ref()?.name.clone() })
    }
}

impl Pods {
    /// None where the slice names no Service.
    pub fn of(slice: &EndpointSlice) -> Option<Pods> {
        let service = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?.clone();
        let namespace = slice.metadata.namespace.clone().unwrap_or_default();
        Some(Pods { service: (namespace, service), endpoints: ready_endpoints(slice).collect() })
    }
}

/// The table for what these objects say; Services by namespace and name. A route to a Service that does not exist has a backend
/// without endpoints (503, not 404); of two claims to one (host, path) the older Ingress wins.
pub fn table<'o>(
    ingresses: impl Iterator<Item = &'o Claims>,
    services: impl Iterator<Item = &'o Name>,
    slices: impl Iterator<Item = &'o Pods>,
) -> Table {
    let backends = backends(services, slices);
    let mut sorted: Vec<&Claims> = ingresses.collect();
    // Oldest first; names decide between equals, so that every gateway has the same table.
    sorted.sort_by_key(|claims| (&claims.born, &claims.owner));
    let mut taken = Taken::default();
    for claims in sorted {
        claims.claims.iter().for_each(|claim| taken.take(&claims.owner, claim, &backends));
    }
    let hosts = taken.routes.into_iter().map(|(host, routes)| (host, longest_first(routes))).collect();
    Table { hosts, backends, collisions: taken.collisions }
}

fn name_of(meta: &ObjectMeta) -> Name {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn backends<'o>(services: impl Iterator<Item = &'o Name>, slices: impl Iterator<Item = &'o Pods>) -> Backends {
    let mut endpoints: BTreeMap<Name, Vec<Endpoint>> = services.map(|name| (name.clone(), Vec::new())).collect();
    for slice in slices {
        if let Some(found) = endpoints.get_mut(&slice.service) {
            found.extend(slice.endpoints.iter().cloned());
        }
    }
    endpoints.into_iter().map(|(name, endpoints)| (name.clone(), Arc::new(backend(name, endpoints)))).collect()
}

fn backend((namespace, name): Name, mut endpoints: Vec<Endpoint>) -> Backend {
    endpoints.sort();
    endpoints.dedup_by(|a, b| a.pod == b.pod);
    endpoints.shrink_to_fit();
    Backend { namespace, name, endpoints }
}

fn ready_endpoints(slice: &EndpointSlice) -> impl Iterator<Item = Endpoint> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port);
    slice.endpoints.iter().filter(|endpoint| is_ready(endpoint)).filter_map(move |endpoint| {
        Some(Endpoint {
            pod: endpoint.target_ref.as_ref()?.uid.clone()?,
            node: endpoint.node_name.clone().unwrap_or_default(),
            address: endpoint.addresses.first().zip(port).map(|(host, port)| address(host, port)).unwrap_or_default(),
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

#[derive(Default)]
struct Taken<'o> {
    routes: BTreeMap<String, Vec<Route>>,
    owners: BTreeMap<(&'o str, &'o str, bool), &'o Name>,
    collisions: Vec<Collision>,
}

impl<'o> Taken<'o> {
    fn take(&mut self, owner: &'o Name, claim: &'o Claim, backends: &Backends) {
        let Claim { host, path, exact, service } = claim;
        match self.owners.get(&(host.as_str(), path.as_str(), *exact)) {
            Some(winner) if *winner != owner => {
                let (winner, loser) = ((*winner).clone(), owner.clone());
                self.collisions.push(Collision { host: host.clone(), path: path.clone(), winner, loser });
            }
            // The same Ingress names a path twice: its first rule counts.
            Some(_) => {}
            None => {
                self.owners.insert((host, path, *exact), owner);
                let backend = resolve(owner, service, backends);
                self.routes.entry(host.clone()).or_default().push(Route { path: path.clone(), exact: *exact, backend });
            }
        }
    }
}

/// `/users/` and `/users` are one claim; no path is `/`.
fn prefix(path: &HTTPIngressPath) -> String {
    normal_path(path.path.as_deref().unwrap_or("/"), path.path_type == "Exact")
}

fn resolve(owner: &Name, service: &str, backends: &Backends) -> Arc<Backend> {
    let service = (owner.0.clone(), service.to_owned());
    let found = backends.get(&service).cloned();
    found.unwrap_or_else(|| Arc::new(Backend { namespace: service.0, name: service.1, endpoints: Vec::new() }))
}

fn longest_first(mut routes: Vec<Route>) -> Vec<Route> {
    routes.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then(b.exact.cmp(&a.exact)).then(a.path.cmp(&b.path)));
    routes.shrink_to_fit();
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    fn table(ingresses: &[Ingress], services: &[Service], slices: &[EndpointSlice]) -> Table {
        let claims: Vec<_> = ingresses.iter().map(Claims::from).collect();
        let services: Vec<_> = services.iter().map(|service| name_of(&service.metadata)).collect();
        let pods: Vec<_> = slices.iter().filter_map(Pods::of).collect();
        super::table(claims.iter(), services.iter(), pods.iter())
    }

    fn ingress(name: &str, created: &str, host: &str, rules: &[(&str, &str)]) -> Ingress {
        let paths: Vec<_> = rules
            .iter()
            .map(|(path, service)| json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}))
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
            "spec": {"rules": [{"host": host, "http": {"paths": paths}}]},
        }))
        .expect("an ingress")
    }

    fn service(name: &str) -> Service {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}})).expect("a service")
    }

    fn slice(service: &str, pods: &[(&str, bool)]) -> EndpointSlice {
        let endpoints: Vec<_> = pods
            .iter()
            .map(|(pod, ready)| json!({"addresses": ["fe80::1"], "conditions": {"ready": ready}, "nodeName": "edge-1", "targetRef": {"kind": "Pod", "uid": pod}}))
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": service, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv6", "endpoints": endpoints, "ports": [{"port": 80}],
        }))
        .expect("a slice")
    }

    /// Where each request goes: `host/path → service`.
    fn check(table: &Table, requests: &str) {
        for line in requests.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (request, expect) = line.split_once(" → ").expect("host/path → service");
            let (host, path) = request.split_at(request.find('/').expect("a path"));
            let found = table.find(host, path).map_or("404", |route| &route.backend.name);
            assert_eq!(found, expect, "{request}");
        }
    }

    #[test]
    fn the_longest_prefix_of_whole_elements_wins() {
        let shop =
            ingress("shop", "2026-01-01T00:00:00Z", "Shop.localhost", &[("/", "web"), ("/users", "user"), ("/users/new/", "signup")]);
        let table = table(&[shop], &[service("web"), service("user"), service("signup")], &[]);
        check(
            &table,
            "shop.localhost/ → web
             shop.localhost:8080/users → user
             SHOP.localhost./users/1 → user
             shop.localhost/usersx → web
             shop.localhost/users/new → signup
             shop.localhost/users/newer → user
             other.localhost/ → 404",
        );
    }

    #[test]
    fn wildcards_stand_for_one_label_and_an_exact_host_comes_first() {
        let any = ingress("any", "2026-01-01T00:00:00Z", "*.example.com", &[("/", "any")]);
        let one = ingress("one", "2026-01-02T00:00:00Z", "one.example.com", &[("/x", "one")]);
        let rest = ingress("rest", "2026-01-02T00:00:00Z", "", &[("/", "rest")]);
        let table = table(&[any, one, rest], &[], &[]);
        check(
            &table,
            "one.example.com/x → one
             one.example.com/y → any
             two.example.com/x → any
             a.two.example.com/ → rest
             example.com/ → rest",
        );
    }

    #[test]
    fn the_older_ingress_keeps_a_route_and_the_other_is_named() {
        let younger = ingress("a", "2026-01-02T00:00:00Z", "shop.localhost", &[("/users/", "new")]);
        let older = ingress("b", "2026-01-01T00:00:00Z", "shop.localhost", &[("/users", "old")]);
        let table = table(&[younger, older], &[], &[]);
        check(&table, "shop.localhost/users → old");
        assert_eq!(table.collisions.len(), 1);
        assert_eq!(table.collisions[0].loser.1, "a");
        assert_eq!(table.collisions[0].winner.1, "b");
    }

    #[test]
    fn only_ready_pods_are_endpoints() {
        let table = table(&[], &[service("web")], &[slice("web", &[("2", true), ("1", true), ("3", false)])]);
        let backend = table.backend("default", "web").expect("a backend");
        let pods: Vec<&str> = backend.endpoints.iter().map(|e| e.pod.as_str()).collect();
        assert_eq!(pods, ["1", "2"]);
        assert_eq!(backend.endpoints[0].address, "[fe80::1]:80");
    }

    #[test]
    fn a_route_to_no_service_has_no_endpoints() {
        let table = table(&[ingress("x", "2026-01-01T00:00:00Z", "x", &[("/", "gone")])], &[], &[]);
        assert!(table.find("x", "/").expect("a route").backend.endpoints.is_empty());
    }
}
