//! Sockets, threads, TLS and timers: drives the core.
//!
//! A [`Node`] is the relay of one process. It has one *shard* per core: a thread with a current-thread tokio runtime,
//! its own client sockets (SO_REUSEPORT), its own relay sockets and its own [`turn::Server`](crate::turn::Server).
//! Shards share nothing on the path of a packet.

mod addresses;
mod clock;
mod counters;
pub(crate) mod descriptors;
mod events;
mod handle;
mod listen;
mod node;
mod outbox;
mod public;
mod relay_sockets;
mod reload;
mod runs;
mod shard;
mod shard_thread;
mod start;
mod stream;
mod sys;
mod tls;
mod to_client;
mod to_peer;

pub use counters::RuntimeCounters;
pub use handle::{ListFilter, ListPage, NodeHandle, RelayPorts, ShardSnapshot, Snapshot};
pub use node::{Listeners, Listening, Node, StartError};
pub(crate) use public::remoteness;
pub use public::{AddressOrigin, Finder, Found, LookCounts, Mapping, NotFound, PublicAddress, PublicStatus};
pub use start::{Ended, LookUp, Start};
pub use stream::{AcceptFailure, StreamClose, StreamCounters, StreamRefusal, StreamState};
pub(crate) use sys::interface_addresses;
pub(crate) use sys::monotonic_microseconds;
pub use tls::{CertificateStatus, TlsError, check_certificate};
pub(crate) use tls::{TlsStore, alternative_names, validity};
