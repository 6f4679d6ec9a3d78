//! What tells a process that runs on to stop: Ctrl-C, SIGTERM, or where there are no signals a file.

use tokio_util::sync::CancellationToken;

use crate::home::Home;
use crate::print;

/// Cancelled by the first signal; a second one ends the process at once.
pub fn stop(home: &Home) -> CancellationToken {
    let stop = CancellationToken::new();
    let (token, home) = (stop.clone(), home.clone());
    tokio::spawn(async move {
        asked(&home).await;
        print::note("stopping; requests in flight may end (once more ends them too)");
        token.cancel();
        asked(&home).await;
        home.retract();
        std::process::exit(1);
    });
    stop
}

/// A terminal that closes is a reason to stop too, unless we were started to outlive it.
#[cfg(unix)]
async fn asked(_: &Home) {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        // Without a handler the signal ends us anyway.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = hung_up() => {}
    }
}

#[cfg(unix)]
async fn hung_up() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut signals) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    loop {
        signals.recv().await;
        if std::env::var_os(crate::background::MARK).is_none() {
            return;
        }
    }
}

#[cfg(not(unix))]
async fn asked(home: &Home) {
    let stop = home.stop();
    let file = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(250));
        while std::fs::remove_file(&stop).is_err() {
            ticks.tick().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = file => {}
    }
}
