//! `wctl deploy`: builds, packs, pushes, shows the difference, writes, and waits. `up` goes the same way.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use scheduler::app::{self, AppSpec, Diff};
use scheduler::{kinds, names};
use serde_json::{Value, json};

use crate::args::{self, Format, Globals};
use crate::cluster::{Cluster, Deadline, code, name_of, no_namespace};
use crate::files::{self, App, Documents, Object};
use crate::home::Home;
use crate::{follow, print, ship, urls};

/// How to deploy.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Change nothing.
    pub dry_run: bool,
    /// Take over fields of manifests that belong to somebody else.
    pub force: bool,
    /// Wait until this.
    pub wait: Option<Deadline>,
    /// Sentences, or objects as JSON or YAML; nothing where the caller tells.
    pub format: Option<Format>,
}

impl How {
    /// Whether people read along.
    fn says(&self) -> bool {
        matches!(self.format, Some(Format::Table | Format::Wide))
    }
}

/// Deploys the files, or the app.yaml of this folder.
pub async fn run(globals: &Globals, deploy: args::Deploy) -> Result<()> {
    let paths = files::chosen(&deploy.files)?;
    let wait = deploy.wait.wait.unwrap_or_else(print::is_watched) && !deploy.dry_run;
    let how = How {
        dry_run: deploy.dry_run,
        force: deploy.force,
        wait: wait.then(|| Deadline::after(deploy.wait.timeout)),
        format: Some(deploy.output.output),
    };
    let documents = checked(&paths)?;
    let cluster = Cluster::connect_to_write(globals).await?;
    for written in documents_to(&cluster, documents, how).await? {
        let gateway = Home::of(globals)?.gateway(&cluster.endpoint);
        if how.wait.is_some() && how.says() {
            urls::of_spec(&written["spec"], gateway.as_deref()).iter().for_each(print::line);
        }
    }
    Ok(())
}

/// Deploys what files describe; answers the objects as they were written.
pub async fn documents_to(cluster: &Cluster, documents: Documents, how: How) -> Result<Vec<Value>> {
    match documents {
        Documents::App(app) => Ok(vec![whole(cluster, *app, how).await?]),
        Documents::Objects(list) => objects(cluster, list, how).await,
    }
}

/// What runs, what shall run, and where.
pub struct Planned {
    /// The App's name.
    pub name: String,
    /// Where it goes.
    pub namespace: String,
    /// The App that the server has, if it has one.
    pub old: Option<Value>,
    /// What shall be.
    pub new: AppSpec,
    /// What is different.
    pub diff: Diff,
    /// A sentence for each secret that it uses and its namespace does not have.
    pub missing: Vec<String>,
}

/// Builds and resolves, and compares with what the server has. With `push` the server's registry gets what was made here.
pub async fn plan(cluster: &Cluster, app: App, push: bool) -> Result<Planned> {
    let (name, namespace) = (app.file.name.clone(), app.namespace(cluster));
    must_be_there(cluster, &namespace).await?;
    let components = ship::components(&app).await?;
    let new = ship::lock(app, &namespace, components, &cluster.registry, push).await?;
    let old = cluster.get(&kinds::APP, &namespace, &name).await?;
    // A newer version may have written what this one cannot read; then everything counts as new.
    let before = old.as_ref().and_then(|old| serde_json::from_value::<AppSpec>(old["spec"].clone()).ok());
    let diff = app::diff(before.as_ref(), &new);
    let missing = missing(cluster, &namespace, &new).await?;
    Ok(Planned { name, namespace, old, new, diff, missing })
}

/// An error if there is no such namespace: better said before anything is built.
async fn must_be_there(cluster: &Cluster, namespace: &str) -> Result<()> {
    match cluster.get(&kinds::NAMESPACE, namespace, namespace).await {
        Ok(None) => bail!(no_namespace(namespace)),
        // Who may deploy need not be one who may read namespaces.
        Err(error) if code(&error) == Some(403) => Ok(()),
        found => found.map(drop),
    }
}

