//! Whether all files and folders that an app file names are there, before anything is built or started.

use std::path::Path;

use anyhow::Result;
use scheduler::app::{FilePlace, Mistake, Mistakes, Origin};

use super::beside;
use crate::files::App;

/// An error that shows every image that is no file, and every folder to build that is none, where the app file names it.
pub fn check(app: &App) -> Result<()> {
    let wrong = |(name, service): (&String, _)| Some((app.file.origins.get(name).cloned(), problem(app, name, service)?));
    let mut wrong: Vec<(Option<FilePlace>, String)> =
        app.file.services.iter().map(|(name, service)| (name, &service.origin)).filter_map(wrong).collect();
    wrong.sort();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Mistakes(wrong.into_iter().map(mistake).collect()).into())
}

fn mistake((place, message): (Option<FilePlace>, String)) -> Mistake {
    match place {
        Some(place) => Mistake::at(message, place),
        None => Mistake { path: String::new(), message, meant: None, later: false, place: None, other: None },
    }
}

fn problem(app: &App, service: &str, origin: &Origin) -> Option<String> {
    match origin {
        Origin::Reference(_) => None,
        Origin::File(path) => file(&beside(app, path)),
        Origin::Build(build) => {
            let folder = beside(app, &build.path);
            (!folder.is_dir()).then(|| format!("the folder to build for {service}, {}, is not there", folder.display()))
        }
        Origin::Files(path) => {
            let folder = beside(app, path);
            (!folder.is_dir()).then(|| format!("the folder of files of {service}, {}, is not there", folder.display()))
        }
    }
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
        assert_eq!(heads.len(), 2, "{told}");
        assert!(heads[0].contains("t.yaml:3:15: there is no file") && heads[0].ends_with("a.wasm"), "{told}");
        assert!(heads[1].contains("t.yaml:5:20: the folder to build for b"), "{told}");
        assert!(told.contains("  a: { image: ./a.wasm }"), "{told}");
    }
}
