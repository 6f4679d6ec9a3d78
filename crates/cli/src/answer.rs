//! Asking a gateway until an app answers.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runtime::gateway::answer::Refusal;
use tokio::time::{Instant, sleep, timeout};

use crate::urls::Route;

/// How soon the gateway is asked again.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of an answer to see whose it is.
const WORDS: usize = 4096;

/// Returns once a route answers with anything but the gateway's own "there is nothing here (yet)".
pub async fn wait(gateway: &str, route: &Route, at_most: Duration) -> Result<()> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let deadline = Instant::now() + at_most;
    loop {
        match ask(&client, gateway, route).await {
            Ok(None) => return Ok(()),
            Ok(Some(status)) if Instant::now() > deadline => bail!("the gateway still answers {status}"),
            Err(error) if Instant::now() > deadline => return Err(error),
            _ => sleep(PAUSE).await,
        }
    }
}

/// The status of an answer that is not the app's.
async fn ask(client: &Client<HttpConnector, Empty<Bytes>>, gateway: &str, route: &Route) -> Result<Option<StatusCode>> {
    let mut request = Request::get(format!("{gateway}{}", route.path));
    if !route.host.is_empty() {
        request = request.header(header::HOST, &route.host);
    }
    let request = request.body(Empty::new()).context("making a request")?;
    let answer = timeout(PATIENCE, client.request(request)).await.context("waiting for an answer")?.context("asking the gateway")?;
    let status = answer.status();
    Ok(match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Some(status),
        // A gateway that has just started knows no route yet; an app may well have nothing at its route's path.
        StatusCode::NOT_FOUND => {
            let body = timeout(PATIENCE, Limited::new(answer.into_body(), WORDS).collect()).await;
            body.is_ok_and(|body| body.is_ok_and(|body| is_no_route(&body.to_bytes()))).then_some(status)
        }
        _ => None,
    })
}

/// Whether a 404 is the gateway's, which says why and names the request.
fn is_no_route(body: &[u8]) -> bool {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    answer["reason"] == Refusal::NoRoute.reason() && answer["request"].is_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[tokio::test]
    async fn a_404_of_the_gateway_is_told_from_an_apps() {
        let answer = Refusal::NoRoute.answer(&HeaderValue::from_static("1"));
        assert!(is_no_route(&answer.into_body().collect().await.unwrap().to_bytes()));
        for of_an_app in ["", "not found", "{}", r#"{"reason":"no route"}"#, r#"{"reason":"no such user","request":"1"}"#] {
            assert!(!is_no_route(of_an_app.as_bytes()), "{of_an_app}");
        }
    }
}
