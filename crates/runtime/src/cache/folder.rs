//! The files of the cache. Code is only ever loaded after its keyed checksum agrees with what was asked for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::Error;
use crate::engine::Kind;

/// `DIR/key`, `DIR/code/NAME.cwasm` with `NAME.mac` beside it.
pub struct Folder {
    code: PathBuf,
    key: hmac::Key,
}

/// What pruning removed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Each component's digest and the bytes of its files.
    pub layers: BTreeMap<String, u64>,
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
        let code = dir.join("code");
        fs::create_dir_all(&code).map_err(io_error("making the folder", &code))?;
        private(dir, 0o700).map_err(io_error("keeping private the folder", dir))?;
        let key = key(&dir.join("key"))?;
        Ok(Self { code, key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// The code of a component, if there is some that this folder's key vouches for, for this very engine. A file that is broken or
    /// foreign is as good as none: it is removed, and the code made anew.
    pub fn load(&self, engine: &wasmtime::Engine, layer: &str, kind: Kind) -> Option<Component> {
        let path = self.path(layer, kind);
        let mac = fs::read(path.with_extension("mac")).ok()?;
        let vouched = self.vouches(&path, &label(engine, layer, kind), &mac);
        let loaded = vouched.then(|| deserialize(engine, &path)).flatten();
        if loaded.is_none() {
            tracing::warn!("{} is broken or not ours, so it is made anew", path.display());
            let _ = fs::remove_file(path.with_extension("mac"));
            let _ = fs::remove_file(&path);
        }
        loaded
    }

    fn vouches(&self, path: &Path, label: &[u8], mac: &[u8]) -> bool {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(label);
        let read = File::open(path).and_then(|mut file| {
            let mut buffer = vec![0; 256 << 10];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => context.update(&buffer[..n]),
                }
            }
        });
        read.is_ok() && hmac::verify(&self.key, context.sign().as_ref(), mac).is_ok()
    }

    /// Writes code, whole or not at all.
    pub fn save(&self, engine: &wasmtime::Engine, layer: &str, kind: Kind, code: &[u8]) -> Result<(), Error> {
        let path = self.path(layer, kind);
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&label(engine, layer, kind));
        context.update(code);
        write_whole(&path, code)?;
        // Signed twice: ring verifies in constant time, but only messages that are in one piece.
        let mac = hmac::sign(&self.key, context.sign().as_ref());
        write_whole(&path.with_extension("mac"), mac.as_ref())
    }

    fn path(&self, layer: &str, kind: Kind) -> PathBuf {
        self.code.join(format!("{}.{kind}.cwasm", layer.trim_start_matches("sha256:")))
    }

    /// A file beside the code, for a compiler's input or output; gone when it is dropped.
    pub fn scratch(&self, name: &str, bytes: &[u8]) -> Result<Scratch, Error> {
        let path = self.code.join(format!(".{name}.{:016x}", rand::random::<u64>()));
        let scratch = Scratch(path);
        let written = create_new(&scratch.0).and_then(|mut file| file.write_all(bytes));
        written.map_err(io_error("writing", &scratch.0)).map(|()| scratch)
    }

    pub fn prune(&self, keep: &[String], dry_run: bool) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let files = fs::read_dir(&self.code).map_err(io_error("reading the folder", &self.code))?;
        for file in files.flatten() {
            let name = file.file_name();
            let Some(layer) = name.to_str().and_then(|name| name.split('.').next()).filter(|layer| layer.len() == 64) else { continue };
            let layer = format!("sha256:{layer}");
            if keep.contains(&layer) {
                continue;
            }
            if !dry_run {
                fs::remove_file(file.path()).map_err(io_error("removing", &file.path()))?;
            }
            *pruned.layers.entry(layer).or_default() += file.metadata().map_or(0, |about| about.len());
        }
        Ok(pruned)
    }
}

/// A file that is removed when this is dropped.
pub struct Scratch(pub PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What the code is for: another component, engine, setting, version or machine gives another checksum.
fn label(engine: &wasmtime::Engine, layer: &str, kind: Kind) -> Vec<u8> {
    let mut settings = Settings(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut settings);
    let settings = settings.0.finalize();
    let target = (std::env::consts::ARCH, std::env::consts::OS);
    // wasmtime counts its own version among its settings.
    format!("wctl code 1\n{layer}\n{kind}\n{target:?}\n{}\n", hex::encode(settings)).into_bytes()
}

/// Feeds what wasmtime hashes of its settings to SHA-256.
struct Settings(Sha256);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Maps code that was vouched for.
#[allow(unsafe_code)]
fn deserialize(engine: &wasmtime::Engine, path: &Path) -> Option<Component> {
    // SAFETY: the file was written by this program from wasmtime's own compiler, for this engine: its keyed checksum, which
    // covers the component's digest, the engine's settings and wasmtime's version, has just been verified. The folder and the
    // key are readable and writable by this user alone, so nobody else can have made the file or change it while it is mapped.
    unsafe { Component::deserialize_file(engine, path) }.inspect_err(|error| tracing::warn!("loading {}: {error:#}", path.display())).ok()
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = Scratch(path.with_extension(format!("{:016x}.tmp", rand::random::<u64>())));
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
    SystemRandom::new().fill(&mut key).map_err(|_| io_error("making", path)(io::Error::other("the system gives no randomness")))?;
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
