//! `/asyncapi.json` and `/schemas/v1/…`: the frames of `rtc-signal.v1` and the webhooks, as programs read them.
//!
//! Types describe every frame; from them come the schemas, and by them tests read what the signaling relay really reads
//! and writes. A frame may have more members than are described: receivers pass over what they do not know.

mod client;
mod kind;
mod parts;
mod server;
mod webhook;

use std::collections::BTreeMap;

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse as _, Response},
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use self::kind::FrameKind;
use super::problem::NOT_FOUND;
use crate::signaling::ErrorCode;

const SCHEMA_TYPE: &str = "application/schema+json";
const ABOUT: &str = "Calls between users: sessions, rooms, presence, offers, answers and candidates over one WebSocket, \
                     in JSON text frames; and the signed requests by which the backend hears of them. A frame with `id` \
                     is answered by one with the same `re`. Frames with `seq` are played again after a lost connection, \
                     all or none. Members that are not known are to be passed over.";

/// The description of everything, as `/asyncapi.json` has it.
#[must_use]
pub fn asyncapi() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut messages = Map::new();
    for frame in frames() {
        let payload = open_ended((frame.schema)(&mut generator).to_value());
        messages.insert(frame.name(), message(frame.kind, frame.about.trim(), payload));
    }
    let event = generator.subschema_for::<webhook::WebhookEvent>();
    messages.insert("event".to_owned(), webhook::message(open_ended(event.to_value())));
    let schemas: Map<String, Value> = generator
        .take_definitions(true)
        .into_iter()
        .map(|(name, schema)| (name, open_ended(schema)))
        .collect();
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "iceway signaling",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0 OR MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "signal": {
                "address": "/v1/signal",
                "description": "A WebSocket with the subprotocol rtc-signal.v1. The first frame is `hello`.",
                "messages": references(frames(), "#/components/messages/"),
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            },
            "webhooks": {
                "address": null,
                "description": "POST to webhooks.url, signed as the Standard Webhooks specification has it.",
                "messages": {"event": {"$ref": "#/components/messages/event"}},
            },
        },
        "operations": {
            "receiveFrames": operation("receive", "signal", "client"),
            "sendFrames": operation("send", "signal", "server"),
            "sendEvents": {
                "action": "send",
                "channel": {"$ref": "#/channels/webhooks"},
                "messages": [{"$ref": "#/channels/webhooks/messages/event"}],
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            },
        },
        "components": {"messages": messages, "schemas": schemas},
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// The JSON Schemas (2020-12) by name, as `/schemas/v1/<name>.json` has them.
#[must_use]
pub fn schemas() -> BTreeMap<String, Value> {
    let generator = || -> SchemaGenerator { SchemaSettings::draft2020_12().into_generator() };
    let mut schemas: BTreeMap<String, Value> =
        frames().map(|frame| (frame.name(), open_ended((frame.root)(generator()).to_value()))).collect();
    let event = generator().into_root_schema_for::<webhook::WebhookEvent>();
    schemas.insert("event".to_owned(), open_ended(event.to_value()));
    for (name, schema) in &mut schemas {
        schema["$id"] = json!(format!("/schemas/v1/{name}.json"));
    }
    schemas
}

/// Whether a frame of `client` or `server` has all the members that are described for its type and no other; the error
/// says which.
///
/// # Errors
/// In words.
pub fn check_frame(side: &str, text: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let kind = value["type"].as_str().unwrap_or_default();
    let frame = frames().find(|frame| frame.side == side && frame.kind == kind);
    let frame = frame.ok_or_else(|| format!("no frame of the {side} has the type {kind:?}"))?;
    (frame.check)(text).map_err(|error| format!("{}: {error} in {text}", frame.name()))
}

/// Every type of frame: who sends it, and its name.
pub fn frame_types() -> impl Iterator<Item = (&'static str, &'static str)> {
    frames().map(|frame| (frame.side, frame.kind))
}

/// All of it.
pub(super) async fn document() -> Response {
    static ALL: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ([(header::CONTENT_TYPE, "application/json")], ALL.get_or_init(asyncapi).as_str()).into_response()
}

/// One schema.
pub(super) async fn schema(Path(name): Path<String>) -> Response {
    static ALL: std::sync::OnceLock<BTreeMap<String, String>> = std::sync::OnceLock::new();
    let all = ALL.get_or_init(|| {
        schemas().into_iter().map(|(name, schema)| (name, format!("{schema:#}\n"))).collect()
    });
    match name.strip_suffix(".json").and_then(|name| all.get(name)) {
        Some(text) => ([(header::CONTENT_TYPE, SCHEMA_TYPE)], text.as_str()).into_response(),
        None => NOT_FOUND.answer(&[]),
    }
}

fn frames() -> impl Iterator<Item = &'static FrameKind> {
    client::KINDS.iter().chain(server::KINDS)
}

/// The codes of errors.
fn error_codes() -> Vec<&'static str> {
    ErrorCode::ALL.iter().map(|code| code.as_str()).collect()
}

fn message(kind: &str, about: &str, payload: Value) -> Value {
    json!({"name": kind, "title": kind, "summary": about, "contentType": "application/json", "payload": payload})
}

fn references<'a>(frames: impl Iterator<Item = &'a FrameKind>, to: &str) -> Value {
    let entry = |frame: &FrameKind| (frame.name(), json!({"$ref": format!("{to}{}", frame.name())}));
    Value::Object(frames.map(entry).collect())
}

fn operation(action: &str, channel: &str, side: &str) -> Value {
    let of_side = frames().filter(|frame| frame.side == side);
    let messages: Vec<Value> = of_side
        .map(|frame| json!({"$ref": format!("#/channels/{channel}/messages/{}", frame.name())}))
        .collect();
    json!({"action": action, "channel": {"$ref": format!("#/channels/{channel}")}, "messages": messages})
}

/// Tests read frames strictly, others may not.
fn open_ended(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            if members.get("additionalProperties") == Some(&Value::Bool(false)) {
                members.remove("additionalProperties");
            }
            for member in members.values_mut() {
                *member = open_ended(std::mem::take(member));
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = open_ended(std::mem::take(item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    schema
}

#[cfg(test)]
mod tests;
