//! An app as the cluster keeps it: every image a digest. It is the `spec` of an App object, as JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Checker;
use super::file::{Settings, Unknown};
use super::mistake::{Found, Mistakes};
use super::rollout::Rollout;
use super::rules;
use super::tree::Node;

/// The `spec` of an App.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Environment variables that every service inherits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The services by name; at least one.
    pub services: BTreeMap<String, ServiceSpec>,
    /// How a change replaces pods.
    #[serde(default)]
    pub rollout: Rollout,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

/// One service of an AppSpec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// `registry/name@sha256:…`.
    pub image: String,
    /// The image as it stood in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub settings: Settings,
    #[serde(flatten)]
    #[doc(hidden)]
    pub unknown: Unknown,
}

impl AppSpec {
    /// Reads what came over the API as strictly as a file is read: all mistakes at once, each with its path
    /// (`spec.services.user.limits.memory`). A field that this version does not know is a mistake that names it.
    pub fn read(spec: &Value) -> Result<Self, Mistakes> {
        Self::read_named(None, spec)
    }

    pub(crate) fn read_named(app: Option<&str>, spec: &Value) -> Result<Self, Mistakes> {
        let node = Node::of_json(spec);
        let mut found = Found::new(&[]);
        let checked = Checker::of_spec(&mut found).spec(&node);
        rules::check(&node, app, false, &mut found);
        found.done()?;
        let unread = |why: &str| Mistakes::unread("spec", why);
        serde_json::from_value(checked.unwrap_or_default()).map_err(|error| unread(&error.to_string()))
    }

    /// The secrets that its services use, and the services that use each.
    pub fn secrets(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut secrets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, service) in &self.services {
            for secret in &service.settings.uses.secrets {
                secrets.entry(secret).or_default().insert(name);
            }
        }
        secrets
    }

    /// One sentence for each secret that is used but not there, with what to do.
    pub fn missing_secrets(&self, namespace: &str, there: &dyn Fn(&str) -> bool) -> Vec<String> {
        let sentence = |(secret, services): (&str, BTreeSet<&str>)| {
            let services = services.into_iter().collect::<Vec<_>>().join(" and ");
            format!("the secret {secret} of {services} is not in namespace {namespace}; set it with `wctl secret set {secret}`")
        };
        self.secrets().into_iter().filter(|(secret, _)| !there(secret)).map(sentence).collect()
    }
}

/// The App object to write for a spec.
pub fn app_object(spec: &AppSpec, name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "wctl.dev/v1",
        "kind": "App",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
}
