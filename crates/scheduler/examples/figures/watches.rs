//! What 500 watches of 10,000 pods cost, and whether they lose anything when the server is killed under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use super::cluster::Cluster;
use super::list::PODS;
use super::serve::{place, pod};
use super::{Failed, Figure};

const WATCHES: usize = 500;
/// Most of them change a pod; one in ten deletes one, one in ten makes one.
const CHANGES: usize = 1_000;
/// How long after the last change a watcher may take to have seen it.
const PATIENCE: Duration = Duration::from_secs(120);

/// The resourceVersion of each pod, by its number; 0 where there is none.
type State = Vec<u64>;

/// One event, as far as a watcher cares.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    object: Told,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    metadata: Metadata,
    code: Option<u16>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(rename = "resourceVersion", default)]
    version: String,
}

/// What the watchers have been through together.
#[derive(Default)]
struct Tally {
    open: AtomicUsize,
    resumed: AtomicUsize,
    events: AtomicUsize,
}

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let mut cluster = Cluster::start(PODS).await?;
    // What making the pods left behind is not counted.
    cluster.restart().await?;
    let (begin, version) = list(&cluster).await?;
    let before = cluster.memory()?;
    let cpu = cluster.cpu()?;
    let tally = Arc::new(Tally::default());
    let (tell, told) = watch::channel(None::<Arc<State>>);
    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..WATCHES {
        let watcher = Watcher {
            client: cluster.client()?,
            request: format!("{}/api/v1/pods?watch=true&allowWatchBookmarks=true", cluster.url),
            token: cluster.token().to_owned(),
            state: begin.clone(),
            version,
            tally: tally.clone(),
        };
        watchers.spawn(watcher.run(told.clone()));
    }
    while tally.open.load(Ordering::Relaxed) < WATCHES {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let at_rest = cluster.memory()?;
    let mut most = at_rest;
    change(&cluster, 0..CHANGES / 2, &mut most).await?;
    let spent = (cluster.cpu()? - cpu).as_secs_f64();
    cluster.restart().await?;
    change(&cluster, CHANGES / 2..CHANGES, &mut most).await?;
    let last = settled(&cluster).await?;
    tell.send(Some(Arc::new(last)))?;
    let mut lost = 0;
    while let Some(done) = watchers.join_next().await {
        most = most.max(cluster.memory()?);
        if let Err(why) = done? {
            eprintln!("a watcher: {why}");
            lost += 1;
        }
    }
    let events = tally.events.load(Ordering::Relaxed);
    Ok(vec![
        Figure::at_most(
            300.0,
            format!("memory of {WATCHES} watches of {PODS} pods, at most, while {CHANGES} change"),
            "MB",
            vec![most - before],
        ),
        Figure::plain("of which while nothing changes", "MB", vec![at_rest - before]),
        Figure::at_most(
            0.0,
            "watchers that did not end with exactly what there is, the server having been killed",
            "",
            vec![f64::from(lost)],
        ),
        Figure::plain("watches that went on where they were", "", vec![tally.resumed.load(Ordering::Relaxed) as f64]),
        Figure::plain("events that they were told", "", vec![events as f64]),
        Figure::plain(
            "CPU of the server for each event that is told, before it was killed",
            "µs",
            vec![spent * 1e6 / (WATCHES * CHANGES / 2) as f64],
        ),
    ])
}

