//! `wctl up`: server, node and gateway in one process, and an app on them.

mod tell;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use runtime::node;
use scheduler::auth::Identity;
use scheduler::kinds;
use scheduler::names::{APP, DEFAULT_NAMESPACE};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::args::{Format, Globals, LineFormat, Up};
use crate::between::Between;
use crate::cluster::{Change, Cluster, Deadline, Pick};
use crate::exit::Silent;
use crate::files::Documents;
use crate::home::{self, API, HTTP, Home};
use crate::machine::{self, Announced, Control, Worker};
use crate::verbs::deploy::{self, How};
use crate::verbs::{events, logs};
use crate::{background, print, signals};

/// How long a process in the background may take to open its data folder.
const START: Duration = Duration::from_secs(60);

/// Runs until a signal, then drains and stops.
pub async fn run(globals: &Globals, up: Up) -> Result<()> {
    let home = Home::of(globals)?;
    let files: Vec<PathBuf> = up.files.iter().chain(&up.more).cloned().collect();
    // Mistakes are told before anything is started.
    let documents = deploy::parsed(&files)?;
    if up.detach {
        return detached(globals, &home, documents, &up).await;
    }
    home::refuse_if_held(&home)?;
    let baseline = machine::baseline()?;
    let api = home::listen(globals.api.as_deref().unwrap_or(API), "API", "--api")?;
    let http = home::listen(globals.http.as_deref().unwrap_or(HTTP), "gateway", "--http")?;
    home.create()?;
    let lock = home.hold_node()?;
    let stop = signals::stop(&home);
    let name = machine::name();
    let identity = Identity::node(&name);
    let (mut control, client) = machine::control(globals, &home, api, machine::How::default(), |server| {
        kube::Client::new(server.service(identity), DEFAULT_NAMESPACE)
    })
    .await?;
    let mut config = node::Config::new(name, home.node());
    config.baseline = baseline;
    config.buckets = machine::redis(up.keyvalue.as_deref()).await?;
    config.containers = machine::bucket(up.blobs.as_deref()).await?;
    let between = Between::of(&home, None, &control.url)?;
    let mut worker = machine::worker(&home, config, http, between, client, control.cluster.registry.clone()).await?;
    let announced = Announced::new(&home, Some(&control.url), Some(&worker.url))?;
    started(&control.url, &worker.url, &home, up.output.output);
    let done = on(&mut control, &mut worker, documents, &up, &stop).await;
    drop(announced);
    // The node drains while its server is still there to hear of it.
    let drained = worker.end().await;
    let ended = control.end().await;
    drop(lock);
    done.and(drained).and(ended)
}

/// What happens between start and stop.
async fn on(control: &mut Control, worker: &mut Worker, documents: Option<Documents>, up: &Up, stop: &CancellationToken) -> Result<()> {
    let (cluster, gateway, handle) = (control.cluster.clone(), worker.url.clone(), worker.handle.clone());
    let failed = AtomicBool::new(false);
    let shown = tokio::spawn(show(cluster.clone(), up.output.output, stop.clone()));
    let done = tokio::select! {
        () = stop.cancelled() => Ok(()),
        failed = control.failed() => failed,
        failed = worker.failed() => failed,
        deployed = work(&cluster, &gateway, &handle, documents, up, &failed) => deployed.map(|never| match never {}),
    };
    shown.abort();
    done?;
    // It was told when it happened.
    if failed.into_inner() { bail!(Silent(1)) } else { Ok(()) }
}

/// Deploys, says where the apps answer, and then has nothing left to do. What cannot be deployed must not take along what runs.
async fn work(
    cluster: &Cluster,
    gateway: &str,
    handle: &node::Handle,
    documents: Option<Documents>,
    up: &Up,
    failed: &AtomicBool,
) -> Result<std::convert::Infallible> {
    let all = async || cluster.items(&kinds::APP, None, &Pick::default()).await;
    let apps = match documents {
        Some(documents) => match deployed(cluster, documents, up).await {
            Ok(apps) => apps,
            Err(error) => {
                let others = all().await?;
                if others.is_empty() {
                    return Err(error);
                }
                print::error(&error);
                print::note("everything else runs on");
                failed.store(true, Ordering::Relaxed);
                others
            }
        },
        None => all().await?,
    };
    if apps.is_empty() {
        print::note("nothing is deployed yet; deploy with `wctl deploy app.yaml`");
    }
    print::note("stop with Ctrl-C");
    let told = tell::How { gateway, handle: Some(handle), at_most: up.timeout, format: up.output.output };
    told.apps(&routed(apps)).await;
    std::future::pending().await
}

