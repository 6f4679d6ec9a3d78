//! The nodes' own connections: what the server asks of them and what they answer. Nodes dial out, so the asks ride a request that
//! the node keeps open.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::path::Query;
use super::status::{Refusal, Result};

/// How long a node may take to start an answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How often a node hears from the server although nothing is asked.
const BEAT: Duration = Duration::from_secs(15);
/// Pieces of an answer that wait for a client that reads slowly.
const PIECES: usize = 16;

/// The longest answer that is not passed on but read here.
const LONGEST: usize = 8 << 20;

/// What a node answers: the pieces of its body, or why there are none.
pub(super) type Answered = Result<mpsc::Receiver<Bytes>>;

/// The nodes that are connected and the questions that are open. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Links(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    nodes: HashMap<String, mpsc::UnboundedSender<Value>>,
    open: HashMap<(String, String), Open>,
}

/// A question that waits for its answer.
struct Open {
    tell: oneshot::Sender<Answered>,
    /// What the node gets in return, where both sides have something to say.
    back: Option<mpsc::Receiver<Bytes>>,
}

impl Links {
    /// Asks a node; `ask` gets an `id`.
    pub(super) async fn ask(&self, node: &str, ask: Value) -> Answered {
        self.put(node, ask, None).await
    }

    /// The same where the node gets what comes from `back` while it answers.
    pub(super) async fn dial(&self, node: &str, ask: Value, back: mpsc::Receiver<Bytes>) -> Answered {
        self.put(node, ask, Some(back)).await
    }

    async fn put(&self, node: &str, mut ask: Value, back: Option<mpsc::Receiver<Bytes>>) -> Answered {
        let id = uuid::Uuid::new_v4().to_string();
        ask["id"] = Value::String(id.clone());
        let (tell, answer) = oneshot::channel();
        let key = (node.to_owned(), id);
        {
            let mut state = self.0.lock();
            let sent = state.nodes.get(node).is_some_and(|asks| asks.send(ask).is_ok());
            if !sent {
                return Err(Refusal::unavailable(format!("node {node} is not connected, so it cannot be asked")));
            }
            state.open.insert(key.clone(), Open { tell, back });
        }
        let forget = Forget { links: self.clone(), key };
        let answered = tokio::time::timeout(ANSWERS_WITHIN, answer).await;
        drop(forget);
        match answered {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(Refusal::unavailable(format!("node {node} went away before it answered"))),
            Err(_) => Err(Refusal::timeout(format!("node {node} did not answer within {} s", ANSWERS_WITHIN.as_secs()))),
        }
    }

    /// The nodes that are connected, by name.
    pub(super) fn nodes(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.0.lock().nodes.iter().filter(|(_, asks)| !asks.is_closed()).map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// What is asked of a node, one JSON object a line, for as long as it listens; a newer connection takes over from an older one.
    pub(super) fn asks(&self, node: &str, stop: CancellationToken) -> Response {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().nodes.insert(node.to_owned(), sender);
        let lines = stream::unfold(receiver, |mut asks| async move {
            // An empty line now and then keeps the connection open, and shows either end when the other has gone.
            let line = match tokio::time::timeout(BEAT, asks.recv()).await {
                Ok(ask) => format!("{}\n", ask?),
                Err(_) => "\n".to_owned(),
            };
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), asks))
        });
        let body = Body::from_stream(lines.take_until(stop.cancelled_owned()));
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }

    /// A node's answer: its body is passed on as it comes, until the one who asked has gone; what that one says meanwhile, if anything, is the
    /// response's. With `?error=SENTENCE` (and `code`) the node says why there is none.
    pub(super) async fn answer(&self, node: &str, id: &str, query: &Query, body: Body, stop: CancellationToken) -> Result<Response> {
        let open = self.0.lock().open.remove(&(node.to_owned(), id.to_owned()));
        let Some(Open { tell, back }) = open else {
            return Err(Refusal::new(404, "NotFound", format!("nobody waits for the answer {id}")));
        };
        if let Some(error) = query.get("error") {
            let code = query.number("code")?.and_then(|c| u16::try_from(c).ok()).filter(|c| (400..600).contains(c)).unwrap_or(500);
            let reason = if code == 404 {
                "NotFound"
            } else if code == 400 {
                "BadRequest"
            } else {
                "InternalError"
            };
            // Whoever asked may have gone; then nobody is left to tell.
            let _ = tell.send(Err(Refusal::new(code, reason, error)));
            return Ok(StatusCode::OK.into_response());
        }
        let (pieces, receiver) = mpsc::channel(PIECES);
        let _ = tell.send(Ok(receiver));
        match back {
            None => {
                pass(body, pieces).await;
                Ok(StatusCode::OK.into_response())
            }
            // Either direction may end first, so neither is within the other.
            Some(back) => {
                tokio::spawn(stop.clone().run_until_cancelled_owned(pass(body, pieces)));
                Ok(([(header::CONTENT_TYPE, "application/octet-stream")], self::body(back, stop)).into_response())
            }
        }
    }
}

