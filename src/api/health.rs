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
    utc,
};
use crate::{cluster, runtime::Snapshot};

/// How the node is.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    status: &'static str,
    shards: usize,
    allocations: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// Whether every shard answers. A node that does not should be restarted.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "node",
    responses((status = 200, description = "It lives.", body = Health))
)]
pub(super) async fn alive(State(service): State<Service>) -> Response {
    let snapshot = service.node.snapshot().await;
    let silent = silent_shards(&snapshot);
    if silent.is_empty() {
        Json(health("alive", &snapshot, Vec::new())).into_response()
    } else {
        UNHEALTHY.answer(&silent)
    }
}

/// Whether new clients are welcome. They are while other nodes cannot be reached: the status is then `degraded`, with
/// the reason.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "node",
    responses((status = 200, description = "They are.", body = Health))
)]
pub(super) async fn ready(State(service): State<Service>) -> Response {
    let snapshot = service.node.snapshot().await;
    let mut reasons = silent_shards(&snapshot);
    if service.node.is_draining() {
        reasons.insert(0, "draining: new allocations are refused or made on other nodes".to_owned());
    }
    if !reasons.is_empty() {
        return NOT_READY.answer(&reasons);
    }
    let (status, reasons) = match service.cluster.health() {
        cluster::Health::Alone | cluster::Health::Connected => ("ready", Vec::new()),
        cluster::Health::Degraded { since, reason } => {
            let since = utc::utc(since / 1000);
            ("degraded", vec![format!("other nodes cannot be reached since {since}: {reason}")])
        }
    };
    Json(health(status, &snapshot, reasons)).into_response()
}

fn health(status: &'static str, snapshot: &Snapshot, reasons: Vec<String>) -> Health {
    let allocations = snapshot.shards.iter().flatten().map(|shard| shard.allocations).sum();
    Health { status, shards: snapshot.shards.len(), allocations, reasons }
}

fn silent_shards(snapshot: &Snapshot) -> Vec<String> {
    let numbered = snapshot.shards.iter().enumerate();
    numbered
        .filter(|(_, shard)| shard.is_none())
        .map(|(number, _)| format!("shard {number} does not answer"))
        .collect()
}
