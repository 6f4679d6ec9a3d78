//! The files of the cache. Code is only ever loaded after its keyed checksum agrees with what was asked for.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifact::Digest;
use bytes::Bytes;
use sha2::Sha256;
use wasmtime::component::Component;

use super::Error;
use crate::engine::{Abi, Kind};

/// `DIR/key`; `DIR/code/LAYER.KIND.cwasm` with a `.mac` beside it; `DIR/artifacts/LAYER.wasm`, whatever it holds; `DIR/notes/MANIFEST`, which says what layer
/// an artifact has.
pub struct Folder {
    code: PathBuf,
    artifacts: PathBuf,
    notes: PathBuf,
    key: [u8; 32],
}

/// What an artifact's layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A component, which needs this engine.
    Component(Abi),
    /// Files to serve.
    Files,
}

impl Holds {
    const WORDS: [(Holds, &str); 3] = [(Holds::Component(Abi::P2), "p2"), (Holds::Component(Abi::P3), "p3"), (Holds::Files, "files")];

    fn word(self) -> &'static str {
        Holds::WORDS.iter().find(|(holds, _)| *holds == self).map_or("", |(_, word)| word)
    }

    fn read(word: &str) -> Option<Holds> {
        Holds::WORDS.iter().find(|(_, known)| *known == word).map(|(holds, _)| *holds)
    }
}

/// What pruning removed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Each component's digest and the bytes of its files.
    pub layers: BTreeMap<Digest, u64>,
}

impl Pruned {
    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.layers.values().sum()
    }
}

fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { act, path, source }
}

