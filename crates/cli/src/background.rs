//! A process that outlives its terminal, and how to stop it.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::home::{Home, Running};
use crate::print;

/// Set for a process that was started in the background.
pub const MARK: &str = "WCTL_BACKGROUND";
/// How often we look whether a process has come or gone; nothing tells us.
const LOOK: Duration = Duration::from_millis(20);

/// Starts this program with other arguments, away from the terminal; what it prints goes to `up.log`. The address of Redis may hold a password,
/// which everybody could read in an argument.
pub fn start(home: &Home, arguments: &[std::ffi::OsString], variables: &[(&str, &Option<String>)]) -> Result<Child> {
    let path = home.log();
    // A first line shows whether there is room for others: a process that cannot say why it ends is of no use.
    let begin = || -> std::io::Result<File> {
        let mut log = File::create(&path)?;
        writeln!(log, "started at {}", jiff::Timestamp::now())?;
        Ok(log)
    };
    let log = begin().with_context(|| format!("writing {}", path.display()))?;
    let program = std::env::current_exe().context("finding this program's file")?;
    let mut command = Command::new(program);
    command.args(arguments).env(MARK, "1").stdin(Stdio::null());
    command.envs(variables.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
    command.stdout(log.try_clone().context("sharing the log")?).stderr(log);
    detach(&mut command);
    command.spawn().context("starting in the background")
}

/// Waits until the process says in `run.json` that it runs; an error shows what it printed last, if it ended instead.
pub async fn started(home: &Home, child: &mut Child, patience: Duration) -> Result<Running> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(running) = home.running()?.filter(|running| running.pid == child.id()) {
            return Ok(running);
        }
        if child.try_wait().context("looking at the process in the background")?.is_some() {
            let log = std::fs::read_to_string(home.log()).unwrap_or_default();
            let Some(last) = log.lines().skip(1).filter(|line| !line.trim().is_empty()).last() else {
                bail!("it ended without a word; see whether {} has space left", home.path.display());
            };
            bail!("{}", print::harmless(last.strip_prefix("error: ").unwrap_or(last)));
        }
        if Instant::now() > deadline {
            bail!("it did not start within {}s; see {}", patience.as_secs(), home.log().display());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks the process to stop and waits until it has let go of the data folder.
pub async fn stop(home: &Home, running: &Running, patience: Duration) -> Result<()> {
    ask(home, running)?;
    let deadline = Instant::now() + patience;
    while home.is_held()? {
        if Instant::now() > deadline {
            bail!("process {} has not ended within {}s; it may still be finishing requests", running.pid, patience.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

#[cfg(unix)]
fn ask(_: &Home, running: &Running) -> Result<()> {
    let pid = i32::try_from(running.pid).ok().and_then(rustix::process::Pid::from_raw).context("run.json names no process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).with_context(|| format!("stopping process {}", running.pid))
}

#[cfg(not(unix))]
fn ask(home: &Home, _: &Running) -> Result<()> {
    std::fs::write(home.stop(), b"").with_context(|| format!("writing {}", home.stop().display()))
}

/// Ctrl-C in the terminal is not meant for it.
#[cfg(unix)]
fn detach(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

/// A process group of its own, and no console.
#[cfg(windows)]
fn detach(command: &mut Command) {
    use std::os::windows::process::CommandExt;
    const DETACHED_PROCESS: u32 = 0x8;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
}
