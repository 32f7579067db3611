//! Whether the node lives, and whether new clients should be sent to it.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{
    Service,
    problem::{NOT_READY, UNHEALTHY},
};
use crate::runtime::Snapshot;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    shards: usize,
    allocations: usize,
}

/// `GET /healthz`: 200 if every shard answers. A node that does not should be restarted.
pub(super) async fn alive(State(service): State<Service>) -> Response {
    let snapshot = service.node.snapshot().await;
    let silent = silent_shards(&snapshot);
    if silent.is_empty() {
        Json(health("alive", &snapshot)).into_response()
    } else {
        UNHEALTHY.answer(&silent)
    }
}

/// `GET /readyz`: 200 if new clients are welcome.
pub(super) async fn ready(State(service): State<Service>) -> Response {
    let snapshot = service.node.snapshot().await;
    let mut reasons = silent_shards(&snapshot);
    if service.node.is_draining() {
        reasons.insert(0, "draining: new allocations are refused until the process ends".to_owned());
    }
    if reasons.is_empty() {
        Json(health("ready", &snapshot)).into_response()
    } else {
        NOT_READY.answer(&reasons)
    }
}

fn health(status: &'static str, snapshot: &Snapshot) -> Health {
    let allocations = snapshot.shards.iter().flatten().map(|shard| shard.allocations).sum();
    Health { status, shards: snapshot.shards.len(), allocations }
}

fn silent_shards(snapshot: &Snapshot) -> Vec<String> {
    let numbered = snapshot.shards.iter().enumerate();
    numbered
        .filter(|(_, shard)| shard.is_none())
        .map(|(number, _)| format!("shard {number} does not answer"))
        .collect()
}
