//! From a running guest to a response: as a whole where the guest is done at once, streamed where it is not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Response, response};
use http_body::Frame;
use wasmtime_wasi_http::WasiBody;

use super::budget::Permit;
use super::guest::Shared;
use super::run::{Progress, Run};
use super::serve::{Finished, poll_once};
use super::stream::{End, Streamed};
use super::{Failure, head};
use crate::body::{self, Body};
use crate::engine::Place;

/// Bytes of a body that are gathered before it is streamed.
const GATHERED: usize = 64 << 10;

/// A guest at work on a request.
pub(super) struct Job {
    pub run: Run<Finished>,
    pub progress: Arc<Progress>,
    pub shared: Arc<Shared>,
    /// Whether the request is a HEAD, whose response declares a length and sends nothing.
    pub bodiless: bool,
    /// The pod's and the App's.
    pub _permits: (Permit, Place),
}

impl Job {
    /// Why there is no more time.
    fn late(&self) -> Failure {
        let (limit, held) = (self.shared.grants.spec.time, self.progress.held());
        match self.shared.grants.spec.cpu {
            Some(cpu) if !held.is_zero() => Failure::Starved { limit, cpu, held },
            _ => Failure::Deadline(limit),
        }
    }
}

/// What is known of a body after the guest has had its first chance.
struct Gathered {
    frames: Vec<Frame<Bytes>>,
    bytes: u64,
    ended: bool,
    broken: Option<String>,
    finished: bool,
}

/// Runs the guest within the caller's future until its head is there, and beyond that as far as it goes without waiting.
pub(super) async fn respond(mut job: Job) -> Result<Response<Body>, Failure> {
    let time = job.shared.grants.spec.time;
    let early = within(time, until_head(&mut job)).await.ok_or_else(|| job.late())??;
    let answer = job.progress.take().ok_or(Failure::NoResponse)?;
    let response = answer.map_err(|code| Failure::Refused(format!("the guest answered with the error {code}")))?;
    let (mut parts, mut inner) = response.into_parts();
    let declared = head::check(&mut parts).map_err(Failure::Refused)?;
    let length = declared.filter(|_| !job.bodiless && !matches!(parts.status.as_u16(), 204 | 304));
    let gathered = gather(&mut inner, early.is_none().then_some(&mut job)).await?;
    let over = length.is_some_and(|length| gathered.bytes > length);
    let short = gathered.ended && length.is_some_and(|length| gathered.bytes < length);
    if let Some(why) = gathered.broken {
        return Err(Failure::Refused(why));
    }
    if over || short {
        return Err(Failure::Refused(format!("the guest declared a body of {} bytes and wrote {}", length.unwrap_or(0), gathered.bytes)));
    }
    if gathered.ended {
        if !gathered.finished && early.is_none() {
            tokio::spawn(outlive(job, time));
        }
        return Ok(whole(parts, gathered.frames));
    }
    Ok(streamed(parts, gathered, inner, job, length, time))
}

/// What `future` brings within `time`. Most answers are there at once, and need no timer.
async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    if let Poll::Ready(output) = futures::poll!(future.as_mut()) {
        return Some(output);
    }
    tokio::time::timeout(time, future).await.ok()
}

/// Until the guest has set its head (none) or is done (the way it ended).
async fn until_head(job: &mut Job) -> Result<Option<()>, Failure> {
    let (run, progress) = (&mut job.run, &job.progress);
    let finished = std::future::poll_fn(|cx| match poll_once(run, cx) {
        Some(finished) => Poll::Ready(Some(finished)),
        None => {
            run.listen(cx);
            if progress.has_answer() { Poll::Ready(None) } else { Poll::Pending }
        }
    });
    match finished.await {
        Some(finished) => job.shared.finish(finished).map(Some),
        None => Ok(None),
    }
}

