//! One HTTP/2 connection to a server for all that a node asks and watches there: a connection for each watch would use up those that a
//! server has with a thousand nodes, and none of them would notice a cut cable.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use tower::{BoxError, ServiceBuilder};

/// How often the server is asked for a sign of life, and how long that may take.
const ALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));
/// Bytes that may be under way in one stream, and in all: a watch that is read late holds up no other.
const WINDOWS: (u32, u32) = (1 << 20, 1 << 30);

/// A client of the server of this configuration.
///
/// # Errors
/// When its certificates cannot be read.
pub fn client(config: kube::Config) -> Result<kube::Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(config.connect_timeout);
    let tls = config.rustls_client_config().context("reading the certificates")?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_all_versions().wrap_connector(tcp);
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(ALIVE.0)
        .http2_keep_alive_timeout(ALIVE.1)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(WINDOWS.0)
        .http2_initial_connection_window_size(WINDOWS.1)
        .build(connector);
    let credentials = config.auth_layer().context("reading the credentials")?;
    let service = ServiceBuilder::new().layer(config.base_uri_layer()).option_layer(credentials).map_err(BoxError::from).service(http);
    Ok(kube::Client::new(service, config.default_namespace))
}
