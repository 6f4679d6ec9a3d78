//! An app as its author typed it: images may be files, folders to build, or tags.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::job::Job;
use super::mistake::Place as FilePlace;
use super::quantity::{Backoff, Cpu, Memory, Time};
use super::rollout::Rollout;
use super::route::Route;
use super::scale::Scale;
use super::spec::{AppSpec, ServiceSpec};
use super::{Error, word};

/// Fields that a newer version wrote; they survive being read and written by this one.
pub type Unknown = BTreeMap<String, Value>;

/// An app file, all of it checked.
#[derive(Debug, Clone, PartialEq)]
pub struct AppFile {
    /// The App's name.
    pub name: String,
    /// The namespace, where the file names one.
    pub namespace: Option<String>,
    /// Environment variables that every service inherits.
    pub env: BTreeMap<String, String>,
    /// The services by name; at least one.
    pub services: BTreeMap<String, ServiceFile>,
    /// How a change replaces pods.
    pub rollout: Rollout,
    /// Where the files name the image, or the folder to build, of each service.
    pub origins: BTreeMap<String, FilePlace>,
}

/// One service of an app file.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceFile {
    /// Where its component comes from.
    pub origin: Origin,
    /// Everything else.
    pub settings: Settings,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A reference, with a tag or a digest.
    Reference(String),
    /// A `.wasm` file, as seen from the folder of the first app file.
    File(String),
    /// A folder to build.
    Build(Build),
    /// A folder of files to serve, as seen from the folder of the first app file.
    Files(String),
}

/// A folder to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The folder, as seen from the folder of the first app file.
    pub path: String,
    /// The command, run in the folder; none to find out from what lies there.
    pub command: Option<String>,
    /// The component that the command leaves, as seen from `path`.
    pub output: Option<String>,
}

impl Origin {
    /// As the file has it, for people: `./hello.wasm`, `ghcr.io/acme/report:2.0`.
    pub fn typed(&self) -> &str {
        match self {
            Origin::Reference(text) | Origin::File(text) | Origin::Files(text) => text,
            Origin::Build(build) => &build.path,
        }
    }
}

/// What a service says beside its image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How many pods; 0 means stopped.
    pub replicas: u32,
    /// Its own environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Arguments of the component.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Hosts and path prefixes whose requests it gets.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub route: BTreeSet<Route>,
    /// A request that tells whether a pod is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// What each pod may use.
    pub limits: Limits,
    /// How sandboxes are kept.
    pub sandbox: Sandbox,
    /// What the guest may reach.
    #[serde(skip_serializing_if = "Uses::is_nothing")]
    pub uses: Uses,
    /// Which nodes its pods go to.
    #[serde(skip_serializing_if = "Place::is_anywhere")]
    pub place: Place,
    /// How a crashed pod comes back.
    #[serde(skip_serializing_if = "Restart::is_usual")]
    pub restart: Restart,
    /// How it runs to its end, where it is not kept running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// Between how many pods it is scaled by load, where `replicas` does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replicas: 1,
            env: BTreeMap::new(),
            args: Vec::new(),
            route: BTreeSet::new(),
            probe: None,
            limits: Limits::default(),
            sandbox: Sandbox::default(),
            uses: Uses::default(),
            place: Place::default(),
            restart: Restart::default(),
            job: None,
            scale: None,
        }
    }
}

/// A request that tells whether a pod is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The path of the GET request.
    pub path: String,
    /// How often; whole seconds.
    #[serde(default = "Probe::every")]
    pub every: Time,
    /// How long an answer may take; whole seconds.
    #[serde(default = "Probe::timeout")]
    pub timeout: Time,
    /// How many failures in a row end the instance.
    #[serde(default = "Probe::fail")]
    pub fail: u32,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl Probe {
    fn every() -> Time {
        Time::seconds(5)
    }
    fn timeout() -> Time {
        Time::seconds(1)
    }
    fn fail() -> u32 {
        3
    }
}

