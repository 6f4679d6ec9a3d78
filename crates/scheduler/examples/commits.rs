//! Prints how many commits a store acknowledges each second, from one caller and from 64, and how many updates a server over it answers over
//! HTTPS: `commits [FOLDER | etcd://HOST:PORT] [SECONDS]`. An etcd must be empty.

#![allow(clippy::disallowed_methods, reason = "only the pure core may not ask the clock or draw lots")]

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::server::{Config, Server, State, listen};
use scheduler::store::etcd::{Etcd, Options};
use scheduler::store::redb::Redb;
use scheduler::store::{Op, Store};
use serde_json::json;

/// Bytes of each value, about those of a small object.
const VALUE: usize = 1000;

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let seconds = arguments.next().map_or(Ok(3), |seconds| seconds.parse())?;
    let time = Duration::from_secs(seconds);
    let etcd = place.starts_with("etcd").then(|| Options::parse(&place)).transpose()?;
    let parent = if etcd.is_some() { std::env::temp_dir() } else { PathBuf::from(place) };
    let folder = parent.join(format!("commits-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for callers in [1, 64] {
        let file = folder.join("commits.redb");
        let store: Arc<dyn Store> = match &etcd {
            Some(options) => Arc::new(Etcd::open(options).await?),
            None => Arc::new(Redb::open(&file)?),
        };
        let rate = commits(store, callers, time).await?;
        println!("{callers} callers: {rate:.0} acknowledged commits/s of {VALUE} bytes");
        if etcd.is_none() {
            std::fs::remove_file(&file)?;
        }
    }
    let mut config = Config::new(folder.join("server"));
    if let Some(options) = etcd {
        // Beside what was measured above, which no server knows.
        config.state = State::Etcd(Options { name: format!("{}-{}", options.name, std::process::id()), ..options });
    }
    println!("64 callers over HTTPS: {:.0} updates/s", updates(config, 64, time).await?);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// How often a second all callers together are done.
async fn measure<F>(callers: usize, time: Duration, once: impl Fn(usize, usize) -> F) -> Result<f64, Failed>
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let start = Instant::now();
    let once = &once;
    let each = futures::future::join_all((0..callers).map(|caller| async move {
        let mut count = 0;
        while start.elapsed() < time {
            tokio::spawn(once(caller, count)).await??;
            count += 1;
        }
        Ok::<usize, Failed>(count)
    }));
    let done: usize = each.await.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().sum();
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

async fn commits(store: Arc<dyn Store>, callers: usize, time: Duration) -> Result<f64, Failed> {
    measure(callers, time, |caller, count| {
        let store = store.clone();
        async move {
            let put = Op::Put { key: format!("/bench/{caller}/{}", count % 100), value: vec![b'x'; VALUE].into(), lease: None };
            store.commit(Vec::new(), vec![put]).await?;
            Ok(())
        }
    })
    .await
}

async fn updates(config: Config, callers: usize, time: Duration) -> Result<f64, Failed> {
    // The first client of a process installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::open(config).await?;
    let ca = reqwest::Certificate::from_pem(server.ca_pem().as_bytes())?;
    let client = reqwest::Client::builder().tls_certs_only([ca]).build()?;
    let (token, listener) = (server.admin_token().to_owned(), listen("127.0.0.1:0")?);
    let maps = format!("https://{}/api/v1/namespaces/default/configmaps", listener.local_addr()?);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(listener, async move { drop(stopped.await) }));
    for caller in 0..callers {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{caller}")}});
        client.post(&maps).bearer_auth(&token).json(&map).send().await?.error_for_status()?;
    }
    let rate = measure(callers, time, |caller, count| {
        let request = client.patch(format!("{maps}/c{caller}")).bearer_auth(&token);
        let patch = json!({"data": {"value": "x".repeat(VALUE), "count": count.to_string()}}).to_string();
        let sending = request.header("content-type", "application/merge-patch+json").body(patch).send();
        async move {
            sending.await?.error_for_status()?;
            Ok(())
        }
    })
    .await;
    // It may have ended already.
    let _ = stop.send(());
    running.await??;
    rate
}
