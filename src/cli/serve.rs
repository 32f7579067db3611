//! `iceway serve`: start, signals, end.

use std::{
    io::{IsTerminal as _, stderr},
    net::{TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::{banner, exit::Failure, terminal};
use crate::{
    api::{self, HttpServer, Service, ice_servers},
    cluster::{Cluster, Settings},
    config::{self, Config, Loaded, LogFormat, LogLevel, SecretBytes, SharedSecret, Sources},
    runtime::{Node, NodeHandle, Start, StartError},
    telemetry::{self, LogHandle, LogOptions},
};

/// 256 random bits.
const SECRET_BYTES: usize = 32;

/// Serves until it is told to end.
pub(super) fn run(sources: &Sources) -> Result<(), Failure> {
    let mut loaded = config::load(sources)?;
    let generated = if loaded.has_credentials() { None } else { Some(generated_secret()?) };
    loaded.config.auth.secrets.extend(generated.clone());
    let is_trial = generated.is_some();
    let log = telemetry::init(&log_options(&loaded.config)).context("logging cannot begin")?;
    for warning in &loaded.warnings {
        tracing::warn!(key = warning.key, "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system refuses an event queue")?;
    // Before anybody can be told that it is ready: a signal that comes then must not end it the hard way.
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new().context("the system refuses signal handlers")?
    };
    try_relay_addresses(&loaded)?;
    let http = bind_http(&loaded.config)?;
    let start = Start::alone(&loaded.config).map_err(|error| Failure::Configuration(error.to_string()))?;
    let node = Node::start(&loaded.config, start).map_err(explain_start)?;
    let reached = ice_servers::listened_on(node.listening());
    let cluster = {
        let _inside = runtime.enter();
        let node = &loaded.config.node;
        let settings = Settings {
            id: node.id_or_machine_name(),
            region: node.region.clone(),
            uris: ice_servers::node_uris(&loaded.config, &reached),
        };
        Cluster::open(&loaded.config, settings).context("the node cannot keep what it must")?
    };
    let service = Service::new(node.handle(), cluster, &loaded.config, &reached);
    let http = http.map(|listener| api::serve(listener, service)).transpose().context("HTTP cannot start")?;
    announce(&loaded, &node, http.as_ref(), is_trial)?;
    let mut serving = Serving { sources, loaded, generated, node: node.handle(), log };
    let served = runtime.block_on(serving.until_told_to_end(&mut signals));
    node.handle().shutdown();
    node.join();
    drop(http);
    tracing::info!("Ended.");
    served
}

fn generated_secret() -> anyhow::Result<SharedSecret> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(&mut bytes[..]).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    let text = Zeroizing::new(STANDARD.encode(&bytes[..]));
    Ok(SharedSecret { id: "generated".to_owned(), bytes: SecretBytes::new(text.as_bytes()) })
}

fn log_options(config: &Config) -> LogOptions {
    // What the libraries say below warnings helps nobody, and is not redacted.
    let levels = match config.log.level {
        LogLevel::Off => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,iceway=info",
        LogLevel::Debug => "warn,iceway=debug",
        LogLevel::Trace => "warn,iceway=trace",
    };
    LogOptions {
        filter: config.log.filter.clone().unwrap_or_else(|| levels.to_owned()),
        json: match config.log.format {
            LogFormat::Auto => !stderr().is_terminal(),
            LogFormat::Text => false,
            LogFormat::Json => true,
        },
        redact: config.log.redact,
    }
}

fn bind_http(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.http.listen else { return Ok(None) };
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen for HTTP on {address}; set http.listen (--http-listen) to a free address, or to off")
    })?;
    Ok(Some(listener))
}

/// A relay address that is not one of this machine would refuse every client.
fn try_relay_addresses(loaded: &Loaded) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for ip in &loaded.config.relay.addresses {
        if let Err(error) = UdpSocket::bind((*ip, 0)) {
            let origin = loaded.origin("relay.addresses");
            faults.push(format!(
                "relay.addresses ({origin}): {ip} cannot be bound: {error}; name addresses of this machine"
            ));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Configuration(faults.join("\n"))) }
}

fn explain_start(error: StartError) -> Failure {
    let taken = "; end what uses it, or set";
    match error {
        StartError::Listen { transport, .. } => {
            let name = transport.as_str();
            anyhow!("{error}{taken} listen.{name} (--listen-{name})").into()
        }
        StartError::Tls(error) => error.into(),
        StartError::System { .. } => anyhow!(error).into(),
    }
}

