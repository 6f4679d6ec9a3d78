//! The members of an etcd: whoever answers is asked, and the next one when it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use parking_lot::Mutex;
use prost::Message;
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::super::{Error, Result};
use super::line::{Line, client_config};
use super::options::Options;
use super::wire;

/// How long one member may take to read something, before the next one is asked.
const READ: Duration = Duration::from_secs(2);
/// How long a write may take. A member that was cut off needs longer to say so, and is not waited for.
const WRITE: Duration = Duration::from_secs(5);
/// How long all members together may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two rounds through members of which none answers.
const PAUSE: Duration = Duration::from_millis(100);
/// Largest message that is read: one event has a value and the one before it.
pub const LONGEST: usize = 64 << 20;

/// Whether a question may be put to another member when nobody knows what became of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Asking twice does no harm.
    Yes,
    /// It may have been done.
    No,
}

/// The members and the connections to them.
pub struct Members {
    addresses: Vec<String>,
    lines: Vec<tokio::sync::Mutex<Option<Line>>>,
    current: AtomicUsize,
    /// Told whenever another member becomes the current one.
    pub moved: Notify,
    tls: Option<Arc<ClientConfig>>,
    login: Option<(String, String)>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
}

/// Why one member did not answer.
enum Failed {
    /// It was never asked.
    Unasked(Error),
    /// It was asked.
    Asked(Status),
}

impl Members {
    /// Members that nobody is connected to yet.
    pub fn new(options: &Options) -> Result<Members> {
        Ok(Members {
            lines: options.members.iter().map(|_| tokio::sync::Mutex::default()).collect(),
            addresses: options.members.clone(),
            current: AtomicUsize::new(0),
            moved: Notify::new(),
            tls: options.tls.as_ref().map(client_config).transpose()?,
            login: options.login.clone(),
            token: Mutex::new(None),
        })
    }

