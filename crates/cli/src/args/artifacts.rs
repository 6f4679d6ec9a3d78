//! Verbs about components: making them, moving them, running one.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Output;
use super::value::duration;

/// `wctl new`
#[derive(Debug, Args)]
pub struct New {
    /// Name of the app and of the folder
    pub name: String,
    /// Language of the component
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    pub lang: String,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl build`
#[derive(Debug, Args)]
pub struct Build {
    /// app.yaml, several merged in order, `-` for stdin; or the folder of one component [default: ./app.yaml]
    #[arg(value_name = "FILE|FOLDER")]
    pub files: Vec<PathBuf>,
    /// The same, as an option
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub more: Vec<PathBuf>,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl push`
#[derive(Debug, Args)]
pub struct Push {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    pub file: PathBuf,
    /// Where to, as registry/name:tag; without a host it is the embedded registry
    pub reference: String,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl pull`
#[derive(Debug, Args)]
pub struct Pull {
    /// What, as registry/name:tag or registry/name@sha256:…
    pub reference: String,
    /// Where to write it [default: NAME.wasm; - is stdout]
    #[arg(value_name = "FILE.wasm")]
    pub file: Option<PathBuf>,
    /// Write over a file that is there and holds something else
    #[arg(long)]
    pub force: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// A .wasm file or a reference
    #[arg(value_name = "FILE|REFERENCE")]
    pub what: String,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl run`
#[derive(Debug, Args)]
pub struct Run {
    /// A .wasm file or a reference
    #[arg(value_name = "FILE.wasm")]
    pub component: String,
    /// A folder that the guest may use: HOST or HOST::GUEST
    #[arg(long, value_name = "HOST::GUEST")]
    pub dir: Vec<String>,
    /// A variable of the guest; NAME alone passes on our own
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// A target that the guest may connect to: `https://api.example.com:443`, `tcp://10.0.0.5:5432`
    #[arg(long, value_name = "URL")]
    pub allow: Vec<String>,
    /// A port that the guest may listen on: `5000/tcp`
    #[arg(long, value_name = "PORT/tcp")]
    pub listen: Vec<String>,
    /// `host`: all that this machine reaches, every port, TCP and UDP, as if the guest were a program of its own
    #[arg(long, value_enum, default_value_t = Network::None, conflicts_with_all = ["allow", "listen"])]
    pub network: Network,
    /// Memory of one sandbox
    #[arg(long, value_name = "SIZE", default_value = "512Mi")]
    pub memory: String,
    /// Longest time for one request
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub time: Duration,
    /// Arguments of the guest
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// What of this machine's network a guest of `wctl run` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// What `--allow` and `--listen` name.
    None,
    /// All of it.
    Host,
}

/// `wctl login`
#[derive(Debug, Args)]
pub struct Login {
    /// Host of the registry: ghcr.io
    pub registry: String,
    /// Name to log in with
    #[arg(short, long)]
    pub username: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl prune`
#[derive(Debug, Args)]
pub struct Prune {
    /// Show what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Keep what was pushed within this time: a deploy may be about to name it
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub grace: Duration,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl images`
#[derive(Debug, Args)]
pub struct Images {
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}
