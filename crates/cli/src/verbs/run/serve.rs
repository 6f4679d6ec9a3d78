//! One guest behind a plain HTTP listener.

use std::net::TcpListener;

use anyhow::{Context, Result};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use runtime::body::{self, Body};
use runtime::sandbox::{Failure, Guest};

use super::{GRACE, told};
use crate::home::{self, Home};
use crate::{print, signals};

/// Serves until a signal, then lets requests in flight end.
pub async fn serve(guest: Guest, listener: TcpListener, home: &Home) -> Result<()> {
    let address = home::reachable(&listener)?;
    listener.set_nonblocking(true).context("listening")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("listening")?;
    let stop = signals::stop(home);
    let (server, open) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    print::line(format_args!("http://{address}/"));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            // A connection that failed before it began is its client's affair.
            accepted = listener.accept() => match accepted { Ok((stream, _)) => stream, Err(_) => continue },
        };
        let guest = guest.clone();
        let service = service_fn(move |request| answer(guest.clone(), request));
        let connection = open.watch(server.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
    // What takes longer is cut off: a second signal would be the next step anyway.
    let _ = tokio::time::timeout(GRACE, open.shutdown()).await;
    Ok(())
}

async fn answer(guest: Guest, request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    let request = request.map(|body| body.map_err(|error| Box::new(error) as body::Error).boxed_unsync());
    Ok(guest.handle(request).await.unwrap_or_else(|failure| {
        let error = told(&failure);
        print::error(&error);
        let text = format!("{}\n", print::harmless(&error.to_string()));
        let mut response = Response::new(body::full(text));
        *response.status_mut() = status(&failure);
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }))
}

/// The gateway's answers to the same failures.
fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Busy(_) | Failure::NoMemory(_) => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Trap { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        Failure::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}
