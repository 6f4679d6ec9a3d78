//! A guest's environment: plain values, Secrets and ConfigMaps, put together when it starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, EnvVar, Secret};
use kube::{Api, Client};

use super::pod::Wanted;

/// Variables in the order in which they were declared.
pub type Env = Vec<(String, String)>;

/// Why an environment could not be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What a variable names is not there.
    #[error("{0}")]
    Missing(String),
    /// The API did not answer.
    #[error("cannot read {what}: {why}")]
    Away {
        /// `secret wctl-secrets` …
        what: String,
        /// What went wrong.
        why: String,
    },
}

/// Which of the two kinds of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Secret => "secret",
            Kind::ConfigMap => "configmap",
        }
    }
}

/// Where Secrets and ConfigMaps are read.
#[async_trait]
pub trait Values: Send + Sync {
    /// The keys and values of an object, or `None` when there is none.
    async fn values(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, String>;
}

#[async_trait]
impl Values for Client {
    async fn values(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
        let told = |error: kube::Error| error.to_string();
        Ok(match kind {
            Kind::Secret => {
                let secret = Api::<Secret>::namespaced(self.clone(), namespace).get_opt(name).await.map_err(told)?;
                secret.map(|secret| secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
            }
            Kind::ConfigMap => {
                let map = Api::<ConfigMap>::namespaced(self.clone(), namespace).get_opt(name).await.map_err(told)?;
                map.map(|map| {
                    let plain = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
                    plain.chain(map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0))).collect()
                })
            }
        })
    }
}

/// The environment of a pod.
///
/// # Errors
/// When something that is not optional is missing (it is named), or the API does not answer.
pub async fn resolve(wanted: Arc<Wanted>, node: String, values: Arc<dyn Values>) -> Result<Env, Error> {
    let mut reader = Reader { values, namespace: wanted.identity.namespace.clone(), read: BTreeMap::new() };
    let mut env = Env::new();
    for from in &wanted.env_from {
        if let Some(secret) = &from.secret_ref {
            reader.add(Kind::Secret, &secret.name, secret.optional, from.prefix.as_deref(), &mut env).await?;
        }
        if let Some(map) = &from.config_map_ref {
            reader.add(Kind::ConfigMap, &map.name, map.optional, from.prefix.as_deref(), &mut env).await?;
        }
    }
    for variable in &wanted.env {
        if let Some(value) = value(variable, &wanted, &node, &env, &mut reader).await? {
            set(&mut env, variable.name.clone(), value);
        }
    }
    Ok(env)
}

async fn value(variable: &EnvVar, wanted: &Wanted, node: &str, env: &Env, reader: &mut Reader) -> Result<Option<String>, Error> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), env)));
    };
    if let Some(key) = &from.secret_key_ref {
        return reader.one(Kind::Secret, &key.name, &key.key, key.optional.unwrap_or(false)).await;
    }
    if let Some(key) = &from.config_map_key_ref {
        return reader.one(Kind::ConfigMap, &key.name, &key.key, key.optional.unwrap_or(false)).await;
    }
    if let Some(amount) = &from.resource_field_ref {
        return amount_of(&amount.resource, amount.divisor.as_ref().map(|divisor| divisor.0.as_str()), wanted).map(Some);
    }
    let path = from.field_ref.as_ref().map(|field| field.field_path.as_str()).unwrap_or_default();
    let identity = &wanted.identity;
    Ok(Some(match path {
        "metadata.name" => identity.pod.clone(),
        "metadata.namespace" => identity.namespace.clone(),
        "metadata.uid" => identity.uid.clone(),
        "spec.nodeName" => node.to_owned(),
        _ => return Err(Error::Missing(format!("variable {} comes from a field that is not offered: {path}", variable.name))),
    }))
}

/// `limits.memory` in bytes and `limits.cpu` in cores, whole numbers rounded up, or in units of a divisor.
fn amount_of(resource: &str, divisor: Option<&str>, wanted: &Wanted) -> Result<String, Error> {
    let unknown = || Error::Missing(format!("{resource} is not offered: there are limits.memory and limits.cpu"));
    let divisor = divisor.filter(|divisor| !divisor.is_empty() && *divisor != "0").unwrap_or("1");
    let (amount, unit) = match resource {
        "limits.memory" | "requests.memory" => (wanted.spec.memory, scheduler::model::parse_memory(divisor)),
        "limits.cpu" | "requests.cpu" => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
            (wanted.spec.cpu.map_or(cores * 1000, u64::from), scheduler::model::parse_cpu(divisor))
        }
        _ => return Err(unknown()),
    };
    Ok(amount.div_ceil(unit.filter(|unit| *unit > 0).ok_or_else(unknown)?).to_string())
}

/// `$(NAME)` is another variable's value, `$$(NAME)` is itself with one `$` less; what is not known stays as it is.
fn expand(text: &str, env: &Env) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        if let Some(escaped) = rest.strip_prefix("$$") {
            out.push('$');
            rest = escaped;
        } else if let Some((name, after)) = name
            && let Some((_, value)) = env.iter().find(|(known, _)| known == name)
        {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out + rest
}

