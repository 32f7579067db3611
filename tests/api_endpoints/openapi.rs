//! The description of the API against what is served.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::{
    http::request,
    process::{Server, key},
};

fn document() -> Value {
    serde_json::from_str(&iceway::api::openapi()).unwrap()
}

/// Every path with each of its methods and what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((path.clone(), method.to_ascii_uppercase(), operation.clone()));
        }
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

#[test]
fn the_committed_copy_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/openapi.json");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, iceway::api::openapi()).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == iceway::api::openapi(),
        "config/openapi.json differs from the code: run UPDATE_REFERENCE=1 cargo test --test api_endpoints openapi"
    );
}

#[test]
fn every_described_operation_is_served_and_no_other() {
    let server = Server::start(&[]);
    let bearer = format!("Bearer {}", key("read"));
    let document = document();
    let described = operations(&document);
    for path in document["paths"].as_object().unwrap().keys() {
        let concrete =
            path.replace("{keyId}", "none").replace("{username}", "1:x").replace("{id}", "none:0-1");
        let allowed: BTreeSet<&str> = described
            .iter()
            .filter(|(known, ..)| known == path)
            .map(|(_, method, _)| method.as_str())
            .collect();
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH"] {
            let answer = request(server.http, method, &concrete, &[("Authorization", &bearer)], None);
            if allowed.contains(method) {
                assert_ne!(answer.status, 405, "{method} {path}: {answer:?}");
                continue;
            }
            answer.is_problem(405, "method_not_allowed");
            let said: BTreeSet<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
            let said: BTreeSet<&str> = said.into_iter().filter(|method| *method != "HEAD").collect();
            assert_eq!(said, allowed, "{path}");
        }
    }
    let served = request(server.http, "GET", "/openapi.json", &[], None);
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
    assert_eq!(served.body, iceway::api::openapi());
}

#[test]
fn every_operation_says_who_may_use_it_and_what_it_refuses() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document()) {
        let what = format!("{method} {path}");
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{what}: its id is not its own"
        );
        assert!(
            operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')),
            "{what}: no summary"
        );
        let responses = operation["responses"].as_object().unwrap();
        let succeeds = |status: &String| status.starts_with('2') || status == "101";
        assert!(responses.keys().any(succeeds), "{what}: never succeeds");
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{what} {status}");
        }
        let is_open = operation["security"] == serde_json::json!([]);
        let open = ["/", "/healthz", "/readyz", "/v1/trial/token"];
        assert_eq!(is_open, open.contains(&path.as_str()), "{what}");
        if path == "/v1/trial/token" {
            assert!(responses.contains_key("403"), "{what}: open to this machine alone");
            continue;
        }
        for status in ["401", "403", "429"] {
            assert_eq!(responses.contains_key(status), !is_open, "{what}: {status}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let mut seen = BTreeSet::new();
    references(&document, &mut seen);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let known: BTreeSet<String> = schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
    assert_eq!(seen, known);
}

fn references(value: &Value, seen: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(to) = members.get("$ref").and_then(Value::as_str) {
                seen.insert(to.to_owned());
            }
            members.values().for_each(|member| references(member, seen));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, seen)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
