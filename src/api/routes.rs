//! The paths.

use axum::http::request::Parts;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::header,
    middleware,
    response::{IntoResponse as _, Response},
    routing,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Service, asyncapi,
    body::Answer,
    caller::MetricsReader,
    dialects::{cloudflare, uberti},
    health, idempotency,
    metrics::{self, Scrape},
    openapi::{Endpoints, Guard},
    problem::{INTERNAL, METHOD_NOT_ALLOWED, NOT_FOUND, NOT_READY, UNHEALTHY},
    signal,
    v1::{
        allocations, api_keys, calls, credentials, doctor, drain, explain, ice_servers, nodes, quality,
        reload, revocations, rooms, secrets, sessions, signal as v1_signal, usage,
    },
    web,
};

/// What Prometheus asks for.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What is listed at `/`.
const PATHS: [&str; 7] = [
    "/v1/turn/credentials",
    "/iceway.js",
    "/iceway.d.ts",
    "/openapi.json",
    "/metrics",
    "/healthz",
    "/readyz",
];

/// Everything the node answers over HTTP.
pub fn router(service: Service) -> Router {
    let (router, document) = endpoints().split();
    let document = Bytes::from(document);
    router
        .route(uberti::ALIAS, routing::get(uberti::turn_by_query).post(uberti::turn_by_form))
        .route(
            "/openapi.json",
            routing::get(async move || ([(header::CONTENT_TYPE, "application/json")], document.clone())),
        )
        .route("/asyncapi.json", routing::get(asyncapi::document))
        .route("/schemas/v1/{name}", routing::get(asyncapi::schema))
        .route_layer(middleware::from_fn_with_state(service.clone(), idempotency::once))
        .merge(web::assets())
        .method_not_allowed_fallback(async || METHOD_NOT_ALLOWED.answer(&[]))
        .fallback(async || NOT_FOUND.answer(&[]))
        .with_state(service)
}

/// The description of everything, as `/openapi.json` has it.
#[must_use]
pub fn openapi() -> String {
    endpoints().split().1
}

