//! The relay as a state machine without I/O (RFC 8489, RFC 8656).
//!
//! [`Server`] is owned by one thread. It is called with an event and says what to do; it performs nothing itself.
//! After every call, drain [`Server::poll_output`] until it returns `None`, then arm [`Server::poll_deadline`].
//! Time, randomness and relay sockets are arguments.

mod allocate;
mod allocation;
mod alternate;
mod answer_rate;
mod authentication;
mod bandwidth;
mod binding;
mod channel_bind;
mod client_data;
mod counters;
mod create_permission;
mod drops;
mod elsewhere;
mod five_tuple;
mod history;
mod identity;
mod invariants;
pub(crate) mod label;
mod lifecycle;
mod list;
mod look_up;
mod nonce;
mod options;
mod outcome;
mod peer_data;
mod peers;
mod policy;
mod ports;
mod quality;
mod quota;
mod refresh;
mod registry;
mod relay_binding;
mod relays;
mod reload;
mod requests;
mod reservations;
mod response;
mod revoke;
mod server;
mod time;
mod timers;

pub use alternate::Alternate;
pub use answer_rate::AnswerRate;
pub use bandwidth::{BURST_BYTES_MIN, BudgetLease, TokenBucket, TotalBudget};
pub use counters::{Code, Counters, QuotaKind, Request, Responses, Traffic};
pub use drops::Drops;
pub use five_tuple::{FiveTuple, ListenerId, Transport};
pub use history::{Cause, History, HistoryLimits, HistorySize, Incident};
pub use identity::{AllocationId, Identity};
pub use label::{Label, Tally};
pub use list::{LIST_MAX, ListPage, ListQuery, Listed};
pub use nonce::{Features, Nonce, NonceError, NonceKey};
pub use options::{Bandwidth, Lifetimes, Limits, Options, QuotaClass, Random, RelayAddress};
pub use outcome::{
    AllocationSummary, BindError, ClientOutcome, CloseReason, Datagrams, DropReason, Event, IcmpError,
    LookUpId, Output, PeerOutcome, Prefix, Refusal, RelayId,
};
pub use policy::{PeerPolicy, Rule, RuleClass, Verdict, canonical};
pub use ports::{Parity, Ports};
pub use quality::{Direction, Heard, Histogram, QualityCounters, QualityOptions, QualityReport};
pub use quota::{CHANGES_MAX, Grant, Quotas};
pub use registry::Entry;
pub use reservations::Reservations;
pub use revoke::Cut;
pub use server::{Server, Setup, Shared, UserKey};
pub use time::{Instant, Now};

pub use crate::credentials::Expiry;
