//! `wctl run`: one component here, without a cluster.

mod serve;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use artifact::inspect::World;
use bytes::Bytes;
use runtime::cache::{Cache, Compiler};
use runtime::engine::{Config, Engines};
use runtime::keyvalue::{Buckets, Limits};
use runtime::sandbox::target::listening;
use runtime::sandbox::{Dir, Failure, Guest, Host, PodIdentity, Spec, Stdio, Target};
use runtime::wasi::outgoing::Client;
use scheduler::app::quantity::Memory;

use crate::adapt;
use crate::args::{Globals, Network, Run};
use crate::exit::{Silent, Usage};
use crate::home::{self, HTTP, Home};
use crate::verbs::inspect;
use crate::{machine, print};

/// Serves an HTTP guest until a signal; runs any other to its end, with its exit code.
pub async fn run(globals: &Globals, run: Run) -> Result<()> {
    let (name, wasm) = inspect::component(globals, &run.component).await?;
    let wasm = Bytes::from(adapt::component(&wasm).with_context(|| format!("preparing {name}"))?.into_owned());
    let spec = spec(&run, &name)?;
    let world = artifact::inspect::inspect(&wasm).with_context(|| format!("reading {name}"))?.world;
    let is_server = matches!(world, World::Http02 | World::Http03);
    // Bound first: a port in use should not cost a compilation.
    let listener = is_server.then(|| home::listen(globals.http.as_deref().unwrap_or(HTTP), "guest", "--http")).transpose()?;
    let home = Home::of(globals)?;
    let engines = Engines::new(Config::single());
    let compiler = Compiler::child().context("finding this program's file")?;
    let cache = Cache::open(home.node().join("cache"), engines.clone(), compiler, machine::baseline()?)?;
    let code = cache.prepare_bytes(wasm, spec.memory).await.with_context(|| format!("preparing {name}"))?;
    // What a guest keeps in buckets goes with it: nothing names the next run as the same app.
    let folder = tempfile::tempdir().context("making a folder for key-value buckets")?;
    let buckets = Arc::new(Buckets::open(folder.path(), Limits::default())?);
    let client = if spec.network { Client::inside_too(Vec::new()) } else { Client::new(Vec::new()) };
    let outbound = Arc::new(client.context("preparing outgoing requests")?);
    let guest = Guest::prepare(&engines, code, spec, Host::quiet(buckets, outbound)).await?;
    match listener {
        Some(listener) => serve::serve(guest, listener, &home).await,
        None => ended(guest.run().await),
    }
}

fn spec(run: &Run, name: &str) -> Result<Spec> {
    let pod = PodIdentity { namespace: "run".into(), app: None, service: "run".into(), name: "run".into(), uid: "run".into() };
    let mut spec = Spec::new(pod);
    spec.args = std::iter::once(program(name)).chain(run.args.iter().cloned()).collect();
    spec.env = run.env.iter().map(|text| variable(text)).collect::<Result<_>>()?;
    spec.dirs = run.dir.iter().map(|text| folder(text)).collect::<Result<_>>()?;
    spec.connect =
        run.allow.iter().map(|text| text.parse::<Target>()).collect::<Result<_, _>>().map_err(|error| Usage(error.to_string()))?;
    let port = |text: &String| listening(text).ok_or_else(|| Usage(format!("--listen {text}: write a port like 5000/tcp")));
    spec.listen = run.listen.iter().map(port).collect::<Result<_, _>>()?;
    spec.network = run.network == Network::Host;
    spec.hostname = None;
    spec.memory = run.memory.parse::<Memory>().map_err(|problem| Usage(problem.to_string()))?.0;
    spec.time = run.time;
    spec.stdio = Stdio::Inherit;
    Ok(spec)
}

/// What a guest is told that it is called: the name alone, since where it lies is the host's own affair.
fn program(name: &str) -> String {
    name.rsplit(['/', std::path::MAIN_SEPARATOR]).next().unwrap_or(name).to_owned()
}

/// `NAME=VALUE`, or `NAME` for what it is here.
fn variable(text: &str) -> Result<(String, String)> {
    if let Some((name, value)) = text.split_once('=') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    let value = std::env::var(text).map_err(|_| Usage(format!("--env {text}: there is no variable {text} here; write {text}=VALUE")))?;
    Ok((text.to_owned(), value))
}

/// `HOST::GUEST`, or `HOST` for the same name inside.
fn folder(text: &str) -> Result<Dir> {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    let host = PathBuf::from(host);
    if !host.is_dir() {
        bail!("--dir {text}: there is no folder {}", host.display());
    }
    Ok(Dir { host, guest: guest.to_owned(), read_only: false })
}

fn ended(end: Result<i32, Failure>) -> Result<()> {
    match end {
        Ok(0) | Err(Failure::Exit(0)) => Ok(()),
        Ok(code) | Err(Failure::Exit(code)) => bail!(Silent(u8::try_from(code).unwrap_or(1))),
        Err(failure) => Err(told(&failure)),
    }
}

/// A failure; its backtrace goes to stderr.
fn told(failure: &Failure) -> anyhow::Error {
    if let Failure::Trap { backtrace, .. } = failure {
        backtrace.lines().for_each(|line| print::note(print::dim(print::harmless(line))));
    }
    anyhow!("{failure}")
}

/// How long requests may go on after a signal.
const GRACE: Duration = Duration::from_secs(10);
