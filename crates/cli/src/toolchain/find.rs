//! Finding the component that a build made, where the build does not say.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Where builds commonly leave what they make, besides the folder itself.
const PLACES: [&str; 6] = [".", "dist", "build", "out", "bin", "target"];

/// The one .wasm file in the usual places; among several, the one named as the service or `component.wasm`.
pub fn component(folder: &Path, service: &str) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = PLACES.iter().flat_map(|place| files(&folder.join(place))).collect();
    found.sort();
    if found.len() > 1 {
        let named = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == service || stem == "component");
        let mut chosen = found.iter().filter(|path| named(path));
        if let (Some(one), None) = (chosen.next(), chosen.next()) {
            return Ok(one.clone());
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!("the build of {service} left no .wasm file in {}; name the file that it makes with `output:`", folder.display()),
        several => {
            let names = several.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            bail!("the build of {service} left several .wasm files ({}); choose one with `output:`", names.join(", "))
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths.filter(|path| path.is_file() && path.extension().is_some_and(|extension| extension == "wasm")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_component_is_found_and_two_are_asked_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(component(path, "a").is_err());
        std::fs::create_dir(path.join("dist")).unwrap();
        std::fs::write(path.join("dist/x.wasm"), "").unwrap();
        assert!(component(path, "a").unwrap().ends_with("x.wasm"));
        std::fs::write(path.join("y.wasm"), "").unwrap();
        let text = component(path, "a").unwrap_err().to_string();
        assert!(text.contains("x.wasm") && text.contains("y.wasm") && text.contains("output:"), "{text}");
        std::fs::write(path.join("a.wasm"), "").unwrap();
        assert!(component(path, "a").unwrap().ends_with("a.wasm"));
    }
}
