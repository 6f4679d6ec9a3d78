//! `wasi:blobstore`: containers that the spec names, as parts of what the App keeps on this node.

mod body;
mod host;

use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::component::{HasData, Linker, ResourceTable};

use crate::blobs::{Error, Names, Object, Store, Upload};
use crate::sandbox::state::{Grants, State};

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-blobstore",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/types.outgoing-value": super::Outgoing,
            "wasi:blobstore/types.incoming-value": super::Incoming,
            "wasi:blobstore/container.container": super::Opened,
            "wasi:blobstore/container.stream-object-names": super::Listing,
        },
    });
}

use generated::wasi::blobstore::{blobstore, container, types};

/// A container that a guest has opened.
pub struct Opened {
    store: Arc<Store>,
    name: String,
}

/// What a guest writes; it becomes an object when it is finished.
#[derive(Default)]
pub struct Outgoing {
    /// Shared with the stream into it.
    upload: Arc<Mutex<Option<Upload>>>,
    /// Container and name.
    target: Option<(String, String)>,
    has_body: bool,
}

/// What a guest reads.
pub struct Incoming {
    object: Object,
    start: u64,
    end: u64,
}

/// Names that a guest reads some of at a time.
pub struct Listing(Arc<Mutex<Names>>);

/// The part of a store's data that these interfaces use.
pub struct View<'a> {
    pub table: &'a mut ResourceTable,
    pub grants: &'a Arc<Grants>,
}

struct Blobstore;

impl HasData for Blobstore {
    type Data<'a> = View<'a>;
}

/// Adds the three interfaces.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, Blobstore>(linker, State::blobstore)?;
    container::add_to_linker::<_, Blobstore>(linker, State::blobstore)?;
    blobstore::add_to_linker::<_, Blobstore>(linker, State::blobstore)
}

impl View<'_> {
    /// What the App keeps, if the container is one that the spec names.
    fn granted(&self, container: &str) -> Result<Arc<Store>, String> {
        let named = self.grants.spec.blobs.iter().any(|granted| granted == container);
        match &self.grants.blobs {
            Some(store) if named => Ok(store.clone()),
            _ => Err(format!("access to the container `{container}` is not granted; name it in uses.blobs")),
        }
    }
}

/// Does something that waits for the disk. What has begun ends, whatever becomes of the guest.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
