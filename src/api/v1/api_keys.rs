//! `/v1/api-keys`: who may call.

use axum::extract::State;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

use crate::{
    api::{
        body::{Answer, Created, Json, NoContent, Whole},
        caller::Caller,
        problem::{
            API_KEY_CONFIGURED, API_KEY_INVALID, API_KEY_UNKNOWN, API_KEYS_FULL, INTERNAL, Problem,
            ProblemKind, STORE_FAILED,
        },
        query::Path,
        service::{Service, unix_seconds},
    },
    cluster::{API_KEY_NAME_CHARS_MAX, API_KEY_NETWORKS_MAX, ApiKey, ApiKeysError, NewApiKey, Scope, Scopes},
};

/// Ten years.
const TTL_MAX: u64 = 315_360_000;

/// What `POST /v1/api-keys` refuses by itself.
pub(crate) const CREATE_KEY_PROBLEMS: &[ProblemKind] = &[API_KEY_INVALID, API_KEYS_FULL, STORE_FAILED];
/// What `DELETE /v1/api-keys/{id}` refuses by itself.
pub(crate) const REVOKE_KEY_PROBLEMS: &[ProblemKind] = &[API_KEY_UNKNOWN, API_KEY_CONFIGURED, STORE_FAILED];

/// A new API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ApiKeyRequest {
    /// Whose it is, for people.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]+$",
        example = "messenger backend"
    )]
    name: String,
    /// What it may be used for.
    #[schema(min_items = 1, max_items = 5)]
    scopes: Vec<Scope>,
    /// Where it may be used from; everywhere unless given.
    #[schema(value_type = Option<Vec<String>>, max_items = 64, example = json!(["10.0.0.0/8"]))]
    networks: Option<Vec<String>>,
    /// How long it works, in seconds; until it is revoked unless given.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 315360000)]
    ttl: Option<Whole>,
}

/// An API key, without the key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKeyView {
    id: String,
    name: String,
    scopes: Scopes,
    /// Where it may be used from; empty is everywhere.
    #[schema(value_type = Vec<String>)]
    networks: Vec<IpNet>,
    /// When it was made: seconds since the Unix epoch.
    created: u64,
    /// When it stops working: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// When it was last used on the node that answers: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<u64>,
    /// Who looks after it.
    source: ApiKeySource,
}

/// Who looks after an API key.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApiKeySource {
    /// `api.keys_file` of the node that answers.
    Configuration,
    /// The cluster.
    Stored,
}

/// A new API key, with the key itself, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewApiKeyAnswer {
    /// The key: `iw_…`.
    key: String,
    #[serde(flatten)]
    about: ApiKeyView,
}

/// All API keys.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKeysAnswer {
    api_keys: Vec<ApiKeyView>,
}

/// Makes an API key. Only its hash is kept.
#[utoipa::path(
    post,
    path = "/v1/api-keys",
    tag = "api keys",
    request_body = ApiKeyRequest,
    responses((status = 201, description = "The key.", body = NewApiKeyAnswer))
)]
pub(crate) async fn create_api_key(
    State(service): State<Service>,
    caller: Caller,
    Json(request): Json<ApiKeyRequest>,
) -> Result<Created<NewApiKeyAnswer>, Problem> {
    caller.require(Scope::Admin)?;
    let new = request.check(unix_seconds())?;
    let (key, text) = service.cluster.create_api_key(new).await.map_err(|error| refused(&error))?;
    tracing::info!(caller = &*caller.id, key = key.id, "An API key was made.");
    let about = ApiKeyView::of(&service, &key);
    Ok(Created(NewApiKeyAnswer { key: text.as_str().to_owned(), about }))
}

/// The API keys, the oldest first.
#[utoipa::path(
    get,
    path = "/v1/api-keys",
    tag = "api keys",
    responses((status = 200, description = "All of them, at most 1000 and those of the configuration.", body = ApiKeysAnswer))
)]
pub(crate) async fn list_api_keys(
    State(service): State<Service>,
    caller: Caller,
) -> Result<Answer<ApiKeysAnswer>, Problem> {
    caller.require(Scope::Admin)?;
    let known = service.cluster.api_keys();
    let mut keys: Vec<&ApiKey> = known.iter().collect();
    keys.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let api_keys = keys.into_iter().map(|key| ApiKeyView::of(&service, key)).collect();
    Ok(Answer(ApiKeysAnswer { api_keys }))
}

