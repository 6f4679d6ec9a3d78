//! A spin.toml to an app file: each component with an HTTP trigger becomes a service.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Converted, Filled, Service, Unfit, file, items, plain_name, scalar, text};

/// The app file of a spin.toml, of version 1 or 2.
///
/// # Errors
/// When it is no TOML, or no spin.toml.
pub fn spin(manifest: &str) -> Result<Converted, Unfit> {
    let manifest: Value = toml::from_str(manifest).map_err(|error| Unfit(format!("this is not TOML: {error}")))?;
    let name = text(&manifest, "/application/name").or_else(|| text(&manifest, "/name"));
    let app = plain_name(name.ok_or_else(|| Unfit("this is no spin.toml: it has no `application.name`".into()))?);
    let mut notes = Vec::new();
    let mut services = Vec::new();
    for (name, component) in components(&manifest) {
        services.push(service(&app, &name, component, &routes(&manifest, &name, component), &mut notes));
    }
    for kind in manifest["trigger"].as_object().into_iter().flat_map(|triggers| triggers.keys()).filter(|kind| *kind != "http") {
        notes.push(format!("the trigger `{kind}` is left out: a service is called by HTTP, or runs as a worker"));
    }
    for variable in manifest["variables"].as_object().into_iter().flat_map(|variables| variables.keys()) {
        let key = variable.to_ascii_uppercase();
        notes.push(format!(
            "the variable {variable} is no variable of the app: write it under `env` as {key}, or keep it with `wctl secret set {key}`"
        ));
    }
    if let [one] = services.as_mut_slice() {
        one.name.clone_from(&app);
    }
    file(&app, None, &services, Filled::default(), notes)
}

/// Names and components, as version 2 and version 1 write them.
fn components(manifest: &Value) -> Vec<(String, &Value)> {
    match &manifest["component"] {
        Value::Object(map) => map.iter().map(|(name, component)| (name.clone(), component)).collect(),
        Value::Array(list) => list.iter().filter_map(|component| Some((text(component, "/id")?.to_owned(), component))).collect(),
        _ => Vec::new(),
    }
}

fn routes(manifest: &Value, name: &str, component: &Value) -> Vec<String> {
    let triggers = items(manifest, "/trigger/http").iter().filter(|trigger| trigger["component"] == name);
    let v2 = triggers.filter_map(|trigger| match &trigger["route"] {
        Value::String(route) => Some(route.clone()),
        // `{ private = true }`
        _ => None,
    });
    v2.chain(text(component, "/trigger/route").map(str::to_owned)).collect()
}

fn service(app: &str, typed: &str, component: &Value, routes: &[String], notes: &mut Vec<String>) -> Service {
    let name = plain_name(typed);
    let mut out = Service { name: name.clone(), ..Service::default() };
    origin(&mut out, component, notes);
    for route in routes {
        let path = route.strip_suffix("/...").unwrap_or(route);
        if path.contains(':') || path.contains('*') {
            notes.push(format!("{name}: of the route {route} only what comes before the first parameter is a route here"));
        }
        let path: String = path.split('/').take_while(|part| !part.starts_with(':') && !part.contains('*')).collect::<Vec<_>>().join("/");
        out.route.push(format!("{app}.localhost{}", path.trim_end_matches('/')));
    }
    let variables = component["environment"].as_object().into_iter().flatten();
    out.env = variables.filter_map(|(key, value)| Some((key.clone(), scalar(value)?.replace('$', "$$")))).collect::<BTreeMap<_, _>>();
    let hosts = items(component, "/allowed_outbound_hosts").iter().chain(items(component, "/allowed_http_hosts"));
    for host in hosts.filter_map(Value::as_str) {
        target(&mut out, host, notes);
    }
    out.keyvalue = items(component, "/key_value_stores").iter().filter_map(Value::as_str).map(plain_name).collect();
    if !out.keyvalue.is_empty() {
        notes.push(format!(
            "{name}: its stores are `wasi:keyvalue` buckets here; a component that imports Spin's own interface must be built for that"
        ));
    }
    for (key, what) in [
        ("sqlite_databases", "keep data in `uses.keyvalue`, or in a database that it connects to"),
        ("ai_models", "no model is offered"),
        ("files", "write the files into the component, or give it a volume"),
        ("variables", "write them under `env`, or keep them with `wctl secret set`"),
        ("dependencies", "compose them into the component when it is built"),
    ] {
        if component.get(key).is_some_and(|value| !value.as_array().is_some_and(Vec::is_empty)) {
            notes.push(format!("{name}: `{key}` is left out: {what}"));
        }
    }
    out
}

fn origin(out: &mut Service, component: &Value, notes: &mut Vec<String>) {
    let name = &out.name;
    let source = match &component["source"] {
        Value::String(path) => path.clone(),
        other => {
            let from = text(other, "/url").or_else(|| text(other, "/package")).unwrap_or("somewhere else");
            notes.push(format!("{name}: its component comes from {from}; fetch it and write its file, or push it with `wctl push`"));
            format!("./{name}.wasm")
        }
    };
    match text(component, "/build/command") {
        Some(command) => {
            let mut build = Filled::default();
            let folder = text(component, "/build/workdir").unwrap_or(".");
            build.put("path", if folder.starts_with(['.', '/']) { folder.to_owned() } else { format!("./{folder}") });
            build.put("command", command);
            let output = source.strip_prefix(&format!("{folder}/")).unwrap_or(&source).to_owned();
            build.put("output", output);
            out.origin.map("build", build);
        }
        None => out.origin.put("image", if source.starts_with(['.', '/']) { source } else { format!("./{source}") }),
    }
}

/// `https://host`, `postgres://host:5432`, `host:port` … as a target of `uses.connect`.
fn target(out: &mut Service, host: &str, notes: &mut Vec<String>) {
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    if let Some(other) = rest.split(':').next().and_then(|host| host.strip_suffix(".spin.internal")) {
        return out.call.push(plain_name(other));
    }
    if rest.contains('*') || rest.starts_with("self") || host.contains("insecure:") || rest.contains("{{") {
        return notes.push(format!("{}: {host} is left out; name each host and port under `uses.connect`", out.name));
    }
    let rest = rest.trim_end_matches('/');
    let has_port = rest.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let port = match scheme {
        "https" => 443,
        "http" => 80,
        "postgres" => 5432,
        "mysql" => 3306,
        "redis" => 6379,
        "mqtt" => 1883,
        _ => 443,
    };
    let scheme = if matches!(scheme, "http" | "https") { scheme } else { "tcp" };
    out.connect.push(if has_port { format!("{scheme}://{rest}") } else { format!("{scheme}://{rest}:{port}") });
}
