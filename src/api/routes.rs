//! The paths.

use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Serialize;

use super::{
    Service, health,
    metrics::{self, Scrape},
    problem::{INTERNAL, METHOD_NOT_ALLOWED, NOT_FOUND},
};

/// What Prometheus asks for.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything the node answers over HTTP.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(scrape))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(async || METHOD_NOT_ALLOWED.answer(&[]))
        .fallback(async || NOT_FOUND.answer(&[]))
        .with_state(service)
}

#[derive(Serialize)]
struct Index {
    name: &'static str,
    version: &'static str,
    paths: [&'static str; 3],
}

async fn index() -> Json<Index> {
    Json(Index {
        name: "iceway",
        version: env!("CARGO_PKG_VERSION"),
        paths: ["/metrics", "/healthz", "/readyz"],
    })
}

async fn scrape(State(service): State<Service>) -> Response {
    match metrics::exposition(&Scrape::take(&service).await) {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "The metrics cannot be written.");
            INTERNAL.answer(&[])
        }
    }
}
