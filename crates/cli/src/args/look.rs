//! Verbs that only look.

use std::time::Duration;

use clap::Args;

use super::value::duration;
use super::{Lines, Output};

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
    #[arg(value_name = "POD|APP[/SERVICE]", required_unless_present_any = ["access", "request"])]
    pub target: Option<String>,
    /// The requests that the gateways of all nodes answered: those to APP or APP/SERVICE, or all
    #[arg(long)]
    pub access: bool,
    /// The request with this id (`x-request-id` of its answer), and the trap that ended it
    #[arg(long, value_name = "ID", conflicts_with_all = ["follow", "tail"])]
    pub request: Option<String>,
    /// Go on as more is printed
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines [default: all; 10 of each pod for an app; 100 requests]
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// What the pod printed before its last restart
    #[arg(short, long, conflicts_with_all = ["access", "request"])]
    pub previous: bool,
    /// Only what is younger: 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<Duration>,
    /// With the time of each line
    #[arg(long)]
    pub timestamps: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: Lines,
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
