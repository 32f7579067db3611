//! What webhooks carry.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::parts::part;
use crate::{
    cluster::EVENT_TYPES,
    credentials::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER},
};

part! {
    /// Something that happened.
    WebhookEvent {
        /// Names it for ever; the same at every attempt to deliver it, and the `webhook-id`.
        id: String,
        /// What happened.
        #[serde(rename = "type")]
        #[schemars(extend("enum" = EVENT_TYPES))]
        kind: String,
        /// When: milliseconds since the Unix epoch.
        time: u64,
        /// On which node.
        node: String,
        /// Of a call: counts its events from 1.
        call_seq: Option<u32>,
        /// All of the call, as it stood then.
        call: Option<WebhookCall>,
        /// Of which room.
        room: Option<String>,
        /// Whose session; who came or left; who reached a limit.
        party: Option<WebhookParty>,
        /// Why a session ended.
        reason: Option<String>,
        /// Which limit was reached.
        limit: Option<String>,
        /// The credential that was issued, without its password.
        credential: Option<Map<String, Value>>,
        /// What was revoked.
        revocation: Option<Map<String, Value>>,
        /// The allocation that ended, as /v1/usage/records has it.
        allocation: Option<Map<String, Value>>,
    }
}

part! {
    /// A call: all that is known of it but what was said.
    WebhookCall {
        /// As the caller named it.
        id: String,
        /// Counts its events from 1.
        sequence: u32,
        /// The node of the caller's session.
        node: String,
        /// How far it is.
        #[schemars(regex(pattern = "^(ringing|active|ended)$"))]
        state: String,
        /// Who called.
        caller: WebhookParty,
        /// The user who was called.
        callee: Option<String>,
        /// The room whose members were called.
        room: Option<String>,
        /// Who answered.
        answerer: Option<WebhookParty>,
        /// `audio`, `video`, …
        media: Vec<String>,
        /// Devices it was offered to.
        devices: u32,
        /// When it was offered: milliseconds since the Unix epoch.
        created_at: u64,
        /// When the first device rang.
        rung_at: Option<u64>,
        /// When it was answered.
        answered_at: Option<u64>,
        /// When it was over.
        ended_at: Option<u64>,
        /// From the answer to the end, in milliseconds.
        duration_ms: Option<u64>,
        /// How it came out, once it is over.
        #[schemars(regex(pattern = "^(completed|rejected|cancelled|missed|failed|glare)$"))]
        outcome: Option<String>,
        /// As the side that ended it said.
        reason: Option<String>,
        /// Who ended it.
        ended_by: Option<String>,
        /// Whether the media went through the relay, as a client said.
        relayed: Option<bool>,
        /// What the backend answered when it was asked whether they may.
        attrs: Option<Value>,
    }
}

part! {
    /// Somebody who takes part.
    WebhookParty {
        /// The user.
        user: String,
        /// The device, if the client named one.
        device: Option<String>,
        /// The session.
        session: String,
    }
}

/// The message of AsyncAPI.
pub(super) fn message(payload: Value) -> Value {
    json!({
        "name": "event",
        "title": "event",
        "summary": "Something that happened. Any 2xx means that it arrived; it may come more than once.",
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {
                ID_HEADER: {"type": "string", "description": "The event's id."},
                TIMESTAMP_HEADER: {"type": "integer", "description": "When it was sent: seconds since the Unix epoch."},
                SIGNATURE_HEADER: {
                    "type": "string",
                    "description": "Separated by spaces: v1, and the base64 of an HMAC-SHA256 of id.timestamp.body; one for each secret.",
                },
            },
            "required": [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER],
        },
        "payload": payload,
    })
}
