//! Where an instance is in its one life, and how a life ends.

use std::fmt;

/// Only goes forward; after `Ended` comes another instance of the same pod with the next restart count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Its artifact is fetched, checked, compiled and linked, and its environment put together.
    Preparing,
    /// It can answer; whether it should be asked is its readiness.
    Running,
    /// It finishes what it has and gets nothing new.
    Draining,
    /// It is over.
    Ended,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Preparing => "preparing",
            Phase::Running => "running",
            Phase::Draining => "draining",
            Phase::Ended => "ended",
        })
    }
}

/// Why a life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Which kind of end.
    pub reason: Reason,
    /// One sentence for people; of a trap its message and wasm backtrace, over several lines.
    pub message: String,
}

/// The kinds of ends, as status and Events name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The artifact could not be fetched, checked or compiled; it never ran.
    Image,
    /// A Secret or ConfigMap it needs is not there; it never ran.
    Config,
    /// It imports what is not offered, or could not be instantiated; it never ran.
    Start,
    /// Traps in a row.
    Trap,
    /// Requests in a row that were not answered in time.
    Deadline,
    /// A worker's `run` returned, or the guest called `exit`.
    Exit(i32),
    /// The liveness probe failed too often.
    Probe,
    /// It was told to stop.
    Stopped,
}

impl Reason {
    /// As in `lastState.terminated.reason`.
    pub fn name(&self) -> &'static str {
        match self {
            Reason::Image => "ErrImagePull",
            Reason::Config => "CreateContainerConfigError",
            Reason::Start => "StartError",
            Reason::Trap => "Trap",
            Reason::Deadline => "Deadline",
            Reason::Exit(0) => "Completed",
            Reason::Exit(_) => "Exit",
            Reason::Probe => "Probe",
            Reason::Stopped => "Stopped",
        }
    }

    /// As in `state.waiting.reason` while the next life has to wait.
    pub fn waiting(&self) -> &'static str {
        match self {
            Reason::Image => "ImagePullBackOff",
            Reason::Config => "CreateContainerConfigError",
            _ => "CrashLoopBackOff",
        }
    }

    /// Whether the guest got as far as running, so that its end counts as a restart.
    pub fn ran(&self) -> bool {
        !matches!(self, Reason::Image | Reason::Config)
    }

    /// Unix style: the guest's own code, 128 + 6 (abort) for a trap, 128 + 9 (kill) for what the node ended.
    pub fn exit_code(&self) -> i32 {
        match self {
            Reason::Exit(code) => *code,
            Reason::Trap => 134,
            Reason::Stopped => 0,
            Reason::Image | Reason::Config | Reason::Start => 128,
            Reason::Deadline | Reason::Probe => 137,
        }
    }
}
