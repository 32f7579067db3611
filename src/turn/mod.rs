//! The relay as a state machine without I/O (RFC 8489, RFC 8656).
//!
//! [`Server`] is owned by one thread. It is called with an event and says what to do; it performs nothing itself.
//! After every call, drain [`Server::poll_output`] until it returns `None`, then arm [`Server::poll_deadline`].
//! Time, randomness and relay sockets are arguments.

mod answer_rate;
mod bandwidth;
mod counters;
mod five_tuple;
pub(crate) mod label;
mod nonce;
mod options;
mod outcome;
mod policy;
mod ports;
mod quota;
mod registry;
mod server;
mod time;

pub use answer_rate::AnswerRate;
pub use bandwidth::{BURST_BYTES_MIN, BudgetLease, TokenBucket, TotalBudget};
pub use counters::{Code, Counters, QuotaKind, Request, Responses, Traffic};
pub use five_tuple::{FiveTuple, ListenerId, Transport};
pub use label::{Label, Tally};
pub use nonce::{Nonce, NonceError, NonceKey};
pub use options::{Bandwidth, Expiry, Lifetimes, Limits, Options, Random, RelayAddress};
pub use outcome::{
    AllocationSummary, BindError, ClientOutcome, CloseReason, Datagrams, DropReason, Event, IcmpError,
    LookUpId, Output, PeerOutcome, Prefix, Refusal, RelayId,
};
pub use policy::{PeerPolicy, Rule, RuleClass, Verdict, canonical};
pub use ports::{Parity, Ports};
pub use quota::{Grant, Quotas};
pub use registry::Entry;
pub use server::{Server, UserKey};
pub use time::{Instant, Now};
