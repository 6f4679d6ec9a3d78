//! How long `kubectl apply` of 100 Deployments takes, first and again.

use std::time::Instant;

use super::cluster::Cluster;
use super::{Failed, Figure};

/// Seconds that it may take.
const MOST: f64 = 10.0;

/// The manifests of 100 Deployments.
fn manifests() -> String {
    let one = |n: usize| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web-{n} }}\nspec:\n  replicas: 1\n  \
             selector: {{ matchLabels: {{ app: web-{n} }} }}\n  template:\n    metadata: {{ labels: {{ app: web-{n} }} }}\n    \
             spec: {{ containers: [{{ name: web, image: 'default/web:1', ports: [{{ containerPort: 5000 }}] }}] }}\n"
        )
    };
    (0..100).map(one).collect::<Vec<_>>().join("---\n")
}

/// Each round has a server of its own.
pub async fn run(rounds: usize) -> Result<Vec<Figure>, Failed> {
    let [mut made, mut unchanged, mut on_server, mut cpu] = [const { Vec::new() }; 4];
    let mut version = String::new();
    for _ in 0..rounds {
        let cluster = Cluster::start(0).await?;
        let file = cluster.file("all.yaml", &manifests())?;
        version = cluster.kubectl_version().await?;
        let before = cluster.cpu()?;
        made.push(apply(&cluster, &file, &[]).await?);
        unchanged.push(apply(&cluster, &file, &[]).await?);
        cpu.push((cluster.cpu()? - before).as_secs_f64() * 1000.0 / 300.0);
        on_server.push(apply(&cluster, &file, &["--server-side", "--force-conflicts"]).await?);
    }
    Ok(vec![
        Figure::at_most(MOST, format!("kubectl {version} apply of 100 Deployments that are new"), "s", made),
        Figure::at_most(MOST, "kubectl apply of 100 Deployments that are unchanged", "s", unchanged),
        Figure::at_most(MOST, "kubectl apply --server-side of 100 Deployments", "s", on_server),
        Figure::plain("CPU of the server for each of their 300 requests, pods included", "ms", cpu),
    ])
}

async fn apply(cluster: &Cluster, file: &str, more: &[&str]) -> Result<f64, Failed> {
    let started = Instant::now();
    let done = cluster.kubectl(&[&["apply", "-f", file], more].concat()).output().await?;
    if !done.status.success() || String::from_utf8_lossy(&done.stdout).lines().count() != 100 {
        return Err(format!("kubectl apply failed: {done:?}").into());
    }
    Ok(started.elapsed().as_secs_f64())
}
