//! `wctl`: runs WebAssembly components on a cluster, the way Kubernetes runs containers.

mod args;
mod cluster;
mod exit;
mod follow;
mod home;
mod print;
mod registry;
mod target;
mod time;
mod toolchain;
mod urls;
mod verbs;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use args::{Cli, Globals, Verb};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::code(&error),
    }
}

fn start(cli: Cli) -> Result<()> {
    trace(cli.globals.verbose);
    // One provider for every TLS connection of the process; a second call could only come from ourselves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let done = runtime.block_on(verb(&cli.globals, cli.verb));
    // What still waits on a blocking thread (stdin, say) must not hold up the end.
    runtime.shutdown_background();
    done
}

async fn verb(globals: &Globals, verb: Verb) -> Result<()> {
    match verb {
        Verb::New(new) => verbs::new::run(&new),
        Verb::Get(get) => verbs::get::run(globals, get).await,
        Verb::Ps(ps) => verbs::get::ps(globals, ps).await,
        Verb::Describe(describe) => verbs::describe::run(globals, describe).await,
        Verb::Status(status) => verbs::status::run(globals, status).await,
        Verb::Logs(logs) => verbs::logs::run(globals, logs).await,
        Verb::Events(events) => verbs::events::run(globals, events).await,
        Verb::Scale(scale) => verbs::scale::run(globals, scale).await,
        Verb::Secret(secret) => verbs::secret::run(globals, secret).await,
        Verb::Rollout(rollout) => verbs::rollout::run(globals, rollout).await,
        Verb::Completion(completion) => verbs::completion::run(&completion),
        other => anyhow::bail!("this verb is not there yet: {other:?}"),
    }
}

/// What goes on inside, on stderr; `WCTL_LOG` chooses by module.
fn trace(verbose: u8) {
    let default = match verbose {
        0 => "error",
        1 => "warn,wctl=info,scheduler=info,runtime=info,artifact=info",
        _ => "info,wctl=debug,scheduler=debug,runtime=debug,artifact=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("WCTL_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(console::colors_enabled_stderr()).init();
}
