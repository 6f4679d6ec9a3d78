//! Verbs that run something here, and go on.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::value::{duration, pair};
use super::{Lines, Output};

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
    /// Keep key-value buckets in this Redis [default: in a file of the node]
    #[arg(long, value_name = "redis://HOST:PORT", env = "WCTL_KEYVALUE", hide_env_values = true)]
    pub keyvalue: Option<String>,
    /// Keep containers of blobs in this S3-compatible store [default: in files of the node]
    #[arg(long, value_name = "s3://BUCKET/PREFIX", env = "WCTL_BLOBS")]
    pub blobs: Option<String>,
    /// How results are printed.
    #[command(flatten)]
    pub output: Lines,
}

/// `wctl down`
#[derive(Debug, Args)]
pub struct Down {
    /// How long requests in flight may take to end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl server`
#[derive(Debug, Args)]
pub struct Server {
    /// Where the state is.
    #[command(flatten)]
    pub store: super::Store,
    /// The cluster's key, for a server that joins others: a copy of pki/cluster.key of one of them
    #[arg(long, value_name = "FILE")]
    pub cluster_key: Option<PathBuf>,
    /// Keep the images that are pushed here in this S3-compatible store, which all servers of a cluster share [default: in files of this server]
    #[arg(long, value_name = "s3://BUCKET/PREFIX", env = "WCTL_IMAGES")]
    pub images: Option<String>,
    /// Names and addresses by which nodes and people reach this server, for its certificate
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// How results are printed.
    #[command(flatten)]
    pub output: Lines,
}

/// `wctl node`
#[derive(Debug, Args)]
pub struct Node {
    /// Name of this node [default: the machine's]
    #[arg(long, value_name = "NAME", env = "WCTL_NODE")]
    pub name: Option<String>,
    /// The server's API, https://HOST:PORT, or those of several with commas between [default: where it joined before, else the kubeconfig's]
    #[arg(long, value_name = "URL")]
    pub join: Option<String>,
    /// Token to join with [default: the kubeconfig's]
    #[arg(long, value_name = "TOKEN", env = "WCTL_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// PEM file with the cluster's CA [default: the kubeconfig's]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Where other nodes reach this one, ADDRESS or ADDRESS:PORT [default: the address that the server is reached from, port 6444]
    #[arg(long, value_name = "ADDR", env = "WCTL_ADVERTISE")]
    pub advertise: Option<String>,
    /// Labels of this node, by which apps choose it
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub label: Vec<(String, String)>,
    /// Keep key-value buckets in this Redis [default: in a file of the node]
    #[arg(long, value_name = "redis://HOST:PORT", env = "WCTL_KEYVALUE", hide_env_values = true)]
    pub keyvalue: Option<String>,
    /// Keep containers of blobs in this S3-compatible store [default: in files of the node]
    #[arg(long, value_name = "s3://BUCKET/PREFIX", env = "WCTL_BLOBS")]
    pub blobs: Option<String>,
    /// How results are printed.
    #[command(flatten)]
    pub output: Lines,
}
