//! What a bucket holds, as the files of a folder: for backups.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::repositories::file_name;
use super::{Blobs, Error, FORMAT};
use crate::digest::Digest;

/// A file's path in the folder, with `/`, and its bytes in pieces.
pub struct Copy {
    /// Such as `blobs/sha256/<hex>`.
    pub path: String,
    /// Ends in an error where the bytes are damaged.
    pub bytes: BoxStream<'static, Result<Bytes, std::io::Error>>,
}

/// The files that a folder would have, those of the repositories before the blobs that they need.
pub struct Copies {
    blobs: Blobs,
    small: std::vec::IntoIter<(String, Bytes)>,
    large: std::vec::IntoIter<Digest>,
}

impl Blobs {
    /// The files of a folder that holds the same; nothing where this is a folder itself.
    pub async fn copies(&self) -> Result<Option<Copies>, Error> {
        let Some(bucket) = &self.0.bucket else { return Ok(None) };
        let mut small = vec![("format".to_owned(), Bytes::from(FORMAT.to_string()))];
        for (name, repository) in bucket.all().await? {
            let path = format!("repositories/{}", file_name(&name));
            let bytes = serde_json::to_vec(&repository).map_err(|source| Error::Repository { path: path.clone().into(), source })?;
            small.push((path, bytes.into()));
        }
        let mut large: Vec<Digest> = bucket.blob_list().await?.into_iter().map(|(digest, ..)| digest).collect();
        large.sort();
        Ok(Some(Copies { blobs: self.clone(), small: small.into_iter(), large: large.into_iter() }))
    }
}

impl Copies {
    /// The next file.
    pub async fn next(&mut self) -> Result<Option<Copy>, Error> {
        if let Some((path, bytes)) = self.small.next() {
            return Ok(Some(Copy { path, bytes: stream::once(async { Ok(bytes) }).boxed() }));
        }
        for digest in self.large.by_ref() {
            match self.blobs.read(&digest, None).await {
                Ok(reading) => return Ok(Some(Copy { path: format!("blobs/sha256/{}", digest.hex()), bytes: reading.bytes })),
                // One that went meanwhile was needed by nobody.
                Err(Error::NoBlob(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
