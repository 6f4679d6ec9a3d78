//! User names and passwords for registries: wctl's own file first, then the files and helpers that Docker and Podman keep.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use docker_credential::{CredentialRetrievalError as DockerError, DockerCredential};
use serde::{Deserialize, Serialize};

use crate::disk;

/// The version of wctl's own file.
const VERSION: u32 = 1;

/// How long a credential helper may take; some ask the user.
const HELPER: Duration = Duration::from_secs(60);

/// Where credentials are looked for. The default looks nowhere.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// What `wctl login` writes.
    pub login: Option<PathBuf>,
    /// Files of Docker's format, asked in order; missing ones are skipped.
    pub docker: Vec<PathBuf>,
}

/// What proves to a registry who we are. Its secret is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user with a password or a personal token.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token that is exchanged at the registry's token service.
    Identity(String),
}

/// Why credentials could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("{act} the login file {path}")]
    File {
        /// What was being done.
        act: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file's content.
    #[error("the login file {path} is malformed: correct or remove it, then run `wctl login` again")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// The file is of a later time.
    #[error("the login file {path} has version {version}, this wctl knows up to {VERSION}: use a newer wctl")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Docker's file or helper.
    #[error("asking Docker's configuration {path} for {registry}: {message}")]
    Docker {
        /// Which file.
        path: PathBuf,
        /// For which registry.
        registry: String,
        /// Why.
        message: String,
    },
    /// No file to write to.
    #[error("there is no login file to write to")]
    NoFile,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
            Credential::Identity(_) => f.write_str("Identity"),
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Logins {
    version: u32,
    #[serde(default)]
    registries: BTreeMap<String, Login>,
}

#[derive(Serialize, Deserialize)]
struct Login {
    user: String,
    password: String,
}

impl Store {
    /// The usual places: `login` for wctl, and Docker's and Podman's files of this user.
    pub fn of_user(login: impl Into<PathBuf>) -> Store {
        let docker = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".docker")));
        let podman = env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("containers").join("auth.json"));
        let docker = docker.map(|folder| folder.join("config.json"));
        Store { login: Some(login.into()), docker: docker.into_iter().chain(podman).collect() }
    }

    /// The credential for a registry's host (with port, if it has one), or nothing.
    pub async fn find(&self, registry: &str) -> Result<Option<Credential>, Error> {
        let (store, registry) = (self.clone(), registry.to_string());
        let search = tokio::task::spawn_blocking(move || store.search(&registry));
        match tokio::time::timeout(HELPER, search).await {
            Ok(found) => found.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
            Err(_) => Err(Error::Docker {
                path: self.docker.first().cloned().unwrap_or_default(),
                registry: String::new(),
                message: format!("the credential helper did not answer within {HELPER:?}"),
            }),
        }
    }

    fn search(&self, registry: &str) -> Result<Option<Credential>, Error> {
        if let Some(login) = self.read()?.registries.remove(registry) {
            return Ok(Some(Credential::Password { user: login.user, password: login.password }));
        }
        for path in &self.docker {
            for key in keys(registry) {
                if let Some(found) = from_docker(path, key)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Keeps a user name and password in wctl's file, which only this user can read.
    pub fn save(&self, registry: &str, user: &str, password: &str) -> Result<(), Error> {
        let mut logins = self.read()?;
        logins.registries.insert(registry.to_string(), Login { user: user.to_string(), password: password.to_string() });
        self.write(&logins)
    }

    /// Forgets what wctl's file holds for a registry. Answers whether it held something.
    pub fn remove(&self, registry: &str) -> Result<bool, Error> {
        let mut logins = self.read()?;
        let held = logins.registries.remove(registry).is_some();
        if held {
            self.write(&logins)?;
        }
        Ok(held)
    }

    /// The registries in wctl's file, with their users.
    pub fn list(&self) -> Result<Vec<(String, String)>, Error> {
        Ok(self.read()?.registries.into_iter().map(|(registry, login)| (registry, login.user)).collect())
    }

    fn read(&self) -> Result<Logins, Error> {
        let empty = Logins { version: VERSION, ..Logins::default() };
        let Some(path) = &self.login else { return Ok(empty) };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(empty),
            Err(source) => return Err(Error::File { act: "reading", path: path.clone(), source }),
        };
        let logins: Logins = serde_json::from_slice(&bytes).map_err(|source| Error::Malformed { path: path.clone(), source })?;
        match logins.version > VERSION {
            true => Err(Error::Newer { path: path.clone(), version: logins.version }),
            false => Ok(logins),
        }
    }

    fn write(&self, logins: &Logins) -> Result<(), Error> {
        let path = self.login.as_ref().ok_or(Error::NoFile)?;
        let fail = |source| Error::File { act: "writing", path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        let bytes = serde_json::to_vec_pretty(logins).map_err(|source| Error::Malformed { path: path.clone(), source })?;
        disk::write(path, &bytes).map_err(fail)
    }
}

/// The names under which Docker may keep a registry.
fn keys(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" => vec!["https://index.docker.io/v1/", "docker.io"],
        other => vec![other],
    }
}

fn from_docker(path: &Path, registry: &str) -> Result<Option<Credential>, Error> {
    let fail = |message: String| Error::Docker { path: path.to_path_buf(), registry: registry.to_string(), message };
    let file = match File::open(path) {
        Ok(file) => io::BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error.to_string())),
    };
    match docker_credential::get_credential_from_reader(file, registry) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Some(Credential::Password { user, password })),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credential::Identity(token))),
        Err(DockerError::NoCredentialConfigured | DockerError::ConfigNotFound) => Ok(None),
        // What helpers answer for a registry that they do not know, by their protocol.
        Err(DockerError::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => Ok(None),
        // The whole output may hold a secret.
        Err(DockerError::HelperFailure { helper, .. }) => Err(fail(format!("the helper {helper} failed"))),
        Err(DockerError::HelperCommunicationError) => Err(fail("its credential helper cannot be run".to_string())),
        Err(error) => Err(fail(error.to_string().to_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { user: user.to_string(), password: password.to_string() })
    }

    #[tokio::test]
    async fn a_login_is_kept_found_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { login: Some(folder.path().join("new").join("login.json")), docker: vec![] };
        assert_eq!(store.find("ghcr.io").await.unwrap(), None);
        store.save("ghcr.io", "ann", "secret").unwrap();
        store.save("localhost:5000", "bob", "other").unwrap();
        assert_eq!(store.find("ghcr.io").await.unwrap(), password("ann", "secret"));
        assert_eq!(store.list().unwrap(), [("ghcr.io".into(), "ann".into()), ("localhost:5000".into(), "bob".into())]);
        assert!(store.remove("ghcr.io").unwrap() && !store.remove("ghcr.io").unwrap());
        assert_eq!(store.find("ghcr.io").await.unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn the_login_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("login.json");
        Store { login: Some(path.clone()), docker: vec![] }.save("ghcr.io", "ann", "secret").unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn dockers_file_is_read_after_our_own() {
        let folder = tempfile::tempdir().unwrap();
        let docker = folder.path().join("config.json");
        // ann:first, hub:second
        let text = r#"{"auths":{"ghcr.io":{"auth":"YW5uOmZpcnN0"},"https://index.docker.io/v1/":{"auth":"aHViOnNlY29uZA=="},
            "id.example":{"identitytoken":"refresh"}}}"#;
        fs::write(&docker, text).unwrap();
        let store = Store { login: Some(folder.path().join("login.json")), docker: vec![folder.path().join("missing.json"), docker] };
        assert_eq!(store.find("ghcr.io").await.unwrap(), password("ann", "first"));
        assert_eq!(store.find("docker.io").await.unwrap(), password("hub", "second"));
        assert_eq!(store.find("id.example").await.unwrap(), Some(Credential::Identity("refresh".into())));
        assert_eq!(store.find("quay.io").await.unwrap(), None);
        store.save("ghcr.io", "own", "third").unwrap();
        assert_eq!(store.find("ghcr.io").await.unwrap(), password("own", "third"));
    }

    #[tokio::test]
    async fn malformed_files_and_missing_helpers_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let docker = folder.path().join("config.json");
        fs::write(&docker, r#"{"credHelpers":{"ghcr.io":"wctl-test-that-does-not-exist"}}"#).unwrap();
        let store = Store { login: Some(folder.path().join("login.json")), docker: vec![docker.clone()] };
        assert!(store.find("ghcr.io").await.unwrap_err().to_string().contains("helper cannot be run"));
        fs::write(&docker, "{").unwrap();
        assert!(store.find("ghcr.io").await.unwrap_err().to_string().contains("config.json"));
        fs::write(folder.path().join("login.json"), r#"{"version":9}"#).unwrap();
        assert!(matches!(store.find("ghcr.io").await, Err(Error::Newer { version: 9, .. })));
        fs::write(folder.path().join("login.json"), "no").unwrap();
        assert!(matches!(store.find("ghcr.io").await, Err(Error::Malformed { .. })));
    }

    #[test]
    fn secrets_are_never_printed() {
        let shown = format!("{:?} {:?}", password("ann", "hunter2"), Credential::Identity("hunter2".into()));
        assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
    }
}
