//! Where an app answers.

use serde_json::Value;

/// A route of an app: host and path prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The host, as a browser asks for it; empty for every host.
    pub host: String,
    /// The prefix of its paths.
    pub path: String,
}

impl Route {
    /// The URL at a gateway (`http://127.0.0.1:8080`), as a browser would write it.
    pub fn url(&self, gateway: Option<&str>) -> String {
        if self.host.is_empty() {
            return format!("{}{}", gateway.unwrap_or("http://*"), self.path);
        }
        let port = gateway.and_then(|gateway| gateway.rsplit_once(':')).map(|(_, port)| port).filter(|port| *port != "80");
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("http://{}{port}{}", self.host, self.path)
    }

    /// A command that works where `*.localhost` does not resolve.
    pub fn curl(&self, gateway: &str) -> String {
        let host = if self.host.is_empty() { String::new() } else { format!("-H 'Host: {}' ", self.host) };
        format!("curl {host}{gateway}{}", self.path)
    }
}

/// The routes of an App's spec, each once.
pub fn routes(spec: &Value) -> Vec<Route> {
    let mut found: Vec<Route> =
        spec["services"].as_object().into_iter().flatten().flat_map(|(_, service)| of_service(&service["route"])).collect();
    found.sort();
    found.dedup();
    found
}

/// The URLs of an App's spec.
pub fn of_spec(spec: &Value, gateway: Option<&str>) -> Vec<String> {
    routes(spec).iter().map(|route| route.url(gateway)).collect()
}

/// A route is a text (`host/path`), an object, or a list of these.
fn of_service(route: &Value) -> Vec<Route> {
    match route {
        Value::String(text) => {
            let (host, path) = text.split_once('/').map_or((text.as_str(), "/".to_owned()), |(host, path)| (host, format!("/{path}")));
            vec![Route { host: host.to_owned(), path }]
        }
        Value::Array(several) => several.iter().flat_map(of_service).collect(),
        Value::Object(fields) => {
            let Some(host) = fields.get("host").and_then(Value::as_str) else { return Vec::new() };
            let path = fields.get("path").and_then(Value::as_str).unwrap_or("/");
            vec![Route { host: host.to_owned(), path: path.to_owned() }]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_a_route_has_a_url() {
        let spec = json!({"services": {
            "a": {"route": "shop.localhost/users"},
            "b": {"route": ["hello.localhost", {"host": "shop.localhost", "path": "/b"}]},
            "c": {},
        }});
        let urls = of_spec(&spec, Some("http://127.0.0.1:8080"));
        assert_eq!(urls, ["http://hello.localhost:8080/", "http://shop.localhost:8080/b", "http://shop.localhost:8080/users"]);
        assert_eq!(routes(&spec)[2].curl("http://127.0.0.1:8080"), "curl -H 'Host: shop.localhost' http://127.0.0.1:8080/users");
        assert_eq!(Route { host: "a.example".into(), path: "/".into() }.url(Some("http://10.0.0.1:80")), "http://a.example/");
    }
}
