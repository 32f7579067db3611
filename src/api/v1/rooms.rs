//! `/v1/rooms/{id}`: who is in a room, and what a backend does there.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answers::unanswered;
use crate::{
    api::{
        body::{Answer, Created, Json, NoContent},
        caller::Caller,
        problem::{
            MESSAGE_INVALID, NODE_SILENT, Problem, ProblemKind, ROOM_INVALID, ROOM_UNKNOWN, SESSION_UNKNOWN,
        },
        query::Path,
        service::Service,
    },
    cluster::{self, Ask, EndSessions, Scope},
    signaling::{MemberView, Role, RoomId, SessionId},
};

/// What `/v1/rooms/{id}` refuses by itself.
pub(crate) const ROOM_PROBLEMS: &[ProblemKind] = &[ROOM_INVALID, ROOM_UNKNOWN];
/// What `DELETE /v1/rooms/{id}/members/{session}` refuses besides.
pub(crate) const REMOVE_MEMBER_PROBLEMS: &[ProblemKind] = &[SESSION_UNKNOWN, NODE_SILENT];
/// What `POST /v1/rooms/{id}/messages` refuses besides.
pub(crate) const ROOM_MESSAGE_PROBLEMS: &[ProblemKind] = &[MESSAGE_INVALID];

/// As much as a frame may have.
const DATA_BYTES_MAX: usize = 60 << 10;

/// A room.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoomAnswer {
    id: String,
    /// In the order they came.
    members: Vec<RoomMember>,
}

/// A member of a room.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoomMember {
    session: String,
    user: String,
    device: String,
    /// `user`, `sfu`, `backend`, `recorder` or `admin`.
    role: &'static str,
    /// What it says of itself.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Box<RawValue>>,
}

/// A message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoomMessage {
    /// Whatever it is: members get it as it stands.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

/// How many it goes to.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoomMessageAnswer {
    /// Members, on all nodes.
    delivered: u64,
}

/// Which room.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RoomPath {
    /// The name of the room: 1 to 128 bytes, so 32 characters always fit.
    #[param(min_length = 1, max_length = 32, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    id: String,
}

/// Which member of which room.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct MemberPath {
    /// The name of the room: 1 to 128 bytes, so 32 characters always fit.
    #[param(min_length = 1, max_length = 32, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    id: String,
    /// The session.
    #[param(pattern = "^s_[A-Za-z0-9_-]{22}$")]
    session: String,
}

/// What a member says, for those who look on.
#[derive(Deserialize)]
struct Says {
    state: Option<Box<RawValue>>,
}

/// The members of a room, on all nodes.
#[utoipa::path(
    get,
    path = "/v1/rooms/{id}",
    tag = "signaling",
    params(RoomPath),
    responses((status = 200, description = "Who is there.", body = RoomAnswer))
)]
pub(crate) async fn room(
    State(service): State<Service>,
    Path(RoomPath { id }): Path<RoomPath>,
    caller: Caller,
) -> Result<Answer<RoomAnswer>, Problem> {
    caller.require(Scope::Read)?;
    let room = room_id(&id)?;
    let view = service.signal.hub.look(|server| server.room(&room)).ok_or(ROOM_UNKNOWN)?;
    Ok(Answer(RoomAnswer { id, members: view.members.iter().map(RoomMember::of).collect() }))
}

/// Has a session leave a room. It may come back: what it is granted is another's affair.
#[utoipa::path(
    delete,
    path = "/v1/rooms/{id}/members/{session}",
    tag = "signaling",
    params(MemberPath),
    responses((status = 204, description = "It is there no more."))
)]
pub(crate) async fn remove_member(
    State(service): State<Service>,
    Path(MemberPath { id, session }): Path<MemberPath>,
    caller: Caller,
) -> Result<NoContent, Problem> {
    caller.require(Scope::Signal)?;
    room_id(&id)?;
    let name = SessionId::parse(&session).ok_or(SESSION_UNKNOWN)?;
    let view = service.signal.hub.with(|server, now| server.session(now, name)).ok_or(SESSION_UNKNOWN)?;
    let ask = Ask::EndSessions(EndSessions::Member { session, room: id });
    match service.cluster.ask(&view.node.0, ask).await {
        Ok(cluster::Answer::Ended(1..)) => Ok(NoContent),
        Ok(_) => Err(SESSION_UNKNOWN.with("It is not in this room.")),
        Err(error) => Err(unanswered(&error)),
    }
}

/// Sends a message to all members of a room, on all nodes.
#[utoipa::path(
    post,
    path = "/v1/rooms/{id}/messages",
    tag = "signaling",
    params(RoomPath),
    request_body = RoomMessage,
    responses((status = 201, description = "It is on its way.", body = RoomMessageAnswer))
)]
pub(crate) async fn send_to_room(
    State(service): State<Service>,
    Path(RoomPath { id }): Path<RoomPath>,
    caller: Caller,
    Json(message): Json<RoomMessage>,
) -> Result<Created<RoomMessageAnswer>, Problem> {
    caller.require(Scope::Signal)?;
    let room = room_id(&id)?;
    let data = serde_json::value::to_raw_value(&message.data).map_err(|_| MESSAGE_INVALID)?;
    if data.get().len() > DATA_BYTES_MAX {
        return Err(MESSAGE_INVALID.problem().at("/data", format!("has at most {DATA_BYTES_MAX} bytes")));
    }
    let from = (&*caller.id, Role::Backend);
    let delivered =
        service.signal.hub.with(|server, now| server.message_from_outside(now, &room, from, &data));
    if delivered == 0 {
        return Err(ROOM_UNKNOWN.into());
    }
    Ok(Created(RoomMessageAnswer { delivered: delivered as u64 }))
}

impl RoomMember {
    fn of(view: &MemberView) -> Self {
        let says = [b"{", &view.says[..], b"}"].concat();
        Self {
            session: view.session.to_string(),
            user: view.user.as_str().to_owned(),
            device: view.device.to_string(),
            role: view.role.as_str(),
            state: serde_json::from_slice::<Says>(&says).ok().and_then(|says| says.state),
        }
    }
}

fn room_id(text: &str) -> Result<RoomId, Problem> {
    let detail = "A room has 1 to 128 bytes without control characters.";
    RoomId::parse(text).ok_or_else(|| ROOM_INVALID.with(detail))
}
