//! Asking over HTTP: a server by its URL, or the one on this machine by its control socket.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Builder};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Response, body::Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    time::{Instant, timeout},
};
use zeroize::Zeroizing;

use super::tls::Authorities;
use crate::api::Within;

/// From the connection to the end of the answer.
const TIME_MAX: Duration = Duration::from_secs(5);
/// A page of metrics takes some ten KiB.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Whom to ask.
pub(super) struct Http {
    place: Place,
    key: Option<HeaderValue>,
}

enum Place {
    Socket(PathBuf),
    /// The process itself.
    Within(Within),
    Url {
        base: String,
        client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    },
}

/// What was answered.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) took: Duration,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The time of whoever answered, in seconds since the Unix epoch.
    pub(super) fn date(&self) -> Option<u64> {
        let text = self.headers.get(header::DATE)?.to_str().ok()?;
        httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    /// What a problem document says, in a few words.
    pub(super) fn problem(&self) -> String {
        let value = self.json();
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let said = text("detail").or_else(|| text("title")).unwrap_or_default();
        if said.is_empty() { format!("status {}", self.status) } else { format!("{} ({said})", self.status) }
    }
}

impl Http {
    pub(super) const fn socket(path: PathBuf) -> Self {
        Self { place: Place::Socket(path), key: None }
    }

    /// This process asks itself.
    pub(super) const fn within(within: Within) -> Self {
        Self { place: Place::Within(within), key: None }
    }

    /// # Errors
    /// The URL is none, or the key cannot be sent.
    pub(super) fn url(
        url: &str,
        key: Option<&Zeroizing<String>>,
        authorities: Option<&Authorities>,
    ) -> anyhow::Result<Self> {
        let uri = url
            .parse::<Uri>()
            .ok()
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        if uri.is_none() {
            return Err(anyhow!("{url:?} is no URL such as https://turn.example.org:9641"));
        }
        let tls = match authorities {
            Some(authorities) => authorities.strict()?,
            None => Authorities::none()?,
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        let key = key.map(|key| {
            let value = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {}", key.as_str())));
            let mut value = value.context("the API key has characters that no key has")?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        let base = url.trim_end_matches('/').to_owned();
        Ok(Self { place: Place::Url { base, client }, key: key.transpose()? })
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match &self.place {
            Place::Socket(path) => path.display().to_string(),
            Place::Within(_) => "this server".to_owned(),
            Place::Url { base, .. } => base.clone(),
        }
    }

    /// Whether the answerer takes us for somebody.
    pub(super) const fn has_access(&self) -> bool {
        matches!(self.place, Place::Socket(_) | Place::Within(_)) || self.key.is_some()
    }

    /// # Errors
    /// Why there is no answer, in a few words.
    pub(super) async fn get(&self, path: &str) -> Result<Reply, String> {
        self.ask(Method::GET, path, None, &[]).await
    }

    /// For what takes longer than usual.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(super) async fn get_within(&self, path: &str, time_max: Duration) -> Result<Reply, String> {
        self.ask_within(Method::GET, path, None, &[], time_max).await
    }

    /// # Errors
    /// As for [`get`](Self::get).
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Reply, String> {
        self.ask(Method::POST, path, Some(body), &[]).await
    }

    /// # Errors
    /// As for [`get`](Self::get).
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Reply, String> {
        self.ask_within(method, path, body, headers, TIME_MAX).await
    }

    async fn ask_within(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(HeaderName, HeaderValue)],
        time_max: Duration,
    ) -> Result<Reply, String> {
        let begun = Instant::now();
        let work = async {
            let response = self.send(method, path, body, headers).await.map_err(|error| in_short(&error))?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            // A WebSocket that opens has no body that would end.
            let body = if status == 101 {
                Bytes::new()
            } else {
                let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
                body.map_err(|error| format!("its answer cannot be read: {error}"))?.to_bytes()
            };
            Ok(Reply { status, headers, body, took: begun.elapsed() })
        };
        let late = || format!("no answer within {} s", time_max.as_secs());
        timeout(time_max, work).await.map_err(|_| late())?
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> anyhow::Result<Response<Incoming>> {
        let base = match &self.place {
            Place::Socket(_) | Place::Within(_) => "",
            Place::Url { base, .. } => base.as_str(),
        };
        let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
        if let Some(set) = request.headers_mut() {
            set.insert(
                header::USER_AGENT,
                HeaderValue::from_static(concat!("iceway/", env!("CARGO_PKG_VERSION"))),
            );
            if let Some(key) = &self.key {
                set.insert(header::AUTHORIZATION, key.clone());
            }
            if body.is_some() {
                set.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            set.extend(headers.iter().cloned());
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        match &self.place {
            Place::Url { client, .. } => Ok(client.request(request.body(Full::new(bytes))?).await?),
            Place::Socket(path) => over(UnixStream::connect(path).await?, request, bytes).await,
            Place::Within(within) => over(within.connect(), request, bytes).await,
        }
    }
}

async fn over<S>(stream: S, request: Builder, body: Bytes) -> anyhow::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer.
    tokio::spawn(connection.with_upgrades());
    let request = request.header(header::HOST, "localhost").body(Full::new(body))?;
    Ok(sender.send_request(request).await?)
}

/// The innermost cause says most.
fn in_short(error: &anyhow::Error) -> String {
    let cause = error.chain().last().map(ToString::to_string).unwrap_or_default();
    if cause.contains("refused") {
        "nothing listens there: the connection is refused".to_owned()
    } else {
        cause
    }
}

/// Seconds since the Unix epoch, with their parts.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
