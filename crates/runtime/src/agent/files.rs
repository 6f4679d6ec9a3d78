//! Files of ConfigMaps and Secrets, laid out in a folder of the pod before its guest starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, Volume as PodVolume};
use scheduler::model;

use super::env::{Error, Kind, Values};
use crate::sandbox::{Dir, VolumeGrant};
use crate::volumes::{VolumeId, Volumes};

/// What an `emptyDir` without a `sizeLimit` may hold.
const SCRATCH: u64 = 64 << 20;
/// How long the API may take when the files of a life before are at hand.
const PATIENCE: Duration = Duration::from_secs(2);

/// The values of one object where a guest sees them as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Where the guest sees the folder: `/etc/app`.
    pub path: String,
    kind: Kind,
    name: String,
    optional: bool,
    /// Key and file, where only some are asked for.
    items: Option<Vec<(String, String)>>,
}

/// The files and the scratch folders that a pod mounts.
///
/// # Errors
/// When it mounts what a node does not offer.
pub fn read(pod: &Pod, container: &Container) -> Result<(Vec<Files>, Vec<VolumeGrant>), String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let (mut files, mut scratch) = (Vec::new(), Vec::new());
    for mount in container.volume_mounts.as_deref().unwrap_or_default() {
        let named = |volume: &&PodVolume| volume.name == mount.name;
        let volume = volumes.iter().find(named).ok_or_else(|| format!("there is no volume {} to mount", mount.name))?;
        let path = mount.mount_path.clone();
        if let Some(source) = &volume.config_map {
            let (name, optional) = (source.name.clone(), source.optional.unwrap_or(false));
            files.push(Files { path, kind: Kind::ConfigMap, name, optional, items: items(source.items.as_deref())? });
        } else if let Some(source) = &volume.secret {
            let (name, optional) = (source.secret_name.clone().unwrap_or_default(), source.optional.unwrap_or(false));
            files.push(Files { path, kind: Kind::Secret, name, optional, items: items(source.items.as_deref())? });
        } else if let Some(source) = &volume.empty_dir {
            let size =
                source.size_limit.as_ref().map(|size| model::parse_memory(&size.0).ok_or_else(|| format!("`{}` is not a size", size.0)));
            scratch.push(VolumeGrant { path, size: size.transpose()?.unwrap_or(SCRATCH), of_pod: true });
        } else {
            return Err(format!("volume {} is of a sort that is not offered", mount.name));
        }
    }
    Ok((files, scratch))
}

fn items(items: Option<&[KeyToPath]>) -> Result<Option<Vec<(String, String)>>, String> {
    let one = |item: &KeyToPath| {
        let safe = !item.path.is_empty() && item.path.split('/').all(is_name);
        if safe { Ok((item.key.clone(), item.path.clone())) } else { Err(format!("`{}` cannot be a file of a volume", item.path)) }
    };
    items.map(|items| items.iter().map(one).collect()).transpose()
}

/// Whether a text names a file in its folder, on every system.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The folder that one mount of a pod has on this node.
pub(crate) fn folder_of(uid: &str, path: &str) -> VolumeId {
    VolumeId { namespace: String::new(), app: uid.to_owned(), service: "pod".to_owned(), path: path.to_owned() }
}

/// Lays the files out; `at_once`: as they were, if they were there.
///
/// # Errors
/// When something that is not optional is missing, or the API does not answer and nothing was there before.
pub async fn lay(
    files: &[Files],
    (namespace, uid): (&str, &str),
    at_once: bool,
    values: &Arc<dyn Values>,
    volumes: &Arc<Volumes>,
) -> Result<Vec<Dir>, Error> {
    let mut dirs = Vec::new();
    for mount in files {
        let (id, volumes) = (folder_of(uid, &mount.path), volumes.clone());
        let opened = tokio::task::spawn_blocking(move || volumes.volume(&id).map(|volume| volume.folder().to_owned())).await;
        let failed = |why: std::io::Error| Error::Missing(format!("the folder for {} cannot be made: {why}", mount.path));
        let folder = opened.map_err(std::io::Error::from).and_then(|opened| opened).map_err(failed)?;
        let there = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        if !(there && at_once) {
            match tokio::time::timeout(PATIENCE, fetch(mount, namespace, values)).await {
                Ok(Ok(found)) => write(&folder, &found).map_err(failed)?,
                Ok(Err(Error::Away { .. })) | Err(_) if there => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => write(&folder, &fetch(mount, namespace, values).await?).map_err(failed)?,
            }
        }
        dirs.push(Dir { host: folder, guest: mount.path.clone(), read_only: true });
    }
    Ok(dirs)
}

