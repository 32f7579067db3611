//! `iceway serve`: start and end.

use std::{
    io::{IsTerminal as _, stderr},
    net::{TcpListener, UdpSocket},
};

use anyhow::{Context as _, anyhow};
use tokio::runtime::Runtime;

use super::{
    banner, clock,
    control::Control,
    exit::Failure,
    fault::Fault,
    notify::{self, Notifier},
    public::{self, First},
    serving::{Serving, Signals},
    terminal,
    trial::Trial,
};
use crate::{
    api::{self, ControlListener, HttpServer, Service, ice_servers},
    cluster::{NodePlace, Settings},
    config::{self, Config, Loaded, LogFormat, LogLevel, Origin, Sources, USER_RUNTIME_DIRECTORY},
    runtime::{Listeners, Node, PublicStatus, StartError, descriptors},
    telemetry::{self, LogHandle, LogOptions},
};

/// Serves until it is told to end.
pub(super) fn run(sources: &Sources) -> Result<(), Failure> {
    let loaded = config::load(sources)?;
    let log = telemetry::init(&log_options(&loaded.config)).context("logging cannot begin")?;
    for warning in &loaded.warnings {
        tracing::warn!(key = warning.key, "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system refuses an event queue")?;
    let served = serve(&runtime, sources, loaded, log);
    // Names that are still looked up are not waited for.
    runtime.shutdown_background();
    served
}

fn serve(runtime: &Runtime, sources: &Sources, mut loaded: Loaded, log: LogHandle) -> Result<(), Failure> {
    // Before anybody can be told that it is ready: a signal that comes then must not end it the hard way.
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new().context("the system refuses signal handlers")?
    };
    let fault = Fault::watch();
    try_relay_addresses(&loaded)?;
    let http = bind_http(&loaded.config)?;
    let socket = bind_control_socket(&loaded)?;
    let mut listeners = Listeners::bind(&loaded.config).map_err(explain_start)?;
    let found = runtime.block_on(public::find(&loaded, &mut listeners, &mut signals))?;
    let First::Known(finder) = found else { return Ok(()) };
    let reached = ice_servers::listened_on(listeners.listening());
    let mut control = Control::open(&loaded.config, identity(&loaded.config, &listeners, &reached))?;
    let trial = Trial::if_needed(&mut loaded, &control)?;
    let (start, started) = control.start();
    let node = Node::start_on(listeners, &loaded.config, start).map_err(explain_start)?;
    control.begin(&node.handle(), &loaded.config, &started);
    let service = Service::new(node.handle(), control.cluster().clone(), &loaded.config, &reached)
        .map_err(|error| Failure::Configuration(error.to_string()))?;
    control.connect(&service);
    service.readdress();
    let http = http.map(|listener| api::serve(listener, service.clone()));
    let http = http.transpose().context("HTTP cannot start")?;
    let socket = socket.map(|listener| api::serve_control(listener, &service));
    let socket = socket.transpose().context("the control socket cannot be answered")?;
    let webhooks = api::deliver(&service).context("webhooks cannot start")?;
    if let Some(socket) = &socket {
        tracing::info!(path = %socket.path().display(), "Listening for commands.");
    }
    announce(&loaded, &node, http.as_ref(), trial.as_ref())?;
    if control.cluster().directory().is_empty() {
        tracing::warn!(
            "No secret and no users are known yet: nobody can allocate until other nodes tell some, or one is made with \
             POST /v1/turn/secrets/rotate."
        );
    }
    if let Some(finder) = finder {
        runtime.spawn(public::follow(finder, node.handle(), service.clone()));
    }
    let notifier = Notifier::of_this_process();
    let threads = http.as_ref().map(HttpServer::threads);
    runtime.spawn(clock::watch());
    runtime.spawn(notify::attend(notifier.clone(), node.handle(), threads, service.clone()));
    notifier.ready();
    let mut serving =
        Serving { sources, loaded, trial, node: node.handle(), control, service, log, notifier };
    let served = runtime.block_on(serving.until_told_to_end(&mut signals, &fault));
    serving.notifier.ending();
    node.handle().shutdown();
    node.join();
    drop(http);
    drop(socket);
    drop(webhooks);
    serving.control.end();
    tracing::info!("Ended.");
    served
}

/// Who this node is to others.
fn identity(config: &Config, listeners: &Listeners, reached: &ice_servers::Reached) -> Settings {
    let public = PublicStatus { external: listeners.found().external(), ..PublicStatus::default() };
    let NodePlace { uris, addresses, public } = ice_servers::node_place(config, &public, reached);
    Settings {
        id: config.node.id_or_machine_name(),
        region: config.node.region.clone(),
        uris,
        addresses,
        public,
    }
}

pub(super) fn log_options(config: &Config) -> LogOptions {
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

/// Where no configuration asks for a socket, a server does without one rather than not at all: two that try things out
/// have the same directory.
fn bind_control_socket(loaded: &Loaded) -> Result<Option<ControlListener>, Failure> {
    let Some(path) = &loaded.config.http.control_socket.0 else { return Ok(None) };
    let origin = loaded.origin("http.control_socket");
    match ControlListener::bind(path) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if origin == Origin::Environment(USER_RUNTIME_DIRECTORY.to_owned()) => {
            tracing::warn!("No control socket: {error} (http.control_socket).");
            Ok(None)
        }
        Err(error) => Err(anyhow!("http.control_socket ({origin}): {error}").into()),
    }
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
        // The one fault that another address does not mend.
        StartError::Listen { ref source, .. } if descriptors::are_used_up(source) => anyhow!(error).into(),
        StartError::Listen { transport, .. } => {
            let name = transport.as_str();
            anyhow!("{error}{taken} listen.{name} (--listen-{name})").into()
        }
        StartError::Tls(error) => error.into(),
        StartError::System { .. } => anyhow!(error).into(),
    }
}

/// Says what runs: at length to somebody who tries it, in log lines to everybody else.
fn announce(
    loaded: &Loaded,
    node: &Node,
    http: Option<&HttpServer>,
    trial: Option<&Trial>,
) -> anyhow::Result<()> {
    if let Some(trial) = trial
        && !is_managed()
    {
        terminal::say(&banner::text(loaded, node, http, trial)?);
        return Ok(());
    }
    if trial.is_some() {
        tracing::warn!(
            "No secret and no users are configured: only credentials of the API work, and only until the process ends. \
             Set auth.secret_file or ICEWAY_AUTH_SECRET."
        );
    }
    for listening in node.listening() {
        tracing::info!(transport = listening.transport.as_str(), address = %listening.address, "Listening.");
    }
    for relay in &node.handle().public().addresses {
        tracing::info!(local = %relay.local, advertised = %relay.told, from = relay.from.as_str(), "Relaying.");
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
