//! `/v1/drain` and `/v1/nodes/{id}/drain`: sending the clients of a node elsewhere.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{allocations::misunderstood, answers::unanswered, nodes::NodeStateView};
use crate::{
    api::{
        body::Answer,
        caller::Caller,
        problem::{NODE_ENDING, NODE_SILENT, NODE_UNKNOWN, Problem, ProblemKind},
        query::{Path, Query},
        service::Service,
    },
    cluster::{self, Ask, DrainProgress, Scope},
};

/// What these endpoints refuse by themselves.
pub(crate) const DRAIN_PROBLEMS: &[ProblemKind] = &[NODE_UNKNOWN, NODE_SILENT];
/// What undoing it refuses beside.
pub(crate) const UNDO_PROBLEMS: &[ProblemKind] = &[NODE_ENDING];

/// Which node.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DrainQuery {
    /// Its name; the node that answers unless given.
    node: Option<String>,
}

/// Which node.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct NodePath {
    /// The name of the node.
    id: String,
}

/// How far a node is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DrainView {
    /// The node.
    id: String,
    state: NodeStateView,
    /// Whether its process ends when it is drained.
    ending: bool,
    /// Whether nothing is left.
    drained: bool,
    /// How many allocations are left.
    allocations: u64,
    /// How many clients are still connected for signaling.
    sockets: u64,
    /// Since when, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// Until runtime.drain_timeout is over. What is left then is cut only if the process ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
    /// How many other nodes new clients are sent to (300); with 0 they are refused (508). Only while it drains with
    /// runtime.drain_redirect.
    #[serde(skip_serializing_if = "Option::is_none")]
    takers: Option<u64>,
}

/// Whether a node sends its clients elsewhere, and how many are left.
#[utoipa::path(
    get,
    path = "/v1/drain",
    tag = "nodes",
    params(DrainQuery),
    responses((status = 200, description = "How far it is.", body = DrainView))
)]
pub(crate) async fn drain_progress(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<DrainQuery>,
) -> Result<Answer<DrainView>, Problem> {
    caller.require(Scope::Read)?;
    let id = query.node.unwrap_or_else(|| service.cluster.id().to_owned());
    ask(&service, id, Ask::DrainProgress).await
}

/// Has a node send its clients elsewhere: new allocations are redirected (300) or refused (508), no credential names the
/// node, sessions go to other nodes with fresh ICE servers. Calls that are up go on, and the process does not end by this.
#[utoipa::path(
    post,
    path = "/v1/nodes/{id}/drain",
    tag = "nodes",
    params(NodePath),
    responses((status = 200, description = "It drains.", body = DrainView))
)]
pub(crate) async fn drain_node(
    State(service): State<Service>,
    Path(NodePath { id }): Path<NodePath>,
    caller: Caller,
) -> Result<Answer<DrainView>, Problem> {
    caller.require(Scope::Admin)?;
    match service.cluster.ask(&id, Ask::Drain).await {
        Ok(cluster::Answer::Draining(_)) => {
            tracing::info!(caller = &*caller.id, node = id, "A node drains.");
            ask(&service, id, Ask::DrainProgress).await
        }
        Ok(other) => Err(misunderstood(&id, &other)),
        Err(error) => Err(unanswered(&error)),
    }
}

/// Has a node that drains serve again, unless its process is about to end.
#[utoipa::path(
    delete,
    path = "/v1/nodes/{id}/drain",
    tag = "nodes",
    params(NodePath),
    responses((status = 200, description = "It serves.", body = DrainView))
)]
pub(crate) async fn undo_drain(
    State(service): State<Service>,
    Path(NodePath { id }): Path<NodePath>,
    caller: Caller,
) -> Result<Answer<DrainView>, Problem> {
    caller.require(Scope::Admin)?;
    let answer = ask(&service, id, Ask::StopDrain).await?;
    if answer.0.ending {
        return Err(NODE_ENDING.into());
    }
    tracing::info!(caller = &*caller.id, node = answer.0.id, "A node serves again.");
    Ok(answer)
}

async fn ask(service: &Service, id: String, ask: Ask) -> Result<Answer<DrainView>, Problem> {
    match service.cluster.ask(&id, ask).await {
        Ok(cluster::Answer::DrainProgress(progress)) => Ok(Answer(DrainView::of(id, progress))),
        Ok(other) => Err(misunderstood(&id, &other)),
        Err(error) => Err(unanswered(&error)),
    }
}

impl DrainView {
    fn of(id: String, progress: DrainProgress) -> Self {
        let drained = progress.is_over();
        let DrainProgress { state, is_final, since, seconds_left, allocations, sockets, takers } = progress;
        Self {
            id,
            state: state.into(),
            ending: is_final,
            drained,
            allocations,
            sockets,
            since,
            seconds_left,
            takers,
        }
    }
}
