//! The loop on a node that runs its pods: watch, `step`, report.
