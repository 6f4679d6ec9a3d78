//! `wctl status`: how apps are doing, and what they wait for.

use anyhow::{Context, Result, bail};
use scheduler::kinds;
use serde_json::{Value, json};

use crate::args::{Format, Globals, Status};
use crate::cluster::{Cluster, Pick, name_of, namespace_of};
use crate::home::Home;
use crate::print::{self, Table, harmless};
use crate::verbs::freeze;
use crate::{time, urls};

/// Shows one app or all.
pub async fn run(globals: &Globals, status: Status) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    freeze::tell(&cluster).await;
    let apps = match &status.app {
        Some(name) => vec![cluster.must_get(&kinds::APP, &cluster.namespace, name).await?],
        None => {
            let namespace = if status.all_namespaces { None } else { Some(cluster.namespace.as_str()) };
            cluster.items(&kinds::APP, namespace, &Pick::default()).await?
        }
    };
    match status.output.output {
        Format::Name => apps.iter().for_each(|app| print::line(format_args!("app.wctl.dev/{}", name_of(app)))),
        Format::Table | Format::Wide => people(globals, &cluster, &apps, status.output.output).await?,
        format => {
            let gateway = Home::of(globals)?.gateway(&cluster.endpoint);
            print::value(&programs(&apps, gateway.as_deref(), status.app.is_some())?, format)?;
        }
    }
    Ok(())
}

async fn people(globals: &Globals, cluster: &Cluster, apps: &[Value], format: Format) -> Result<()> {
    if apps.is_empty() {
        print::note(format_args!("there are no apps in namespace {}; deploy one with `wctl deploy app.yaml`", cluster.namespace));
    }
    let gateway = Home::of(globals)?.gateway(&cluster.endpoint);
    for (at, app) in apps.iter().enumerate() {
        if at > 0 {
            print::line("");
        }
        heading(app, cluster);
        let pods = pods(cluster, app).await?;
        services(app, &pods, format).print();
        let part = crate::target::Part { app: name_of(app).to_owned(), service: None };
        for scaler in cluster.items(&kinds::HPA, Some(namespace_of(app)), &part.pick()).await? {
            print::line(format_args!("  {}", scaling(&scaler)));
        }
        for url in urls::of_spec(&app["spec"], gateway.as_deref()) {
            print::line(format_args!("  {}", print::bold(url)));
        }
        for reason in reasons(app, &pods) {
            print::line(format_args!("  {} {reason}", print::pending("!")));
        }
    }
    Ok(())
}

fn heading(app: &Value, cluster: &Cluster) {
    let namespace = if namespace_of(app) == cluster.namespace { String::new() } else { format!(" ({})", namespace_of(app)) };
    let age = time::age(app["metadata"]["creationTimestamp"].as_str());
    // The number that `deploy`, `get` and `rollout` name.
    let aside = print::dim(format_args!("revision {}   age {age}", app["metadata"]["generation"]));
    print::line(format_args!("{}{namespace}   {}   {aside}", print::bold(name_of(app)), phase(app)));
}

/// The phase of an app, in its colour.
pub fn phase(app: &Value) -> String {
    match app["status"]["phase"].as_str() {
        Some(phase @ "Ready") => print::good(phase),
        Some(phase @ ("Failed" | "RolledBack")) => print::bad(phase),
        phase => print::pending(phase.unwrap_or("Progressing")),
    }
}

/// `shop/web scales from 1 to 20 pods, now 3` and why it is held back, if it is.
fn scaling(scaler: &Value) -> String {
    let number = |at: &str| scaler.pointer(at).and_then(Value::as_u64).unwrap_or(0);
    let (min, max, now) = (number("/spec/minReplicas"), number("/spec/maxReplicas"), number("/status/desiredReplicas"));
    let conditions = || scaler["status"]["conditions"].as_array().into_iter().flatten();
    let held = conditions()
        .find(|c| (c["type"] == "ScalingActive" && c["status"] == "False") || (c["type"] == "ScalingLimited" && c["status"] == "True"));
    let why = held.and_then(|c| c["message"].as_str()).map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} scales from {min} to {max} pods, now {now}{why}", crate::target::part_of(scaler))
}

/// The pods of an app.
pub async fn pods(cluster: &Cluster, app: &Value) -> Result<Vec<Value>> {
    let part = crate::target::Part { app: name_of(app).to_owned(), service: None };
    cluster.items(&kinds::POD, Some(namespace_of(app)), &part.pick()).await.context("reading the app's pods")
}

