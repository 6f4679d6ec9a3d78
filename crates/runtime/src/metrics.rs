//! Counters of the node.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::sandbox::Failure;

/// Upper bounds of the durations that are counted apart, in microseconds.
const BOUNDS: [u64; 10] = [500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 10_000_000];

/// What a node counts since it started. The labels are fixed words, so their number is bounded.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Answers of guests that took no longer than each bound and longer than the one before; at last those beyond all.
    took: [AtomicU64; BOUNDS.len() + 1],
    took_micros: AtomicU64,
    sandboxes_made: AtomicU64,
    sandboxes_gone: AtomicU64,
    /// Where compiled code came from.
    code: Arc<CodeCounts>,
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
    /// Instances started because a request came for a pod that slept.
    pub wakes: AtomicU64,
    /// Calls between services of this node.
    pub calls: AtomicU64,
    forwarded: AtomicU64,
    retried: AtomicU64,
}

/// Where compiled code came from when it was needed.
#[derive(Debug, Default)]
pub struct CodeCounts {
    /// It was in use already.
    pub shared: AtomicU64,
    /// It was in the node's folder.
    pub kept: AtomicU64,
    /// It was compiled.
    pub compiled: AtomicU64,
}

/// One sandbox that is counted for as long as this lives.
pub(crate) struct Counted(Arc<Metrics>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sandboxes_gone.fetch_add(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Nothing counted yet but where code came from.
    pub fn of(code: Arc<CodeCounts>) -> Metrics {
        Metrics { code, ..Metrics::default() }
    }

    /// Counts a guest's answer by how long it took to its last byte.
    pub fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.took[bucket].fetch_add(1, Ordering::Relaxed);
        self.took_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a sandbox.
    pub(crate) fn sandbox(self: &Arc<Self>) -> Counted {
        self.sandboxes_made.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

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

    /// A request went to another node.
    pub fn forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that failed elsewhere is tried again.
    pub fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut out = String::new();
        self.render_durations(&mut out);
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
        family("instance_wakes_total", "Instances of pods that slept, started for a request.", &[("", &self.wakes)]);
        let sent = [("{try=\"first\"}", &self.forwarded), ("{try=\"again\"}", &self.retried)];
        family("forwarded_total", "Requests sent to other nodes; those sent again after another node failed count in both.", &sent);
        family("calls_total", "Calls from one service to another on this node.", &[("", &self.calls)]);
        family("sandboxes_made_total", "Sandboxes made.", &[("", &self.sandboxes_made)]);
        let code =
            [("{from=\"memory\"}", &self.code.shared), ("{from=\"cache\"}", &self.code.kept), ("{from=\"compiler\"}", &self.code.compiled)];
        family("code_total", "Compiled code by where it came from when a pod needed it.", &code);
        let live = self.sandboxes();
        let _ = writeln!(out, "# HELP wctl_sandboxes Sandboxes that live now.\n# TYPE wctl_sandboxes gauge\nwctl_sandboxes {live}");
        out
    }

    /// Sandboxes that live now.
    pub fn sandboxes(&self) -> u64 {
        let gone = self.sandboxes_gone.load(Ordering::Relaxed);
        self.sandboxes_made.load(Ordering::Relaxed).saturating_sub(gone)
    }

    fn render_durations(&self, out: &mut String) {
        let name = "wctl_request_duration_seconds";
        let _ = writeln!(out, "# HELP {name} From a request's arrival to the last byte of its guest's answer.\n# TYPE {name} histogram");
        let mut count = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.took) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {count}", *bound as f64 / 1e6);
        }
        count += self.took[BOUNDS.len()].load(Ordering::Relaxed);
        let sum = self.took_micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
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
        metrics.took(Duration::from_micros(700));
        metrics.took(Duration::from_secs(60));
        let metrics = Arc::new(metrics);
        let live = metrics.sandbox();
        drop(metrics.sandbox());
        let text = metrics.render();
        assert!(text.contains("wctl_request_duration_seconds_bucket{le=\"0.0005\"} 0\n"), "{text}");
        assert!(text.contains("wctl_request_duration_seconds_bucket{le=\"0.001\"} 1\n"), "{text}");
        assert!(text.contains("wctl_request_duration_seconds_bucket{le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.contains("wctl_request_duration_seconds_sum 60.0007\n"), "{text}");
        assert!(text.contains("wctl_sandboxes_made_total 2\n") && text.contains("wctl_sandboxes 1\n"), "{text}");
        drop(live);
        assert!(text.contains("wctl_requests_total{class=\"2xx\"} 1"), "{text}");
        assert!(text.contains("wctl_requests_total{class=\"5xx\"} 1"), "{text}");
        assert!(text.contains("wctl_refused_total{reason=\"concurrency\"} 1"), "{text}");
    }
}
