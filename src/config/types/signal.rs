//! The signaling relay.

use std::{path::PathBuf, time::Duration};

use super::WebOrigin;
use crate::{credentials::webhook::WebhookSecret, signaling};

/// The signaling relay, `GET /v1/signal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Whether there is one. Default yes.
    pub enabled: bool,
    /// Origins of pages that may connect, beside pages of this server itself. Default: none.
    pub origins: Vec<WebOrigin>,
    /// Whether tokens are taken from `Sec-WebSocket-Protocol`. Default no.
    pub bearer_subprotocol: bool,
    /// Whom users may call whose token does not say.
    pub call_default: SignalDefault,
    /// Which rooms users may join whose token does not say.
    pub rooms_default: SignalDefault,
    /// What scopes of tokens stand for.
    pub scopes: Vec<SignalScope>,
    /// The backend that decides.
    pub authorize: Authorize,
    /// Over how long a node that drains closes its sockets. Default 20 s.
    pub drain_within: Duration,
    /// Timeouts and limits of the protocol.
    pub options: signaling::Options,
}

/// What users may do whose token does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignalDefault {
    /// What the backend says, if one is configured; else nothing.
    #[default]
    Auto,
    /// Nothing.
    Deny,
    /// What the backend says.
    Webhook,
    /// Anything.
    Any,
}

/// A scope of tokens with what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalScope {
    /// As the issuer writes it.
    pub theirs: String,
    /// A word of [`SIGNAL_SCOPE_WORDS`].
    pub ours: String,
}

/// What scopes of tokens may stand for.
pub const SIGNAL_SCOPE_WORDS: [&str; 7] = ["connect", "call", "join", "presence", "message", "turn", "admin"];

/// The backend that is asked who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorize {
    /// Where; `None` (the default) asks nobody.
    pub url: Option<String>,
    /// A file with the secrets that questions are signed with.
    pub secret_file: Option<PathBuf>,
    /// What is in that file.
    pub secrets: Vec<WebhookSecret>,
    /// Authorities for its server, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What it is asked.
    pub kinds: Vec<DecisionKind>,
    /// How long it has. Default 800 ms.
    pub timeout: Duration,
    /// The longest that leave is remembered. Default 30 s.
    pub allow_ttl_max: Duration,
    /// The longest that a refusal is remembered. Default 5 s.
    pub deny_ttl_max: Duration,
    /// How much longer leave to connect and for ICE servers is good for users in a call, while the backend does not
    /// answer. Default 0 s.
    pub stale_allow: Duration,
}

/// What the backend may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecisionKind {
    /// May this user connect?
    Connect,
    /// May this user join that room?
    Join,
    /// May this user call that one?
    Call,
    /// May this user use the relay?
    Turn,
}

impl DecisionKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Join, Self::Call, Self::Turn];

    /// Its name: `connect`, `join`, `call`, `turn`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Join => "join",
            Self::Call => "call",
            Self::Turn => "turn",
        }
    }
}

impl Default for Signal {
    fn default() -> Self {
        let scope =
            |theirs: &str, ours: &str| SignalScope { theirs: theirs.to_owned(), ours: ours.to_owned() };
        Self {
            enabled: true,
            origins: Vec::new(),
            bearer_subprotocol: false,
            call_default: SignalDefault::Auto,
            rooms_default: SignalDefault::Auto,
            scopes: vec![
                scope("rtc.connect", "connect"),
                scope("rtc.call", "call"),
                scope("rtc.room.join", "join"),
                scope("rtc.presence", "presence"),
                scope("rtc.message", "message"),
                scope("turn.issue", "turn"),
                scope("rtc.admin", "admin"),
            ],
            authorize: Authorize::default(),
            drain_within: Duration::from_secs(20),
            options: signaling::Options::default(),
        }
    }
}

impl Default for Authorize {
    fn default() -> Self {
        Self {
            url: None,
            secret_file: None,
            secrets: Vec::new(),
            ca_file: None,
            kinds: vec![DecisionKind::Join, DecisionKind::Call],
            timeout: Duration::from_millis(800),
            allow_ttl_max: Duration::from_secs(30),
            deny_ttl_max: Duration::from_secs(5),
            stale_allow: Duration::ZERO,
        }
    }
}
