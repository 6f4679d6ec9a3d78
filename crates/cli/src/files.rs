//! The files that a person names: app files with their `.env`, or Kubernetes manifests.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use scheduler::app::{self, AppFile, Mistake, Mistakes, Parsed, Source};
use scheduler::kinds::Kind;
use serde_json::Value;

use crate::args;
use crate::cluster::{Cluster, name_of};
use crate::exit::Usage;
use crate::ship::there;

/// The largest file that is read; what makes sense of it has smaller bounds of its own.
const LARGEST: u64 = 4 << 20;

/// The kinds that people write files of, as error messages name them.
const DEPLOYED: [&str; 10] =
    ["App", "Deployment", "Job", "CronJob", "HorizontalPodAutoscaler", "Service", "Ingress", "ConfigMap", "Secret", "Namespace"];

/// What the files describe.
pub enum Documents {
    /// An app.
    App(Box<App>),
    /// Kubernetes objects, in their order.
    Objects(Vec<Object>),
}

/// An app file and where it lies.
pub struct App {
    /// What it says.
    pub file: AppFile,
    /// The folder that its paths start from.
    pub base: PathBuf,
}

/// A Kubernetes object of a kind that we know.
pub struct Object {
    /// Its kind.
    pub kind: &'static Kind,
    /// The whole object.
    pub value: Value,
}

impl App {
    /// The namespace to deploy to: an option's, else the file's, else the kubeconfig's.
    pub fn namespace(&self, cluster: &Cluster) -> String {
        match &self.file.namespace {
            Some(namespace) if !cluster.namespace_asked => namespace.clone(),
            _ => cluster.namespace.clone(),
        }
    }
}

impl Object {
    /// The namespace that it goes to.
    pub fn namespace(&self, cluster: &Cluster) -> String {
        self.value["metadata"]["namespace"].as_str().unwrap_or(&cluster.namespace).to_owned()
    }
}

/// The files that were named, else `app.yaml` of this folder.
pub fn chosen(files: &args::Files) -> Result<Vec<PathBuf>> {
    let named: Vec<PathBuf> = files.files.iter().chain(&files.more).cloned().collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let default = Path::new("app.yaml");
    if default.is_file() {
        return Ok(vec![default.to_owned()]);
    }
    bail!(Usage("no file was named, and there is no app.yaml in this folder; name one, or make a folder with `wctl new NAME`".into()))
}

/// Reads and parses; all mistakes at once.
pub fn parse(paths: &[PathBuf]) -> Result<Documents> {
    let sources = sources(paths)?;
    // As in Compose: all paths start from the first file's folder, and `.env` lies beside it.
    let base = paths
        .first()
        .and_then(|path| if path.is_dir() { Some(path.as_path()) } else { path.parent() })
        .map(Path::to_owned)
        .filter(|path| !path.as_os_str().is_empty());
    let base = base.unwrap_or_else(|| PathBuf::from("."));
    let (variables, unread) = match dotenv(&base) {
        Ok(variables) => (variables, None),
        Err(error) => (BTreeMap::new(), Some(error.downcast::<Mistakes>()?)),
    };
    let lookup = |name: &str| std::env::var(name).ok().or_else(|| variables.get(name).cloned());
    let parsed = app::parse(&sources, &lookup);
    if unread.is_some() || parsed.is_err() {
        let named = app::named_here(&sources, &lookup);
        return Err(all(unread, parsed.err(), there::beside_mistakes(&base, &named)).into());
    }
    match parsed? {
        Parsed::App(file) => Ok(Documents::App(Box::new(App { file: *file, base }))),
        Parsed::Kubernetes(_) => objects(&sources).map(Documents::Objects),
        Parsed::Compose => bail!(
            "{name} is a Compose file (`services:` without `app:`); `wctl convert {name} > app.yaml` makes an app file of it, and tells what stays in Docker",
            name = sources.first().map(|source| source.name.as_str()).unwrap_or_default()
        ),
    }
}

/// The mistakes of `.env`, then those of the files and of what they name, by where they stand.
fn all(env: Option<Mistakes>, files: Option<Mistakes>, named: Vec<Mistake>) -> Mistakes {
    let lacks = env.is_some();
    let mut rest: Vec<Mistake> = files.into_iter().flat_map(|mistakes| mistakes.0).chain(named).collect();
    // Whether a variable is set is not known where the file that sets it could not be read.
    rest.retain(|mistake| !(lacks && mistake.message.starts_with("the variable ")));
    let file = |mistake: &Mistake| mistake.place.as_ref().map(|place| place.file.clone());
    let order: Vec<_> = rest.iter().map(file).collect();
    rest.sort_by_key(|mistake| {
        let which = order.iter().position(|known| *known == file(mistake));
        (which, mistake.place.as_ref().map(|place| (place.line, place.column)))
    });
    Mistakes(env.into_iter().flat_map(|mistakes| mistakes.0).chain(rest).collect())
}

/// What lies in the files; of a folder all `.yaml`, `.yml` and `.json` files in it, in order of their names, as kubectl takes them.
pub fn sources(paths: &[PathBuf]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            for file in manifests_in(path)? {
                sources.push(source(&file)?);
            }
        } else {
            sources.push(source(path)?);
        }
    }
    Ok(sources)
}

