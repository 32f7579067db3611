//! Events as backends read them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    cluster::UsageRecord,
    signaling::{self, CallRecord, CallState, CallStep, EventKind, Party},
};

/// Something that happened, as webhooks carry it: JSON.
///
/// What it is about stands beside its type: `call` with all of a call, `room` and `party`, `party` and `reason`,
/// `limit`, `credential`, `revocation`, `allocation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalEvent {
    /// Names it for ever; the same at every attempt to deliver it.
    pub id: String,
    /// `call.created`, `room.joined`, `session.connected`, …: see [`EVENT_TYPES`].
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened: milliseconds since the Unix epoch.
    pub time: u64,
    /// Where.
    pub node: String,
    /// Of a call: counts its events from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_seq: Option<u32>,
    /// All of the call, as it stood then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Box<CallView>>,
    /// Of which room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Whose session; who came or left; who reached a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyView>,
    /// Why a session ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which limit was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The credential that was issued, without its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialView>,
    /// What was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationView>,
    /// The allocation that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Box<UsageRecord>>,
}

/// Every type of event.
pub const EVENT_TYPES: [&str; 21] = [
    "call.created",
    "call.push_needed",
    "call.ringing",
    "call.answered",
    "call.rejected",
    "call.cancelled",
    "call.missed",
    "call.ended",
    "call.failed",
    "room.started",
    "room.joined",
    "room.left",
    "room.finished",
    "session.connected",
    "session.disconnected",
    "session.lost",
    "turn.credential.issued",
    "turn.credential.revoked",
    "turn.allocation.closed",
    "limit.tripped",
    "node.draining",
];

/// A call: all that is known of it but what was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallView {
    /// As the caller named it.
    pub id: String,
    /// Counts its events from 1: of two records of a call the one with the greater number is newer.
    pub sequence: u32,
    /// The node of the caller's session.
    pub node: String,
    /// `ringing`, `active` or `ended`.
    pub state: String,
    /// Who called.
    pub caller: PartyView,
    /// The user who was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee: Option<String>,
    /// The room whose members were called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answerer: Option<PartyView>,
    /// `audio`, `video`, …
    pub media: Vec<String>,
    /// Devices it was offered to.
    pub devices: u32,
    /// When it was offered: milliseconds since the Unix epoch.
    pub created_at: u64,
    /// When the first device rang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung_at: Option<u64>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<u64>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// From the answer to the end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// `completed`, `rejected`, `cancelled`, `missed`, `failed` or `glare`, once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// As the side that ended it said: `user`, `busy`, `declined`, `ice-failed`, `timeout`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Whether the media went through the relay, as a client said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relayed: Option<bool>,
    /// What the backend answered when it was asked whether they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub attrs: Option<Value>,
}

/// Somebody who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartyView {
    /// The user.
    pub user: String,
    /// The device, if the client named one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// The session.
    pub session: String,
}

/// A credential that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialView {
    /// Whose.
    pub user: String,
    /// The whole username.
    pub username: String,
    /// The last second at which it may be used, since the Unix epoch.
    pub expires: u64,
    /// What it was labelled with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The secret it was made with.
    pub key_id: String,
}

/// What was revoked: every credential that fits all of this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationView {
    /// One username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// A user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What carries a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What was made with a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// What was issued before this second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<u64>,
}

