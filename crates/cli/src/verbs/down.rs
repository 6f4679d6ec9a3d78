//! `wctl down`: stops what runs on the data folder: server and node, in one process or in two.

use anyhow::{Result, bail};
use serde_json::json;

use crate::args::{Down, Globals};
use crate::home::{Home, Running};
use crate::{background, print};

/// Stops it, and waits until it has. Nothing running is no failure: it is what was asked for.
pub async fn run(globals: &Globals, down: Down) -> Result<()> {
    let home = Home::of(globals)?;
    // A node of its own first: it drains while its server is still there to hear of it.
    let node = home.of_node();
    let (mut sentences, mut stopped) = (Vec::new(), Vec::new());
    if let Some(running) = live(&node)? {
        background::stop(&node, &running, down.timeout).await?;
        sentences.push(format!("stopped the node (process {})", running.pid));
        stopped.push(running.pid);
    }
    match live(&home)? {
        Some(running) => {
            background::stop(&home, &running, down.timeout).await?;
            sentences.push(format!("stopped (process {}); what is deployed comes back with `wctl up`", running.pid));
            stopped.push(running.pid);
        }
        None if home.is_held()? => {
            bail!("the data folder {} is in use by a process that is just starting or ending; try again", home.path.display())
        }
        None if stopped.is_empty() => sentences.push(format!("nothing runs on {}", home.path.display())),
        None => {}
    }
    let pids = stopped.iter().map(u32::to_string).collect::<Vec<_>>().join("\n");
    print::outcome(down.output.output, sentences.join("\n"), pids, &json!({"data": home.path, "stopped": stopped}))
}

/// The lock says that the process of run.json lives and is ours; a number alone may by now be anybody's.
fn live(home: &Home) -> Result<Option<Running>> {
    Ok(if home.is_held()? { home.running()? } else { None })
}
