//! Follows an answer to its last byte: who sent how much, whether it broke, and when the pod is free again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::access::{Access, Record};
use super::listen::Flight;
use super::local::Held;
use crate::body::{Body, Error};
use crate::sandbox::Failure;

/// The body of an answer on its way out.
pub struct Tracked {
    body: Body,
    held: Option<Held>,
    log: Option<Log>,
    length: Option<u64>,
    flight: Option<Flight>,
}

/// What is written to the access log when the body ends.
pub struct Log {
    /// Where to.
    pub access: Access,
    /// All but size and time.
    pub record: Record,
    /// When the request came.
    pub since: Instant,
    /// Whether only the line of an answer that breaks off is written, since another node writes the others.
    pub only_broken: bool,
}

impl Log {
    /// Writes the line of a request that has no body to follow.
    pub fn finished(mut self) {
        self.record.took = self.since.elapsed();
        self.access.note(&self.record);
    }
}

impl Tracked {
    /// Follows `body`, which `held` answers and of which `length` bytes will be asked for, if that is known.
    pub fn new(body: Body, held: Option<Held>, log: Log, length: Option<u64>) -> Tracked {
        let mut tracked = Tracked { body, held, log: Some(log), length, flight: None };
        if tracked.body.is_end_stream() {
            tracked.end(None);
        }
        tracked
    }

    /// Keeps a connection's count of its requests until the body is gone.
    pub fn carry(&mut self, flight: Flight) {
        flight.offers(true);
        self.flight = Some(flight);
    }

    fn end(&mut self, broken: Option<(&'static str, String)>) {
        let held = self.held.take();
        if let (Some(held), None) = (&held, &broken) {
            held.instance.health.succeeded();
        }
        let Some(mut log) = self.log.take() else { return };
        log.record.took = log.since.elapsed();
        if let Some(held) = &held {
            held.instance.health.took(log.record.took);
        }
        if log.only_broken && broken.is_none() {
            return;
        }
        if let Some((reason, detail)) = broken {
            log.record.reason = reason;
            log.record.detail = Some(detail);
        }
        log.access.note(&log.record);
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.held.as_ref().is_some_and(|held| held.instance.health.is_killed()) {
            this.end(Some(("stopped", "the pod was told to go".into())));
            return Poll::Ready(Some(Err("the pod was told to go".into())));
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Some(flight) = &this.flight {
            flight.offers(polled.is_ready());
        }
        let frame = std::task::ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                if let Some(log) = &mut this.log {
                    log.record.bytes += size;
                }
                if this.body.is_end_stream() {
                    this.end(None);
                }
            }
            Some(Err(error)) => {
                if let Some(flight) = &this.flight {
                    flight.broken();
                }
                let detail = error.downcast_ref::<Failure>().map_or_else(|| error.to_string(), Failure::whole);
                this.end(Some((broken_by(error), detail)));
            }
            None => this.end(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let Some(log) = &self.log else { return };
        // Whoever has all bytes that were promised need not ask whether there are more.
        let whole = self.length.is_some_and(|length| log.record.bytes >= length);
        self.end((!whole).then(|| ("client gone", "the client went away before the end".into())));
    }
}

/// The access log's word for why a body broke.
fn broken_by(error: &Error) -> &'static str {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Trap { .. }) => "trap in body",
        Some(Failure::Deadline(_) | Failure::Starved { .. }) => "deadline in body",
        Some(_) => "broken body",
        None => "broken body",
    }
}
