//! Who changed what, and from where: one line of JSON for each request that writes or is refused, in files that are only added to.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// A file that is longer is put aside.
const LONGEST: u64 = 64 << 20;
/// How many are kept beside the one that is written.
const KEPT: u32 = 9;
/// Changed fields that one line names.
const FIELDS: usize = 100;
/// Characters of one value.
const VALUE: usize = 200;
/// What changes by itself.
const NOISE: &[&str] =
    &["/metadata/resourceVersion", "/metadata/generation", "/metadata/managedFields", "/metadata/uid", "/metadata/creationTimestamp"];
/// Lines that may wait for a slow disk; beyond that the writer is waited for.
const WAITING: usize = 1024;

/// One line.
#[derive(Debug, Serialize)]
pub struct Line {
    /// RFC 3339.
    pub time: String,
    /// Whoever asked; empty for strangers.
    pub who: String,
    /// From which address; none in the server's own process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<SocketAddr>,
    /// As in HTTP.
    pub method: String,
    /// With what was asked about, without its query.
    pub path: String,
    /// The status of the answer.
    pub code: u16,
    /// Field → `[before, after]`; of Secrets no values.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub diff: Map<String, Value>,
}

/// The log. Cheap to clone; all clones write the same files, in the order of their lines.
#[derive(Clone)]
pub struct Audit(mpsc::SyncSender<Line>);

impl Audit {
    /// Writes to `FOLDER/audit.log`.
    pub fn open(folder: &Path) -> std::io::Result<Audit> {
        std::fs::create_dir_all(folder)?;
        let mut log = Log { path: folder.join("audit.log"), file: None, length: 0 };
        log.reopen()?;
        let (sender, lines) = mpsc::sync_channel::<Line>(WAITING);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        thread.spawn(move || {
            while let Ok(line) = lines.recv() {
                if let Err(error) = log.write(&line) {
                    tracing::error!(%error, "the audit log cannot be written");
                }
            }
        })?;
        Ok(Audit(sender))
    }

    /// Adds a line.
    pub fn add(&self, line: Line) {
        // Its thread lives as long as there is one to send.
        let _ = self.0.send(line);
    }
}

struct Log {
    path: PathBuf,
    file: Option<File>,
    length: u64,
}

impl Log {
    fn reopen(&mut self) -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path)?;
        self.length = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, line: &Line) -> std::io::Result<()> {
        if self.length >= LONGEST {
            self.rotate()?;
        }
        let text = format!("{}\n", json!(line));
        if self.file.is_none() {
            self.reopen()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes())?;
        }
        self.length += text.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        self.file = None;
        let numbered = |n: u32| self.path.with_extension(format!("log.{n}"));
        for n in (1..KEPT).rev() {
            if numbered(n).exists() {
                std::fs::rename(numbered(n), numbered(n + 1))?;
            }
        }
        std::fs::rename(&self.path, numbered(1))?;
        self.reopen()
    }
}

/// What changed between two states of an object, either of which may be absent. With `secret` only which fields did.
pub fn diff(before: Option<&Value>, after: Option<&Value>, secret: bool) -> Map<String, Value> {
    let mut found = Map::new();
    differ(String::new(), before.unwrap_or(&Value::Null), after.unwrap_or(&Value::Null), secret, &mut found);
    found
}

fn differ(path: String, before: &Value, after: &Value, secret: bool, found: &mut Map<String, Value>) {
    if before == after || found.len() >= FIELDS || NOISE.contains(&path.as_str()) {
        return;
    }
    let nothing = Map::new();
    let fields = |value: &Value| value.as_object().cloned().or_else(|| value.is_null().then(|| nothing.clone()));
    match (fields(before), fields(after)) {
        (Some(old), Some(new)) if !(before.is_null() && after.is_null()) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let part = name.replace('~', "~0").replace('/', "~1");
                let null = Value::Null;
                differ(format!("{path}/{part}"), old.get(name).unwrap_or(&null), new.get(name).unwrap_or(&null), secret, found);
            }
        }
        _ => {
            let shown = |value: &Value| match value {
                Value::Null => Value::Null,
                _ if secret && !path.starts_with("/metadata/name") => json!("…"),
                value => {
                    let text = value.to_string();
                    if text.len() <= VALUE { value.clone() } else { json!(text.chars().take(VALUE).chain(['…']).collect::<String>()) }
                }
            };
            let change = json!([shown(before), shown(after)]);
            found.insert(path, change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_each_field_that_changed() {
        let before = json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"replicas": 1, "same": [1]}});
        let after = json!({"metadata": {"name": "a", "resourceVersion": "2"}, "spec": {"replicas": 3, "same": [1], "new": {"x": true}}});
        let found = diff(Some(&before), Some(&after), false);
        assert_eq!(Value::Object(found), json!({"/spec/replicas": [1, 3], "/spec/new/x": [null, true]}));
        assert_eq!(diff(Some(&after), None, false)["/spec/replicas"], json!([3, null]));
        assert!(diff(Some(&after), Some(&after), false).is_empty());
    }

    #[test]
    fn of_a_secret_no_value_is_told() {
        let before = json!({"metadata": {"name": "s"}, "data": {"KEY": "b2xk"}});
        let after = json!({
            "metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hush"}},
            "data": {"KEY": "bmV3", "OTHER": "aHVzaA=="}, "stringData": {"x": "hush"},
        });
        let text = Value::Object(diff(Some(&before), Some(&after), true)).to_string();
        assert!(text.contains("/data/KEY") && text.contains("/data/OTHER"), "{text}");
        for hidden in ["b2xk", "bmV3", "aHVzaA", "hush"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }

    #[test]
    fn files_are_added_to_and_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log { path: folder.path().join("audit.log"), file: None, length: 0 };
        let line = |path: &str| Line {
            time: String::new(),
            who: "alice".to_owned(),
            from: None,
            method: "PUT".to_owned(),
            path: path.to_owned(),
            code: 200,
            diff: Map::new(),
        };
        for n in 0..12 {
            log.reopen().unwrap();
            log.write(&line(&format!("/{n}"))).unwrap();
            log.length = LONGEST;
            log.write(&line(&format!("/{n}b"))).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(read("audit.log").contains("/11b") && read("audit.log.1").contains("/11\""), "{}", read("audit.log.1"));
        assert!(read("audit.log.1").contains("/10b"), "opened again it goes on where it was");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 10);
    }
}