    /// The member that is asked first now.
    pub fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Leaves a member that did not answer, unless somebody did so already.
    pub fn leave(&self, member: usize) {
        let next = (member + 1) % self.addresses.len();
        if next != member && self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::debug!(from = self.addresses[member], to = self.addresses[next], "asking another member of etcd");
            self.moved.notify_waiters();
        }
    }

    /// Asks one question and waits for its one answer.
    pub async fn ask<Q, A>(&self, path: &'static str, question: Q, again: Again) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let ends = Instant::now() + PATIENCE;
        let each = if again == Again::Yes { READ } else { WRITE };
        let (mut renewed, mut tries) = (false, 0);
        loop {
            tries += 1;
            let member = self.current();
            let failed = match self.once(member, path, question.clone(), each).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let error = match failed {
                Failed::Unasked(error) => {
                    self.leave(member);
                    error
                }
                // The token had ended, so nothing was done.
                Failed::Asked(status) if stale_token(&status) && !renewed => {
                    renewed = true;
                    *self.token.lock() = None;
                    continue;
                }
                Failed::Asked(status) if gone(&status) => {
                    self.leave(member);
                    let error = told(&status);
                    if again == Again::No {
                        return Err(error);
                    }
                    error
                }
                Failed::Asked(status) => return Err(told(&status)),
            };
            if Instant::now() + PAUSE >= ends {
                return Err(error);
            }
            if tries % self.addresses.len() == 0 {
                sleep(PAUSE).await;
            }
        }
    }

    async fn once<Q, A>(&self, member: usize, path: &'static str, question: Q, each: Duration) -> std::result::Result<A, Failed>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc(member).await.map_err(Failed::Unasked)?;
        let request = self.request(member, question).await.map_err(Failed::Unasked)?;
        grpc.ready().await.map_err(|error| Failed::Unasked(Error::Unavailable(error.to_string())))?;
        let asked = grpc.unary(request, PathAndQuery::from_static(path), ProstCodec::<Q, A>::default());
        match timeout(each, asked).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Failed::Asked(status)),
            Err(_) => {
                let why = format!("etcd at {} did not answer within {} s", self.addresses[member], each.as_secs());
                Err(Failed::Asked(Status::unavailable(why)))
            }
        }
    }

    /// Opens a stream on one member, with one question on it; answers come for as long as `questions` is held.
    pub async fn stream<Q, A>(&self, member: usize, path: &'static str, question: Q) -> Result<(Streaming<A>, Held<Q>)>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let opening = async {
            let mut grpc = self.grpc(member).await?;
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            // The channel is new and has room.
            let _ = sender.try_send(question);
            let questions = tokio_stream::wrappers::ReceiverStream::new(receiver);
            let mut request = self.request(member, questions).await?;
            // A member that was cut off from the others would keep the stream open and tell nothing on it.
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            grpc.ready().await.map_err(|error| Error::Unavailable(error.to_string()))?;
            let opened = grpc.streaming(request, PathAndQuery::from_static(path), ProstCodec::<Q, A>::default()).await;
            let answers = opened.map_err(|status| {
                if stale_token(&status) {
                    *self.token.lock() = None;
                }
                told(&status)
            })?;
            Ok((answers.into_inner(), Held(sender)))
        };
        let slow = || Error::Unavailable(format!("etcd at {} did not answer within {} s", self.addresses[member], WRITE.as_secs()));
        timeout(WRITE, opening).await.map_err(|_| slow())?
    }

    async fn grpc(&self, member: usize) -> Result<Grpc<Line>> {
        let line = self.line(member).await?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", self.addresses[member]).parse().map_err(|_| Error::Refused("its address".to_owned()))?;
        Ok(Grpc::with_origin(line, origin).max_decoding_message_size(LONGEST))
    }

    async fn line(&self, member: usize) -> Result<Line> {
        let mut kept = self.lines[member].lock().await;
        if let Some(line) = kept.as_ref().filter(|line| !line.is_closed()) {
            return Ok(line.clone());
        }
        *kept = None;
        let line = Line::open(&self.addresses[member], self.tls.as_ref()).await?;
        Ok(kept.insert(line).clone())
    }

    async fn request<T>(&self, member: usize, what: T) -> Result<Request<T>> {
        let mut request = Request::new(what);
        if let Some(token) = self.token(member).await? {
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }

    /// What shows who we are, where etcd asks for that.
    async fn token(&self, member: usize) -> Result<Option<MetadataValue<Ascii>>> {
        let Some((name, password)) = &self.login else { return Ok(None) };
        if let Some(token) = self.token.lock().clone() {
            return Ok(Some(token));
        }
        let mut grpc = self.grpc(member).await?;
        grpc.ready().await.map_err(|error| Error::Unavailable(error.to_string()))?;
        let question = Request::new(wire::Authenticate { name: name.clone(), password: password.clone() });
        let codec = ProstCodec::<wire::Authenticate, wire::Authenticated>::default();
        let asked = grpc.unary(question, PathAndQuery::from_static(wire::path::AUTHENTICATE), codec);
        let answer = match timeout(READ, asked).await {
            Ok(Ok(answer)) => answer.into_inner(),
            // An etcd that asks nobody lets everybody in.
            Ok(Err(status)) if status.message().contains("authentication is not enabled") => return Ok(None),
            Ok(Err(status)) => return Err(told(&status)),
            Err(_) => return Err(Error::Unavailable("etcd does not answer a login".to_owned())),
        };
        let token = answer.token.parse().map_err(|_| Error::Unavailable("etcd answers a login with no token".to_owned()))?;
        Ok(Some(self.token.lock().insert(token).clone()))
    }
}

/// Keeps the asking half of a stream open.
pub struct Held<Q>(#[expect(dead_code, reason = "held, not used")] tokio::sync::mpsc::Sender<Q>);

fn stale_token(status: &Status) -> bool {
    let told = status.message();
    told.contains("invalid auth token") || told.contains("revision of auth store is old") || told.contains("user name is empty")
}

/// Whether another member may do better.
fn gone(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal | Code::Aborted)
}

/// A status in terms of the store; which revision or lease it is about, the caller knows.
pub fn told(status: &Status) -> Error {
    let message = status.message().trim_start_matches("etcdserver: ").to_owned();
    match status.code() {
        Code::ResourceExhausted if message.contains("space exceeded") => {
            Error::Unwritable("etcd's space is used up: compact and defragment it, then disarm its alarm".to_owned())
        }
        Code::InvalidArgument if message.contains("too large") || message.contains("too many operations") => {
            Error::Refused(format!("etcd says: {message}"))
        }
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument => {
            Error::Unavailable(format!("etcd refuses: {message}; check --store-user and its password"))
        }
        Code::OutOfRange if message.contains("compacted") => Error::Compacted { asked: 0, oldest: 0 },
        Code::OutOfRange if message.contains("too large") => Error::Refused(message),
        Code::NotFound if message.contains("lease") => Error::NoLease(0),
        Code::DataLoss => Error::Broken(format!("etcd says: {message}")),
        _ => Error::Unavailable(format!("etcd says: {message}")),
    }
}
