//! Asking a running server, over its control socket or over HTTP.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use axum::http::{HeaderValue, Method, Request, Response, Uri, header};
use bytes::Bytes;
use clap::{Arg, ArgMatches, value_parser};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::{net::UnixStream, runtime::Runtime};
use zeroize::Zeroizing;

use super::{exit::Failure, sources};
use crate::{
    api::authorities::read_authorities,
    config::{Problem, control_socket, flags, read_text},
};

/// From the connection to the end of the answer.
const TIME_MAX: Duration = Duration::from_secs(15);
/// A thousand allocations take some hundred KiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// No file with one key in it is larger.
const KEY_FILE_BYTES_MAX: u64 = 4096;
/// Where the packaged unit has the socket.
pub(super) const PACKAGED_SOCKET: &str = "/run/iceway/control.sock";
/// Stands for the server in requests over the socket.
const SOCKET_HOST: &str = "localhost";

/// The flags that say which server to ask.
pub(super) fn server_flags() -> Vec<Arg> {
    let is_socket = |arg: &Arg| arg.get_id() == "http.control_socket";
    let mut args: Vec<Arg> = flags(&["http"]).into_iter().filter(is_socket).collect();
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .requires("server")
            .help(help)
    };
    args.push(super::command::config());
    args.push(
        Arg::new("server")
            .long("server")
            .value_name("URL")
            .help("Ask the server at this URL, instead of the one on this machine by its control socket")
            .long_help(
                "Ask the server at this URL, such as https://turn.example.org:9641, instead of the one on this\n\
                 machine by its control socket (http.control_socket). Needs an API key.",
            ),
    );
    args.push(file("key-file", "Read the API key for --server from the first line of this file"));
    args.push(file(
        "ca-file",
        "PEM file with the authorities of the certificate of --server, instead of the system's",
    ));
    args
}

/// Asks one server.
pub(super) struct ControlClient {
    runtime: Runtime,
    target: Target,
}

/// Where the server is.
enum Target {
    Socket {
        path: PathBuf,
        /// What could not be read of the configuration that may have named another.
        problems: Vec<Problem>,
    },
    Url {
        base: String,
        key: Option<HeaderValue>,
        client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    },
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `null` where it is not JSON.
    pub(super) body: Value,
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// What the problem document says.
    pub(super) fn success(self) -> Result<Value, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let text = |name: &str| self.body.get(name).and_then(Value::as_str).map(str::to_owned);
        let title = text("title").unwrap_or_else(|| "the server refuses".to_owned());
        let detail = text("detail").map(|detail| format!(": {detail}")).unwrap_or_default();
        let code = text("code").map(|code| format!(", {code}")).unwrap_or_default();
        Err(anyhow!("{title}{detail} ({}{code})", self.status).into())
    }
}

impl ControlClient {
    /// The server that the flags of a command name.
    ///
    /// # Errors
    /// There is none, or a file that is named cannot be used.
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("the system refuses an event queue")?;
        let file = |name| matches.get_one::<PathBuf>(name).map(PathBuf::as_path);
        let target = match matches.get_one::<String>("server") {
            Some(url) => Target::of_url(url, file("key-file"), file("ca-file"))?,
            None => Target::of_socket(matches)?,
        };
        Ok(Self { runtime, target })
    }

    /// # Errors
    /// Nobody answers.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(&Method::GET, path, None)
    }

    /// # Errors
    /// Nobody answers.
    pub(super) fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        self.ask(&Method::POST, path, body)
    }

    /// # Errors
    /// Nobody answers.
    pub(super) fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(&Method::DELETE, path, None)
    }

    fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let asked = self.runtime.block_on(async {
            let late = || anyhow!("did not answer within {} s", TIME_MAX.as_secs());
            tokio::time::timeout(TIME_MAX, self.target.ask(method, path, body)).await.map_err(|_| late())?
        });
        Ok(asked.with_context(|| self.target.nobody())?)
    }
}

