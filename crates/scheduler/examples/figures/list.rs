//! How long `kubectl get pods -A` takes where there are 10,000.

use std::time::Instant;

use super::cluster::Cluster;
use super::{Failed, Figure};

/// Pods that there are.
pub const PODS: usize = 10_000;

/// All rounds have one server.
pub async fn run(rounds: usize) -> Result<Vec<Figure>, Failed> {
    let cluster = Cluster::start(PODS).await?;
    let version = cluster.kubectl_version().await?;
    let (mut took, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (started, before) = (Instant::now(), cluster.cpu()?);
        let done = cluster.kubectl(&["get", "pods", "-A"]).output().await?;
        took.push(started.elapsed().as_secs_f64());
        cpu.push((cluster.cpu()? - before).as_secs_f64());
        if !done.status.success() || String::from_utf8_lossy(&done.stdout).lines().count() != PODS + 1 {
            return Err(format!("kubectl get pods failed: {}", String::from_utf8_lossy(&done.stderr)).into());
        }
    }
    Ok(vec![
        Figure::at_most(2.0, format!("kubectl {version} get pods -A of {PODS}"), "s", took),
        Figure::plain("CPU of the server for that", "s", cpu),
    ])
}