/// What each pod may use.
///
/// Memory is for each pod, and linear memory is taken as a permit when a sandbox is made: what the sandbox really has, not
/// its share of the limit. A small guest has 1.1 to 1.25 MiB, so the default of [`Limits::MEMORY`] is what the default
/// concurrency of 100 such sandboxes needs at once. A guest with more of it (Python: tens of MiB) gets fewer at once, and a 503 beyond.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Linear memory of all sandboxes of a pod together. Written, it is also reserved for the pod when it is placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The share of CPU that each pod may use. Written, it is also reserved for the pod when it is placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// How long one request may take.
    pub time: Time,
    /// Requests that one pod works on at once.
    pub concurrency: u32,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl Limits {
    /// What a pod may use where its service does not say.
    pub const MEMORY: Memory = Memory(128 << 20);
    /// What placement reserves for a pod whose service does not say: most pods are idle, and thousands should fit a small machine.
    pub const RESERVED_MEMORY: Memory = Memory(2 << 20);
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: None, cpu: None, time: Time::seconds(30), concurrency: 100, unknown: Unknown::new() }
    }
}

/// How sandboxes are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sandbox {
    /// Requests that a sandbox serves before it is thrown away.
    pub reuse: u32,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { reuse: 1, unknown: Unknown::new() }
    }
}

/// What the guest may reach: nothing that is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Uses {
    /// Buckets of `wasi:keyvalue`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub keyvalue: BTreeSet<String>,
    /// Secrets, each an environment variable of its name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// Targets of outgoing HTTP and of bare connections, as [`super::target::Target`] writes them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub connect: BTreeSet<String>,
    /// Services of the same app.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub call: BTreeSet<String>,
    /// Ports of the node, as `5000/tcp`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub listen: BTreeSet<String>,
    /// Containers of `wasi:blobstore`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub blobs: BTreeSet<String>,
    /// Folders of the node, by where the guest sees them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Volume>,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

/// A folder of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The most that it holds.
    pub size: Memory,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl Uses {
    fn is_nothing(&self) -> bool {
        *self == Uses::default()
    }
}

/// Which nodes the pods go to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// What they are spread over: `node`, or the last part of a node label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// Labels that a node must carry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub require: BTreeMap<String, String>,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl Place {
    fn is_anywhere(&self) -> bool {
        *self == Place::default()
    }
}

/// How a crashed pod comes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// The first and the longest wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How long it must be well before the back-off starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<Time>,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl Restart {
    fn is_usual(&self) -> bool {
        *self == Restart::default()
    }
}

/// What came of a service's image: the digest that it had when the app was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// `registry/name@sha256:…`.
    pub image: String,
    /// As the file has it.
    pub typed: String,
}

impl AppFile {
    /// Puts a digest in the place of every image. Fails where one is missing or is no digest.
    pub fn lock(self, mut images: BTreeMap<String, Locked>) -> Result<AppSpec, Error> {
        let mut services = BTreeMap::new();
        for (name, service) in self.services {
            let locked = images.remove(&name).ok_or_else(|| Error::Unlocked { service: name.clone() })?;
            (word::DIGEST.read)(&locked.image).map_err(|source| Error::Image { service: name.clone(), source })?;
            let (image, typed) = (locked.image, Some(locked.typed));
            services.insert(name, ServiceSpec { image, typed, settings: service.settings, unknown: Unknown::new() });
        }
        Ok(AppSpec { env: self.env, services, rollout: self.rollout, unknown: Unknown::new() })
    }

    /// From what the checker made of a file.
    pub(crate) fn of_checked(mut checked: Value) -> Result<Self, serde_json::Error> {
        let mut take = |key: &str| checked.get_mut(key).map(Value::take);
        let services: BTreeMap<String, Value> = take("services").map(serde_json::from_value).transpose()?.unwrap_or_default();
        let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        Ok(AppFile {
            name: text(take("app")).unwrap_or_default(),
            namespace: text(take("namespace")),
            env: take("env").map(serde_json::from_value).transpose()?.unwrap_or_default(),
            rollout: take("rollout").map(serde_json::from_value).transpose()?.unwrap_or_default(),
            services: services.into_iter().map(|(name, value)| Ok((name, ServiceFile::of_checked(value)?))).collect::<Result<_, _>>()?,
            origins: BTreeMap::new(),
        })
    }
}

impl ServiceFile {
    fn of_checked(value: Value) -> Result<Self, serde_json::Error> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let origin = match (text("image"), value.get("build"), text("static")) {
            (Some(image), ..) if word::is_file(image) => Origin::File(image.into()),
            (Some(image), ..) => Origin::Reference(image.into()),
            (None, Some(build), _) => Origin::Build(Build::deserialize(build)?),
            (None, None, Some(folder)) => Origin::Files(folder.into()),
            (None, None, None) => return Err(serde::de::Error::missing_field("image")),
        };
        Ok(ServiceFile { origin, settings: Settings::deserialize(value)? })
    }
}
