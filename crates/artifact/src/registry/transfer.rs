//! Moving blobs: down in one piece or resumed where it broke, up only what is missing.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{Method, StatusCode};
use oci_spec::image::Descriptor;
use reqwest::Response;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::Failure;
use super::location::{join, shown_url};
use super::remote::{CONTENT_DIGEST, Remote, Rights, read};
use super::wire::{Answer, Ask};
use crate::blobs::{Blobs, Name};
use crate::digest::Digest;
use crate::manifest::{Described, Document, INDEX, LARGEST, MANIFEST, parse};
use crate::pack::Packed;
use crate::reference::Reference;

/// A blob on its way down.
struct Download<'a> {
    remote: &'a Remote,
    wanted: &'a Described,
    what: String,
    bytes: BytesMut,
}

/// How one attempt ended.
enum Attempt {
    Done,
    BrokeOff,
}

impl Remote {
    /// Fetches a blob of exactly the described size and digest.
    pub async fn blob(&self, wanted: &Described) -> Result<Bytes, Failure> {
        let what = format!("the blob {}", wanted.digest);
        let download = Download { remote: self, wanted, what, bytes: BytesMut::new() };
        let limit = self.http.limits.transfer;
        let late = || Err(Failure::Late { url: format!("{}/{}", self.host, self.repository), limit });
        timeout(limit, download.run()).await.unwrap_or_else(|_| late())
    }
}

impl Download<'_> {
    async fn run(mut self) -> Result<Bytes, Failure> {
        let attempts = self.remote.http.limits.resumes + 1;
        for _ in 0..attempts {
            if let Attempt::Done = self.attempt().await? {
                return self.checked();
            }
        }
        let (received, size) = (self.bytes.len() as u64, self.wanted.size);
        Err(Failure::Cut { what: self.what, received, size, attempts })
    }

    fn checked(self) -> Result<Bytes, Failure> {
        let (got, wanted) = (Digest::of(&self.bytes), self.wanted.digest);
        match got == wanted {
            true => Ok(self.bytes.freeze()),
            false => Err(Failure::Digest { what: self.what, wanted, got }),
        }
    }

    async fn attempt(&mut self) -> Result<Attempt, Failure> {
        let mut ask = Ask::new(Method::GET, self.remote.url(&format!("blobs/{}", self.wanted.digest)).await?);
        if !self.bytes.is_empty() {
            ask = ask.header(RANGE, &format!("bytes={}-", self.bytes.len()));
        }
        let answer = match self.remote.ask(&ask, Rights::Pull).await {
            Ok(answer) => answer,
            // A connection that broke is worth another try; one that never was only when something has come before.
            Err(Failure::Unreachable { source, .. }) if !self.bytes.is_empty() || !source.is_connect() => return Ok(Attempt::BrokeOff),
            Err(failure) => return Err(failure),
        };
        let response = self.remote.succeeded(answer, &self.what).await?.response;
        self.check_head(&response)?;
        self.receive(response).await
    }

    /// Starts anew when the registry does, goes on where it goes on, and refuses a length that cannot be right.
    fn check_head(&mut self, response: &Response) -> Result<(), Failure> {
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
            if self.bytes.is_empty() || !range.starts_with(&format!("bytes {}-", self.bytes.len())) {
                let why = format!("it sent the range {range:?}, which was not asked for");
                return Err(Failure::Nonsense { url: shown_url(response.url()), why });
            }
        } else {
            self.bytes.clear();
        }
        let rest = self.wanted.size - self.bytes.len() as u64;
        match response.content_length().filter(|length| *length != rest) {
            Some(length) => Err(self.wrong_size(self.bytes.len() as u64 + length)),
            None => Ok(()),
        }
    }

    async fn receive(&mut self, mut response: Response) -> Result<Attempt, Failure> {
        let limits = &self.remote.http.limits;
        let least = limits.patience.as_secs().max(1).saturating_mul(limits.slowest);
        let (mut window, mut at_start) = (Instant::now() + limits.patience, self.bytes.len() as u64);
        loop {
            match timeout_at(window, response.chunk()).await {
                Ok(Ok(Some(piece))) if self.bytes.len() as u64 + piece.len() as u64 > self.wanted.size => {
                    return Err(self.wrong_size(self.bytes.len() as u64 + piece.len() as u64));
                }
                Ok(Ok(Some(piece))) => self.bytes.extend_from_slice(&piece),
                Ok(Ok(None)) if self.bytes.len() as u64 == self.wanted.size => return Ok(Attempt::Done),
                Ok(Ok(None)) if response.content_length().is_none() => return Err(self.wrong_size(self.bytes.len() as u64)),
                Ok(Ok(None) | Err(_)) => return Ok(Attempt::BrokeOff),
                Err(_) => {}
            }
            if Instant::now() >= window {
                let received = self.bytes.len() as u64;
                if received - at_start < least {
                    let (what, slowest, patience) = (self.what.clone(), limits.slowest, limits.patience);
                    return Err(Failure::Slow { what, received, slowest, patience });
                }
                (window, at_start) = (Instant::now() + limits.patience, received);
            }
        }
    }

    fn wrong_size(&self, got: u64) -> Failure {
        Failure::Size { what: self.what.clone(), wanted: self.wanted.size, got }
    }
}