fn manifests_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("opening {}", folder.display()))?;
    let is_manifest = |path: &PathBuf| {
        path.is_file() && path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_manifest).collect();
    if files.is_empty() {
        bail!("the folder {} holds no .yaml, .yml or .json file", folder.display());
    }
    // In a folder of an app its app file is meant.
    if let Some(app) = files.iter().find(|file| file.file_name().is_some_and(|name| name == "app.yaml")) {
        return Ok(vec![app.clone()]);
    }
    files.sort();
    Ok(files)
}

/// What lies in a file, or comes on stdin.
fn source(path: &Path) -> Result<Source> {
    let (mut bytes, name) = (Vec::new(), path.display().to_string());
    if path == Path::new("-") {
        std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).context("reading stdin")?;
        return Ok(Source::new("stdin", bytes));
    }
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("there is no file {name}"),
        _ => anyhow::Error::new(error).context(format!("opening {name}")),
    })?;
    // A file that is too large is only read as far as it takes to say so.
    file.take(LARGEST + 1).read_to_end(&mut bytes).with_context(|| format!("reading {name}"))?;
    if bytes.starts_with(b"\0asm") {
        bail!(
            "{name} is WebAssembly, not an app file; name it in one (`app: NAME` and `image: ./{name}`), or try it with `wctl run {name}`"
        );
    }
    Ok(Source::new(name, bytes))
}

fn dotenv(base: &Path) -> Result<BTreeMap<String, String>> {
    let path = base.join(".env");
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    Ok(app::env_file(&source(&path)?, &|name| std::env::var(name).ok())?)
}

fn objects(sources: &[Source]) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for source in sources {
        let text = std::str::from_utf8(&source.bytes).with_context(|| format!("reading {}", source.name))?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).with_context(|| format!("reading {}", source.name))?;
        for value in documents.into_iter().filter(|value| !value.is_null()) {
            unfold(value, &source.name, &mut objects)?;
        }
    }
    Ok(objects)
}

/// An object, or those of a List.
fn unfold(mut value: Value, file: &str, objects: &mut Vec<Object>) -> Result<()> {
    let (version, kind) = (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str().unwrap_or_default());
    if (version, kind) == ("v1", "List") {
        let Value::Array(items) = value["items"].take() else { bail!("{file}: the List has no items") };
        return items.into_iter().try_for_each(|item| unfold(item, file, objects));
    }
    let Some(known) = Kind::of(version, kind) else {
        bail!("{file}: wctl has no kind {kind} of {version}, so nothing was applied; it takes {}", DEPLOYED.join(", "))
    };
    if name_of(&value).is_empty() {
        bail!("{file}: a {kind} has no metadata.name, so nothing was applied");
    }
    objects.push(Object { kind: known, value });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let write = |(name, text): &(&str, &str)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let paths = files.iter().map(write).collect();
        (folder, paths)
    }

    #[test]
    fn variables_come_from_the_file_beside() {
        let (_folder, mut paths) =
            written(&[("app.yaml", "app: a\nimage: ghcr.io/x/${WCTL_TEST_NAME}:1\n"), (".env", "WCTL_TEST_NAME=y\n")]);
        paths.truncate(1);
        let Documents::App(app) = parse(&paths).unwrap() else { panic!("no app") };
        assert_eq!(app.file.services["a"].origin.typed(), "ghcr.io/x/y:1");
    }

    #[test]
    fn all_mistakes_are_told_at_once_whatever_file_they_are_in() {
        let app =
            "app: t\nreplicas: ${N}\nservices:\n  a: { image: ./a.wasm, replcas: 3 }\n  b: { image: ./core.wasm }\n  c: { build: ./c }\n";
        let (_folder, mut paths) = written(&[("t.yaml", app), (".env", "N=${NOPE}\nbad line\n"), ("core.wasm", "\0asm\u{1}\0\0\0")]);
        paths.truncate(1);
        let told = parse(&paths).err().unwrap().to_string();
        let heads: Vec<&str> = told.lines().filter(|line| line.contains(".yaml:") || line.contains(".env:")).collect();
        let want = [
            ".env:1:1: the variable NOPE is not set",
            ".env:2:1: this line is not NAME=value",
            "t.yaml:2:1: `replicas` belongs to a service",
            "t.yaml:4:15: there is no file",
            "t.yaml:4:25: ",
            "t.yaml:5:15: ",
            "t.yaml:6:15: the folder to build for c",
        ];
        assert!(heads.len() == want.len() && heads.iter().zip(want).all(|(head, want)| head.contains(want)), "{told}");
        assert!(heads[5].contains("core WebAssembly module"), "{told}");
    }

    #[test]
    fn manifests_and_lists_of_them_are_objects() {
        let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\n";
        let (_folder, paths) = written(&[("k.yaml", list)]);
        let Documents::Objects(objects) = parse(&paths).unwrap() else { panic!("no objects") };
        assert_eq!(objects.iter().map(|object| object.kind.kind).collect::<Vec<_>>(), ["ConfigMap", "Service"]);
        let (_folder, paths) = written(&[("k.yaml", "apiVersion: v1\nkind: Gizmo\nmetadata: {name: b}\n")]);
        assert!(parse(&paths).err().unwrap().to_string().contains("Gizmo"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = parse(&[PathBuf::from("/nowhere/app.yaml")]).err().unwrap();
        assert_eq!(format!("{error:#}"), "there is no file /nowhere/app.yaml");
    }
}
