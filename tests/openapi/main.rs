//! schemathesis against the running server: whatever it makes up, the answers are those `/openapi.json` promises.
//!
//! tests/install puts schemathesis into `.tools/python`.

#![allow(clippy::unwrap_used)]

#[path = "../cli_serve/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../api_endpoints/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../api_endpoints/process.rs"]
#[allow(dead_code)]
mod process;

use std::{fs, path::Path, process::Command};

use process::{Server, key};
use serde_json::Value;

/// A WebSocket: who asks without `Upgrade` gets 426, who asks with it leaves HTTP behind, and schemathesis speaks only
/// HTTP. `tests/signal_gateway` looks after it.
const NOT_DRIVEN: [&str; 1] = ["/v1/signal"];

#[test]
fn every_answer_is_as_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(".tools/python/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run tests/install", program.display());
    let server = Server::start(&[]);
    let directory = std::env::temp_dir().join(format!("iceway-openapi-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let described = http::request(server.http, "GET", "/openapi.json", &[], None);
    let document = directory.join("openapi.json");
    fs::write(&document, without_idempotency_key(&described.body)).unwrap();
    let output = Command::new("timeout")
        .args(["--kill-after=5", "240"])
        .arg(program)
        .arg("--config-file")
        .arg(root.join("tests/openapi/schemathesis.toml"))
        .arg("run")
        .arg(&document)
        .args(NOT_DRIVEN.iter().flat_map(|path| ["--exclude-path", path]))
        .args(["--url", &format!("http://{}", server.http)])
        // The same each time, so that what fails here fails everywhere; SCHEMATHESIS_SEED tries others.
        .args(["--seed", &std::env::var("SCHEMATHESIS_SEED").unwrap_or_else(|_| "1".into())])
        .args(["--header", &format!("Authorization: Bearer {}", key("admin"))])
        .current_dir(&directory)
        .output()
        .unwrap();
    drop(fs::remove_dir_all(&directory));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A key that is made up twice, for two bodies, is rightly refused, and an answer that is given again names what may be
/// gone by then: tests of their own look after it.
fn without_idempotency_key(document: &str) -> String {
    let mut document: Value = serde_json::from_str(document).unwrap();
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        if let Some(parameters) = item.pointer_mut("/post/parameters").and_then(Value::as_array_mut) {
            parameters.retain(|parameter| parameter["name"] != "Idempotency-Key");
        }
    }
    document.to_string()
}
