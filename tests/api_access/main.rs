//! Who may call the HTTP API, and how: against the running binary, over real connections.

#![allow(clippy::unwrap_used)]

mod callers;
mod certificates;
mod http;
mod https;
mod listener;
mod server;
mod signer;
mod silence;
mod tokens;