/// Sends a packed component to a registry.
pub(super) async fn send(remote: &Remote, reference: &Reference, packed: &Packed) -> Result<Digest, Failure> {
    for blob in [&packed.layer, &packed.config] {
        remote.send_blob(blob).await?;
    }
    let url = remote.url(&format!("manifests/{}", name_of(reference))).await?;
    let ask = Ask::new(Method::PUT, url).header(CONTENT_TYPE, MANIFEST).body(packed.manifest.clone());
    let answer = remote.succeeded(remote.ask(&ask, Rights::Push).await?, "place for the manifest").await?;
    let repeated = answer.response.headers().get(CONTENT_DIGEST).and_then(|digest| digest.to_str().ok()?.parse::<Digest>().ok());
    match repeated.filter(|repeated| *repeated != packed.digest) {
        Some(got) => Err(Failure::Digest { what: "the manifest that was pushed".to_string(), wanted: packed.digest, got }),
        None => Ok(packed.digest),
    }
}

/// Puts a packed component into the embedded registry of this process.
pub(super) async fn store(blobs: &Blobs, reference: &Reference, packed: &Packed) -> Result<Digest, Failure> {
    for blob in [&packed.layer, &packed.config] {
        blobs.put(blob.clone()).await?;
    }
    let name = name_of(reference).parse::<Name>()?;
    Ok(blobs.put_manifest(reference.repository(), &name, Some(MANIFEST), packed.manifest.clone()).await?.digest)
}

// With a tag the digest is only what the tag was seen to mean, so the tag is what gets pushed.
fn name_of(reference: &Reference) -> String {
    match (reference.tag(), reference.digest()) {
        (None, Some(digest)) => digest.to_string(),
        _ => reference.tag_or_latest().to_string(),
    }
}

impl Remote {
    async fn send_blob(&self, bytes: &Bytes) -> Result<(), Failure> {
        let digest = Digest::of(bytes);
        if self.has(&digest, bytes.len() as u64).await? {
            return Ok(());
        }
        let begin = Ask::new(Method::POST, self.url("blobs/uploads/").await?).body(Bytes::new());
        let begun = self.succeeded(self.ask(&begin, Rights::Push).await?, "repository to push to").await?;
        let ask = upload(&begun, &digest)?.header(CONTENT_TYPE, "application/octet-stream").body(bytes.clone());
        self.succeeded(self.ask(&ask, Rights::Push).await?, "upload that it had begun").await.map(drop)
    }

    async fn has(&self, digest: &Digest, size: u64) -> Result<bool, Failure> {
        let ask = Ask::new(Method::HEAD, self.url(&format!("blobs/{digest}")).await?);
        // Asked with the right to push, so that one token serves the whole push.
        let answer = self.ask(&ask, Rights::Push).await?;
        if answer.response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let answer = self.succeeded(answer, "such blob").await?;
        let length = answer.response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        Ok(length.is_none_or(|length| length == size))
    }

    /// Manifests about `digest`: by the referrers API, or by the tag that stands in for it at older registries.
    pub async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, Failure> {
        let ask = Ask::new(Method::GET, self.url(&format!("referrers/{digest}")).await?).header(ACCEPT, INDEX);
        let mut answer = self.ask(&ask, Rights::Pull).await?;
        if !answer.response.status().is_success() && answer.response.status() != StatusCode::UNAUTHORIZED {
            let tag = format!("manifests/sha256-{}", digest.hex());
            answer = self.ask(&Ask::new(Method::GET, self.url(&tag).await?).header(ACCEPT, INDEX), Rights::Pull).await?;
            if answer.response.status() == StatusCode::NOT_FOUND {
                return Ok(Vec::new());
            }
        }
        let answer = self.succeeded(answer, "list of referrers").await?;
        let bytes = read(&self.http, answer.response, LARGEST as u64, "the list of referrers").await?;
        match parse(&bytes, Some(INDEX))?.document {
            Document::Index(index) => Ok(index.manifests().clone()),
            Document::Manifest(_) => Ok(Vec::new()),
        }
    }
}

/// The request that ends an upload, at the place that the registry names.
fn upload(begun: &Answer, digest: &Digest) -> Result<Ask, Failure> {
    let from = begun.response.url();
    let nowhere = || Failure::Nonsense { url: shown_url(from), why: "it began an upload and did not say where".to_string() };
    let mut url = join(from, begun.response.headers().get(LOCATION).ok_or_else(nowhere)?)?;
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    let mut ask = Ask::new(Method::PUT, url);
    ask.named_by = Some(begun.class);
    Ok(ask)
}
