//! Verbs that change what runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::value::duration;
use super::{AppFiles, Files, Output, Wait, WaitGone};

/// `wctl deploy`
#[derive(Debug, Args)]
pub struct Deploy {
    /// What to deploy.
    #[command(flatten)]
    pub files: Files,
    /// Check everything and show the difference, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Of manifests: take over fields that somebody else has changed since
    #[arg(long)]
    pub force: bool,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: Wait,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// What to compare with what runs.
    #[command(flatten)]
    pub files: AppFiles,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl convert`
#[derive(Debug, Args)]
pub struct Convert {
    /// Manifests (files, folders, `-` for stdin), a Compose file, a spin.toml or an app file
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What to make of them
    #[arg(long, value_enum, default_value = "app")]
    pub to: Target,
}

/// What `wctl convert` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// An app file
    App,
    /// Kubernetes manifests
    Kubernetes,
}

/// `wctl scale`
#[derive(Debug, Args)]
pub struct Scale {
    /// Which service; the app alone where it has one service
    #[arg(value_name = "APP[/SERVICE]")]
    pub target: String,
    /// How many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub replicas: u32,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: Wait,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl secret`
#[derive(Debug, Args)]
pub struct Secret {
    /// What to do with secrets.
    #[command(subcommand)]
    pub verb: SecretVerb,
}

/// The verbs of `wctl secret`.
#[derive(Debug, Subcommand)]
pub enum SecretVerb {
    /// Set a secret to what stands on stdin (one line end at its end is dropped)
    Set {
        /// Its name, as under `uses: secrets:`
        name: String,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
    /// List the names, never the values
    #[command(visible_alias = "ls")]
    List {
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
    /// Remove secrets
    Rm {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
}

/// `wctl rollout`
#[derive(Debug, Args)]
pub struct Rollout {
    /// What to do with rollouts.
    #[command(subcommand)]
    pub verb: RolloutVerb,
}

/// The verbs of `wctl rollout`.
#[derive(Debug, Subcommand)]
pub enum RolloutVerb {
    /// Wait until the last rollout is done
    Status {
        /// Which app or service
        #[arg(value_name = "APP[/SERVICE]")]
        target: String,
        /// How long to wait
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
        timeout: Duration,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
    /// List the revisions
    History {
        /// Which app; with a service, the images of that service alone
        #[arg(value_name = "APP[/SERVICE]")]
        target: String,
        /// Show this revision whole
        #[arg(long, value_name = "N")]
        revision: Option<i64>,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
    /// Go back to an older revision, as a new one; how many replicas there are stays as it is
    Undo {
        /// Which app, with all its services; or one service, beside which the others stay as they are
        #[arg(value_name = "APP[/SERVICE]")]
        target: String,
        /// Which revision, also one that failed [default: the newest that did not and differs in more than replicas]
        #[arg(long, value_name = "N")]
        to_revision: Option<i64>,
        /// Whether to wait.
        #[command(flatten)]
        wait: Wait,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
    /// Replace all pods by fresh ones, one after the other
    ///
    /// An app keeps the digests that it was deployed with: where a tag means another image now, `wctl deploy` takes that up. The tag of
    /// a Deployment that belongs to no app is looked up anew.
    Restart {
        /// Which app or service
        #[arg(value_name = "APP[/SERVICE]")]
        target: String,
        /// Whether to wait.
        #[command(flatten)]
        wait: Wait,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
}

/// `wctl delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// A kind, or KIND/NAME
    #[arg(required_unless_present = "files")]
    pub kind: Option<String>,
    /// Names of objects
    pub names: Vec<String>,
    /// What these files describe; `-` is stdin
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with_all = ["kind", "names"])]
    pub files: Vec<PathBuf>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitGone,
    /// It is no failure if they are not there
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Of apps, also remove the key-value data and blobs, which otherwise stay for when the app comes back; also of one that is gone
    #[arg(long)]
    pub with_data: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}
