//! `wctl server`: the control plane alone.

use anyhow::Result;
use serde_json::json;

use crate::args::{self, Globals, LineFormat};
use crate::home::{self, API, Home};
use crate::machine::{self, Announced};
use crate::{print, signals};

/// Runs until a signal.
pub async fn run(globals: &Globals, args: args::Server) -> Result<()> {
    let home = Home::of(globals)?;
    home::refuse_if_held(&home)?;
    let listener = home::listen(globals.api.as_deref().unwrap_or(API), "API", "--api")?;
    home.create()?;
    let stop = signals::stop(&home);
    let images = machine::images(&args).await?;
    let how = machine::How { store: args.store, cluster_key: args.cluster_key, images, hosts: args.hosts };
    let (mut control, ()) = machine::control(globals, &home, listener, how, |_| ()).await?;
    let announced = Announced::new(&home, Some(&control.url), None)?;
    match args.output.output {
        LineFormat::Text => print::line(format_args!("API      {}\ndata     {}", control.url, home.path.display())),
        LineFormat::Json => print::record(&json!({"type": "started", "api": control.url, "data": home.path, "join": control.join})),
    }
    print::note("start a node on this machine with `wctl node`; stop with Ctrl-C");
    print::note(format_args!("on another machine, within the hour: wctl node --join {} --token {}", control.url, control.join));
    let done = tokio::select! {
        () = stop.cancelled() => Ok(()),
        failed = control.failed() => return failed,
    };
    drop(announced);
    control.end().await?;
    done
}
