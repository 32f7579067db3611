//! `/v1/reload`: the configuration, read again.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        body::Answer,
        caller::Caller,
        problem::{CONFIGURATION_INVALID, NOT_READY, Problem, ProblemKind},
        query::Query,
        reload::ReloadReport,
        service::Service,
    },
    cluster::Scope,
};

/// What `POST /v1/reload` refuses by itself.
pub(crate) const RELOAD_PROBLEMS: &[ProblemKind] = &[CONFIGURATION_INVALID, NOT_READY];

/// How.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ReloadQuery {
    /// Only say what would change.
    dry_run: Option<bool>,
}

/// Has this node read its configuration again, as SIGHUP does: secrets, users, quotas, policy, certificates, log level.
/// Calls that are up go on. If anything is wrong nothing changes, and `reasons` says what.
#[utoipa::path(
    post,
    path = "/v1/reload",
    tag = "nodes",
    params(ReloadQuery),
    responses((status = 200, description = "What changed, or would.", body = ReloadReport))
)]
pub(crate) async fn reload(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<ReloadQuery>,
) -> Result<Answer<ReloadReport>, Problem> {
    caller.require(Scope::Admin)?;
    service.order_reload(&caller.id, query.dry_run.unwrap_or(false)).await.map(Answer)
}