/// Passes on what a node says, until the one who asked has gone.
async fn pass(body: Body, pieces: mpsc::Sender<Bytes>) {
    let mut stream = body.into_data_stream();
    loop {
        tokio::select! {
            () = pieces.closed() => return,
            piece = stream.next() => match piece {
                Some(Ok(piece)) => {
                    if pieces.send(piece).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

/// Forgets a question when the one who asked it has gone, at whatever point.
struct Forget {
    links: Links,
    key: (String, String),
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.links.0.lock().open.remove(&self.key);
    }
}

/// The pieces as a body, until `stop`.
pub(super) fn body(pieces: mpsc::Receiver<Bytes>, stop: CancellationToken) -> Body {
    let pieces = ReceiverStream::new(pieces).map(Ok::<_, std::convert::Infallible>);
    Body::from_stream(pieces.take_until(stop.cancelled_owned()))
}

/// A whole answer, bounded.
pub(super) async fn whole(mut pieces: mpsc::Receiver<Bytes>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = pieces.recv().await {
        if all.len() + piece.len() > LONGEST {
            return Err(Refusal::internal(format!("a node answered more than {} MiB", LONGEST >> 20)));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn first_line(response: Response) -> (Value, impl futures::Stream) {
        let mut stream = response.into_body().into_data_stream();
        let line = stream.next().await.unwrap().unwrap();
        (serde_json::from_slice(&line).unwrap(), stream)
    }

    #[tokio::test]
    async fn an_ask_reaches_the_node_and_its_answer_streams_back() {
        let links = Links::default();
        let asks = links.asks("n1", CancellationToken::new());
        let asking = tokio::spawn({
            let links = links.clone();
            async move { links.ask("n1", json!({ "ask": "logs" })).await }
        });
        let (ask, _open) = first_line(asks).await;
        assert_eq!(ask["ask"], "logs");
        let id = ask["id"].as_str().unwrap().to_owned();
        let stop = CancellationToken::new();
        assert_eq!(links.answer("other", &id, &Query::default(), Body::empty(), stop.clone()).await.unwrap_err().code, 404);
        let answering = tokio::spawn({
            let links = links.clone();
            async move { links.answer("n1", &id, &Query::default(), Body::from("hello"), stop).await.map(|r| r.status()) }
        });
        let mut pieces = asking.await.unwrap().unwrap();
        assert_eq!(pieces.recv().await.as_deref(), Some(&b"hello"[..]));
        assert_eq!(pieces.recv().await, None);
        assert_eq!(answering.await.unwrap().unwrap(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_node_that_is_dialled_hears_while_it_speaks() {
        let links = Links::default();
        let asks = links.asks("n1", CancellationToken::new());
        let (to_node, back) = mpsc::channel(1);
        let asking = tokio::spawn({
            let links = links.clone();
            async move { links.dial("n1", json!({ "ask": "forward" }), back).await }
        });
        let (ask, _open) = first_line(asks).await;
        let (mut speak, said) = futures::channel::mpsc::channel::<std::result::Result<Bytes, std::convert::Infallible>>(1);
        let id = ask["id"].as_str().unwrap();
        let heard = links.answer("n1", id, &Query::default(), Body::from_stream(said), CancellationToken::new()).await.unwrap();
        let (mut pieces, mut heard) = (asking.await.unwrap().unwrap(), heard.into_body().into_data_stream());
        for word in ["one", "two"] {
            to_node.send(Bytes::from(word)).await.unwrap();
            assert_eq!(heard.next().await.unwrap().unwrap(), word);
            futures::SinkExt::send(&mut speak, Ok(Bytes::from(word))).await.unwrap();
            assert_eq!(pieces.recv().await.unwrap(), word);
        }
        drop(to_node);
        assert!(heard.next().await.is_none(), "who has nothing more to say has ended");
        futures::SinkExt::send(&mut speak, Ok(Bytes::from("late"))).await.unwrap();
        assert_eq!(pieces.recv().await.unwrap(), "late", "and can still listen");
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_named() {
        let refusal = Links::default().ask("gone", json!({})).await.unwrap_err();
        assert_eq!(refusal.code, 503);
        assert!(refusal.message.contains("node gone"), "{}", refusal.message);
    }
}
