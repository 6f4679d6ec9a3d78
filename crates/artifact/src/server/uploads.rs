//! Uploads: in one request, or in chunks that follow each other under a session's address.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

use super::answer::{Code, Refusal};
use super::content::{CONTENT_DIGEST, set};
use super::route::read_digest;
use super::{Call, Limits};
use crate::blobs::{Blobs, Upload};
use crate::digest::Digest;

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// How long a client may pause within a body.
const PAUSE: Duration = Duration::from_secs(60);

/// How long a session may lie between two requests.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// All open uploads. They do not outlive the process; clients begin again.
pub(super) struct Uploads {
    blobs: Blobs,
    limits: Limits,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

struct Session {
    repository: String,
    /// Held while a chunk is being written.
    upload: AsyncMutex<Option<Upload>>,
    received: AtomicU64,
    used: Mutex<Instant>,
}

/// A body that fails when it pauses too long.
pub(super) fn patient(body: Body) -> impl Stream<Item = Result<Bytes, io::Error>> {
    let patience = |mut body: axum::body::BodyDataStream| async move {
        match tokio::time::timeout(PAUSE, body.next()).await {
            Ok(piece) => piece.map(|piece| (piece.map_err(io::Error::other), body)),
            Err(_) => Some((Err(io::Error::new(io::ErrorKind::TimedOut, "the client paused too long")), body)),
        }
    };
    stream::unfold(body.into_data_stream(), patience)
}

impl Uploads {
    pub fn new(blobs: Blobs, limits: Limits) -> Uploads {
        Uploads { blobs, limits, sessions: Mutex::default() }
    }

    /// POST: a blob that is here already (mounted), a blob in this one request, or a new session.
    pub async fn begin(&self, call: &Call, body: Body) -> Result<Response, Refusal> {
        if let Some(mount) = call.query.get("mount") {
            let digest = read_digest(mount)?;
            if self.blobs.size(&digest).await?.is_some() {
                return Ok(created(&call.repository, &digest));
            }
        }
        if let Some(digest) = call.query.get("digest") {
            let digest = read_digest(digest)?;
            let mut upload = self.blobs.upload(self.limits.blob)?;
            check_length(call, 0, self.limits.blob)?;
            upload.write_all(patient(body)).await?;
            upload.finish(&digest).await?;
            return Ok(created(&call.repository, &digest));
        }
        let id = Uuid::new_v4().to_string();
        let session = Session {
            repository: call.repository.clone(),
            upload: AsyncMutex::new(Some(self.blobs.upload(self.limits.blob)?)),
            received: AtomicU64::new(0),
            used: Mutex::new(Instant::now()),
        };
        self.keep(&id, session)?;
        Ok(progress(StatusCode::ACCEPTED, &call.repository, &id, 0))
    }

    fn keep(&self, id: &str, session: Session) -> Result<(), Refusal> {
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, session| session.used.lock().elapsed() < IDLE);
        if sessions.len() >= self.limits.uploads {
            return Err(Refusal::new(429, Code::TooManyRequests, format!("{} uploads are open, finish some first", sessions.len())));
        }
        sessions.insert(id.to_string(), Arc::new(session));
        Ok(())
    }

    /// PATCH: the next chunk.
    pub async fn append(&self, id: &str, call: &Call, body: Body) -> Result<Response, Refusal> {
        let session = self.session(id, &call.repository)?;
        session.write(call, body, id, self.limits.blob).await.inspect_err(|_| self.forget_if_broken(id, &session))?;
        Ok(progress(StatusCode::ACCEPTED, &call.repository, id, session.received.load(Ordering::Acquire)))
    }

    /// PUT: the last chunk, which may be empty, and the digest of all.
    pub async fn finish(&self, id: &str, call: &Call, body: Body) -> Result<Response, Refusal> {
        let missing = || Refusal::new(400, Code::DigestInvalid, "the query has no digest");
        let digest = read_digest(call.query.get("digest").ok_or_else(missing)?)?;
        let session = self.session(id, &call.repository)?;
        session.write(call, body, id, self.limits.blob).await.inspect_err(|_| self.forget_if_broken(id, &session))?;
        let upload = session.upload.try_lock().map_err(|_| busy())?.take();
        self.sessions.lock().remove(id);
        upload.ok_or_else(unknown)?.finish(&digest).await?;
        Ok(created(&call.repository, &digest))
    }

