//! Asking a gateway until an app answers.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep, timeout};

use crate::urls::Route;

/// How soon the gateway is asked again.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns once a route answers with anything but the gateway's own "there is nothing here (yet)".
pub async fn wait(gateway: &str, route: &Route, at_most: Duration) -> Result<()> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let deadline = Instant::now() + at_most;
    loop {
        let last = ask(&client, gateway, route).await;
        match last {
            Ok(status) if !matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
                return Ok(());
            }
            Ok(status) if Instant::now() > deadline => bail!("the gateway still answers {status}"),
            Err(error) if Instant::now() > deadline => return Err(error),
            _ => sleep(PAUSE).await,
        }
    }
}

async fn ask(client: &Client<HttpConnector, Empty<Bytes>>, gateway: &str, route: &Route) -> Result<StatusCode> {
    let mut request = Request::get(format!("{gateway}{}", route.path));
    if !route.host.is_empty() {
        request = request.header(header::HOST, &route.host);
    }
    let request = request.body(Empty::new()).context("making a request")?;
    let answer = timeout(PATIENCE, client.request(request)).await.context("waiting for an answer")?;
    Ok(answer.context("asking the gateway")?.status())
}
