//! Exit codes: 0 done, 1 failed, 2 wrong usage, or what a guest that was run here said.

use std::process::ExitCode;

/// The command line asks for something that cannot be meant: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What has been told already (or was the guest's to tell): only the code is left.
#[derive(Debug)]
pub struct Silent(pub u8);

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for Silent {}

/// Prints an error, and says with which code to end.
pub fn code(error: &anyhow::Error) -> ExitCode {
    if let Some(silent) = error.downcast_ref::<Silent>() {
        return ExitCode::from(silent.0);
    }
    crate::print::error(error);
    if error.downcast_ref::<Usage>().is_some() { ExitCode::from(2) } else { ExitCode::FAILURE }
}
