//! `GET /v1/ice-servers`: credentials for an end user, asked for with the user's own token.

use std::time::Duration;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    credentials::CredentialsAnswer,
    fields::Faults,
    issue::{Order, Routes},
};
use crate::api::{
    body::Answer,
    caller::Caller,
    problem::{
        COUNT_OUT_OF_RANGE, NO_CAPACITY, NO_SECRET, NO_URI, Problem, ProblemKind, QUOTA_INVALID,
        REGION_INVALID, TTL_OUT_OF_RANGE, USER_INVALID,
    },
    query::Query,
    service::{Dialect, Service},
};

/// What `GET /v1/ice-servers` refuses by itself.
pub(crate) const END_USER_PROBLEMS: &[ProblemKind] = &[
    USER_INVALID,
    QUOTA_INVALID,
    TTL_OUT_OF_RANGE,
    REGION_INVALID,
    COUNT_OUT_OF_RANGE,
    NO_URI,
    NO_CAPACITY,
    NO_SECRET,
];

/// What an end user may choose.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EndUserQuery {
    /// How long the credentials are valid, in seconds; at most what the token grants.
    #[param(minimum = 60, maximum = 86400)]
    ttl: Option<i64>,
    /// Only nodes of this region.
    #[param(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$")]
    region: Option<String>,
    /// How many different nodes.
    #[param(minimum = 1, maximum = 8)]
    count: Option<i64>,
}

/// Makes credentials for the user whose token asks.
#[utoipa::path(
    get,
    path = "/v1/ice-servers",
    tag = "credentials",
    params(EndUserQuery),
    responses((status = 200, description = "The credentials.", body = CredentialsAnswer))
)]
pub(crate) async fn own_ice_servers(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<EndUserQuery>,
) -> Result<Answer<CredentialsAnswer>, Problem> {
    let user = caller.require_own_turn()?;
    let grant = caller.grants.turn.clone().unwrap_or_default();
    let settings = service.settings.load();
    let mut bounds = settings.config.credentials;
    if let Some(ttl) = grant.ttl.map(Duration::from_secs) {
        bounds.ttl_max = bounds.ttl_max.min(ttl);
        bounds.ttl_min = bounds.ttl_min.min(bounds.ttl_max);
        bounds.ttl_default = bounds.ttl_default.min(bounds.ttl_max);
    }
    let mut faults = Faults::default();
    faults.user("/sub", user);
    faults.quota("/quota", grant.quota.as_deref());
    faults.region("/region", query.region.as_deref());
    let ttl = faults.ttl("/ttl", query.ttl, &bounds);
    let count = faults.count("/count", query.count);
    faults.result()?;
    let order = Order {
        class: grant.quota.as_deref(),
        region: query.region.as_deref(),
        routes: Routes { stun: !grant.relay_only, ..Routes::ALL },
        count,
        ..Order::new(Dialect::EndUser, user, ttl)
    };
    service.access.count_user(user).await?;
    let issued = service.issue(&order, &settings)?;
    let id = service.random();
    Ok(Answer(CredentialsAnswer::new(id, issued, ttl.as_secs(), grant.relay_only)))
}
