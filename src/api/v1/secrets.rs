//! `/v1/turn/secrets`: what credentials are made with. The secrets themselves are never answered.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        body::{Answer, Created, Json, NoContent},
        caller::Caller,
        problem::{
            INTERNAL, NODE_SILENT, Problem, ProblemKind, SECRET_CONFIGURED, SECRET_EXISTS, SECRET_IN_USE,
            SECRET_INVALID, SECRET_UNKNOWN, SECRETS_FULL, STORE_FAILED,
        },
        query::{Path, Query},
        service::Service,
    },
    cluster::{Rotation, Scope, SecretInfo, SecretState, SecretsError},
    config::SecretBytes,
    credentials::KeyId,
};

/// The longest text of secrets to import, in bytes.
const IMPORT_BYTES_MAX: usize = 32 << 10;

/// What adding, rotating and importing refuse by themselves.
pub(crate) const CHANGE_PROBLEMS: &[ProblemKind] =
    &[SECRET_INVALID, SECRET_EXISTS, SECRETS_FULL, SECRET_CONFIGURED, NODE_SILENT, STORE_FAILED];
/// What removing refuses by itself.
pub(crate) const REMOVE_PROBLEMS: &[ProblemKind] =
    &[SECRET_UNKNOWN, SECRET_INVALID, SECRET_IN_USE, SECRET_CONFIGURED, STORE_FAILED];

/// All secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretsAnswer {
    /// Each by its id and state, with the live allocations under it.
    secrets: Vec<SecretInfo>,
}

/// A new secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRequest {
    /// Names it; drawn unless given.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$", example = "2026-11")]
    id: Option<String>,
    /// The secret, as other software is configured with it: 8 to 1024 bytes. Drawn unless given, and then known to the
    /// nodes alone.
    #[schema(min_length = 8, max_length = 1024, pattern = "^[!-~]+$", format = Password)]
    secret: Option<String>,
    /// `next` (unless given): accepted everywhere, not used yet. `active`: credentials are made with it at once.
    #[schema(value_type = Option<NewState>)]
    state: Option<String>,
}

/// The states a secret may begin in.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "describes what is read as text, so that faults get a code of their own")]
pub(crate) enum NewState {
    Next,
    Active,
}

/// Secrets of other software.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRequest {
    /// Lines of coturn's configuration, of which `static-auth-secret=…` are taken; or a key id and a secret on each line.
    #[schema(min_length = 1, max_length = 32768, example = "static-auth-secret=logen-secret\n")]
    text: String,
}

/// How a secret is removed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RemoveQuery {
    /// Also if credentials are made with it, or if it is the last one.
    force: Option<bool>,
}

/// The secrets by id and state, with the number of live allocations under each.
#[utoipa::path(
    get,
    path = "/v1/turn/secrets",
    tag = "secrets",
    responses((status = 200, description = "All of them.", body = SecretsAnswer))
)]
pub(crate) async fn list_secrets(
    State(service): State<Service>,
    caller: Caller,
) -> Result<Answer<SecretsAnswer>, Problem> {
    caller.require(Scope::Read)?;
    Ok(Answer(SecretsAnswer { secrets: service.cluster.secrets().await }))
}

/// Adds a secret on every node.
#[utoipa::path(
    post,
    path = "/v1/turn/secrets",
    tag = "secrets",
    request_body = SecretRequest,
    responses((status = 201, description = "It is there.", body = SecretInfo))
)]
pub(crate) async fn add_secret(
    State(service): State<Service>,
    caller: Caller,
    Json(request): Json<SecretRequest>,
) -> Result<Created<SecretInfo>, Problem> {
    caller.require(Scope::Admin)?;
    let id = request.id.as_deref().map(|id| key_id(id, "/id")).transpose()?;
    let state = match request.state.as_deref() {
        None | Some("next") => SecretState::Next,
        Some("active") => SecretState::Active,
        Some(_) => return Err(SECRET_INVALID.problem().at("/state", "must be next or active")),
    };
    if request.secret.as_deref().is_some_and(|secret| !secret.bytes().all(|byte| byte.is_ascii_graphic())) {
        let detail = "has visible characters of ASCII alone, without spaces; import takes over others";
        return Err(SECRET_INVALID.problem().at("/secret", detail));
    }
    let bytes = request.secret.as_ref().map(|secret| SecretBytes::new(secret.as_bytes()));
    let info = service.cluster.add_secret(id, bytes, state).await.map_err(|error| refused(&error))?;
    tracing::info!(caller = &*caller.id, secret = info.id, "A secret was added.");
    Ok(Created(info))
}

