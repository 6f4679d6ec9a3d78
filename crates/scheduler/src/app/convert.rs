//! From Kubernetes manifests, Compose files and spin.toml to an app file, and from an app file to manifests.
//!
//! What has no place in the result is told in a note each: nothing is dropped in silence.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use super::documents::Document;
use super::keys;

mod compose;
mod kubernetes;
mod manifests;
mod spin;

pub use manifests::manifests;
pub use spin::spin;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// YAML.
    pub text: String,
    /// Sentences: what was left out or has to be looked at, and why.
    pub notes: Vec<String>,
}

/// Why nothing came of it: a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

/// The app file of Kubernetes manifests or of a Compose file. `name` is the App's where the documents name none.
///
/// # Errors
/// When the documents are neither, or hold nothing to run.
pub fn app(documents: &[Document], name: &str) -> Result<Converted, Unfit> {
    if documents.iter().any(|document| document.value.get("apiVersion").is_some()) {
        return kubernetes::app(documents, name);
    }
    match documents {
        [one] if one.value.get("services").is_some() && one.value.get("app").is_none() => compose::app(&one.value, name),
        [one] if one.value.get("app").is_some() => {
            Err(Unfit("this is an app file already; with `--to kubernetes` it becomes manifests".into()))
        }
        _ => Err(Unfit("these are neither Kubernetes manifests (`apiVersion`, `kind`) nor a Compose file (`services`)".into())),
    }
}

/// A value whose keys keep their order, as people read an app file.
#[derive(Debug, Clone)]
enum Out {
    Plain(Value),
    Map(Vec<(String, Out)>),
    List(Vec<Out>),
}

impl Serialize for Out {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Out::Plain(value) => value.serialize(serializer),
            Out::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Out::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
        }
    }
}

impl<T: Into<Value>> From<T> for Out {
    fn from(value: T) -> Out {
        Out::Plain(value.into())
    }
}

/// A map that is written in the order in which it was filled.
#[derive(Debug, Clone, Default)]
struct Filled(Vec<(String, Out)>);

impl Filled {
    fn put(&mut self, key: &str, value: impl Into<Out>) {
        self.0.push((key.to_owned(), value.into()));
    }

    fn list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.0.push((key.to_owned(), Out::List(items.iter().map(|item| Out::from(item.as_str())).collect())));
        }
    }

    fn texts(&mut self, key: &str, map: &BTreeMap<String, String>) {
        if !map.is_empty() {
            let entries = map.iter().map(|(key, value)| (key.clone(), Out::from(value.as_str())));
            self.0.push((key.to_owned(), Out::Map(entries.collect())));
        }
    }

    fn map(&mut self, key: &str, map: Filled) {
        if !map.0.is_empty() {
            self.0.push((key.to_owned(), Out::Map(map.0)));
        }
    }
}

/// One service of the app file in the making.
#[derive(Debug, Clone, Default)]
struct Service {
    name: String,
    /// `image` or `build`, and what stands there.
    origin: Filled,
    replicas: Option<u64>,
    scale: Option<(u64, u64)>,
    route: Vec<String>,
    env: BTreeMap<String, String>,
    args: Vec<String>,
    probe: Filled,
    limits: Filled,
    keyvalue: Vec<String>,
    secrets: Vec<String>,
    connect: Vec<String>,
    call: Vec<String>,
    /// Where the guest sees each, and its size.
    volumes: BTreeMap<String, String>,
    spread: Option<String>,
    require: BTreeMap<String, String>,
}

impl Service {
    fn filled(&self) -> Filled {
        let mut out = self.origin.clone();
        match (self.scale, self.replicas) {
            (Some((min, max)), _) => {
                let mut scale = Filled::default();
                scale.put("min", min);
                scale.put("max", max);
                out.map("scale", scale);
            }
            (None, Some(replicas)) if replicas != 1 => out.put("replicas", replicas),
            _ => {}
        }
        match self.route.as_slice() {
            [one] => out.put("route", one.as_str()),
            several => out.list("route", several),
        }
        out.texts("env", &self.env);
        out.list("args", &self.args);
        out.map("probe", self.probe.clone());
        out.map("limits", self.limits.clone());
        out.map("uses", self.uses());
        let mut place = Filled::default();
        if let Some(spread) = &self.spread {
            place.put("spread", spread.as_str());
        }
        place.texts("require", &self.require);
        out.map("place", place);
        out
    }

    fn uses(&self) -> Filled {
        let mut uses = Filled::default();
        let lists = [("keyvalue", &self.keyvalue), ("secrets", &self.secrets), ("connect", &self.connect), ("call", &self.call)];
        for (key, items) in lists {
            let mut items = items.clone();
            items.sort();
            items.dedup();
            uses.list(key, &items);
        }
        let mut volumes = Filled::default();
        for (path, size) in &self.volumes {
            let mut volume = Filled::default();
            volume.put("size", size.as_str());
            volumes.map(path, volume);
        }
        uses.map("volumes", volumes);
        uses
    }
}

/// The app file of these services.
fn file(app: &str, namespace: Option<&str>, services: &[Service], rollout: Filled, notes: Vec<String>) -> Result<Converted, Unfit> {
    let mut out = Filled::default();
    out.put("app", app);
    if let Some(namespace) = namespace {
        out.put("namespace", namespace);
    }
    match services {
        [] => {
            return Err(Unfit(
                std::iter::once("nothing here can run as a component".to_owned()).chain(notes).collect::<Vec<_>>().join("\n"),
            ));
        }
        [one] if one.name == app => out.0.extend(one.filled().0),
        several => {
            let mut all = Filled::default();
            several.iter().for_each(|service| all.map(&service.name, service.filled()));
            out.map("services", all);
        }
    }
    out.map("rollout", rollout);
    let text = yaml(&Out::Map(out.0))?;
    Ok(Converted { text, notes })
}

fn yaml(value: &impl Serialize) -> Result<String, Unfit> {
    serde_saphyr::to_string(value).map_err(|error| Unfit(format!("writing YAML: {error}")))
}

/// Whether this wctl carries out a key of a service.
fn is_offered(key: &str) -> bool {
    keys::SERVICE.iter().any(|known| known.name == key && !known.later)
}

/// A name as apps and services have it: small letters, digits and `-`.
fn plain_name(text: &str) -> String {
    let letters: String = text.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let name = letters.trim_matches('-').to_owned();
    if name.is_empty() { "app".to_owned() } else { name }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A scalar as text: numbers and booleans as they are written.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
