//! One file, flags and environment resolved into one validated value: [`Config`].

mod defaults;
mod types;

pub use types::{
    Auth, Config, External, Http, Listen, Log, LogFormat, LogLevel, Peers, Protocol, Relay, Runtime,
    SecretBytes, SharedSecret, StaticUser, StaticUserSecret, Streams, Tls,
};