fn endpoints() -> Endpoints {
    Endpoints::new()
        .add(Guard::Nobody, routes!(index), &[])
        .add(Guard::Nobody, routes!(health::alive), &[&[UNHEALTHY]])
        .add(Guard::Nobody, routes!(health::ready), &[&[NOT_READY]])
        .add(Guard::CallerOrAddress, routes!(scrape), &[])
        .add(Guard::Caller, routes!(credentials::issue_credentials), &[credentials::ISSUE_PROBLEMS])
        .add(Guard::Caller, routes!(ice_servers::own_ice_servers), &[ice_servers::END_USER_PROBLEMS])
        .add(Guard::Nobody, routes!(web::trial_token), &[web::TRIAL_PROBLEMS])
        .add(Guard::Caller, routes!(web::list_ways), &[])
        .add(Guard::Caller, routes!(uberti::turn_by_query), &[uberti::UBERTI_PROBLEMS])
        .add(
            Guard::Caller,
            routes!(uberti::turn_by_form),
            &[uberti::UBERTI_PROBLEMS, uberti::UBERTI_FORM_PROBLEMS],
        )
        .add(Guard::Caller, routes!(cloudflare::generate_ice_servers), &[cloudflare::GENERATE_PROBLEMS])
        .add(Guard::Caller, routes!(cloudflare::generate_one), &[cloudflare::GENERATE_PROBLEMS])
        .add(Guard::Caller, routes!(cloudflare::revoke_username), &[cloudflare::CLOUDFLARE_REVOKE_PROBLEMS])
        .add(Guard::Caller, routes!(revocations::revoke_credentials), &[revocations::REVOKE_PROBLEMS])
        .add(Guard::Caller, routes!(revocations::list_revocations), &[])
        .add(Guard::Caller, routes!(secrets::list_secrets), &[])
        .add(Guard::Caller, routes!(secrets::add_secret), &[secrets::CHANGE_PROBLEMS])
        .add(Guard::Caller, routes!(secrets::rotate_secrets), &[secrets::CHANGE_PROBLEMS])
        .add(Guard::Caller, routes!(secrets::import_secrets), &[secrets::CHANGE_PROBLEMS])
        .add(Guard::Caller, routes!(secrets::remove_secret), &[secrets::REMOVE_PROBLEMS])
        .add(Guard::Caller, routes!(api_keys::create_api_key), &[api_keys::CREATE_KEY_PROBLEMS])
        .add(Guard::Caller, routes!(api_keys::list_api_keys), &[])
        .add(Guard::Caller, routes!(api_keys::revoke_api_key), &[api_keys::REVOKE_KEY_PROBLEMS])
        .add(Guard::Caller, routes!(allocations::list_allocations), &[allocations::LIST_ALLOCATIONS_PROBLEMS])
        .add(Guard::Caller, routes!(allocations::close_allocation), &[allocations::CLOSE_PROBLEMS])
        .add(Guard::Caller, routes!(quality::call_quality), &[])
        .add(Guard::Caller, routes!(explain::explain_user), &[explain::EXPLAIN_PROBLEMS])
        .add(Guard::CallerOrAddress, routes!(signal::connect), &[signal::CONNECT_PROBLEMS])
        .add(Guard::Caller, routes!(v1_signal::create_ticket), &[v1_signal::TICKET_PROBLEMS])
        .add(Guard::Caller, routes!(v1_signal::forget_decisions), &[v1_signal::FORGET_PROBLEMS])
        .add(Guard::Caller, routes!(sessions::list_sessions), &[sessions::SESSIONS_PROBLEMS])
        .add(Guard::Caller, routes!(sessions::revoke_sessions), &[sessions::END_PROBLEMS])
        .add(Guard::Caller, routes!(rooms::room), &[rooms::ROOM_PROBLEMS])
        .add(
            Guard::Caller,
            routes!(rooms::remove_member),
            &[rooms::ROOM_PROBLEMS, rooms::REMOVE_MEMBER_PROBLEMS],
        )
        .add(
            Guard::Caller,
            routes!(rooms::send_to_room),
            &[rooms::ROOM_PROBLEMS, rooms::ROOM_MESSAGE_PROBLEMS],
        )
        .add(Guard::Caller, routes!(nodes::list_nodes), &[])
        .add(Guard::CallerOrAddress, routes!(doctor::examine), &[doctor::DOCTOR_PROBLEMS])
        .add(Guard::Caller, routes!(drain::drain_progress), &[drain::DRAIN_PROBLEMS])
        .add(Guard::Caller, routes!(drain::drain_node), &[drain::DRAIN_PROBLEMS])
        .add(Guard::Caller, routes!(drain::undo_drain), &[drain::DRAIN_PROBLEMS, drain::UNDO_PROBLEMS])
        .add(Guard::Caller, routes!(reload::reload), &[reload::RELOAD_PROBLEMS])
        .add(Guard::Caller, routes!(calls::list_calls), &[calls::CALLS_PROBLEMS, calls::LIST_CALLS_PROBLEMS])
        .add(Guard::Caller, routes!(calls::one_call), &[calls::CALLS_PROBLEMS, calls::CALL_PROBLEMS])
        .add(Guard::Caller, routes!(calls::call_timeline), &[calls::CALLS_PROBLEMS, calls::CALL_PROBLEMS])
        .add(Guard::Caller, routes!(calls::replay_webhooks), &[calls::CALLS_PROBLEMS])
        .add(Guard::Caller, routes!(usage::usage), &[usage::USAGE_PROBLEMS])
        .add(Guard::Caller, routes!(usage::usage_records), &[usage::USAGE_PROBLEMS, usage::RECORDS_PROBLEMS])
        .add(
            Guard::Caller,
            routes!(usage::acknowledge_records),
            &[usage::USAGE_PROBLEMS, usage::RECORDS_PROBLEMS],
        )
}

/// What answers.
#[derive(Serialize, ToSchema)]
struct Index {
    name: &'static str,
    version: &'static str,
    /// Where to go on.
    paths: [&'static str; PATHS.len()],
}

/// Says what answers. Browsers, which accept `text/html`, get the built-in page instead, where `page.enabled` has one.
#[utoipa::path(
    get,
    path = "/",
    tag = "node",
    responses((status = 200, description = "Name and version.", body = Index))
)]
async fn index(State(service): State<Service>, parts: Parts) -> Response {
    if let Some(page) = web::page(&service, &parts) {
        return page;
    }
    Answer(Index { name: "iceway", version: env!("CARGO_PKG_VERSION"), paths: PATHS }).into_response()
}

/// Everything that is counted, in the text format of Prometheus. Without a key only from `http.metrics_from`.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "node",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain"))
)]
async fn scrape(_reader: MetricsReader, State(service): State<Service>) -> Response {
    match metrics::exposition(&Scrape::take(&service).await) {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "The metrics cannot be written.");
            INTERNAL.answer(&[])
        }
    }
}
