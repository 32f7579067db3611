//! iceway: everything a WebRTC client needs to get connected.
//!
//! The crate is built in layers, and dependencies point down only (`tests/layers.rs` holds the code against this
//! table). The first four are pure: no socket, no clock, no randomness of their own.
//!
//! | module | what lives there |
//! |---|---|
//! | [`stun`] | the wire format: views of messages, writers, integrity, ChannelData, stream framing |
//! | [`credentials`] | time-limited usernames and passwords, secret sets |
//! | [`turn`] | the relay as a state machine |
//! | [`signaling`] | the signaling relay as a state machine |
//! | [`config`] | one file, flags and environment resolved into one validated value |
//! | [`telemetry`] | logging and the table of metrics |
//! | `write_through` | a macro for streams that look only at what is read |
//! | [`cluster`] | what nodes share and what outlives a restart: secrets, API keys, revocations, usage, the other nodes |
//! | [`runtime`] | sockets, threads, TLS, timers: drives [`turn`] |
//! | [`api`] | HTTP: credentials, administration, health and metrics |
//! | [`cli`] | the commands; wires everything |

pub mod credentials;
pub mod signaling;
pub mod stun;
pub mod turn;

#[cfg(feature = "server")]
pub mod api;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod runtime;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
mod write_through;
