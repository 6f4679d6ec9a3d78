//! A pod of another node: how busy this gateway keeps it, and how it fares.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use scheduler::balance::Standing;

use super::{Link, Peers};
use crate::body::Error;

/// Requests that one gateway may have under way at one pod elsewhere, whatever that pod's limit is.
const MOST: u32 = 4096;

/// A pod of another node.
pub struct Remote {
    /// Its UID.
    pub uid: Arc<str>,
    /// The way to its node.
    pub link: Arc<Link>,
    in_flight: AtomicU32,
    standing: Mutex<Standing>,
    peers: Arc<Peers>,
}

impl Remote {
    /// Nothing is known of it yet.
    pub fn new(uid: Arc<str>, link: Arc<Link>, peers: Arc<Peers>) -> Remote {
        link.want();
        Remote { uid, link, in_flight: AtomicU32::new(0), standing: Mutex::default(), peers }
    }

    /// Requests of this gateway that it works on; `None` where it should get no more.
    pub fn load(&self) -> Option<u32> {
        let busy = self.in_flight();
        let out = busy >= MOST || self.link.is_away() || self.standing.lock().is_out(self.peers.now());
        (!out).then_some(busy)
    }

    /// Requests of this gateway that it works on, whether it should get more or not.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// It answered.
    pub fn succeeded(&self) {
        self.standing.lock().succeeded();
    }

    /// It did not.
    pub fn failed(&self) {
        self.standing.lock().failed(self.peers.now());
    }

    /// Counts a request in, until its answer's last byte is passed on.
    pub fn enter(self: &Arc<Self>) -> Entered {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Entered(self.clone())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.link.release();
    }
}

/// One request's place in the count.
pub struct Entered(Arc<Remote>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer from another node on its way through this one.
pub struct Passing {
    incoming: Incoming,
    entered: Option<Entered>,
}

impl Passing {
    /// Counted until its end.
    pub fn new(incoming: Incoming, entered: Entered) -> Passing {
        Passing { incoming, entered: Some(entered) }
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.entered = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| crate::instance::chain(&error).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
