//! One file, flags and environment resolved into one validated value: [`Config`].
//!
//! A single table of keys is the source of everything that names one: the syntax of the file, flags, variables of
//! the environment, `config/iceway.toml` and the reference. [`load`] reports all errors at once.

mod changes;
mod check;
mod core;
mod defaults;
mod field;
mod file;
mod flags;
mod keys;
mod load;
mod problem;
mod read;
mod redis;
mod redis_files;
mod render;
mod secrets;
mod service_credentials;
mod signal_files;
mod types;
mod units;
mod webhook_files;

pub use changes::KeyChange;
pub use flags::{flags, given_flags};
pub use load::{FILE_VARIABLE, Loaded, Sources, USER_RUNTIME_DIRECTORY, control_socket, load, load_again};
pub use problem::{ConfigError, Origin, Problem};
pub use read::{ReadError, read_file, read_text};
pub use redis::{Redis, RedisLayout, RedisUrl};
pub use render::{example_file, reference_table};
pub use types::{
    Api, Auth, Authorize, CertificatePrincipal, Config, ControlSocket, Credentials, DecisionKind, External,
    Http, Jwt, Listen, Log, LogFormat, LogLevel, Node, Page, PageEnabled, Peers, Protocol, PublicSource,
    Relay, RequireHttps, Runtime, SCOPE_WORDS, SIGNAL_SCOPE_WORDS, ScopeRule, SecretBytes, ServerUri,
    SharedSecret, Signal, SignalDefault, SignalScope, StaticUser, StaticUserSecret, Store, Streams,
    StunServer, Tls, TokenAudience, Usage, WebOrigin,
};
pub use types::{Calls, EventFilter, RetryWait, Webhooks};
pub use units::{duration, show_duration};
