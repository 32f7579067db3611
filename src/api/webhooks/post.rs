//! One request to the receiver, with a bound on everything it could do.

use std::{sync::Arc, time::Duration};

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};

use super::counters::Attempt;
use crate::{
    api::{
        authorities::{AuthoritiesError, read_authorities},
        service::unix_seconds,
    },
    config::Webhooks,
    credentials::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, WebhookSecret, sign_with_all},
};

/// Of an answer no more is read; a longer one costs its connection.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long a connection is kept for the next event.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Where events go.
pub(super) struct Receiver {
    url: Uri,
    secrets: Vec<WebhookSecret>,
    timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why nothing can be sent there at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiverError {
    #[error("webhooks.url is no URL: {0}")]
    Url(#[from] axum::http::uri::InvalidUri),
    #[error("webhooks.ca_file = {0}")]
    Authorities(#[from] AuthoritiesError),
    #[error(
        "the certificate authorities of this machine cannot be read: {0}; install them, or set webhooks.ca_file"
    )]
    System(#[from] std::io::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Receiver {
    /// `None` if there is none.
    pub(super) fn new(webhooks: &Webhooks) -> Result<Option<Self>, ReceiverError> {
        let Some(url) = &webhooks.url else { return Ok(None) };
        let url: Uri = url.parse()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = match &webhooks.ca_file {
            Some(path) => builder.with_root_certificates(read_authorities(path)?),
            // Only HTTPS needs them.
            None if url.scheme_str() == Some("http") => {
                builder.with_root_certificates(RootCertStore::empty())
            }
            None => builder.with_native_roots()?,
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(webhooks.parallel_max)
            .build(connector);
        Ok(Some(Self { url, secrets: webhooks.secrets.clone(), timeout: webhooks.timeout, client }))
    }

    /// Sends an event. The text says what went wrong, for the log.
    pub(super) async fn post(&self, id: &str, body: Bytes) -> (Attempt, String) {
        match tokio::time::timeout(self.timeout, self.post_slowly(id, body)).await {
            Ok(Ok(status)) if status.is_success() => (Attempt::Delivered, String::new()),
            Ok(Ok(StatusCode::GONE)) => (Attempt::Gone, "it answered 410".to_owned()),
            Ok(Ok(status)) => (Attempt::Refused, format!("it answered {}", status.as_u16())),
            Ok(Err(problem)) => (Attempt::Unreachable, problem),
            Err(_) => (Attempt::Late, format!("it did not answer within {} ms", self.timeout.as_millis())),
        }
    }

    async fn post_slowly(&self, id: &str, body: Bytes) -> Result<StatusCode, String> {
        let timestamp = unix_seconds();
        let request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("iceway/", env!("CARGO_PKG_VERSION")))
            .header(ID_HEADER, id)
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, sign_with_all(&self.secrets, id, timestamp, &body))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| causes(&error))?;
        let status = response.status();
        // Read to its end, so that the connection can be used again; what it says does not matter.
        drop(Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await);
        Ok(status)
    }
}

/// With the cause of the cause, which is what says something.
fn causes(error: &dyn std::error::Error) -> String {
    const CAUSES_MAX: usize = 8;
    let causes = std::iter::successors(Some(error), |error| error.source()).take(CAUSES_MAX);
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
