//! Links components against what is offered. What a pod is not granted is linked too, and denied when it is used.

use artifact::inspect::PACKAGES;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi_http::{p2, p3};

use super::state::State;
use crate::engine::Abi;
use crate::wasi;

/// A linked component and the ways in which it can be called.
pub(crate) struct Linked {
    pub http: Option<HttpPre>,
    pub run: Option<RunPre>,
}

/// An HTTP service.
#[derive(Clone)]
pub(crate) enum HttpPre {
    P2(p2::bindings::ProxyPre<State>),
    P3(p3::bindings::ServicePre<State>),
}

/// A command.
#[derive(Clone)]
pub(crate) enum RunPre {
    P2(wasmtime_wasi::p2::bindings::CommandPre<State>),
    P3(wasmtime_wasi::p3::bindings::CommandPre<State>),
}

/// A linker with all that is offered to components of one generation; those of 0.3 may use 0.2's interfaces too.
pub(crate) fn linker(engine: &wasmtime::Engine, abi: Abi) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    p2::add_only_http_to_linker_async(&mut linker)?;
    wasi::blobstore::link(&mut linker)?;
    wasi::config::link(&mut linker)?;
    wasi::keyvalue::link(&mut linker)?;
    wasi::logging::link(&mut linker)?;
    if abi == Abi::P3 {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        p3::add_to_linker(&mut linker)?;
    }
    wasi::filesystem::link(&mut linker, abi)?;
    wasi::sockets::link(&mut linker, abi)?;
    Ok(linker)
}

/// Links a component.
///
/// # Errors
/// In words: which import is not offered, and what is.
pub(crate) fn link(linker: &Linker<State>, component: &Component) -> Result<Linked, String> {
    let pre = linker.instantiate_pre(component).map_err(|error| unlinkable(&error))?;
    Ok(Linked { http: http(&pre), run: run(&pre) })
}

fn unlinkable(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    format!("{}; offered are {}", causes.join(": "), PACKAGES.join(", "))
}

fn http(pre: &InstancePre<State>) -> Option<HttpPre> {
    let two = || p2::bindings::ProxyPre::new(pre.clone()).map(HttpPre::P2);
    p3::bindings::ServicePre::new(pre.clone()).map(HttpPre::P3).or_else(|_| two()).ok()
}

fn run(pre: &InstancePre<State>) -> Option<RunPre> {
    let two = || wasmtime_wasi::p2::bindings::CommandPre::new(pre.clone()).map(RunPre::P2);
    wasmtime_wasi::p3::bindings::CommandPre::new(pre.clone()).map(RunPre::P3).or_else(|_| two()).ok()
}
