//! `wctl down`: stops what runs on the data folder.

use anyhow::Result;

use crate::args::{Down, Globals};
use crate::home::Home;
use crate::{background, print};

/// Stops it, and waits until it has. Nothing running is no failure: it is what was asked for.
pub async fn run(globals: &Globals, down: Down) -> Result<()> {
    let home = Home::of(globals)?;
    // The lock says that the process of run.json lives and is ours; a number alone may by now be anybody's.
    match home.running()? {
        Some(running) if home.is_held()? => {
            background::stop(&home, &running, down.timeout).await?;
            print::line(format_args!("stopped (process {}); what is deployed comes back with `wctl up`", running.pid));
        }
        _ if home.is_held()? => {
            anyhow::bail!("the data folder {} is in use by a process that is just starting or ending; try again", home.path.display())
        }
        _ => print::line(format_args!("nothing runs on {}", home.path.display())),
    }
    Ok(())
}
