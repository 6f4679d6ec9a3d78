//! `wasi:keyvalue`, both drafts, over the node's buckets. Only buckets that the spec names can be opened.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::keyvalue::{self, Bucket, BucketId};
use crate::sandbox::state::{Grants, State};

mod draft;
mod draft2;

/// Keys of one page.
const PAGE: usize = 1_000;

/// Keys of one batch.
const BATCH: usize = 1_000;

/// A bucket that a guest has opened.
pub struct Opened(pub(super) Arc<dyn Bucket>);

/// A key as a guest read it, to be swapped if it still is.
pub struct Cas {
    bucket: Arc<dyn Bucket>,
    key: String,
    seen: Option<keyvalue::Versioned>,
}

/// The part of a store's data that these interfaces use.
pub struct View<'a> {
    pub table: &'a mut ResourceTable,
    pub grants: &'a Arc<Grants>,
}

struct Keyvalue;

impl HasData for Keyvalue {
    type Data<'a> = View<'a>;
}

/// Adds both drafts.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    draft::link(linker)?;
    draft2::link(linker)
}

/// Why a bucket could not be opened or used, before either draft's own words for it.
enum Refusal {
    Denied,
    Other(String),
}

impl From<keyvalue::Error> for Refusal {
    fn from(error: keyvalue::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl View<'_> {
    fn open(&mut self, name: &str) -> wasmtime::Result<Result<Resource<Opened>, Refusal>> {
        let spec = &self.grants.spec;
        if !spec.keyvalue.iter().any(|granted| granted == name) {
            return Ok(Err(Refusal::Denied));
        }
        let app = spec.pod.app.clone().unwrap_or_else(|| spec.pod.service.clone());
        let id = BucketId { namespace: spec.pod.namespace.clone(), app, bucket: name.to_owned() };
        let bucket = self.grants.host.buckets.bucket(id);
        Ok(Ok(self.table.push(Opened(bucket))?))
    }

    /// The bucket itself, so that the table is free while the bucket is at work.
    fn bucket(&self, opened: &Resource<Opened>) -> wasmtime::Result<Arc<dyn Bucket>> {
        Ok(self.table.get(opened)?.0.clone())
    }
}

async fn get(bucket: &dyn Bucket, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
    Ok(bucket.get(key).await?.map(|found| found.value.into()))
}

async fn write(bucket: &dyn Bucket, changes: Vec<(String, Option<Bytes>)>) -> Result<(), Refusal> {
    small(changes.len())?;
    Ok(bucket.set_many(changes).await?)
}

async fn get_many(bucket: &dyn Bucket, keys: Vec<String>) -> Result<Vec<Option<(String, Vec<u8>)>>, Refusal> {
    small(keys.len())?;
    let found = bucket.get_many(&keys).await?;
    Ok(keys.into_iter().zip(found).map(|(key, found)| found.map(|found| (key, found.value.into()))).collect())
}

fn small(batch: usize) -> Result<(), Refusal> {
    if batch > BATCH { Err(Refusal::Other(format!("a batch may have {BATCH} keys, this one has {batch}"))) } else { Ok(()) }
}
