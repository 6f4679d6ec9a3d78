//! Several servers as one: whoever answers is asked, and the next one when it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use parking_lot::RwLock;
use tokio::sync::Notify;

/// A question that was given up after this long was not answered.
const LONG: Duration = Duration::from_secs(2);

type Cut = StreamBody<BoxStream<'static, std::io::Result<Frame<Bytes>>>>;

/// Clients of the servers of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Reach(Arc<Inner>);

struct Inner {
    clients: RwLock<Vec<Client>>,
    current: AtomicUsize,
    moved: Notify,
}

impl Reach {
    /// Asks the first one first.
    pub fn new(clients: Vec<Client>) -> Reach {
        Reach(Arc::new(Inner { clients: RwLock::new(clients), current: AtomicUsize::new(0), moved: Notify::new() }))
    }

    /// From now on these, for the same servers: the credentials are new.
    pub fn replace(&self, clients: Vec<Client>) {
        *self.0.clients.write() = clients;
    }
}

impl Inner {
    fn current(&self) -> (usize, Option<Client>) {
        let at = self.current.load(Ordering::Relaxed);
        (at, self.clients.read().get(at).cloned())
    }

    fn leave(&self, at: usize) {
        let count = self.clients.read().len().max(1);
        let next = (at + 1) % count;
        if next != at && self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!("a server does not answer; another one is asked");
            self.moved.notify_waiters();
        }
    }

    async fn left(&self, at: usize) {
        loop {
            let moved = self.moved.notified();
            if self.current.load(Ordering::Relaxed) != at {
                return;
            }
            moved.await;
        }
    }
}

/// A question under way; whoever gives it up after long has not been answered.
struct Asked {
    inner: Arc<Inner>,
    at: usize,
    since: Instant,
    answered: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.answered && self.since.elapsed() > LONG {
            self.inner.leave(self.at);
        }
    }
}

impl tower::Service<Request<Body>> for Reach {
    type Response = Response<Cut>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            let (at, client) = inner.current();
            let client = client.ok_or("there is no server")?;
            let mut asked = Asked { inner: inner.clone(), at, since: Instant::now(), answered: false };
            let answer = client.send(request).await;
            asked.answered = true;
            match answer {
                Ok(response) => Ok(response.map(|body| cut(inner, at, body))),
                Err(error) => {
                    inner.leave(at);
                    Err(error.into())
                }
            }
        })
    }
}

/// A body that ends with its server: what waits on a server that is given up would wait for long.
fn cut(inner: Arc<Inner>, at: usize, body: Body) -> Cut {
    let pieces = Some(body.into_data_stream());
    let stream = stream::unfold((pieces, inner), move |(pieces, inner)| async move {
        let mut pieces = pieces?;
        let piece = tokio::select! {
            biased;
            piece = pieces.next() => piece?,
            () = inner.left(at) => return Some((Err(std::io::Error::other("another server is asked now")), (None, inner))),
        };
        match piece {
            Ok(bytes) => Some((Ok(Frame::data(bytes)), (Some(pieces), inner))),
            Err(error) => {
                inner.leave(at);
                Some((Err(std::io::Error::other(error)), (None, inner)))
            }
        }
    });
    StreamBody::new(stream.boxed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::client::Body as KubeBody;

    /// A server that answers with its name, that refuses, or that never answers.
    fn server(answer: Result<&'static str, bool>) -> Client {
        let service = tower::service_fn(move |_: Request<KubeBody>| async move {
            match answer {
                Ok(name) => Ok::<_, std::io::Error>(Response::new(KubeBody::from(name.as_bytes().to_vec()))),
                Err(true) => Err(std::io::Error::other("gone")),
                Err(false) => std::future::pending().await,
            }
        });
        Client::new(service, "default")
    }

    async fn ask(client: &Client) -> Option<String> {
        client.request_text(Request::get("/").body(Vec::new()).unwrap()).await.ok()
    }

    #[tokio::test]
    async fn the_next_server_is_asked_when_one_is_gone() {
        let client = Client::new(Reach::new(vec![server(Err(true)), server(Ok("b"))]), "default");
        assert_eq!(ask(&client).await, None, "whoever asked asks again");
        assert_eq!(ask(&client).await.as_deref(), Some("b"));
        let alone = Client::new(Reach::new(vec![server(Ok("a"))]), "default");
        assert_eq!(ask(&alone).await.as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn a_server_that_answers_nothing_is_left_by_whoever_gives_up() {
        let client = Client::new(Reach::new(vec![server(Err(false)), server(Ok("b"))]), "default");
        let soon = tokio::time::timeout(Duration::from_millis(10), ask(&client)).await;
        assert!(soon.is_err());
        // Given up soon, it may only have been slow.
        assert!(tokio::time::timeout(LONG + Duration::from_millis(200), ask(&client)).await.is_err());
        assert_eq!(ask(&client).await.as_deref(), Some("b"));
    }
}
