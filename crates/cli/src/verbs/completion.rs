//! `wctl completion`: a script that lets a shell complete our words.

use anyhow::Result;
use clap::{Command, CommandFactory};

use crate::args::{Cli, Completion};
use crate::print;

/// Prints the script.
pub fn run(completion: &Completion) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut shown(), "wctl", &mut script);
    print::raw(&script)
}

/// The command line without the verbs that are not for people, which the generator would offer too.
fn shown() -> Command {
    let all = Cli::command();
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    Command::new("wctl").version(env!("CARGO_PKG_VERSION")).args(all.get_arguments().cloned()).subcommands(verbs)
}
