//! `wasi:keyvalue@0.2.0-draft`: the first draft, whose cursor and increment are unsigned numbers.

use wasmtime::component::{Linker, Resource};

use super::{Keyvalue, Opened, PAGE, Refusal, View};
use crate::sandbox::state::State;

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-keyvalue-draft",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::super::Opened },
    });
}

use generated::wasi::keyvalue::{atomics, batch, store};

pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, Keyvalue>(linker, State::keyvalue)?;
    atomics::add_to_linker::<_, Keyvalue>(linker, State::keyvalue)?;
    batch::add_to_linker::<_, Keyvalue>(linker, State::keyvalue)
}

impl From<Refusal> for store::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied => Self::AccessDenied,
            Refusal::Other(message) => Self::Other(message),
        }
    }
}

type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

fn other<T>(message: impl Into<String>) -> Answer<T> {
    Ok(Err(store::Error::Other(message.into())))
}

impl store::Host for View<'_> {
    async fn open(&mut self, name: String) -> Answer<Resource<Opened>> {
        Ok(View::open(self, &name)?.map_err(Into::into))
    }
}

impl store::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Resource<Opened>, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(super::get(&*self.bucket(&bucket)?, &key).await.map_err(Into::into))
    }

    async fn set(&mut self, bucket: Resource<Opened>, key: String, value: Vec<u8>) -> Answer<()> {
        Ok(super::write(&*self.bucket(&bucket)?, vec![(key, Some(value.into()))]).await.map_err(Into::into))
    }

    async fn delete(&mut self, bucket: Resource<Opened>, key: String) -> Answer<()> {
        Ok(super::write(&*self.bucket(&bucket)?, vec![(key, None)]).await.map_err(Into::into))
    }

    async fn exists(&mut self, bucket: Resource<Opened>, key: String) -> Answer<bool> {
        Ok(super::get(&*self.bucket(&bucket)?, &key).await.map(|found| found.is_some()).map_err(Into::into))
    }

    async fn list_keys(&mut self, bucket: Resource<Opened>, cursor: Option<u64>) -> Answer<store::KeyResponse> {
        // The number counts keys, so a page costs all the pages before it; draft2's cursor does not.
        let skip = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        let bucket = self.bucket(&bucket)?;
        match bucket.keys(None, skip.saturating_add(PAGE)).await {
            Ok(page) => {
                let cursor = page.next.is_some().then_some((skip.saturating_add(PAGE)) as u64);
                Ok(Ok(store::KeyResponse { keys: page.keys.into_iter().skip(skip).collect(), cursor }))
            }
            Err(error) => other(error.to_string()),
        }
    }

    async fn drop(&mut self, bucket: Resource<Opened>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    async fn increment(&mut self, bucket: Resource<Opened>, key: String, delta: u64) -> Answer<u64> {
        let Ok(delta) = i64::try_from(delta) else { return other("the increment is past the range of a signed number") };
        match self.bucket(&bucket)?.increment(&key, delta).await {
            Ok(sum) => u64::try_from(sum).map_or_else(|_| other("the number is below zero"), |sum| Ok(Ok(sum))),
            Err(error) => other(error.to_string()),
        }
    }
}

impl batch::Host for View<'_> {
    async fn get_many(&mut self, bucket: Resource<Opened>, keys: Vec<String>) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        Ok(super::get_many(&*self.bucket(&bucket)?, keys).await.map_err(Into::into))
    }

    async fn set_many(&mut self, bucket: Resource<Opened>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let changes = pairs.into_iter().map(|(key, value)| (key, Some(value.into()))).collect();
        Ok(super::write(&*self.bucket(&bucket)?, changes).await.map_err(Into::into))
    }

    async fn delete_many(&mut self, bucket: Resource<Opened>, keys: Vec<String>) -> Answer<()> {
        let changes = keys.into_iter().map(|key| (key, None)).collect();
        Ok(super::write(&*self.bucket(&bucket)?, changes).await.map_err(Into::into))
    }
}