    /// GET: how far it has come.
    pub fn status(&self, id: &str, call: &Call) -> Result<Response, Refusal> {
        let session = self.session(id, &call.repository)?;
        Ok(progress(StatusCode::NO_CONTENT, &call.repository, id, session.received.load(Ordering::Acquire)))
    }

    /// DELETE: never mind.
    pub fn cancel(&self, id: &str, call: &Call) -> Result<Response, Refusal> {
        self.session(id, &call.repository)?;
        self.sessions.lock().remove(id);
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    fn session(&self, id: &str, repository: &str) -> Result<Arc<Session>, Refusal> {
        let sessions = self.sessions.lock();
        let session = sessions.get(id).filter(|session| session.repository == repository).ok_or_else(unknown)?;
        *session.used.lock() = Instant::now();
        Ok(session.clone())
    }

    fn forget_if_broken(&self, id: &str, session: &Session) {
        if session.upload.try_lock().is_ok_and(|upload| upload.as_ref().is_none_or(Upload::is_broken)) {
            self.sessions.lock().remove(id);
        }
    }
}

impl Session {
    async fn write(&self, call: &Call, body: Body, id: &str, limit: u64) -> Result<(), Refusal> {
        let mut upload = self.upload.try_lock().map_err(|_| busy())?;
        let upload = upload.as_mut().ok_or_else(unknown)?;
        let at = upload.received();
        check_length(call, at, limit)?;
        let announced = call.header(CONTENT_RANGE).map(|range| self.check_range(range, at, call, id)).transpose()?;
        let written = upload.write_all(patient(body)).await;
        self.received.store(upload.received(), Ordering::Release);
        *self.used.lock() = Instant::now();
        written?;
        match announced.filter(|length| at + length != upload.received()) {
            Some(length) => {
                let got = upload.received() - at;
                Err(Refusal::new(400, Code::SizeInvalid, format!("the chunk has {got} bytes where Content-Range says {length}")))
            }
            None => Ok(()),
        }
    }

    /// `first-last` must go on where the upload is. Answers how many bytes are announced.
    fn check_range(&self, range: &str, at: u64, call: &Call, id: &str) -> Result<u64, Refusal> {
        let numbers = range.trim_start_matches("bytes ").split('/').next().and_then(|range| range.split_once('-'));
        let numbers = numbers.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
        let malformed = || Refusal::new(400, Code::BlobUploadInvalid, "Content-Range must be first-last");
        let (first, last) = numbers.filter(|(first, last)| first <= last).ok_or_else(malformed)?;
        match first == at {
            true => Ok((last - first).saturating_add(1)),
            false => Err(Refusal::new(416, Code::BlobUploadInvalid, format!("the upload has {at} bytes, the chunk starts at {first}"))
                .with(LOCATION, &address(&call.repository, id))
                .with(RANGE, &so_far(at))),
        }
    }
}

/// Refuses what is announced to be too long before it is read.
fn check_length(call: &Call, at: u64, limit: u64) -> Result<(), Refusal> {
    let length = call.header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    match length.filter(|length| at.saturating_add(*length) > limit) {
        Some(_) => Err(crate::blobs::Error::TooLarge { limit }.into()),
        None => Ok(()),
    }
}

fn unknown() -> Refusal {
    Refusal::new(404, Code::BlobUploadUnknown, "there is no such upload: begin it again")
}

fn busy() -> Refusal {
    Refusal::new(409, Code::BlobUploadInvalid, "another chunk of this upload is still coming")
}

fn address(repository: &str, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn so_far(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

fn progress(status: StatusCode, repository: &str, id: &str, received: u64) -> Response {
    let mut response = status.into_response();
    set(&mut response, LOCATION, &address(repository, id));
    set(&mut response, RANGE, &so_far(received));
    set(&mut response, UPLOAD_ID, id);
    response
}

fn created(repository: &str, digest: &Digest) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    set(&mut response, LOCATION, &format!("/v2/{repository}/blobs/{digest}"));
    set(&mut response, CONTENT_DIGEST, &digest.to_string());
    response
}
