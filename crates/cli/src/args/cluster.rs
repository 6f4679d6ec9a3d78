//! Verbs for whoever runs a cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Output;
use super::value::duration;

/// Where the state of a cluster is, if not in the data folder.
#[derive(Debug, Clone, Default, Args)]
pub struct Store {
    /// Keep the state in an etcd, which several servers can share [default: in the data folder]
    #[arg(long, value_name = "etcd://HOST:2379,HOST:2379", env = "WCTL_STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// PEM file with the authority of etcd's certificates; means TLS, as etcds:// does
    #[arg(long, value_name = "FILE", requires = "store")]
    pub store_ca: Option<PathBuf>,
    /// PEM file with this server's certificate for etcd
    #[arg(long, value_name = "FILE", requires = "store", requires = "store_key")]
    pub store_cert: Option<PathBuf>,
    /// PEM file with the key of that certificate
    #[arg(long, value_name = "FILE", requires = "store", requires = "store_cert")]
    pub store_key: Option<PathBuf>,
    /// User of etcd; its password is in WCTL_STORE_PASSWORD or a file
    #[arg(long, value_name = "NAME", requires = "store")]
    pub store_user: Option<String>,
    /// File with the password of etcd's user
    #[arg(long, value_name = "FILE", requires = "store_user")]
    pub store_password_file: Option<PathBuf>,
}

/// `wctl token`
#[derive(Debug, Args)]
pub struct Token {
    /// What to do with tokens.
    #[command(subcommand)]
    pub verb: TokenVerb,
}

/// The verbs of `wctl token`.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token, and print it once
    Create {
        /// What it is good for
        #[arg(long, value_name = "ROLE", default_value = "node")]
        role: Role,
        /// How long it is good for [default: 1h for a node, for ever for people]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        ttl: Option<Duration>,
        /// Whose it is, as in the audit log [default: the role]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
    /// List tokens, never their secrets
    #[command(visible_alias = "ls")]
    List {
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
    /// End tokens, or with node:NAME the certificate of a node
    #[command(visible_alias = "rm")]
    Revoke {
        /// Their ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// How results are printed.
        #[command(flatten)]
        output: Output,
    },
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// To join a machine as a node, and nothing else.
    Node,
    /// Everything.
    Admin,
    /// What an app needs, in the namespace of --namespace.
    Deployer,
    /// To read everything but secrets, in all namespaces or in that of --namespace.
    Viewer,
}

/// `wctl freeze`
#[derive(Debug, Args)]
pub struct Freeze {
    /// Why, for whoever asks `wctl status`
    #[arg(value_name = "REASON")]
    pub why: Option<String>,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl thaw`
#[derive(Debug, Args)]
pub struct Thaw {
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl cordon` and `wctl uncordon`
#[derive(Debug, Args)]
pub struct Cordon {
    /// The nodes' names
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl drain`
#[derive(Debug, Args)]
pub struct Drain {
    /// The node's name
    #[arg(value_name = "NODE")]
    pub node: String,
    /// Delete pods that nobody makes again too
    #[arg(long)]
    pub force: bool,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m")]
    pub timeout: Duration,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl backup`
#[derive(Debug, Args)]
pub struct Backup {
    /// Where to write it; `-` is stdout
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}

/// `wctl restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only prove that it is whole and say what is in it
    #[arg(long)]
    pub check: bool,
    /// The cluster's key, which opens its secrets [default: the data folder's pki/cluster.key]
    #[arg(long, value_name = "FILE")]
    pub cluster_key: Option<PathBuf>,
    /// Where to restore it to.
    #[command(flatten)]
    pub store: Store,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
}
