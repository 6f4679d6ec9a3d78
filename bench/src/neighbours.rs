//! What a guest that is asked now and then notices of neighbours that never let go.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, Guests, manifest};
use crate::report::{Figure, Target};

/// Guests that spin.
const SPINNING: usize = 4;
/// Requests a second to the victim.
const RATE: u64 = 50;
/// Requests of one round.
const REQUESTS: u64 = 500;

/// The victim's p99 with four spinning neighbours, beside its quiet value.
pub async fn figures(guests: &Guests, rounds: usize) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&folder.path().join("data"), Some(&manifest(folder.path(), "hello", &guests.hello, 1, "")?))?;
    cluster.answers("hello").await?;
    let spinners = manifest(folder.path(), "crashy", &guests.crashy, 1, "limits: { time: 10m }\n")?;
    cluster.wctl(&["deploy", spinners.to_str().unwrap_or_default(), "--wait"])?;
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        quiet.push(p99(&cluster).await?);
        let spinning: Vec<_> = (0..SPINNING).map(|_| tokio::spawn(spin(cluster.url()))).collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        beside.push(p99(&cluster).await?);
        // A client that goes ends its guest.
        spinning.iter().for_each(tokio::task::JoinHandle::abort);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let ratios = beside.iter().zip(&quiet).map(|(beside, quiet)| beside / quiet).collect();
    let name = format!("p99 of hello at {RATE} requests/s");
    Ok(vec![
        Figure::median(format!("{name}, quiet"), quiet, "ms", None),
        Figure::median(format!("{name}, beside {SPINNING} spinning guests"), beside, "ms", None),
        Figure::median(format!("{name}, beside {SPINNING} spinning guests, to quiet"), ratios, "", Some(Target::AtMost(2.0))),
    ])
}

async fn spin(url: String) {
    // It never answers, and ends with this task.
    let _ = reqwest::Client::new().post(format!("{url}/loop")).header("host", "crashy.localhost").send().await;
}

/// In milliseconds; every request must succeed.
async fn p99(cluster: &Cluster) -> Result<f64> {
    let client = reqwest::Client::new();
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        tick.tick().await;
        let start = Instant::now();
        let answer = client.get(cluster.url()).header("host", "hello.localhost").send().await?;
        ensure!(answer.status() == 200, "hello answered {}", answer.status());
        answer.bytes().await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() * 99 / 100])
}
