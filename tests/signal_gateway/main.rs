//! `GET /v1/signal` from outside: who gets in, what bad input costs, and what operators can do. A real process, real
//! sockets, and a real server in the place of the backend.

#![allow(clippy::print_stderr, clippy::unwrap_used)]

#[path = "../signal_support/mod.rs"]
mod signal_support;
#[path = "../support_redis/mod.rs"]
mod support_redis;

mod administration;
mod backend;
mod bad_input;
mod decisions;
mod draining;
mod entry;
mod nodes;
mod tls;
mod tokens;
mod upgrade;
