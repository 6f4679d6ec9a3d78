//! What a node has left of what runs out, from its metrics.

use anyhow::Result;
use futures::AsyncReadExt;
use scheduler::kinds;
use serde_json::{Value, json};

use crate::cluster::{Cluster, path};

/// One thing that runs out.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    name: String,
    used: u64,
    limit: u64,
}

/// All that the node `name` tells of.
///
/// # Errors
/// When the server or the node does not answer.
pub async fn of(cluster: &Cluster, name: &str) -> Result<Vec<Left>> {
    let path = format!("{}/proxy/metrics", path(&kinds::NODE, None, Some(name))?);
    let mut text = String::new();
    cluster.stream(&path, &[], "text/plain").await?.read_to_string(&mut text).await?;
    Ok(read(&text))
}

/// From Prometheus' text format.
fn read(metrics: &str) -> Vec<Left> {
    let value = |family: &str, line: &str| {
        let (name, value) = line.strip_prefix(family)?.split_once("of=\"")?.1.split_once("\"")?;
        Some((name.to_owned(), value.rsplit(' ').next()?.parse::<u64>().ok()?))
    };
    let limits: Vec<_> = metrics.lines().filter_map(|line| value("wctl_budget_limit", line)).collect();
    let used = metrics.lines().filter_map(|line| value("wctl_budget_used", line));
    let both = used.filter_map(|(name, used)| {
        let limit = limits.iter().find(|(other, _)| *other == name)?.1;
        Some(Left { name, used, limit })
    });
    both.collect()
}

impl Left {
    /// As people read it.
    pub fn line(&self) -> String {
        let Left { name, used, limit } = self;
        let left = limit.saturating_sub(*used);
        match name.strip_prefix("bytes of ") {
            Some(name) => format!("{name}: {} MiB of {} MiB left", left >> 20, limit >> 20),
            None => format!("{name}: {left} of {limit} left"),
        }
    }

    /// As programs read it.
    pub fn value(&self) -> Value {
        json!({"name": self.name, "used": self.used, "limit": self.limit})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_limit_without_what_is_used() {
        let text = "# HELP wctl_budget_used x\nwctl_budget_used{node=\"vm\",of=\"open files\"} 24\nwctl_budget_used{of=\"bytes of memory\"} 1048576\n\
                    wctl_budget_limit{node=\"vm\",of=\"open files\"} 1024\nwctl_budget_limit{of=\"bytes of memory\"} 10485760\nwctl_other 3\n";
        let lines: Vec<_> = read(text).iter().map(Left::line).collect();
        assert_eq!(lines, ["open files: 1000 of 1024 left", "memory: 9 MiB of 10 MiB left"]);
    }
}