fn services(app: &Value, pods: &[Value], format: Format) -> Table {
    let wide = format == Format::Wide;
    // A service's own revisions are another count, which only confuses beside the app's.
    let more = wide.then_some(["own revision", "image"]).into_iter().flatten();
    let mut table = Table::new(["  service", "ready", "restarts"].into_iter().chain(more));
    for (name, service) in app["status"]["services"].as_object().into_iter().flatten() {
        let (ready, desired) = (service["ready"].as_u64().unwrap_or(0), service["desired"].as_u64().unwrap_or(0));
        let counts = format!("{ready}/{desired}");
        let counts = match service["asleep"] == true {
            true => print::good(format!("0/0 {}", scheduler::names::SLEEPS)),
            false if ready >= desired => print::good(counts),
            false => print::pending(counts),
        };
        let of_service = pods.iter().filter(|pod| pod["metadata"]["labels"][scheduler::names::SERVICE] == name.as_str());
        let restarts: u64 = of_service.map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)).sum();
        let revision = match &service["revision"] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let image = app["spec"]["services"][name]["image"].as_str().unwrap_or("-").to_owned();
        let more = wide.then_some([revision, image]).into_iter().flatten();
        table.row([format!("  {name}"), counts, restarts.to_string()].into_iter().chain(more));
    }
    table
}

/// Why an app is not ready: what the App says of its failure, what the scheduler waits for, and how its pods crash.
pub fn reasons(app: &Value, pods: &[Value]) -> Vec<String> {
    let failed = matches!(app["status"]["phase"].as_str(), Some("Failed" | "RolledBack"));
    let message = app["status"]["message"].as_str().filter(|text| failed && !text.is_empty()).map(str::to_owned);
    let waiting = app["status"]["waiting"].as_array().into_iter().flatten().filter_map(waiting_text);
    let mut all: Vec<String> = Vec::new();
    for reason in message.into_iter().chain(waiting).chain(pods.iter().filter_map(trouble)) {
        // A reason often comes back within another, after the name of its service.
        let core = reason.split_once(": ").map_or(reason.as_str(), |(_, core)| core);
        if !all.iter().any(|said| said.contains(core)) {
            all.push(reason);
        }
    }
    all.iter().map(|reason| harmless(reason).into_owned()).collect()
}

/// One thing that is waited for: a sentence, or an object with one.
fn waiting_text(waiting: &Value) -> Option<String> {
    waiting.as_str().or(waiting["message"].as_str()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Why a pod does not run, if it does not.
pub fn trouble(pod: &Value) -> Option<String> {
    let container = &pod["status"]["containerStatuses"][0];
    let waiting = &container["state"]["waiting"];
    let reason = waiting["reason"].as_str()?;
    // Being prepared is no trouble.
    if matches!(reason, "ContainerCreating" | "PodInitializing" | "Pulling" | "Compiling" | "Asleep") {
        return None;
    }
    let detail = waiting["message"].as_str().filter(|text| !text.is_empty());
    let detail = detail.or(container["lastState"]["terminated"]["message"].as_str()).unwrap_or_default();
    let first = detail.lines().next().unwrap_or_default();
    Some(format!("pod {} {reason}{}{first}", name_of(pod), if first.is_empty() { "" } else { ": " }))
}

fn programs(apps: &[Value], gateway: Option<&str>, single: bool) -> Result<Value> {
    let one = |app: &Value| json!({"name": name_of(app), "namespace": namespace_of(app), "status": app["status"], "urls": urls::of_spec(&app["spec"], gateway)});
    match apps {
        [app] if single => Ok(one(app)),
        [] if single => bail!("the app vanished"),
        apps => Ok(json!({"items": apps.iter().map(one).collect::<Vec<_>>()})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_the_urls_that_people_get() {
        let app = json!({"metadata": {"name": "a"}, "spec": {"services": {"a": {"route": "a.localhost"}}}});
        let urls = |gateway| programs(std::slice::from_ref(&app), gateway, true).unwrap()["urls"].clone();
        assert_eq!(urls(Some("http://127.0.0.1:8081")), json!(["http://a.localhost:8081/"]));
        assert_eq!(urls(None), json!(["http://a.localhost/"]), "where no gateway is known");
    }

    #[test]
    fn a_reason_is_given_once() {
        let app = json!({"status": {"phase": "Failed", "message": "a was not ready in time (a-1: no node has 9Gi)", "waiting": ["a: a-1: no node has 9Gi", "b: full"]}});
        assert_eq!(reasons(&app, &[]), ["a was not ready in time (a-1: no node has 9Gi)", "b: full"]);
        let app = json!({"status": {"phase": "Progressing", "message": "0 of 1 services are ready", "waiting": []}});
        assert!(reasons(&app, &[]).is_empty());
    }
}