impl Target {
    fn of_socket(matches: &ArgMatches) -> Result<Self, Failure> {
        let sources = sources(matches);
        let (configured, problems) = control_socket(&sources);
        let packaged = || Some(PathBuf::from(PACKAGED_SOCKET)).filter(|path| is_there(path));
        // The configuration of a shell is not that of the service: the directory of a user's programs has a socket only
        // when that user runs a server.
        let path = match configured {
            Some(path) if is_there(&path) => Some(path),
            Some(path) => packaged().or(Some(path)),
            None => packaged(),
        };
        let path = path.ok_or_else(|| {
            anyhow!(
                "http.control_socket is off in this configuration, so there is nobody to ask: name the server's with \
                 --config or --http-control-socket, or ask over HTTP with --server URL --key-file FILE{}",
                listed(&problems)
            )
        })?;
        Ok(Self::Socket { path, problems })
    }

    fn of_url(url: &str, key_file: Option<&Path>, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let is_url = url.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some()
                && uri.query().is_none()
        });
        if !is_url {
            return Err(anyhow!("--server {url} is not a URL such as https://turn.example.org:9641").into());
        }
        let key = key_file.map(read_key).transpose()?;
        let tls = tls(url.starts_with("https:"), ca_file)?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Self::Url { base: url.trim_end_matches('/').to_owned(), key, client })
    }

    async fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let (base, key) = match self {
            Self::Socket { .. } => ("", None),
            Self::Url { base, key, .. } => (base.as_str(), key.as_ref()),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("iceway/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, key);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        match self {
            Self::Socket { path, .. } => {
                let request = request.header(header::HOST, SOCKET_HOST).body(Full::new(bytes))?;
                over_socket(path, request).await
            }
            Self::Url { client, .. } => read(client.request(request.body(Full::new(bytes))?).await?).await,
        }
    }

    /// What to say when nobody answers.
    fn nobody(&self) -> String {
        match self {
            Self::Socket { path, problems } => format!(
                "no server answers at {}: is it running? If its http.control_socket is another path, name it with --config \
                 or --http-control-socket; if it is on another machine, use --server URL --key-file FILE{}",
                path.display(),
                listed(problems)
            ),
            Self::Url { base, .. } => {
                format!(
                    "no server answers at {base}: is it running, and is its http.listen reachable from here?"
                )
            }
        }
    }
}

async fn over_socket(path: &Path, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let stream = UnixStream::connect(path).await.map_err(explain)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer; what goes wrong is seen there.
    let connection = tokio::spawn(connection);
    let answer = read(sender.send_request(request).await?).await;
    connection.abort();
    answer
}

fn explain(error: io::Error) -> anyhow::Error {
    let kind = error.kind();
    if kind == io::ErrorKind::PermissionDenied {
        anyhow!("only root and the user of the server may open it; run this as one of them")
    } else if kind == io::ErrorKind::ConnectionRefused {
        anyhow!("the server that made it has ended")
    } else {
        error.into()
    }
}

async fn read(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow!("its answer cannot be read: {error}"))?.to_bytes();
    Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

fn is_there(path: &Path) -> bool {
    // What cannot be looked at may be there.
    path.try_exists().unwrap_or(true)
}

/// What may be the reason that the wrong place was looked at.
fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  not read: {problem}")).collect()
}

fn read_key(path: &Path) -> anyhow::Result<HeaderValue> {
    let text = read_text(path, KEY_FILE_BYTES_MAX)
        .map_err(|error| anyhow!("--key-file {} {error}", path.display()))?;
    let key = text.lines().next().unwrap_or_default().trim();
    let value = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {key}"))).ok();
    let mut value = value.filter(|_| !key.is_empty()).ok_or_else(|| {
        anyhow!("the first line of --key-file {} is no API key; one begins with iw_", path.display())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls(is_needed: bool, ca_file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match ca_file {
        Some(path) => builder.with_root_certificates(read_authorities(path).context("--ca-file")?),
        None if !is_needed => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_native_roots().context(
            "the certificate authorities of this machine cannot be read; install them, or name a file with --ca-file",
        )?,
    };
    Ok(builder.with_no_client_auth())
}
