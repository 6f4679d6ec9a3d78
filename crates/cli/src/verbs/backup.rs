//! `wctl backup` and `wctl restore`: a cluster in one file, and back.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use futures::io::AsyncReadExt;
use scheduler::backup::{self, Contents};
use scheduler::pki::{CLUSTER_KEY, ClusterKey};
use scheduler::server::State;
use scheduler::store::Store;
use scheduler::store::etcd::Etcd;
use scheduler::store::redb::Redb;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::args::{Backup, Format, Globals, Restore};
use crate::cluster::Cluster;
use crate::home::{self, Home};
use crate::machine;
use crate::print;
use crate::verbs::build::size;

/// Writes what the server tells into a file, and checks it there.
pub async fn run(globals: &Globals, backup: Backup) -> Result<()> {
    let cluster = Cluster::connect_to_write(globals).await?;
    let lines = cluster.stream("/apis/wctl.dev/v1/backup", &[], "application/x-ndjson").await.context("making a backup")?;
    if backup.file == Path::new("-") {
        return copy(lines, &mut tokio::io::stdout()).await.context("writing the backup");
    }
    let half = backup.file.with_extension("half");
    let writing = || format!("writing {}", half.display());
    let mut file = private(&half).await.with_context(writing)?;
    let copied = copy(lines, &mut file).await;
    let kept = async {
        copied?;
        file.sync_all().await?;
        anyhow::Ok(())
    };
    let checked = match kept.await.with_context(writing) {
        Ok(()) => backup::check(&half, None).context("checking what was written"),
        Err(error) => Err(error),
    };
    let contents = match checked {
        Ok(contents) => contents,
        Err(error) => {
            // Half a backup is none.
            let _ = std::fs::remove_file(&half);
            return Err(error);
        }
    };
    std::fs::rename(&half, &backup.file).with_context(|| format!("naming {}", backup.file.display()))?;
    tell(&contents, &format!("{} holds", backup.file.display()), backup.output.output)?;
    if matches!(backup.output.output, Format::Table | Format::Wide) {
        print::note("keep pki/cluster.key of the server apart from it: without that key its secrets stay shut");
    }
    Ok(())
}

async fn copy(mut from: impl futures::AsyncRead + Unpin, to: &mut (impl tokio::io::AsyncWrite + Unpin)) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer).await? {
            0 => break,
            read => to.write_all(&buffer[..read]).await?,
        }
    }
    Ok(to.flush().await?)
}

/// Secrets are sealed in it, but whoever made it need not show it to others.
async fn private(path: &Path) -> std::io::Result<tokio::fs::File> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path).await
}

/// Checks a backup, and puts it into an empty store.
pub async fn restore(globals: &Globals, restore: Restore) -> Result<()> {
    let home = Home::of(globals)?;
    let file = restore.file.as_path();
    let key = key(&home, restore.cluster_key.as_ref())?;
    let format = restore.output.output;
    if restore.check {
        let contents = backup::check(file, key.as_ref()).with_context(|| format!("checking {}", file.display()))?;
        return tell(&contents, &format!("{} is whole and holds", file.display()), format);
    }
    if let Some(given) = &restore.cluster_key {
        home.create()?;
        ClusterKey::copy(given, &home.path.join("pki").join(CLUSTER_KEY))?;
    }
    if key.is_none() {
        bail!(
            "{} is missing, and nothing else opens what is restored: copy the cluster's key there, or name it with --cluster-key FILE",
            home.path.join("pki").join(CLUSTER_KEY).display()
        );
    }
    home::refuse_if_held(&home)?;
    home.create()?;
    let store: Box<dyn Store> = match machine::state(&restore.store)? {
        State::Embedded => {
            let folder = home.path.join("store");
            std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            home.write("format", format!("{}\n", scheduler::server::FORMAT).as_bytes())?;
            Box::new(Redb::open(home.path.join(home::STATE)).context("opening the store")?)
        }
        State::Etcd(options) => Box::new(Etcd::open(&options).await.context("opening etcd")?),
    };
    let restored = backup::restore(file, key.as_ref(), &*store, &home.path).await;
    store.close().await;
    let contents = restored.with_context(|| format!("restoring {}", file.display()))?;
    tell(&contents, "restored", format)?;
    if matches!(format, Format::Table | Format::Wide) {
        print::note("the scheduler stands still, and nodes go on with what they run, until you have looked and say `wctl thaw`");
    }
    Ok(())
}

fn key(home: &Home, named: Option<&PathBuf>) -> Result<Option<ClusterKey>> {
    let path = named.cloned().unwrap_or_else(|| home.path.join("pki").join(CLUSTER_KEY));
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    if !path.exists() {
        bail!("there is no {}", path.display());
    }
    Ok(Some(ClusterKey::open_or_create(&path)?))
}

fn tell(contents: &Contents, heading: &str, format: Format) -> Result<()> {
    let sealed = match (contents.sealed, contents.opened) {
        (0, _) => "no sealed value".to_owned(),
        (sealed, opened) if opened == sealed => format!("{sealed} sealed values, all of which the cluster's key opens"),
        (sealed, _) => format!("{sealed} sealed values (not opened: the cluster's key is not here)"),
    };
    let sentence = format!(
        "{heading} {} keys at revision {} of {}, {} blobs, {}, {sealed}; no buckets: those lie on their nodes, or in Redis",
        contents.keys,
        contents.revision,
        contents.created,
        contents.blobs,
        size(contents.bytes),
    );
    print::outcome(format, sentence, "backup", &json!(contents))
}