/// One step of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallStepView {
    /// The event's.
    pub id: String,
    /// `call.created`, `call.ringing`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// When: milliseconds since the Unix epoch.
    pub time: u64,
    /// Milliseconds since the call was offered.
    pub after_ms: u64,
    /// Where.
    pub node: String,
    /// Counts the events of the call from 1.
    pub call_seq: u32,
    /// How far the call was then.
    pub state: String,
    /// Devices it had been offered to.
    pub devices: u32,
    /// Who had answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answerer: Option<PartyView>,
    /// How it came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl SignalEvent {
    /// An event of this type of which nothing more is known yet. `run` and `number` make its id: no run of a node has
    /// two events with the same number.
    #[must_use]
    pub fn new(kind: &str, time: u64, node: &str, (run, number): (u64, u64)) -> Self {
        Self {
            id: format!("evt_{run:016x}{number:x}"),
            kind: kind.to_owned(),
            time,
            node: node.to_owned(),
            call_seq: None,
            call: None,
            room: None,
            party: None,
            reason: None,
            limit: None,
            credential: None,
            revocation: None,
            allocation: None,
        }
    }

    /// What the signaling relay of a node told.
    #[must_use]
    pub fn of(event: &signaling::Event, node: &str, run: u64) -> Self {
        let new = |kind: &str| Self::new(kind, event.at, node, (run, event.number.0));
        let of_room = |kind, room: &signaling::RoomId, party: Option<&Party>| Self {
            room: Some(room.as_str().to_owned()),
            party: party.map(PartyView::of),
            ..new(kind)
        };
        let of_party = |kind, party, reason: Option<&str>| Self {
            party: Some(PartyView::of(party)),
            reason: reason.map(str::to_owned),
            ..new(kind)
        };
        match &event.kind {
            EventKind::Call { step, call } => Self {
                call_seq: Some(call.sequence),
                call: Some(Box::new(CallView::of(call))),
                ..new(call_type(*step))
            },
            EventKind::RoomStarted { room } => of_room("room.started", room, None),
            EventKind::RoomJoined { room, member } => of_room("room.joined", room, Some(member)),
            EventKind::RoomLeft { room, member } => of_room("room.left", room, Some(member)),
            EventKind::RoomFinished { room } => of_room("room.finished", room, None),
            EventKind::SessionConnected { party } => of_party("session.connected", party, None),
            EventKind::SessionDisconnected { party, reason } => {
                of_party("session.disconnected", party, Some(reason))
            }
            EventKind::SessionLost { party } => of_party("session.lost", party, None),
            EventKind::LimitTripped { limit, party } => {
                Self { limit: Some((*limit).to_owned()), ..of_party("limit.tripped", party, None) }
            }
            EventKind::NodeDraining => new("node.draining"),
        }
    }

    /// What it is about: events of the same are delivered one after the other, others are independent.
    #[must_use]
    pub(crate) fn subject(&self) -> (&'static str, &str) {
        if let Some(call) = &self.call {
            return ("call", &call.id);
        }
        if let Some(room) = &self.room {
            return ("room", room);
        }
        match (&self.party, &self.credential, &self.allocation) {
            (Some(party), _, _) => ("session", &party.session),
            (None, Some(credential), _) => ("user", &credential.user),
            (None, None, Some(allocation)) => ("user", &allocation.user),
            (None, None, None) => ("node", &self.node),
        }
    }

    /// The step of its call that this is.
    #[must_use]
    pub(crate) fn step(&self) -> Option<CallStepView> {
        let call = self.call.as_deref()?;
        Some(CallStepView {
            id: self.id.clone(),
            kind: self.kind.clone(),
            time: self.time,
            after_ms: self.time.saturating_sub(call.created_at),
            node: self.node.clone(),
            call_seq: call.sequence,
            state: call.state.clone(),
            devices: call.devices,
            answerer: call.answerer.clone(),
            outcome: call.outcome.clone(),
            reason: call.reason.clone(),
        })
    }
}

impl CallView {
    fn of(call: &CallRecord) -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            id: text(call.id.as_str()),
            sequence: call.sequence,
            node: text(&call.node.0),
            state: text(state(call.state)),
            caller: PartyView::of(&call.caller),
            callee: call.callee.as_ref().map(|user| text(user.as_str())),
            room: call.room.as_ref().map(|room| text(room.as_str())),
            answerer: call.answerer.as_ref().map(PartyView::of),
            media: call.media.iter().map(|kind| text(kind)).collect(),
            devices: call.devices,
            created_at: call.created,
            rung_at: call.rung,
            answered_at: call.answered,
            ended_at: call.ended,
            duration_ms: call
                .answered
                .zip(call.ended)
                .map(|(answered, ended)| ended.saturating_sub(answered)),
            outcome: call.outcome.map(|outcome| text(outcome.as_str())),
            reason: call.reason.as_deref().map(text),
            ended_by: call.ended_by.as_ref().map(|user| text(user.as_str())),
            relayed: call.is_relayed,
            attrs: call.attrs.as_ref().and_then(|attrs| serde_json::from_slice(attrs).ok()),
        }
    }
}

impl PartyView {
    fn of(party: &Party) -> Self {
        Self {
            user: party.user.as_str().to_owned(),
            device: party.device.to_string(),
            session: party.session.to_string(),
        }
    }
}

