//! The description against itself; frames of the signaling relay are held against it in `tests/webhooks`.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, root: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(path) = members.get("$ref").and_then(Value::as_str) {
                    assert!(root.pointer(path.trim_start_matches('#')).is_some(), "{path}");
                }
                members.values().for_each(|member| walk(member, root));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, root)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document: Value = serde_json::from_str(&asyncapi()).unwrap();
    walk(&document, &document);
    for (name, schema) in schemas() {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        walk(&schema, &schema);
    }
}

#[test]
fn every_frame_has_a_schema_of_its_own_that_names_its_type() {
    let schemas = schemas();
    for (side, kind) in frame_types() {
        let schema = &schemas[&format!("{side}-{kind}")];
        assert_eq!(schema["properties"]["type"]["const"], kind);
        assert!(schema["required"].as_array().unwrap().contains(&json!("type")), "{side} {kind}");
    }
    let names: BTreeSet<_> = frame_types().collect();
    assert_eq!(names.len(), frame_types().count());
    assert_eq!(schemas.len(), names.len() + 1);
    assert!(!asyncapi().contains("\"additionalProperties\": false"), "what is not known is passed over");
}

#[test]
fn a_frame_with_something_else_in_it_is_noticed() {
    assert_eq!(check_frame("client", r#"{"type":"leave","id":"1","room":"r"}"#), Ok(()));
    assert!(check_frame("client", r#"{"type":"leave","id":"1"}"#).is_err());
    assert!(check_frame("client", r#"{"type":"leave","room":"r","more":1}"#).is_err());
    assert!(check_frame("server", r#"{"type":"leave","room":"r"}"#).is_err());
    assert!(check_frame("client", "nothing").is_err());
}

#[test]
fn an_event_is_what_it_is_described_as() {
    let event = crate::cluster::SignalEvent::new("node.draining", 1, "n1", (1, 1));
    let text = serde_json::to_string(&event).unwrap();
    serde_json::from_str::<webhook::WebhookEvent>(&text).unwrap();
}
