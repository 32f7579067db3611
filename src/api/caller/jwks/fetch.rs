//! Fetching a set of keys, with a bound on everything its server could do.

use std::{fmt, path::PathBuf, time::Duration};

use axum::http::{HeaderMap, Request, StatusCode, Uri, header, uri::InvalidUri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use crate::{
    api::{
        authorities::{AuthoritiesError, read_authorities},
        counters::JwksRefresh,
    },
    credentials::jwt::{KeySet, KeySetError},
};

/// From the look-up of the name to the end of the body.
const TIME_MAX: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 256 << 10;

/// Where keys come from.
pub(super) struct Source {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// Keys that were fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    /// For how long they may be kept, if the server says so.
    pub(super) ttl: Option<Duration>,
}

/// Why nothing can be fetched from there at all.
#[derive(Debug, Error)]
pub(in super::super) enum SourceError {
    #[error("jwt.jwks_url is no URL: {0}")]
    Url(#[from] InvalidUri),
    #[error("jwt.jwks_ca_file = {0}")]
    Authorities(#[from] AuthoritiesError),
    #[error(
        "the certificate authorities of this machine cannot be read: {0}; install them, or set jwt.jwks_ca_file"
    )]
    System(#[from] std::io::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why keys were not fetched this time.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the server did not answer within {} s", TIME_MAX.as_secs())]
    Late,
    #[error("the server answered {0}; only 200 is taken, and redirects are not followed: name the final URL")]
    Status(StatusCode),
    #[error("the answer is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer is not a text")]
    NoText,
    #[error("the answer {0}")]
    Keys(#[from] KeySetError),
}

impl FetchError {
    pub(super) const fn result(&self) -> JwksRefresh {
        match self {
            Self::Unreachable(_) | Self::Late => JwksRefresh::Unreachable,
            Self::Status(_) => JwksRefresh::Status,
            Self::TooLarge => JwksRefresh::TooLarge,
            Self::NoText | Self::Keys(_) => JwksRefresh::Malformed,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Source {
    pub(super) fn new(url: &str, ca_file: Option<&PathBuf>) -> Result<Self, SourceError> {
        let url: Uri = url.parse()?;
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = match ca_file {
            Some(path) => builder.with_root_certificates(read_authorities(path)?).with_no_client_auth(),
            // Only HTTPS needs them.
            None if url.scheme_str() == Some("http") => {
                builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
            }
            None => builder.with_native_roots()?.with_no_client_auth(),
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // It is asked so seldom that a connection would be gone by then.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { url, client })
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        tokio::time::timeout(TIME_MAX, self.fetch_slowly()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn fetch_slowly(&self) -> Result<Fetched, FetchError> {
        let request = Request::get(self.url.clone())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("iceway/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| FetchError::Unreachable(error.to_string()))?;
        let response = self.client.request(request).await.map_err(|error| unreachable_because(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let ttl = time_to_live(response.headers());
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLarge
            } else {
                FetchError::Unreachable(error.to_string())
            }
        })?;
        let body = body.to_bytes();
        let keys = KeySet::parse(std::str::from_utf8(&body).map_err(|_| FetchError::NoText)?)?;
        Ok(Fetched { keys, ttl })
    }
}

/// With the cause of the cause, which is what says something.
fn unreachable_because(error: &dyn std::error::Error) -> FetchError {
    const CAUSES_MAX: usize = 8;
    let causes = std::iter::successors(Some(error), |error| error.source()).take(CAUSES_MAX);
    FetchError::Unreachable(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// `max-age` less `Age` (RFC 9111 §4.2).
fn time_to_live(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut directives = text(header::CACHE_CONTROL)?.split(',').map(|word| word.trim().to_ascii_lowercase());
    let age: u64 = text(header::AGE).and_then(|age| age.parse().ok()).unwrap_or(0);
    directives.find_map(|directive| {
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        let seconds: u64 = directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok()?;
        Some(Duration::from_secs(seconds.saturating_sub(age)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_live_is_what_is_left_of_max_age() {
        let of = |cache: &str, age: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, cache.parse().unwrap());
            if let Some(age) = age {
                headers.insert(header::AGE, age.parse().unwrap());
            }
            time_to_live(&headers).map(|ttl| ttl.as_secs())
        };
        assert_eq!(of("public, max-age=600", None), Some(600));
        assert_eq!(of("Max-Age=600", Some("500")), Some(100));
        assert_eq!(of("max-age=600", Some("700")), Some(0));
        assert_eq!(of("no-cache", None), Some(0));
        assert_eq!(of("public", None), None);
        assert_eq!(of("max-age=soon", None), None);
    }
}
