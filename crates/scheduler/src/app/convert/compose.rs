//! A Compose file to an app file, with a list of what stays in Docker.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Converted, Filled, Service, Unfit, file, items, plain_name, scalar, text};

/// Images that are no component of anybody's, and the port on which each is reached.
const STAYS: &[(&str, u16)] = &[
    ("postgres", 5432),
    ("postgis", 5432),
    ("timescaledb", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("percona", 3306),
    ("mongo", 27017),
    ("redis", 6379),
    ("valkey", 6379),
    ("memcached", 11211),
    ("rabbitmq", 5672),
    ("nats", 4222),
    ("kafka", 9092),
    ("redpanda", 9092),
    ("zookeeper", 2181),
    ("elasticsearch", 9200),
    ("opensearch", 9200),
    ("cassandra", 9042),
    ("clickhouse-server", 9000),
    ("influxdb", 8086),
    ("minio", 9000),
    ("mosquitto", 1883),
    ("vault", 8200),
    ("consul", 8500),
    ("etcd", 2379),
    ("nginx", 80),
    ("traefik", 80),
    ("caddy", 80),
    ("haproxy", 80),
    ("prometheus", 9090),
    ("grafana", 3000),
    ("adminer", 8080),
    ("mailhog", 1025),
];

/// Keys that need no word: the cluster does what they ask for, or they ask for nothing.
const SILENT: &[&str] = &[
    "image",
    "build",
    "environment",
    "command",
    "ports",
    "expose",
    "depends_on",
    "links",
    "deploy",
    "scale",
    "healthcheck",
    "volumes",
    "restart",
    "networks",
    "container_name",
    "hostname",
    "labels",
    "logging",
    "stop_grace_period",
    "init",
    "mem_limit",
    "cpus",
    "secrets",
    "pull_policy",
    "platform",
    "tty",
    "stdin_open",
    "develop",
    "profiles",
    "env_file",
    "entrypoint",
    "mem_reservation",
];

pub(super) fn app(file_: &Value, name: &str) -> Result<Converted, Unfit> {
    let services = file_["services"].as_object().ok_or_else(|| Unfit("`services` of the Compose file is no map".into()))?;
    let app = plain_name(text(file_, "/name").unwrap_or(name));
    let mut notes = Vec::new();
    let stays: BTreeMap<&str, u16> = services.iter().filter_map(|(name, service)| Some((name.as_str(), stays(service)?))).collect();
    for (name, port) in &stays {
        let image = text(&services[*name], "/image").unwrap_or_default();
        notes.push(format!("{name} stays in Docker ({image}): publish its port {port} where the nodes reach it; the services that use it may connect to tcp://{name}:{port}, so make that name resolve on the nodes or write its address"));
    }
    let mut converted = Vec::new();
    for (name, service) in services.iter().filter(|(name, _)| !stays.contains_key(name.as_str())) {
        converted.push(one(&app, name, service, &stays, &mut notes));
    }
    for (field, what) in [
        ("configs", "write them into the component, or as variables"),
        ("networks", "services of an app reach each other as `uses.call` says"),
    ] {
        if field == "configs" && file_.get(field).is_some() {
            notes.push(format!("`{field}` is left out: {what}"));
        }
    }
    file(&app, None, &converted, Filled::default(), notes)
}

/// The port of a service that is no component.
fn stays(service: &Value) -> Option<u16> {
    if service.get("build").is_some() {
        return None;
    }
    let image = text(service, "/image")?;
    let name = image.split('@').next()?.rsplit('/').next()?.split(':').next()?;
    STAYS.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

fn one(app: &str, typed: &str, service: &Value, stays: &BTreeMap<&str, u16>, notes: &mut Vec<String>) -> Service {
    let name = plain_name(typed);
    let mut out = Service { name: name.clone(), ..Service::default() };
    origin(&mut out, service, notes);
    out.replicas = service.pointer("/deploy/replicas").or_else(|| service.get("scale")).and_then(Value::as_u64);
    out.env = environment(&service["environment"]);
    out.args = words(&service["command"]);
    if !items(service, "/ports").is_empty() {
        out.route = vec![if name == app { format!("{app}.localhost") } else { format!("{name}.{app}.localhost") }];
        notes.push(format!("{name}: instead of ports it has the route {}; a component's requests come through the gateway", out.route[0]));
    }
    for other in names(&service["depends_on"]).into_iter().chain(names(&service["links"])) {
        let other = other.split(':').next().unwrap_or_default();
        match stays.get(other) {
            Some(port) => out.connect.push(format!("tcp://{other}:{port}")),
            None => {
                let other = plain_name(other);
                notes.push(format!("{name}: it calls {other} as http://{other}.internal"));
                out.call.push(other);
            }
        }
    }
    // A database is often named in a variable alone.
    for (other, port) in stays {
        if out.env.values().any(|value| value.contains(&format!("{other}:{port}")) || value.contains(&format!("@{other}/"))) {
            out.connect.push(format!("tcp://{other}:{port}"));
        }
    }
    limits(&mut out, service);
    probe(&mut out, service, notes);
    volumes(&mut out, service, notes);
    for secret in names(&service["secrets"]) {
        let key: String = secret.to_ascii_uppercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        notes.push(format!("{name}: the secret {secret} is the variable {key}; keep it with `wctl secret set {key}`"));
        out.secrets.push(key);
    }
    for (key, what) in [("env_file", "write its variables under `env`"), ("entrypoint", "a component has one entry point; give it `args`")]
    {
        if service.get(key).is_some() {
            notes.push(format!("{name}: `{key}` is left out: {what}"));
        }
    }
    for key in service.as_object().into_iter().flat_map(Map::keys).filter(|key| !SILENT.contains(&key.as_str()) && !key.starts_with("x-")) {
        notes.push(format!("{name}: `{key}` is left out, since a component has nothing of the kind"));
    }
    out
}

fn origin(out: &mut Service, service: &Value, notes: &mut Vec<String>) {
    let name = &out.name;
    let folder = scalar(&service["build"]).or_else(|| service.get("build").map(|build| text(build, "/context").unwrap_or(".").to_owned()));
    match (folder, text(service, "/image")) {
        (Some(folder), _) => {
            notes.push(format!("{name}: it is built from its sources in {folder} (Cargo.toml, package.json, pyproject.toml or Makefile); the Dockerfile is not used"));
            let folder = if folder.starts_with(['.', '/']) { folder } else { format!("./{folder}") };
            out.origin.put("build", folder);
        }
        (None, Some(image)) => {
            notes.push(format!("{name}: its image must be a component; push one with `wctl push FILE.wasm {image}`"));
            out.origin.put("image", image);
        }
        (None, None) => {
            notes.push(format!("{name}: it names neither an image nor a build; write where its component is"));
            out.origin.put("image", format!("./{name}.wasm"));
        }
    }
}

/// A map, or a list of `NAME=value`; a name without a value is taken from the caller's environment.
fn environment(value: &Value) -> BTreeMap<String, String> {
    match value {
        Value::Object(map) => {
            let own = |key: &str, value: &Value| scalar(value).unwrap_or_else(|| format!("${{{key}}}"));
            map.iter().map(|(key, value)| (key.clone(), own(key, value))).collect()
        }
        Value::Array(items) => {
            let pair = |item: &str| {
                item.split_once('=').map_or_else(|| (item.to_owned(), format!("${{{item}}}")), |(k, v)| (k.to_owned(), v.to_owned()))
            };
            items.iter().filter_map(Value::as_str).map(pair).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(items) => items.iter().filter_map(scalar).collect(),
        _ => Vec::new(),
    }
}

/// A list of names, a list of maps with a `source`, or the keys of a map.
fn names(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(|item| scalar(item).or_else(|| text(item, "/source").map(str::to_owned))).collect(),
        Value::Object(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn limits(out: &mut Service, service: &Value) {
    let given = service.pointer("/deploy/resources/limits").unwrap_or(&Value::Null);
    if let Some(memory) = scalar(&given["memory"]).or_else(|| scalar(&service["mem_limit"])) {
        // Compose counts in powers of two, whatever the letter.
        let digits = memory.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match memory[digits.len()..].to_ascii_lowercase().as_str() {
            "g" | "gb" | "gib" => "Gi",
            "m" | "mb" | "mib" => "Mi",
            "k" | "kb" | "kib" => "Ki",
            _ => "",
        };
        out.limits.put("memory", format!("{digits}{unit}"));
    }
    if let Some(cpus) = scalar(&given["cpus"]).or_else(|| scalar(&service["cpus"])) {
        match cpus.parse::<f64>() {
            Ok(cores) if cores.fract() != 0.0 => out.limits.put("cpu", format!("{}m", (cores * 1000.0).round())),
            _ => out.limits.put("cpu", cpus),
        }
    }
}

fn probe(out: &mut Service, service: &Value, notes: &mut Vec<String>) {
    let Some(check) = service.get("healthcheck") else { return };
    let test = words(&check["test"]).join(" ");
    let url = test.split(|c: char| c.is_whitespace() || c == '"' || c == '\'').find_map(|word| word.strip_prefix("http://"));
    let Some(url) = url else {
        return notes.push(format!("{}: its healthcheck runs a command, which a component cannot; write `probe: {{ path: / }}`", out.name));
    };
    out.probe.put("path", url.find('/').map_or("/", |at| &url[at..]));
    for (ours, theirs) in [("every", "interval"), ("timeout", "timeout")] {
        if let Some(time) = text(check, &format!("/{theirs}")).filter(|time| time.trim_end_matches('s').parse::<u32>().is_ok()) {
            out.probe.put(ours, time);
        }
    }
    if let Some(times) = check["retries"].as_u64() {
        out.probe.put("fail", times);
    }
}

fn volumes(out: &mut Service, service: &Value, notes: &mut Vec<String>) {
    for volume in items(service, "/volumes") {
        let short = volume.as_str().and_then(|text| text.split_once(':')).map(|(from, to)| (from, to.split(':').next().unwrap_or(to)));
        let long = text(volume, "/target").map(|target| (text(volume, "/source").unwrap_or_default(), target));
        let Some((from, to)) = short.or(long) else { continue };
        if from.starts_with(['.', '/', '~']) {
            notes.push(format!(
                "{}: {from} of this machine is not mounted; what the component reads belongs into it, or into a volume",
                out.name
            ));
        } else {
            notes.push(format!("{}: the volume {from} holds at most 100Mi; write the size that it needs", out.name));
            out.volumes.insert(to.to_owned(), "100Mi".to_owned());
        }
    }
}
