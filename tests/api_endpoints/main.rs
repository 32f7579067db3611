//! Every endpoint over real HTTP against the real binary.

#![allow(clippy::unwrap_used)]

mod administration;
mod bad_input;
#[path = "../cli_serve/client.rs"]
#[allow(dead_code)]
mod client;
mod credentials;
mod dialects;
mod http;
mod openapi;
mod process;
mod repeated;
mod revocation;
mod usage;
