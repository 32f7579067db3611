//! The resolved configuration: every value final and checked.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::turn;

mod access;
mod page;
mod relay;
mod service;
mod signal;
mod store;
mod webhooks;

pub use access::{
    Api, CertificatePrincipal, ControlSocket, Http, Jwt, RequireHttps, SCOPE_WORDS, ScopeRule, TokenAudience,
    WebOrigin,
};
pub use page::{Page, PageEnabled};
pub use relay::{External, PublicSource, Relay, StunServer};
pub use service::{Credentials, Node, ServerUri};
pub use signal::{Authorize, DecisionKind, SIGNAL_SCOPE_WORDS, Signal, SignalDefault, SignalScope};
pub use store::{Store, Usage};
pub use webhooks::{Calls, EventFilter, RetryWait, Webhooks};

/// Everything a node is told. [`Config::default`] is what a node runs with when nothing is configured, except that
/// it then also generates a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where clients are listened for.
    pub listen: Listen,
    /// Where relay sockets are bound and what clients are told about them.
    pub relay: Relay,
    /// The certificate of the TLS listeners.
    pub tls: Tls,
    /// Who may allocate.
    pub auth: Auth,
    /// Which peers may be reached.
    pub peers: Peers,
    /// How long what lives.
    pub lifetimes: turn::Lifetimes,
    /// Bounds on what clients can make grow.
    pub limits: turn::Limits,
    /// Limits of their own for those whose credential names a class. Default none.
    pub quota_classes: Vec<QuotaClass>,
    /// Bounds on relayed traffic.
    pub bandwidth: turn::Bandwidth,
    /// Choices the protocol leaves open.
    pub protocol: Protocol,
    /// Bounds on TCP and TLS connections.
    pub streams: Streams,
    /// The Redis that nodes share.
    pub redis: super::Redis,
    /// Threads, buffers and the end of the process.
    pub runtime: Runtime,
    /// The HTTP listener.
    pub http: Http,
    /// Who may call the API.
    pub api: Api,
    /// Tokens that callers may bring.
    pub jwt: Jwt,
    /// The built-in page.
    pub page: Page,
    /// The signaling relay.
    pub signal: Signal,
    /// What this node is called and where clients reach it.
    pub node: Node,
    /// The credentials the API hands out.
    pub credentials: Credentials,
    /// What outlives a restart.
    pub store: Store,
    /// How much is kept of who used how much.
    pub usage: Usage,
    /// What is measured of calls.
    pub quality: turn::QualityOptions,
    /// What is remembered of why users fail.
    pub explain: turn::HistoryLimits,
    /// Where events are delivered.
    pub webhooks: Webhooks,
    /// How long calls are remembered.
    pub calls: Calls,
    /// What is logged and how.
    pub log: Log,
}

/// Where clients are listened for. An unspecified IP stands for every address of this machine of that family;
/// port 0 lets the system choose. UDP needs one socket per address, so that a reply leaves from where it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// UDP. Default: port 3478 of all IPv4 and IPv6 addresses.
    pub udp: Vec<SocketAddr>,
    /// TCP; TLS is recognised here too if there is a certificate. Default: as for UDP.
    pub tcp: Vec<SocketAddr>,
    /// TLS over TCP; plain TCP is recognised here too. Default: port 5349 of all addresses if there is a
    /// certificate, else none.
    pub tls: Vec<SocketAddr>,
}

/// The certificate of the TLS listeners: both or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file with the certificate and its chain.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the private key.
    pub private_key: Option<PathBuf>,
}

