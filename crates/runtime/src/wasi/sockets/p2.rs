//! The interface as guests of 0.2 see it.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use futures::task::noop_waker_ref;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::tcp::HostTcpSocket;
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket::Host as _;
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, TcpSocket, subscribe};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi::sockets::WasiSocketsView;

use super::{Sockets, Unfound};
use crate::sandbox::state::State;

type Store<'a> = StoreContextMut<'a, State>;
type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// Single functions and resources of wasmtime's interfaces, and `ip-name-lookup` whole.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut make = linker.instance("wasi:sockets/tcp-create-socket@0.2.12")?;
    make.func_wrap("create-tcp-socket", |mut store: Store<'_>, (family,): (IpAddressFamily,)| create(store.data_mut(), family))?;

    let mut tcp = linker.instance("wasi:sockets/tcp@0.2.12")?;
    tcp.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store, rep| drop_socket(store.data_mut(), rep))?;

    let mut names = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    names.resource("resolve-address-stream", ResourceType::host::<Answers>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Answers>::new_own(rep))?;
        Ok(())
    })?;
    names.func_wrap("resolve-addresses", |mut store: Store<'_>, (network, name): (Resource<Network>, String)| {
        resolve(store.data_mut(), &network, name)
    })?;
    names.func_wrap("[method]resolve-address-stream.resolve-next-address", |mut store: Store<'_>, (answers,): (Resource<Answers>,)| {
        let answers = store.data_mut().table.get_mut(&answers)?;
        Ok((answers.next(),))
    })?;
    names.func_wrap("[method]resolve-address-stream.subscribe", |mut store: Store<'_>, (answers,): (Resource<Answers>,)| {
        let pollable: Resource<DynPollable> = subscribe(&mut store.data_mut().table, answers)?;
        Ok((pollable,))
    })
}

fn create(state: &mut State, family: IpAddressFamily) -> Answer<Resource<TcpSocket>> {
    let Some(sockets) = state.sockets.clone() else { return Ok((Err(ErrorCode::AccessDenied),)) };
    let Ok(permit) = sockets.make() else { return Ok((Err(ErrorCode::NewSocketLimit),)) };
    match state.sockets().create_tcp_socket(family) {
        Ok(socket) => {
            sockets.made(socket.rep(), permit);
            Ok((Ok(socket),))
        }
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn drop_socket(state: &mut State, rep: u32) -> wasmtime::Result<()> {
    let mut view = WasiSocketsView::sockets(state);
    let is_open = view.local_address(Resource::new_borrow(rep)).is_ok();
    HostTcpSocket::drop(&mut view, Resource::new_own(rep))?;
    if let Some(sockets) = &state.sockets {
        sockets.dropped(rep, is_open);
    }
    Ok(())
}

fn resolve(state: &mut State, network: &Resource<Network>, name: String) -> Answer<Resource<Answers>> {
    // Having a network is what allows asking at all.
    state.table.get(network)?;
    let Some(sockets) = state.sockets.clone() else { return Ok((Err(ErrorCode::AccessDenied),)) };
    let mut answers = Answers { asked: Some(spawn(ask(sockets, name))), found: Ok(Vec::new().into_iter()) };
    // A refusal is known at once.
    if answers.poll(&mut Context::from_waker(noop_waker_ref())).is_ready()
        && let Err(code) = answers.found
    {
        return Ok((Err(code),));
    }
    Ok((Ok(state.table.push(answers)?),))
}

async fn ask(sockets: Arc<Sockets>, name: String) -> Result<Vec<IpAddr>, ErrorCode> {
    sockets.resolve(&name).await.map_err(|unfound| match unfound {
        Unfound::Denied => ErrorCode::AccessDenied,
        Unfound::Unknown => ErrorCode::NameUnresolvable,
    })
}

/// The addresses of a name, once they are there.
struct Answers {
    asked: Option<AbortOnDropJoinHandle<Result<Vec<IpAddr>, ErrorCode>>>,
    found: Result<IntoIter<IpAddr>, ErrorCode>,
}

impl Answers {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(asked) = &mut self.asked {
            self.found = std::task::ready!(Pin::new(asked).poll(context)).map(Vec::into_iter);
            self.asked = None;
        }
        Poll::Ready(())
    }

    fn next(&mut self) -> Result<Option<IpAddress>, ErrorCode> {
        if self.poll(&mut Context::from_waker(noop_waker_ref())).is_pending() {
            return Err(ErrorCode::WouldBlock);
        }
        let found = self.found.as_mut().map_err(|code| *code)?;
        Ok(found.next().map(IpAddress::from))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Answers {
    async fn ready(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }
}