/// Deploys and waits; answers the objects as they were written.
async fn deployed(cluster: &Cluster, documents: Documents, up: &Up) -> Result<Vec<Value>> {
    let text = up.output.output == LineFormat::Text;
    let how = How { dry_run: false, force: false, wait: Some(Deadline::after(up.timeout)), format: text.then_some(Format::Table) };
    let objects = deploy::documents_to(cluster, documents, how).await?;
    if !text {
        for object in &objects {
            print::record(&json!({"type": "deployed", "object": object}));
        }
    }
    Ok(objects)
}

/// Where the server is, and the gateway, and what they keep.
fn started(api: &str, gateway: &str, home: &Home, format: LineFormat) {
    match format {
        LineFormat::Text => print::line(format_args!("API      {api}\ngateway  {gateway}\ndata     {}", home.path.display())),
        LineFormat::Json => print::record(&json!({"type": "started", "api": api, "gateway": gateway, "data": home.path})),
    }
}

/// The Apps among what was deployed.
fn routed(objects: Vec<Value>) -> Vec<Value> {
    objects.into_iter().filter(|object| object["spec"]["services"].is_object()).collect()
}

/// Events and logs of all apps, until the end.
async fn show(cluster: Cluster, format: LineFormat, stop: CancellationToken) {
    let cut = logs::Cut { follow: true, tail: Some(0), format, ..logs::Cut::default() };
    let logs = async {
        while let Err(error) = logs::all(&cluster, None, Pick::labels(APP), cut.clone()).await {
            tracing::debug!("following logs: {}", print::chain(&error));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let events = async {
        while let Err(error) = follow_events(&cluster, format).await {
            tracing::debug!("following events: {}", print::chain(&error));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        _ = async { tokio::join!(logs, events) } => {}
    }
}

async fn follow_events(cluster: &Cluster, format: LineFormat) -> Result<()> {
    use futures::StreamExt;
    let list = cluster.list(&kinds::EVENT, None, &Pick::default()).await?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
    let mut changes = cluster.watch(&kinds::EVENT, None, &Pick::default(), &version, false).await?;
    while let Some(change) = changes.next().await {
        if let Change::Is(event) = change? {
            match format {
                LineFormat::Text => print::line(events::sentence(&event)),
                LineFormat::Json => print::record(&json!({"type": "event", "event": event})),
            }
        }
    }
    bail!("the watch ended")
}

/// Starts the same in the background unless it runs already, and deploys from here, where a person can see it.
async fn detached(globals: &Globals, home: &Home, documents: Option<Documents>, up: &Up) -> Result<()> {
    if !home.is_held()? {
        home.create()?;
        let mut child = background::start(home, &arguments(globals, home), &[("WCTL_KEYVALUE", &up.keyvalue), ("WCTL_BLOBS", &up.blobs)])?;
        let running = background::started(home, &mut child, START).await?;
        print::note(format_args!("started in the background (process {}, log {})", running.pid, home.log().display()));
    }
    let running = home.running()?.context("another wctl is just starting or ending on this data folder; try again")?;
    let (api, gateway) = (running.api.unwrap_or_default(), running.http.unwrap_or_default());
    started(&api, &gateway, home, up.output.output);
    let Some(documents) = documents else { return Ok(()) };
    let here = Globals { data: Some(home.path.clone()), api: None, ..globals.clone() };
    let cluster = Cluster::connect_to_write(&here).await?;
    let apps = deployed(&cluster, documents, up).await.context("it runs on; `wctl down` stops it")?;
    // Which of them do not answer is told already.
    let told = tell::How { gateway: &gateway, handle: None, at_most: up.timeout, format: up.output.output };
    if told.apps(&routed(apps)).await { Ok(()) } else { bail!(Silent(1)) }
}

/// The command line of the process in the background: the same without files and without `-d`.
fn arguments(globals: &Globals, home: &Home) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--data".into(), home.path.clone().into()];
    for (option, value) in [("--api", &globals.api), ("--http", &globals.http), ("--namespace", &globals.namespace)] {
        arguments.extend(value.iter().flat_map(|value| [OsString::from(option), OsString::from(value)]));
    }
    arguments.extend((0..globals.verbose).map(|_| OsString::from("-v")));
    arguments.push("up".into());
    arguments
}
