//! A whole node on loopback, driven over UDP.
#![allow(clippy::unwrap_used)]

mod client;
mod control;
mod node;
mod pressure;
mod relaying;
mod trains;
