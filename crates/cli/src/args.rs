//! What may stand on the command line: clap types only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod artifacts;
mod change;
mod cluster;
mod environment;
mod look;
mod machine;
mod value;

pub use artifacts::*;
pub use change::*;
pub use cluster::*;
pub use look::*;
pub use machine::*;
use value::{address, duration};

/// Runs WebAssembly components on a cluster, the way Kubernetes runs containers.
#[derive(Debug, Parser)]
#[command(name = "wctl", version, arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    /// Where everything goes that is not about one verb.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// Folder for state, credentials and compiled code [default: ~/.wctl] [env: WCTL_DATA]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub data: Option<PathBuf>,
    /// Address of the API: where a server listens, where other verbs find it [default: 127.0.0.1:6443] [env: WCTL_API]
    #[arg(long, global = true, value_name = "ADDR", value_parser = address, help_heading = "Everywhere")]
    pub api: Option<String>,
    /// Address of the gateway [default: 127.0.0.1:8080] [env: WCTL_HTTP]
    #[arg(long, global = true, value_name = "ADDR", value_parser = address, help_heading = "Everywhere")]
    pub http: Option<String>,
    /// Namespace to work in [default: the file's, else the kubeconfig's, else "default"] [env: WCTL_NAMESPACE]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Everywhere")]
    pub namespace: Option<String>,
    /// Say more of what happens inside; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub verbose: u8,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start server, node and gateway in one process, and deploy FILE
    Up(Up),
    /// Stop what `up` or `server` runs on the data folder
    Down(Down),
    /// Run the control plane alone
    Server(Server),
    /// Run a node alone
    Node(Node),
    /// Make a folder with a small service that builds and deploys
    New(New),
    /// Build the components of an app without deploying them
    Build(Build),
    /// Push a component to a registry
    Push(Push),
    /// Pull a component from a registry
    Pull(Pull),
    /// Say what a component exports, imports and so may ask for
    Inspect(Inspect),
    /// Run one component here, without a cluster
    Run(Run),
    /// Build, push and deploy an app, or apply Kubernetes manifests
    #[command(visible_alias = "apply")]
    Deploy(Deploy),
    /// Show what a deploy would change, capabilities first
    Diff(Diff),
    /// Print the app file of Kubernetes manifests, a Compose file or a spin.toml; or the manifests of an app file
    Convert(Convert),
    /// List objects
    Get(Get),
    /// Tell all about an object, with its recent events
    Describe(Describe),
    /// Show how apps are doing
    Status(Status),
    /// Show what guests printed
    Logs(Logs),
    /// Show what happened
    Events(Events),
    /// Change the number of replicas of a service
    Scale(Scale),
    /// Keep secrets for apps
    Secret(Secret),
    /// Keep the credentials of a registry
    Login(Login),
    /// Drop artifacts and compiled code that no revision needs
    Prune(Prune),
    /// Make, list and end tokens of people and of machines that join
    Token(Token),
    /// Give nodes no new pods
    Cordon(Cordon),
    /// Give nodes new pods again
    Uncordon(Cordon),
    /// Cordon a node, and have its pods go elsewhere
    Drain(Drain),
    /// Stop the scheduler; what runs goes on
    Freeze(Freeze),
    /// Let the scheduler go on
    Thaw(Thaw),
    /// Write everything that the server keeps into a file
    Backup(Backup),
    /// Put a backup into an empty store, or prove that it is whole
    Restore(Restore),
    /// Follow, list, take back or repeat rollouts
    Rollout(Rollout),
    /// Delete objects
    #[command(visible_alias = "rm")]
    Delete(Delete),
    /// Print a completion script for a shell
    Completion(Completion),
    /// List pods, for fingers that know Docker
    Ps(Ps),
    /// List what the embedded registry holds
    Images(Images),
    /// Compile one component (the node starts this itself)
    #[command(hide = true)]
    CompileChild {
        /// What the node says.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

/// How results are printed.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// More columns for people.
    Wide,
    /// JSON for programs.
    Json,
    /// YAML.
    Yaml,
    /// KIND/NAME, one on each line.
    Name,
}

/// How what goes on and on is printed.
#[derive(Debug, Clone, Args)]
pub struct Lines {
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: LineFormat,
}

/// A form of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LineFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object on each line, for programs.
    Json,
}

/// Files that describe what to deploy.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// app.yaml or Kubernetes manifests; several are merged in order, `-` is stdin [default: ./app.yaml]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The same, as an option
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub more: Vec<PathBuf>,
}

/// Files that describe one app.
#[derive(Debug, Clone, Args)]
pub struct AppFiles {
    /// app.yaml; several are merged in order, `-` is stdin [default: ./app.yaml]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The same, as an option
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub more: Vec<PathBuf>,
}

impl From<AppFiles> for Files {
    fn from(AppFiles { files, more }: AppFiles) -> Files {
        Files { files, more }
    }
}

/// Whether to wait for the result, and how long.
#[derive(Debug, Clone, Args)]
pub struct Wait {
    /// Wait until it is ready [default: only when a person watches, that is, on a terminal]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub wait: Option<bool>,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// Whether to wait for an end, and how long.
#[derive(Debug, Clone, Args)]
pub struct WaitGone {
    /// Wait until they are gone [default: only when a person watches, that is, on a terminal]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub wait: Option<bool>,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// `wctl completion`
#[derive(Debug, Args)]
pub struct Completion {
    /// Which shell
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
