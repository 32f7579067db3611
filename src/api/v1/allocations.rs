//! `/v1/allocations`: what is relayed now, on every node.

use std::collections::BTreeSet;

use axum::extract::State;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answers::{NodeFault, unanswered},
    fields::page_limit,
};
use crate::{
    api::{
        body::{Answer, NoContent},
        caller::Caller,
        problem::{
            ALLOCATION_UNKNOWN, CURSOR_INVALID, INTERNAL, NODE_SILENT, NODE_UNKNOWN, Problem, ProblemKind,
        },
        query::{Path, Query},
        service::Service,
    },
    cluster::{self, AllocationPage, AllocationQuery, AllocationRecord, Ask, RequestError, Scope},
};

/// What `GET /v1/allocations` refuses by itself.
pub(crate) const LIST_ALLOCATIONS_PROBLEMS: &[ProblemKind] = &[CURSOR_INVALID, NODE_UNKNOWN];
/// What `DELETE /v1/allocations/{id}` refuses by itself.
pub(crate) const CLOSE_PROBLEMS: &[ProblemKind] = &[ALLOCATION_UNKNOWN, NODE_SILENT];

/// Which allocations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AllocationsQuery {
    /// Only this user's.
    user: Option<String>,
    /// Only those with this label.
    label: Option<String>,
    /// Only those of this node.
    node: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^[A-Za-z0-9._-]+:[0-9]+-[0-9]+$", max_length = 128)]
    after: Option<String>,
    /// How many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A page of allocations, ordered by node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AllocationsPage {
    allocations: Vec<AllocationRecord>,
    /// Give it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Nodes that did not answer: theirs are missing.
    unanswered: Vec<NodeFault>,
}

/// Live allocations, page by page over all nodes.
#[utoipa::path(
    get,
    path = "/v1/allocations",
    tag = "allocations",
    params(AllocationsQuery),
    responses((status = 200, description = "Some of them.", body = AllocationsPage))
)]
pub(crate) async fn list_allocations(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<AllocationsQuery>,
) -> Result<Answer<AllocationsPage>, Problem> {
    caller.require(Scope::Read)?;
    let limit = page_limit(query.limit)?;
    let at = query.after.as_deref().map(node_of).transpose()?;
    let nodes = nodes_to_ask(&service, &query, at)?;
    let asked = nodes.iter().map(|node| {
        let wanted = AllocationQuery {
            user: query.user.clone(),
            label: query.label.clone(),
            after: query.after.clone().filter(|_| at == Some(node.as_str())),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        page_of(&service, node, wanted)
    });
    let answers = join_all(asked).await;
    let mut page = AllocationsPage { allocations: Vec::new(), next: None, unanswered: Vec::new() };
    let mut has_more = false;
    for (node, answer) in nodes.iter().zip(answers) {
        match answer {
            Ok(found) => {
                let room = limit - page.allocations.len();
                has_more |= found.has_more || found.allocations.len() > room;
                page.allocations.extend(found.allocations.into_iter().take(room));
            }
            Err(error) => page.unanswered.push(NodeFault::new(node.as_str(), &error)),
        }
    }
    page.next = page.allocations.last().filter(|_| has_more).map(|last| last.id.clone());
    Ok(Answer(page))
}

/// Ends an allocation.
#[utoipa::path(
    delete,
    path = "/v1/allocations/{id}",
    tag = "allocations",
    params(("id" = String, Path, description = "The `id` of a listed allocation.")),
    responses((status = 204, description = "It is over."))
)]
pub(crate) async fn close_allocation(
    State(service): State<Service>,
    Path(id): Path<String>,
    caller: Caller,
) -> Result<NoContent, Problem> {
    caller.require(Scope::Admin)?;
    let node = node_of(&id).map_err(|_| ALLOCATION_UNKNOWN.problem())?.to_owned();
    let ask = Ask::Close { allocation: id };
    match service.cluster.ask(&node, ask).await {
        Ok(cluster::Answer::Closed(true)) => {
            tracing::info!(caller = &*caller.id, "An allocation was ended.");
            Ok(NoContent)
        }
        Ok(cluster::Answer::Closed(false)) | Err(RequestError::UnknownNode(_)) => {
            Err(ALLOCATION_UNKNOWN.into())
        }
        Ok(other) => Err(misunderstood(&node, &other)),
        Err(error) => Err(unanswered(&error)),
    }
}

/// One node's allocations. An answer to another question is as good as none.
pub(super) async fn page_of(
    service: &Service,
    node: &str,
    wanted: AllocationQuery,
) -> Result<AllocationPage, RequestError> {
    match service.cluster.ask(node, Ask::Allocations(wanted)).await? {
        cluster::Answer::Allocations(page) => Ok(page),
        other @ (cluster::Answer::Cut(_)
        | cluster::Answer::Closed(_)
        | cluster::Answer::Draining(_)
        | cluster::Answer::DrainProgress(_)
        | cluster::Answer::SecretsInUse(_)
        | cluster::Answer::Ended(_)
        | cluster::Answer::Explained(_)
        | cluster::Answer::Quality(_)) => {
            let _problem = misunderstood(node, &other);
            Err(RequestError::Silent(node.to_owned()))
        }
    }
}

pub(super) fn misunderstood(node: &str, answer: &cluster::Answer) -> Problem {
    tracing::error!(node, ?answer, "A node answered something else than it was asked.");
    INTERNAL.into()
}

/// The longest cursor.
const CURSOR_BYTES_MAX: usize = 128;

/// The node in `<node>:<shard>-<number>`.
fn node_of(id: &str) -> Result<&str, Problem> {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_place = |place: &str| {
        place.split_once('-').is_some_and(|(shard, number)| is_number(shard) && is_number(number))
    };
    let is_node = |node: &str| {
        !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let parts = id.rsplit_once(':').filter(|_| id.len() <= CURSOR_BYTES_MAX);
    let parts = parts.filter(|(node, place)| is_node(node) && is_place(place));
    parts.map(|(node, _)| node).ok_or_else(|| CURSOR_INVALID.problem().at("/after", "is none"))
}

/// The nodes from that of the cursor on, in the order of their names.
fn nodes_to_ask(
    service: &Service,
    query: &AllocationsQuery,
    at: Option<&str>,
) -> Result<Vec<String>, Problem> {
    let known = service.cluster.nodes();
    let mut names: BTreeSet<&str> = known.list.iter().map(|node| node.id.as_str()).collect();
    if let Some(wanted) = query.node.as_deref() {
        if !names.contains(wanted) {
            return Err(NODE_UNKNOWN.into());
        }
        names.retain(|name| *name == wanted);
    }
    Ok(names.into_iter().filter(|name| at.is_none_or(|at| *name >= at)).map(str::to_owned).collect())
}
