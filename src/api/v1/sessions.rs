//! `/v1/sessions` and `/v1/revocations`: who is connected for signaling, and who is no longer to be.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answers::NodeFault,
    fields::{Faults, page_limit},
};
use crate::{
    api::{
        body::{Answer, Created, Json, Whole},
        caller::Caller,
        problem::{
            CURSOR_INVALID, Problem, ProblemKind, REVOCATION_EMPTY, REVOCATION_INVALID, REVOCATIONS_FULL,
            STORE_FAILED, USER_INVALID,
        },
        query::Query,
        service::{Service, unix_seconds},
    },
    cluster::{EndSessions, RevokedTokens, Scope, SessionRevocation, StoreError},
    signaling::{SessionId, SessionView, UserId},
};

/// What `GET /v1/sessions` refuses by itself.
pub(crate) const SESSIONS_PROBLEMS: &[ProblemKind] = &[USER_INVALID, CURSOR_INVALID];
/// What `POST /v1/revocations` refuses by itself.
pub(crate) const END_PROBLEMS: &[ProblemKind] =
    &[REVOCATION_EMPTY, REVOCATION_INVALID, USER_INVALID, REVOCATIONS_FULL, STORE_FAILED];

const JTI_BYTES_MAX: usize = 512;

/// Which page, and of whom.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionsQuery {
    /// Only sessions of this user: at most 256 bytes.
    #[param(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    user: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^s_[A-Za-z0-9_-]{21}[AQgw]$")]
    after: Option<String>,
    /// How many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A page of sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionsPage {
    sessions: Vec<SessionRow>,
    /// Give it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionRow {
    id: String,
    user: String,
    device: String,
    /// `user`, `sfu`, `backend`, `recorder` or `admin`.
    role: &'static str,
    /// `online`, `away` or `dnd`.
    status: &'static str,
    /// Whether it has a socket; else it waits to be resumed.
    connected: bool,
    /// The node it lives on.
    node: String,
    /// How long it has been there, in seconds; only of sessions of the node that answers, as what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    /// The rooms it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<Vec<String>>,
    /// Bytes kept for it until its client has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_bytes: Option<u64>,
}

/// Whose sessions end: exactly one of `sub`, `jti` and `session`. `/openapi.json` describes the three forms.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndRequest {
    /// A user: all sessions end, and tokens issued so far begin none.
    sub: Option<String>,
    /// A token: sessions that began with it end, and it begins none.
    jti: Option<String>,
    /// One session; its user may come back.
    session: Option<String>,
    /// When the token of `jti` ends (`exp`): seconds since the Unix epoch. Kept as long as any token may live unless
    /// given.
    #[schema(value_type = Option<u64>)]
    exp: Option<Whole>,
}

/// What that led to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndedAnswer {
    /// How many sessions ended, on all nodes that answered.
    ended: u64,
    /// How many on each.
    nodes: Vec<NodeEnded>,
    /// Nodes that did not answer in time; they learn of it as soon as they can be reached.
    unanswered: Vec<NodeFault>,
}

/// What a node did about it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeEnded {
    id: String,
    ended: u64,
}

/// The clients that are connected for signaling, on all nodes, in the order of their sessions.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    tag = "signaling",
    params(SessionsQuery),
    responses((status = 200, description = "Some of them.", body = SessionsPage))
)]
pub(crate) async fn list_sessions(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<SessionsQuery>,
) -> Result<Answer<SessionsPage>, Problem> {
    caller.require(Scope::Read)?;
    let limit = page_limit(query.limit)?;
    let after = match query.after.as_deref().map(SessionId::parse) {
        Some(None) => return Err(CURSOR_INVALID.problem().at("/after", "is no session")),
        Some(after) => after,
        None => None,
    };
    let user = match query.user.as_deref() {
        Some(user) => {
            let detail = "has 1 to 256 bytes without control characters";
            Some(UserId::parse(user).ok_or_else(|| USER_INVALID.problem().at("/user", detail))?)
        }
        None => None,
    };
    let mut found = service.signal.hub.with(|server, now| match &user {
        None => server.sessions_everywhere(now, after, limit + 1),
        Some(user) => {
            let mut of_user = server.sessions_of(now, user);
            of_user.retain(|session| after.is_none_or(|after| session.id > after));
            of_user.sort_unstable_by_key(|session| session.id);
            of_user
        }
    });
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.id.to_string());
    Ok(Answer(SessionsPage { sessions: found.iter().map(SessionRow::of).collect(), next }))
}

