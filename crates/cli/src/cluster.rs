//! A wctl server, as the verbs see it: objects in and out, watches, and its registry.

mod connect;
mod error;
mod patience;
mod reach;
mod steady;
mod together;
mod wait;
mod warnings;

use anyhow::{Context, Result, anyhow, bail};
use futures::io::AsyncBufRead;
use futures::stream::{BoxStream, StreamExt};
use futures::{AsyncBufReadExt, TryStreamExt};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::core::Status;
use scheduler::kinds::Kind;
use serde_json::Value;

pub use error::{Refused, code, no_namespace};
pub use reach::Reach;
pub use wait::{Deadline, Until};

use steady::Steady;
use warnings::Warned;

/// What `kubectl` asks for when it wants columns made by the server.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Whose fields are those that a deploy of manifests sets.
const MANAGER: &str = "wctl";

/// A server and who we are to it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    /// The namespace to work in, unless a file or an option says otherwise.
    pub namespace: String,
    /// Whether `namespace` was asked for, rather than being the default.
    pub namespace_asked: bool,
    /// For error messages: `https://127.0.0.1:6443`.
    pub endpoint: String,
    /// Registries: the server's own and all others.
    pub registry: artifact::registry::Client,
    warned: Warned,
}

/// Which objects of a kind.
#[derive(Debug, Clone, Default)]
pub struct Pick {
    /// As in `kubectl -l`.
    pub labels: Option<String>,
    /// As in `kubectl --field-selector`.
    pub fields: Option<String>,
}

impl Pick {
    /// Those with these labels.
    pub fn labels(selector: impl Into<String>) -> Pick {
        Pick { labels: Some(selector.into()), fields: None }
    }

    /// The one with this name.
    pub fn name(name: &str) -> Pick {
        Pick { labels: None, fields: Some(format!("metadata.name={name}")) }
    }
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub enum Change {
    /// The object is new or other than it was; as Table where a Table was asked for.
    Is(Value),
    /// The object is gone; its last state.
    Gone(Value),
}

impl Cluster {
    /// One object, if it is there.
    pub async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
        let got = self.json(Method::GET, &path(kind, Some(namespace), Some(name))?, &[], None).await;
        let found = absent_is_none(got).with_context(|| format!("reading {} {name}", kind.singular))?;
        // Any web server may answer 200 to anything.
        if found.as_ref().is_some_and(|object| object["kind"] != kind.kind) {
            bail!("the server at {} answers something that is no {}; is it a wctl server?", self.endpoint, kind.kind);
        }
        Ok(found)
    }

    /// One object; an error that names it if it is not there.
    pub async fn must_get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Value> {
        let missing = || {
            if kind.namespaced {
                anyhow!("there is no {} {name} in namespace {namespace}", kind.singular)
            } else {
                anyhow!("there is no {} {name}", kind.singular)
            }
        };
        self.get(kind, namespace, name).await?.ok_or_else(missing)
    }

    /// The List of all objects of a kind in a namespace (`None`: in all).
    pub async fn list(&self, kind: &Kind, namespace: Option<&str>, pick: &Pick) -> Result<Value> {
        let list = self.json(Method::GET, &path(kind, namespace, None)?, &query(pick), None).await;
        list.with_context(|| format!("listing {}", kind.plural))
    }