fn set(env: &mut Env, name: String, value: String) {
    env.retain(|(known, _)| *known != name);
    env.push((name, value));
}

fn text(kind: Kind, name: &str, key: &str, value: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(value).map_err(|_| Error::Missing(format!("{} {name} has a value under {key} that is not text", kind.name())))
}

/// Reads each object once for one environment.
struct Reader {
    values: Arc<dyn Values>,
    namespace: String,
    read: BTreeMap<(Kind, String), Option<Data>>,
}

/// The values of one Secret or ConfigMap.
type Data = BTreeMap<String, Vec<u8>>;

impl Reader {
    async fn add(&mut self, kind: Kind, name: &str, optional: Option<bool>, prefix: Option<&str>, env: &mut Env) -> Result<(), Error> {
        let prefix = prefix.unwrap_or_default();
        for (key, value) in self.all(kind, name, optional.unwrap_or(false)).await? {
            set(env, format!("{prefix}{key}"), text(kind, name, &key, value)?);
        }
        Ok(())
    }

    async fn object(&mut self, kind: Kind, name: &str) -> Result<Option<&BTreeMap<String, Vec<u8>>>, Error> {
        let key = (kind, name.to_owned());
        if !self.read.contains_key(&key) {
            let away = |why| Error::Away { what: format!("{} {name}", kind.name()), why };
            let found = self.values.values(kind, &self.namespace, name).await.map_err(away)?;
            self.read.insert(key.clone(), found);
        }
        Ok(self.read.get(&key).and_then(Option::as_ref))
    }

    async fn all(&mut self, kind: Kind, name: &str, optional: bool) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let missing = format!("{} {name} does not exist in namespace {}", kind.name(), self.namespace);
        match self.object(kind, name).await? {
            Some(found) => Ok(found.clone()),
            None if optional => Ok(BTreeMap::new()),
            None => Err(Error::Missing(missing)),
        }
    }

    async fn one(&mut self, kind: Kind, name: &str, key: &str, optional: bool) -> Result<Option<String>, Error> {
        let namespace = self.namespace.clone();
        match self.object(kind, name).await?.map(|found| found.get(key).cloned()) {
            Some(Some(value)) => text(kind, name, key, value).map(Some),
            _ if optional => Ok(None),
            _ if kind == Kind::Secret && name == scheduler::names::SECRETS => {
                Err(Error::Missing(format!("secret {key} is not set in namespace {namespace}: set it with `wctl secret set {key}`")))
            }
            Some(None) => Err(Error::Missing(format!("{} {name} of namespace {namespace} has no key {key}", kind.name()))),
            None => Err(Error::Missing(format!("{} {name} does not exist in namespace {namespace}", kind.name()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Fixed;

    #[async_trait]
    impl Values for Fixed {
        async fn values(&self, _: Kind, _: &str, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
            let of = |pairs: &[(&str, &str)]| Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect());
            match name {
                "wctl-secrets" => Ok(of(&[("DB_URL", "postgres://db")])),
                "settings" => Ok(of(&[("LEVEL", "info"), ("MODE", "fast")])),
                "away" => Err("the server is away".into()),
                _ => Ok(None),
            }
        }
    }

    async fn env(container: serde_json::Value) -> Result<String, String> {
        let mut container = container;
        container["name"] = json!("web");
        container["image"] = json!("r/web@sha256:00");
        let pod = json!({"metadata": {"name": "web-1", "namespace": "default", "uid": "u1"}, "spec": {"containers": [container]}});
        let wanted = super::super::pod::wanted(&serde_json::from_value(pod).expect("a pod")).expect("readable");
        let env = resolve(Arc::new(wanted), "edge-1".into(), Arc::new(Fixed)).await.map_err(|error| error.to_string())?;
        Ok(env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[tokio::test]
    async fn values_come_from_where_they_are_declared() {
        let got = env(json!({
            "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "S_"}, {"secretRef": {"name": "none", "optional": true}}],
            "env": [{"name": "URL", "valueFrom": {"secretKeyRef": {"name": "wctl-secrets", "key": "DB_URL"}}},
                    {"name": "FULL", "value": "$(URL)/$(NONE)/$$(URL)"}, {"name": "S_MODE", "value": "slow"},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        }));
        assert_eq!(
            got.await.expect("resolved"),
            "S_LEVEL=info URL=postgres://db FULL=postgres://db/$(NONE)/$(URL) S_MODE=slow NODE=edge-1"
        );
    }

    #[tokio::test]
    async fn m14_a_missing_secret_is_named_and_how_to_set_it() {
        let secret = |name: &str, key: &str| json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}]});
        assert_eq!(
            env(secret("wctl-secrets", "API_KEY")).await.expect_err("missing"),
            "secret API_KEY is not set in namespace default: set it with `wctl secret set API_KEY`"
        );
        assert_eq!(env(secret("none", "X")).await.expect_err("missing"), "secret none does not exist in namespace default");
        assert!(env(secret("away", "X")).await.expect_err("away").contains("the server is away"));
    }
}