/// Says what runs: at length to somebody who tries it, in log lines to everybody else.
fn announce(loaded: &Loaded, node: &Node, http: Option<&HttpServer>, is_trial: bool) -> anyhow::Result<()> {
    if is_trial && !is_managed() {
        terminal::say(&banner::text(loaded, node, http)?);
        return Ok(());
    }
    if is_trial {
        tracing::warn!(
            "No secret and no users are configured: nobody can allocate. Set auth.secret_file or ICEWAY_AUTH_SECRET."
        );
    }
    for listening in node.listening() {
        tracing::info!(transport = listening.transport.as_str(), address = %listening.address, "Listening.");
    }
    for relay in node.relay_addresses() {
        tracing::info!(local = %relay.local, advertised = %relay.advertised, "Relaying.");
    }
    if let Some(http) = http {
        tracing::info!(address = %http.address(), "Listening for HTTP.");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Ready.");
    Ok(())
}

/// Under systemd and Kubernetes standard output is a log, where a credential has no place.
fn is_managed() -> bool {
    ["JOURNAL_STREAM", "KUBERNETES_SERVICE_HOST"].iter().any(|name| std::env::var_os(name).is_some())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of those that end the process.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What a signal may act on.
struct Serving<'a> {
    sources: &'a Sources,
    loaded: Loaded,
    /// The secret of a node that has no other.
    generated: Option<SharedSecret>,
    node: NodeHandle,
    log: LogHandle,
}

/// Refuses new allocations and waits for those that are up, but not for ever and not past a second signal.
async fn drain(node: &NodeHandle, time_max: Duration, signals: &mut Signals) {
    node.drain();
    let allocations = node.allocations().await;
    if allocations == 0 || time_max.is_zero() {
        return;
    }
    tracing::info!(
        allocations,
        seconds_max = time_max.as_secs(),
        "Draining: new allocations are refused. A second signal ends at once."
    );
    tokio::select! {
        () = signals.end() => tracing::info!("Ending at once."),
        allocations = node.drained(time_max) => {
            if allocations > 0 {
                tracing::info!(allocations, "The time to drain is over.");
            }
        }
    }
}

impl Serving<'_> {
    /// Without one of its relay threads a node answers some of its clients and not others: it ends, to be started
    /// again.
    async fn until_told_to_end(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        let node = self.node.clone();
        let shard_ended = node.shard_ended();
        tokio::pin!(shard_ended);
        loop {
            tokio::select! {
                () = &mut shard_ended => {
                    return Err(anyhow!("a relay thread ended; the log says why, and a restart mends it").into());
                }
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hang_up.recv() => self.reload().await,
            }
        }
        drain(&self.node, self.loaded.config.runtime.drain_timeout, signals).await;
        Ok(())
    }

    /// Takes over what can change while calls run. A configuration with errors leaves everything as it was.
    async fn reload(&mut self) {
        let mut fresh = match config::load(self.sources) {
            Ok(fresh) => fresh,
            Err(error) => {
                for problem in &error.problems {
                    tracing::error!(key = problem.key, "Not reloaded: {problem}");
                }
                return;
            }
        };
        for warning in &fresh.warnings {
            tracing::warn!(key = warning.key, "{warning}");
        }
        if !fresh.has_credentials() {
            fresh.config.auth.secrets.extend(self.generated.clone());
        }
        if let Err(error) = self.log.change(&log_options(&fresh.config)) {
            tracing::error!(%error, "The log filter is unchanged.");
        }
        self.reload_certificate();
        match fresh.config.directory() {
            Ok(directory) => self.node.reload(&fresh.config, Arc::new(directory)).await,
            Err(error) => {
                tracing::error!(%error, "Not reloaded: the users and secrets cannot be used.");
                return;
            }
        }
        for path in self.loaded.restart_needed(&fresh) {
            tracing::warn!(key = path, "Changed, but takes effect only after a restart.");
        }
        tracing::info!("Reloaded.");
    }

    /// The files are those named at the start.
    fn reload_certificate(&self) {
        if self.loaded.config.tls.certificate.is_none() {
            return;
        }
        match self.node.reload_certificates() {
            Ok(()) => tracing::info!("The certificate was read again."),
            Err(error) => tracing::error!(%error, "The certificate in use stays."),
        }
    }
}
