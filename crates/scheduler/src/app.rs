//! app.yaml to objects: the only place that knows its syntax.
//!
//! [`parse`] reads files into an [`AppFile`] (as typed, images may be tags), [`AppFile::lock`] makes it an [`AppSpec`] (digests
//! only), [`app_object`] wraps that into the App to write, [`expand`] turns an App into the Deployments, Services and
//! Ingresses that it stands for. [`keys`] is the table that the reader, the JSON [`schema`] and the reference for users share.

mod check;
pub mod convert;
mod diff;
mod difference;
mod documents;
mod expand;
mod file;
mod history;
mod job;
pub mod keys;
mod merge;
mod mistake;
pub mod problem;
pub mod quantity;
mod rollout;
pub mod route;
mod rules;
mod scale;
mod schema;
mod source;
mod spec;
pub mod target;
mod tree;
mod variables;
pub mod word;

pub use diff::{Change, Diff, Sort, diff};
pub use difference::difference;
pub(crate) use documents::json_of_yaml;
pub use documents::{Document, documents as read_documents};
pub use expand::expand;
pub use file::{AppFile, Build, Limits, Locked, Origin, Place, Probe, Restart, Sandbox, ServiceFile, Settings, Uses, Volume};
pub(crate) use history::without_replicas;
pub use history::{same_rollout, with_replicas_of};
pub use job::{Job, Overlap, job_name};
pub use mistake::{Mistake, Mistakes, Place as FilePlace};
pub use rollout::{OnFailure, Rollout};
pub use scale::Scale;
pub use schema::schema;
pub use source::{MOST_BYTES, Source};
pub use spec::{AppSpec, ServiceSpec, app_object};
pub use variables::{Lookup, env_file};

use check::Checker;
use mistake::Found;
use problem::Problem;
use source::Text;
use tree::{Kind, Node};

/// The most services that an App may have: its objects are written in one transaction, which holds 128 of them.
pub const MOST_SERVICES: usize = 25;
/// The most bytes of environment that a service may have: it is kept in the App, its Deployment, ReplicaSet and Pods.
pub const MOST_ENV: usize = 32 << 10;

/// What the files turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// An app.
    App(Box<AppFile>),
    /// Kubernetes objects: `apiVersion` and `kind` in each document. Holds the kinds in their order.
    Kubernetes(Vec<String>),
    /// `services` without `app`: a Compose file.
    Compose,
}

/// Why an App could not be locked or expanded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An image was not resolved.
    #[error("locking the app: service {service} has no image with a digest")]
    Unlocked {
        /// Which service.
        service: String,
    },
    /// An image has no digest.
    #[error("locking the app: service {service}")]
    Image {
        /// Which service.
        service: String,
        /// What is wrong with it.
        source: Problem,
    },
    /// The object is no App that a server has stamped.
    #[error("expanding an app: its {field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// The spec has mistakes.
    #[error("app {app} is not valid:\n{mistakes}")]
    Spec {
        /// The App's name.
        app: String,
        /// All of them.
        mistakes: Mistakes,
    },
}

/// What an App's service is called among objects: `app-service`, but just `app` for the one that has the App's name. It hangs on
/// nothing else, so that a service keeps its objects, and its pods, whatever services come and go beside it.
pub fn object_name(app: &str, service: &str) -> String {
    if service == app { app.to_owned() } else { format!("{app}-{service}") }
}

/// Reads app files, each over the one before, as Compose does: maps join, lists are appended, anything else is replaced by the later.
/// `lookup` gives the variables (the environment, then `.env`). Every mistake is found at once.
pub fn parse(sources: &[Source], lookup: &Lookup) -> Result<Parsed, Mistakes> {
    let (texts, unreadable): (Vec<_>, Vec<_>) = sources.iter().map(Text::of).partition(Result::is_ok);
    let unreadable: Vec<Mistake> = unreadable.into_iter().filter_map(Result::err).map(|mistake| *mistake).collect();
    if !unreadable.is_empty() {
        return Err(Mistakes(unreadable));
    }
    let texts: Vec<Text> = texts.into_iter().flatten().collect();
    let mut found = Found::new(&texts);
    let Some(mut files) = documents(&mut found) else { return found.done().map(|()| Parsed::Compose) };
    if let Some(kinds) = kubernetes(&files, &mut found) {
        return found.done().map(|()| Parsed::Kubernetes(kinds));
    }
    let Some(mut app) = one(&mut files, &mut found) else {
        found.done()?;
        return Err(Mistakes::unread(
            texts.first().map_or("app.yaml", |text| text.name),
            "the file holds nothing; the smallest app is\n  app: hello\n  image: ./hello.wasm",
        ));
    };
    if app.get("services").is_some() && app.get("app").is_none() {
        return found.done().map(|()| Parsed::Compose);
    }
    variables::replace(&mut app, lookup, &mut found);
    let long = app.get("services").is_some();
    merge::lengthen(&mut app, &mut found);
    let tables: &[_] = if long { &[keys::TOP] } else { &[keys::TOP, keys::SERVICE] };
    let checked = Checker::of_file(&mut found).map(tables, &app);
    rules::check(&app, app.get("app").and_then(Node::text), true, &mut found);
    found.done()?;
    let mut file = AppFile::of_checked(checked.unwrap_or_default()).map_err(|error| Mistakes::unread("app", &error.to_string()))?;
    file.origins = origins(&app, &texts).into_iter().map(|(service, _, place)| (service, place)).collect();
    Ok(Parsed::App(Box::new(file)))
}