/// Ends sessions on every node within a second.
#[utoipa::path(
    post,
    path = "/v1/revocations",
    tag = "signaling",
    request_body = EndRequest,
    responses((status = 201, description = "They have ended.", body = EndedAnswer))
)]
pub(crate) async fn revoke_sessions(
    State(service): State<Service>,
    caller: Caller,
    Json(request): Json<EndRequest>,
) -> Result<Created<EndedAnswer>, Problem> {
    caller.require(Scope::Revoke)?;
    let jwt = service.settings.load().config.jwt.clone();
    let life = jwt.lifetime_max.as_secs() + 2 * jwt.leeway.as_secs();
    let (which, kept) = request.check(unix_seconds(), life)?;
    // Counted first. What begins meanwhile ends when the nodes hear of what is kept.
    let answers = service.cluster.end_sessions(which).await;
    if let Some(kept) = kept {
        service.cluster.revoke_sessions(&kept).await.map_err(|error| not_kept(&error))?;
    }
    let (mut nodes, mut unanswered) = (Vec::new(), Vec::new());
    for (id, answer) in answers {
        match answer {
            Ok(ended) => nodes.push(NodeEnded { id, ended }),
            Err(error) => unanswered.push(NodeFault::new(id, &error)),
        }
    }
    let ended = nodes.iter().map(|node| node.ended).sum();
    tracing::info!(caller = &*caller.id, ended, "Sessions were ended.");
    Ok(Created(EndedAnswer { ended, nodes, unanswered }))
}

impl EndRequest {
    /// What ends now, and what is to be refused from now on.
    fn check(self, now: u64, life: u64) -> Result<(EndSessions, Option<SessionRevocation>), Problem> {
        let Self { sub, jti, session, exp } = self;
        let expires = match exp.map(|exp| u64::try_from(exp.0).ok().filter(|exp| *exp <= now + life)) {
            None => now + life,
            Some(Some(exp)) if jti.is_some() => exp.saturating_add(life.min(3600)).min(now + life),
            Some(_) => {
                let detail = "goes with jti: seconds since the Unix epoch, no further away than tokens live";
                return Err(REVOCATION_INVALID.problem().at("/exp", detail));
            }
        };
        match (sub, jti, session) {
            (Some(sub), None, None) => {
                let mut faults = Faults::default();
                faults.user("/sub", &sub);
                faults.result()?;
                let of = RevokedTokens::User(sub.clone(), now);
                Ok((EndSessions::User(sub), Some(SessionRevocation { of, expires: now + life })))
            }
            (None, Some(jti), None) => {
                if jti.is_empty() || jti.len() > JTI_BYTES_MAX {
                    let detail = format!("has 1 to {JTI_BYTES_MAX} bytes");
                    return Err(REVOCATION_INVALID.problem().at("/jti", detail));
                }
                let of = RevokedTokens::Id(jti.clone());
                Ok((EndSessions::Token(jti), Some(SessionRevocation { of, expires })))
            }
            (None, None, Some(session)) => {
                if SessionId::parse(&session).is_none() {
                    return Err(REVOCATION_INVALID.problem().at("/session", "is none"));
                }
                Ok((EndSessions::Session(session), None))
            }
            (None, None, None) => Err(REVOCATION_EMPTY.with("Name one of sub, jti and session.")),
            (_, _, _) => Err(REVOCATION_INVALID.with("Name only one of sub, jti and session.")),
        }
    }
}

impl SessionRow {
    fn of(view: &SessionView) -> Self {
        let here = view.here.as_ref();
        Self {
            id: view.id.to_string(),
            user: view.user.as_str().to_owned(),
            device: view.device.to_string(),
            role: view.role.as_str(),
            status: view.status.as_str(),
            connected: view.is_attached,
            node: view.node.0.to_string(),
            age: here.map(|here| here.age.as_secs()),
            rooms: here.map(|here| here.rooms.iter().map(|room| room.as_str().to_owned()).collect()),
            queued_bytes: here.map(|here| here.queue_bytes as u64),
        }
    }
}

fn not_kept(error: &StoreError) -> Problem {
    match error {
        StoreError::Full(_) => REVOCATIONS_FULL.with(error.to_string()),
        StoreError::Write { .. } | StoreError::Busy | StoreError::Closed => {
            tracing::error!(%error, "A revocation of sessions could not be kept.");
            STORE_FAILED.into()
        }
    }
}
