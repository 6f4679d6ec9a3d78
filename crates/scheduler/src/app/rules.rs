//! What no single value shows: names that must exist, routes that collide, keys that exclude each other.

use std::collections::BTreeMap;

use super::keys::ORIGINS;
use super::mistake::Found;
use super::problem::{Problem, nearest, shown};
use super::quantity::Share;
use super::route::Route;
use super::tree::{Entry, Kind, Node};
use super::{MOST_ENV, MOST_SERVICES, object_name};

/// Checks an app in its long form, or an AppSpec, which has the same shape from `services` on.
pub(crate) fn check(app: &Node, app_name: Option<&str>, from_file: bool, found: &mut Found) {
    let no_services = Node::new(app.at, Kind::Null);
    let services = app.get("services").unwrap_or(&no_services);
    let entries = services.entries();
    if entries.is_empty() {
        let problem = Problem::new("the app has no service: give it an `image`, a `build`, or `services`");
        found.push(services.at, "services", problem);
    }
    if entries.len() > MOST_SERVICES {
        let problem = Problem::new(format!("the app has {} services, the most is {MOST_SERVICES}", entries.len()));
        found.push(services.at, "services", problem);
    }
    let names: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    let shared = app.get("env").map(Node::entries).unwrap_or_default();
    for service in entries {
        let name = app_name.map(|app| object_name(app, &service.key));
        if let Some(name) = name.as_ref().filter(|name| name.len() > 63) {
            let message = format!("the name of its objects would be `{name}`, which has more than 63 characters");
            found.push(service.key_at, &format!("services.{}", service.key), Problem::new(message));
        }
        if let Some(settings) = service.value.get("scale") {
            scale(service, settings, found);
        }
        if let Some(settings) = service.value.get("job") {
            job(service, settings, name.as_deref(), from_file, found);
        }
        if from_file {
            origin(service, found);
        }
        calls(service, &names, found);
        environment(service, shared, found);
    }
    routes(entries, found);
    if let Some(rollout) = app.get("rollout") {
        progress(rollout, found);
    }
}

/// Exactly one of image, build and static; not both a number of replicas and a scale.
fn origin(service: &Entry, found: &mut Found) {
    let path = format!("services.{}", service.key);
    let given: Vec<&Entry> = service.value.entries().iter().filter(|entry| ORIGINS.contains(&entry.key.as_str())).collect();
    match given.as_slice() {
        [] => found.push(service.key_at, &path, Problem::new(format!("`{}` has neither an `image` nor a `build`", shown(&service.key)))),
        [one] if one.key == "static" => no_component(service, &path, found),
        [_] => {}
        [first, second, ..] => exclude(first, second, &path, found),
    }
    if let (Some(replicas), Some(scale)) = (service.value.entry("replicas"), service.value.entry("scale")) {
        exclude(replicas, scale, &path, found);
    }
}

/// Most characters of the name of a job's object: behind it stands what tells its runs apart.
const JOB_NAME: usize = 52;

/// A job takes no requests and has no replicas; what is about its clock is for those that have one.
fn job(service: &Entry, settings: &Node, name: Option<&str>, from_file: bool, found: &mut Found) {
    let path = format!("services.{}", service.key);
    // A spec has the number of pods of every service, as its author wrote it or not.
    let replicas = from_file.then_some("replicas");
    for key in ["scale", "route", "probe", "static"].into_iter().chain(replicas) {
        if let Some(given) = service.value.entry(key) {
            let problem = Problem::new(format!("`{key}` is for services that are kept running, and this one is a `job`"));
            found.push(given.key_at, &format!("{path}.{key}"), problem);
        }
    }
    for key in ["timezone", "overlap", "history"] {
        if let (Some(given), None) = (settings.entry(key), settings.get("cron")) {
            let problem = Problem::new(format!("`{key}` is for jobs with a `cron` line, and this one runs once"));
            found.push(given.key_at, &format!("{path}.job.{key}"), problem);
        }
    }
    if let Some(name) = name.filter(|name| name.len() > JOB_NAME) {
        let message = format!("the name of its objects would be `{name}`, and that of a job has at most {JOB_NAME} characters");
        found.push(service.key_at, &path, Problem::new(message));
    }
}

/// A scale has something to go by, and its least is not above its most.
fn scale(service: &Entry, settings: &Node, found: &mut Found) {
    let path = format!("services.{}.scale", service.key);
    let most = settings.get("max").and_then(Node::text);
    // One pod that may sleep goes by requests alone.
    if ["concurrency", "requests", "cpu"].iter().all(|aim| settings.get(aim).is_none()) && most != Some("1") {
        let problem = Problem::new("a scale needs something to go by: `concurrency`, `requests` or `cpu`");
        found.push(settings.at, &path, problem);
    }
    let number = |key: &str| settings.get(key).and_then(Node::text).and_then(|text| text.parse::<u64>().ok());
    if let (Some(min), Some(max)) = (number("min"), number("max"))
        && min > max
    {
        found.push(
            settings.entry("min").and_then(|entry| entry.key_at),
            &path,
            Problem::new(format!("`min` is {min}, more than `max`, which is {max}")),
        );
    }
    let bounded = service.value.get("limits").and_then(|limits| limits.get("cpu")).is_some();
    if let Some(cpu) = settings.entry("cpu").filter(|_| !bounded) {
        found.push(cpu.key_at, &format!("{path}.cpu"), Problem::new("`cpu` is a share of `limits.cpu`, which is not given"));
    }
}

