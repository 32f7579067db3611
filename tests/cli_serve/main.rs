//! The server as an operator runs it: start, signals, log, HTTP.

#![allow(clippy::unwrap_used)]

mod client;
mod http;
mod log;
mod notify;
mod process;
mod reload;
mod signals;
mod socket;
mod start;
