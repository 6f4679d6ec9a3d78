//! `wctl`: runs WebAssembly components on a cluster, the way Kubernetes runs containers.

mod adapt;
mod answer;
mod args;
mod background;
mod between;
mod cluster;
mod exit;
mod files;
mod follow;
mod home;
mod identity;
mod machine;
mod print;
mod registry;
mod ship;
mod signals;
mod target;
mod time;
mod toolchain;
mod urls;
mod verbs;

use std::process::ExitCode;

use anyhow::{Context, Result};

use args::{Cli, Globals, Verb};

fn main() -> ExitCode {
    let cli = Cli::read();
    if let Verb::CompileChild { args } = &cli.verb {
        return runtime::cache::compile_child(args);
    }
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
        Verb::Up(up) => verbs::up::run(globals, up).await,
        Verb::Down(down) => verbs::down::run(globals, down).await,
        Verb::Server(server) => verbs::server::run(globals, server).await,
        Verb::Node(node) => verbs::node::run(globals, node).await,
        Verb::New(new) => verbs::new::run(&new),
        Verb::Build(build) => verbs::build::run(build).await,
        Verb::Push(push) => verbs::push::run(globals, push).await,
        Verb::Pull(pull) => verbs::pull::run(globals, pull).await,
        Verb::Inspect(inspect) => verbs::inspect::run(globals, inspect).await,
        Verb::Run(run) => verbs::run::run(globals, run).await,
        Verb::Deploy(deploy) => verbs::deploy::run(globals, deploy).await,
        Verb::Diff(diff) => verbs::diff::run(globals, diff).await,
        Verb::Convert(convert) => verbs::convert::run(&convert),
        Verb::Get(get) => verbs::get::run(globals, get).await,
        Verb::Describe(describe) => verbs::describe::run(globals, describe).await,
        Verb::Status(status) => verbs::status::run(globals, status).await,
        Verb::Logs(logs) => verbs::logs::run(globals, logs).await,
        Verb::Events(events) => verbs::events::run(globals, events).await,
        Verb::Scale(scale) => verbs::scale::run(globals, scale).await,
        Verb::Secret(secret) => verbs::secret::run(globals, secret).await,
        Verb::Login(login) => verbs::login::run(globals, login).await,
        Verb::Token(token) => verbs::token::run(globals, token).await,
        Verb::Cordon(cordon) => verbs::drain::cordon(globals, cordon, true).await,
        Verb::Uncordon(cordon) => verbs::drain::cordon(globals, cordon, false).await,
        Verb::Drain(drain) => verbs::drain::run(globals, drain).await,
        Verb::Freeze(freeze) => verbs::freeze::run(globals, freeze).await,
        Verb::Thaw(thaw) => verbs::freeze::thaw(globals, thaw).await,
        Verb::Backup(backup) => verbs::backup::run(globals, backup).await,
        Verb::Restore(restore) => verbs::backup::restore(globals, restore).await,
        Verb::Prune(prune) => verbs::prune::run(globals, prune).await,
        Verb::Rollout(rollout) => verbs::rollout::run(globals, rollout).await,
        Verb::Delete(delete) => verbs::delete::run(globals, delete).await,
        Verb::Completion(completion) => verbs::completion::run(&completion),
        Verb::Ps(ps) => verbs::get::ps(globals, ps).await,
        Verb::Images(images) => verbs::images::run(globals, images).await,
        Verb::CompileChild { .. } => Ok(()),
    }
}

/// What goes on inside, on stderr; `WCTL_LOG` chooses by module.
fn trace(verbose: u8) {
    let default = match verbose {
        // What the client library finds worth an error, we say ourselves or try again.
        0 => "error,kube_client=off,rustls_platform_verifier=off",
        1 => "warn,wctl=info,scheduler=info,runtime=info,artifact=info",
        _ => "info,wctl=debug,scheduler=debug,runtime=debug,artifact=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("WCTL_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(console::colors_enabled_stderr()).init();
}