/// All pods, and the version to watch from.
async fn list(cluster: &Cluster) -> Result<(State, u64), Failed> {
    let client = cluster.client()?;
    let answer = cluster.signed(client.get(format!("{}/api/v1/pods", cluster.url))).send().await?.error_for_status()?;
    let list: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let mut state = vec![0; PODS + CHANGES];
    for item in list["items"].as_array().into_iter().flatten() {
        let metadata: Metadata = serde_json::from_value(item["metadata"].clone())?;
        set(&mut state, &metadata, true)?;
    }
    Ok((state, list["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse()?))
}

/// All pods, once the scheduler has no more to say of those that are new.
async fn settled(cluster: &Cluster) -> Result<State, Failed> {
    let (mut before, _) = list(cluster).await?;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (now, _) = list(cluster).await?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

fn set(state: &mut State, metadata: &Metadata, there: bool) -> Result<u64, Failed> {
    let version: u64 = metadata.version.parse()?;
    let number: usize = metadata.name.trim_start_matches("web-").parse()?;
    *state.get_mut(number).ok_or("a pod that nobody made")? = if there { version } else { 0 };
    Ok(version)
}

/// Changes pods, fifty a second.
async fn change(cluster: &Cluster, numbers: std::ops::Range<usize>, most: &mut f64) -> Result<(), Failed> {
    let client = cluster.client()?;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for number in numbers {
        pace.tick().await;
        let (namespace, name) = place(number * 7 % PODS);
        let pods = format!("{}/api/v1/namespaces/{namespace}/pods", cluster.url);
        let request = match number % 10 {
            8 => client.delete(format!("{pods}/{name}?gracePeriodSeconds=0")),
            9 => {
                let mut new = pod(PODS + number);
                new["metadata"]["namespace"] = namespace.into();
                client.post(pods).json(&new)
            }
            _ => {
                let patch = format!(r#"{{"metadata":{{"labels":{{"turn":"{number}"}}}}}}"#);
                client.patch(format!("{pods}/{name}")).header("content-type", "application/merge-patch+json").body(patch)
            }
        };
        let answer = cluster.signed(request).send().await?;
        if !answer.status().is_success() {
            return Err(format!("a change was refused: {}", answer.text().await?).into());
        }
        *most = most.max(cluster.memory()?);
    }
    Ok(())
}

/// One watcher, with a connection of its own.
struct Watcher {
    client: reqwest::Client,
    request: String,
    token: String,
    state: State,
    version: u64,
    tally: Arc<Tally>,
}

impl Watcher {
    /// Follows the pods until it has seen what there is at the end.
    async fn run(mut self, last: watch::Receiver<Option<Arc<State>>>) -> Result<(), Failed> {
        loop {
            let mut told = last.clone();
            let until = async {
                let last = told.wait_for(Option::is_some).await?.clone();
                tokio::time::sleep(PATIENCE).await;
                Ok::<_, Failed>(last)
            };
            tokio::select! {
                ended = self.follow(last.clone()) => match ended {
                    Ok(true) => return Ok(()),
                    Err(why) => return Err(why),
                    // The server went: on from where it was.
                    Ok(false) => tokio::time::sleep(Duration::from_millis(rand::random_range(100..1000))).await,
                },
                last = until => {
                    let wanted = last?.unwrap_or_default();
                    let other = self.state.iter().zip(wanted.iter()).filter(|(a, b)| a != b).count();
                    return Err(format!("{other} pods are other than they should be").into());
                }
            }
        }
    }

    /// One watch; whether everything was seen. A connection that breaks is no error.
    async fn follow(&mut self, mut last: watch::Receiver<Option<Arc<State>>>) -> Result<bool, Failed> {
        let request = self.client.get(format!("{}&resourceVersion={}", self.request, self.version)).bearer_auth(&self.token);
        let Ok(answer) = request.send().await else { return Ok(false) };
        if !answer.status().is_success() {
            return Ok(false);
        }
        let opened = self.tally.open.fetch_add(1, Ordering::Relaxed);
        if opened >= WATCHES {
            self.tally.resumed.fetch_add(1, Ordering::Relaxed);
        }
        let (mut stream, mut rest) = (answer.bytes_stream(), Vec::new());
        loop {
            if last.borrow().as_ref().is_some_and(|last| **last == self.state) {
                return Ok(true);
            }
            tokio::select! {
                piece = stream.next() => {
                    let Some(Ok(piece)) = piece else { return Ok(false) };
                    rest.extend_from_slice(&piece);
                    self.take(&mut rest)?;
                }
                changed = last.changed() => changed?,
            }
        }
    }

    fn take(&mut self, rest: &mut Vec<u8>) -> Result<(), Failed> {
        let mut from = 0;
        while let Some(length) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let event: Event = serde_json::from_slice(&rest[from..from + length])?;
            from += length + 1;
            match event.r#type.as_str() {
                "BOOKMARK" => self.version = event.object.metadata.version.parse()?,
                "ERROR" => return Err(format!("the watch ended with {:?}", event.object.code).into()),
                change => {
                    let version = set(&mut self.state, &event.object.metadata, change != "DELETED")?;
                    if version <= self.version {
                        return Err("an event came twice, or out of order".into());
                    }
                    self.version = version;
                    self.tally.events.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        rest.drain(..from);
        Ok(())
    }
}
