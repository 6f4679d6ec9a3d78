//! Requests from inside a namespace: this test binary runs itself there and prints what became of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::net::Machine;

/// What the process inside is told by.
const TOLD: &str = "WCTL_CLUSTER_LOAD";
/// Connections of a load; each asks in its turn.
const WORKERS: u32 = 50;

#[derive(Serialize, Deserialize)]
struct Order {
    gateways: Vec<String>,
    host: String,
    path: String,
    /// Requests a second; 0 for one request, whatever it brings, and 1 for one that is to bring 200.
    rate: u32,
}

/// What became of a load.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub sent: u64,
    pub failed: u64,
    /// Why, and how often.
    pub why: BTreeMap<String, u64>,
    /// The longest that one request took, in milliseconds.
    pub slowest: u64,
    /// Of a single request: what came.
    pub status: u16,
    pub body: String,
}

impl Outcome {
    /// Failed requests in thousandths of all.
    pub fn per_mille(&self) -> f64 {
        self.failed as f64 * 1000.0 / self.sent.max(1) as f64
    }
}

/// A load that runs until it is stopped.
pub struct Load(Child);

impl Load {
    /// So many requests a second, shared by the gateways; who cannot connect to one asks the next, as clients behind one name do.
    pub fn start(machine: &Machine, gateways: &[String], app: &str, rate: u32) -> Load {
        let order = Order { gateways: gateways.to_vec(), host: format!("{app}.localhost"), path: "/".into(), rate };
        Load(begin(machine, &order))
    }

    /// A single request.
    pub fn one(machine: &Machine, gateway: &str, app: &str, path: &str) -> (u16, String) {
        let order = Order { gateways: vec![gateway.to_owned()], host: format!("{app}.localhost"), path: path.into(), rate: 0 };
        let outcome = Load(begin(machine, &order)).stop();
        (outcome.status, outcome.body)
    }

    /// A single request that takes its time; it has failed unless it is answered with 200.
    pub fn slow(machine: &Machine, gateway: &str, app: &str, path: &str) -> Load {
        Load(begin(machine, &Order { gateways: vec![gateway.to_owned()], host: format!("{app}.localhost"), path: path.into(), rate: 1 }))
    }

    /// Ends it when what is under way is answered.
    pub fn stop(mut self) -> Outcome {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.split_once("outcome ")).map(|(_, json)| json);
        serde_json::from_str(line.unwrap_or_else(|| panic!("the load says\n{text}"))).unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The test is over, whatever it still does.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn begin(machine: &Machine, order: &Order) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "load::inside", "--ignored", "--nocapture"]).env(TOLD, serde_json::to_string(order).unwrap());
    let mut command = machine.command(&command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
#[ignore = "slow: nothing by itself; the other tests run it inside a network namespace"]
fn inside() {
    let Some(order) = std::env::var_os(TOLD) else { return };
    let order: Order = serde_json::from_slice(order.as_encoded_bytes()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(run(Arc::new(order)));
    let mut out = std::io::stdout().lock();
    writeln!(out, "\noutcome {}", serde_json::to_string(&outcome).unwrap()).unwrap();
}

async fn run(order: Arc<Order>) -> Outcome {
    let stop = Arc::new(AtomicBool::new(order.rate <= 1));
    let told = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    let workers = if order.rate <= 1 { 1 } else { WORKERS };
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..workers {
        tasks.spawn(ask(order.clone(), worker, stop.clone()));
    }
    let mut all = Outcome::default();
    while let Some(one) = tasks.join_next().await {
        let one = one.unwrap();
        all.sent += one.sent;
        all.failed += one.failed;
        all.slowest = all.slowest.max(one.slowest);
        one.why.into_iter().for_each(|(why, count)| *all.why.entry(why).or_default() += count);
        (all.status, all.body) = (one.status, one.body);
    }
    all
}

async fn ask(order: Arc<Order>, worker: u32, stop: Arc<AtomicBool>) -> Outcome {
    let builder = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(1)).timeout(Duration::from_secs(30));
    let client = builder.pool_max_idle_per_host(1).build().unwrap();
    let mut tick = tokio::time::interval(Duration::from_secs(1) * WORKERS / order.rate.max(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Not all at once.
    tokio::time::sleep(tick.period() * worker / WORKERS).await;
    let mut outcome = Outcome::default();
    let mut gateway = worker as usize;
    loop {
        tick.tick().await;
        let since = Instant::now();
        outcome.sent += 1;
        match answered(&order, &client, &mut gateway).await {
            Ok((status, body)) => (outcome.status, outcome.body) = (status, body),
            Err(why) => {
                outcome.failed += 1;
                *outcome.why.entry(why).or_default() += 1;
            }
        }
        outcome.slowest = outcome.slowest.max(since.elapsed().as_millis() as u64);
        if stop.load(Ordering::Relaxed) {
            return outcome;
        }
    }
}

async fn answered(order: &Order, client: &reqwest::Client, gateway: &mut usize) -> Result<(u16, String), String> {
    let mut tries = 0;
    let response = loop {
        let url = format!("{}{}", order.gateways[*gateway % order.gateways.len()], order.path);
        match client.get(url).header("host", &order.host).send().await {
            Ok(response) => break response,
            // Nothing was sent, so another may be asked.
            Err(error) if error.is_connect() && tries < order.gateways.len() => {
                *gateway += 1;
                tries += 1;
            }
            Err(error) => return Err(words(&error)),
        }
    };
    let status = response.status().as_u16();
    let body = response.text().await.map_err(|error| words(&error))?;
    if order.rate == 0 || status == 200 {
        return Ok((status, body));
    }
    let said: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    Err(format!("{status} {}", said["reason"].as_str().unwrap_or(&body)))
}

/// Without ports, ids and times, so that alike ones are counted together.
fn words(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}
