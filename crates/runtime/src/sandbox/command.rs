//! Runs a command: `wasi:cli/run`, once, to its end.

use std::sync::Arc;

use wasmtime::Store;

use super::Failure;
use super::fail::classify;
use super::link::RunPre;
use super::run::{Lost, Progress};
use super::state::{self, Grants, State};

impl Lost for Result<i32, Failure> {
    fn lost(failure: Failure) -> Self {
        Err(failure)
    }
}

/// Runs it and returns its exit code: what it passed to `exit`, or 0 and 1 for `run`'s two results.
pub(super) async fn run(engine: &wasmtime::Engine, pre: &RunPre, grants: Arc<Grants>, progress: Arc<Progress>) -> Result<i32, Failure> {
    let unready = |error: wasmtime::Error| Failure::Trap { message: format!("{error:#}"), backtrace: String::new() };
    let mut store = state::store(engine, grants).map_err(unready)?;
    store.data_mut().set_progress(progress);
    let mut starting = true;
    let result = call(&mut store, pre, &mut starting).await;
    match result {
        Ok(Ok(())) => Ok(0),
        Ok(Err(())) => Ok(1),
        Err(error) => match classify(&error, &store.data().meter, starting) {
            Failure::Exit(code) => Ok(code),
            failure => Err(failure),
        },
    }
}

async fn call(store: &mut Store<State>, pre: &RunPre, starting: &mut bool) -> wasmtime::Result<Result<(), ()>> {
    match pre {
        RunPre::P2(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            *starting = false;
            command.wasi_cli_run().call_run(store).await
        }
        RunPre::P3(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            *starting = false;
            store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await).await?
        }
    }
}
