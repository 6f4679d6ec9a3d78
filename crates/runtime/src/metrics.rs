//! Counters of the node.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sandbox::Failure;

/// What a node counts since it started. The labels are fixed words, so their number is bounded.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: [AtomicU64; 6],
    refused_busy: AtomicU64,
    refused_memory: AtomicU64,
    traps: AtomicU64,
    deadlines: AtomicU64,
    starved: AtomicU64,
    exits: AtomicU64,
    /// Connections taken.
    pub connections: AtomicU64,
    /// Connections turned away because there were too many.
    pub connections_refused: AtomicU64,
    /// Instances started.
    pub starts: AtomicU64,
    /// Instances started again after a crash.
    pub restarts: AtomicU64,
    /// Calls between services of this node.
    pub calls: AtomicU64,
}

impl Metrics {
    /// Counts an answer by the class of its status.
    pub fn answered(&self, status: u16) {
        self.answers[usize::from(status / 100).min(5)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failure of a guest.
    pub fn failure(&self, failure: &Failure) {
        let counter = match failure {
            Failure::Busy(_) => &self.refused_busy,
            Failure::NoMemory(_) => &self.refused_memory,
            Failure::Trap { .. } => &self.traps,
            Failure::Deadline(_) => &self.deadlines,
            Failure::Starved { .. } => &self.starved,
            Failure::Exit(_) | Failure::NoResponse | Failure::Refused(_) => &self.exits,
            Failure::Gone => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let mut family = |name: &str, help: &str, values: &[(&str, &AtomicU64)]| {
            let _ = writeln!(out, "# HELP wctl_{name} {help}\n# TYPE wctl_{name} counter");
            for (label, value) in values {
                let _ = writeln!(out, "wctl_{name}{label} {}", value.load(Ordering::Relaxed));
            }
        };
        let classes = ["{class=\"1xx\"}", "{class=\"2xx\"}", "{class=\"3xx\"}", "{class=\"4xx\"}", "{class=\"5xx\"}"];
        let answers: Vec<_> = classes.into_iter().zip(&self.answers[1..]).collect();
        family("requests_total", "Requests answered by the gateway.", &answers);
        let refusals = [("{reason=\"concurrency\"}", &self.refused_busy), ("{reason=\"memory\"}", &self.refused_memory)];
        family("refused_total", "Requests refused because a limit was reached.", &refusals);
        let failures = [
            ("{reason=\"trap\"}", &self.traps),
            ("{reason=\"deadline\"}", &self.deadlines),
            ("{reason=\"cpu\"}", &self.starved),
            ("{reason=\"no answer\"}", &self.exits),
        ];
        family("failures_total", "Requests that a guest failed.", &failures);
        let connections = [("{result=\"taken\"}", &self.connections), ("{result=\"refused\"}", &self.connections_refused)];
        family("connections_total", "Connections from clients.", &connections);
        family("instance_starts_total", "Instances started.", &[("", &self.starts)]);
        family("instance_restarts_total", "Instances started again after a crash.", &[("", &self.restarts)]);
        family("calls_total", "Calls from one service to another on this node.", &[("", &self.calls)]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_show_in_the_text() {
        let metrics = Metrics::default();
        metrics.answered(204);
        metrics.answered(503);
        metrics.failure(&Failure::Busy(3));
        let text = metrics.render();
        assert!(text.contains("wctl_requests_total{class=\"2xx\"} 1"), "{text}");
        assert!(text.contains("wctl_requests_total{class=\"5xx\"} 1"), "{text}");
        assert!(text.contains("wctl_refused_total{reason=\"concurrency\"} 1"), "{text}");
    }
}
