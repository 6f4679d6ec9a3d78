//! The interfaces' functions.

use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::body::{Reader, Writer};
use super::{Incoming, Listing, Opened, Outgoing, View, blobstore, container, types, waiting};
use crate::blobs::{Error, Store};
use types::{ContainerMetadata, ObjectId, ObjectMetadata};

/// Bytes that a guest gets in one piece.
const WHOLE: u64 = 16 << 20;

/// Names that a guest gets at a time.
const PAGE: u64 = 1_000;

type Answer<T> = wasmtime::Result<Result<T, String>>;

impl types::Host for View<'_> {}

impl types::HostOutgoingValue for View<'_> {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<Outgoing>> {
        Ok(self.table.push(Outgoing::default())?)
    }

    async fn outgoing_value_write_body(&mut self, value: Resource<Outgoing>) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        // It could become an object of no container that is granted.
        let Some(store) = self.grants.blobs.clone() else { return Ok(Err(())) };
        if std::mem::replace(&mut self.table.get_mut(&value)?.has_body, true) {
            return Ok(Err(()));
        }
        let Ok(upload) = waiting(move || store.upload()).await else { return Ok(Err(())) };
        let outgoing = self.table.get(&value)?;
        *outgoing.upload.lock() = Some(upload);
        let writer: DynOutputStream = Box::new(Writer::new(outgoing.upload.clone()));
        Ok(Ok(self.table.push(writer)?))
    }

    async fn finish(&mut self, value: Resource<Outgoing>) -> Answer<()> {
        let outgoing = self.table.delete(value)?;
        // The stream holds it too, until the last write has ended: what comes after would be missing, without a word.
        if Arc::strong_count(&outgoing.upload) > 1 {
            discard(outgoing);
            return Ok(Err("the value's stream is still open; drop it before finish".into()));
        }
        let upload = outgoing.upload.lock().take();
        if outgoing.has_body && upload.is_none() {
            return Ok(Err("a part of the value could not be written, so nothing is kept of it".into()));
        }
        let Some((container, name)) = outgoing.target else {
            return Ok(Err("the value goes to no object; call write-data before finish".into()));
        };
        let store = match self.granted(&container) {
            Ok(store) => store,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // A value without a body is an empty object.
        Ok(waiting(move || upload.map_or_else(|| store.upload(), Ok)?.finish(&container, &name)).await)
    }

    async fn drop(&mut self, value: Resource<Outgoing>) -> wasmtime::Result<()> {
        discard(self.table.delete(value)?);
        Ok(())
    }
}

/// Removes what was written, on a thread that may wait for the disk.
fn discard(outgoing: Outgoing) {
    tokio::task::spawn_blocking(move || drop(outgoing.upload.lock().take()));
}

impl types::HostIncomingValue for View<'_> {
    async fn incoming_value_consume_sync(&mut self, value: Resource<Incoming>) -> Answer<Vec<u8>> {
        let Incoming { object, start, end } = self.table.delete(value)?;
        if end - start > WHOLE {
            let why = format!("the value has {} bytes, and {WHOLE} are given in one piece; use incoming-value-consume-async", end - start);
            return Ok(Err(why));
        }
        Ok(waiting(move || {
            let mut bytes = vec![0; (end - start) as usize];
            let mut read = 0;
            while read < bytes.len() {
                read += object.read_at(&mut bytes[read..], start + read as u64)?;
            }
            Ok(bytes)
        })
        .await)
    }

    async fn incoming_value_consume_async(&mut self, value: Resource<Incoming>) -> Answer<Resource<DynInputStream>> {
        let Incoming { object, start, end } = self.table.delete(value)?;
        let reader: DynInputStream = Box::new(Reader::new(Arc::new(object), start, end));
        Ok(Ok(self.table.push(reader)?))
    }

    async fn size(&mut self, value: Resource<Incoming>) -> wasmtime::Result<u64> {
        let incoming = self.table.get(&value)?;
        Ok(incoming.end - incoming.start)
    }

    async fn drop(&mut self, value: Resource<Incoming>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

impl container::Host for View<'_> {}

impl View<'_> {
    /// The App's store and the container's name, for work that waits.
    fn opened(&self, container: &Resource<Opened>) -> wasmtime::Result<(Arc<Store>, String)> {
        let opened = self.table.get(container)?;
        Ok((opened.store.clone(), opened.name.clone()))
    }
}

