//! What clients are told of calls.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    super::{Body, CallId, CallState, Now, Place, RoomId, SessionId, To, object::Object},
    call::Call,
    sides::{Presence, Side},
};

/// An offer, as it came.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) to: To,
    pub(super) media: Vec<Box<str>>,
    pub(super) ttl: Option<u64>,
    pub(super) grant: Option<Cow<'a, str>>,
    pub(super) traceparent: Option<Cow<'a, str>>,
    pub(super) data: &'a RawValue,
}

/// What a frame does to a call that is there.
#[derive(Debug)]
pub(super) enum Action<'a> {
    /// Offers it again, after the session or the node was lost.
    Offer(Offer<'a>),
    Ringing,
    Answer(&'a RawValue),
    Reject {
        reason: Option<Cow<'a, str>>,
        is_device_only: bool,
    },
    Hangup {
        reason: Option<Cow<'a, str>>,
        is_relayed: Option<bool>,
    },
    Candidates(Candidates<'a>),
    Renegotiate {
        restart: bool,
        data: &'a RawValue,
    },
    Rejoin,
    Upgrade {
        room: RoomId,
        sfu: &'a RawValue,
    },
}

/// Trickled candidates.
#[derive(Clone, Debug)]
pub(super) struct Candidates<'a> {
    pub(super) to: Option<To>,
    pub(super) candidates: &'a RawValue,
    pub(super) count: usize,
    pub(super) is_end: bool,
}

/// What a frame about calls is for.
#[derive(Debug)]
pub(super) enum About<'a> {
    /// A call.
    Call(CallId, Action<'a>),
    /// Candidates that belong to none.
    Aside(Candidates<'a>),
    /// The members of a room are to go on in a media server.
    Room(RoomId, &'a RawValue),
    /// It has nothing to do with calls.
    Nothing,
}

impl<'a> About<'a> {
    pub(super) fn of(body: Body<'a>) -> Self {
        let (call, action) = match body {
            Body::CallOffer { call, to, media, ttl, grant, traceparent, data } => {
                (call, Action::Offer(Offer { to, media, ttl, grant, traceparent, data }))
            }
            Body::CallRinging { call } => (call, Action::Ringing),
            Body::CallAnswer { call, data } => (call, Action::Answer(data)),
            Body::CallReject { call, reason, is_device_only } => {
                (call, Action::Reject { reason, is_device_only })
            }
            Body::CallHangup { call, reason, is_relayed } => (call, Action::Hangup { reason, is_relayed }),
            Body::IceCandidate { call, to, candidates, count, is_end } => {
                let candidates = Candidates { to, candidates, count, is_end };
                match call {
                    Some(call) => (call, Action::Candidates(candidates)),
                    None => return Self::Aside(candidates),
                }
            }
            Body::Renegotiate { call, restart, data } => (call, Action::Renegotiate { restart, data }),
            Body::CallRejoin { call } => (call, Action::Rejoin),
            Body::CallUpgrade { room, call, sfu } => match call {
                Some(call) => (call, Action::Upgrade { room, sfu }),
                None => return Self::Room(room, sfu),
            },
            Body::Hello(_)
            | Body::Ack
            | Body::Ping { .. }
            | Body::AuthRefresh { .. }
            | Body::Bye
            | Body::Join { .. }
            | Body::Leave { .. }
            | Body::Presence { .. }
            | Body::Message { .. }
            | Body::IceServers
            | Body::Load { .. } => return Self::Nothing,
        };
        Self::Call(call, action)
    }
}

impl Object {
    fn maybe_text(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    fn call(kind: &'static str, room: usize, call: &CallId) -> Self {
        Self::frame(kind, room).text("call", call.as_str())
    }
}

/// The offer as devices get it.
pub(super) fn offer(call: &Call, from: &Place, expires_at: u64, data: &[u8]) -> Bytes {
    let record = &call.record;
    let mut object = Object::call("call-offer", data.len(), &record.id)
        .place("from", from)
        .array("media", &record.media, |out, kind| super::super::object::push_string(out, kind))
        .number("expiresAt", expires_at)
        .flag("polite", Side::Answerer.is_polite());
    if let Some(room) = &record.room {
        object = object.text("room", room.as_str());
    }
    if let Some(attrs) = &record.attrs {
        object = object.raw("attrs", attrs);
    }
    object.raw("data", data).tail()
}

pub(super) fn ringing(call: &CallId, from: &Place) -> Bytes {
    Object::call("call-ringing", 0, call).place("from", from).tail()
}

pub(super) fn answer(call: &CallId, from: &Place, data: &RawValue) -> Bytes {
    let data = data.get().as_bytes();
    Object::call("call-answer", data.len(), call)
        .place("from", from)
        .flag("polite", Side::Caller.is_polite())
        .raw("data", data)
        .tail()
}

pub(super) fn reject(call: &CallId, from: &Place, reason: &str, is_device_only: bool) -> Bytes {
    Object::call("call-reject", 0, call)
        .place("from", from)
        .text("reason", reason)
        .text("scope", if is_device_only { "device" } else { "user" })
        .tail()
}

pub(super) fn hangup(call: &CallId, from: &Place, reason: &str) -> Bytes {
    Object::call("call-hangup", 0, call).place("from", from).text("reason", reason).tail()
}

/// It rings, or goes on, no more; `winner` is the call that took its place.
pub(super) fn cancelled(call: &CallId, reason: &str, winner: Option<&CallId>) -> Bytes {
    Object::call("call-cancelled", 0, call)
        .text("reason", reason)
        .maybe_text("winner", winner.map(CallId::as_str))
        .tail()
}

pub(super) fn candidates(call: Option<&CallId>, from: &Place, candidates: &Candidates<'_>) -> Bytes {
    let json = candidates.candidates.get().as_bytes();
    Object::frame("ice-candidate", json.len())
        .maybe_text("call", call.map(CallId::as_str))
        .place("from", from)
        .raw("candidates", json)
        .flag("end", candidates.is_end)
        .tail()
}

/// A description for the side `to`.
pub(super) fn renegotiate(call: &CallId, from: &Place, to: Side, restart: bool, data: &RawValue) -> Bytes {
    let data = data.get().as_bytes();
    Object::call("renegotiate", data.len(), call)
        .place("from", from)
        .flag("restart", restart)
        .flag("polite", to.is_polite())
        .raw("data", data)
        .tail()
}

pub(super) fn peer(call: &CallId, session: SessionId, presence: Presence) -> Bytes {
    Object::call("call-peer", 0, call).session("session", session).text("state", presence.as_str()).tail()
}

pub(super) fn upgrade(call: Option<&CallId>, room: &RoomId, from: &Place, sfu: &RawValue) -> Bytes {
    let sfu = sfu.get().as_bytes();
    Object::frame("call-upgrade", sfu.len())
        .maybe_text("call", call.map(CallId::as_str))
        .text("room", room.as_str())
        .place("from", from)
        .raw("sfu", sfu)
        .tail()
}

/// A call as the snapshot of a user's session has it.
pub(super) fn snapshot(call: &Call, side: Side) -> Vec<u8> {
    let record = &call.record;
    let state = match record.state {
        CallState::Ringing => "ringing",
        CallState::Active => "active",
        CallState::Ended => "ended",
    };
    let direction = match side {
        Side::Caller => "outgoing",
        Side::Answerer => "incoming",
    };
    let mut object = Object::new()
        .text("call", record.id.as_str())
        .text("state", state)
        .text("direction", direction)
        .array("media", &record.media, |out, kind| super::super::object::push_string(out, kind))
        .number("createdAt", record.created);
    if let Some(party) = call.party(side) {
        object = object.session("session", party.session);
    }
    let peer = match call.party(side.other()) {
        Some(party) => Object::new().text("user", party.user.as_str()).session("session", party.session),
        None => Object::new().maybe_text("user", record.callee.as_ref().map(|callee| callee.as_str())),
    };
    object.raw("peer", &peer.whole()).maybe_text("room", record.room.as_ref().map(RoomId::as_str)).whole()
}

/// When a call stops ringing, in milliseconds since the Unix epoch.
pub(super) fn expires_at(now: Now, call: &Call) -> u64 {
    let left = call.expires.since(now.monotonic).as_millis();
    now.unix_millis.saturating_add(u64::try_from(left).unwrap_or(u64::MAX))
}

/// What the answer to a request about a call has.
pub(super) fn named(call: &CallId) -> Object {
    Object::new().text("call", call.as_str())
}
