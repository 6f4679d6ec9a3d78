//! Latency under 200 requests a second that come whether or not those before were answered: 70 % get, 20 % list of 100, 10 % patch.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Cluster, cpu_of};
use super::list::PODS;
use super::serve::{HUNDRED, place};
use super::{Failed, Figure};

const RATE: u32 = 200;
const SECONDS: u32 = 30;
/// Clients, each with its connection.
const CLIENTS: usize = 8;

/// Each round takes half a minute, on one server.
pub async fn run(rounds: usize) -> Result<Vec<Figure>, Failed> {
    let cluster = Arc::new(Cluster::start(PODS).await?);
    let [mut median, mut p99, mut most, mut cpu, mut own] = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        let (before, own_before) = (cluster.cpu()?, cpu_of("self")?);
        let mut took = load(&cluster).await?;
        let each = |spent: Duration| spent.as_secs_f64() * 1000.0 / f64::from(RATE * SECONDS);
        cpu.push(each(cluster.cpu()? - before));
        own.push(each(cpu_of("self")? - own_before));
        took.sort();
        let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
        median.push(at(0.5));
        p99.push(at(0.99));
        most.push(at(1.0));
    }
    Ok(vec![
        Figure::plain(format!("median of {RATE} requests/s over HTTPS for {SECONDS} s, from when each was due"), "ms", median),
        Figure::at_most(100.0, "their p99", "ms", p99),
        Figure::plain("the slowest", "ms", most),
        Figure::plain("CPU of the server for each", "ms", cpu),
        Figure::plain("CPU of the client for each", "ms", own),
    ])
}

async fn load(cluster: &Arc<Cluster>) -> Result<Vec<Duration>, Failed> {
    let clients = (0..CLIENTS).map(|_| cluster.client()).collect::<Result<Vec<_>, _>>()?;
    let mut under_way = tokio::task::JoinSet::new();
    let start = Instant::now() + Duration::from_millis(100);
    for number in 0..RATE * SECONDS {
        let due = start + Duration::from_secs(1) * number / RATE;
        tokio::time::sleep_until(due).await;
        let (cluster, client) = (cluster.clone(), clients[number as usize % CLIENTS].clone());
        under_way.spawn(async move {
            once(&cluster, &client, number as usize).await?;
            Ok::<_, Failed>(due.elapsed())
        });
    }
    let mut took = Vec::new();
    while let Some(done) = under_way.join_next().await {
        took.push(done??);
    }
    Ok(took)
}

async fn once(cluster: &Cluster, client: &reqwest::Client, number: usize) -> Result<(), Failed> {
    let (namespace, name) = place(number * 7919 % PODS);
    let pods = format!("{}/api/v1/namespaces/{namespace}/pods", cluster.url);
    let request = match number % 10 {
        0..7 => client.get(format!("{pods}/{name}")),
        7..9 => client.get(pods),
        _ => {
            let patch = format!(r#"{{"metadata":{{"labels":{{"turn":"{number}"}}}}}}"#);
            client.patch(format!("{pods}/{name}")).header("content-type", "application/merge-patch+json").body(patch)
        }
    };
    let answer = cluster.signed(request).send().await?;
    let code = answer.status();
    let body = answer.bytes().await?;
    if !code.is_success() {
        return Err(format!("{code}: {}", String::from_utf8_lossy(&body)).into());
    }
    if matches!(number % 10, 7..9) && body.windows(12).filter(|part| part == b"\"namespace\":").count() < HUNDRED {
        return Err("a list was not whole".into());
    }
    Ok(())
}
