//! `/v1/calls`: who called whom, and how it went.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::fields::page_limit;
use crate::{
    api::{
        body::{Answer, Json, Whole},
        caller::Caller,
        problem::{
            CALL_UNKNOWN, CURSOR_INVALID, FIELD_INVALID, NODE_SILENT, Problem, ProblemKind, STORE_FAILED,
        },
        query::{Path, Query},
        service::Service,
    },
    cluster::{CallStepView, CallView, OutboxError, Scope},
};

/// A cursor: the microsecond of a change in hexadecimal digits.
const CURSOR_DIGITS: usize = 16;

/// The last millisecond of the year 9999.
const MILLIS_MAX: u64 = 253_402_300_799_999;

/// What these endpoints refuse by themselves.
pub(crate) const CALLS_PROBLEMS: &[ProblemKind] = &[NODE_SILENT, STORE_FAILED];
/// What those refuse beside that which list calls.
pub(crate) const LIST_CALLS_PROBLEMS: &[ProblemKind] = &[CURSOR_INVALID];
/// What those refuse beside that which are about one call.
pub(crate) const CALL_PROBLEMS: &[ProblemKind] = &[CALL_UNKNOWN];

/// Which calls.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallsQuery {
    /// `cursor` of the answer before: what changed since then. Everything that is remembered, unless given.
    #[param(pattern = "^[0-9a-f]{16}$")]
    since: Option<String>,
    /// How many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Which call.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CallPath {
    /// As the caller named it.
    id: String,
}

/// Calls in the order of their last change, each as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallsPage {
    calls: Vec<CallView>,
    /// Give it as `since` for what comes after. A call that changes comes again behind it.
    cursor: String,
    /// Whether there is more behind it already.
    has_more: bool,
}

/// The steps of a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Timeline {
    /// The call's id.
    call: String,
    /// In their order; at most 128.
    steps: Vec<CallStepView>,
}

/// What is to be told again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    /// Only what happened from then on: milliseconds since the Unix epoch. Everything unless given.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 253402300799999u64)]
    from: Option<Whole>,
}

/// How many events are told again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayAnswer {
    replayed: u64,
}

/// Calls of all nodes that changed since a cursor: what webhooks tell can be compared with it.
#[utoipa::path(
    get,
    path = "/v1/calls",
    tag = "calls",
    params(CallsQuery),
    responses((status = 200, description = "Some of them.", body = CallsPage))
)]
pub(crate) async fn list_calls(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<CallsQuery>,
) -> Result<Answer<CallsPage>, Problem> {
    caller.require(Scope::Read)?;
    let limit = page_limit(query.limit)?;
    let since = query.since.as_deref().map(place).transpose()?.unwrap_or(0);
    let page = service.cluster.calls(since, limit).await.map_err(|error| failed(&error))?;
    let last = page.calls.last().map_or(since, |(place, _)| *place);
    let calls = page.calls.into_iter().map(|(_, call)| call).collect();
    Ok(Answer(CallsPage { calls, cursor: format!("{last:016x}"), has_more: page.has_more }))
}

/// One call.
#[utoipa::path(
    get,
    path = "/v1/calls/{id}",
    tag = "calls",
    params(CallPath),
    responses((status = 200, description = "The call.", body = CallView))
)]
pub(crate) async fn one_call(
    State(service): State<Service>,
    Path(CallPath { id }): Path<CallPath>,
    caller: Caller,
) -> Result<Answer<CallView>, Problem> {
    caller.require(Scope::Read)?;
    let (call, _) = find(&service, &id).await?;
    Ok(Answer(call))
}

/// What happened to a call, step by step.
#[utoipa::path(
    get,
    path = "/v1/calls/{id}/timeline",
    tag = "calls",
    params(CallPath),
    responses((status = 200, description = "Its steps.", body = Timeline))
)]
pub(crate) async fn call_timeline(
    State(service): State<Service>,
    Path(CallPath { id }): Path<CallPath>,
    caller: Caller,
) -> Result<Answer<Timeline>, Problem> {
    caller.require(Scope::Read)?;
    let (call, steps) = find(&service, &id).await?;
    Ok(Answer(Timeline { call: call.id, steps }))
}

/// Has events delivered that were given up, and asks a receiver again that answered 410.
#[utoipa::path(
    post,
    path = "/v1/webhooks/replay",
    tag = "calls",
    request_body = ReplayRequest,
    responses((status = 200, description = "How many.", body = ReplayAnswer))
)]
pub(crate) async fn replay_webhooks(
    State(service): State<Service>,
    caller: Caller,
    Json(request): Json<ReplayRequest>,
) -> Result<Answer<ReplayAnswer>, Problem> {
    caller.require(Scope::Admin)?;
    let from = request.from.map_or(Some(0), |from| u64::try_from(from.0).ok());
    let from = from.filter(|from| *from <= MILLIS_MAX).ok_or_else(|| {
        FIELD_INVALID.problem().at("/from", "must be milliseconds since the Unix epoch, until the year 9999")
    })?;
    let replayed = service.cluster.replay_events(from).await.map_err(|error| failed(&error))?;
    service.webhooks.retry();
    tracing::info!(caller = &*caller.id, replayed, "Events that were given up are delivered again.");
    Ok(Answer(ReplayAnswer { replayed }))
}

async fn find(service: &Service, id: &str) -> Result<(CallView, Vec<CallStepView>), Problem> {
    // What can be no call's id need not be looked for.
    if crate::signaling::CallId::parse(id).is_none() {
        return Err(CALL_UNKNOWN.into());
    }
    let found = service.cluster.call(id).await.map_err(|error| failed(&error))?;
    found.ok_or_else(|| CALL_UNKNOWN.into())
}

fn place(cursor: &str) -> Result<u64, Problem> {
    let is_cursor = cursor.len() == CURSOR_DIGITS && cursor.bytes().all(|b| b.is_ascii_hexdigit());
    let place = is_cursor.then(|| u64::from_str_radix(cursor, 16).ok()).flatten();
    place.ok_or_else(|| CURSOR_INVALID.problem().at("/since", "does not come from an answer"))
}

fn failed(error: &OutboxError) -> Problem {
    match error {
        OutboxError::Peers(error) => NODE_SILENT.with(error.to_string()),
        OutboxError::Store(error) => {
            tracing::error!(%error, "Calls and events cannot be read.");
            STORE_FAILED.into()
        }
    }
}
