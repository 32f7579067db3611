//! The relay as a state machine without I/O (RFC 8489, RFC 8656).
//!
//! [`Server`] is owned by one thread. It is called with an event and says what to do; it performs nothing itself.
//! After every call, drain [`Server::poll_output`] until it returns `None`, then arm [`Server::poll_deadline`].
//! Time, randomness and relay sockets are arguments.

mod counters;
mod five_tuple;
mod label;
mod options;
mod outcome;
mod server;
mod time;

pub use counters::{Code, Counters, QuotaKind, Request, Responses, Traffic};
pub use five_tuple::{FiveTuple, ListenerId, Transport};
pub use label::{Label, Tally};
pub use options::{Bandwidth, Expiry, Lifetimes, Limits, Options, Random, RelayAddress};
pub use outcome::{
    AllocationSummary, BindError, ClientOutcome, CloseReason, Datagrams, DropReason, Event, IcmpError,
    LookUpId, Output, PeerOutcome, Prefix, Refusal, RelayId,
};
pub use server::{Server, UserKey};
pub use time::{Instant, Now};
