//! Nodes that share a Redis: real redis-server and redis-sentinel processes, several nodes in this process.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail by panicking and say why")]

mod conformance;
mod exercise;
mod forgery;
#[path = "../signal_support_core/grants.rs"]
mod grants;
mod harness;
mod layouts;
mod node;
mod other_version;
mod outage;
#[path = "../cluster_conformance/mod.rs"]
mod peers;
mod sharing;
mod signals;
#[path = "../support_redis/mod.rs"]
mod support_redis;
mod usage;
mod versions;