/// What of this machine the services are made from, and where that is written, in files that may well have mistakes: those of
/// the files and those of what they name are best told together.
pub fn named_here(sources: &[Source], lookup: &Lookup) -> Vec<(String, Origin, FilePlace)> {
    let texts: Vec<Text> = sources.iter().filter_map(|source| Text::of(source).ok()).collect();
    // These are told by `parse`.
    let mut found = Found::new(&texts);
    let Some(mut files) = documents(&mut found) else { return Vec::new() };
    if kubernetes(&files, &mut found).is_some() {
        return Vec::new();
    }
    let Some(mut app) = one(&mut files, &mut found) else { return Vec::new() };
    variables::replace(&mut app, lookup, &mut found);
    merge::lengthen(&mut app, &mut found);
    let mut all = origins(&app, &texts);
    all.retain(|(_, origin, _)| !matches!(origin, Origin::Reference(_)));
    all
}

/// Where each service comes from, and where its image, or the folder to build it from, is written.
fn origins(app: &Node, texts: &[Text]) -> Vec<(String, Origin, FilePlace)> {
    let origin = |service: &Node| {
        let node = ["image", "build", "static"].into_iter().find_map(|key| service.get(key).map(|node| (key, node)));
        let (key, node) = node.map(|(key, node)| (key, node.get("path").unwrap_or(node)))?;
        let (text, at) = (node.text()?.to_owned(), node.at?);
        let origin = match key {
            "image" if word::is_file(&text) => Origin::File(text),
            "image" => Origin::Reference(text),
            "build" => Origin::Build(Build { path: text, command: None, output: None }),
            _ => Origin::Files(text),
        };
        Some((origin, texts.get(at.file)?.place(at.start, at.end)))
    };
    let services = app.get("services").map(Node::entries).unwrap_or_default();
    services.iter().filter_map(|service| origin(&service.value).map(|(origin, place)| (service.key.clone(), origin, place))).collect()
}

/// The documents of each file, without empty ones; none where a file is not YAML.
fn documents(found: &mut Found) -> Option<Vec<Vec<Node>>> {
    let files: Vec<Option<Vec<Node>>> = (0..found.texts().len()).map(|file| tree::read(file, found)).collect();
    let files: Option<Vec<_>> = files.into_iter().collect();
    files.map(|files| files.into_iter().map(|docs| docs.into_iter().filter(|d| !matches!(d.kind, Kind::Null)).collect()).collect())
}

/// The kinds of the documents, if they are Kubernetes objects.
fn kubernetes(files: &[Vec<Node>], found: &mut Found) -> Option<Vec<String>> {
    let kind = |node: &Node| node.get("apiVersion").and(node.get("kind")).map(|kind| kind.text().unwrap_or_default().to_owned());
    let all: Vec<(&Node, Option<String>)> = files.iter().flatten().map(|node| (node, kind(node))).collect();
    all.iter().any(|(_, kind)| kind.is_some()).then(|| {
        for (node, _) in all.iter().filter(|(_, kind)| kind.is_none()) {
            found.push(node.at, "", Problem::new("this document is no Kubernetes object (`apiVersion`, `kind`), but another one is"));
        }
        all.into_iter().filter_map(|(_, kind)| kind).collect()
    })
}

/// The files joined into one; none where they hold nothing.
fn one(files: &mut Vec<Vec<Node>>, found: &mut Found) -> Option<Node> {
    let mut app: Option<Node> = None;
    for documents in files.drain(..) {
        for (i, document) in documents.into_iter().enumerate() {
            if i > 0 {
                let problem = Problem::new("a second document starts here; an app file holds one");
                found.push(document.at, "", problem);
            } else if !matches!(document.kind, Kind::Map(_)) {
                found.push(document.at, "", Problem::new("expected keys like `app:` and `image:` at the top of the file"));
            } else if let Some(app) = &mut app {
                merge::one_app(app, &document, found);
                merge::over(app, document);
            } else {
                app = Some(document);
            }
        }
    }
    app
}
