//! Whether all files and folders that an app file names are there, before anything is built or started.

use std::path::Path;

use anyhow::Result;
use scheduler::app::{FilePlace, Mistake, Mistakes, Origin};

use super::beside;
use crate::files::App;
use crate::print::chain;

/// Something of this machine that a service is made from, and where the app file names it.
pub struct Named<'a> {
    service: &'a str,
    origin: &'a Origin,
    place: Option<FilePlace>,
}

/// An error that shows every image that is no file, and every folder to build that is none, where the app file names it; and
/// then also every component that is broken.
pub fn check(app: &App) -> Result<()> {
    let named: Vec<Named> = named(app).collect();
    if named.iter().all(|named| missing(&app.base, named).is_none()) {
        return Ok(());
    }
    Err(Mistakes(mistakes(&app.base, named.into_iter())).into())
}

/// The same with what is known of files that have mistakes of their own.
pub fn beside_mistakes(base: &Path, origins: &[(String, Origin, FilePlace)]) -> Vec<Mistake> {
    mistakes(base, origins.iter().map(|(service, origin, place)| Named { service, origin, place: Some(place.clone()) }))
}

/// What an app file names of this machine.
pub fn named(app: &App) -> impl Iterator<Item = Named<'_>> {
    let services = app.file.services.iter();
    services.map(|(service, file)| Named { service, origin: &file.origin, place: app.file.origins.get(service).cloned() })
}

fn mistakes<'a>(base: &Path, named: impl Iterator<Item = Named<'a>>) -> Vec<Mistake> {
    let wrong = |named: Named| missing(base, &named).or_else(|| broken(base, &named)).map(|message| mistake(named.place, message));
    let mut mistakes: Vec<Mistake> = named.filter_map(wrong).collect();
    mistakes.sort_by(|a, b| a.place.cmp(&b.place));
    mistakes
}

/// A mistake where the app file names what is wrong.
pub fn mistake(place: Option<FilePlace>, message: String) -> Mistake {
    match place {
        Some(place) => Mistake::at(message, place),
        None => Mistake { path: String::new(), message, meant: None, later: false, place: None, other: None },
    }
}

fn missing(base: &Path, Named { service, origin, .. }: &Named) -> Option<String> {
    match origin {
        Origin::Reference(_) => None,
        Origin::File(path) => file(&beside(base, path)),
        Origin::Build(build) => {
            let folder = beside(base, &build.path);
            (!folder.is_dir()).then(|| format!("the folder to build for {service}, {}, is not there", folder.display()))
        }
        Origin::Files(path) => {
            let folder = beside(base, path);
            (!folder.is_dir()).then(|| format!("the folder of files of {service}, {}, is not there", folder.display()))
        }
    }
}

/// Why a file is no component. It costs a look at all of it, so nothing but what packs it asks as long as all is well.
fn broken(base: &Path, named: &Named) -> Option<String> {
    let Origin::File(path) = named.origin else { return None };
    super::pack(&beside(base, path)).err().map(|error| chain(&error))
}

/// What cannot be read for another reason is told when it is read.
fn file(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some(format!("{} is a folder, not a component", path.display()));
    }
    matches!(path.try_exists(), Ok(false)).then(|| format!("there is no file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Documents, parse};

    #[test]
    fn all_that_is_missing_is_told_at_once_where_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.yaml");
        let text = "app: t\nservices:\n  a: { image: ./a.wasm }\n  b:\n    build: { path: ./b }\n  c: { image: ghcr.io/acme/c:1 }\n  d: { image: . }\n";
        std::fs::write(&file, text.replace("image: . ", "image: ./there.wasm ")).unwrap();
        std::fs::write(folder.path().join("there.wasm"), "").unwrap();
        let Documents::App(app) = parse(std::slice::from_ref(&file)).unwrap() else { panic!("no app") };
        let told = check(&app).unwrap_err().to_string();
        let heads: Vec<&str> = told.lines().filter(|line| line.contains("t.yaml:")).collect();
        assert_eq!(heads.len(), 3, "{told}");
        assert!(heads[0].contains("t.yaml:3:15: there is no file") && heads[0].ends_with("a.wasm"), "{told}");
        assert!(heads[1].contains("t.yaml:5:20: the folder to build for b"), "{told}");
        assert!(heads[2].contains("t.yaml:7:15: ") && heads[2].contains("the file is empty"), "a broken one is told beside: {told}");
        assert!(told.contains("  a: { image: ./a.wasm }"), "{told}");
    }
}