/// A folder of files has no use for what is given to a guest.
fn no_component(service: &Entry, path: &str, found: &mut Found) {
    for key in ["env", "args", "uses", "sandbox"] {
        if let Some(given) = service.value.entry(key) {
            let problem = Problem::new(format!("`{key}` is for components, and a folder of files (`static`) has none"));
            found.push(given.key_at, &format!("{path}.{key}"), problem);
        }
    }
}

fn exclude(first: &Entry, second: &Entry, path: &str, found: &mut Found) {
    let problem = Problem::new(format!("`{}` and `{}` exclude each other", first.key, second.key));
    let other = first.key_at.map(|at| (at, "given here"));
    found.push_with(second.key_at, path, problem, other);
}

fn calls(service: &Entry, names: &[&str], found: &mut Found) {
    let uses = service.value.get("uses").and_then(|uses| uses.get("call"));
    for (i, callee) in uses.map(Node::items).unwrap_or_default().iter().enumerate() {
        let Some(name) = callee.text().filter(|name| !name.contains('.') && !names.contains(name)) else { continue };
        let mut problem = Problem::new(format!("the app has no service `{}` to call; it has {}", shown(name), names.join(", ")));
        problem.meant = nearest(name, names.iter().copied()).map(str::to_owned);
        found.push(callee.at, &format!("services.{}.uses.call.{i}", service.key), problem);
    }
}

/// A name must mean one thing, and all of it must fit beside the rest of an object.
fn environment(service: &Entry, shared: &[Entry], found: &mut Found) {
    let own = service.value.get("env").map(Node::entries).unwrap_or_default();
    let path = format!("services.{}", service.key);
    let secrets = service.value.get("uses").and_then(|uses| uses.get("secrets")).map(Node::items).unwrap_or_default();
    for secret in secrets {
        let Some(name) = secret.text() else { continue };
        if let Some(variable) = own.iter().chain(shared).find(|variable| variable.key == name) {
            let problem = Problem::new(format!("`{}` is both a secret and a variable in `env`", shown(name)));
            found.push_with(secret.at, &format!("{path}.uses.secrets"), problem, variable.key_at.map(|at| (at, "set here")));
        }
    }
    let size: usize = own.iter().chain(shared).map(|entry| entry.key.len() + entry.value.text().map_or(0, str::len)).sum();
    if size > MOST_ENV {
        let at = own.first().or(shared.first()).and_then(|entry| entry.key_at);
        found.push(at, &format!("{path}.env"), Problem::new(format!("the environment has {size} bytes, the most is {MOST_ENV}")));
    }
}

/// One host and path can lead to one service only.
fn routes(services: &[Entry], found: &mut Found) {
    let mut claims: BTreeMap<Route, (&str, &Node)> = BTreeMap::new();
    for service in services {
        let routes = service.value.get("route").map(Node::items).unwrap_or_default();
        for (i, node) in routes.iter().enumerate() {
            let path = format!("services.{}.route.{i}", service.key);
            if matches!(&node.kind, Kind::Map(entries) if entries.is_empty()) {
                found.push(node.at, &path, Problem::new("the route is empty; write `/` for every host and path"));
                continue;
            }
            let Some(route) = route_of(node) else { continue };
            match claims.get(&route) {
                None => {
                    claims.insert(route, (&service.key, node));
                }
                // Twice in one list has been said already.
                Some((holder, _)) if *holder == service.key => {}
                Some((holder, first)) => {
                    let problem = Problem::new(format!("`{route}` leads to the service `{}` already", shown(holder)));
                    let other = first.at.map(|at| (at, "claimed here"));
                    found.push_with(node.at, &path, problem, other);
                }
            }
        }
    }
}

fn route_of(node: &Node) -> Option<Route> {
    match &node.kind {
        Kind::Scalar { text, .. } => Route::read(text).ok(),
        Kind::Null | Kind::Faulty | Kind::List(_) => None,
        Kind::Map(_) => {
            let part = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default();
            Some(Route { host: super::route::host(part("host")).ok()?, path: super::route::path(part("path")).ok()? })
        }
    }
}

/// With no pod more and no pod fewer nothing could ever be replaced.
fn progress(rollout: &Node, found: &mut Found) {
    let none = |key: &str, default: Share| {
        let share = rollout.get(key).and_then(Node::text).map_or(Ok(default), str::parse);
        matches!(share, Ok(Share::Count(0) | Share::Percent(0)))
    };
    if none("surge", Share::Count(1)) && none("unavailable", Share::Count(0)) {
        let at = rollout.entry("surge").and_then(|entry| entry.key_at);
        found.push(at, "rollout.surge", Problem::new("`surge` and `unavailable` are both 0, so no pod could ever be replaced"));
    }
}