/// Files and their content.
async fn fetch(mount: &Files, namespace: &str, values: &Arc<dyn Values>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let what = format!("{} {}", mount.kind.name(), mount.name);
    let found = values.values(mount.kind, namespace, &mount.name).await.map_err(|why| Error::Away { what: what.clone(), why })?;
    let Some(mut found) = found else {
        let missing = Error::Missing(format!("{what} does not exist in namespace {namespace}"));
        return if mount.optional { Ok(BTreeMap::new()) } else { Err(missing) };
    };
    let Some(items) = &mount.items else {
        found.retain(|key, _| is_name(key));
        return Ok(found);
    };
    let mut some = BTreeMap::new();
    for (key, path) in items {
        match found.get(key) {
            Some(value) => drop(some.insert(path.clone(), value.clone())),
            None if mount.optional => {}
            None => return Err(Error::Missing(format!("{what} of namespace {namespace} has no key {key}"))),
        }
    }
    Ok(some)
}

/// Makes the folder hold these files and no others.
fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { std::fs::remove_dir_all(&path)? } else { std::fs::remove_file(&path)? }
    }
    for (name, content) in files {
        let path: PathBuf = name.split('/').fold(folder.to_owned(), |path, part| path.join(part));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = private(&path)?;
        std::io::Write::write_all(&mut file, content)?;
    }
    Ok(())
}

/// A new file that nobody else on the machine may read.
fn private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use serde_json::json;

    use super::*;

    struct Fixed(bool);

    #[async_trait]
    impl Values for Fixed {
        async fn values(&self, _: Kind, _: &str, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
            let data = [("a.conf", "1"), ("b", "2"), ("../c", "3")].map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
            if self.0 { Err("the server is away".into()) } else { Ok((name == "settings").then(|| data.into())) }
        }
    }

    fn mounts(volume: serde_json::Value) -> Result<(Vec<Files>, Vec<VolumeGrant>), String> {
        let mut volume = volume;
        volume["name"] = json!("v");
        let container = json!({ "name": "a", "volumeMounts": [{ "name": "v", "mountPath": "/etc/app" }] });
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [container], "volumes": [volume] } })).unwrap();
        read(&pod, &pod.spec.as_ref().unwrap().containers[0])
    }

    async fn laid(volume: serde_json::Value, away: bool, volumes: &Arc<Volumes>) -> Result<Vec<String>, String> {
        let (files, _) = mounts(volume)?;
        let values: Arc<dyn Values> = Arc::new(Fixed(away));
        let dirs = lay(&files, ("default", "u1"), false, &values, volumes).await.map_err(|error| error.to_string())?;
        assert!(dirs[0].read_only && dirs[0].guest == "/etc/app");
        let mut names: Vec<String> =
            std::fs::read_dir(&dirs[0].host).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        Ok(names)
    }

    #[tokio::test]
    async fn values_are_files_and_stay_while_the_server_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Arc::new(Volumes::open(folder.path()).unwrap());
        let map = |name: &str| json!({ "configMap": { "name": name } });
        assert!(laid(map("settings"), true, &volumes).await.unwrap_err().contains("away"));
        // A key that would lead out of the folder is no file.
        assert_eq!(laid(map("settings"), false, &volumes).await.unwrap(), ["a.conf", "b"]);
        assert_eq!(laid(map("settings"), true, &volumes).await.unwrap(), ["a.conf", "b"]);
        let some = json!({ "secret": { "secretName": "settings", "items": [{ "key": "b", "path": "x" }] } });
        assert_eq!(laid(some, false, &volumes).await.unwrap(), ["x"]);
        assert!(laid(map("none"), false, &volumes).await.unwrap_err().contains("does not exist"));
        assert!(laid(json!({ "configMap": { "name": "none", "optional": true } }), false, &volumes).await.unwrap().is_empty());
        assert_eq!(volumes.unused().unwrap(), [(String::new(), "u1".to_owned())]);
    }

    #[test]
    fn what_is_not_offered_stops_the_pod() {
        assert!(mounts(json!({ "hostPath": { "path": "/" } })).is_err());
        let out = json!({ "configMap": { "name": "a", "items": [{ "key": "b", "path": "../x" }] } });
        assert!(mounts(out).unwrap_err().contains("../x"));
        let (_, scratch) = mounts(json!({ "emptyDir": { "sizeLimit": "1Mi" } })).unwrap();
        assert_eq!(scratch, [VolumeGrant { path: "/etc/app".into(), size: 1 << 20, of_pod: true }]);
    }
}