impl Folder {
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let [code, artifacts, notes] = ["code", "artifacts", "notes"].map(|name| dir.join(name));
        for folder in [&code, &artifacts, &notes] {
            fs::create_dir_all(folder).map_err(io_error("making the folder", folder))?;
        }
        private(dir, 0o700).map_err(io_error("keeping private the folder", dir))?;
        let key = key(&dir.join("key"))?;
        [&code, &artifacts, &notes].into_iter().for_each(|folder| sweep(folder));
        Ok(Self { code, artifacts, notes, key })
    }

    /// The code of a component, if there is some that this folder's key vouches for, for this very engine. A file that is broken or
    /// foreign is as good as none: it is removed, and the code made anew.
    pub fn load(&self, engine: &wasmtime::Engine, layer: &Digest, kind: Kind) -> Option<Component> {
        let path = self.path(layer, kind);
        if !path.exists() {
            return None;
        }
        let loaded = self.open_code(engine, layer, kind);
        loaded
            .inspect_err(|reason| {
                tracing::warn!("{} is made anew: {reason}", path.display());
                self.remove(layer, kind);
            })
            .ok()
    }

    /// Code that was saved in this moment.
    ///
    /// # Errors
    /// In words.
    pub fn map_code(&self, engine: &wasmtime::Engine, layer: &Digest, kind: Kind) -> Result<Component, String> {
        deserialize(engine, &self.path(layer, kind)).map_err(|error| format!("{error:#}"))
    }

    fn open_code(&self, engine: &wasmtime::Engine, layer: &Digest, kind: Kind) -> Result<Component, String> {
        let path = self.path(layer, kind);
        let mac = fs::read(path.with_extension("mac")).map_err(|error| format!("its checksum cannot be read: {error}"))?;
        if !self.vouches(&path, &label(engine, layer, kind), &mac) {
            return Err("it is broken, or was not made here".into());
        }
        self.map_code(engine, layer, kind)
    }

    fn vouches(&self, path: &Path, label: &[u8], mac: &[u8]) -> bool {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(label);
        // With all cores: nothing else of a cold start takes as long.
        hasher.update_mmap_rayon(path).is_ok_and(|hasher| is_mac(hasher.finalize(), mac))
    }

    /// Writes code, whole or not at all.
    pub fn save(&self, engine: &wasmtime::Engine, layer: &Digest, kind: Kind, code: &[u8]) -> Result<(), Error> {
        let path = self.path(layer, kind);
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&label(engine, layer, kind)).update_rayon(code);
        write_whole(&path, code)?;
        write_whole(&path.with_extension("mac"), hasher.finalize().as_bytes())
    }

    /// Removes code that is not needed any more. What cannot be removed while it is in use goes when the folder is pruned.
    pub fn remove(&self, layer: &Digest, kind: Kind) {
        let path = self.path(layer, kind);
        let _ = fs::remove_file(path.with_extension("mac"));
        let _ = fs::remove_file(&path);
    }

    fn path(&self, layer: &Digest, kind: Kind) -> PathBuf {
        self.code.join(format!("{}.{kind}.cwasm", layer.hex()))
    }

    /// A file beside the code, for a compiler's input or output; gone when it is dropped.
    pub fn scratch(&self, name: &str, bytes: &[u8]) -> Result<Scratch, Error> {
        let path = self.code.join(format!("{SCRATCH}{name}.{:016x}", rand::random::<u64>()));
        let scratch = Scratch(path);
        let written = create_new(&scratch.0).and_then(|mut file| file.write_all(bytes));
        written.map_err(io_error("writing", &scratch.0)).map(|()| scratch)
    }

    /// The bytes of a component, if they are here and still what their digest says.
    pub fn artifact(&self, layer: &Digest) -> Option<Bytes> {
        let path = self.file(layer);
        let wasm = fs::read(&path).ok()?;
        if Digest::of(&wasm) == *layer {
            return Some(wasm.into());
        }
        tracing::warn!("{} is broken, so it is fetched again", path.display());
        let _ = fs::remove_file(&path);
        None
    }

    /// Where an artifact's bytes lie, if they do.
    pub fn file(&self, layer: &Digest) -> PathBuf {
        self.artifacts.join(layer.hex()).with_extension("wasm")
    }

    /// Keeps what an artifact holds, and that it is this artifact's.
    pub fn keep(&self, manifest: &Digest, layer: &Digest, holds: Holds, bytes: &[u8]) -> Result<(), Error> {
        write_whole(&self.file(layer), bytes)?;
        let text = format!("{layer} {}", holds.word());
        let mac = blake3::keyed_hash(&self.key, note_label(manifest, &text).as_bytes());
        write_whole(&self.notes.join(manifest.hex()), format!("{text} {}", mac.to_hex()).as_bytes())
    }

    /// What layer an artifact has and what that holds, if this folder's key vouches for it.
    pub fn note(&self, manifest: &Digest) -> Option<(Digest, Holds)> {
        let note = fs::read_to_string(self.notes.join(manifest.hex())).ok()?;
        let (text, mac) = note.rsplit_once(' ')?;
        if !is_mac(blake3::keyed_hash(&self.key, note_label(manifest, text).as_bytes()), &hex::decode(mac).ok()?) {
            return None;
        }
        let (layer, word) = text.split_once(' ')?;
        Some((layer.parse().ok()?, Holds::read(word)?))
    }

    /// Removes, or lists, what belongs to no layer in `used` and to no artifact in `keep`.
    pub fn prune(&self, keep: &[Digest], mut used: HashSet<Digest>, dry_run: bool) -> Result<Pruned, Error> {
        used.extend(keep.iter().filter_map(|manifest| self.note(manifest)).map(|(layer, _)| layer));
        used.extend(keep);
        let mut pruned = Pruned::default();
        for (path, layer) in self.files()? {
            if used.contains(&layer) {
                continue;
            }
            *pruned.layers.entry(layer).or_default() += path.metadata().map_or(0, |about| about.len());
            if !dry_run {
                fs::remove_file(&path).map_err(io_error("removing", &path))?;
            }
        }
        Ok(pruned)
    }

    /// All files with the layer that each belongs to; a note belongs to the layer that it names.
    fn files(&self) -> Result<Vec<(PathBuf, Digest)>, Error> {
        let mut files = Vec::new();
        for folder in [&self.code, &self.artifacts, &self.notes] {
            for file in fs::read_dir(folder).map_err(io_error("reading the folder", folder))?.flatten() {
                let name = file.file_name();
                let digest = name.to_str().and_then(|name| format!("sha256:{}", name.split('.').next()?).parse::<Digest>().ok());
                let Some(digest) = digest else { continue };
                let layer = if folder == &self.notes { self.note(&digest).map_or(digest, |(layer, _)| layer) } else { digest };
                files.push((file.path(), layer));
            }
        }
        Ok(files)
    }
}

