//! `wctl completion`: a script that lets a shell complete our words.

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Cli, Completion};
use crate::print;

/// Prints the script.
pub fn run(completion: &Completion) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut Cli::command(), "wctl", &mut script);
    print::raw(&script)
}
