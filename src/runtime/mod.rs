//! Sockets, threads, TLS and timers: drives the core.
//!
//! A [`Node`] is the relay of one process. It has one *shard* per core: a thread with a current-thread tokio runtime,
//! its own client sockets (SO_REUSEPORT), its own relay sockets and its own [`turn::Server`](crate::turn::Server).
//! Shards share nothing on the path of a packet.

mod clock;
mod counters;
mod node;
mod outbox;
mod relay_sockets;
mod runs;
mod shard;
mod stream;
mod sys;
mod tls;

pub use counters::RuntimeCounters;
pub use node::{Listening, Node, NodeHandle, ShardSnapshot, Snapshot, StartError};
pub use stream::{AcceptFailure, StreamClose, StreamCounters, StreamRefusal, StreamState};
pub use tls::{CertificateStatus, TlsError};
