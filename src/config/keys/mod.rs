//! Every key in one table: the source of the file's syntax, the flags, the environment, `check --show`,
//! `config/iceway.toml` and the reference.

mod api;
mod auth;
mod credentials;
mod explain;
mod http;
mod jwt;
mod listen;
mod node;
mod page;
mod redis;
mod relay;
mod service;
mod signal;
mod store;
mod webhooks;

use super::{
    field::{Field, Rule, Shape, Unit},
    types::Config,
};

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// `section.name`; flag and environment variable follow from it.
    pub(crate) path: &'static str,
    /// What its value must be.
    pub(crate) rule: Rule,
    /// For `-h`: no full stop.
    pub(crate) brief: &'static str,
    /// Effect, reason for the default, example: for `--help`, the file and the reference.
    pub(crate) about: &'static str,
    /// Never shown, and never a flag: command lines are seen by every user of a machine.
    pub(crate) secret: bool,
    /// Read again on SIGHUP; else a restart is needed.
    pub(crate) reloads: bool,
    /// Where it is kept.
    pub(crate) field: fn(&mut Config) -> &mut dyn Field,
}

impl Key {
    /// `--section-name`, without the dashes; `None` for secrets.
    pub(crate) fn flag(&self) -> Option<String> {
        (!self.secret).then(|| self.path.replace(['.', '_'], "-"))
    }

    /// `ICEWAY_SECTION_NAME`.
    pub(crate) fn environment(&self) -> String {
        format!("ICEWAY_{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// The value in `config` as TOML writes it; `None` when it is not set.
    pub(crate) fn show(&self, config: &Config) -> Option<String> {
        // A field is reached through `&mut` only, so that one function serves reading and writing.
        let mut copy = config.clone();
        (self.field)(&mut copy).show(&self.rule)
    }

    /// The default as TOML writes it.
    pub(crate) fn default_text(&self) -> Option<String> {
        self.show(&Config::default())
    }

    /// What stands for the value in help texts.
    pub(crate) fn placeholder(&self) -> &'static str {
        (self.field)(&mut Config::default()).placeholder(&self.rule)
    }

    /// See [`Shape`].
    pub(crate) fn shape(&self) -> Shape {
        (self.field)(&mut Config::default()).shape()
    }

    /// `section` of `section.name`.
    pub(crate) fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    /// `name` of `section.name`.
    pub(crate) fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }
}

/// Every key, in the order of the file.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    let clients = listen::KEYS.iter().chain(relay::KEYS).chain(auth::KEYS);
    let callers = http::KEYS.iter().chain(api::KEYS).chain(jwt::KEYS).chain(page::KEYS).chain(signal::KEYS);
    clients
        .chain(node::KEYS)
        .chain(credentials::KEYS)
        .chain(callers)
        .chain(store::KEYS)
        .chain(redis::KEYS)
        .chain(webhooks::KEYS)
        .chain(explain::KEYS)
        .chain(service::KEYS)
}

/// Sections in the order of the file, each with what it is about.
pub(crate) const SECTIONS: &[(&str, &str)] = &[
    ("listen", "Where clients are listened for."),
    ("tls", "The certificate for TLS (`turns:`). Both keys or neither."),
    ("streams", "Bounds on TCP and TLS connections of clients, so that idle or stalled ones cost little."),
    ("relay", "Where relay sockets are bound, and what clients are told about them."),
    (
        "auth",
        "Who may allocate. Without a secret and without users, a secret is generated at start and lost at the end.",
    ),
    (
        "peers",
        "Which peers may be reached. Private, loopback, link-local and other special addresses are denied unless allowed here.",
    ),
    ("lifetimes", "How long allocations, permissions and channels live. RFC 8656 fixes most of it."),
    ("limits", "Bounds on what clients can make grow. 0 is unlimited where a key says so."),
    (
        "bandwidth",
        "Bounds on relayed payload. Numbers are bytes per second; texts name their unit, such as \"8Mbit/s\" or \"1MB/s\".",
    ),
    ("protocol", "Choices the protocol leaves open."),
    ("node", "What this node is called, and where clients and other nodes find it."),
    ("credentials", "The credentials that the API hands out."),
    ("store", "What outlives a restart."),
    ("usage", "Who used how much: records of ended allocations, and sums of days."),
    ("http", "The HTTP listener: the API, /metrics, /healthz, /readyz."),
    ("api", "Who may call the API, and how often."),
    ("jwt", "Tokens of an OAuth 2 or OpenID Connect issuer (RFC 7519) that callers may bring."),
    ("page", "The built-in page that browsers get at /."),
    ("signal", "The signaling relay: GET /v1/signal, a WebSocket on which clients find each other."),
    (
        "redis",
        "The Redis that several nodes share, to work as one. Needs redis.url and redis.cluster_key_file; without them this node is alone.",
    ),
    (
        "webhooks",
        "What the backend is told of what happens: calls, rooms, sessions. Nobody is told without webhooks.url.",
    ),
    ("calls", "How long calls are listed at /v1/calls."),
    (
        "quality",
        "Loss and jitter of relayed RTP, as seen in passing: the way from the sender to here. Headers are read, nothing is kept.",
    ),
    (
        "explain",
        "What is remembered, in memory, of why users fail: for `iceway explain` and GET /v1/explain/{user}.",
    ),
    ("runtime", "Threads, buffers and the end of the process."),
    ("log", "What is logged and how."),
];

/// The key of this path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// The known name that is most like `unknown`, if one is like enough to be meant.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_ascii_lowercase().replace('-', "_");
    known
        .map(|name| (strsim::jaro_winkler(&unknown, &name.to_ascii_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// No bound, no unit.
const ANY: Rule = Rule { unit: Unit::None, min: 0, max: u64::MAX };

const fn text(min: u64, max: u64) -> Rule {
    Rule { unit: Unit::None, min, max }
}

const fn count(min: u64, max: u64) -> Rule {
    Rule { unit: Unit::Count, min, max }
}

/// Bounds in seconds.
const fn duration(min: u64, max: u64) -> Rule {
    Rule { unit: Unit::Duration, min, max }
}

const fn bytes(min: u64, max: u64) -> Rule {
    Rule { unit: Unit::Bytes, min, max }
}