/// An app may come before its secrets, and its pods wait for them; better said now than when the rollout's time is up.
async fn missing(cluster: &Cluster, namespace: &str, spec: &AppSpec) -> Result<Vec<String>> {
    if spec.secrets().is_empty() {
        return Ok(Vec::new());
    }
    match cluster.get(&kinds::SECRET, namespace, names::SECRETS).await {
        Ok(secrets) => {
            Ok(spec.missing_secrets(namespace, &|name| secrets.as_ref().is_some_and(|secrets| secrets["data"].get(name).is_some())))
        }
        // Who may deploy need not be one who may read secrets.
        Err(error) if code(&error) == Some(403) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn whole(cluster: &Cluster, app: App, how: How) -> Result<Value> {
    let planned = plan(cluster, app, !how.dry_run).await?;
    let Planned { name, namespace, old, new, diff, missing } = &planned;
    let sentences = how.says();
    if sentences {
        show(&planned);
    }
    missing.iter().for_each(|sentence| print::warn(print::harmless(sentence)));
    let mut object = app::app_object(new, name, namespace);
    if let Some(old) = old {
        carry(old, &mut object);
    }
    let written = cluster.replace(&kinds::APP, namespace, name, &object, how.dry_run).await;
    let written = written.with_context(|| format!("{} app {name}", if how.dry_run { "checking" } else { "writing" }))?;
    if !sentences {
        printed(&written, how.format)?;
    } else if how.dry_run {
        print::line(format_args!("app {name} would be {} (dry run, nothing was changed)", if old.is_some() { "changed" } else { "made" }));
    } else if old.is_some() && diff.is_empty() {
        print::line(format_args!("app {name} is unchanged"));
    } else {
        print::line(format_args!(
            "app {name} is {} (revision {})",
            if old.is_some() { "changed" } else { "made" },
            written["metadata"]["generation"]
        ));
    }
    if let Some(deadline) = how.wait {
        let generation = written["metadata"]["generation"].as_i64().unwrap_or(0);
        follow::app(cluster, namespace, name, generation, deadline).await?;
        if sentences {
            print::line(format_args!("app {name} is {}", print::good("ready")));
        }
    }
    Ok(written)
}

/// The difference, for people; nothing where there is none.
pub fn show(planned: &Planned) {
    if !planned.diff.is_empty() {
        planned.diff.to_string().lines().for_each(|line| print::note(print::harmless(line)));
    }
}

/// What others put on the App's metadata stays; why it was once rolled back does not.
fn carry(old: &Value, new: &mut Value) {
    for field in ["labels", "annotations"] {
        let kept = old["metadata"][field].as_object().cloned().unwrap_or_default();
        let kept: serde_json::Map<_, _> = kept.into_iter().filter(|(key, _)| key != scheduler::names::ROLLED_BACK).collect();
        if !kept.is_empty() {
            new["metadata"][field] = Value::Object(kept);
        }
    }
}

fn printed(object: &Value, format: Option<Format>) -> Result<()> {
    let Some(format) = format else { return Ok(()) };
    if format == Format::Name {
        print::line(format_args!("{}/{}", object["kind"].as_str().unwrap_or_default().to_lowercase(), name_of(object)));
        return Ok(());
    }
    print::value(object, format)
}

async fn objects(cluster: &Cluster, list: Vec<Object>, how: How) -> Result<Vec<Value>> {
    // All of them are checked by the server before the first is written, but for those whose namespace comes with them.
    let made: Vec<&str> = list.iter().filter(|object| *object.kind == kinds::NAMESPACE).map(|object| name_of(&object.value)).collect();
    for object in &list {
        match apply(cluster, object, true, how.force).await {
            Err(error) if code(&error) == Some(404) && made.contains(&object.namespace(cluster).as_str()) => {}
            checked => drop(checked?),
        }
    }
    let mut written = Vec::new();
    for object in &list {
        let Applied { before, now, changes } = apply(cluster, object, how.dry_run, how.force).await?;
        match how.format {
            _ if how.says() => {
                print::line(format_args!("{} {}{}", said(object), before.word(), if how.dry_run { " (dry run)" } else { "" }));
                changes.iter().for_each(|line| print::line(format_args!("  {}", print::harmless(line))));
            }
            // A later one may be refused, and this one is told then.
            Some(Format::Name) => printed(&now, how.format)?,
            _ => {}
        }
        written.push(now);
    }
    match (how.format, &written[..]) {
        (Some(Format::Json | Format::Yaml), [one]) => printed(one, how.format)?,
        (Some(format @ (Format::Json | Format::Yaml)), all) => {
            print::value(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": all}), format)?;
        }
        _ => {}
    }
    if let Some(deadline) = how.wait {
        for object in list.iter().filter(|object| *object.kind == kinds::DEPLOYMENT) {
            follow::deployment(cluster, &object.namespace(cluster), name_of(&object.value), deadline).await?;
            if how.says() {
                print::line(format_args!("{} is {}", said(object), print::good("ready")));
            }
        }
    }
    Ok(written)
}

fn said(object: &Object) -> String {
    format!("{} {}", object.kind.singular, name_of(&object.value))
}

/// What applying manifests would change: for each object its name, what becomes of it, and the fields that differ.
pub async fn differences(cluster: &Cluster, list: &[Object]) -> Result<Vec<(String, &'static str, Vec<String>)>> {
    let mut all = Vec::new();
    for object in list {
        let applied = apply(cluster, object, true, true).await?;
        all.push((said(object), applied.before.word(), applied.changes));
    }
    Ok(all)
}

/// What came of applying an object.
struct Applied {
    before: Before,
    now: Value,
    /// The fields that differ, one line each; none of an object that is new.
    changes: Vec<String>,
}

/// What a manifest's object was before it was applied.
enum Before {
    Absent,
    Other,
    Same,
}

impl Before {
    fn word(&self) -> &'static str {
        match self {
            Before::Absent => "is made",
            Before::Other => "is changed",
            Before::Same => "is unchanged",
        }
    }
}

/// Makes the object, or applies what the file says of it; what others set, a `kubectl scale` for one, stays where the file is silent.
async fn apply(cluster: &Cluster, object: &Object, dry_run: bool, force: bool) -> Result<Applied> {
    let (kind, namespace, name) = (object.kind, object.namespace(cluster), name_of(&object.value));
    let mut value = object.value.clone();
    if kind.namespaced {
        value["metadata"]["namespace"] = json!(namespace);
    }
    let old = cluster.get(kind, &namespace, name).await?;
    let now = cluster.apply(kind, &namespace, name, &value, dry_run, force).await;
    let now = now.map_err(|error| if code(&error) == Some(409) && !force { error.context(OTHERS) } else { error });
    let now = now.with_context(|| format!("applying {}", said(object)))?;
    let changes = old.as_ref().map(|old| app::difference(old, &now)).unwrap_or_default();
    let before = match old {
        None => Before::Absent,
        Some(_) if changes.is_empty() => Before::Same,
        Some(_) => Before::Other,
    };
    Ok(Applied { before, now, changes })
}

/// What to do about fields of others.
const OTHERS: &str =
    "somebody else has set fields that the file names otherwise: leave them out of the file, or take them over with --force";

/// The files of `up`, parsed before anything is started; none means that what was there runs on.
pub fn parsed(files: &[PathBuf]) -> Result<Option<Documents>> {
    if files.is_empty() { Ok(None) } else { checked(files).map(Some) }
}

/// Files whose mistakes are all told, that something which they name is missing included.
pub fn checked(files: &[PathBuf]) -> Result<Documents> {
    let documents = files::parse(files)?;
    if let Documents::App(app) = &documents {
        ship::there::check(app)?;
    }
    Ok(documents)
}

/// An error if the files are manifests.
pub fn must_be_app(documents: Documents) -> Result<App> {
    match documents {
        Documents::App(app) => Ok(*app),
        Documents::Objects(_) => bail!("these are Kubernetes manifests; this verb takes an app file (`app: NAME`)"),
    }
}
