//! Events as backends read them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::{CallStepView, CallView, CredentialView, PartyView, RevocationView};
use crate::{
    cluster::UsageRecord,
    signaling::{self, CallStep, EventKind, Party},
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::signaling::{
        CallId, CallRecord, CallState, EventNumber, NodeName, Outcome, RoomId, SessionId, UserId,
    };

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
