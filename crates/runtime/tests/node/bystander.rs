//! A second app on the same node under 50 requests a second, which must not notice what is done to the first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// Who asks `good.localhost`.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Duration>>,
    quiet: Duration,
}

/// What a busy machine may add to any answer.
const NOISE: Duration = Duration::from_millis(250);

impl Bystander {
    /// Deploys the app and measures it while nothing else goes on.
    pub async fn start(cluster: &Cluster) -> Bystander {
        cluster.deploy("good", 1, json!({}), json!({})).await;
        cluster.ready("good", 1).await;
        let stop = Arc::new(AtomicBool::new(false));
        let quiet = slowest(&ask(cluster.http, Until::Times(25)).await);
        let asking = tokio::spawn(ask(cluster.http, Until::Told(stop.clone())));
        Bystander { stop, asking, quiet }
    }

    /// Every request was answered, and none took much longer than in quiet.
    pub async fn ends_unharmed(self) {
        self.stop.store(true, Ordering::Relaxed);
        let took = self.asking.await.expect("each of the bystander's requests is answered");
        let (slowest, most) = (slowest(&took), NOISE.max(self.quiet * 2));
        assert!(slowest < most, "{slowest:?} instead of {:?} in quiet, of {} requests", self.quiet, took.len());
    }
}

enum Until {
    Times(usize),
    Told(Arc<AtomicBool>),
}

/// The 99th percentile.
fn slowest(took: &[Duration]) -> Duration {
    let mut took = took.to_vec();
    took.sort();
    took[took.len() * 99 / 100]
}

async fn ask(address: std::net::SocketAddr, until: Until) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        match &until {
            Until::Times(times) if took.len() == *times => return took,
            Until::Told(stop) if stop.load(Ordering::Relaxed) && !took.is_empty() => return took,
            _ => {}
        }
        tick.tick().await;
        let start = Instant::now();
        let response = Cluster::open_at(address, "good", "/", false).await;
        assert_eq!(response.status(), StatusCode::OK);
        took.push(start.elapsed());
    }
}