    /// The items of [`Cluster::list`].
    pub async fn items(&self, kind: &Kind, namespace: Option<&str>, pick: &Pick) -> Result<Vec<Value>> {
        let mut list = self.list(kind, namespace, pick).await?;
        Ok(match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        })
    }

    /// The columns that the server makes for people; one object with a name, else a list.
    pub async fn table(&self, kind: &Kind, namespace: Option<&str>, name: Option<&str>, pick: &Pick) -> Result<Value> {
        let request = self.request(Method::GET, &path(kind, namespace, name)?, &query(pick), TABLE, None)?;
        self.read(request).await
    }

    /// Makes an object. `dry_run` checks it and answers what it would have become.
    pub async fn create(&self, kind: &Kind, namespace: &str, object: &Value, dry_run: bool) -> Result<Value> {
        self.json(Method::POST, &path(kind, Some(namespace), None)?, &written(dry_run), Some(object)).await
    }

    /// Replaces an object, or makes it.
    pub async fn replace(&self, kind: &Kind, namespace: &str, name: &str, object: &Value, dry_run: bool) -> Result<Value> {
        self.json(Method::PUT, &path(kind, Some(namespace), Some(name))?, &written(dry_run), Some(object)).await
    }

    /// Server-side apply as the manager `wctl`: what the object names becomes so, what `wctl` named before and does not now goes, and what
    /// others set stays. An error of code 409 names who else owns a field that would change, unless `force`.
    pub async fn apply(&self, kind: &Kind, namespace: &str, name: &str, object: &Value, dry_run: bool, force: bool) -> Result<Value> {
        let mut query = written(dry_run);
        query.extend([("fieldManager", MANAGER.to_owned()), ("force", force.to_string())]);
        let mut request =
            self.request(Method::PATCH, &path(kind, Some(namespace), Some(name))?, &query, "application/json", Some(object))?;
        request.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/apply-patch+yaml"));
        self.read(request).await
    }

    /// Changes some fields of an object (RFC 7396) or, with `part`, of a subresource of it such as `scale`.
    pub async fn merge(&self, kind: &Kind, namespace: &str, name: &str, part: Option<&str>, patch: &Value) -> Result<Value> {
        let mut path = path(kind, Some(namespace), Some(name))?;
        part.iter().for_each(|part| path.push_str(&format!("/{part}")));
        self.json(Method::PATCH, &path, &[], Some(patch)).await
    }

    /// Deletes an object and what it owns; false if it was not there.
    pub async fn delete(&self, kind: &Kind, namespace: &str, name: &str) -> Result<bool> {
        let options = serde_json::json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
        let done = self.json(Method::DELETE, &path(kind, Some(namespace), Some(name))?, &[], Some(&options)).await;
        Ok(absent_is_none(done)?.is_some())
    }

    /// Changes after `version` (a resourceVersion), until the server ends the watch. An error of code 410 means: list again.
    pub async fn watch(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        pick: &Pick,
        version: &str,
        table: bool,
    ) -> Result<BoxStream<'static, Result<Change>>> {
        let mut query = query(pick);
        query.extend([("watch", "true".to_owned()), ("resourceVersion", version.to_owned())]);
        let accept = if table { TABLE } else { "application/json" };
        let stream = self.stream(&path(kind, namespace, None)?, &query, accept).await?;
        let changes = stream.lines().map_err(steady::told).try_filter_map(async |line| change(&line));
        Ok(changes.boxed())
    }

    /// Why a watch that was to go on is over.
    pub fn ended(&self) -> anyhow::Error {
        anyhow!("the server at {} ended the watch; run this again when it is back", self.endpoint)
    }

    /// A path that answers with text without end, such as a log.
    pub async fn stream(&self, path: &str, query: &[(&str, String)], accept: &str) -> Result<impl AsyncBufRead + Send + Unpin + use<>> {
        let request = self.request(Method::GET, path, query, accept, None)?;
        let stream = patience::answer(&self.endpoint, self.client.request_stream(request)).await?.map_err(|error| self.explain(error))?;
        Ok(Steady::new(Box::pin(stream), &self.endpoint))
    }

    /// Any path of the API, in and out as JSON.
    pub async fn json(&self, method: Method, path: &str, query: &[(&str, String)], body: Option<&Value>) -> Result<Value> {
        let request = self.request(method, path, query, "application/json", body)?;
        self.read(request).await
    }

    async fn read(&self, request: Request<Vec<u8>>) -> Result<Value> {
        let asked = async {
            let response = self.client.send(request.map(Into::into)).await?;
            self.warned.tell(response.headers());
            let whole = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            read(whole, &body)
        };
        patience::answer(&self.endpoint, asked).await?.map_err(|error| self.explain(error))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        accept: &str,
        body: Option<&Value>,
    ) -> Result<Request<Vec<u8>>> {
        let mut uri = path.to_owned();
        if !query.is_empty() {
            uri.push('?');
            uri.push_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish());
        }
        let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(uri).header(header::ACCEPT, accept).header(header::CONTENT_TYPE, content);
        let body = body.map(serde_json::to_vec).transpose().context("writing JSON")?;
        request.body(body.unwrap_or_default()).context("making a request")
    }
}

