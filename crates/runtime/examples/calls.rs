//! Prints how many calls a second one thread makes to a guest in this process, fresh and reused: `calls GUEST.wasm [SECONDS]`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use runtime::cache::{BASELINE, COMPILE_CHILD, Cache, Compiler, compile_child};
use runtime::engine::{Config, Engines};
use runtime::keyvalue::{Buckets, Limits};
use runtime::sandbox::{Guest, Host, PodIdentity, Spec};
use runtime::wasi::outgoing::Client;

fn main() -> Result<std::process::ExitCode> {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == COMPILE_CHILD) {
        return Ok(compile_child(&args[1..]));
    }
    let path = args.first().context("usage: calls GUEST.wasm [SECONDS]")?;
    let seconds = args.get(1).and_then(|text| text.to_str()?.parse().ok()).unwrap_or(3);
    let wasm = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(wasm.into(), Duration::from_secs(seconds)))?;
    Ok(std::process::ExitCode::SUCCESS)
}

async fn measure(wasm: bytes::Bytes, time: Duration) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let engines = Engines::new(Config::default());
    let cache = Cache::open(dir.path(), engines.clone(), Compiler::child()?, BASELINE)?;
    let start = Instant::now();
    let code = cache.prepare_bytes(wasm, 128 << 20).await?;
    println!("compiled in {:?}", start.elapsed());
    for (name, reuse) in [("fresh", 1), ("reused", u32::MAX)] {
        let spec = Spec { reuse, ..Spec::new(PodIdentity::default()) };
        let host = Host::quiet(Buckets::in_memory(Limits::default())?.into(), Client::new(Vec::new())?.into());
        let guest = Guest::prepare(&engines, code.clone(), spec, host).await?;
        for round in 0..3 {
            let (calls, took) = calls(&guest, time / 3).await?;
            let each = took.as_secs_f64() * 1e6 / f64::from(calls);
            println!("{name} {round}: {:.0} calls/s, {each:.1} µs each", 1e6 / each);
        }
    }
    Ok(())
}

async fn calls(guest: &Guest, time: Duration) -> Result<(u32, Duration)> {
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < time {
        let request = http::Request::get("http://localhost/").body(runtime::body::empty())?;
        guest.handle(request).await?.into_body().collect().await.map_err(anyhow::Error::from_boxed)?;
        calls += 1;
    }
    Ok((calls, start.elapsed()))
}