impl container::HostContainer for View<'_> {
    async fn name(&mut self, container: Resource<Opened>) -> Answer<String> {
        Ok(Ok(self.opened(&container)?.1))
    }

    async fn info(&mut self, container: Resource<Opened>) -> Answer<ContainerMetadata> {
        let (store, name) = self.opened(&container)?;
        Ok(waiting(move || Ok(ContainerMetadata { created_at: store.ensure(&name)?, name })).await)
    }

    async fn get_data(&mut self, container: Resource<Opened>, name: String, start: u64, end: u64) -> Answer<Resource<Incoming>> {
        let (store, container) = self.opened(&container)?;
        let found = waiting(move || store.object(&container, &name)?.ok_or(Error::NoObject(name))).await;
        match found {
            Ok(object) => {
                let end = object.size.min(end.saturating_add(1));
                let incoming = Incoming { start: start.min(end), end, object };
                Ok(Ok(self.table.push(incoming)?))
            }
            Err(why) => Ok(Err(why)),
        }
    }

    async fn write_data(&mut self, container: Resource<Opened>, name: String, value: Resource<Outgoing>) -> Answer<()> {
        let (_, container) = self.opened(&container)?;
        let outgoing = self.table.get_mut(&value)?;
        if outgoing.target.is_some() {
            return Ok(Err("the value goes to an object already; make another".into()));
        }
        outgoing.target = Some((container, name));
        Ok(Ok(()))
    }

    async fn list_objects(&mut self, container: Resource<Opened>) -> Answer<Resource<Listing>> {
        let (store, container) = self.opened(&container)?;
        match waiting(move || store.names(&container)).await {
            Ok(names) => Ok(Ok(self.table.push(Listing(Arc::new(Mutex::new(names))))?)),
            Err(why) => Ok(Err(why)),
        }
    }

    async fn delete_object(&mut self, container: Resource<Opened>, name: String) -> Answer<()> {
        let (store, container) = self.opened(&container)?;
        Ok(waiting(move || store.remove(&container, &name).map(drop)).await)
    }

    async fn delete_objects(&mut self, container: Resource<Opened>, names: Vec<String>) -> Answer<()> {
        let (store, container) = self.opened(&container)?;
        Ok(waiting(move || names.iter().try_for_each(|name| store.remove(&container, name).map(drop))).await)
    }

    async fn has_object(&mut self, container: Resource<Opened>, name: String) -> Answer<bool> {
        let (store, container) = self.opened(&container)?;
        Ok(waiting(move || Ok(store.object(&container, &name)?.is_some())).await)
    }

    async fn object_info(&mut self, container: Resource<Opened>, name: String) -> Answer<ObjectMetadata> {
        let (store, container) = self.opened(&container)?;
        Ok(waiting(move || {
            let object = store.object(&container, &name)?.ok_or_else(|| Error::NoObject(name.clone()))?;
            Ok(ObjectMetadata { name, container, created_at: object.created, size: object.size })
        })
        .await)
    }

    async fn clear(&mut self, container: Resource<Opened>) -> Answer<()> {
        let (store, container) = self.opened(&container)?;
        Ok(waiting(move || store.clear(&container)).await)
    }

    async fn drop(&mut self, container: Resource<Opened>) -> wasmtime::Result<()> {
        self.table.delete(container)?;
        Ok(())
    }
}

impl container::HostStreamObjectNames for View<'_> {
    async fn read_stream_object_names(&mut self, listing: Resource<Listing>, len: u64) -> Answer<(Vec<String>, bool)> {
        let names = self.table.get(&listing)?.0.clone();
        Ok(waiting(move || {
            let (mut names, mut page) = (names.lock(), Vec::new());
            while (page.len() as u64) < len.min(PAGE) {
                match names.next_name()? {
                    Some(name) => page.push(name),
                    None => return Ok((page, true)),
                }
            }
            Ok((page, false))
        })
        .await)
    }

    async fn skip_stream_object_names(&mut self, listing: Resource<Listing>, count: u64) -> Answer<(u64, bool)> {
        let names = self.table.get(&listing)?.0.clone();
        Ok(waiting(move || {
            let mut names = names.lock();
            // More than this in one call would keep a thread from its other work.
            for skipped in 0..count.min(PAGE) {
                if names.next_name()?.is_none() {
                    return Ok((skipped, true));
                }
            }
            Ok((count.min(PAGE), false))
        })
        .await)
    }

    async fn drop(&mut self, listing: Resource<Listing>) -> wasmtime::Result<()> {
        self.table.delete(listing)?;
        Ok(())
    }
}

impl blobstore::Host for View<'_> {
    async fn create_container(&mut self, name: String) -> Answer<Resource<Opened>> {
        let store = match self.granted(&name) {
            Ok(store) => store,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let opened = Opened { store: store.clone(), name: name.clone() };
        match waiting(move || store.ensure(&name)).await {
            Ok(_) => Ok(Ok(self.table.push(opened)?)),
            Err(why) => Ok(Err(why)),
        }
    }

    // A container that is granted is there: the file that grants it is where it comes from.
    async fn get_container(&mut self, name: String) -> Answer<Resource<Opened>> {
        self.create_container(name).await
    }

    async fn delete_container(&mut self, name: String) -> Answer<()> {
        match self.granted(&name) {
            Ok(store) => Ok(waiting(move || store.clear(&name)).await),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn container_exists(&mut self, name: String) -> Answer<bool> {
        Ok(self.granted(&name).map(|_| true))
    }

    async fn copy_object(&mut self, from: ObjectId, to: ObjectId) -> Answer<()> {
        self.transfer(from, to, false).await
    }

    async fn move_object(&mut self, from: ObjectId, to: ObjectId) -> Answer<()> {
        self.transfer(from, to, true).await
    }
}

impl View<'_> {
    async fn transfer(&mut self, from: ObjectId, to: ObjectId, remove: bool) -> Answer<()> {
        let store = match self.granted(&from.container).and_then(|_| self.granted(&to.container)) {
            Ok(store) => store,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(waiting(move || {
            let (from, to) = ((&*from.container, &*from.object), (&*to.container, &*to.object));
            store.copy(from, to)?;
            if remove && from != to {
                store.remove(from.0, from.1)?;
            }
            Ok(())
        })
        .await)
    }
}
