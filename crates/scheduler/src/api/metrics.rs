//! `/metrics` in Prometheus' text format: the server's own counters and those of every node that is connected, one label `node` apart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use http::header;
use serde_json::json;

use super::Api;
use super::link::whole;
use super::status::{Refusal, Result};

/// A node that takes longer is left out, so that one that hangs does not hide the others.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the API counts. Labels are fixed words, so their number is bounded.
#[derive(Debug, Default)]
pub(super) struct Counters {
    answers: [AtomicU64; 6],
}

impl Counters {
    /// Counts an answer by the class of its status.
    pub(super) fn answered(&self, status: u16) {
        self.answers[usize::from(status / 100).min(5)].fetch_add(1, Ordering::Relaxed);
    }

    fn render(&self) -> String {
        let mut out = "# HELP wctl_api_requests_total Requests answered by the API.\n# TYPE wctl_api_requests_total counter\n".to_owned();
        for (class, count) in (1..6).zip(&self.answers[1..]) {
            let _ = writeln!(out, "wctl_api_requests_total{{class=\"{class}xx\"}} {}", count.load(Ordering::Relaxed));
        }
        out
    }
}

/// All there is.
pub(super) async fn all(api: &Api) -> Response {
    let nodes = api.0.links.nodes();
    let told = join_all(nodes.iter().map(|node| async move { tokio::time::timeout(PATIENCE, of_node(api, node)).await }));
    let mut parts = vec![(None, api.0.counters.render())];
    for (node, text) in nodes.iter().zip(told.await) {
        match text {
            Ok(Ok(text)) => parts.push((Some(node.as_str()), text)),
            Ok(Err(refusal)) => tracing::warn!(node, %refusal, "its metrics are missing"),
            Err(_) => tracing::warn!(node, "its metrics are missing: it did not answer within {PATIENCE:?}"),
        }
    }
    answer(merged(&parts))
}

/// Those of one node, as it tells them.
pub(super) async fn one(api: &Api, node: &str) -> Result<Response> {
    of_node(api, node).await.map(answer)
}

async fn of_node(api: &Api, node: &str) -> Result<String> {
    let text = whole(api.0.links.ask(node, json!({ "ask": "metrics" })).await?).await?;
    String::from_utf8(text).map_err(|_| Refusal::internal(format!("node {node} told metrics that are not UTF-8")))
}

fn answer(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// One text of several: what belongs to one metric stands together, as the format wants it.
fn merged(parts: &[(Option<&str>, String)]) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut families: BTreeMap<&str, (String, String)> = BTreeMap::new();
    for (node, text) in parts {
        let mut family = "";
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(about) = line.strip_prefix("# ") {
                family = about.split(' ').nth(1).unwrap_or_default();
                let (head, samples) = families.entry(family).or_insert_with(|| {
                    order.push(family);
                    Default::default()
                });
                // Said once, by the first who has a sample of it.
                if samples.is_empty() && !head.contains(line) {
                    let _ = writeln!(head, "{line}");
                }
            } else if let Some((_, samples)) = families.get_mut(family) {
                sample(samples, *node, line);
            }
        }
    }
    order.iter().filter_map(|family| families.get(family)).map(|(head, samples)| format!("{head}{samples}")).collect()
}

fn sample(out: &mut String, node: Option<&str>, line: &str) {
    let Some(node) = node else {
        let _ = writeln!(out, "{line}");
        return;
    };
    // Names of nodes are DNS labels: nothing in them needs an escape.
    let _ = match (line.split_once('{'), line.split_once(' ')) {
        (Some((name, rest)), _) => writeln!(out, "{name}{{node=\"{node}\",{rest}"),
        (None, Some((name, value))) => writeln!(out, "{name}{{node=\"{node}\"}} {value}"),
        (None, None) => return,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_one_metric_stand_together_and_name_their_node() {
        let text =
            |n: u8| format!("# HELP a_total A.\n# TYPE a_total counter\na_total {n}\n# HELP b B.\n# TYPE b gauge\nb{{x=\"y\"}} {n}\n");
        let counters = Counters::default();
        counters.answered(201);
        let all = merged(&[(None, counters.render()), (Some("n1"), text(1)), (Some("n2"), text(2))]);
        let wanted = "# HELP a_total A.\n# TYPE a_total counter\na_total{node=\"n1\"} 1\na_total{node=\"n2\"} 2\n\
                      # HELP b B.\n# TYPE b gauge\nb{node=\"n1\",x=\"y\"} 1\nb{node=\"n2\",x=\"y\"} 2\n";
        assert!(all.starts_with("# HELP wctl_api_requests_total") && all.ends_with(wanted), "{all}");
        assert!(all.contains("wctl_api_requests_total{class=\"2xx\"} 1\n"), "{all}");
    }
}
