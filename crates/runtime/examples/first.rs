//! Prints how long it takes from code in the node's folder to the first response, 100 times over: `first GUEST.wasm`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use artifact::Reference;
use artifact::blobs::Blobs;
use artifact::registry::{Client as Registry, Options};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use runtime::cache::{COMPILE_CHILD, Cache, Compiler, compile_child};
use runtime::engine::{Config, Engines};
use runtime::keyvalue::{Buckets, Limits};
use runtime::sandbox::{Guest, Host, PodIdentity, Spec};
use runtime::wasi::outgoing::Client;

const TIMES: usize = 100;

fn main() -> Result<std::process::ExitCode> {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == COMPILE_CHILD) {
        return Ok(compile_child(&args[1..]));
    }
    let path = args.first().context("usage: first GUEST.wasm")?;
    let wasm = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(wasm.into()))?;
    Ok(std::process::ExitCode::SUCCESS)
}

async fn measure(wasm: bytes::Bytes) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let engines = Engines::new(Config::default());
    let cache = Cache::open(dir.path().join("cache"), engines.clone(), Compiler::child()?, None)?;
    let registry = Registry::new(Options::default())?;
    let image = pushed(&registry, &Blobs::open(dir.path().join("registry"))?, wasm).await?;
    let memory = 128 << 20;
    drop(cache.prepare(&image, &registry, memory).await?);
    let buckets = std::sync::Arc::new(Buckets::in_memory(Limits::default())?);
    let client = std::sync::Arc::new(Client::new(Vec::new())?);
    let mut steps: [Vec<Duration>; 3] = Default::default();
    for _ in 0..TIMES {
        let start = Instant::now();
        // Nothing of it is in memory: the last round's was dropped.
        let code = cache.prepare(&image, &registry, memory).await?;
        let loaded = start.elapsed();
        let spec = Spec { memory: 128 << 20, ..Spec::new(PodIdentity::default()) };
        let guest = Guest::prepare(&engines, code, spec, Host::quiet(buckets.clone(), client.clone())).await?;
        let ready = start.elapsed();
        let request = http::Request::get("http://localhost/").body(runtime::body::empty())?;
        guest.handle(request).await?.into_body().collect().await.map_err(|error| anyhow!(error))?;
        for (step, took) in steps.iter_mut().zip([loaded, ready, start.elapsed()]) {
            step.push(took);
        }
    }
    for (name, mut step) in ["loaded", "ready", "first response"].into_iter().zip(steps) {
        step.sort();
        println!("{name}: median {:?}, p99 {:?}", step[TIMES / 2], step[TIMES * 99 / 100 - 1]);
    }
    Ok(())
}

/// An artifact of the component in a registry of this process.
async fn pushed(client: &Registry, blobs: &Blobs, wasm: bytes::Bytes) -> Result<Reference> {
    let router = artifact::server::router(blobs.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let image: Reference = format!("{}/bench/guest:1", listener.local_addr()?).parse()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let digest = client.push(&image, &artifact::pack::pack(wasm)?).await?;
    Ok(image.pinned(digest))
}
