//! The signaling relay as a state machine without I/O: sessions, rooms, presence, calls, replay, and the other nodes.
//!
//! One [`Server`] is all of a node. Whoever drives it hands in what sockets and other nodes brought together with the
//! time, and then performs what it says: write these frames, close that socket, hand these bytes to that node, make
//! ICE servers, keep this event. It waits for nothing. The protocol is `rtc-signal.v1`.
//!
//! Every node knows all sessions, room members and calls of all nodes: each tells the others what changes at its own,
//! over links that lose and reorder nothing while both ends live. So no question is ever asked on the way of a frame,
//! and nothing but the bytes between nodes needs a bus.

mod administer;
mod bridge;
mod bucket;
mod calls;
mod connection;
mod counters;
mod decision;
mod deliver;
mod directory;
mod drain;
mod error;
mod event;
mod frame;
mod hello;
mod ice_servers;
mod ids;
mod life;
mod link;
mod message;
mod moving;
mod object;
mod options;
mod output;
mod presence;
mod random;
mod requests;
mod revoke;
mod rooms;
mod server;
mod session;
mod sockets;
mod time;
mod timers;
mod token;
mod views;
mod welcome;

pub use calls::{CallFigures, Histogram};
pub use connection::{Client, CloseCode, Next};
pub use counters::{Counters, FrameKind, Gauges, Rule};
pub use decision::{
    Answer, Ask, CallGrants, CallMode, CallTo, Decision, Denial, Grants, IceServers, Identity, Place, Role,
    RoomGrant, RoomRight, TurnGrants,
};
pub use error::{ErrorCode, FrameError};
pub use event::{CallRecord, CallState, CallStep, Event, EventKind, EventNumber, Outcome, Party};
pub use frame::{Body, Frame, Hello, Resume, SpeaksFor, Status, To, is_traceparent};
pub use ids::{CallId, ConnectionId, NodeName, RoomId, SessionId, UserId};
pub use options::{Limits, Options};
pub use output::{Output, PushReason};
pub use revoke::Revoke;
pub use server::{Server, Setup, Written};
pub use time::{Instant, Now};
pub use views::{MemberView, RoomView, SessionHere, SessionView};
