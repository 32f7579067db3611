//! What events tell of: calls, parties, credentials, revocations.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::signaling::{CallRecord, CallState, Party};

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

impl CallView {
    pub(super) fn of(call: &CallRecord) -> Self {
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
    pub(super) fn of(party: &Party) -> Self {
        Self {
            user: party.user.as_str().to_owned(),
            device: party.device.to_string(),
            session: party.session.to_string(),
        }
    }
}

const fn state(state: CallState) -> &'static str {
    match state {
        CallState::Ringing => "ringing",
        CallState::Active => "active",
        CallState::Ended => "ended",
    }
}
