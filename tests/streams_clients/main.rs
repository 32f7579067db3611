//! A whole node on loopback, driven over TCP and TLS.

#![allow(clippy::unwrap_used)]

mod certificates;
mod client;
mod limits;
mod node;
mod relaying;
