//! The relay and what nodes share, joined in one process: revocation, listing, closing, drain, reload, usage, restart.

#![allow(clippy::unwrap_used)]

#[path = "../cli_serve/client.rs"]
#[allow(dead_code, reason = "shared with the tests of `serve`")]
mod client;
#[path = "../cli_serve/process.rs"]
#[allow(dead_code, reason = "shared with the tests of `serve`")]
mod process;

mod allocations;
mod api;
mod api_keys;
mod reload;
mod restart;
mod scratch;
mod shared;
#[path = "../support_redis/mod.rs"]
#[allow(clippy::print_stderr, reason = "shared with the tests of Redis")]
mod support_redis;