/// The namespace that an object says it lives in, else `default`.
pub fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or(scheduler::names::DEFAULT_NAMESPACE)
}

/// The name of an object.
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// `/apis/apps/v1/namespaces/default/deployments/hello`
pub fn path(kind: &Kind, namespace: Option<&str>, name: Option<&str>) -> Result<String> {
    let mut path = if kind.group.is_empty() { format!("/api/{}", kind.version) } else { format!("/apis/{}/{}", kind.group, kind.version) };
    if let (true, Some(namespace)) = (kind.namespaced, namespace) {
        path.push_str(&format!("/namespaces/{}", segment(namespace, "namespace")?));
    }
    path.push_str(&format!("/{}", kind.plural));
    if let Some(name) = name {
        path.push_str(&format!("/{}", segment(name, kind.singular)?));
    }
    Ok(path)
}

/// A name that may stand in a path: nothing in it can lead anywhere else.
fn segment<'a>(name: &'a str, what: &str) -> Result<&'a str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || !name.chars().all(plain) || name.chars().all(|c| c == '.') {
        bail!("`{name}` cannot be the name of a {what}: names are made of a-z, 0-9, `-` and `.`");
    }
    Ok(name)
}

fn query(pick: &Pick) -> Vec<(&'static str, String)> {
    let labels = pick.labels.iter().map(|labels| ("labelSelector", labels.clone()));
    labels.chain(pick.fields.iter().map(|fields| ("fieldSelector", fields.clone()))).collect()
}

/// As kubectl asks unless told otherwise: a field that the server does not know is a mistake.
fn written(dry_run: bool) -> Vec<(&'static str, String)> {
    let strict = ("fieldValidation", "Strict".to_owned());
    if dry_run { vec![strict, ("dryRun", "All".to_owned())] } else { vec![strict] }
}

/// What a server answered: JSON, or why not.
fn read(status: StatusCode, body: &[u8]) -> Result<Value, kube::Error> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(kube::Error::SerdeError);
    }
    let refusal = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(body);
        Status::failure(text.trim(), status.canonical_reason().unwrap_or_default()).with_code(status.as_u16())
    });
    Err(kube::Error::Api(refusal.boxed()))
}

fn absent_is_none(answer: Result<Value>) -> Result<Option<Value>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error::code(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A line of a watch; `None` for what only keeps it alive.
fn change(line: &str) -> Result<Option<Change>> {
    let mut event: Value = serde_json::from_str(line).context("reading a watch")?;
    let object = event["object"].take();
    match event["type"].as_str() {
        Some("ADDED" | "MODIFIED") => Ok(Some(Change::Is(object))),
        Some("DELETED") => Ok(Some(Change::Gone(object))),
        Some("ERROR") => Err(Refused::from_status(&object).into()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::kinds;

    #[test]
    fn paths_follow_kubernetes() {
        assert_eq!(path(&kinds::POD, Some("a"), Some("b")).unwrap(), "/api/v1/namespaces/a/pods/b");
        assert_eq!(path(&kinds::APP, Some("a"), None).unwrap(), "/apis/wctl.dev/v1/namespaces/a/apps");
        assert_eq!(path(&kinds::DEPLOYMENT, None, None).unwrap(), "/apis/apps/v1/deployments");
        assert_eq!(path(&kinds::NODE, Some("ignored"), Some("n")).unwrap(), "/api/v1/nodes/n");
    }

    #[test]
    fn a_name_never_leads_elsewhere() {
        for bad in ["../secrets", "a/b", "", "..", "a?b", "a b", "é"] {
            assert!(path(&kinds::POD, Some("default"), Some(bad)).is_err(), "{bad}");
            assert!(path(&kinds::POD, Some(bad), None).is_err(), "{bad}");
        }
    }

    #[test]
    fn watch_lines_become_changes() {
        assert!(matches!(change(r#"{"type":"ADDED","object":{"a":1}}"#).unwrap(), Some(Change::Is(object)) if object["a"] == 1));
        assert!(matches!(change(r#"{"type":"DELETED","object":{}}"#).unwrap(), Some(Change::Gone(_))));
        assert!(change(r#"{"type":"BOOKMARK","object":{}}"#).unwrap().is_none());
        let gone = change(r#"{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}"#).unwrap_err();
        assert_eq!(error::code(&gone), Some(410));
    }
}
