//! Asking a gateway until an app answers, ever more seldom.

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

/// How soon the gateway is asked again at first: what has just been deployed answers within milliseconds.
const FIRST: Duration = Duration::from_millis(10);
/// How seldom it is asked in the end: an app that crashes over and over must not fill the access log.
const LAST: Duration = Duration::from_secs(5);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of an answer to see whose it is.
const WORDS: usize = 4096;

/// Returns once a route answers with anything but the gateway's own "there is nothing here (yet)": with what status.
pub async fn wait(gateway: &str, route: &Route, at_most: Duration) -> Result<StatusCode> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let deadline = Instant::now() + at_most;
    for pause in pauses() {
        match ask(&client, gateway, route).await {
            Ok(Answer::Apps(status)) => return Ok(status),
            Ok(Answer::Gateways(status)) if Instant::now() > deadline => bail!("the gateway still answers {status}"),
            Err(error) if Instant::now() > deadline => return Err(error),
            _ => sleep(pause).await,
        }
    }
    bail!("it was asked too often")
}

/// From [`FIRST`] to [`LAST`], each half as long again as the one before.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(FIRST), |pause| Some((*pause * 3 / 2).min(LAST)))
}

/// Whose an answer is.
enum Answer {
    Apps(StatusCode),
    Gateways(StatusCode),
}

async fn ask(client: &Client<HttpConnector, Empty<Bytes>>, gateway: &str, route: &Route) -> Result<Answer> {
    let mut request = Request::get(format!("{gateway}{}", route.path));
    if !route.host.is_empty() {
        request = request.header(header::HOST, &route.host);
    }
    let request = request.body(Empty::new()).context("making a request")?;
    let answer = timeout(PATIENCE, client.request(request)).await.context("waiting for an answer")?.context("asking the gateway")?;
    let status = answer.status();
    let gateways = match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => true,
        // A gateway that has just started knows no route yet; an app may well have nothing at its route's path.
        StatusCode::NOT_FOUND => {
            let body = timeout(PATIENCE, Limited::new(answer.into_body(), WORDS).collect()).await;
            body.is_ok_and(|body| body.is_ok_and(|body| is_no_route(&body.to_bytes())))
        }
        _ => false,
    };
    Ok(if gateways { Answer::Gateways(status) } else { Answer::Apps(status) })
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

    #[test]
    fn five_minutes_of_waiting_are_few_requests() {
        let mut waited = Duration::ZERO;
        let asked = pauses().take_while(|pause| {
            waited += *pause;
            waited < Duration::from_secs(300)
        });
        assert!((50..100).contains(&asked.count()));
        let soon: Duration = pauses().take(6).sum();
        assert!(soon < Duration::from_millis(250), "{soon:?}");
    }
}
