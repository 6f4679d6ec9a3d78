//! A steady load over kept-alive connections that counts what fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

/// A load that runs until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    /// `rate` GETs a second for the app's `/`, over `connections` connections.
    pub fn start(url: &str, app: &str, rate: u64, connections: u64) -> Result<Load> {
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let client = reqwest::Client::builder().pool_max_idle_per_host(1).timeout(Duration::from_secs(10)).build()?;
            let (stop, counts, url, host) = (stop.clone(), counts.clone(), url.to_owned(), format!("{app}.localhost"));
            let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 * connections / rate));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    tick.tick().await;
                    counts.sent.fetch_add(1, Ordering::Relaxed);
                    let whole = match client.get(&url).header("host", &host).send().await {
                        Ok(answer) if answer.status() == 200 => answer.bytes().await.is_ok(),
                        _ => false,
                    };
                    if !whole {
                        counts.failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Ok(Load { stop, counts, tasks })
    }

    /// Ends it: (requests sent, requests failed).
    pub async fn stop(mut self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        (self.counts.sent.load(Ordering::Relaxed), self.counts.failed.load(Ordering::Relaxed))
    }
}
