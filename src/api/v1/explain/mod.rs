//! `/v1/explain/{user}`: why a user fails, on every node.

mod mend;
mod what;
mod words;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answers::NodeFault;
use crate::{
    api::{
        body::Answer,
        caller::Caller,
        problem::{Problem, ProblemKind, USER_INVALID},
        query::Path,
        service::Service,
    },
    cluster::{self, AllocationRecord, Ask, IncidentRecord, Scope},
    config::Config,
    credentials::{Claims, Directory, Revocations, USERNAME_BYTES_MAX, Validity},
    turn::{Cause, Incident},
};

/// What `GET /v1/explain/{user}` refuses by itself.
pub(crate) const EXPLAIN_PROBLEMS: &[ProblemKind] = &[USER_INVALID];

/// A client that was given a new nonce less often than this and did not take it is no loop: it is ordinary once an hour.
const LOOP_MIN: u32 = 3;

/// What the nodes know of a user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    /// The user, without expiry time and claims.
    user: String,
    /// What went wrong lately, the newest first.
    incidents: Vec<IncidentRecord>,
    /// Live allocations; at most 100 of each node.
    allocations: Vec<AllocationRecord>,
    /// Nodes that answered.
    nodes: Vec<String>,
    /// Of these, nodes that remember nothing of what goes wrong (`explain.enabled`).
    forgetful: Vec<String>,
    /// Nodes that did not answer: what they know is missing.
    unanswered: Vec<NodeFault>,
}

/// Why a user was refused or lost datagrams lately, on all nodes, and what to do about it.
#[utoipa::path(
    get,
    path = "/v1/explain/{user}",
    tag = "allocations",
    params((
        "user" = String, Path, max_length = 508,
        description = "The user, or a whole username with its expiry time and claims."
    )),
    responses((status = 200, description = "What is known, which may be nothing.", body = Explanation))
)]
pub(crate) async fn explain_user(
    State(service): State<Service>,
    Path(user): Path<String>,
    caller: Caller,
) -> Result<Answer<Explanation>, Problem> {
    caller.require(Scope::Read)?;
    if user.is_empty() || user.len() > USERNAME_BYTES_MAX {
        let detail = format!("has 1 to {USERNAME_BYTES_MAX} bytes, not {}", user.len());
        return Err(USER_INVALID.problem().at("/user", detail));
    }
    let user = user_in(&service.cluster.directory(), &user).to_owned();
    let mut told = Explanation {
        user: user.clone(),
        incidents: Vec::new(),
        allocations: Vec::new(),
        nodes: Vec::new(),
        forgetful: Vec::new(),
        unanswered: Vec::new(),
    };
    for (node, answer) in service.cluster.ask_all(Ask::Explain { user }).await {
        match answer {
            Ok(cluster::Answer::Explained(report)) => {
                if !report.is_kept {
                    told.forgetful.push(node.clone());
                }
                told.incidents.extend(report.incidents);
                told.allocations.extend(report.allocations);
                told.nodes.push(node);
            }
            Ok(other) => {
                let _problem = super::allocations::misunderstood(&node, &other);
                told.unanswered.push(NodeFault::new(node.clone(), &cluster::RequestError::Silent(node)));
            }
            Err(error) => told.unanswered.push(NodeFault::new(node, &error)),
        }
    }
    told.incidents.sort_by_key(|incident| std::cmp::Reverse(incident.last));
    told.nodes.sort_unstable();
    Ok(Answer(told))
}

/// The user that a name stands for, with or without expiry time and claims.
fn user_in<'n>(directory: &Directory, name: &'n str) -> &'n str {
    match directory.candidates(name, 0).validity() {
        Validity::NotTimeLimited => name,
        Validity::Valid(limited) | Validity::Expired(limited) => {
            let user = Claims::read(limited.user).user;
            if user.is_empty() { name } else { user }
        }
    }
}

/// What a node knows beside an incident, to explain it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    /// The node.
    pub(crate) node: &'a str,
    /// Its configuration.
    pub(crate) config: &'a Config,
    /// Users and secrets it knows now.
    pub(crate) directory: &'a Directory,
    /// What is revoked now.
    pub(crate) revocations: &'a Revocations,
}

/// Explains an incident. `None` for what is part of ordinary use.
pub(crate) fn explain(
    incident: &Incident,
    user: &str,
    is_live: bool,
    known: Circumstances<'_>,
) -> Option<IncidentRecord> {
    let Incident { cause, request, from, is_proved, count, first_unix, last_unix } = incident;
    if matches!(cause, Cause::StaleNonce | Cause::ForeignNonce) && *count < LOOP_MIN {
        return None;
    }
    Some(IncidentRecord {
        node: known.node.to_owned(),
        cause: cause.as_str().to_owned(),
        request: request.map(|request| request.as_str().to_owned()),
        proved: *is_proved,
        live: is_live,
        count: *count,
        first: *first_unix,
        last: *last_unix,
        client: from.client.to_string(),
        transport: from.transport.as_str().to_owned(),
        what: what::happened(incident, known),
        mend: mend::mend(cause, user, known),
    })
}