/// Revokes an API key on every node.
#[utoipa::path(
    delete,
    path = "/v1/api-keys/{id}",
    tag = "api keys",
    params(("id" = String, Path, description = "The id of the key, not the key.")),
    responses((status = 204, description = "It is revoked."))
)]
pub(crate) async fn revoke_api_key(
    State(service): State<Service>,
    Path(id): Path<String>,
    caller: Caller,
) -> Result<NoContent, Problem> {
    caller.require(Scope::Admin)?;
    if !service.cluster.revoke_api_key(&id).await.map_err(|error| refused(&error))? {
        return Err(API_KEY_UNKNOWN.into());
    }
    tracing::info!(caller = &*caller.id, key = id, "An API key was revoked.");
    Ok(NoContent)
}

impl ApiKeyRequest {
    fn check(&self, now: u64) -> Result<NewApiKey, Problem> {
        let invalid = |pointer, detail: String| Err(API_KEY_INVALID.problem().at(pointer, detail));
        let chars = self.name.chars().count();
        if !(1..=API_KEY_NAME_CHARS_MAX).contains(&chars) || self.name.chars().any(char::is_control) {
            let detail =
                format!("has 1 to {API_KEY_NAME_CHARS_MAX} characters, none of them a control character");
            return invalid("/name", detail);
        }
        if self.scopes.is_empty() || self.scopes.len() > Scope::ALL.len() {
            return invalid(
                "/scopes",
                "names at least one of issue, revoke, read, signal and admin, each once".to_owned(),
            );
        }
        let mut scopes = self.scopes.clone();
        scopes.sort_unstable();
        scopes.dedup();
        let given = self.networks.as_deref().unwrap_or_default();
        if given.len() > API_KEY_NETWORKS_MAX {
            return invalid("/networks", format!("has at most {API_KEY_NETWORKS_MAX} networks"));
        }
        let networks: Option<Vec<IpNet>> = given.iter().map(|text| network(text)).collect();
        let Some(networks) = networks else {
            return invalid("/networks", "has networks such as 10.0.0.0/8, or addresses".to_owned());
        };
        let expires = match self.ttl.map(|it| u64::try_from(it.0)) {
            None => None,
            Some(Ok(ttl @ 1..=TTL_MAX)) => Some(now.saturating_add(ttl)),
            Some(_) => return invalid("/ttl", format!("must be 1 to {TTL_MAX} seconds")),
        };
        Ok(NewApiKey { name: self.name.clone(), scopes: Scopes(scopes), networks, expires })
    }
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    Some(network.trunc())
}

impl ApiKeyView {
    fn of(service: &Service, key: &ApiKey) -> Self {
        let is_configured = service.cluster.api_keys().is_configured(&key.id);
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            scopes: key.scopes.clone(),
            networks: key.networks.clone(),
            created: key.created,
            expires: key.expires,
            last_used: service.cluster.last_used(&key.id),
            source: if is_configured { ApiKeySource::Configuration } else { ApiKeySource::Stored },
        }
    }
}

fn refused(error: &ApiKeysError) -> Problem {
    let kind = match error {
        ApiKeysError::Name
        | ApiKeysError::NoScope
        | ApiKeysError::TooManyNetworks(_)
        | ApiKeysError::Expired(_) => API_KEY_INVALID,
        ApiKeysError::TooMany(_) => API_KEYS_FULL,
        ApiKeysError::Configured(_) => API_KEY_CONFIGURED,
        ApiKeysError::Store(error) => {
            tracing::error!(%error, "An API key could not be kept.");
            return STORE_FAILED.into();
        }
        ApiKeysError::Random(error) => {
            tracing::error!(error, "An API key could not be made.");
            return INTERNAL.into();
        }
    };
    kind.with(error.to_string())
}
