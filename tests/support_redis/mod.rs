//! Real Redis processes for tests: one server, a master with replica and sentinels, a cluster of three masters.
//!
//! ```ignore
//! #[path = "../support_redis/mod.rs"]
//! mod support_redis;
//!
//! let redis = Redis::start();                  // answers when this returns; killed when dropped, also on panic
//! redis.url();                                 // redis://127.0.0.1:<port>
//! redis.command(&["INFO", "commandstats"]);    // as a user who may do everything
//! redis.pause(); redis.resume();               // hung, as with SIGSTOP
//! redis.kill(); redis.restart();               // comes back empty, on the same port
//!
//! Redis::start_with(Options { tls: true, ..Options::default() });  // also `tls_url()`, `authority()`, …
//! Redis::start_with(Options { program: Program::Valkey, ..Options::default() });  // or the oldest Redis
//! Sentinels::start(); RedisCluster::start();
//! ```
//!
//! Ports are free ones below 32768, files lie in a directory of its own that is removed with the server. A missing
//! program fails the test and says what to install. A server must be dropped on the thread that started it: it dies
//! with that thread.
#![allow(dead_code, unused_imports, reason = "every test program uses a part of it")]

mod certificates;
mod cluster;
mod ports;
mod process;
mod program;
mod sentinel;
mod server;

pub(crate) use certificates::Authority;
pub(crate) use cluster::RedisCluster;
pub(crate) use ports::free_port;
pub(crate) use process::{Scratch, wait_for};
pub(crate) use program::Program;
pub(crate) use sentinel::Sentinels;
pub(crate) use server::{Options, Redis};