/// Takes what there is of the body, letting the guest run as long as that brings more.
async fn gather(inner: &mut WasiBody, mut job: Option<&mut Job>) -> Result<Gathered, Failure> {
    let mut got = Gathered { frames: Vec::new(), bytes: 0, ended: false, broken: None, finished: job.is_none() };
    std::future::poll_fn(|cx| {
        loop {
            let before = got.frames.len();
            take_frames(&mut got, inner, cx);
            if got.ended || got.broken.is_some() || got.bytes > GATHERED as u64 {
                return Poll::Ready(Ok(()));
            }
            let Some(running) = job.as_mut().filter(|_| !got.finished) else { return Poll::Ready(Ok(())) };
            match poll_once(&mut running.run, cx) {
                Some(finished) => {
                    got.finished = true;
                    if let Err(failure) = running.shared.finish(finished) {
                        return Poll::Ready(Err(failure));
                    }
                }
                None if got.frames.len() == before => return Poll::Ready(Ok(())),
                None => {}
            }
        }
    })
    .await?;
    Ok(got)
}

fn take_frames(got: &mut Gathered, inner: &mut WasiBody, cx: &mut std::task::Context<'_>) {
    while got.bytes <= GATHERED as u64 {
        match http_body::Body::poll_frame(Pin::new(&mut *inner), cx) {
            Poll::Ready(Some(Ok(frame))) => {
                got.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                got.frames.push(frame);
            }
            Poll::Ready(Some(Err(error))) => {
                got.broken = Some(format!("the guest broke off its body: {error}"));
                return;
            }
            Poll::Ready(None) => {
                got.ended = true;
                return;
            }
            Poll::Pending => return,
        }
    }
}

/// A body that is there as a whole goes out with its length, in one write.
fn whole(parts: response::Parts, frames: Vec<Frame<Bytes>>) -> Response<Body> {
    if frames.iter().any(Frame::is_trailers) {
        let frames = futures::stream::iter(frames.into_iter().map(Ok::<_, body::Error>));
        return Response::from_parts(parts, Body::new(http_body_util::StreamBody::new(frames)));
    }
    let mut data = frames.into_iter().filter_map(|frame| frame.into_data().ok());
    let first = data.next().unwrap_or_default();
    let bytes = match data.next() {
        None => first,
        Some(second) => {
            let mut joined = BytesMut::from(first);
            joined.extend_from_slice(&second);
            data.for_each(|more| joined.extend_from_slice(&more));
            joined.freeze()
        }
    };
    Response::from_parts(parts, body::full(bytes))
}

/// Hands a guest that is still writing to a task of its own, which the body's reader can stop.
fn streamed(parts: response::Parts, got: Gathered, inner: WasiBody, job: Job, length: Option<u64>, time: Duration) -> Response<Body> {
    let end = Arc::new(End::new());
    let task = (!got.finished).then(|| tokio::spawn(keep(job, end.clone(), time)).abort_handle());
    let first = got.frames.into_iter().collect();
    Response::from_parts(parts, Body::new(Streamed::new(first, inner, end, task, length)))
}

/// Runs the guest to its end, or until its body has not moved for as long as a request may take.
async fn keep(mut job: Job, end: Arc<End>, time: Duration) {
    let result = loop {
        let idle_at = end.moved_at().checked_add(time);
        let finished = match idle_at {
            Some(at) => tokio::time::timeout_at(at.into(), &mut job.run).await.ok(),
            None => Some((&mut job.run).await),
        };
        match finished {
            Some(Finished { sandbox, result }) => {
                // Noted before the sandbox goes: its end closes the body's stream, and the reader then asks why.
                end.note(result.as_ref().err());
                break job.shared.finish(Finished { sandbox, result });
            }
            None if idle_at.is_some_and(|at| end.moved_at() + time > at) => {}
            None => {
                let failure = job.late();
                end.note(Some(&failure));
                break Err(failure);
            }
        }
    };
    if let Err(failure) = result {
        job.shared.grants.host.watch.body_failed(&failure);
    }
    drop(job);
}

/// Lets a guest go on after its body is complete, as long as a request may take.
async fn outlive(mut job: Job, time: Duration) {
    let until = Instant::now().checked_add(time);
    let finished = match until {
        Some(at) => tokio::time::timeout_at(at.into(), &mut job.run).await.ok(),
        None => Some((&mut job.run).await),
    };
    let result = finished.map_or_else(|| Err(job.late()), |finished| job.shared.finish(finished));
    if let Err(failure) = result {
        job.shared.grants.host.watch.body_failed(&failure);
    }
}