/// Compared in constant time.
fn is_mac(made: blake3::Hash, mac: &[u8]) -> bool {
    mac.try_into().is_ok_and(|mac: [u8; 32]| made == mac)
}

fn note_label(manifest: &Digest, text: &str) -> String {
    format!("wctl note 1\n{manifest}\n{text}\n")
}

/// A file that is removed when this is dropped.
pub struct Scratch(pub PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// How the names of files begin that a compiler reads or writes.
const SCRATCH: &str = ".";
/// How the names of files end that are being written.
const HALF: &str = ".tmp";
/// Nothing that is still at work is as old as this: compiling may take half of it.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

/// Removes what a process left that was killed. Another may be at work in the same folder, so what is young stays.
fn sweep(folder: &Path) {
    let old = |file: &fs::DirEntry| {
        let modified = file.metadata().and_then(|about| about.modified());
        modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_BEHIND))
    };
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let passing = |file: &fs::DirEntry| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.starts_with(SCRATCH) || name.ends_with(HALF)
    };
    for file in files.filter(|file| passing(file) && old(file)) {
        if let Err(error) = fs::remove_file(file.path()) {
            tracing::warn!("cannot remove {}: {error}", file.path().display());
        }
    }
}

/// What the code is for: another component, engine, setting, version or machine gives another checksum.
fn label(engine: &wasmtime::Engine, layer: &Digest, kind: Kind) -> Vec<u8> {
    let mut settings = Settings(Sha256::default());
    engine.precompile_compatibility_hash().hash(&mut settings);
    let settings = sha2::Digest::finalize(settings.0);
    let target = (std::env::consts::ARCH, std::env::consts::OS);
    // wasmtime counts its own version among its settings.
    format!("wctl code 1\n{layer}\n{kind}\n{target:?}\n{}\n", hex::encode(settings)).into_bytes()
}

/// Feeds what wasmtime hashes of its settings to SHA-256.
struct Settings(Sha256);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        sha2::Digest::update(&mut self.0, bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Maps code that was vouched for.
#[allow(unsafe_code, reason = "wasmtime cannot check code that it maps; the checksum can")]
fn deserialize(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by this program from wasmtime's own compiler, for this engine: either in this moment,
    // or its keyed checksum, which covers the component's digest, the engine's settings and wasmtime's version, has just been verified. The folder and the
    // key are readable and writable by this user alone, so nobody else can have made the file or change it while it is mapped.
    unsafe { Component::deserialize_file(engine, path) }
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = Scratch(path.with_extension(format!("{:016x}{HALF}", rand::random::<u64>())));
    let written = create_new(&temporary.0).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary.0, path)).map_err(io_error("writing", path))
}

/// The folder's secret, made on first use.
fn key(path: &Path) -> Result<[u8; 32], Error> {
    match fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => return private(path, 0o600).map_err(io_error("keeping private", path)).map(|()| key),
            // Half a key vouches for nothing; with a new one all code is made anew.
            Err(_) => tracing::warn!("{} is not a key, so a new one is made", path.display()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("reading", path)(error)),
    }
    let mut key = [0; 32];
    rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut key)
        .map_err(|error| io_error("making", path)(io::Error::other(error)))?;
    write_whole(path, &key)?;
    Ok(key)
}

/// A new file that only this user can read.
fn create_new(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Keeps others out. On Windows the profile's own permissions do.
fn private(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    #[cfg(not(unix))]
    let _ = (path, mode);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_young_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        Folder::open(dir.path()).expect("a new cache");
        let code = dir.path().join("code");
        let old = SystemTime::now() - 2 * LEFT_BEHIND;
        for (name, at) in [(".input.1", old), ("a.2.tmp", old), ("a.cwasm", old), (".input.3", SystemTime::now())] {
            File::create(code.join(name)).and_then(|file| file.set_modified(at)).expect("a file");
        }
        Folder::open(dir.path()).expect("the cache again");
        let mut left: Vec<_> = fs::read_dir(code).expect("its files").flatten().map(|file| file.file_name()).collect();
        left.sort();
        assert_eq!(left, [".input.3", "a.cwasm"]);
    }
}
