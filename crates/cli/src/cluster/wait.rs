//! Waiting for an object to become what was asked for, without asking twice.

use std::time::Duration;

use anyhow::{Result, bail};
use futures::StreamExt;
use scheduler::kinds::Kind;
use serde_json::Value;
use tokio::time::Instant;

use super::{Change, Cluster, Pick, error};

/// When to stop waiting.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    /// `after` from now.
    pub fn after(after: Duration) -> Deadline {
        Deadline { at: Instant::now() + after, after }
    }

    /// Whether it has passed.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }
}

/// What a look at the object came to.
pub enum Until<T> {
    /// Look again when it changes.
    NotYet,
    /// This is it.
    Done(T),
}

impl Cluster {
    /// Looks at one object now and after each change until `look` is content; `None` is an object that is not there.
    /// After the deadline an error names what was waited for; `look` keeps whatever it wants to add to that.
    pub async fn until<T>(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        deadline: Deadline,
        mut look: impl FnMut(Option<&Value>) -> Result<Until<T>>,
    ) -> Result<T> {
        let waiting = self.look_on(kind, namespace, name, &mut look);
        match tokio::time::timeout_at(deadline.at, waiting).await {
            Ok(result) => result,
            Err(_) => bail!("gave up waiting for {} {name} after {}", kind.singular, seconds(deadline.after)),
        }
    }

    async fn look_on<T>(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        look: &mut impl FnMut(Option<&Value>) -> Result<Until<T>>,
    ) -> Result<T> {
        let pick = Pick::name(name);
        loop {
            let list = self.list(kind, Some(namespace), &pick).await?;
            if let Until::Done(result) = look(list["items"].get(0))? {
                return Ok(result);
            }
            let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
            let mut changes = self.watch(kind, Some(namespace), &pick, version, false).await?;
            while let Some(change) = changes.next().await {
                let seen = match change {
                    Ok(Change::Is(object)) => look(Some(&object))?,
                    Ok(Change::Gone(_)) => look(None)?,
                    // The history that we wanted was compacted away: list again.
                    Err(error) if error::code(&error) == Some(410) => break,
                    Err(error) => return Err(error.context(format!("watching {} {name}", kind.singular))),
                };
                if let Until::Done(result) = seen {
                    return Ok(result);
                }
            }
        }
    }
}

/// `90s`, or `0.5s`.
fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{:.1}s", time.as_secs_f64()) }
}
