//! Calls from pages of other origins (the CORS part of the Fetch standard): only from those that are listed.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};

use crate::config::WebOrigin;

/// How long a browser may remember a preflight, in seconds. Chromium takes no more.
const MAX_AGE: &str = "7200";
const METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, x-api-key, x-request-id";
const EXPOSED_HEADERS: &str =
    "idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, x-request-id";

/// The origin of a request that comes from a listed page, as the browser wrote it.
pub(super) fn listed<'a>(headers: &'a HeaderMap, origins: &[WebOrigin]) -> Option<&'a HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    origins.iter().any(|listed| listed.0.as_bytes() == origin.as_bytes()).then_some(origin)
}

/// Whether a browser asks whether a page may send the request that it wants to send.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Says yes to a preflight of a listed page.
pub(super) fn preflight() -> Response {
    let mut response = (StatusCode::NO_CONTENT, Body::empty()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    response
}

/// Lets the page read the answer. Never with cookies: there are none.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
}
