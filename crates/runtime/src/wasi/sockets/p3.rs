//! The interface as guests of 0.3 see it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::component::{Access, Accessor, FutureConsumer, FutureReader, Linker, Resource, ResourceType, Source, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup;
use wasmtime_wasi::p3::bindings::sockets::types::{ErrorCode, HostTcpSocket, HostTcpSocketWithStore, IpAddress, IpAddressFamily};
use wasmtime_wasi::sockets::{TcpSocket, WasiSockets, WasiSocketsCtxView, WasiSocketsView};

use super::{Permit, Unfound};
use crate::sandbox::state::State;

type Store<'a> = StoreContextMut<'a, State>;
type Done = Result<(), ErrorCode>;
type Found = Result<Vec<IpAddress>, ip_name_lookup::ErrorCode>;

/// Single functions and a resource of wasmtime's interfaces.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:sockets/types@0.3.0")?;
    types.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store, rep| drop_socket(store.data_mut(), rep))?;
    types.func_wrap("[static]tcp-socket.create", |mut store: Store<'_>, (family,): (IpAddressFamily,)| {
        Ok((create(store.data_mut(), family)?,))
    })?;
    types.func_wrap("[method]tcp-socket.send", |mut store: Store<'_>, (socket, data): (Resource<TcpSocket>, StreamReader<u8>)| {
        let permit = permit(store.data_mut(), &socket);
        let done = <WasiSockets as HostTcpSocketWithStore<State>>::send(access(&mut store), socket, data)?;
        Ok((holding(store, permit, done)?,))
    })?;
    types.func_wrap("[method]tcp-socket.receive", |mut store: Store<'_>, (socket,): (Resource<TcpSocket>,)| {
        let permit = permit(store.data_mut(), &socket);
        let (data, done) = <WasiSockets as HostTcpSocketWithStore<State>>::receive(access(&mut store), socket)?;
        Ok(((data, holding(store, permit, done)?),))
    })?;

    let mut names = linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?;
    names.func_wrap_concurrent("resolve-addresses", |store: &Accessor<State>, (name,): (String,)| {
        Box::pin(async move { Ok((resolve(store, name).await,)) })
    })
}

fn access<'a>(store: &'a mut Store<'_>) -> Access<'a, State, WasiSockets> {
    Access::<State, WasiSockets>::new(store.as_context_mut(), view)
}

fn view(state: &mut State) -> WasiSocketsCtxView<'_> {
    WasiSocketsView::sockets(state)
}

fn create(state: &mut State, family: IpAddressFamily) -> wasmtime::Result<Result<Resource<TcpSocket>, ErrorCode>> {
    let Some(sockets) = state.sockets.clone() else { return Ok(Err(ErrorCode::AccessDenied)) };
    let permit = match sockets.make() {
        Ok(permit) => permit,
        Err(why) => return Ok(Err(ErrorCode::Other(Some(why)))),
    };
    match HostTcpSocket::create(&mut view(state), family) {
        Ok(socket) => {
            sockets.made(socket.rep(), permit);
            Ok(Ok(socket))
        }
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

fn drop_socket(state: &mut State, rep: u32) -> wasmtime::Result<()> {
    let mut view = view(state);
    let is_open = view.get_local_address(Resource::new_borrow(rep)).is_ok();
    HostTcpSocket::drop(&mut view, Resource::new_own(rep))?;
    if let Some(sockets) = &state.sockets {
        sockets.dropped(rep, is_open);
    }
    Ok(())
}

fn permit(state: &State, socket: &Resource<TcpSocket>) -> Option<Permit> {
    state.sockets.as_ref()?.permit(socket.rep())
}

/// What told a guest that one direction of a connection is over, which also gives the permit back: the two directions outlive their socket.
fn holding(mut store: Store<'_>, permit: Option<Permit>, done: FutureReader<Done>) -> wasmtime::Result<FutureReader<Done>> {
    let Some(permit) = permit else { return Ok(done) };
    let (sender, told) = oneshot::channel();
    done.pipe(&mut store, Holding(Some((sender, permit))))?;
    FutureReader::new(&mut store, told)
}

struct Holding(Option<(oneshot::Sender<Done>, Permit)>);

impl<D> FutureConsumer<D> for Holding {
    type Item = Done;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<D>,
        mut source: Source<'_, Done>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut done = None;
        source.read(store, &mut done)?;
        if let (Some(done), Some((sender, _permit))) = (done, self.0.take()) {
            // The guest may have stopped listening.
            let _ = sender.send(done);
        }
        Poll::Ready(Ok(()))
    }
}

async fn resolve(store: &Accessor<State>, name: String) -> Found {
    let sockets = store.with(|mut access| access.get().sockets.clone());
    let found = match sockets {
        Some(sockets) => sockets.resolve(&name).await,
        None => Err(Unfound::Denied),
    };
    found.map(|addresses| addresses.into_iter().map(IpAddress::from).collect()).map_err(|unfound| match unfound {
        Unfound::Denied => ip_name_lookup::ErrorCode::AccessDenied,
        Unfound::Unknown => ip_name_lookup::ErrorCode::NameUnresolvable,
    })
}
