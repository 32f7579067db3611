//! Cloudflare's TURN API: a client of theirs works by changing host, key id and token.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{
        body::{Created, Json, NoContent, Whole},
        caller::Caller,
        problem::{
            NO_CAPACITY, NO_SECRET, NO_URI, Problem, ProblemKind, REVOCATION_INVALID, REVOCATIONS_FULL,
            STORE_FAILED, TTL_OUT_OF_RANGE, TURN_KEY_UNKNOWN, USER_INVALID,
        },
        query::Path,
        service::{Dialect, Service},
        v1::{
            credentials::{IceServer, ice_servers},
            fields::Faults,
            issue::{Issued, Order, Routes},
            revocations::Target,
        },
    },
    cluster::Scope,
};

/// What `generate` and `generate-ice-servers` refuse by themselves.
pub(crate) const GENERATE_PROBLEMS: &[ProblemKind] =
    &[TURN_KEY_UNKNOWN, USER_INVALID, TTL_OUT_OF_RANGE, NO_URI, NO_CAPACITY, NO_SECRET];
/// What `revoke` refuses by itself.
pub(crate) const CLOUDFLARE_REVOKE_PROBLEMS: &[ProblemKind] =
    &[TURN_KEY_UNKNOWN, REVOCATION_INVALID, REVOCATIONS_FULL, STORE_FAILED];

/// What credentials are wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GenerateRequest {
    /// How long they are valid, in seconds. The bounds are those of `credentials.ttl_min` and `credentials.ttl_max`.
    #[schema(value_type = Option<i64>, minimum = 60, maximum = 86400)]
    ttl: Option<Whole>,
    /// Whose they are; the id of the key unless named.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    custom_identifier: Option<String>,
}

/// Credentials as a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GenerateAnswer {
    ice_servers: Vec<IceServer>,
}

/// Credentials as a single entry, the older form.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GenerateOneAnswer {
    ice_servers: IceServer,
}

/// Makes credentials in Cloudflare's form.
#[utoipa::path(
    post,
    path = "/v1/turn/keys/{keyId}/credentials/generate-ice-servers",
    tag = "dialects",
    params(("keyId" = String, Path, description = "The id of the API key that asks.")),
    request_body = GenerateRequest,
    responses((status = 201, description = "The credentials.", body = GenerateAnswer))
)]
pub(crate) async fn generate_ice_servers(
    State(service): State<Service>,
    Path(key_id): Path<String>,
    caller: Caller,
    Json(request): Json<GenerateRequest>,
) -> Result<Created<GenerateAnswer>, Problem> {
    let issued = generate(&service, &caller, &key_id, &request).await?;
    Ok(Created(GenerateAnswer { ice_servers: ice_servers(issued) }))
}

/// Makes credentials in Cloudflare's older form: `iceServers` is an object.
#[utoipa::path(
    post,
    path = "/v1/turn/keys/{keyId}/credentials/generate",
    tag = "dialects",
    params(("keyId" = String, Path, description = "The id of the API key that asks.")),
    request_body = GenerateRequest,
    responses((status = 201, description = "The credentials.", body = GenerateOneAnswer))
)]
pub(crate) async fn generate_one(
    State(service): State<Service>,
    Path(key_id): Path<String>,
    caller: Caller,
    Json(request): Json<GenerateRequest>,
) -> Result<Created<GenerateOneAnswer>, Problem> {
    let issued = generate(&service, &caller, &key_id, &request).await?;
    let Issued { credential, stun, turn, .. } = issued;
    let entry = IceServer {
        urls: stun.into_iter().chain(turn).collect(),
        username: Some(credential.username),
        credential: Some(credential.password.as_str().to_owned()),
    };
    Ok(Created(GenerateOneAnswer { ice_servers: entry }))
}

/// Revokes credentials by their username and ends their allocations.
#[utoipa::path(
    post,
    path = "/v1/turn/keys/{keyId}/credentials/{username}/revoke",
    tag = "dialects",
    params(
        ("keyId" = String, Path, description = "The id of the API key that asks."),
        ("username" = String, Path, description = "The username of the credentials.", max_length = 508),
    ),
    responses((status = 204, description = "They are revoked."))
)]
pub(crate) async fn revoke_username(
    State(service): State<Service>,
    Path((key_id, username)): Path<(String, String)>,
    caller: Caller,
) -> Result<NoContent, Problem> {
    owns(&caller, &key_id)?;
    caller.require(Scope::Revoke)?;
    let target = Target { username: Some(username), ..Target::default() };
    service.revoke(&target).await?;
    Ok(NoContent)
}

async fn generate(
    service: &Service,
    caller: &Caller,
    key_id: &str,
    request: &GenerateRequest,
) -> Result<Issued, Problem> {
    owns(caller, key_id)?;
    caller.require(Scope::Issue)?;
    let settings = service.settings.load();
    let mut faults = Faults::default();
    let user = request.custom_identifier.as_deref().unwrap_or(key_id);
    faults.user("/customIdentifier", user);
    let ttl = faults.ttl("/ttl", request.ttl.map(|it| it.0), &settings.config.credentials);
    faults.result()?;
    if request.custom_identifier.is_some() {
        service.access.count_user(user).await?;
    }
    let order = Order { routes: Routes::ALL, ..Order::new(Dialect::Cloudflare, user, ttl) };
    service.issue(&order, &settings)
}

/// A caller with a key speaks for that key alone; tokens and certificates have no key of this kind.
fn owns(caller: &Caller, key_id: &str) -> Result<(), Problem> {
    match caller.id.strip_prefix("key:") {
        Some(own) if own != key_id => Err(TURN_KEY_UNKNOWN.into()),
        Some(_) | None => Ok(()),
    }
}
