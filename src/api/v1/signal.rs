//! `/v1/signal/…`: tickets for sockets, and what the backend said.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{answers::NodeFault, fields::Faults};
use crate::{
    api::{
        body::{Answer, Created, Json, Whole},
        caller::{Caller, grants},
        problem::{
            FIELD_MISSING, GRANT_MISSING, GRANTS_INVALID, INTERNAL, Problem, ProblemKind, SIGNAL_OFF,
            TTL_OUT_OF_RANGE, USER_INVALID,
        },
        query::Query,
        service::{Service, unix_seconds},
        signal::{Grant, TicketError},
    },
    cluster::Scope,
};

/// What `POST /v1/signal/tickets` refuses by itself.
pub(crate) const TICKET_PROBLEMS: &[ProblemKind] =
    &[SIGNAL_OFF, USER_INVALID, GRANTS_INVALID, TTL_OUT_OF_RANGE, FIELD_MISSING];
/// What `DELETE /v1/signal/decisions` refuses by itself.
pub(crate) const FORGET_PROBLEMS: &[ProblemKind] = &[USER_INVALID];

/// How long a session lives that began with a ticket of a service, unless it says.
const SESSION_TTL_DEFAULT: i64 = 3600;
const SESSION_TTL_MAX: i64 = 86_400;

/// For whom a ticket is. A user with a token names nothing: the ticket is for that user. `/openapi.json` describes both
/// forms.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TicketRequest {
    /// The user that a service with the scope `signal` vouches for.
    user: Option<String>,
    /// What the user may do, as a token has it in the claim of `jwt.grants_claim`.
    #[schema(value_type = Option<Object>)]
    grants: Option<Map<String, Value>>,
    /// How long the session may live, in seconds; an hour unless given.
    #[schema(value_type = Option<i64>)]
    session_ttl: Option<Whole>,
}

/// A ticket.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TicketAnswer {
    /// For `GET /v1/signal?ticket=`, once.
    ticket: String,
    /// How long it is good, in seconds.
    expires_in: u64,
}

/// What is to be forgotten.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DecisionsQuery {
    /// Only what was said of this user, as caller or callee: at most 256 bytes. All of it unless given.
    #[param(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    user: Option<String>,
}

/// Which nodes forgot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForgottenAnswer {
    nodes: Vec<String>,
    /// Nodes that did not answer in time: what they remember is over within 30 s.
    unanswered: Vec<NodeFault>,
}

/// Makes a ticket that opens one socket within half a minute, for clients that can send neither a header nor a first
/// frame with a token.
#[utoipa::path(
    post,
    path = "/v1/signal/tickets",
    tag = "signaling",
    request_body = TicketRequest,
    responses((status = 201, description = "The ticket.", body = TicketAnswer))
)]
pub(crate) async fn create_ticket(
    State(service): State<Service>,
    caller: Caller,
    headers: axum::http::HeaderMap,
    Json(request): Json<TicketRequest>,
) -> Result<Created<TicketAnswer>, Problem> {
    if !service.settings.load().config.signal.enabled {
        return Err(SIGNAL_OFF.into());
    }
    let grant = match &caller.token {
        Some(_) => own(&request, &headers)?,
        None => vouched(&caller, request)?,
    };
    let (ticket, lifetime) = service.ticket(grant).map_err(|error| match error {
        TicketError::TooLarge => GRANTS_INVALID.with(error.to_string()),
        TicketError::Sealing => INTERNAL.into(),
    })?;
    Ok(Created(TicketAnswer { ticket, expires_in: lifetime.as_secs() }))
}

/// Has all nodes forget what the backend said about who may do what, so that it is asked again.
#[utoipa::path(
    delete,
    path = "/v1/signal/decisions",
    tag = "signaling",
    params(DecisionsQuery),
    responses((status = 200, description = "It is forgotten.", body = ForgottenAnswer))
)]
pub(crate) async fn forget_decisions(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<DecisionsQuery>,
) -> Result<Answer<ForgottenAnswer>, Problem> {
    caller.require(Scope::Signal)?;
    if let Some(user) = &query.user {
        let mut faults = Faults::default();
        faults.user("/user", user);
        faults.result()?;
    }
    let (mut nodes, mut unanswered) = (Vec::new(), Vec::new());
    for (id, answer) in service.cluster.forget_decisions(query.user).await {
        match answer {
            Ok(_) => nodes.push(id),
            Err(error) => unanswered.push(NodeFault::new(id, &error)),
        }
    }
    Ok(Answer(ForgottenAnswer { nodes, unanswered }))
}

/// Of a user, by the user's own token.
fn own(request: &TicketRequest, headers: &axum::http::HeaderMap) -> Result<Grant, Problem> {
    if request.user.is_some() || request.grants.is_some() || request.session_ttl.is_some() {
        return Err(GRANT_MISSING.with("A user's own token speaks for that user alone: send {}."));
    }
    let header = headers.get(axum::http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim().to_owned());
    token.map(Grant::Token).ok_or_else(|| GRANT_MISSING.with("Send the token in `Authorization`."))
}

/// Of a user that a service vouches for.
fn vouched(caller: &Caller, request: TicketRequest) -> Result<Grant, Problem> {
    caller.require(Scope::Signal)?;
    let user =
        request.user.ok_or_else(|| FIELD_MISSING.problem().at("/user", "says whom the ticket is for"))?;
    let grants = Value::Object(request.grants.unwrap_or_default());
    let mut faults = Faults::default();
    faults.user("/user", &user);
    if let Err(error) = grants::read_signal(Some(&grants)).and_then(|_| grants::read(Some(&grants))) {
        faults.note(GRANTS_INVALID, "/grants", error.to_string());
    }
    let ttl = request.session_ttl.map_or(SESSION_TTL_DEFAULT, |ttl| ttl.0);
    if !(60..=SESSION_TTL_MAX).contains(&ttl) {
        faults.note(TTL_OUT_OF_RANGE, "/sessionTtl", format!("must be 60 to {SESSION_TTL_MAX} seconds"));
    }
    faults.result()?;
    let expires = unix_seconds() + u64::try_from(ttl).unwrap_or_default();
    Ok(Grant::User { user, grants, expires })
}
