//! What may stand on the command line: clap types only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Folder for state, credentials and compiled code [default: ~/.wctl]
    #[arg(long, global = true, value_name = "DIR", env = "WCTL_DATA", help_heading = "Everywhere")]
    pub data: Option<PathBuf>,
    /// Address of the API: where a server listens, where other verbs find it [default: 127.0.0.1:6443]
    #[arg(long, global = true, value_name = "ADDR", env = "WCTL_API", value_parser = address, help_heading = "Everywhere")]
    pub api: Option<String>,
    /// Address of the gateway [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR", env = "WCTL_HTTP", value_parser = address, help_heading = "Everywhere")]
    pub http: Option<String>,
    /// Namespace to work in [default: the file's, else the kubeconfig's, else "default"]
    #[arg(short, long, global = true, value_name = "NAME", env = "WCTL_NAMESPACE", help_heading = "Everywhere")]
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

/// `wctl up`
#[derive(Debug, Args)]
pub struct Up {
    /// What to deploy; without it, what was deployed before runs on
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The same, as an option
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub more: Vec<PathBuf>,
    /// Run in the background; `wctl down` stops it
    #[arg(short, long)]
    pub detach: bool,
    /// How long the app may take to become ready
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// `wctl down`
#[derive(Debug, Args)]
pub struct Down {
    /// How long requests in flight may take to end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
}

/// `wctl server`
#[derive(Debug, Args)]
pub struct Server {}

/// `wctl node`
#[derive(Debug, Args)]
pub struct Node {
    /// Name of this node [default: the machine's]
    #[arg(long, value_name = "NAME", env = "WCTL_NODE")]
    pub name: Option<String>,
    /// The server's API, https://HOST:PORT [default: the kubeconfig's]
    #[arg(long, value_name = "URL")]
    pub join: Option<String>,
    /// Token to join with [default: the kubeconfig's]
    #[arg(long, value_name = "TOKEN", env = "WCTL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// PEM file with the cluster's CA [default: the kubeconfig's]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Labels of this node, by which apps choose it
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub label: Vec<(String, String)>,
}

/// `wctl new`
#[derive(Debug, Args)]
pub struct New {
    /// Name of the app and of the folder
    pub name: String,
    /// Language of the component
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    pub lang: String,
}

/// `wctl build`
#[derive(Debug, Args)]
pub struct Build {
    /// What to build.
    #[command(flatten)]
    pub files: Files,
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
    /// A target that the guest may connect to: https://api.example.com:443
    #[arg(long, value_name = "URL")]
    pub allow: Vec<String>,
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

/// `wctl deploy`
#[derive(Debug, Args)]
pub struct Deploy {
    /// What to deploy.
    #[command(flatten)]
    pub files: Files,
    /// Check everything and show the difference, change nothing
    #[arg(long)]
    pub dry_run: bool,
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
    pub files: Files,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl get`
#[derive(Debug, Args)]
pub struct Get {
    /// A kind, several with commas, `all`, or KIND/NAME
    pub kind: String,
    /// Names of objects
    pub names: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels: app=shop,tier!=db
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Only objects with these fields: status.phase=Running
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
    /// Go on with each change
    #[arg(short, long)]
    pub watch: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl describe`
#[derive(Debug, Args)]
pub struct Describe {
    /// A kind, or KIND/NAME, or just the name of an app
    pub kind: String,
    /// Name of the object
    pub name: Option<String>,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl status`
#[derive(Debug, Args)]
pub struct Status {
    /// Only this app
    pub app: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl logs`
#[derive(Debug, Args)]
pub struct Logs {
    /// A pod, or APP, or APP/SERVICE
    #[arg(value_name = "POD|APP[/SERVICE]")]
    pub target: String,
    /// Go on as more is printed
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines [default: all; 10 of each pod for an app]
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// What the pod printed before its last restart
    #[arg(short, long)]
    pub previous: bool,
    /// Only what is younger: 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<Duration>,
    /// With the time of each line
    #[arg(long)]
    pub timestamps: bool,
}

/// `wctl events`
#[derive(Debug, Args)]
pub struct Events {
    /// Only those about APP, APP/SERVICE or KIND/NAME
    pub about: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Go on as more happens
    #[arg(short, long)]
    pub watch: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
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
    },
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
}

/// `wctl prune`
#[derive(Debug, Args)]
pub struct Prune {
    /// Show what would go
    #[arg(long)]
    pub dry_run: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
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
        /// Which app
        #[arg(value_name = "APP")]
        target: String,
        /// How long to wait
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
        timeout: Duration,
    },
    /// List the revisions
    History {
        /// Which app
        #[arg(value_name = "APP")]
        target: String,
        /// Show this revision whole
        #[arg(long, value_name = "N")]
        revision: Option<i64>,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
    /// Go back to an older revision, as a new one
    Undo {
        /// Which app
        #[arg(value_name = "APP")]
        target: String,
        /// Which revision [default: the one before]
        #[arg(long, value_name = "N")]
        to_revision: Option<i64>,
        /// Whether to wait.
        #[command(flatten)]
        wait: Wait,
    },
    /// Replace all pods by fresh ones, one after the other
    Restart {
        /// Which app or service
        #[arg(value_name = "APP[/SERVICE]")]
        target: String,
        /// Whether to wait.
        #[command(flatten)]
        wait: Wait,
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
    /// Wait until they are gone [default: only on a terminal]
    #[command(flatten)]
    pub wait: Wait,
    /// It is no failure if they are not there
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// `wctl completion`
#[derive(Debug, Args)]
pub struct Completion {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// `wctl ps`
#[derive(Debug, Args)]
pub struct Ps {
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
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

/// `HOST:PORT`, as typed; it is resolved where it is used.
fn address(text: &str) -> Result<String, String> {
    let sentence = || format!("`{text}` is no address; write HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080");
    let (host, port) = text.rsplit_once(':').ok_or_else(sentence)?;
    let bare = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || !bare || port.parse::<u16>().is_err() {
        return Err(sentence());
    }
    Ok(text.to_owned())
}

/// `500ms`, `10s`, `5m`, `1h`, or a plain number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let sentence = || format!("`{text}` is no time; write it as 500ms, 10s, 5m or 1h");
    let number: u64 = text[..digits].parse().map_err(|_| sentence())?;
    let milliseconds = match &text[digits..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    // A year is for ever here, and keeps sums with the clock from overflowing.
    milliseconds.filter(|ms| *ms <= 31_536_000_000).map(Duration::from_millis).ok_or_else(sentence)
}

/// `KEY=VALUE`
fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["127.0.0.1:0", "[::1]:8080", "localhost:443", "0.0.0.0:80"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in ["", "8080", ":8080", "::1:80", "127.0.0.1", "127.0.0.1:65536", "host:http"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
