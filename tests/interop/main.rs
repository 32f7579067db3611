//! The binary proved against real counterparts: coturn's clients, the `turn` crate, aiortc, Chromium, Firefox, Janus,
//! Redis, Spring, and clients of our own behind a NAT or with bad intentions; one node, and three as one. `tests/run`
//! installs the counterparts; without one its tests fail.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail by panicking and say why")]

mod aiortc;
mod amplification;
mod bad_files;
mod bad_world;
mod browser;
mod calls_browsers;
mod calls_client;
mod calls_drain;
mod calls_networks;
mod calls_support;
mod change;
mod cluster;
mod dialects;
mod doctor;
mod examples;
mod explain;
mod explain_kinds;
mod fail2ban;
mod first_run;
mod hostile;
mod janus;
mod lifecycle;
mod metrics;
mod nat;
mod page;
mod pressure;
mod public;
mod quality;
mod readme;
mod signal_chaos;
#[path = "../signal_support/mod.rs"]
mod signal_support;
mod store;
mod stunclient;
mod support;
#[path = "../support_redis/mod.rs"]
mod support_redis;
mod turn_crate;
mod uclient;
