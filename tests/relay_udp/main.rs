//! A whole node on loopback, driven over UDP.

mod client;
mod node;
mod pressure;
mod relaying;
mod trains;
