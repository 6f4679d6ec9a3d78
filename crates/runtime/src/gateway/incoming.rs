//! What a client sends, with a limit on how long it may be silent in mid-body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::body::{self, Body, Error};

/// The body of a client's request. Only time spent waiting for the client counts, not time in which the guest does not read.
pub fn body(incoming: Incoming, idle: Duration) -> Body {
    if incoming.is_end_stream() { body::empty() } else { Timed { incoming, idle, sleep: None }.boxed_unsync() }
}

struct Timed {
    incoming: Incoming,
    idle: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(context) {
            this.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let idle = this.idle;
        let silent = this.sleep.get_or_insert_with(|| Box::pin(sleep(idle)));
        std::task::ready!(silent.as_mut().poll(context));
        Poll::Ready(Some(Err(format!("the client sent nothing of its body for {idle:?}").into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
