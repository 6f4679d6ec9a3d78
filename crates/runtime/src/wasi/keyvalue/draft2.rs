//! `wasi:keyvalue@0.2.0-draft2`: compare-and-swap and a signed increment.

use wasmtime::component::{Linker, Resource};

use super::{Cas, Keyvalue, Opened, PAGE, Refusal, View};
use crate::sandbox::state::State;

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-keyvalue-draft2",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::super::Opened, "wasi:keyvalue/atomics.cas": super::super::Cas },
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

    async fn list_keys(&mut self, bucket: Resource<Opened>, cursor: Option<String>) -> Answer<store::KeyResponse> {
        let page = self.bucket(&bucket)?.keys(cursor.as_deref(), PAGE).await;
        Ok(page.map(|page| store::KeyResponse { keys: page.keys, cursor: page.next }).map_err(|error| Refusal::from(error).into()))
    }

    async fn drop(&mut self, bucket: Resource<Opened>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    async fn increment(&mut self, bucket: Resource<Opened>, key: String, delta: i64) -> Answer<i64> {
        Ok(self.bucket(&bucket)?.increment(&key, delta).await.map_err(|error| Refusal::from(error).into()))
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let cas = self.table.delete(cas)?;
        let expected = cas.seen.as_ref().map(|seen| seen.version);
        match cas.bucket.swap(&cas.key, expected, value.into()).await {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(seen)) => Ok(Err(atomics::CasError::CasFailed(self.table.push(Cas { seen, ..cas })?))),
            Err(error) => Ok(Err(atomics::CasError::StoreError(Refusal::from(error).into()))),
        }
    }
}

impl atomics::HostCas for View<'_> {
    async fn new(&mut self, bucket: Resource<Opened>, key: String) -> Answer<Resource<Cas>> {
        let bucket = self.bucket(&bucket)?;
        match bucket.get(&key).await {
            Ok(seen) => Ok(Ok(self.table.push(Cas { bucket, key, seen })?)),
            Err(error) => Ok(Err(Refusal::from(error).into())),
        }
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
        Ok(Ok(self.table.get(&cas)?.seen.as_ref().map(|seen| seen.value.to_vec())))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
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