/// Makes credentials with the next secret from now on; the active one is accepted until the last of its credentials has
/// expired.
#[utoipa::path(
    post,
    path = "/v1/turn/secrets/rotate",
    tag = "secrets",
    responses((status = 200, description = "Which is which now.", body = Rotation))
)]
pub(crate) async fn rotate_secrets(
    State(service): State<Service>,
    caller: Caller,
) -> Result<Answer<Rotation>, Problem> {
    caller.require(Scope::Admin)?;
    let rotation = service.cluster.rotate_secrets().await.map_err(|error| refused(&error))?;
    tracing::info!(caller = &*caller.id, active = rotation.active.id, "The secrets were rotated.");
    Ok(Answer(rotation))
}

/// Takes over secrets of coturn's configuration; the first becomes active if there is none.
#[utoipa::path(
    post,
    path = "/v1/turn/secrets/import",
    tag = "secrets",
    request_body = ImportRequest,
    responses((status = 201, description = "Those that were taken over.", body = SecretsAnswer))
)]
pub(crate) async fn import_secrets(
    State(service): State<Service>,
    caller: Caller,
    Json(request): Json<ImportRequest>,
) -> Result<Created<SecretsAnswer>, Problem> {
    caller.require(Scope::Admin)?;
    if request.text.is_empty() || request.text.len() > IMPORT_BYTES_MAX {
        return Err(SECRET_INVALID.problem().at("/text", format!("has 1 to {IMPORT_BYTES_MAX} bytes")));
    }
    let secrets = service.cluster.import_secrets(&request.text).await.map_err(|error| refused(&error))?;
    tracing::info!(caller = &*caller.id, count = secrets.len(), "Secrets were imported.");
    Ok(Created(SecretsAnswer { secrets }))
}

/// Removes a secret on every node: what was made with it is not accepted any more.
#[utoipa::path(
    delete,
    path = "/v1/turn/secrets/{id}",
    tag = "secrets",
    params(("id" = String, Path, description = "The key id."), RemoveQuery),
    responses((status = 204, description = "It is gone."))
)]
pub(crate) async fn remove_secret(
    State(service): State<Service>,
    Path(id): Path<String>,
    caller: Caller,
    Query(query): Query<RemoveQuery>,
) -> Result<NoContent, Problem> {
    caller.require(Scope::Admin)?;
    // What is no key id names no secret.
    let id = KeyId::new(&id).map_err(|_| SECRET_UNKNOWN.problem())?;
    let force = query.force == Some(true);
    service.cluster.remove_secret(&id, force).await.map_err(|error| refused(&error))?;
    tracing::info!(caller = &*caller.id, secret = %id, "A secret was removed.");
    Ok(NoContent)
}

fn key_id(id: &str, pointer: &'static str) -> Result<KeyId, Problem> {
    KeyId::new(id)
        .map_err(|_| SECRET_INVALID.problem().at(pointer, "has 1 to 64 characters of A-Z a-z 0-9 . _ -"))
}

/// The errors name ids and lengths, never a secret.
fn refused(error: &SecretsError) -> Problem {
    let kind = match error {
        SecretsError::Unknown(_) => SECRET_UNKNOWN,
        SecretsError::Exists(_) => SECRET_EXISTS,
        SecretsError::Configured(_) => SECRET_CONFIGURED,
        SecretsError::InUse(_) => SECRET_IN_USE,
        SecretsError::Length(_) | SecretsError::State | SecretsError::Line(_) => SECRET_INVALID,
        SecretsError::TooMany(_) => SECRETS_FULL,
        SecretsError::NotEverywhere(_) => NODE_SILENT,
        SecretsError::Store(error) => {
            tracing::error!(%error, "A secret could not be kept.");
            return STORE_FAILED.into();
        }
        SecretsError::Random(error) => {
            tracing::error!(error, "A secret could not be made.");
            return INTERNAL.into();
        }
    };
    kind.with(error.to_string())
}