const fn call_type(step: CallStep) -> &'static str {
    match step {
        CallStep::Created => "call.created",
        CallStep::PushNeeded => "call.push_needed",
        CallStep::Ringing => "call.ringing",
        CallStep::Answered => "call.answered",
        CallStep::Rejected => "call.rejected",
        CallStep::Cancelled => "call.cancelled",
        CallStep::Missed => "call.missed",
        CallStep::Ended => "call.ended",
        CallStep::Failed => "call.failed",
    }
}

const fn state(state: CallState) -> &'static str {
    match state {
        CallState::Ringing => "ringing",
        CallState::Active => "active",
        CallState::Ended => "ended",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::signaling::{CallId, EventNumber, NodeName, Outcome, RoomId, SessionId, UserId};

    fn party(user: &str) -> Party {
        Party { user: UserId::parse(user).unwrap(), device: "web".into(), session: SessionId(1) }
    }

    fn call() -> Box<CallRecord> {
        Box::new(CallRecord {
            id: CallId::parse("c_1").unwrap(),
            sequence: 3,
            node: NodeName(Arc::from("n1")),
            state: CallState::Ended,
            caller: party("ann"),
            callee: UserId::parse("bob"),
            room: None,
            answerer: Some(party("bob")),
            media: vec!["audio".into()],
            devices: 2,
            created: 1000,
            rung: Some(1100),
            answered: Some(2000),
            ended: Some(62_000),
            outcome: Some(Outcome::Completed),
            reason: Some("user".into()),
            ended_by: UserId::parse("ann"),
            is_relayed: Some(true),
            attrs: Some(r#"{"displayName":"Ann"}"#.into()),
        })
    }

    fn of(kind: EventKind) -> SignalEvent {
        SignalEvent::of(&signaling::Event { number: EventNumber(18), at: 62_000, kind }, "n1", 0xab)
    }

    #[test]
    fn an_event_of_a_call_carries_all_of_it() {
        let event = of(EventKind::Call { step: CallStep::Ended, call: call() });
        let json = serde_json::to_value(&event).unwrap();
        let session = SessionId(1).to_string();
        let expected = serde_json::json!({
            "id": "evt_00000000000000ab12", "type": "call.ended", "time": 62_000, "node": "n1", "callSeq": 3,
            "call": {
                "id": "c_1", "sequence": 3, "node": "n1", "state": "ended",
                "caller": {"user": "ann", "device": "web", "session": session}, "callee": "bob",
                "answerer": {"user": "bob", "device": "web", "session": session},
                "media": ["audio"], "devices": 2, "createdAt": 1000, "rungAt": 1100, "answeredAt": 2000,
                "endedAt": 62_000, "durationMs": 60_000, "outcome": "completed", "reason": "user",
                "endedBy": "ann", "relayed": true, "attrs": {"displayName": "Ann"},
            },
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<SignalEvent>(json).unwrap(), event);
        assert_eq!(event.subject(), ("call", "c_1"));
        assert_eq!(event.step().unwrap().after_ms, 61_000);
    }

    #[test]
    fn every_kind_has_a_type_that_is_listed() {
        let room = RoomId::parse("conv-42").unwrap();
        let steps = [
            CallStep::Created,
            CallStep::PushNeeded,
            CallStep::Ringing,
            CallStep::Answered,
            CallStep::Rejected,
            CallStep::Cancelled,
            CallStep::Missed,
            CallStep::Ended,
            CallStep::Failed,
        ];
        for step in steps {
            let event = of(EventKind::Call { step, call: call() });
            assert_eq!(event.kind, format!("call.{}", step.as_str()));
            assert!(EVENT_TYPES.contains(&event.kind.as_str()), "{}", event.kind);
        }
        for kind in [
            EventKind::RoomStarted { room: room.clone() },
            EventKind::RoomJoined { room: room.clone(), member: party("ann") },
            EventKind::RoomLeft { room: room.clone(), member: party("ann") },
            EventKind::RoomFinished { room },
            EventKind::SessionConnected { party: party("ann") },
            EventKind::SessionDisconnected { party: party("ann"), reason: "bye" },
            EventKind::SessionLost { party: party("ann") },
            EventKind::LimitTripped { limit: "user-call-offers", party: party("ann") },
            EventKind::NodeDraining,
        ] {
            let event = of(kind);
            assert!(EVENT_TYPES.contains(&event.kind.as_str()), "{}", event.kind);
            assert_eq!(event.call_seq, None);
        }
    }
}
