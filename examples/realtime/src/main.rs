//! Tells whoever listens that another second is over, as server-sent events, for as long as they listen.

use std::convert::Infallible;
use std::time::SystemTime;

use futures_lite::stream::unfold;
use wstd::http::body::Bytes;
use wstd::http::{Body, Error, Request, Response, StatusCode};
use wstd::time::Duration;

const PAGE: &str = include_str!("page.html");

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    match request.uri().path() {
        "/" => Ok(Response::builder().header("content-type", "text/html; charset=utf-8").body(Body::from(PAGE))?),
        "/events" => events(&request),
        _ => Ok(Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty())?),
    }
}

/// A stream that goes on after the event that the client saw last, if it says which.
fn events(request: &Request<Body>) -> Result<Response<Body>, Error> {
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let stream = unfold(last.map_or(0, |last| last + 1), |id| async move {
        wstd::task::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Bytes::from(event(id))), id + 1))
    });
    let builder = Response::builder().header("content-type", "text/event-stream").header("cache-control", "no-store");
    Ok(builder.body(Body::from_try_stream(stream))?)
}

fn event(id: u64) -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("id: {id}\nevent: second\ndata: {{\"id\":{id},\"unix\":{seconds}}}\n\n")
}