/// Who may allocate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The realm of long-term credentials, 1 to 127 characters. Default `iceway`.
    pub realm: String,
    /// The secret that was configured in place; also the first of `secrets`.
    pub secret: Option<SecretBytes>,
    /// Where more of `secrets` come from.
    pub secret_file: Option<PathBuf>,
    /// Where `users` come from.
    pub users_file: Option<PathBuf>,
    /// Secrets of time-limited credentials; the first is the one to mint with.
    pub secrets: Vec<SharedSecret>,
    /// Users with a password that does not expire.
    pub users: Vec<StaticUser>,
    /// What stands between expiry time and user in a time-limited username. Default `:`.
    pub username_separator: char,
    /// When an expired credential stops working.
    pub expiry: turn::Expiry,
}

/// One secret that time-limited credentials are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSecret {
    /// Names the secret in logs and answers: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub id: String,
    /// The secret itself.
    pub bytes: SecretBytes,
}

/// A user with a password that does not expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticUser {
    /// The username.
    pub name: String,
    /// What proves it.
    pub secret: StaticUserSecret,
}

/// What a static user is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaticUserSecret {
    /// The password in clear text.
    Password(SecretBytes),
    /// MD5 of `username:realm:password`, the key of RFC 8489 §9.2.2; such a user cannot use SHA-256.
    Md5(SecretBytes),
}

/// Bytes that never appear in a log; overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Keeps a copy of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A quota class, `limits.classes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaClass {
    /// What credentials call it.
    pub name: String,
    /// Allocations of one user; 0 is unlimited.
    pub allocations: u32,
    /// Bytes per second of one allocation and direction; 0 is unlimited, `None` is `bandwidth.per_allocation`.
    pub bandwidth: Option<u64>,
}

/// Which peers may be reached, beside the default policy. Allow wins over deny.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// Reachable although the default policy or `deny` says otherwise.
    pub allow: Vec<IpNet>,
    /// Unreachable although public.
    pub deny: Vec<IpNet>,
}

/// Choices the protocol leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// The value of SOFTWARE; `None` (the default) sends none.
    pub software: Option<String>,
    /// Accept channel numbers 0x5000 to 0x7FFF, which RFC 5766 allowed. Default no.
    pub legacy_channel_numbers: bool,
}

/// Bounds on TCP and TLS connections of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Connections in all; more are closed at once. Default 65536; 0 is unlimited.
    pub connections_total: u32,
    /// Connections from one IP address (IPv6: /64). Default 1024; 0 is unlimited.
    pub connections_per_address: u32,
    /// From accepting the connection to the end of the TLS handshake, and to the first byte. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long a connection may live without an allocation. Default 60 s.
    pub unauthenticated_timeout: Duration,
    /// From the first byte of a message to its last. Default 10 s.
    pub frame_timeout: Duration,
    /// How much may wait for a client that reads slowly, per connection; what does not fit is dropped. Default 256 KiB.
    pub buffer_bytes: usize,
}

/// Threads, buffers and the end of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Shards (threads that relay); 0 (the default): one per core.
    pub shards: usize,
    /// SO_RCVBUF and SO_SNDBUF of the UDP sockets that clients send to; 0 leaves the system's. Default 4 MiB.
    pub socket_buffer_bytes: usize,
    /// SO_RCVBUF and SO_SNDBUF of each relay socket; 0 leaves the system's. Default 1 MiB.
    pub relay_socket_buffer_bytes: usize,
    /// How long SIGTERM waits for allocations to end. Default 30 s.
    pub drain_timeout: Duration,
    /// Whether a node that drains names others to new clients (300). Default yes.
    pub drain_redirect: bool,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged. Default info.
    pub level: LogLevel,
    /// A filter in the syntax of `RUST_LOG` that replaces `level`.
    pub filter: Option<String>,
    /// Text or JSON. Default: text on a terminal, else JSON.
    pub format: LogFormat,
    /// Leave out usernames and addresses of clients at every level. Default no: they appear at debug, and where
    /// authentication fails.
    pub redact: bool,
}

/// How severe something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Somebody must act.
    Error,
    /// A surprise.
    Warn,
    /// Start, reload, drain.
    #[default]
    Info,
    /// The life of allocations.
    Debug,
    /// Packets.
    Trace,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
